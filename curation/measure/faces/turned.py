"""Faces that lie sideways or upside down: the picture is turned where the face as it stands is not a sure one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from curation.measure.decode import Pixels
from curation.measure.faces.base import Face, FaceDetector, scaled

_SURE_WAYS = ((0.89, (180,)), (0.88, (90, 270)))
"""A face with less than the score is looked for at these turns as well. Of the bundled detector's upright faces 60 and
80 of 100 have more, of larger photographs nearly all; it finds faces upside down and sideways too, but 9 of 10 of them
with less."""

GAIN = 0.03
"""By how much surer a face has to be when the picture is turned, both as it is and in the mean of it and its mirror
image: the scores of a small face and of its mirror image differ by up to 0.2."""

_TILTS = (45, -45)
_TILT_SIDE = 320
"""Turns, degrees, at which a face that is merely tilted is the surest, and the longer side, px, at which that is asked.
A face tilted by 45 degrees or less is told from a turned one so; of faces tilted by 60, 8 in 10."""


Turned = tuple[int, float]
"""Degrees anti-clockwise, and the score of the surest face then."""


def best_when_turned(
    pictures: Sequence[Pixels], faces: Sequence[Sequence[Face]], detector: FaceDetector
) -> list[Turned]:
    """Return by how many degrees the surest face of each picture is found when it is turned, and its score.

    0 and NaN where it is sure as it stands, where turning does not make it surer, or where it is merely tilted.
    """
    scores = _best_scores(faces)
    asked = [
        (place, degrees)
        for place, score in enumerate(scores)
        for sure, turns in _SURE_WAYS
        if score < sure
        for degrees in turns
    ]
    best: dict[int, Turned] = {}
    seen = detector.detect_all([_turned(pictures[place], degrees) for place, degrees in asked])
    for (place, degrees), score in zip(asked, _best_scores(seen), strict=True):
        if score > best.get(place, (0, 0.0))[1]:
            best[place] = (degrees, score)
    gaining = [place for place, (_, score) in best.items() if score >= scores[place] + GAIN]
    tilted = detector.detect_all([picture for place in gaining for picture in _tilted(pictures[place])])
    tilts = np.array(_best_scores(tilted)).reshape(-1, len(_TILTS)).max(axis=1, initial=0.0)
    gaining = [place for place, score in zip(gaining, tilts.tolist(), strict=True) if score <= best[place][1]]
    views = [_turned(pictures[place], degrees)[:, ::-1] for place in gaining for degrees in (0, best[place][0])]
    mirrored = _best_scores(detector.detect_all([np.ascontiguousarray(view) for view in views]))
    found: list[Turned] = [(0, math.nan)] * len(pictures)
    for place, upright, turned in zip(gaining, mirrored[0::2], mirrored[1::2], strict=True):
        if (best[place][1] + turned) / 2 >= (scores[place] + upright) / 2 + GAIN:
            found[place] = best[place]
    return found


def _best_scores(found: Sequence[Sequence[Face]]) -> list[float]:
    return [faces[0].score if faces else 0.0 for faces in found]


def _turned(pixels: Pixels, degrees: int) -> Pixels:
    return np.ascontiguousarray(np.rot90(pixels, degrees // 90))


def _tilted(pixels: Pixels) -> Iterator[Pixels]:
    """Yield the picture turned by half a quarter turn, either way."""
    small = scaled(pixels, min(_TILT_SIDE, max(pixels.shape[:2])))
    height, width = small.shape[:2]
    for degrees in _TILTS:
        turn = cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5), degrees, 1.0)
        tilted = cv2.warpAffine(small, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
        yield np.asarray(tilted, dtype=np.uint8)
