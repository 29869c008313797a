"""More data or cleaner data? A recipe's learning curve, compared with the gain from cleaning."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from curation.base import files
from curation.base.progress import Display
from curation.base.workspace import Workspace
from curation.decisions import manifest
from curation.models.runs import FitOptions, ModelError, training_frame, translate_errors

_FOLDER = "learning"
"""Folder of the fits, within that of the models."""


@dataclass(frozen=True)
class Learning:
    """A learning curve (``training.learning_curve.LearningCurve``) with sentences and its file."""

    sentences: list[str]
    points: pd.DataFrame
    gains: pd.DataFrame
    path: Path


def learning_curve(
    workspace: Workspace,
    recipe_name: str,
    first: str,
    second: str,
    options: FitOptions,
    display: Display,
    *,
    seeds: int = 1,
) -> Learning:
    """Fit a recipe on 10, 25, 50 and 100 % of a version, and on a cleaned one; evaluate all on the same images.

    These are the validation images that the cleaned version keeps, with its labels, without copies of training images.

    Args:
        workspace: with both versions.
        recipe_name: fitted five times per seed.
        first: the version to take subsets of, such as raw.
        second: the cleaned version.
        options: of each fit.
        display: progress.
        seeds: number of curves to average.

    Raises:
        ModelError: there are no images to train or evaluate on, or a fit is impossible.

    """
    from training.data import class_names, load_samples
    from training.learning_curve import learning_curve
    from training.recipes import recipe, within_budget

    versions = [manifest.find(workspace, name) for name in (first, second)]
    frames = [training_frame(workspace, version) for version in versions]
    chosen = within_budget(translate_errors(lambda: recipe(recipe_name)), options.epochs, options.image_size)
    trains = [frame[frame["split"] == "train"] for frame in frames]
    seen = set(pd.concat([train["group"] for train in trains])) - {""}
    judged = frames[1][(frames[1]["split"] == "validation") & ~frames[1]["group"].isin(seen)]
    if judged.empty or any(train.empty for train in trains):
        raise ModelError(f"{second} has no train split, or no validation image without a copy in train to evaluate on")
    classes = translate_errors(lambda: class_names(pd.concat([*trains, judged])))
    raw, cleaned, validation = (
        translate_errors(partial(load_samples, frame, Path(), chosen.image_size, classes))
        for frame in (*trains, judged)
    )
    name = f"{versions[0].hash[:8]}_{versions[1].hash[:8]}"
    with display.step("Fitting the learning curve", "steps") as report:
        found = translate_errors(
            lambda: learning_curve(
                raw,
                validation,
                chosen,
                workspace.models / _FOLDER / name,
                cleaned=cleaned,
                seeds=range(options.seed, options.seed + seeds),
                options={"weights": options.weights, "threads": options.threads, "device": options.device},
                announce=lambda done, fits: lambda step, steps: report(done * steps + step, fits * steps),
            )
        )
    lines = sentences(found.gains, len(judged))
    path = workspace.reports / f"learning_{chosen.folder_name()}_{name}.json"
    record = {"sentences": lines, "points": found.points.to_dict("records"), "gains": found.gains.to_dict("records")}
    files.write_json(path, record)
    return Learning(lines, found.points, found.gains, path)


def sentences(gains: pd.DataFrame, judged: int) -> list[str]:
    """Return sentences on what more and what cleaner data give, over all classes, and on the class that gains most."""
    overall = {row["what"]: row for row in gains[gains["class"] == ""].to_dict("records")}
    lines = []
    for what, row in overall.items():
        said = "Twice the data would give" if what == "more data" else "Cleaning gives"
        low, high = 100 * row["low"], 100 * row["high"]
        lines.append(f"{said} {100 * row['gain']:+.1f} points, 95 % interval {low:+.1f} to {high:+.1f}.")
    if {"more data", "cleaning"} <= set(overall):
        more, clean = overall["more data"], overall["cleaning"]
        if more["low"] > clean["high"]:
            lines.append(f"Here more data is worth more than cleaner data (on {judged:,} unseen images).")
        elif clean["low"] > more["high"]:
            lines.append(f"Here cleaner data is worth more than twice as much of it (on {judged:,} unseen images).")
        else:
            lines.append(f"Which is worth more is not clear from {judged:,} unseen images: the intervals overlap.")
    mine = gains[(gains["what"] == "more data") & (gains["class"] != "")]
    if len(mine):
        most = mine.nlargest(1, "gain").iloc[0]
        lines.append(f"The class that gains most from more data is {most['class']} ({100 * most['gain']:+.1f} points).")
    return lines
