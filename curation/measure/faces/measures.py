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
    left, right = (int(np.clip(round(x * width), 0, width)) for x in (face.x, face.x + face.width))
    top, bottom = (int(np.clip(round(y * height), 0, height)) for y in (face.y, face.y + face.height))
    return FaceMeasures(
        *quantiles(np.ascontiguousarray(grey[top:bottom, left:right])), _edge_distance(face, grey, inner)
    )


def _edge_distance(face: Face, grey: Pixels, inner: Box) -> float:
    if face.landmarks is None or face.width <= 0:
        return math.nan
    height, width = grey.shape
    points = np.array(face.landmarks).reshape(5, 2) * (width, height)
    edges = np.concatenate([points - inner[:2], np.array(inner[2:]) - points], axis=1)
    return float(round(float(edges.min()) / (face.width * width), _DECIMALS))
