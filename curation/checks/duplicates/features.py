"""What the search derives from thumbnails: descriptors for finding candidates, small pictures for registering them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import scipy
from numpy.typing import NDArray

from curation.base import scratch
from curation.base.pools import usable_cores
from curation.base.pools.threads import Threads, Workers, fill

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Bytes = NDArray[np.int8]

SIDE = 48
"""Side of a thumbnail, px."""


class View(NamedTuple):
    """How a picture is looked at in a search: zoom about the centre, shift in px of 48, and turn, degrees."""

    zoom: float
    dx: float
    dy: float
    turn: float = 0.0


PLAIN = View(1.0, 0.0, 0.0)

_BLUR = 1.5
"""Standard deviation in px of 48: a shift of 1 px changes the descriptor little."""

_GRID = 16
"""Descriptors are made from 16 x 16 averages."""

_CUTOFF = 7.0
"""Highest spatial frequency kept, in half waves a side: 44 coefficients."""

_TILT = 0.5
"""Coefficients are scaled by frequency to this power. The power in pictures falls with the square of frequency
(Field 1987); half-way to white weighs coarse and fine so that neither one covered patch nor a shift decides."""

QUANTUM = 127
"""Descriptors have about this length, and whole numbers for entries."""

_MATRIX_SUM = 65_000
"""Absolute entries of a column of the descriptor matrix add up to at most this: times 255 that is below 2^24."""

_FREQUENCY = np.hypot(*np.mgrid[:_GRID, :_GRID])
_KEPT = (_FREQUENCY > 0) & (_FREQUENCY <= _CUTOFF)
_LENGTH = int(_KEPT.sum())

MIRROR_SIGNS: Bytes = np.where(np.nonzero(_KEPT)[1] % 2 == 1, -1, 1).astype(np.int8)
"""(44,) factors that turn a plain view's descriptor into that of the mirrored picture: odd horizontal cosines flip."""

_MIDDLE_BLUR = 1.2
_SMALL_BLUR = 2.5
"""Standard deviations in px of 48 before averaging over 2 x 2 and 4 x 4 px."""


_SURROUND = 8.0
"""Standard deviation of what counts as local, px of 48: a third of a face."""

_FLAT = 8.0
"""Added to the local standard deviation, grey levels: flat parts stay flat instead of showing their noise."""

_UNIT = 50.0
"""Evened levels a standard deviation; values beyond 2.5 deviations are clipped."""

_AT_ONCE = 8
"""Views whose descriptors are made together: 0.35 KB a picture."""

ALONE = Threads()
"""One thread."""

_FLAT_LEVELS = 1.5
_FLAT_SHARE = 0.04
_LEAST_FLAT = 0.5
"""Levels: nothing is to be seen where the 5 x 5 levels around deviate by less than 1.5, or by less than this share of
the picture's own deviation (dark pictures have little of everything), but never less than rounding makes."""

_FILLED = 0.03
"""Share of the picture from which a flat area is filled: a frame, a bar, a covered part, a plain ground."""

_FLAT_EDGE = 3
"""The windows stop so many pixels short of a flat area's edge, compression's ringing included."""

_FILLINGS = ((3.0, 1.0), (8.0, 0.05), (20.0, 0.002))
"""Standard deviations, px, of the means that fill, and their weights: the nearest that reach count."""

_IN_PLANE = np.zeros((3, 3, 3), dtype=np.bool_)
_IN_PLANE[1] = True


def filled(thumbnails: Pixels, folder: Path | None = None, workers: Workers = ALONE) -> Pixels:
    """Return thumbnails (N, 48, 48) whose large flat areas are filled by what surrounds them, smoothly.

    Plain ground, bars, frames and covered parts are no likeness and no difference: filled, they neither draw two
    pictures together nor apart. They lie in a file of ``folder``, or in memory where it is None.
    """
    result = scratch.mapped_zeros(folder, thumbnails.shape, np.uint8)
    fill(workers, _filled, [thumbnails], [result])
    return result


def _filled(thumbnails: Pixels) -> tuple[Pixels]:
    result, flat = thumbnails.copy(), _flat_areas(thumbnails)
    for n in np.flatnonzero(flat.any(axis=(1, 2))).tolist():
        result[n][flat[n]] = _filling(thumbnails[n], flat[n])[flat[n]]
    return (result,)


def _flat_areas(thumbnails: Pixels) -> NDArray[np.bool_]:
    levels = thumbnails.astype(np.float32)
    window = (1, 5, 5)
    mean = scipy.ndimage.uniform_filter(levels, window, mode="nearest")
    variance = scipy.ndimage.uniform_filter(levels * levels, window, mode="nearest") - mean * mean
    own = levels.std(axis=(1, 2), keepdims=True)
    flat = variance < np.clip(_FLAT_SHARE * own, _LEAST_FLAT, _FLAT_LEVELS) ** 2
    some = flat.mean(axis=(1, 2)) >= _FILLED
    flat[~some] = False
    parts, count = scipy.ndimage.label(flat[some], _IN_PLANE)
    size = np.bincount(parts.ravel(), minlength=count + 1)
    large = size >= _FILLED * SIDE * SIDE
    large[0] = False
    flat[some] = scipy.ndimage.binary_dilation(large[parts], _IN_PLANE, iterations=_FLAT_EDGE)
    flat[flat.all(axis=(1, 2))] = False
    return np.asarray(flat)


def _filling(thumbnail: Pixels, flat: NDArray[np.bool_]) -> Pixels:
    seen = (~flat).astype(np.float32)
    levels = thumbnail * seen
    total, weight = np.zeros_like(seen), np.full_like(seen, 1e-9)
    for deviation, factor in _FILLINGS:
        total += factor * cv2.GaussianBlur(levels, (0, 0), deviation, borderType=cv2.BORDER_CONSTANT)
        weight += factor * cv2.GaussianBlur(seen, (0, 0), deviation, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(np.rint(np.clip(total / weight, 0, 255)), dtype=np.uint8)


class Pictures(NamedTuple):
    """What verification looks at, a row a look.

    small, middle, large -- (R, 12, 12), (R, 24, 24) and (R, 48, 48) int8, evened, all -127..127
    levels    -- (R, 48, 48) uint8 grey levels
    landmarks -- (R, 10) of the best face, fractions of the look, see ``Face``; NaN where there is none
    """

    small: NDArray[np.int8]
    middle: NDArray[np.int8]
    large: NDArray[np.int8]
    levels: Pixels
    landmarks: NDArray[np.float64]


def pictures(
    thumbnails: Pixels,
    landmarks: NDArray[np.float64] | None = None,
    folder: Path | None = None,
    large: NDArray[np.int8] | None = None,
    workers: Workers = ALONE,
) -> Pictures:
    """Return thumbnails (R, 48, 48) uint8, filled (see ``filled``) and evened (see ``evened``), at the three sizes.

    They lie in files of ``folder`` (see ``scratch.mapped_zeros``), or in memory where it is None. ``large`` are the
    evened thumbnails, where they are there already.
    """
    count = len(thumbnails)
    large = all_evened(filled(thumbnails, folder, workers), folder, workers) if large is None else large
    small, middle = (scratch.mapped_zeros(folder, (count, side, side), np.int8) for side in (SIDE // 4, SIDE // 2))
    fill(workers, _reduced, [large], [small, middle])
    known = np.full((count, 10), np.nan) if landmarks is None else landmarks
    return Pictures(small, middle, large, thumbnails, known)


def _reduced(large: NDArray[np.int8]) -> list[NDArray[np.int8]]:
    small, middle = (np.empty((len(large), side, side), dtype=np.int8) for side in (SIDE // 4, SIDE // 2))
    for n, picture in enumerate(large):
        levels = picture.astype(np.float32)
        coarse, soft = cv2.GaussianBlur(levels, (0, 0), _SMALL_BLUR), cv2.GaussianBlur(levels, (0, 0), _MIDDLE_BLUR)
        small[n] = np.rint(cv2.resize(coarse, small.shape[1:], interpolation=cv2.INTER_AREA))
        middle[n] = np.rint(cv2.resize(soft, middle.shape[1:], interpolation=cv2.INTER_AREA))
    return [small, middle]


def all_evened(thumbnails: Pixels, folder: Path | None = None, workers: Workers = ALONE) -> NDArray[np.int8]:
    """Return thumbnails (R, 48, 48) evened, see ``evened``."""
    result = scratch.mapped_zeros(folder, thumbnails.shape, np.int8)
    fill(workers, _each_evened, [thumbnails], [result], again=True)  # descriptors are made of them, too
    return result


def _each_evened(thumbnails: Pixels) -> tuple[NDArray[np.int8]]:
    result = np.empty(thumbnails.shape, dtype=np.int8)
    for n, thumbnail in enumerate(thumbnails):
        result[n] = evened(thumbnail)
    return (result,)


def evened(thumbnail: Pixels) -> NDArray[np.int8]:
    """Return (48, 48) int8: how many local standard deviations a pixel is from its local mean, times ``_UNIT``.

    Divisive normalisation (as in Jarrett et al. 2009): light, tone and contrast drop out, and text or a covered patch
    weighs no more than anything else.
    """
    levels = thumbnail.astype(np.float32)
    difference = levels - cv2.GaussianBlur(levels, (0, 0), _SURROUND, borderType=cv2.BORDER_REFLECT)
    variance = cv2.GaussianBlur(difference * difference, (0, 0), _SURROUND, borderType=cv2.BORDER_REFLECT)
    even = np.rint(difference * (_UNIT / (np.sqrt(variance) + _FLAT)))
    return np.asarray(np.clip(even, -127, 127), dtype=np.int8)


Prepare = Callable[..., Pixels]


def descriptors(
    thumbnails: Pixels, view: View, workers: Workers | None = None, prepare: Prepare | None = None, *also: NDArray[Any]
) -> Bytes:
    """Return descriptors (N, 44) int8 of thumbnails (N, 48, 48) uint8 seen through ``view``.

    What is seen is ``prepare(thumbnails, *also)``, if it is given, of some thumbnails and the same rows of ``also``.

    A descriptor holds the low cosine coefficients (DCT-II, Ahmed, Natarajan & Rao 1974) of the blurred picture without
    its mean, scaled to one length. Entries are whole numbers, so that every inner product is exact in single
    precision, whatever the order of summation: the same neighbours on every machine.
    """
    return next(seen_by(thumbnails, [view], workers, prepare, *also))


def seen_by(
    thumbnails: Pixels,
    views: Sequence[View],
    workers: Workers | None = None,
    prepare: Prepare | None = None,
    *also: NDArray[Any],
) -> Iterator[Bytes]:
    """Yield the descriptors through each view; several are made at a time, for the pictures are read once for them."""
    for first in range(0, len(views), _AT_ONCE):
        some = tuple(views[first : first + _AT_ONCE])
        result = np.empty((len(thumbnails), len(some), _LENGTH), dtype=np.int8)
        do = partial(_described, some, prepare)
        fill(workers or Threads(usable_cores()), do, [thumbnails, *also], [result], again=True)
        yield from result.swapaxes(0, 1)


def _described(
    views: tuple[View, ...], prepare: Prepare | None, thumbnails: Pixels, *also: NDArray[Any]
) -> tuple[NDArray[np.int8]]:
    """Return the descriptors of pictures through views: (N, views, 44)."""
    with _MAKING:
        matrices = _descriptor_matrices(views)
    pictures = thumbnails if prepare is None else prepare(thumbnails, *also)
    spectrum = (pictures.reshape(-1, SIDE * SIDE).astype(np.float32) @ matrices).astype(np.float64)
    spectrum = spectrum.reshape(len(spectrum), -1, _LENGTH)
    length = np.sqrt((spectrum**2).sum(axis=2, keepdims=True))
    return (np.rint(spectrum * (QUANTUM / np.maximum(length, 1.0))).astype(np.int8),)


@cache
def _plain_matrix() -> NDArray[np.float64]:
    """Return the matrix (2304, 44) that blur, averages, cosines and their weights are together: all are linear."""
    rows = np.empty((SIDE * SIDE, _GRID, _GRID))
    for n, impulse in enumerate(np.eye(SIDE * SIDE, dtype=np.float32).reshape(-1, SIDE, SIDE)):
        rows[n] = cv2.resize(cv2.GaussianBlur(impulse, (0, 0), _BLUR), (_GRID, _GRID), interpolation=cv2.INTER_AREA)
    k, x = np.mgrid[:_GRID, :_GRID]
    cosines = np.cos(np.pi * (x + 0.5) * k / _GRID) * np.where(k == 0, np.sqrt(0.5), 1.0)
    return np.asarray((cosines @ rows @ cosines.T)[:, _KEPT] * _FREQUENCY[_KEPT] ** _TILT)


_MAKING = threading.Lock()
"""One thread makes the matrices that others wait for."""


@lru_cache(maxsize=1)
def _descriptor_matrices(views: tuple[View, ...]) -> Floats:
    """Return the matrices (2304, 44 each) of views side by side; made where they are used, for they are large."""
    return np.concatenate([_descriptor_matrix(view) for view in views], axis=1)


def _descriptor_matrix(view: View) -> Floats:
    """Return the whole-number matrix (2304, 44) that view and ``_plain_matrix`` are together."""
    centre = (SIDE - 1) / 2
    along, across = np.cos(np.radians(view.turn)) / view.zoom, np.sin(np.radians(view.turn)) / view.zoom
    y, x = (places.ravel() - centre for places in np.mgrid[:SIDE, :SIDE])
    # bilinear weights of the pixels that each pixel of the view is made of; beyond the edge the edge is repeated
    left, down = along * x - across * y + centre + view.dx, across * x + along * y + centre + view.dy
    weights, sources = [], []
    for column, row in ((0, 0), (0, 1), (1, 0), (1, 1)):
        weights.append(np.abs(1 - column - left % 1) * np.abs(1 - row - down % 1))
        place = [(np.floor(at) + step).clip(0, SIDE - 1) for at, step in ((down, row), (left, column))]
        sources.append((place[0] * SIDE + place[1]).astype(np.int64))
    source = np.concatenate(sources)
    # sums in the order of the weights; those of one entry are not added up before
    order, pixels = np.argsort(source, kind="stable"), SIDE * SIDE
    bounds = np.searchsorted(source[order], np.arange(pixels + 1))
    seen = scipy.sparse.csr_array((np.concatenate(weights)[order], order % pixels, bounds), shape=(pixels, pixels))
    matrix = seen @ _plain_matrix()
    # one scale for all columns, or the tilt would be lost; rounding of impulses must not see the mean
    matrix -= matrix.mean(axis=0)
    return np.asarray(np.rint(matrix * (_MATRIX_SUM / np.abs(matrix).sum(axis=0).max())), dtype=np.float32)
