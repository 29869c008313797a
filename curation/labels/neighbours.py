"""What the nearest images are labelled: votes in embedding space, without the image itself and without its copies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from curation.base.arrays import Floats, Ints
from curation.labels.copies import members, sums

NEIGHBOURS = 10
"""Images that vote (Zhu, Dong & Liu, ICML 2022, use 10)."""

_MOST_COPIES = 8
"""Copies of an image that may be looked past; of larger groups some copies may vote."""

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
    """Return the k nearest images by cosine, each image searched for in its own space only.

    Args:
        embedding: (n, dimensions); those of two folds come from two networks and cannot be compared.
        groups: (n,) names of groups of copies, "" for none; a copy is no neighbour.
        spaces: (n,) which space an image's embedding is in, such as its fold.
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
    """Return rows and cosines of the k nearest, the image itself among them, by exact search."""
    import faiss

    unit = np.ascontiguousarray(embedding, dtype=np.float32)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    index = faiss.IndexFlatIP(unit.shape[1])
    index.add(unit)
    near, found = index.search(unit, min(k, len(unit)))
    return found.astype(np.int64), near.astype(np.float64)


def votes(around: Neighbourhood, labels: Ints, classes: int) -> Floats:
    """Return how many of the neighbours carry each label, (n, classes); a row sums to the neighbours there are.

    An image's own label is no part of its votes, so that the votes tell against it or for it (the clusterability of
    Zhu, Dong & Liu, ICML 2022: near images have the same true class).
    """
    given = np.where(around.rows >= 0, labels[around.rows], -1)
    counted: Floats = np.stack([(given == place).sum(axis=1) for place in range(classes)], axis=1).astype(np.float64)
    return counted


def share(counted: Floats) -> Floats:
    """Return votes as probabilities, (n, classes): one vote more for every class (Laplace's rule of succession)."""
    smoothed: Floats = (counted + 1.0) / (counted.sum(axis=1, keepdims=True) + counted.shape[1])
    return smoothed


def copies_votes(labels: Ints, groups: npt.ArrayLike, classes: int) -> Floats:
    """Return how many copies of each image carry each label, (n, classes), without the image itself.

    A picture that somebody labelled twice, differently, is in doubt whatever a model says.
    """
    counted = np.zeros((len(labels), classes))
    rows, number = members(groups)
    own = np.eye(classes)[labels[rows]]
    counted[rows] = sums(own, number) - own
    return counted
