"""Baseline scores of a given label from out-of-fold probabilities, one number per image; lower is worse.

All take labels (n,) int64 and probabilities (n, classes), rows that sum to 1, of models that have not seen the image.
The first three are cleanlab's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from curation.base.arrays import Floats, Ints

Probabilities = npt.NDArray[np.floating[Any]]

SMALLEST_PROBABILITY = 1e-4
"""Least probability in a logarithm: models of thousands of images cannot justify a smaller one."""


def self_confidence(labels: Ints, probabilities: Probabilities) -> Floats:
    """Return the probability of the given label, (n,) in 0..1 (Northcutt, Jiang & Chuang, JAIR 2021)."""
    from cleanlab.rank import get_self_confidence_for_each_label

    return np.asarray(get_self_confidence_for_each_label(labels, np.asarray(probabilities)), dtype=np.float64)


def normalised_margin(labels: Ints, probabilities: Probabilities) -> Floats:
    """Return the margin of the given label over the best other, (n,) in 0..1, 0.5 at a tie (Northcutt et al.)."""
    from cleanlab.rank import get_normalized_margin_for_each_label

    return np.asarray(get_normalized_margin_for_each_label(labels, np.asarray(probabilities)), dtype=np.float64)


def joint(labels: Ints, probabilities: Probabilities) -> Floats:
    """Return the estimated joint distribution of given (rows) and true (columns) classes, (classes, classes).

    The confident joint of Northcutt et al. (2021), calibrated to the counts of the classes; it sums to 1.
    """
    from cleanlab.count import compute_confident_joint, estimate_joint

    data = np.asarray(probabilities, dtype=np.float64)
    counted = compute_confident_joint(labels, data)
    estimated = estimate_joint(labels, data, confident_joint=counted)
    # a class without an off-diagonal count leaves rounding errors
    return np.clip(np.asarray(estimated, dtype=np.float64), 0.0, 1.0)


def entropy(probabilities: Probabilities) -> Floats:
    """Return each row's entropy relative to the uniform distribution's, (n,) in 0..1 (Shannon, 1948)."""
    data = np.clip(np.asarray(probabilities, dtype=np.float64), SMALLEST_PROBABILITY, 1.0)
    spread: Floats = -(data * np.log(data)).sum(axis=1) / np.log(data.shape[1])
    return np.clip(spread, 0.0, 1.0)


def mutual_information(members: Probabilities) -> Floats:
    """Return the models' disagreement beyond their common uncertainty, (n,) in 0..1, 0 where all agree.

    The entropy of the mean minus the mean of the entropies (Houlsby et al., 2011; Depeweg et al., ICML 2018). members
    is (models, n, classes).
    """
    data = np.asarray(members, dtype=np.float64)
    each = np.mean([entropy(model) for model in data], axis=0)
    disagreement: Floats = np.clip(entropy(data.mean(axis=0)) - each, 0.0, 1.0)
    return disagreement


def area_under_margin(labels: Ints, logits: Probabilities) -> Floats:
    """Return the mean margin of the given label over a fit's epochs, (n,); low where a network resists a label.

    The logit of the given class minus the largest other, while the image was trained on (Pleiss et al., NeurIPS 2020).
    logits is (epochs, n, classes); epochs in which an image was not seen are NaN and do not count.
    """
    rows = np.arange(len(labels))
    data = np.array(logits, dtype=np.float64)
    own = data[:, rows, labels].copy()
    data[:, rows, labels] = -np.inf
    with np.errstate(invalid="ignore"):
        margins = own - data.max(axis=2)
    seen = np.isfinite(margins)
    total = np.where(seen, margins, 0.0).sum(axis=0)
    area: Floats = np.divide(total, seen.sum(axis=0), out=np.zeros(len(labels)), where=seen.any(axis=0))
    return area


def forgetting(labels: Ints, logits: Probabilities) -> Ints:
    """Return how often a fit forgot each image, (n,): right in one epoch, wrong in the next (Toneva et al., ICLR 2019).

    An image that was never right counts as forgotten in every epoch. logits is (epochs, n, classes).
    """
    right = np.asarray(logits).argmax(axis=2) == labels
    events = (right[:-1] & ~right[1:]).sum(axis=0)
    return np.where(right.any(axis=0), events, len(right)).astype(np.int64)
