"""Compare training on a selected subset with training on all images, random ones, and the hardest ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd

from curation.base import files
from curation.base.arrays import Floats, Ints
from curation.base.progress import Display
from curation.base.settings import Settings
from curation.base.workspace import Workspace
from curation.checks import nearness
from curation.decisions import manifest
from curation.models.comparison import plain
from curation.models.runs import FitOptions, ModelError, training_frame, translate_errors
from curation.models.verdict import points
from curation.pipeline import selection
from curation.pipeline.axes import axes as axes_of

HARDEST = "hardest first"
"""Name of the subsets of the images whose labels are doubted most, or, without a judgement, of the most isolated ones
of each class."""

_FOLDER = "subsets"
"""Folder of the fits, within that of the models."""

_HELD_OUT = "validation"


@dataclass(frozen=True)
class SubsetComparison:
    """The comparison (``training.subsets.Subsets``) with sentences and the page."""

    sentences: list[str]
    points: pd.DataFrame
    differences: pd.DataFrame
    page: Path


def compare_subsets(
    workspace: Workspace,
    on: str,
    shares: Sequence[float],
    recipe_name: str,
    options: FitOptions,
    settings: Settings,
    display: Display,
    *,
    seeds: int = 3,
) -> SubsetComparison:
    """Fit a recipe on subsets of a version's train images for equally many steps; evaluate all on the same images.

    These are the version's validation images without a copy in train. Subsets are drawn by class from the train images,
    with copies counted once: diverse (``selection.choose``), at random, and hardest first.

    Args:
        workspace: that was curated and embedded.
        on: the version.
        shares: each above 0 and below 1.
        recipe_name: for each seed it is fitted once on all images, and three times per share.
        options: of each fit.
        settings: in force.
        display: progress.
        seeds: fits of each subset.

    Raises:
        ModelError: a share is out of range, there are no images to evaluate on, or a fit is impossible.

    """
    from training.data import class_names, load_samples
    from training.recipes import recipe, within_budget
    from training.subsets import RANDOM, SELECTED
    from training.subsets import compare_subsets as fitted

    if not shares or not all(0 < share < 1 for share in shares):
        raise ModelError("give shares of the images, each above 0 and below 1, as in --subsets 0.1,0.25,0.5")
    version = manifest.find(workspace, on)
    pool = selection.candidates(workspace, version, "train", settings)
    frame = training_frame(workspace, version)
    seen = set(frame.loc[frame["split"] == "train", "group"]) - {""}
    judged = frame[(frame["split"] == _HELD_OUT) & ~frame["group"].isin(seen)]
    if judged.empty:
        raise ModelError(f"{version.name} has no {_HELD_OUT} image without a copy in train to evaluate on")
    chosen = within_budget(translate_errors(lambda: recipe(recipe_name)), options.epochs, options.image_size)
    rows = frame.set_index("key").loc[pool.frame["path"]].reset_index()
    classes = translate_errors(lambda: class_names(pd.concat([rows, judged])))
    train, validation = (
        translate_errors(partial(load_samples, part, Path(), chosen.image_size, classes)) for part in (rows, judged)
    )
    axes, _ = axes_of(workspace, settings)

    @cache
    def selected(share: float) -> Ints:
        return selection.choose(pool, round(share * len(rows)), "diverse", (), axes)

    worth = ease_of_learning(pool)
    ways = {
        SELECTED: lambda share, seed: selected(share),
        RANDOM: lambda share, seed: of_each_class(pool, np.random.default_rng(seed).random(len(rows)), share),
        HARDEST: lambda share, seed: of_each_class(pool, worth, share),
    }
    with display.step("Fitting subsets", "steps") as report:
        found = translate_errors(
            lambda: fitted(
                train,
                validation,
                chosen,
                ways,
                shares,
                workspace.models / _FOLDER,
                seeds=range(options.seed, options.seed + seeds),
                options={"weights": options.weights, "threads": options.threads, "device": options.device},
                announce=lambda done, fits: lambda step, steps: report(done * steps + step, fits * steps),
            )
        )
    lines = sentences(found.differences, found.twice)
    page = workspace.reports / f"subsets_{chosen.folder_name()}_{version.hash[:8]}_seed{options.seed}.html"
    _write(page, lines, found.points, found.differences, f"{version.name}, recipe {recipe_name}, {seeds} seeds")
    return SubsetComparison(lines, found.points, found.differences, page)


def ease_of_learning(pool: selection.Candidates) -> Floats:
    """Return a number (n,) that is lower for harder images."""
    if pool.frame["judged"].all():
        return np.asarray(pool.frame["right"], np.float64)
    ease = np.zeros(len(pool.frame))
    for rows in pool.frame.groupby("label").indices.values():
        ease[rows] = -np.nan_to_num(nearness.lonely(pool.points[rows]))
    return ease


def of_each_class(pool: selection.Candidates, order: Floats, share: float) -> Ints:
    """Return the rows lowest in ``order``, the same share of each class."""
    groups = [np.asarray(rows, np.int64) for _, rows in sorted(pool.frame.groupby("label").indices.items())]
    each = nearness.shares(np.array([len(rows) for rows in groups]), round(share * len(pool.frame)), even=False)
    return np.concatenate(
        [rows[np.argsort(order[rows], kind="stable")][:n] for rows, n in zip(groups, each, strict=True)]
    )


def sentences(differences: pd.DataFrame, twice: float) -> list[str]:
    """Return a sentence per share and contrast on whether the selection trains as well."""
    lines = []
    for row in differences.to_dict("records"):
        rival = row["contrast"].partition(" - ")[2]
        if row["excludes_zero"]:
            what = f"is {'better' if row['difference'] > 0 else 'worse'} than {rival}"
        else:
            what = f"is not shown to differ from {rival}"
        counts = f"{row['images']:,} images, {row['seeds']} seeds"
        lines.append(f"At {row['share']:.0%} the selection {what} ({points(row)}; {counts}).")
    if np.isfinite(twice):
        lines.append(f"Twice the data at random would give about {100 * twice:+.1f} points, by a power law.")
    return lines


def _write(page: Path, lines: list[str], points: pd.DataFrame, differences: pd.DataFrame, facts: str) -> None:
    from reports import subsets_page

    files.write_bytes(page, subsets_page(lines, points, differences, facts).encode("utf-8"))
    tables = {"points": points.to_dict("records"), "differences": differences.to_dict("records")}
    files.write_json(page.with_suffix(".json"), plain({"sentences": lines, **tables}))
