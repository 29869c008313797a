"""How good is the judge of labels? python -m tests.benchmarks.bench_labels MODE -w WS --votes FILE; prints JSON.

WS is a workspace of real data whose labels were judged, FILE people's votes on it, which nothing here is fitted to.

planted   A tenth of the labels on which at least nine of ten people agree become another class, drawn at random; all of
          it is then curated and judged anew, so that the models train on the wrong labels too (unlike the
          counterfactual flips of the calibration). Images with copies are not flipped: a copy under the old label would
          give the answer away. Average precision and AUROC of the flips, for our probability and every baseline.
untaught  The judge before any answer: ranking of the labels that at most one of ten people gave, and label accuracy
          against the strict majority.
taught    The same after N answers on random images, one person's each (drawn from the votes) or the panel's, on images
          that taught nothing; seeds 0 to 4.
queue     A simulated reviewer gives one answer an image, drawn from its votes: label accuracy against the strict
          majority over all images, none left out, asked by gain, at random, and in cleanlab's order.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curation.base import files
from curation.base.workspace import Workspace, open_workspace
from curation.decisions import manifest
from curation.labels import noise, ranking, votes
from curation.labels.gain import BATCH, rank_queue
from curation.labels.teach import Answers, teach
from curation.models.runs import training_frame
from curation.pipeline.label_store import SCORES, Memory, memory_of
from tests.benchmarks.cost import measured, print_figures
from tests.conftest import CURATE

SHARE = 0.1
"""Of the agreed labels."""

SEEDS = range(5)

TAUGHT = (0, 50, 500, 1000)
"""Answers after which the taught judge is measured."""

ASKED = (0, 300, 600, 1000, 1500, 2500)
"""Answers after which the simulated reviewer's labels are measured."""


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


def bench_planted(given: argparse.Namespace) -> dict[str, Any]:
    """Plant before training, curate and judge anew."""
    listing, flips = planted(open_workspace(given.workspace), given.votes, given.seed)
    folder = given.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    table, cost = judged_anew(listing, folder, given.recipe)
    mine = table.loc[flips.index]
    ranked = {words: mine[name].to_numpy() for name, words in SCORES.items() if mine[name].notna().all()}
    found = ranking.evaluate(flips.to_numpy(), ranked)
    if given.folder is None:
        shutil.rmtree(folder)
    return {"agreed": len(flips), "flipped": int(flips.sum()), **cost, "scores": found.round(4).to_dict("records")}


class Voted:
    """A judged workspace beside people's votes: rows of the judge's table, what is wrong, and the strict majority."""

    def __init__(self, given: argparse.Namespace) -> None:
        found = memory_of(open_workspace(given.workspace))
        if found is None:
            raise SystemExit("judge the labels first: curate check --labels fast")
        self.memory: Memory = found
        said = votes.read_votes(given.votes, found.classes)
        place = pd.Series(np.arange(len(found.table)), index=found.table["path"])
        said = said.take(np.isin(said.paths.astype(str), found.table["path"].to_numpy(dtype=str)))
        self.rows = place.loc[list(said.paths)].to_numpy(np.int64)
        self.labels = found.known.labels[self.rows]
        self.counts = np.column_stack([said.counts, said.others.sum(axis=1)]).astype(np.float64)
        self.wrong = votes.is_wrong(said, self.labels)
        self.majority = votes.majority(said)
        self.settled = self.majority >= 0

    def one_vote_each(self, seed: int) -> np.ndarray:
        """Return one person's answer to each image, (m,), drawn from its votes."""
        shares = (self.counts / self.counts.sum(axis=1, keepdims=True)).cumsum(axis=1)
        drawn: np.ndarray = (np.random.default_rng(seed).random(len(shares))[:, None] < shares).argmax(axis=1)
        return drawn

    def answers(self, chosen: np.ndarray, seed: int, *, panel: bool) -> Answers:
        """Return the answers to some of the images: all their votes, or one person's."""
        if panel:
            image, kind = np.nonzero(self.counts[chosen])
            weights = self.counts[chosen][image, kind]
        else:
            image, kind = np.arange(len(chosen)), self.one_vote_each(seed)[chosen]
            weights = np.ones(len(chosen))
        return Answers(self.rows[chosen][image], kind.astype(np.int64), np.zeros(len(image), np.int64), weights)

    def ranked(self, posterior: np.ndarray, rest: np.ndarray) -> dict[str, float]:
        """Return how well P(wrong) ranks, and how often the likeliest class is the majority's, of some images."""
        doubt = 1.0 - posterior[self.rows[rest], self.labels[rest]]
        settled = self.settled[rest]
        hits = (posterior[self.rows[rest]].argmax(axis=1) == self.majority[rest])[settled]
        sure = np.argsort(-posterior[self.rows[rest]].max(axis=1)[settled], kind="stable")
        return {
            "AP": ranking.average_precision(self.wrong[rest], doubt),
            "AUROC": ranking.auroc(self.wrong[rest], doubt),
            "first 500": ranking.precision_at(self.wrong[rest], doubt, 500),
            "accuracy": float(hits.mean()),
            "accuracy of the surest 85 %": float(hits[sure[: round(0.85 * len(sure))]].mean()),
        }


def bench_untaught(given: argparse.Namespace) -> dict[str, Any]:
    """Measure the judge before any answer."""
    voted = Voted(given)
    raw = float((voted.labels == voted.majority)[voted.settled].mean())
    everything = np.arange(len(voted.rows))
    return {"images": len(voted.rows), "as labelled": raw, **voted.ranked(voted.memory.known.posterior, everything)}


def bench_taught(given: argparse.Namespace) -> dict[str, Any]:
    """Measure the judge after answers on random images, on the others."""
    voted, records = Voted(given), []
    for panel in (False, True):
        for number in TAUGHT:
            for seed in SEEDS:
                order = np.random.default_rng(1000 + seed).permutation(len(voted.rows))
                chosen, rest = order[:number], order[number:]
                started = time.perf_counter()
                taught = teach(voted.memory.known, voted.answers(chosen, seed, panel=panel))
                seconds = time.perf_counter() - started
                before = voted.ranked(voted.memory.known.posterior, rest)["AP"]
                found = voted.ranked(taught.learned, rest)
                kind = "panel" if panel else "one person"
                record = {"answers": kind, "number": number, "seed": seed, "AP before": before, **found}
                records.append({**record, "seconds": seconds})
    table = pd.DataFrame(records)
    table["gain"] = table["AP"] - table["AP before"]
    means = table.groupby(["answers", "number"]).mean(numeric_only=True).drop(columns="seed")
    means["least gain"] = table.groupby(["answers", "number"])["gain"].min()
    return {"means of five seeds": means.round(4).reset_index().to_dict("records")}


def bench_queue(given: argparse.Namespace) -> dict[str, Any]:
    """Simulate a reviewer on several orders of asking."""
    voted, records = Voted(given), []
    orders: Mapping[str, Callable[[int], tuple[np.ndarray | None, bool]]] = {
        "gain": lambda _seed: (None, True),
        "random, taught": lambda seed: (np.random.default_rng(seed).permutation(len(voted.rows)), True),
        "cleanlab, taught": lambda _seed: (_cleanlab(voted), True),
        "cleanlab, the answers alone": lambda _seed: (_cleanlab(voted), False),
    }
    for name, order in orders.items():
        for seed in range(given.seeds):
            asked, teaches = order(seed)
            records += [{"order": name, "seed": seed, **one} for one in _simulated(voted, asked, seed, teaches=teaches)]
    table = pd.DataFrame(records)
    means = table.groupby(["order", "answers"], sort=False).mean(numeric_only=True).drop(columns="seed")
    return {"images": len(voted.rows), "means": means.round(4).reset_index().to_dict("records")}


def _cleanlab(voted: Voted) -> np.ndarray:
    doubt = voted.memory.table["self_confidence"].to_numpy()[voted.rows]
    order: np.ndarray = np.argsort(-doubt, kind="stable")
    return order


def _simulated(voted: Voted, order: np.ndarray | None, seed: int, *, teaches: bool) -> list[dict[str, float]]:
    """Return accuracy after so many answers; without an order the queue by gain is asked and ranked anew every 25."""
    known = voted.memory.known
    place = np.full(len(known), -1)
    place[voted.rows] = np.arange(len(voted.rows))
    open_ = place >= 0
    said, asked = voted.one_vote_each(seed), np.zeros(0, np.int64)
    found, slowest = [], 0.0
    for goal in (number for number in ASKED if number <= len(voted.rows)):
        while len(asked) < goal:
            if order is None:
                started = time.perf_counter()
                queue = rank_queue(known, _given(voted, asked, said), open_)
                slowest = max(slowest, time.perf_counter() - started)
                asked = np.append(asked, _pictures(known.groups, queue.rows, place)[: min(BATCH, goal - len(asked))])
            else:
                asked = order[:goal]
        answers = _given(voted, asked, said)
        posterior = teach(known, answers).posterior if teaches else known.posterior.copy()
        if not teaches:
            posterior[answers.rows] = 0.5 * posterior[answers.rows] + np.eye(posterior.shape[1])[answers.kinds]
        hits = (posterior[voted.rows].argmax(axis=1) == voted.majority)[voted.settled]
        found.append({"answers": goal, "accuracy": float(hits.mean()), "slowest ranking, s": slowest})
    return found


def _pictures(groups: np.ndarray, rows: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return what is asked of a queue, one image of each group of copies, as places among the voted images."""
    names = groups[rows]
    again = pd.Series(names).duplicated().to_numpy() & (names != "")
    first: np.ndarray = place[rows[~again]]
    return first


def _given(voted: Voted, asked: np.ndarray, said: np.ndarray) -> Answers:
    nobody = np.zeros(len(asked), np.int64)
    return Answers(voted.rows[asked], said[asked].astype(np.int64), nobody, np.ones(len(asked)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = {"planted": bench_planted, "untaught": bench_untaught, "taught": bench_taught, "queue": bench_queue}
    parser.add_argument("mode", choices=modes)
    parser.add_argument("-w", "--workspace", type=Path, required=True)
    parser.add_argument("--votes", type=Path, required=True)
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=3, help="of the simulated reviewer")
    parser.add_argument("--folder", type=Path, help="of the work; kept, and gone on with")
    given = parser.parse_args()
    print_figures(f"labels, {given.mode}", modes[given.mode](given))


if __name__ == "__main__":
    main()
