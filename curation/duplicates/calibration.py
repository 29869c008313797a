"""Turns evidence into the probability that two images are one picture: a logistic law with few terms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curation.duplicates.kernel import EVIDENCE

Doubles = NDArray[np.float64]

_FINE = EVIDENCE.index("fine_median")
_DRIFT = EVIDENCE.index("drift_median")

_LEAST_MISSING = 0.005
_LEAST_DRIFT = 0.02
"""Evidence better than this is not told apart: rounding of grey levels and interpolation reach that far."""

_INTERCEPT = -14.0
_FINE_WEIGHT = 4.9
_DRIFT_WEIGHT = -2.5


def probability(evidence: Doubles) -> Doubles:
    """Return (M,) probabilities, 0..1, for evidence (M, 9); rounded to four decimals."""
    missing = np.log(np.maximum(1.0 - evidence[:, _FINE], _LEAST_MISSING))
    drift = np.log(np.maximum(evidence[:, _DRIFT], _LEAST_DRIFT))
    logit = _INTERCEPT - _FINE_WEIGHT * missing + _DRIFT_WEIGHT * drift
    return np.round(1.0 / (1.0 + np.exp(-logit)), 4)
