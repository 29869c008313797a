"""Labels of the nearest images in embedding space, without the image itself and its copies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from curation.base.arrays import Floats, Ints
from curation.labels.copies import members, sums

NEIGHBOURS = 10
"""Neighbours that vote (Zhu, Dong & Liu, ICML 2022, use 10)."""

_MOST_COPIES = 8
"""Most copies of an image that are skipped; of larger groups, some copies may vote."""

Embedding = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Neighbourhood:
    """The nearest images of each image.

    Attributes:
        rows: (n, k) their rows, nearest first; -1 where there are fewer.
        similarity: (n, k) cosine, -1..1; 0 where there is no neighbour.

    """

    rows: Ints
    similarity: Floats


def nearest(embedding: Embedding, groups: npt.ArrayLike, spaces: npt.ArrayLike, k: int = NEIGHBOURS) -> Neighbourhood:
    """Return the k nearest images by cosine, each within its own embedding space.

    Args:
        embedding: (n, dimensions).
        groups: (n,) names of groups of copies, "" for none; copies are no neighbours.
        spaces: (n,) each image's embedding space, such as its fold: those of two networks cannot be compared.
        k: neighbours.

    """
    names, workspace = np.asarray(groups, dtype=object), np.asarray(spaces)
    rows = np.full((len(names), k), -1, np.int64)
    similarity = np.zeros((len(names), k))
    for name in np.unique(workspace):
        members = np.flatnonzero(workspace == name)
        found, near = _searched(embedding[members], k + 1 + _MOST_COPIES)
        own = (found == np.arange(len(members))[:, None]) | (found < 0)
        copies = (names[members][:, None] != "") & (names[members][found] == names[members][:, None])
        # a stable sort keeps the nearest first and moves what may not vote to the end
        order = np.argsort(own | copies, axis=1, kind="stable")[:, :k]
        usable = ~np.take_along_axis(own | copies, order, axis=1)
        width = order.shape[1]
        rows[members, :width] = np.where(usable, members[np.take_along_axis(found, order, axis=1)], -1)
        similarity[members, :width] = np.where(usable, np.take_along_axis(near, order, axis=1), 0.0)
    return Neighbourhood(rows, similarity)


def _searched(embedding: Embedding, k: int) -> tuple[Ints, Floats]:
    """Return rows and cosines of the k nearest images, including the image itself, by exact search."""
    import faiss

    unit = np.ascontiguousarray(embedding, dtype=np.float32)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    index = faiss.IndexFlatIP(unit.shape[1])
    index.add(unit)
    near, found = index.search(unit, min(k, len(unit)))
    return found.astype(np.int64), near.astype(np.float64)


def votes(around: Neighbourhood, labels: Ints, classes: int) -> Floats:
    """Return how many neighbours have each label, (n, classes); a row sums to their number.

    They are evidence for or against the image's own label, as near images mostly have the same true class (the
    clusterability of Zhu, Dong & Liu, ICML 2022).
    """
    given = np.where(around.rows >= 0, labels[around.rows], -1)
    return np.stack([(given == place).sum(axis=1) for place in range(classes)], axis=1).astype(np.float64)


def share(counted: Floats) -> Floats:
    """Return votes as probabilities, (n, classes), with one added vote per class (Laplace's rule of succession)."""
    smoothed: Floats = (counted + 1.0) / (counted.sum(axis=1, keepdims=True) + counted.shape[1])
    return smoothed


def copies_votes(labels: Ints, groups: npt.ArrayLike, classes: int) -> Floats:
    """Return how many copies of each image, without itself, have each label, (n, classes)."""
    counted = np.zeros((len(labels), classes))
    rows, number = members(groups)
    own = np.eye(classes)[labels[rows]]
    counted[rows] = sums(own, number) - own
    return counted
