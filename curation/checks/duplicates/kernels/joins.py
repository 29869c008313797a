"""The compiled parts of the searches: hashes that meet in buckets, and the nearest of many descriptors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curation.checks.duplicates.kernels.registration import Floats, compiled, entry, inlined

Indices = NDArray[np.int64]
Row = NDArray[np.float32]

_CHUNKS = 4
_CHUNK_BITS = 16
"""As in ``candidates``."""

_GLANCE = 64
"""Products that are compared with the least of the best at once, in vectors: hardly any are among the best."""

_LOOK = 16
"""Products of those that are looked at next."""


@inlined
def _popcount(value: np.uint64) -> int:
    """Count bits by adding neighbours (Warren, Hacker's Delight, 5-1)."""
    value = value - ((value >> np.uint64(1)) & np.uint64(0x5555555555555555))
    value = (value & np.uint64(0x3333333333333333)) + ((value >> np.uint64(2)) & np.uint64(0x3333333333333333))
    value = (value + (value >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return int((value * np.uint64(0x0101010101010101)) >> np.uint64(56))


@inlined
def _first_near_chunk(difference: np.uint64, radii: Indices) -> int:
    for chunk in range(_CHUNKS):
        part = (difference >> np.uint64(chunk * _CHUNK_BITS)) & np.uint64(0xFFFF)
        if _popcount(part) <= radii[chunk]:
            return chunk
    return _CHUNKS


@entry
def probe_buckets(
    queries: NDArray[np.uint64],
    database: NDArray[np.uint64],
    query_rows: Indices,
    entry_rows: Indices,
    query_bounds: Indices,
    bounds: Indices,
    chunk: int,
    radii: Indices,
    radius: int,
    masks: Indices,
    found: Indices,
    number: Indices,
) -> None:
    """Write the pairs (M,) that this chunk is the first to find, and their number; both sides are sorted by it.

    Where they are more than ``found`` holds, the rest is counted only.
    """
    count = 0
    for key in range(bounds.shape[0] - 1):
        for mask in masks:
            first, last = bounds[key ^ mask], bounds[(key ^ mask) + 1]
            for q in range(query_bounds[key], query_bounds[key + 1]):
                for place in range(first, last):
                    difference = queries[q] ^ database[place]
                    if _popcount(difference) > radius or _first_near_chunk(difference, radii) != chunk:
                        continue
                    if count < found.shape[0]:
                        found[count] = (query_rows[q] << 32) | entry_rows[place]
                    count += 1
    number[0] = count


@entry
def keep_best(products: Floats, who: Indices, rows: Indices, least: Row, similarity: Floats, index: Indices) -> None:
    """Put the products (Q, M) of queries ``who`` with ``rows`` among the best (N, k), falling, equals by row.

    Products below ``least`` (N,) are dropped. It rises to the last of the best, and stays in the processor's cache
    where the best of all queries do not.
    """
    last = similarity.shape[1] - 1
    for n in range(products.shape[0]):
        query, row = who[n], products[n]
        for start in range(0, row.shape[0], _GLANCE):
            if _count_from(row[start : start + _GLANCE], least[query]) == 0:
                continue
            for first in range(start, min(start + _GLANCE, row.shape[0]), _LOOK):
                part = row[first : first + _LOOK]
                if _count_from(part, least[query]) > 0:
                    _put_in(part, rows[first : first + _LOOK], similarity[query], index[query])
                    least[query] = max(least[query], similarity[query, last])


@compiled
def _count_from(values: Floats, least: float) -> int:
    count = np.int32(0)
    for m in range(values.shape[0]):
        count += np.int32(values[m] >= least)
    return int(count)


@compiled
def _put_in(values: Floats, rows: Indices, best: Floats, index: Indices) -> None:
    last = best.shape[0] - 1
    for m in range(values.shape[0]):
        value, place = values[m], last
        if value < best[place] or (value == best[place] and rows[m] > index[place]):
            continue
        while place > 0 and (value > best[place - 1] or (value == best[place - 1] and rows[m] < index[place - 1])):
            best[place], index[place] = best[place - 1], index[place - 1]
            place -= 1
        best[place], index[place] = value, rows[m]


@entry
def best_distinct(
    similarity_a: Floats,
    index_a: Indices,
    similarity_b: Floats,
    index_b: Indices,
    similarity: Floats,
    index: Indices,
) -> None:
    """Merge two lists of neighbours (N, k) into the k most similar distinct ones; equals are ordered by index."""
    rows, count = similarity_a.shape
    for row in range(rows):
        for k in range(count):
            similarity[row, k], index[row, k] = -np.inf, -1
        a = b = filled = 0
        while filled < count and a + b < 2 * count:
            take_a = b >= count or (
                a < count
                and (
                    similarity_a[row, a] > similarity_b[row, b]
                    or (similarity_a[row, a] == similarity_b[row, b] and index_a[row, a] <= index_b[row, b])
                )
            )
            value = similarity_a[row, a] if take_a else similarity_b[row, b]
            place = index_a[row, a] if take_a else index_b[row, b]
            a += take_a
            b += not take_a
            known = place < 0
            for k in range(filled):
                known |= index[row, k] == place
            if known:
                continue
            similarity[row, filled] = value
            index[row, filled] = place
            filled += 1
