"""The compiled part of ``windows``: places small pictures on larger ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curation.checks.duplicates.kernels.registration import Doubles, Floats, compiled, entry, inlined

Bytes = NDArray[np.int8]
Indices = NDArray[np.int64]

_HALF = np.int64(24)
_MOST = np.int64(16)
"""Sides, px, of the larger picture and of the smaller one at most."""

_LEAST_HOPE = 0.6
"""Agreement at the first size below which the other sizes are not tried, as 9 of 10 other pairs have."""

_EMPTY = 1e-3
"""Sum of squares, squared levels, below which there is nothing to be seen."""


@inlined
def _halved(picture: Bytes, whole: Floats) -> None:
    quarter = np.float32(0.25)
    for y in range(_HALF):
        for x in range(_HALF):
            four = np.int32(picture[2 * y, 2 * x]) + np.int32(picture[2 * y, 2 * x + 1])
            four += np.int32(picture[2 * y + 1, 2 * x]) + np.int32(picture[2 * y + 1, 2 * x + 1])
            whole[y * _HALF + x] = quarter * np.float32(four)


@inlined
def _shrunk(picture: Bytes, weights: Floats, side: int, rows: Floats, crop: Floats) -> None:
    """Fill ``crop`` (16, 16) with the picture (n, n) at ``side`` px, by weights (n, 16) of source and target.

    A source pixel lies in one target pixel or in two.
    """
    n = picture.shape[0]
    rows[:] = np.float32(0)
    for y in range(n):
        for s in range((y * side) // n, ((y + 1) * side - 1) // n + 1):
            weight = weights[y, s]
            for x in range(n):
                rows[s, x] += weight * np.float32(picture[y, x])
    crop[:] = np.float32(0)
    for x in range(n):
        for t in range((x * side) // n, ((x + 1) * side - 1) // n + 1):
            weight = weights[x, t]
            for s in range(side):
                crop[s, t] += weight * rows[s, x]


@compiled
def _centred(crop: Floats, side: int) -> float:
    """Take the mean off a crop; return the sum of its squares."""
    mean = 0.0
    for y in range(side):
        for x in range(side):
            mean += float(crop[y, x])
    mean /= side * side
    squares = 0.0
    for y in range(side):
        for x in range(side):
            crop[y, x] -= np.float32(mean)
            squares += float(crop[y, x]) * float(crop[y, x])
    return squares


@inlined
def _products(whole: Floats, crop: Floats, side: int, cross: Floats) -> None:
    """Fill ``cross`` with the sums of products of a crop with each window of ``whole``, by the window's first pixel.

    Where a window would not fit in, the sum runs on into the next row and means nothing.
    """
    places = int(_HALF - side) * _HALF + _HALF - side + 1
    cross[:] = np.float32(0)
    for y in range(side):
        for x in range(side):
            level = crop[y, x]
            window = whole[y * _HALF + x : y * _HALF + x + places]
            for k in range(places):
                cross[k] += level * window[k]


@inlined
def _add_row(whole: Floats, y: int, sign: float, columns: Doubles) -> None:
    for x in range(_HALF):
        value = float(whole[y * _HALF + x])
        columns[0, x] += sign * value
        columns[1, x] += sign * value * value


@compiled
def _best_place(whole: Floats, crop: Floats, side: int, cross: Floats, columns: Doubles, out: Indices) -> float:
    """Return the highest correlation of a crop with the windows of ``whole``; write its left and top into ``out``.

    The levels of ``whole`` (576,) are quarters, so sums over windows are exact and may be taken from running ones.
    """
    energy = _centred(crop, side)
    best = -1.0
    if energy < _EMPTY:
        return best
    places = int(_HALF - side + 1)
    _products(whole, crop, side, cross)
    columns[:] = 0.0
    for y in range(side - 1):
        _add_row(whole, y, 1.0, columns)
    for top in range(places):
        _add_row(whole, top + side - 1, 1.0, columns)
        total = squares = 0.0
        for x in range(side - 1):
            total += columns[0, x]
            squares += columns[1, x]
        for left in range(places):
            total += columns[0, left + side - 1]
            squares += columns[1, left + side - 1]
            variance = squares - total * total / (side * side)
            agreement = float(cross[top * _HALF + left]) / np.sqrt(energy * variance) if variance > _EMPTY else 0.0
            if agreement > best:
                best = agreement
                out[0], out[1] = left, top
            total -= columns[0, left]
            squares -= columns[1, left]
        _add_row(whole, top, -1.0, columns)
    return best


@entry
def place_crops(
    large: NDArray[np.int8],
    one: Indices,
    other: Indices,
    sides: Indices,
    weights: Floats,
    agreement: Doubles,
    places: Indices,
) -> None:
    """See ``kernel.place_crops``; ``weights`` (S, 48, 16) shrink a picture to each of the sides."""
    whole = np.empty(_HALF * _HALF, dtype=np.float32)
    rows = np.empty((_MOST, large.shape[2]), dtype=np.float32)
    crop = np.empty((_MOST, _MOST), dtype=np.float32)
    cross = np.empty(_HALF * _HALF, dtype=np.float32)
    columns = np.empty((2, _HALF))
    place = np.empty(2, dtype=np.int64)
    last = -1
    for k in range(one.shape[0]):
        agreement[k] = -1.0
        if one[k] != last:
            _halved(large[one[k]], whole)
            last = one[k]
        for n in range(sides.shape[0]):
            side = sides[n]
            _shrunk(large[other[k]], weights[n], side, rows, crop)
            found = _best_place(whole, crop, side, cross, columns, place)
            if found > agreement[k]:
                agreement[k] = found
                places[k, 0], places[k, 1], places[k, 2] = side, place[0], place[1]
            if found < _LEAST_HOPE:
                break
