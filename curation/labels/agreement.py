"""How far people agree with given labels and with each other: pure functions of arrays, with intervals.

Accuracy has the Wilson score interval. The kappas have percentile bootstrap intervals over images (Efron 1979), since
the images are the sample, not the votes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

CONFIDENCE = 0.95
"""Nominal coverage of every interval."""

RESAMPLES = 1000
"""Bootstrap samples behind an interval."""

_DRAWS = 20_000
"""Posterior draws: their own error is below 0.002 at the 2.5 % quantile."""

_CHUNK = 50
"""Bootstrap samples drawn at once: 50 x 20,000 images are 8 MB of weights."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Figure:
    """A value with its interval and the number of images behind it; NaN where it is not defined."""

    value: float
    low: float
    high: float
    images: int


def accuracy(hits: npt.ArrayLike) -> Figure:
    """Return the share of true values with its Wilson score interval (Wilson 1927, JASA 22:209).

    Args:
        hits: (n,) of bool: whether an answer is the given label.

    """
    right = np.asarray(hits, bool)
    if right.size == 0:
        return Figure(float("nan"), 0.0, 1.0, 0)
    interval = stats.binomtest(int(right.sum()), right.size).proportion_ci(CONFIDENCE, method="wilson")
    return Figure(float(right.mean()), float(interval.low), float(interval.high), right.size)


def stratified_accuracy(hits: npt.ArrayLike, strata: npt.ArrayLike, totals: dict[str, int], seed: int) -> Figure:
    """Return the accuracy of a whole of which every stratum was sampled apart, weighted by the strata's sizes.

    Args:
        hits: (n,) of bool.
        strata: (n,) name of each image's stratum.
        totals: stratum -> images in the whole; strata without answers are left out.
        seed: of the posterior draws behind the interval (Jeffreys in every stratum: no width of zero at 0 or 1).

    """
    right, names = np.asarray(hits, np.float64), np.asarray(strata, dtype=object)
    parts = [(right[names == name], total) for name, total in totals.items() if (names == name).any()]
    if not parts:
        return Figure(float("nan"), 0.0, 1.0, 0)
    weights = np.array([total for _, total in parts], np.float64)
    weights /= weights.sum()
    rng = np.random.default_rng(seed)
    means = np.array([part.mean() for part, _ in parts])
    draws = np.column_stack([rng.beta(p.sum() + 0.5, (1 - p).sum() + 0.5, _DRAWS) for p, _ in parts])
    low, high = _percentiles(draws @ weights)
    return Figure(float(means @ weights), low, high, len(right))


def mean(values: npt.ArrayLike, seed: int) -> Figure:
    """Return the mean of values, one an image, with its bootstrap interval."""
    shares = np.asarray(values, np.float64)
    return _bootstrapped(lambda weights: weights @ shares / weights.sum(axis=1), len(shares), seed)


def cohen_kappa(first: npt.ArrayLike, second: npt.ArrayLike, classes: int, seed: int) -> Figure:
    """Return Cohen's kappa of two people on the same images (Cohen 1960, Educ. Psychol. Meas. 20:37).

    Args:
        first: (n,) places of the classes that one person chose.
        second: (n,) the same of the other.
        classes: how many classes there are.
        seed: of the bootstrap.

    """
    pair = np.asarray(first, np.int64) * classes + np.asarray(second, np.int64)
    cells = np.eye(classes * classes)[pair]

    def kappa(weights: Floats) -> Floats:
        table = (weights @ cells).reshape(-1, classes, classes)
        total = table.sum(axis=(1, 2))
        observed = np.trace(table, axis1=1, axis2=2) / total
        expected = (table.sum(axis=1) * table.sum(axis=2)).sum(axis=1) / total**2
        return _beyond_chance(observed, expected)

    return _bootstrapped(kappa, len(pair), seed)


def fleiss_kappa(counts: npt.ArrayLike, seed: int) -> Figure:
    """Return Fleiss' kappa (Fleiss 1971, Psychol. Bull. 76:378); images may have different numbers of votes.

    With as many votes on every image it is Fleiss' own; with unequal numbers an image's agreement is that of its own
    pairs of votes (as in Gwet 2014, Handbook of Inter-Rater Reliability, 4th ed., 2.5). Images with one vote say
    nothing of agreement and are left out.

    Args:
        counts: (n, answers) votes for each answer.
        seed: of the bootstrap.

    """
    votes = np.asarray(counts, np.float64)
    votes = votes[votes.sum(axis=1) >= 2]
    total = votes.sum(axis=1)
    agreed = ((votes**2).sum(axis=1) - total) / (total * (total - 1))
    shares = votes / total[:, None]

    def kappa(weights: Floats) -> Floats:
        images = weights.sum(axis=1)
        expected = ((weights @ shares / images[:, None]) ** 2).sum(axis=1)
        return _beyond_chance(weights @ agreed / images, expected)

    return _bootstrapped(kappa, len(votes), seed)


def _beyond_chance(observed: Floats, expected: Floats) -> Floats:
    """Kappa is not defined where chance alone agrees always: every answer is the same."""
    gap = 1.0 - expected
    result: Floats = np.divide(observed - expected, gap, out=np.full_like(gap, np.nan), where=gap > 1e-12)
    return result


def _bootstrapped(statistic: Callable[[Floats], Floats], images: int, seed: int) -> Figure:
    """Return a statistic of image weights, (samples, images) -> (samples,), with its bootstrap interval."""
    if images == 0:
        return Figure(float("nan"), float("nan"), float("nan"), 0)
    rng = np.random.default_rng(seed)
    even = np.full(images, 1.0 / images)
    parts = [
        statistic(rng.multinomial(images, even, size=min(_CHUNK, RESAMPLES - start)).astype(np.float64))
        for start in range(0, RESAMPLES, _CHUNK)
    ]
    low, high = _percentiles(np.concatenate(parts))
    return Figure(float(statistic(np.ones((1, images)))[0]), low, high, images)


def _percentiles(draws: Floats) -> tuple[float, float]:
    defined = draws[np.isfinite(draws)]
    if defined.size == 0:
        return float("nan"), float("nan")
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)
