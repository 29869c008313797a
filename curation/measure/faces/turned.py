"""Faces that lie sideways or upside down: the picture is turned where the face as it stands is not a sure one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from curation.measure.decode import Pixels
from curation.measure.faces.base import Face, FaceDetector

_SURE_WAYS = ((0.87, (180,)), (0.82, (90, 270)))
"""A face with less than the score is looked for at these turns as well. Of the bundled detector's upright faces 83 and
93 of 100 have more; upside down and sideways 96 and 95 of 100 have less, for it finds them that way too."""


def best_when_turned(pixels: Pixels, faces: Sequence[Face], detector: FaceDetector) -> tuple[int, float]:
    """Return by how many degrees, anti-clockwise, the surest face is found when the picture is turned, and its score.

    0 and NaN where it is sure as it stands, or where turning finds none.
    """
    score = faces[0].score if faces else 0.0
    best = (0, math.nan)
    for sure, turns in _SURE_WAYS:
        if score >= sure:
            continue
        for degrees in turns:
            found = detector.detect(np.ascontiguousarray(np.rot90(pixels, degrees // 90)))
            if found and not best[1] >= found[0].score:
                best = (degrees, found[0].score)
    return best
