"""Accuracy by the number of training images, and what twice as many would give; beside it what cleaner ones give.

The error of a network falls about as a power of the number of images (Hestness et al., 2017). A power law without a
floor is an optimist: labels that are wrong leave an error that no number of images takes away.
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
"""Of the training images, the smaller inside the larger."""

FACTOR = 2.0
"""How much more data is asked about."""


@dataclass(frozen=True)
class LearningCurve:
    """What more data and cleaner data give.

    Attributes:
        points: share, images (trained on), class ("" for all), accuracy (for a class: its recall), low, high.
        gains: what ("more data", "cleaning"), class, gain (of accuracy or recall), low, high; 95 % intervals over
            judged images. No rows of cleaning without cleaned images.

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
    """Fit a recipe on growing parts of the training images, and on cleaned ones, and judge all on the same images.

    Every fit has the recipe's own number of epochs, and keeps its last: nothing is chosen on what is judged.

    Args:
        train: to take parts of.
        validation: that all are judged on; no image in it should have a copy in ``train`` or ``cleaned``.
        recipe: what to fit.
        out_dir: folder of the fits; finished ones are read, an interrupted one goes on.
        cleaned: the training images after cleaning, fitted once a seed in whole.
        shares: of ``train``, rising, the last 1.
        seeds: one curve each, averaged.
        options: weights, threads and device of ``fit_samples``.
        announce: called with (fits done, fits in all); returns the report of the next.

    """
    arms = [(f"{share:g}", train, share) for share in shares]
    arms += [("cleaned", cleaned, 1.0)] if cleaned is not None else []
    right: dict[str, list[Floats]] = {name: [] for name, _, _ in arms}
    nothing = validation.take(np.zeros(0, np.int64))
    total, done = len(arms) * len(seeds), 0
    for seed in seeds:
        for name, samples, share in arms:
            part = samples.take(_nested(samples.labels, share, seed))
            report = announce(done, total) if announce else None
            folder = out_dir / f"{recipe.folder_name()}-{name}-seed{seed}"
            fitted = fit_samples(part, nothing, recipe, folder, seed=seed, report=report, **(options or {}))
            called = fitted.probabilities(validation.images).argmax(axis=1)
            right[name].append((called == validation.labels).astype(np.float64))
            done += 1
    means = {name: np.mean(each, axis=0) for name, each in right.items()}
    sizes = [len(_nested(train.labels, share, 0)) for share in shares]
    return _summed(means, shares, sizes, validation)


def _nested(labels: Ints, share: float, seed: int) -> Ints:
    """Return rows: the same share of every class, at least two, each smaller draw inside the larger."""
    place = np.random.default_rng(seed).permutation(len(labels))
    rows = []
    for kind in np.unique(labels):
        mine = np.flatnonzero(labels == kind)
        rows.append(mine[np.argsort(place[mine])][: max(2, round(share * len(mine)))])
    return np.sort(np.concatenate(rows))


def _summed(
    means: dict[str, Floats], shares: Sequence[float], sizes: Sequence[int], validation: Samples
) -> LearningCurve:
    """Return points and gains over all classes and of each."""
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
    """Return how much accuracy ``factor`` times the data would add, (draws,), from accuracies (draws, sizes).

    The slope of log error over log images, by least squares; the last error falls by ``factor`` to that power.
    """
    logs = np.log(np.asarray(sizes, np.float64))
    centred = logs - logs.mean()
    errors = np.maximum(1 - accuracies, 1e-4)
    slope = (np.log(errors) * centred).sum(axis=1) / (centred**2).sum()
    gain: Floats = errors[:, -1] * (1 - factor**slope)
    return gain
