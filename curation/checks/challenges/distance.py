"""How far an image is from the data's faces in embedding space: Mahalanobis' distance, half by half."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Embedding = npt.NDArray[np.floating[Any]]

_STRETCH = 10.0
"""Numbers of an embedding are 0 to 6 and mostly near 0; log(1 + 10 x) brings them nearer to a normal law."""

_ROWS_AN_AXIS = 5
"""Images behind each axis at least, so that the covariance can be estimated."""

_MOST = 20_000
"""Images of a half that the covariance is estimated from at most."""

_RIDGE = 1e-3
"""Of the mean variance, added to every axis."""


def stretched(embedding: Embedding) -> npt.NDArray[np.float32]:
    """Return embeddings whose numbers are near a normal law."""
    return np.asarray(np.log1p(_STRETCH * np.maximum(embedding.astype(np.float32), 0)), np.float32)


def distance(embedding: Embedding, reference: Flags, contents: npt.NDArray[np.object_], seed: int) -> Floats:
    """Return the distance (n,) of each image to the reference images of the half that it is not in.

    An image so has no part in what it is compared with, nor has an exact copy of it. The numbers are log-distances per
    axis: about 0 for an image like all others.

    Args:
        embedding: (n, dimensions).
        reference: (n,) which images say what the data is: those that surely show a face.
        contents: (n,) names; equal ones are in one half.
        seed: of the halves.

    """
    names, place = np.unique(contents.astype(str), return_inverse=True)
    rng = np.random.default_rng(seed)
    half = (rng.permutation(len(names)) % 2)[place]
    points = stretched(embedding)
    result = np.full(len(points), np.nan)
    for side in (0, 1):
        rows = np.flatnonzero(reference & (half != side))
        if len(rows) > 2 * _ROWS_AN_AXIS:
            chosen = rows if len(rows) <= _MOST else np.sort(rng.choice(rows, _MOST, replace=False))
            result[half == side] = _mahalanobis(points[half == side], points[chosen])
    return result


def _mahalanobis(points: npt.NDArray[np.float32], faces: npt.NDArray[np.float32]) -> Floats:
    middle = faces.mean(axis=0)
    centred = faces - middle
    variances, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64) / len(faces))
    count = min(len(variances), len(faces) // _ROWS_AN_AXIS)
    rest = float(variances[: len(variances) - count].clip(0).sum())
    variances, axes = variances[-count:], axes[:, -count:]
    moved = points - middle
    inside = (moved @ axes.astype(np.float32)).astype(np.float64) ** 2
    scaled = (inside / (variances + _RIDGE * variances.mean())).sum(axis=1)
    if rest > 0:  # the other axes share one variance (probabilistic PCA, Tipping & Bishop 1999)
        beyond = (moved.astype(np.float64) ** 2).sum(axis=1) - inside.sum(axis=1)
        scaled = scaled + beyond * (points.shape[1] - count) / rest
    return np.asarray(np.log(scaled / points.shape[1]))
