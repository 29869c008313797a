"""Crops so tight, turns and shifts so large that the whole pictures look otherwise: what both show is searched.

Of a crop, the windows of every picture are looked for among all pictures. Of a turn or a shift, what both pictures of
such a pair show is looked for: the middle, one of them turned back, or opposite corners. What is found is laid over the
picture where its details agree best, and named if they agree well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from curation.base import scratch
from curation.base.pools.threads import Workers, blocks
from curation.base.tables import WINDOW
from curation.checks.duplicates.candidates import (
    FEW,
    Candidates,
    Elsewhere,
    Index,
    Indices,
    Neighbours,
    Searcher,
    Vectors,
    as_candidates,
    in_parts,
    merged,
    no_neighbours,
    searcher,
)
from curation.checks.duplicates.features import ALONE, PLAIN, SIDE, Floats, Pixels, View, seen_by
from curation.checks.duplicates.kernel import Stack, place_crops
from curation.checks.duplicates.looks import Looks, Search, alike, nearest, seen_through, with_more

Doubles = NDArray[np.float64]
Report = Callable[[int, int], None]

_CROP = 29
_CROP_STARTS = (0, 5, 10, 14, 19)
"""Windows of 60 % of the side, px of 48, and where they begin: crops of 20 % a side, wherever they lie."""

_MIDDLE = 34
_TURNS = (15.0, 30.0, 45.0)
"""Side, px, of the middle that any turn leaves in the picture, and turns, degrees; a turn the other way is found from
the other picture."""

_INWARDS = 1.3
"""By how much a picture that is turned is enlarged before it is compared: the fill of a turned copy's corners, which no
turn of the other picture reproduces, falls outside the part in common."""

_CORNER = 38
_APART = SIDE - _CORNER
"""Side, px, of what a shift by 20 % of the side leaves, and that shift."""

_SHIFTS = ((1, 1), (1, -1), (1, 0), (0, 1))
"""Directions of a shift; the opposite ones are found from the other picture."""

_LEAST_SHIFT = 0.12
"""Share of the side below which pictures are compared as they are: a second look at them would be a second chance."""

_LEAST_SIMILARITY = 0.7
_LEAST_SIMILARITY_IN_COMMON = 0.8
"""The cosine of descriptors from which neighbours are looked at: of crops, for windows seldom lie right, and of what
turned and shifted pictures have in common."""

_CROPS_OF_A_PICTURE = 16
"""So many of those that its windows are most similar to are looked at: of 4,665 near copies among 20,214 images one was
found by another only, and among a million every window is similar to some."""

_VIEWS_A_TASK = 8
"""Windows that a worker elsewhere looks through at a time: the more, the less is sent."""

_PAIRS_A_PICTURE = 1
"""Pairs to look at at a time: each maps 64 KiB of a file of pictures."""

_HALF = SIDE // 2
_CROP_SIDES = (15, 14, 16)
_LEAST_AGREEMENT = 0.74
"""Sides, px of 24, at which a crop is laid over the picture, and the correlation of details at the best place from
which a pair is named: 98 of 100 crops have more, and 1 of 100 other pairs."""


class _Search(NamedTuple):
    """How one picture of a pair and the other are looked at."""

    own: View
    other: View


_SEARCHES = (
    *(
        _Search(View(SIDE / _CROP, left - (SIDE - _CROP) / 2, top - (SIDE - _CROP) / 2), PLAIN)
        for top in _CROP_STARTS
        for left in _CROP_STARTS
    ),
    *(_Search(View(SIDE / _MIDDLE, 0, 0, turn), View(SIDE / _MIDDLE, 0, 0)) for turn in _TURNS),
    *(
        _Search(
            View(SIDE / _CORNER, dx * _APART / 2, dy * _APART / 2),
            View(SIDE / _CORNER, -dx * _APART / 2, -dy * _APART / 2),
        )
        for dx, dy in _SHIFTS
    ),
)


class WindowSource:
    """Windows of pictures, and the pictures that show the same as they."""

    SEARCHES: ClassVar[int] = len(_SEARCHES)
    """Of which progress tells."""

    def __init__(
        self, index: Index, report: Report | None = None, made: Searcher | None = None, workers: Workers = ALONE
    ) -> None:
        """Search ``index``, which holds the contents' descriptors first, for ``FEW``, and others by ``made``."""
        self._index = index
        self._report = report
        self._searcher = made or searcher
        self._workers = workers

    def pairs(self, thumbnails: Pixels, large: Stack, looks: Looks) -> tuple[Looks, Candidates]:
        """Return the looks that windows add behind ``looks``, and pairs of contents with them.

        Args:
            thumbnails: (N, 48, 48) of the contents
            large: (N or more, 48, 48) the same, evened
            looks: all so far

        """
        told: list[Doubles] = [np.empty((0, _TOLD))]
        shown = self._workers.doing(_make_shown, large)
        for search, found in self._found(thumbnails):
            parts = blocks(len(found), _PAIRS_A_PICTURE * self._workers.rows)
            for some in shown([(search, found[part]) for part in parts]):
                told.append(some)
                scratch.release(large)
        named = np.concatenate(told)
        del told
        whom = named[:, 0].astype(np.int64)
        seen, place = np.unique(named[:, 1:], axis=0, return_inverse=True)
        added = with_more(looks, seen[:, 0].astype(np.int64), kind=np.array(WINDOW), view=seen[:, 1:])
        return added, as_candidates(whom, len(looks.owner) + place.ravel(), np.zeros(len(whom), dtype=np.bool_))

    def _found(self, thumbnails: Pixels) -> Iterator[tuple[_Search, Indices]]:
        """Yield searches with the pairs (M, 2) to look at; all crops of some pictures are one."""
        contents, whole = len(thumbnails), [search for search in _SEARCHES if search.other == PLAIN]
        parts = in_parts(thumbnails)
        for n, (some, pictures) in enumerate(parts):
            crops = no_neighbours(len(pictures), _CROPS_OF_A_PICTURE)
            views = [search.own for search in whole]
            for done, rows, shown in self._nearest_to_windows(pictures, some.start, views, contents):
                crops[0][rows], crops[1][rows] = merged((crops[0][rows], crops[1][rows]), shown)
                self._tell((n * len(whole) + done) // len(parts))
            picture, rank = np.nonzero(crops[1] >= 0)
            yield whole[0], np.stack([picture + some.start, crops[1][picture, rank]], axis=1)
        for done, search in enumerate((search for search in _SEARCHES if search.other != PLAIN), start=len(whole)):
            own, other = seen_by(thumbnails, search, self._workers)
            index = Index(other, self._searcher(other, min(FEW, contents)))
            found = np.stack(nearest(index, own, contents, FEW, _LEAST_SIMILARITY_IN_COMMON), axis=1)
            yield search, found[found[:, 0] != found[:, 1]]
            self._tell(done + 1)

    def _nearest_to_windows(
        self, pictures: Pixels, start: int, views: list[View], contents: int
    ) -> Iterator[tuple[int, slice, Neighbours]]:
        """Yield what windows of some pictures are most similar to, and how many views are done.

        Workers that search elsewhere, and have the pictures, see and search together.
        """
        search, rows = self._index.search, self._workers.rows
        if not isinstance(search, Elsewhere):
            for done, seen in enumerate(seen_by(pictures, views, self._workers), start=1):
                yield done, slice(None), _shown_in(search, seen, contents, start)
            return
        parts = list(zip(self._workers.sent(pictures, again=True), blocks(len(pictures), rows), strict=True))
        some = [views[part] for part in blocks(len(views), _VIEWS_A_TASK)]
        tasks = [(part, start + block.start, seen) for seen in some for part, block in parts]
        found = self._workers.doing(_make_seeing, search.make, search.arguments, contents)(tasks)
        for done, best in enumerate(found, start=1):
            yield done * len(views) // len(tasks), parts[(done - 1) % len(parts)][1], best

    def _tell(self, done: int) -> None:
        if self._report is not None:
            self._report(done, self.SEARCHES)


def _shown_in(search: Search, seen: Vectors, contents: int, start: int) -> Neighbours:
    """Return what windows of pictures from row ``start`` on show, these pictures aside, with room for more."""
    found = alike(search, seen, contents, FEW, _LEAST_SIMILARITY)
    similarity, place = no_neighbours(len(seen), _CROPS_OF_A_PICTURE)
    similarity[:, : found[0].shape[1]], place[:, : found[0].shape[1]] = found
    place[place == np.arange(start, start + len(seen))[:, None]] = -1  # similarity stays, for it falls
    return similarity, place


def _make_seeing(
    make: Callable[..., Search], arguments: Sequence[Any], contents: int
) -> Callable[[tuple[Pixels, int, Sequence[View]]], Neighbours]:
    """Return what finds the crops that pictures from a row on show through views, by a search of its own."""
    search = make(*arguments)

    def seeing(task: tuple[Pixels, int, Sequence[View]]) -> Neighbours:
        pictures, start, views = task
        crops = no_neighbours(len(pictures), _CROPS_OF_A_PICTURE)
        for seen in seen_by(pictures, views, ALONE):
            crops = merged(crops, _shown_in(search, seen, contents, start))
        return crops

    return seeing


_TOLD = 8
"""Numbers that tell of a pair: the second row, the first row, and the view of the first (6)."""


def _make_shown(large: Stack) -> Callable[[tuple[_Search, Indices]], Doubles]:
    """Return what looks at pairs (M, 2) of evened pictures as a search wants them looked at, telling ``_TOLD`` each."""

    def shown(task: tuple[_Search, Indices]) -> Doubles:
        search, pairs = task
        return _crops(large, pairs) if search.other == PLAIN else _in_common(large, search.own, pairs)

    return shown


def _crops(large: Stack, pairs: Indices) -> Doubles:
    """Return what is told of pairs (M, 2) in which the second is a crop of the first: (K, 8)."""
    one, other = (np.ascontiguousarray(side) for side in pairs.T)
    agreement, places = place_crops(large, one, other, _CROP_SIDES)
    found = np.flatnonzero(agreement >= _LEAST_AGREEMENT)
    side, left, top = places[found].T.astype(np.float64)
    across, down = ((start + side / 2) / _HALF - 0.5 for start in (left, top))
    nothing = np.zeros(len(found))
    view = (side / _HALF, nothing, across, nothing, side / _HALF, down)
    return np.column_stack([other[found], one[found], *view])


def _in_common(large: Stack, own: View, pairs: Indices) -> Doubles:
    """Return what is told of pairs (M, 2) that agree in the middle or in opposite corners: (K, 8)."""
    told = []
    for one, other in pairs.tolist():
        agreement, view = _common(_half(large[one]), _half(large[other]), own)
        if agreement >= _LEAST_AGREEMENT:
            told.append((other, one, *view))
    return np.array(told, dtype=np.float64).reshape(-1, _TOLD)


def _half(picture: NDArray[np.int8]) -> Floats:
    levels = picture.astype(np.float32)
    return np.asarray(cv2.resize(levels, (_HALF, _HALF), interpolation=cv2.INTER_AREA), dtype=np.float32)


def _common(picture: Floats, whole: Floats, own: View) -> tuple[float, tuple[float, ...]]:
    turn = math.radians(own.turn)
    linear = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    if own.turn:
        picture = seen_through(picture, np.column_stack([linear, np.zeros(2)]).ravel())
    side = round(_HALF / own.zoom)
    start = [round((_HALF - side) / 2 + shift / 2) for shift in (own.dx, own.dy)]
    common = np.ascontiguousarray(picture[start[1] : start[1] + side, start[0] : start[0] + side])
    _, most, _, place = cv2.minMaxLoc(cv2.matchTemplate(whole, common, cv2.TM_CCOEFF_NORMED))
    # what lies at start in the picture as turned lies at place in the other
    apart = (np.array(start) - np.array(place)) / _HALF
    if not own.turn and np.abs(apart).max() < _LEAST_SHIFT:
        return -1.0, ()
    if own.turn:
        return most, tuple(np.column_stack([linear / _INWARDS, linear @ apart]).ravel().tolist())
    middle = (np.array(start) + side / 2) / _HALF - 0.5
    return most, tuple(np.column_stack([linear * side / _HALF, middle]).ravel().tolist())
