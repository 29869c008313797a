"""Turns evidence into the probability that two images are one picture: a logistic law with few terms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curation.checks.duplicates.kernel import EVIDENCE

Doubles = NDArray[np.float64]

_FINE = EVIDENCE.index("fine_median")
_DRIFT = EVIDENCE.index("drift_median")

_LEAST_MISSING = 0.005
_LEAST_DRIFT = 0.02
"""Evidence better than this is not told apart: rounding of grey levels and interpolation reach that far."""

_INTERCEPT = -17.49
_FINE_WEIGHT = -4.47
_DRIFT_WEIGHT = -5.67
"""Fitted by logistic regression: 2,890 planted copies of 29 kinds (100 each, where registered) of
``curation.audit.synthetic.plant`` against 13,354 pairs of the real faces that are no copies (median below 0.86 or drift
above 0.45) and 26 look-alikes nearer than that, told apart by eye on a contact sheet. The near-duplicate benchmark
tests them on other seeds."""


def probability(evidence: Doubles) -> Doubles:
    """Return (M,) probabilities, 0..1, for evidence (M, 9); rounded to four decimals."""
    missing = np.log(np.maximum(1.0 - evidence[:, _FINE], _LEAST_MISSING))
    drift = np.log(np.maximum(evidence[:, _DRIFT], _LEAST_DRIFT))
    logit = _INTERCEPT + _FINE_WEIGHT * missing + _DRIFT_WEIGHT * drift
    return np.round(1.0 / (1.0 + np.exp(-logit)), 4)
