"""Pictures as they are searched: every content as it is, parts of some, and some turned or as negatives.

A turned copy need not be looked for among all pictures in all directions. The pictures of a data set have a common way
up, which their mean shows: of a picture and its turned copy one looks less like the mean than it would if it were
turned back, and only such are turned back and looked for. Where there is no common way up, half of all pictures are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from curation.base.pools.threads import Workers, blocks
from curation.base.tables import WHOLE, WINDOW
from curation.checks.duplicates.candidates import (
    AT_ONCE,
    FEW,
    Candidates,
    Index,
    Indices,
    Neighbours,
    Vectors,
    as_candidates,
)
from curation.checks.duplicates.features import MIRROR_SIGNS, PLAIN, Floats, Pixels, descriptors

Doubles = NDArray[np.float64]
Small = NDArray[np.int8]
Report = Callable[[int, int], None]
Search = Callable[[Vectors], Neighbours]

NEGATIVE = 4
"""Added to the number of quarter turns (0..3, anti-clockwise) where levels are inverted as well."""

_TURNS = (1, 2, 3, NEGATIVE, NEGATIVE + 1, NEGATIVE + 2, NEGATIVE + 3)

_LEAST_SIMILARITY = 0.75
"""Cosine of descriptors below which a turned picture's neighbour is not named: compression and tone leave 0.95."""

_SLACK = 0.02
"""A picture is turned although it looks less like the mean then, if by no more than this cosine: what was done to it
besides turning changes as much."""


class Parts(NamedTuple):
    """Parts of pictures that may be copies by themselves: what a frame or bars surround, each half of two in one.

    owner      -- (M,) row of the content
    kind       -- (M,) ``FRAMED`` or ``HALF``
    box        -- (M, 4) left, top, right, bottom, fractions of the content's picture
    thumbnails -- (M, 48, 48) uint8
    """

    owner: Indices
    kind: Indices
    box: Doubles
    thumbnails: Pixels


def no_parts() -> Parts:
    """Return none."""
    return Parts(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 4)), np.empty((0, 48, 48), np.uint8))


class Looks(NamedTuple):
    """What is searched; the first rows are the contents as they are.

    owner -- (R,) int64 row of the content
    kind  -- (R,) int8 how much of its picture: ``WHOLE``, ``FRAMED``, ``HALF`` or ``WINDOW``
    box   -- (R, 4) float32 the part of its picture
    turn  -- (R,) int8 quarter turns of that, and ``NEGATIVE``
    view  -- (R, 6) float32 of a ``WINDOW``: where its points lie in its picture, see ``kernel``
    """

    owner: Indices
    kind: Small
    box: Floats
    turn: Small
    view: Floats

    def some(self, rows: slice) -> Looks:
        """Return those in ``rows``."""
        return Looks(self.owner[rows], self.kind[rows], self.box[rows], self.turn[rows], self.view[rows])


_WHOLE = np.array([0.0, 0.0, 1.0, 1.0], dtype=np.float32)
AS_IT_IS = np.array([1.0, 0.0, 0.0, 0.0, 1.0, 0.0], dtype=np.float32)


def as_looks(contents: int, parts: Parts) -> Looks:
    """Return the looks of contents and of parts, none turned."""
    rows = np.arange(contents, dtype=np.int64)
    small, floats = np.empty(0, np.int8), np.empty((0, 6), np.float32)
    none = Looks(rows[:0], small, floats[:, :4], small, floats)
    return with_more(with_more(none, rows), parts.owner, kind=parts.kind, box=parts.box)


def with_more(looks: Looks, owner: Indices, **known: NDArray[Any]) -> Looks:
    """Return looks with others behind them: whole pictures as they are, apart from what is ``known`` by name."""
    usual: dict[str, Any] = {"owner": owner, "kind": WHOLE, "box": _WHOLE, "turn": 0, "view": AS_IT_IS} | known
    grown = []
    for name in Looks._fields:
        before: NDArray[Any] = getattr(looks, name)
        added = np.broadcast_to(np.asarray(usual[name]), (len(owner), *before.shape[1:]))
        grown.append(np.concatenate([before, added.astype(before.dtype)]))
    return Looks(*grown)


def turned(thumbnails: NDArray[np.uint8], turn: int) -> Pixels:
    """Return pictures (N, n, n) turned, and inverted if ``turn`` says so; see ``NEGATIVE``."""
    quarters = np.rot90(thumbnails, turn % NEGATIVE, axes=(1, 2))
    return np.ascontiguousarray(255 - quarters if turn >= NEGATIVE else quarters)


def pictured(owners: Pixels, kinds: Small, turns: Small, views: Floats) -> tuple[Pixels]:
    """Return what looks show of their owners' pictures (N, n, n): those turned, or windows."""
    shown = np.empty_like(owners)
    for turn in np.unique(turns).tolist():
        shown[turns == turn] = turned(owners[turns == turn], turn)
    for n in np.flatnonzero(kinds == WINDOW).tolist():
        shown[n] = seen_through(owners[n], views[n], cv2.INTER_CUBIC)
    return (shown,)


def seen_through(picture: NDArray[Any], view: NDArray[np.float64], method: int = cv2.INTER_LINEAR) -> NDArray[Any]:
    """Return a square picture (n, n) as a view (6,) shows it; see ``Looks``."""
    side = len(picture)
    middle = (side - 1) / 2
    linear = view.reshape(2, 3)[:, :2]
    shift = view.reshape(2, 3)[:, 2] * side + middle - linear @ np.full(2, middle)
    into = np.column_stack([linear, shift])
    flags = method | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(picture, into, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE))


def alike(search: Search, seen: Vectors, contents: int, count: int, least: float) -> Neighbours:
    """Return the ``count`` nearest contents whose cosine is at least ``least``, by cosine; -1 where there are fewer."""
    similarity, place = search(seen)
    similarity, place = similarity[:, :count], place[:, :count]
    similarity /= np.maximum(np.linalg.norm(seen.astype(np.float32), axis=1, keepdims=True) ** 2, 1.0)
    place[(similarity < least) | (place >= contents)] = -1
    return similarity, place


def nearest(index: Index, seen: Vectors, contents: int, count: int, least: float) -> tuple[Indices, Indices]:
    """Return (query, content) of the ``count`` nearest whose cosine is at least ``least``."""
    queries, places = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for some in blocks(len(seen), AT_ONCE):
        place = alike(index.search, seen[some], contents, count, least)[1]
        query, rank = np.nonzero(place >= 0)
        queries.append(query + some.start)
        places.append(place[query, rank])
    return np.concatenate(queries), np.concatenate(places)


class TurnSource:
    """Pictures that look more like the others when they are turned, or as negatives, and the nearest to them then."""

    SEARCHES: ClassVar[int] = len(_TURNS)
    """Of which progress tells."""

    def __init__(self, index: Index, report: Report | None = None, workers: Workers | None = None) -> None:
        """Search ``index``, which holds the contents' descriptors first, for the ``FEW`` nearest, itself among them."""
        self._index = index
        self._report = report
        self._workers = workers

    def pairs(self, thumbnails: Pixels, looks: Looks) -> tuple[Looks, Candidates]:
        """Return the looks that turning adds behind ``looks``, and pairs of contents with them.

        Args:
            thumbnails: (N, 48, 48) of the contents
            looks: of contents and parts

        """
        plain = self._index.vectors[: len(thumbnails)]
        mean, upright = _way_up(plain)
        row, turn, other, mirrored = [], [], [], []
        for done, way in enumerate(_TURNS):
            seen = descriptors(thumbnails, PLAIN, self._workers, partial(turned, turn=way))
            asked = np.flatnonzero(_cosines(seen, mean) + _SLACK >= upright)
            for flip in (False, True):
                looked = seen[asked] * MIRROR_SIGNS if flip else seen[asked]
                query, near = nearest(self._index, looked, len(thumbnails), FEW, _LEAST_SIMILARITY)
                apart = asked[query] != near
                row.append(asked[query][apart])
                other.append(near[apart])
                turn.append(np.full(int(apart.sum()), way))
                mirrored.append(np.full(int(apart.sum()), flip))
            if self._report is not None:
                self._report(done + 1, self.SEARCHES)
        keys = np.concatenate(row) * (2 * NEGATIVE) + np.concatenate(turn)
        distinct, place = np.unique(keys, return_inverse=True)
        owner = distinct // (2 * NEGATIVE)
        added = with_more(looks, owner, turn=distinct % (2 * NEGATIVE))
        return added, as_candidates(np.concatenate(other), len(looks.owner) + place, np.concatenate(mirrored))


def _way_up(plain: Vectors) -> tuple[Floats, Floats]:
    """Return the mean direction of descriptors and their mirror images, and the cosine of each with it."""
    total = np.zeros(plain.shape[1])
    for some in blocks(len(plain), AT_ONCE):
        seen = plain[some].astype(np.float32)
        total += (seen / np.maximum(np.linalg.norm(seen, axis=1, keepdims=True), 1.0)).sum(axis=0, dtype=np.float64)
    mean = total / max(len(plain), 1)
    mean = mean + mean * MIRROR_SIGNS
    direction = np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-6), dtype=np.float32)
    return direction, _cosines(plain, direction)


def _cosines(vectors: Vectors, direction: Floats) -> Floats:
    result = np.empty(len(vectors), dtype=np.float32)
    for some in blocks(len(vectors), AT_ONCE):
        seen = vectors[some].astype(np.float32)
        result[some] = (seen @ direction) / np.maximum(np.linalg.norm(seen, axis=1), 1.0)
    return result
