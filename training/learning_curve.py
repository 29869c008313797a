"""Accuracy by number of training images, extrapolated to twice as many, and compared with cleaned images.

The error of a network falls approximately as a power of the number of images (Hestness et al., 2017). A power law
without a floor is optimistic: wrong labels leave an error that more images do not remove.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from training.arrays import Floats, Ints
from training.data import Samples
from training.evaluate import REPLICATES, interval, replicated_sums
from training.fit import Report, fit_samples
from training.recipes import Recipe

SHARES = (0.1, 0.25, 0.5, 1.0)
"""Nested shares of the training images."""

FACTOR = 2.0
"""Factor of the extrapolated number of images."""


@dataclass(frozen=True)
class LearningCurve:
    """The gains from more data and from cleaner data.

    Attributes:
        points: share, images (trained on), class ("" for all), accuracy (for a class: its recall), low, high.
        gains: what ("more data", "cleaning"), class, gain (of accuracy or recall), low, high; 95 % intervals over the
            evaluated images. No rows for cleaning without cleaned images.

    """

    points: pd.DataFrame
    gains: pd.DataFrame


def learning_curve(
    train: Samples,
    validation: Samples,
    recipe: Recipe,
    out_dir: Path,
    *,
    cleaned: Samples | None = None,
    shares: Sequence[float] = SHARES,
    seeds: Sequence[int] = (0,),
    options: dict[str, Any] | None = None,
    announce: Callable[[int, int], Report] | None = None,
) -> LearningCurve:
    """Fit a recipe on nested subsets of the training images, and on cleaned ones; evaluate all on the same images.

    Every fit runs all epochs of the recipe and keeps the last: nothing is selected on the evaluated images.

    Args:
        train: to take subsets of.
        validation: images to evaluate on, without copies of images in ``train`` or ``cleaned``.
        recipe: to fit.
        out_dir: folder of the fits; finished ones are reused, an interrupted one is resumed.
        cleaned: the training images after cleaning, fitted as a whole for each seed.
        shares: of ``train``, increasing, the last 1.
        seeds: of the curves, which are averaged.
        options: weights, threads and device of ``fit_samples``.
        announce: called with (fits done, all fits); returns the report of the next.

    """
    arms = [(f"{share:g}", train, share) for share in shares]
    arms += [("cleaned", cleaned, 1.0)] if cleaned is not None else []
    right: dict[str, list[Floats]] = {name: [] for name, _, _ in arms}
    nothing = validation.take(np.zeros(0, np.int64))
    total, done = len(arms) * len(seeds), 0
    for seed in seeds:
        for name, samples, share in arms:
            part = samples.take(nested_subsets(samples.labels, share, seed))
            report = announce(done, total) if announce else None
            folder = out_dir / f"{recipe.folder_name()}-{name}-seed{seed}"
            fitted = fit_samples(part, nothing, recipe, folder, seed=seed, report=report, **(options or {}))
            called = fitted.probabilities(validation.images).argmax(axis=1)
            right[name].append((called == validation.labels).astype(np.float64))
            done += 1
    means = {name: np.mean(each, axis=0) for name, each in right.items()}
    sizes = [len(nested_subsets(train.labels, share, 0)) for share in shares]
    return _summed(means, shares, sizes, validation)


def nested_subsets(labels: Ints, share: float, seed: int) -> Ints:
    """Return rows: the same share of every class, at least two of each; smaller draws are subsets of larger ones."""
    place = np.random.default_rng(seed).permutation(len(labels))
    rows = []
    for kind in np.unique(labels):
        mine = np.flatnonzero(labels == kind)
        rows.append(mine[np.argsort(place[mine])][: max(2, round(share * len(mine)))])
    return np.sort(np.concatenate(rows))


def _summed(
    means: dict[str, Floats], shares: Sequence[float], sizes: Sequence[int], validation: Samples
) -> LearningCurve:
    """Return points and gains over all classes and for each."""
    points, gains = [], []
    whole = f"{shares[-1]:g}"
    for name in ("", *validation.classes):
        mask = np.ones(len(validation), bool) if not name else validation.labels == validation.classes.index(name)
        if not mask.any():
            continue
        arms = np.column_stack([means[f"{share:g}"][mask] for share in shares])
        drawn = replicated_sums(arms, REPLICATES, 0) / mask.sum()
        for number, (share, size) in enumerate(zip(shares, sizes, strict=True)):
            points.append((share, size, name, arms[:, number].mean(), *interval(drawn[:, number])))
        more = partial(gain_of_more, sizes)
        gains.append(("more data", name, float(more(arms.mean(axis=0)[None])[0]), *interval(more(drawn))))
        if "cleaned" in means:
            change = (means["cleaned"] - means[whole])[mask][:, None]
            spread = replicated_sums(change, REPLICATES, 0)[:, 0] / mask.sum()
            gains.append(("cleaning", name, float(change.mean()), *interval(spread)))
    return LearningCurve(
        pd.DataFrame(points, columns=["share", "images", "class", "accuracy", "low", "high"]),
        pd.DataFrame(gains, columns=["what", "class", "gain", "low", "high"]),
    )


def gain_of_more(sizes: Sequence[int], accuracies: Floats, factor: float = FACTOR) -> Floats:
    """Return the gain of accuracy, (draws,), from ``factor`` times the data, given accuracies (draws, sizes).

    By the slope of log error over log images (least squares); the last error is multiplied by ``factor`` to that power.
    """
    logs = np.log(np.asarray(sizes, np.float64))
    centred = logs - logs.mean()
    errors = np.maximum(1 - accuracies, 1e-4)
    slope = (np.log(errors) * centred).sum(axis=1) / (centred**2).sum()
    gain: Floats = errors[:, -1] * (1 - factor**slope)
    return gain
