"""Pairs -> groups of copies: connected components, with a guard against chains. Linear in the number of pairs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

SURE = 0.99
"""Probability from which one pair alone may join two groups."""


def connected_groups(size: int, pairs: NDArray[np.int64], probability: NDArray[np.float64]) -> NDArray[np.int64]:
    """Number the groups of copies that pairs form.

    Sure pairs join first. A less sure pair then joins two groups only where it is no lone bridge between two crowds:
    one of the two has a single member, or the unsure pairs between them add up to at least one pair for each member of
    the smaller. So one doubtful link cannot chain two dense groups into one.

    Args:
        size: number of images N
        pairs: (M, 2) row numbers below ``size``
        probability: (M,) that a pair is one picture, 0..1

    Returns:
        (N,) group numbers from 0, in order of the groups' first images.

    """
    sure = probability >= SURE
    core = _components(size, pairs[sure])
    members = np.bincount(core, minlength=size)
    low, high = np.sort(core[pairs[~sure]], axis=1).T
    apart = low != high
    links, count = np.unique(np.stack([low[apart], high[apart]], axis=1), axis=0, return_counts=True)
    smaller = members[links].min(axis=1)
    joined = _components(size, links[(smaller == 1) | (count >= smaller)])
    return _numbered(joined[core])


def _components(size: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    graph = coo_matrix((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(size, size))
    _, labels = connected_components(graph, directed=False)
    return np.asarray(labels, dtype=np.int64)


def _numbered(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Renumber groups in order of their first members, whatever numbers they had."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]
