"""Pairs -> groups of copies: stars, so that a group holds only what is proven against its best copy."""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def star_groups(
    size: int, pairs: Ints, probability: NDArray[np.float64], rank: Ints, composed: NDArray[np.bool_]
) -> Ints:
    """Number the groups of copies that pairs form.

    The best image that is in no group yet begins one, and all its copies that are in none join it: no chain of copies,
    and no picture that is a little of two, can bring two together that are not copies of each other. A picture composed
    of two comes after all others, and joins only the likeliest of what it is composed of.

    Args:
        size: number of images N
        pairs: (M, 2) row numbers below ``size``
        probability: (M,) that a pair is one picture, 0..1
        rank: (N,) places, 0 for the best image; all different
        composed: (N,) which are two pictures in one

    Returns:
        (N,) group numbers from 0, in order of the groups' first images.

    """
    group = np.arange(size, dtype=np.int64)
    neighbours: dict[int, list[int]] = {}
    for a, b in _without_lesser_sources(pairs, probability, rank, composed).tolist():
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    taken: set[int] = set()
    for centre in sorted(neighbours, key=lambda image: (composed[image], rank[image])):
        if centre not in taken:
            members = {centre, *neighbours[centre]} - taken
            taken |= members
            group[list(members)] = centre
    return _numbered(group)


def _without_lesser_sources(
    pairs: Ints, probability: NDArray[np.float64], rank: Ints, composed: NDArray[np.bool_]
) -> Ints:
    """Return the pairs, of a composed picture only the likeliest with one that is not; of equals the better ranked."""
    with_source = composed[pairs].sum(axis=1) == 1
    ordered = np.where(composed[pairs[:, :1]], pairs, pairs[:, ::-1])[with_source]
    order = np.lexsort([rank[ordered[:, 1]], -probability[with_source], ordered[:, 0]])
    _, first = np.unique(ordered[order, 0], return_index=True)
    return np.concatenate([pairs[~with_source], ordered[order][first]])


def components(size: int, pairs: Ints) -> Ints:
    """Return (N,) which connected part each of ``size`` images belongs to, numbered by their first images."""
    graph = scipy.sparse.coo_matrix(
        (np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(size, size)
    )
    return _numbered(np.asarray(scipy.sparse.csgraph.connected_components(graph, directed=False)[1], dtype=np.int64))


def _numbered(labels: Ints) -> Ints:
    """Renumber groups in order of their first members, whatever numbers they had."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]
