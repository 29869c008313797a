"""Faces that lie sideways or upside down: the picture is turned where the face as it stands is not a sure one."""

from __future__ import annotations

import math
from collections.abc import Sequence

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


def best_when_turned(pixels: Pixels, faces: Sequence[Face], detector: FaceDetector) -> tuple[int, float]:
    """Return by how many degrees, anti-clockwise, the surest face is found when the picture is turned, and its score.

    0 and NaN where it is sure as it stands, where turning does not make it surer, or where it is merely tilted.
    """
    score = faces[0].score if faces else 0.0
    best = (0, 0.0)
    for sure, turns in _SURE_WAYS:
        if score >= sure:
            continue
        for degrees in turns:
            found = detector.detect(np.ascontiguousarray(np.rot90(pixels, degrees // 90)))
            if found and found[0].score > best[1]:
                best = (degrees, found[0].score)
    if best[1] < score + GAIN or _tilted(pixels, best[1], detector):
        return 0, math.nan
    upright, turned = (
        (own + _mirrored_score(np.rot90(pixels, degrees // 90), detector)) / 2
        for own, degrees in ((score, 0), (best[1], best[0]))
    )
    return best if turned >= upright + GAIN else (0, math.nan)


def _mirrored_score(pixels: Pixels, detector: FaceDetector) -> float:
    found = detector.detect(np.ascontiguousarray(pixels[:, ::-1]))
    return found[0].score if found else 0.0


def _tilted(pixels: Pixels, score: float, detector: FaceDetector) -> bool:
    """Return whether half a quarter turn makes the face surer than ``score``."""
    small = scaled(pixels, min(_TILT_SIDE, max(pixels.shape[:2])))
    height, width = small.shape[:2]
    for degrees in _TILTS:
        turn = cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5), degrees, 1.0)
        tilted = cv2.warpAffine(small, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
        found = detector.detect(np.asarray(tilted, dtype=np.uint8))
        if found and found[0].score > score:
            return True
    return False
