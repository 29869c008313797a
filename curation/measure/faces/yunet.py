"""YuNet through OpenCV (Wu et al. 2023): boxes and five landmarks; weights are a file of 230 kB (MIT)."""

from __future__ import annotations

from pathlib import Path

import cv2

from curation.measure.decode import Pixels
from curation.measure.faces.base import Face, FaceDetector, as_bgr, box_to_face, ranked, scaled

_CROP_SIDE = 160
"""Longer side, px, at which a small image or tight crop is searched."""

_SCENE_SIDE = 320
"""The same for larger images, where a face may be a small part; YuNet is trained at 320."""

_LARGEST_CROP = 256
"""Images with a longer side up to this, px, are searched as crops."""

_NMS_OVERLAP = 0.3
"""Two boxes that share more are one face (OpenCV's default)."""

_MOST_CANDIDATES = 500


class YuNet(FaceDetector):
    """One network, resized inputs."""

    def __init__(self, weights: Path, min_score: float) -> None:
        """Load the network from ``weights``; detections below ``min_score`` (0..1) are not wanted."""
        self._min_score = min_score
        self._network = cv2.FaceDetectorYN.create(
            str(weights), "", (_CROP_SIDE, _CROP_SIDE), max(min_score, 0.01), _NMS_OVERLAP, _MOST_CANDIDATES
        )

    def detect(self, pixels: Pixels) -> list[Face]:
        """Return the faces of an image, best first."""
        pixels = self.seen(pixels)
        side = _CROP_SIDE if max(pixels.shape[:2]) <= _LARGEST_CROP else _SCENE_SIDE
        image = as_bgr(scaled(pixels, side))
        height, width = image.shape[:2]
        self._network.setInputSize((width, height))
        _, rows = self._network.detect(image)
        frame = (0.0, 0.0, float(width), float(height))
        faces = [] if rows is None else rows
        return ranked((box_to_face(row[:4], row[14], row[4:14].reshape(5, 2), frame) for row in faces), self._min_score)
