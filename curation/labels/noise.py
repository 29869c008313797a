"""Planted noise: wrong labels whose truth is known, in the user's own data, for calibration and for measuring.

An opinion that was formed without an image's label does not change when the label does. So a flip can be planted
without training anew: the score is what it would be, had the label been another one (a counterfactual).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from curation.base.arrays import Flags, Floats, Ints

Kind = Literal["symmetric", "class", "instance"]

KINDS: tuple[Kind, ...] = ("symmetric", "class", "instance")

_FLOOR = 1e-6
"""Weight that every other class keeps, so that a flip is always possible."""


def flip_weights(labels: Ints, kind: Kind, believed: npt.NDArray[np.floating[Any]], joint: Floats) -> Floats:
    """Return how likely a flip of each image's label lands on each class, (n, classes), rows that sum to 1.

    Args:
        labels: (n,) given classes; their own weight is 0.
        kind: symmetric (every other class alike; Angluin & Laird, 1988), class (as classes are confused in the
            ``joint``; Patrini et al., CVPR 2017), instance (as the image itself is confused: proportional to what is
            ``believed`` of it; after Xia et al., NeurIPS 2020).
        believed: (n, classes) probabilities.
        joint: (classes, classes), given by true; see ``curation.labels.scores.joint``.

    """
    classes = believed.shape[1]
    if kind == "symmetric":
        weights = np.ones((len(labels), classes))
    elif kind == "class":
        weights = joint.T[labels].astype(np.float64)
    else:
        weights = np.asarray(believed, dtype=np.float64).copy()
    weights = weights + _FLOOR
    weights[np.arange(len(labels)), labels] = 0.0
    shares: Floats = weights / weights.sum(axis=1, keepdims=True)
    return shares


def flipped(labels: Ints, weights: Floats, rng: np.random.Generator) -> Ints:
    """Return another class for every label, drawn by ``weights`` (``flip_weights``), (n,)."""
    steps = weights.cumsum(axis=1)
    drawn: Ints = (rng.random(len(labels))[:, None] * steps[:, -1:] < steps).argmax(axis=1).astype(np.int64)
    return drawn


def plant(labels: Ints, weights: Floats, share: float, candidates: Flags, seed: int) -> Ints:
    """Return labels of which a ``share`` of the ``candidates`` were flipped, drawn at random; (n,).

    Args:
        labels: (n,).
        weights: where a flip lands.
        share: 0..1 of the candidates.
        candidates: (n,) which labels may be flipped, such as those that nobody doubts.
        seed: of the draws.

    """
    rng = np.random.default_rng(seed)
    pool = np.flatnonzero(candidates)
    chosen = rng.choice(pool, round(share * len(pool)), replace=False)
    planted = labels.copy()
    planted[chosen] = flipped(labels[chosen], weights[chosen], rng)
    return planted
