"""Planted label noise of known truth, in the user's own data, for calibration and measurement.

An opinion formed without an image's label does not depend on it. So labels can be flipped without training again: the
score is what it would have been with the other label (a counterfactual).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from curation.base.arrays import Flags, Floats, Ints

Kind = Literal["symmetric", "class", "instance"]

KINDS: tuple[Kind, ...] = ("symmetric", "class", "instance")

_FLOOR = 1e-6
"""Least weight of every other class, so that a flip is always possible."""


def flip_weights(labels: Ints, kind: Kind, posterior: npt.NDArray[np.floating[Any]], joint: Floats) -> Floats:
    """Return the probability of each class after a flip of an image's label, (n, classes); rows sum to 1.

    Args:
        labels: (n,) given classes; their own weight is 0.
        kind: symmetric (all other classes alike; Angluin & Laird, 1988), class (as classes are confused in the
            ``joint``; Patrini et al., CVPR 2017), instance (proportional to the image's own ``posterior``; after Xia et
            al., NeurIPS 2020).
        posterior: (n, classes) probabilities.
        joint: (classes, classes), given by true; see ``curation.labels.scores.joint``.

    """
    classes = posterior.shape[1]
    if kind == "symmetric":
        weights = np.ones((len(labels), classes))
    elif kind == "class":
        weights = joint.T[labels].astype(np.float64)
    else:
        weights = np.asarray(posterior, dtype=np.float64).copy()
    weights = weights + _FLOOR
    weights[np.arange(len(labels)), labels] = 0.0
    shares: Floats = weights / weights.sum(axis=1, keepdims=True)
    return shares


def flipped(labels: Ints, weights: Floats, rng: np.random.Generator) -> Ints:
    """Return another class for each label, drawn by ``weights`` (``flip_weights``), (n,)."""
    steps = weights.cumsum(axis=1)
    drawn: Ints = (rng.random(len(labels))[:, None] * steps[:, -1:] < steps).argmax(axis=1).astype(np.int64)
    return drawn


def plant(labels: Ints, weights: Floats, share: float, candidates: Flags, seed: int) -> Ints:
    """Return the labels, (n,), with a random ``share`` of the ``candidates`` flipped.

    Args:
        labels: (n,).
        weights: of ``flip_weights``.
        share: 0..1 of the candidates.
        candidates: (n,) which labels may be flipped, such as undoubted ones.
        seed: of the draws.

    """
    rng = np.random.default_rng(seed)
    pool = np.flatnonzero(candidates)
    chosen = rng.choice(pool, round(share * len(pool)), replace=False)
    planted = labels.copy()
    planted[chosen] = flipped(labels[chosen], weights[chosen], rng)
    return planted
