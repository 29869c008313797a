"""Agreement of people with given labels and with each other: pure functions of arrays, with intervals.

Accuracy has the Wilson score interval. The kappas have percentile bootstrap intervals over images (Efron 1979), as the
images are the sample, not the votes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from curation.base.arrays import Floats
from curation.base.statistics import DRAWS, RESAMPLES, Estimate, percentile_interval, share

_CHUNK = 50
"""Bootstrap samples drawn at once: 50 x 20,000 images are 8 MB of weights."""


def accuracy(hits: npt.ArrayLike) -> Estimate:
    """Return the share of true values with its Wilson score interval (Wilson 1927, JASA 22:209).

    Args:
        hits: (n,) of bool: whether an answer is the given label.

    """
    right = np.asarray(hits, bool)
    return share(int(right.sum()), right.size)


def stratified_accuracy(hits: npt.ArrayLike, strata: npt.ArrayLike, totals: dict[str, int], seed: int) -> Estimate:
    """Return the accuracy of a population from a stratified sample, weighted by the sizes of the strata.

    Args:
        hits: (n,) of bool.
        strata: (n,) name of each image's stratum.
        totals: stratum -> images in the population; strata without answers are left out.
        seed: of the posterior draws for the interval (Jeffreys prior per stratum: no zero width at 0 or 1).

    """
    right, names = np.asarray(hits, np.float64), np.asarray(strata, dtype=object)
    parts = [(right[names == name], total) for name, total in totals.items() if (names == name).any()]
    if not parts:
        return Estimate(float("nan"), 0.0, 1.0, 0)
    weights = np.array([total for _, total in parts], np.float64)
    weights /= weights.sum()
    rng = np.random.default_rng(seed)
    means = np.array([part.mean() for part, _ in parts])
    draws = np.column_stack([rng.beta(p.sum() + 0.5, (1 - p).sum() + 0.5, DRAWS) for p, _ in parts])
    low, high = percentile_interval(draws @ weights)
    value = float(means @ weights)
    # if the few answers of a stratum are all right, its draws lie below the estimate
    return Estimate(value, min(low, value), max(high, value), len(right))


def mean(values: npt.ArrayLike, seed: int) -> Estimate:
    """Return the mean of values, one per image, with its bootstrap interval."""
    shares = np.asarray(values, np.float64)
    return _bootstrapped(lambda weights: weights @ shares / weights.sum(axis=1), len(shares), seed)


def cohen_kappa(first: npt.ArrayLike, second: npt.ArrayLike, classes: int, seed: int) -> Estimate:
    """Return Cohen's kappa of two people on the same images (Cohen 1960, Educ. Psychol. Meas. 20:37).

    Args:
        first: (n,) places of the classes that one person chose.
        second: (n,) the same of the other.
        classes: number of classes.
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


def fleiss_kappa(counts: npt.ArrayLike, seed: int) -> Estimate:
    """Return Fleiss' kappa (Fleiss 1971, Psychol. Bull. 76:378); images may have different numbers of votes.

    With unequal numbers of votes, an image's agreement is that of its own pairs of votes (as in Gwet 2014, Handbook of
    Inter-Rater Reliability, 4th ed., 2.5). Images with a single vote are left out.

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
    """Return kappa, NaN where chance agreement is complete because every answer is the same."""
    gap = 1.0 - expected
    return np.divide(observed - expected, gap, out=np.full_like(gap, np.nan), where=gap > 1e-12)


def _bootstrapped(statistic: Callable[[Floats], Floats], images: int, seed: int) -> Estimate:
    """Return a statistic of image weights, (samples, images) -> (samples,), with its bootstrap interval."""
    if images == 0:
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    rng = np.random.default_rng(seed)
    even = np.full(images, 1.0 / images)
    parts = [
        statistic(rng.multinomial(images, even, size=min(_CHUNK, RESAMPLES - start)).astype(np.float64))
        for start in range(0, RESAMPLES, _CHUNK)
    ]
    low, high = percentile_interval(np.concatenate(parts))
    return Estimate(float(statistic(np.ones((1, images)))[0]), low, high, images)
