"""How far an image is from the data's faces in embedding space: the angle to the faces nearest to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Embedding = npt.NDArray[np.floating[Any]]

_STRETCH = 10.0
"""Numbers of an embedding are 0 to 6 and mostly near 0; log(1 + 10 x) keeps the few large ones from deciding alone."""

_NEIGHBOURS = 10
"""Of the nearest faces the tenth counts: a few images alike, as copies of one placard, are no data of their own."""

_MOST = 1000
"""Faces that images are compared with at most, so that the cost grows with the images and no faster. A kind of picture
that makes up more than a hundredth of the data so has neighbours."""

_BATCH = 1000

_NEAREST = 1e-6
"""Least distance: the logarithm of 0 is none."""


def distance(embedding: Embedding, reference: Flags, contents: npt.NDArray[np.object_], seed: int) -> Floats:
    """Return the distance (n,) of each image to the tenth nearest of the reference images, NaN with fewer than 20.

    The numbers are logarithms of the cosine distance: the direction of an embedding tells a page of print from any
    face, while its length varies among faces (Mahalanobis' distance, which weighs both, found 1 of 25 such pages).

    Args:
        embedding: (n, dimensions).
        reference: (n,) which images say what the data is: those that surely show a face.
        contents: (n,) names; images with equal ones are not compared, and count once among the references.
        seed: of the draw of reference images.

    """
    code = np.unique(contents.astype(str), return_inverse=True)[1]
    rows = np.flatnonzero(reference)
    rows = rows[np.unique(code[rows], return_index=True)[1]]
    if len(rows) > _MOST:
        rows = np.sort(np.random.default_rng(seed).choice(rows, _MOST, replace=False))
    result = np.full(len(embedding), np.nan)
    if len(rows) < 2 * _NEIGHBOURS:
        return result
    faces = _directions(embedding[rows]).T
    for start in range(0, len(embedding), _BATCH):
        batch = slice(start, start + _BATCH)
        near = _directions(embedding[batch]) @ faces
        near[code[batch, None] == code[None, rows]] = -1
        nearest = np.partition(near, -_NEIGHBOURS, axis=1)[:, -_NEIGHBOURS]
        result[batch] = np.log(np.maximum(1 - nearest.astype(np.float64), _NEAREST))
    return result


def nearest(embedding: Embedding, faces: Embedding) -> Floats:
    """Return the logarithm of the cosine distance (n,) to the tenth nearest of faces (m, dimensions), at least 1."""
    near = _directions(embedding) @ _directions(faces).T
    tenth = min(_NEIGHBOURS, near.shape[1])
    return np.log(np.maximum(1 - np.partition(near, -tenth, axis=1)[:, -tenth].astype(np.float64), _NEAREST))


def stretched(embedding: Embedding) -> npt.NDArray[np.float32]:
    """Return embeddings whose numbers are near a normal law."""
    return np.asarray(np.log1p(_STRETCH * np.maximum(embedding.astype(np.float32), 0)), np.float32)


def _directions(embedding: Embedding) -> npt.NDArray[np.float32]:
    """Return stretched embeddings of length 1."""
    points = stretched(embedding)
    return np.asarray(points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-6), np.float32)
