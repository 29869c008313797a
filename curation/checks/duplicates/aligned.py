"""Pictures brought to one place by their faces' landmarks: a search that crops, shifts and turns cannot mislead.

Where a detector sees the face in both pictures, its landmarks say which part of the one is which of the other.
"""

from __future__ import annotations

from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from curation.base.pools.threads import Workers, blocks
from curation.checks.duplicates.candidates import AT_ONCE, Candidates, Report, Searcher, as_candidates, searcher, union
from curation.checks.duplicates.changes import after, inverse
from curation.checks.duplicates.features import MIRROR_SIGNS, PLAIN, SIDE, Pixels, descriptors

Doubles = NDArray[np.float64]

_PLACES = np.array([[-0.17, -0.12], [0.17, -0.12], [0.0, 0.07], [-0.14, 0.24], [0.14, 0.24]])
"""Where eyes, nose tip and mouth corners lie in an aligned picture, fractions of its side from the centre: a face that
fills it from brow to chin."""

_FLIP = np.array([1, 0, 2, 4, 3])
"""Landmarks in order of the mirrored picture."""

_NEAREST = 5


def alignments(landmarks: Doubles) -> Doubles:
    """Return (N, 6) maps (see ``kernel``) from the aligned picture to each picture; NaN where there is no face.

    Args:
        landmarks: (N, 10) as in ``Face``, fractions of the picture; NaN where unknown

    The map is the similarity that fits best (least squares, linear in its four numbers).

    """
    points = landmarks.reshape(-1, 5, 2) - 0.5
    x, y = _PLACES.T
    zero, one = np.zeros(5), np.ones(5)
    system = np.concatenate([np.stack([x, -y, one, zero], axis=1), np.stack([y, x, zero, one], axis=1)])
    p, q, dx, dy = np.linalg.pinv(system) @ np.concatenate([points[:, :, 0], points[:, :, 1]], axis=1).T
    return np.stack([p, -q, dx, q, p, dy], axis=1)


def mirrored_landmarks(landmarks: Doubles) -> Doubles:
    """Return the landmarks (N, 10) of the mirrored pictures."""
    points = landmarks.reshape(-1, 5, 2)[:, _FLIP] * [-1, 1] + [1, 0]
    return np.asarray(points.reshape(-1, 10))


def starts(landmarks: Doubles, i: NDArray[np.int64], j: NDArray[np.int64], mirrored: NDArray[np.bool_]) -> Doubles:
    """Return (M, 6) maps from pictures i to pictures j, mirrored or not, as their faces say; NaN where they do not."""
    other = np.where(mirrored[:, None], mirrored_landmarks(landmarks[j]), landmarks[j])
    result = np.full((len(i), 6), np.nan)
    known = np.isfinite(landmarks[i]).all(axis=1) & np.isfinite(other).all(axis=1)
    result[known] = after(alignments(other[known]), inverse(alignments(landmarks[i][known])))
    return result


class FaceSource:
    """The nearest aligned faces of every face, plain and mirrored."""

    SEARCHES: ClassVar[int] = 2
    """Of which progress tells."""

    def __init__(
        self, report: Report | None = None, search: Searcher | None = None, workers: Workers | None = None
    ) -> None:
        """Search by ``search``, and tell ``report`` how far it is."""
        self._report = report
        self._workers = workers
        self._searcher = search or searcher

    def pairs(self, thumbnails: Pixels, landmarks: Doubles) -> Candidates:
        """Return each face's nearest.

        Args:
            thumbnails: (N, 48, 48) pictures
            landmarks: (N, 10) see ``alignments``

        """
        rows = np.flatnonzero(np.isfinite(landmarks).all(axis=1))
        maps = np.full((len(thumbnails), 6), np.nan)
        maps[rows] = alignments(landmarks[rows])
        # of all, because those with a face may not fit in memory
        seen = descriptors(thumbnails, PLAIN, self._workers, _aligned, maps)[rows]
        del maps
        count = min(_NEAREST + 1, len(rows))
        search = self._searcher(seen, count) if len(rows) > 1 else None
        found = []
        for mirrored in (False, True):
            for some in blocks(len(rows), AT_ONCE):
                if search is None:
                    break
                index = search(seen[some] * MIRROR_SIGNS if mirrored else seen[some])[1]
                known = index.ravel() >= 0
                i, j = np.repeat(rows[some], count)[known], rows[index.ravel()[known]]
                found.append(as_candidates(i, j, np.full(len(i), mirrored)))
            if self._report is not None:
                self._report(mirrored + 1, self.SEARCHES)
        return union(found)


def _aligned(thumbnails: Pixels, maps: Doubles) -> Pixels:
    """Return (N, 48, 48) what the maps show of each picture; beyond its edge the edge is repeated. 0 without a map."""
    centre = (SIDE - 1) / 2
    result = np.zeros_like(thumbnails)
    for n in np.flatnonzero(np.isfinite(maps).all(axis=1)).tolist():
        a, b, dx, c, d, dy = maps[n].tolist()
        into = np.array(
            [
                [a, b, dx * SIDE + centre - (a + b) * centre],
                [c, d, dy * SIDE + centre - (c + d) * centre],
            ]
        )
        result[n] = cv2.warpAffine(
            thumbnails[n],
            into,
            (SIDE, SIDE),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
    return result
