"""Estimates with intervals: shares from counts, and what cleaning missed from a reviewed sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

CONFIDENCE = 0.95
"""Nominal coverage of every interval of the audit."""

_DRAWS = 20_000
"""Posterior draws behind an interval without a closed form: their own error is below 0.002 at the 2.5 % quantile."""


@dataclass(frozen=True)
class Estimate:
    """A value with its interval; NaN where nothing was counted."""

    value: float
    low: float
    high: float

    def record(self, digits: int = 4) -> dict[str, float]:
        """Return the three numbers, rounded, for printing."""
        return {"value": round(self.value, digits), "low": round(self.low, digits), "high": round(self.high, digits)}


def share(hits: int, total: int) -> Estimate:
    """Return ``hits / total`` with its Wilson score interval (Wilson 1927, JASA 22:209)."""
    if total == 0:
        return Estimate(float("nan"), 0.0, 1.0)
    interval = stats.binomtest(hits, total).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(hits / total, float(interval.low), float(interval.high))


@dataclass(frozen=True)
class Stratum:
    """Images of which a random sample was reviewed: all of them, how many were looked at, how many were bad."""

    total: int
    reviewed: int
    bad: int


@dataclass(frozen=True)
class Remainder:
    """What a review says of one check: its precision, the bad images that it missed, and its recall."""

    precision: Estimate
    missed: Estimate
    recall: Estimate


def remainder(flagged: Stratum, unflagged: Stratum, seed: int) -> Remainder:
    """Estimate precision, missed images and recall from random samples of flagged and unflagged images.

    Precision has a Wilson interval. Missed and recall take their intervals from independent Jeffreys posteriors,
    Beta(bad + 1/2, good + 1/2), of the two strata (Brown, Cai & DasGupta 2001, Statistical Science 16:101), because
    a sample of unflagged images without a bad one still leaves room for some.

    Args:
        flagged: images that the check flags.
        unflagged: all others.
        seed: of the posterior draws.

    """
    rng = np.random.default_rng(seed)
    found, missed = (_draws(stratum, rng) for stratum in (flagged, unflagged))
    recall_draws = found / np.maximum(found + missed, np.finfo(float).tiny)
    tail = (1.0 - CONFIDENCE) / 2.0
    found_point, missed_point = (_expected(stratum) for stratum in (flagged, unflagged))
    total = found_point + missed_point
    return Remainder(
        precision=share(flagged.bad, flagged.reviewed),
        missed=Estimate(missed_point, *(float(q) for q in np.quantile(missed, [tail, 1.0 - tail]))),
        recall=Estimate(
            found_point / total if total else float("nan"),  # NaN, too, where a stratum was not looked at
            *(float(q) for q in np.quantile(recall_draws, [tail, 1.0 - tail])),
        ),
    )


def _expected(stratum: Stratum) -> float:
    if not stratum.reviewed:
        return float("nan") if stratum.total else 0.0
    return stratum.total * stratum.bad / stratum.reviewed


def _draws(stratum: Stratum, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return draws (_DRAWS,) of the number of bad images in the whole stratum: those seen plus those not looked at."""
    rates = rng.beta(stratum.bad + 0.5, stratum.reviewed - stratum.bad + 0.5, size=_DRAWS)
    return stratum.bad + rng.binomial(stratum.total - stratum.reviewed, rates)
