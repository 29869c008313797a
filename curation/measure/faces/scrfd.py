"""SCRFD through insightface and onnxruntime (Guo et al. 2022): boxes and five landmarks.

It is made for scenes: a tight crop gets a border, and the network sees 640 x 640 px. Published weights are for
non-commercial research only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from curation.measure.decode import Pixels
from curation.measure.faces.base import Face, FaceDetector, as_bgr, box_to_face, ranked
from curation.measure.onnx_graph import session

_INPUT_SIDE = 640
"""Side of the network's square input, px (the published exports are fixed to it)."""

_BORDER = 0.25
"""Share of each side that is added as a border on every edge: a face that fills its frame is not found without one."""


class Scrfd(FaceDetector):
    """One network on the CPU, one thread."""

    looks_at = _INPUT_SIDE

    def __init__(self, weights: Path, min_score: float) -> None:
        """Load the network from ``weights``; detections below ``min_score`` (0..1) are not wanted.

        Raises:
            ImportError: insightface or onnxruntime is not installed.

        """
        from insightface.model_zoo import SCRFD

        self._network: Any = SCRFD(model_file=str(weights), session=session(str(weights)))
        self._min_score = min_score

    def detect(self, pixels: Pixels) -> list[Face]:
        """Return the faces of an image, best first."""
        image = as_bgr(self.seen(pixels))
        height, width = image.shape[:2]
        top, left = round(height * _BORDER), round(width * _BORDER)
        framed = cv2.copyMakeBorder(image, top, top, left, left, cv2.BORDER_CONSTANT, value=(0, 0, 0))
        rows, points = self._network.detect(
            framed, input_size=(_INPUT_SIDE, _INPUT_SIDE), det_thresh=max(self._min_score, 0.01)
        )
        frame = (float(left), float(top), float(width), float(height))
        return ranked((_face(row, points, index, frame) for index, row in enumerate(rows)), self._min_score)


def _face(row: np.ndarray, points: np.ndarray | None, index: int, frame: tuple[float, ...]) -> Face:
    x1, y1, x2, y2, score = row
    landmarks = None if points is None else points[index]
    return box_to_face(np.array([x1, y1, x2 - x1, y2 - y1]), score, landmarks, frame)
