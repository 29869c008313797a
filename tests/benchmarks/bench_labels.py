"""Are planted wrong labels found again, trained on? python -m tests.benchmarks.bench_labels -w WS --votes FILE

Wants a curated workspace of real data and people's votes on it. A tenth of the labels on which at least nine of ten
people agree become another class, drawn at random; the whole of it is then curated and judged anew, so that the models
train on the wrong labels too (unlike the counterfactual flips of the calibration). Images with copies are not flipped:
a copy under the old label would give the answer away. Prints JSON: average precision and AUROC of the flips among the
agreed images, for our probability and for each opinion and baseline (cleanlab's among them), with 95 % intervals.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from curation.base import files
from curation.base.workspace import Workspace, open_workspace
from curation.decisions import manifest
from curation.labels import noise, ranking, votes
from curation.models.runs import training_frame
from curation.pipeline.label_judgement import SCORES
from tests.benchmarks.cost import measured, print_figures
from tests.conftest import CURATE

SHARE = 0.1
"""Of the agreed labels."""


def planted(workspace: Workspace, file: Path, seed: int) -> tuple[pd.DataFrame, pd.Series]:
    """Return path, label and split of every image, some labels flipped, and which of the agreed ones were: by path."""
    frame = training_frame(workspace, manifest.find(workspace, "raw"))
    classes = sorted(frame["label"].unique())
    labels = frame["label"].map({name: place for place, name in enumerate(classes)}).to_numpy(np.int64)
    said = votes.read_votes(file, classes)
    of_key = pd.Series(labels, index=frame["key"])
    said = said.take(np.isin(said.paths.astype(str), frame["key"].to_numpy(dtype=str)))
    agreed = said.paths[votes.is_agreed(said, of_key.loc[list(said.paths)].to_numpy())]
    candidates = (frame["key"].isin(agreed) & frame["group"].eq("")).to_numpy()
    even = noise.flip_weights(labels, "symmetric", np.zeros((len(labels), len(classes))), np.zeros((0, 0)))
    flipped = noise.plant(labels, even, SHARE, candidates, seed)
    listing = frame[["path", "split"]].assign(label=np.asarray(classes, dtype=object)[flipped])
    return listing, pd.Series((flipped != labels)[candidates], index=frame.loc[candidates, "path"])


def judged_anew(listing: pd.DataFrame, folder: Path, recipe: str) -> tuple[pd.DataFrame, dict[str, float]]:
    """Lay the images under their planted labels, curate and judge; return the labels table by path, and the cost."""
    original = {}
    for number, row in enumerate(listing.to_dict("records")):
        place = Path(row["split"]) / row["label"] / f"{number}{Path(row['path']).suffix}"
        original[place.as_posix()] = row["path"]
        target = folder / "data" / place
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(row["path"], target)
    workspace = Workspace(folder / "space")
    _, _ = measured([str(CURATE), "run", str(folder / "data"), "-w", str(workspace.root)])
    cost, _ = measured([str(CURATE), "check", "--labels", recipe, "--threads", "1", "-w", str(workspace.root)])
    if cost.exit_status:
        raise SystemExit(f"curate check ended with {cost.exit_status}; see above")
    table = files.read_table(workspace.labels)
    return table.set_index(table["path"].map(original)), cost.record()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-w", "--workspace", type=Path, required=True)
    parser.add_argument("--votes", type=Path, required=True)
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="of the work; kept, and gone on with")
    given = parser.parse_args()
    listing, flips = planted(open_workspace(given.workspace), given.votes, given.seed)
    folder = given.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    table, cost = judged_anew(listing, folder, given.recipe)
    mine = table.loc[flips.index]
    ranked = {words: mine[name].to_numpy() for name, words in SCORES.items() if mine[name].notna().all()}
    found = ranking.evaluate(flips.to_numpy(), ranked)
    if given.folder is None:
        shutil.rmtree(folder)
    print_figures(
        "labels",
        {"agreed": len(flips), "flipped": int(flips.sum()), **cost, "scores": found.round(4).to_dict("records")},
    )


if __name__ == "__main__":
    main()
