"""Does cleaning help? Train one recipe on two versions and a control; evaluate all on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curation.base import files
from curation.base.classes import in_order
from curation.base.progress import Display
from curation.base.workspace import Workspace
from curation.decisions import manifest
from curation.labels import votes
from curation.models.runs import FitOptions, ModelError, training_frame, translate_errors
from curation.models.verdict import points

AS_GIVEN, CLEANED, CROWD = "validation as given", "validation as cleaned", "people's majority"
"""Names of the sets of images that the fits are evaluated on."""

_HELD_OUT_SHARE = 0.5
"""Share of the train images with a majority of votes that no fit trains on and all are evaluated on."""

_SPLIT = "validation"

_FITS = "compared"
"""Folder of the fits, within that of the models; comparisons with the same version share its fits."""


@dataclass(frozen=True)
class Comparison:
    """The result of the experiment.

    Attributes:
        verdict: sentences on whether cleaning helped, where and by how much.
        accuracies: a row per evaluation, arm (training set) and seed.
        differences: a row per evaluation and pair of arms, with paired 95 % intervals.
        page: file of the report; a JSON file of the same name is beside it.

    """

    verdict: list[str]
    accuracies: pd.DataFrame
    differences: pd.DataFrame
    page: Path


def compare(
    workspace: Workspace,
    first: str,
    second: str,
    recipe_name: str,
    options: FitOptions,
    display: Display,
    *,
    seeds: int = 3,
    votes_file: Path | None = None,
) -> Comparison:
    """Train on two versions and, as a control, on the first with as many images removed at random; compare in pairs.

    No fit trains on an evaluated image or a copy of one. Finished fits are not run again.

    Args:
        workspace: with both versions.
        first: the version to compare with, such as raw.
        second: the version expected to be better.
        recipe_name: used for all fits.
        options: of each fit; ``seed`` is that of the first.
        display: progress.
        seeds: number of fits per arm.
        votes_file: people's votes: half of the train images with votes are held out of training, and the fits are
            evaluated on them by the strict majority.

    Raises:
        ModelError: there are no images to evaluate on, or a fit is impossible. VotesError: the votes cannot be used.

    """
    from training.compare import compare_versions
    from training.recipes import recipe, within_budget

    versions = [manifest.find(workspace, name) for name in (first, second)]
    frames = [training_frame(workspace, version) for version in versions]
    evaluations = _evaluations(frames, votes_file, options.seed)
    if not evaluations:
        raise ModelError(f"{workspace.root} has no {_SPLIT} split to evaluate on; give --votes FILE")
    arms = [_without_copies_of(frame, frames, evaluations) for frame in frames]
    chosen = within_budget(translate_errors(lambda: recipe(recipe_name)), options.epochs, options.image_size)
    name = f"compare_{chosen.folder_name()}_{versions[0].hash[:8]}_{versions[1].hash[:8]}"
    name += f"_{len(evaluations)}_e{chosen.epochs}_seed{options.seed}"
    total = 3 * seeds

    with display.step(f"Comparing {first} with {second}", "steps") as report:
        done: list[tuple[str, int]] = []

        def announce(arm: str, seed: int, step: int, steps: int) -> None:
            if (arm, seed) not in done:
                done.append((arm, seed))
            report((len(done) - 1) * steps + step, total * steps)

        found = translate_errors(
            lambda: compare_versions(
                arms[0],
                arms[1],
                evaluations,
                Path(),
                chosen,
                workspace.models / _FITS,
                seeds=range(options.seed, options.seed + seeds),
                weights=options.weights,
                threads=options.threads,
                device=options.device,
                announce=announce,
            )
        )
    verdict = sentences(found.differences)
    if not found.differences["contrast"].str.contains("control").any():
        verdict.append("B leaves out none of the images that A trains on, so there is no control with fewer images.")
    page = workspace.reports / f"{name}.html"
    facts = {"A": versions[0].name, "B": versions[1].name, "recipe": recipe_name, "seeds": seeds}
    facts |= {"A_is": _described(versions[0]), "B_is": _described(versions[1])}
    _write(page, verdict, found.accuracies, found.differences, facts)
    return Comparison(verdict, found.accuracies, found.differences, page)


def _described(version: manifest.Version) -> str:
    """Return "raw", or the name of a version's policy."""
    return str(version.lineage.get("policy", {}).get("name", "cleaned")) if version.kind == "cleaned" else version.kind


def _evaluations(frames: Sequence[pd.DataFrame], votes_file: Path | None, seed: int) -> dict[str, pd.DataFrame]:
    """Return name -> key, path, label and sha256 of the images to evaluate on."""
    named = {AS_GIVEN: frames[0], CLEANED: frames[1]}
    found = {name: frame[frame["split"] == _SPLIT] for name, frame in named.items()}
    if votes_file is not None:
        found[CROWD] = _voted(frames[0], votes_file, seed)
    return {name: frame[["key", "path", "label", "sha256"]] for name, frame in found.items() if len(frame)}


def _voted(frame: pd.DataFrame, file: Path, seed: int) -> pd.DataFrame:
    """Return half of the train images that have a strict majority of votes, labelled by it."""
    classes = in_order(frame["label"])
    said = votes.read_votes(file, classes)
    chosen = pd.Series(votes.majority(said), index=said.paths)
    chosen = chosen[chosen >= 0]
    mine = frame[(frame["split"] == "train") & frame["key"].isin(chosen.index)]
    if mine.empty:
        raise votes.VotesError(f"{file} has no strict majority for any train image of this workspace")
    count = round(_HELD_OUT_SHARE * len(mine))
    rows = np.sort(np.random.default_rng(seed).choice(len(mine), count, replace=False))
    held = mine.iloc[rows]
    return held.assign(label=[classes[place] for place in chosen.loc[held["key"]]])


def _without_copies_of(
    frame: pd.DataFrame, frames: Sequence[pd.DataFrame], evaluations: dict[str, pd.DataFrame]
) -> pd.DataFrame:
    """Return the train rows that are neither evaluated nor copies of evaluated images."""
    judged = set().union(*(set(table["key"]) for table in evaluations.values()))
    every = pd.concat(frames)
    groups = set(every.loc[every["key"].isin(judged) & (every["group"] != ""), "group"])
    left = frame[(frame["split"] == "train") & ~frame["key"].isin(judged) & ~frame["group"].isin(groups)]
    if left.empty:
        raise ModelError("every train image is evaluated or a copy of one that is; nothing is left to train on")
    return left


def sentences(differences: pd.DataFrame) -> list[str]:
    """Return sentences on whether B is better than A and than the control, for each evaluation."""
    chosen = differences[differences["contrast"].str.startswith("B - ")]
    shown = chosen[chosen["excludes_zero"]]
    lines = [_first_line(int((shown["difference"] > 0).sum()), int((shown["difference"] < 0).sum()), len(chosen))]
    for row in chosen.to_dict("records"):
        rival = "the control" if "control" in row["contrast"] else "A"
        if not row["excludes_zero"]:
            what = f"no difference between B and {rival} could be shown"
        else:
            what = f"B is {'better' if row['difference'] > 0 else 'worse'} than {rival}"
        lines.append(f"On {row['evaluation']}: {what} ({points(row)}; {row['images']:,} images, {row['seeds']} seeds).")
    return lines


def _first_line(better: int, worse: int, every: int) -> str:
    """Return a one-line verdict from the numbers of contrasts in which B is shown to be better or worse."""
    if better and worse:
        return f"Cleaning helped in {better} of {every} comparisons and did harm in {worse}."
    if not better and not worse:
        return "Neither help nor harm by cleaning could be shown: every interval contains 0."
    return f"Cleaning {'helped' if better else 'did harm'}: shown in {max(better, worse)} of {every} comparisons."


def _write(
    page: Path, verdict: list[str], accuracies: pd.DataFrame, differences: pd.DataFrame, facts: dict[str, Any]
) -> None:
    """Write the page and the same as JSON."""
    from reports.comparison import comparison_page

    means = accuracies.groupby(["evaluation", "arm"], sort=False)[["accuracy", "images"]].mean().reset_index()
    files.write_bytes(page, comparison_page(verdict, means, differences, facts).encode("utf-8"))
    record = {
        **facts,
        "verdict": verdict,
        "accuracies": accuracies.to_dict("records"),
        "differences": differences.to_dict("records"),
    }
    files.write_json(page.with_suffix(".json"), plain(record))


def plain(value: Any) -> Any:
    """Return a record with numpy scalars converted to Python's."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [plain(part) for part in value]
    return value.item() if isinstance(value, np.generic) else value
