"""How well a score ranks wrong labels: average precision, AUROC, precision of the first k, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from curation.base.arrays import Flags, Floats, Ints
from curation.base.statistics import RESAMPLES, percentile_interval, share

FIRST = (100, 500)
"""Precision is reported for the first so many images."""


def average_precision(wrong: Flags, suspicion: Floats) -> float:
    """Return the average precision, the area under the precision-recall steps; NaN where nothing is wrong."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(wrong, suspicion)) if wrong.any() else float("nan")


def auroc(wrong: Flags, suspicion: Floats) -> float:
    """Return the probability that a wrong label is ranked before a right one; NaN without both."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(wrong, suspicion)) if wrong.any() and not wrong.all() else float("nan")


def evaluate(
    wrong: Flags,
    scores: Mapping[str, Floats],
    *,
    first: Sequence[int] = FIRST,
    replicates: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Return how well each score ranks the wrong labels, with 95 % percentile bootstrap intervals over images.

    Args:
        wrong: (n,) ground truth, such as from votes.
        scores: name -> (n,) suspicion, the highest first.
        first: numbers of images for which precision is reported (of all images if there are fewer).
        replicates: draws; the same for every score.
        seed: of the draws.

    Returns:
        A row per score and metric: score, metric (AP, AUROC, "precision of first K"), estimate, low, high, images, base
        (share that is wrong).

    """
    rng = np.random.default_rng(seed)
    draws = [np.bincount(rng.integers(0, len(wrong), len(wrong)), minlength=len(wrong)) for _ in range(replicates)]
    once = np.ones(len(wrong), np.int64)
    records = []
    for name, suspicion in scores.items():
        order = _Order.of(wrong, suspicion)
        drawn = [order.measures(times, first) for times in draws]
        for metric, estimate in order.measures(once, first).items():
            low, high = percentile_interval([values[metric] for values in drawn])
            records.append({"score": name, "metric": metric, "estimate": estimate, "low": low, "high": high})
    return pd.DataFrame(records).assign(images=len(wrong), base=float(wrong.mean()))


@dataclass(frozen=True)
class _Order:
    """One score's order of the images, sorted once for all draws.

    Attributes:
        order: (n,) rows, the most suspect first.
        wrong: (n,) in that order.
        ends: (ties,) last place of each run of equal scores.

    """

    order: Ints
    wrong: Flags
    ends: Ints

    @classmethod
    def of(cls, wrong: Flags, suspicion: Floats) -> _Order:
        """Return the order of a score."""
        order = np.argsort(-suspicion, kind="stable")
        changes = np.flatnonzero(np.diff(suspicion[order]))
        return cls(order, wrong[order], np.append(changes, len(order) - 1))

    def measures(self, times: Ints, first: Sequence[int]) -> dict[str, float]:
        """Return AP, AUROC and precisions with these multiplicities of the images, (n,).

        As scikit-learn's, without sorting again: a thousand draws of eight scores take seconds instead of minutes.
        """
        weight = times[self.order].astype(np.float64)
        through = np.cumsum(weight)
        hits, seen = np.cumsum(weight * self.wrong)[self.ends], through[self.ends]
        misses = seen - hits
        gained, lost = np.diff(hits, prepend=0.0), np.diff(misses, prepend=0.0)
        precision = np.divide(hits, seen, out=np.zeros_like(seen), where=seen > 0)
        area = (lost * (hits - gained / 2.0)).sum()  # under the curve of hits over misses, by trapezoids
        found = {
            "AP": (gained * precision).sum() / hits[-1] if hits[-1] else np.nan,
            "AUROC": area / (hits[-1] * misses[-1]) if hits[-1] * misses[-1] else np.nan,
        }
        for k in first:
            counted = np.clip(k - (through - weight), 0.0, weight)
            found[f"precision of first {k}"] = (counted * self.wrong).sum() / counted.sum()
        return {name: float(value) for name, value in found.items()}


def share_interval(hits: Flags) -> tuple[float, float, float]:
    """Return the share of hits with its 95 % Wilson score interval (Wilson, JASA 1927)."""
    found = share(int(hits.sum()), len(hits))
    return found.value, found.low, found.high
