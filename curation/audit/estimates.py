"""What cleaning missed, estimated from a reviewed sample, with intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curation.base.statistics import DRAWS, Estimate, percentile_interval, share


@dataclass(frozen=True)
class Stratum:
    """Images with a randomly reviewed sample: how many in all, how many reviewed, how many of these bad."""

    total: int
    reviewed: int
    bad: int


@dataclass(frozen=True)
class Remainder:
    """Result of a review for one check: its precision, the bad images that it missed, and its recall."""

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
    found_point, missed_point = (_expected(stratum) for stratum in (flagged, unflagged))
    total = found_point + missed_point
    return Remainder(
        precision=share(flagged.bad, flagged.reviewed),
        missed=Estimate(missed_point, *percentile_interval(missed)),
        recall=Estimate(
            found_point / total if total else float("nan"),  # also NaN if a stratum was not reviewed
            *percentile_interval(recall_draws),
        ),
    )


def _expected(stratum: Stratum) -> float:
    if not stratum.reviewed:
        return float("nan") if stratum.total else 0.0
    return stratum.total * stratum.bad / stratum.reviewed


def _draws(stratum: Stratum, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return draws (DRAWS,) of the number of bad images in the stratum: reviewed ones plus drawn ones of the rest."""
    rates = rng.beta(stratum.bad + 0.5, stratum.reviewed - stratum.bad + 0.5, size=DRAWS)
    return stratum.bad + rng.binomial(stratum.total - stratum.reviewed, rates)
