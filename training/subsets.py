"""Does a subset train as well? Subsets of one share, chosen in several ways, fitted for equally many steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from training.arrays import Flags, Ints
from training.compare import fit_name, paired, said
from training.data import Samples
from training.fit import Report, fit_samples
from training.learning_curve import gain_of_more
from training.recipes import Recipe

WHOLE, RANDOM, SELECTED = "whole", "random", "selected"
"""Names of arms: all images, as many of each class at random, and the selection that is asked about."""

Draw = Callable[[float, int], Ints]
"""From a share (0..1) and a seed to the rows of a subset."""


@dataclass(frozen=True)
class Subsets:
    """What subsets are worth.

    Attributes:
        points: how, share, images (trained on), accuracy (mean over seeds).
        differences: share, contrast, images (judged), seeds, difference, low, high (paired, 95 %), excludes_zero.
        twice: what twice the data would give, by a power law through the random subsets and the whole; NaN for fewer
            than three sizes.

    """

    points: pd.DataFrame
    differences: pd.DataFrame
    twice: float


def lengthened(recipe: Recipe, share: float) -> Recipe:
    """Return a recipe that makes about as many steps on a ``share`` (0..1) of the images as it does on all of them."""
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
    """Fit a recipe on the whole and on subsets of it, each for equally many steps, and judge all on the same images.

    Nothing is chosen on the judged images: every fit keeps its last epoch. Finished fits and their answers are read
    again.

    Args:
        train: the whole.
        judged: images of which none is in ``train`` nor a copy of one that is.
        recipe: what to fit.
        ways: how subsets are drawn, by name; RANDOM and SELECTED among them.
        shares: of the whole, each above 0 and below 1.
        out_dir: folder of the fits.
        seeds: of fits and draws.
        options: weights, threads and device of ``fit_samples``.
        announce: called with (fits done, fits in all); returns the report of the next.

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
            right[how, share].append(said(fitted, judged) == judged.labels)
            sizes[how, share] = len(part)
    accuracy = {arm: float(np.mean(answers)) for arm, answers in right.items()}
    points = [(how, share, sizes[how, share], accuracy[how, share]) for how, share in arms]
    curve = [(RANDOM, share) for share in sorted(shares)] + [(WHOLE, 1.0)]
    twice = float("nan")
    if len(curve) > 2:
        twice = float(gain_of_more([sizes[arm] for arm in curve], np.array([[accuracy[arm] for arm in curve]]))[0])
    return Subsets(pd.DataFrame(points, columns=["how", "share", "images", "accuracy"]), _pairs(right, shares), twice)


def _pairs(right: Mapping[tuple[str, float], list[Flags]], shares: Sequence[float]) -> pd.DataFrame:
    """Return SELECTED against every other way of the same share, and against the whole."""
    ways = list(dict.fromkeys(how for how, _ in right if how not in (WHOLE, SELECTED)))
    rows = []
    for share in shares:
        for base in (*((how, share) for how in ways), (WHOLE, 1.0)):
            rows.append({"share": share} | paired(f"{SELECTED} - {base[0]}", right[base], right[SELECTED, share]))
    return pd.DataFrame(rows)
