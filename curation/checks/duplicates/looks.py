"""Pictures as they are searched: every content as it is, parts of some, and some turned or as negatives.

A turned copy need not be looked for among all pictures in all directions. The pictures of a data set have a common way
up, which their mean shows: of a picture and its turned copy one looks less like the mean than it would if it were
turned back, and only such are turned back and looked for. Where there is no common way up, half of all pictures are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curation.base.tables import WHOLE
from curation.checks.duplicates.candidates import Candidates, Index, Indices, as_candidates
from curation.checks.duplicates.features import MIRROR_SIGNS, PLAIN, Floats, Pixels, descriptors

Doubles = NDArray[np.float64]
Report = Callable[[int, int], None]

NEGATIVE = 4
"""Added to the number of quarter turns (0..3, anti-clockwise) where levels are inverted as well."""

_TURNS = (1, 2, 3, NEGATIVE, NEGATIVE + 1, NEGATIVE + 2, NEGATIVE + 3)

_NEAREST = 3
"""Neighbours that are named for a turned picture."""

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

    owner -- (R,) row of the content
    kind  -- (R,) how much of its picture: ``WHOLE``, ``FRAMED`` or ``HALF``
    box   -- (R, 4) the part of its picture
    turn  -- (R,) quarter turns of that, and ``NEGATIVE``
    """

    owner: Indices
    kind: Indices
    box: Doubles
    turn: Indices


_WHOLE = np.array([0.0, 0.0, 1.0, 1.0])


def as_looks(contents: int, parts: Parts) -> Looks:
    """Return the looks of contents and of parts, none turned."""
    return Looks(
        np.concatenate([np.arange(contents, dtype=np.int64), parts.owner]),
        np.concatenate([np.full(contents, WHOLE), parts.kind]),
        np.concatenate([np.tile(_WHOLE, (contents, 1)), parts.box]),
        np.zeros(contents + len(parts.owner), dtype=np.int64),
    )


def turned(thumbnails: NDArray[np.uint8], turn: int) -> Pixels:
    """Return pictures (N, n, n) turned, and inverted if ``turn`` says so; see ``NEGATIVE``."""
    quarters = np.rot90(thumbnails, turn % NEGATIVE, axes=(1, 2))
    return np.ascontiguousarray(255 - quarters if turn >= NEGATIVE else quarters)


class TurnSource:
    """Pictures that look more like the others when they are turned, or as negatives, and the nearest to them then."""

    SEARCHES: ClassVar[int] = len(_TURNS)
    """Of which progress tells."""

    def __init__(self, index: Index, report: Report | None = None) -> None:
        """Search ``index``, which holds the contents' descriptors first."""
        self._index = index
        self._report = report

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
            seen = descriptors(turned(thumbnails, way), PLAIN)
            asked = np.flatnonzero(_cosines(seen, mean) + _SLACK >= upright)
            for flip in (False, True):
                query, near = self._nearest(seen[asked] * MIRROR_SIGNS if flip else seen[asked], len(thumbnails))
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
        added = Looks(
            np.concatenate([looks.owner, owner]),
            np.concatenate([looks.kind, np.full(len(owner), WHOLE)]),
            np.concatenate([looks.box, np.tile(_WHOLE, (len(owner), 1))]),
            np.concatenate([looks.turn, distinct % (2 * NEGATIVE)]),
        )
        return added, as_candidates(np.concatenate(other), len(looks.owner) + place, np.concatenate(mirrored))

    def _nearest(self, seen: Floats, contents: int) -> tuple[Indices, Indices]:
        """Return (query, content) of the nearest that are similar enough."""
        if not len(seen):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        found = self._index.search(seen)
        similarity, index = found[0][:, : _NEAREST + 1], found[1][:, : _NEAREST + 1]
        length = np.linalg.norm(seen, axis=1, keepdims=True)
        near = (similarity >= _LEAST_SIMILARITY * length**2) & (index >= 0) & (index < contents)
        query, rank = np.nonzero(near)
        return np.asarray(query, dtype=np.int64), index[query, rank]


def _way_up(plain: Floats) -> tuple[Floats, Floats]:
    """Return the mean direction of descriptors and their mirror images, and the cosine of each with it."""
    mean = (plain / np.maximum(np.linalg.norm(plain, axis=1, keepdims=True), 1.0)).mean(axis=0, dtype=np.float64)
    mean = mean + mean * MIRROR_SIGNS
    direction = np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-6), dtype=np.float32)
    return direction, _cosines(plain, direction)


def _cosines(vectors: Floats, direction: Floats) -> Floats:
    return np.asarray((vectors @ direction) / np.maximum(np.linalg.norm(vectors, axis=1), 1.0))
