"""Does a subset train as well? Subsets of equal size, chosen in several ways, fitted for equally many steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from training.arrays import Flags, Ints
from training.compare import fit_name, paired, predicted_classes
from training.data import Samples
from training.fit import Report, fit_samples
from training.learning_curve import gain_of_more
from training.recipes import Recipe

WHOLE, RANDOM, SELECTED = "whole", "random", "selected"
"""Names of training sets: all images, random ones with the same classes, and the selection to be tested."""

Draw = Callable[[float, int], Ints]
"""(share (0..1), seed) -> rows of a subset."""


@dataclass(frozen=True)
class Subsets:
    """The result of the comparison.

    Attributes:
        points: how, share, images (trained on), accuracy (mean over seeds).
        differences: share, contrast, images (evaluated), seeds, difference, low, high (paired, 95 %), excludes_zero.
        twice: gain from twice the data, by a power law through the random subsets and the whole; NaN for fewer than
            three sizes.

    """

    points: pd.DataFrame
    differences: pd.DataFrame
    twice: float


def lengthened(recipe: Recipe, share: float) -> Recipe:
    """Return a recipe with about as many steps on a ``share`` (0..1) of the images as ``recipe`` has on all of them."""
    members = tuple(lengthened(member, share) for member in recipe.members)
    return replace(recipe, epochs=max(1, round(recipe.epochs / share)), patience=None, members=members)


def compare_subsets(
    train: Samples,
    judged: Samples,
    recipe: Recipe,
    ways: Mapping[str, Draw],
    shares: Sequence[float],
    out_dir: Path,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    options: Mapping[str, Any] | None = None,
    announce: Callable[[int, int], Report] | None = None,
) -> Subsets:
    """Fit a recipe on all images and on subsets, for equally many steps, and evaluate all fits on the same images.

    Nothing is selected on the evaluated images: every fit keeps its last epoch. Finished fits and their predictions are
    reused.

    Args:
        train: all training images.
        judged: images to evaluate on, none of them in ``train`` or a copy of one that is.
        recipe: to fit.
        ways: draws of subsets by name, including RANDOM and SELECTED.
        shares: of the whole, each above 0 and below 1.
        out_dir: folder of the fits.
        seeds: of fits and draws.
        options: weights, threads and device of ``fit_samples``.
        announce: called with (fits done, all fits); returns the report of the next.

    """
    given = dict(options or {})
    arms = [(WHOLE, 1.0), *((how, share) for share in shares for how in ways)]
    right: dict[tuple[str, float], list[Flags]] = {arm: [] for arm in arms}
    sizes: dict[tuple[str, float], int] = {}
    nothing = judged.take(np.zeros(0, np.int64))
    for number, seed in enumerate(seeds):
        for place, (how, share) in enumerate(arms):
            part = train if how == WHOLE else train.take(ways[how](share, seed))
            chosen = lengthened(recipe, share)
            folder = out_dir / fit_name(part, chosen, given.get("weights"), seed)
            report = announce(number * len(arms) + place, len(arms) * len(seeds)) if announce else None
            fitted = fit_samples(part, nothing, chosen, folder, seed=seed, report=report, **given)
            right[how, share].append(predicted_classes(fitted, judged) == judged.labels)
            sizes[how, share] = len(part)
    accuracy = {arm: float(np.mean(answers)) for arm, answers in right.items()}
    points = [(how, share, sizes[how, share], accuracy[how, share]) for how, share in arms]
    curve = [(RANDOM, share) for share in sorted(shares)] + [(WHOLE, 1.0)]
    twice = float("nan")
    if len(curve) > 2:
        twice = float(gain_of_more([sizes[arm] for arm in curve], np.array([[accuracy[arm] for arm in curve]]))[0])
    return Subsets(pd.DataFrame(points, columns=["how", "share", "images", "accuracy"]), _pairs(right, shares), twice)


def _pairs(right: Mapping[tuple[str, float], list[Flags]], shares: Sequence[float]) -> pd.DataFrame:
    """Return SELECTED compared with every other way at the same share, and with all images."""
    ways = list(dict.fromkeys(how for how, _ in right if how not in (WHOLE, SELECTED)))
    rows = []
    for share in shares:
        for base in (*((how, share) for how in ways), (WHOLE, 1.0)):
            rows.append({"share": share} | paired(f"{SELECTED} - {base[0]}", right[base], right[SELECTED, share]))
    return pd.DataFrame(rows)
