"""Numbers of one detected face: how bright it is, and how near its features come to the picture's edge."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from curation.measure.decode import Pixels
from curation.measure.faces.base import Face
from curation.measure.parts import Box
from curation.measure.pixels import quantiles

_DECIMALS = 6


class FaceMeasures(NamedTuple):
    """What is measured of a face.

    brightness_p05, brightness_p95 -- quantiles of the grey levels within its box, 0..1; NaN where that is outside
    edge_distance -- of the landmark that is nearest to the edge of the picture (of what its margins surround), in
                     widths
                     of the face, negative outside; NaN without landmarks
    """

    brightness_p05: float
    brightness_p95: float
    edge_distance: float


def measure_face(face: Face, grey: Pixels, inner: Box) -> FaceMeasures:
    """Measure a face in its picture (H, W), whose margins leave the box ``inner``."""
    height, width = grey.shape
    left, right = (min(max(round(x * width), 0), width) for x in (face.x, face.x + face.width))
    top, bottom = (min(max(round(y * height), 0), height) for y in (face.y, face.y + face.height))
    return FaceMeasures(
        *quantiles(np.ascontiguousarray(grey[top:bottom, left:right])), _edge_distance(face, grey, inner)
    )


def _edge_distance(face: Face, grey: Pixels, inner: Box) -> float:
    if face.landmarks is None or face.width <= 0:
        return math.nan
    height, width = grey.shape
    left, top, right, bottom = inner
    across = [x * width for x in face.landmarks[0::2]]
    down = [y * height for y in face.landmarks[1::2]]
    nearest: float = min(min(across) - left, min(down) - top, right - max(across), bottom - max(down))
    return float(round(nearest / (face.width * width), _DECIMALS))
