"""What every face detector takes and gives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from curation.measure.decode import Pixels, halved

_DECIMALS = 6
"""Numbers are rounded so that tables are equal on every machine."""


@dataclass(frozen=True)
class Face:
    """One detection, in fractions of the upright image: x and width of its width, y and height of its height.

    A box may leave the image a little (x below 0, x + width above 1) where the face does.

    score     -- 0..1
    landmarks -- x1, y1, .. x5, y5: eye, eye, nose tip, mouth corner, mouth corner, the one further left in the image
                 first; None where the detector has none
    """

    x: float
    y: float
    width: float
    height: float
    score: float
    landmarks: tuple[float, ...] | None = None


class FaceDetector:
    """Finds faces. A detector has one of ``detect`` and ``detect_all``; the other rests on it."""

    looks_at: int = 320
    """Longer side, px, of the largest picture that tells it more."""

    def seen(self, pixels: Pixels) -> Pixels:
        """Return the picture, reduced to what the detector looks at: turned and searched again it costs less so."""
        if max(pixels.shape[:2]) <= self.looks_at:
            return pixels
        return scaled(halved(pixels, self.looks_at), self.looks_at)

    def detect(self, pixels: Pixels) -> list[Face]:
        """Return the faces in grey (H, W) or RGB (H, W, 3) uint8 pixels, best first; deterministic."""
        return self.detect_all([pixels])[0]

    def detect_all(self, pictures: Sequence[Pixels]) -> list[list[Face]]:
        """Return the faces of each picture, best first, as ``detect`` does."""
        return [self.detect(pixels) for pixels in pictures]


def ranked(faces: Iterable[Face], min_score: float) -> list[Face]:
    """Return the rounded faces with at least ``min_score``, best first; ties are broken by size, then by place."""
    return best_first(_rounded(face) for face in faces if face.score >= min_score)


def best_first(faces: Iterable[Face]) -> list[Face]:
    """Return faces by falling score; ties are broken by size, then by place."""
    return sorted(faces, key=lambda face: (-face.score, -face.width * face.height, face.x, face.y))


def _rounded(face: Face) -> Face:
    x, y, width, height, score = (
        round(float(value), _DECIMALS) for value in (face.x, face.y, face.width, face.height, face.score)
    )
    points = None if face.landmarks is None else tuple(round(float(value), _DECIMALS) for value in face.landmarks)
    return Face(x, y, width, height, min(1.0, max(0.0, score)), points)


def as_bgr(pixels: Pixels) -> Pixels:
    """Return grey (H, W) or RGB (H, W, 3) pixels as BGR (H, W, 3), the order detectors are trained on."""
    code = cv2.COLOR_GRAY2BGR if pixels.ndim == 2 else cv2.COLOR_RGB2BGR
    return np.asarray(cv2.cvtColor(pixels, code), dtype=np.uint8)


def scaled(pixels: Pixels, longer_side: int) -> Pixels:
    """Return the image with its longer side at ``longer_side`` px, enlarged or reduced; the aspect ratio is kept."""
    height, width = pixels.shape[:2]
    factor = longer_side / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, size, interpolation=method), dtype=np.uint8)


def box_to_face(box: np.ndarray, score: float, landmarks: np.ndarray | None, frame: tuple[float, ...]) -> Face:
    """Return a detection given in pixels as a face in fractions.

    Args:
        box: x, y, width, height in px of the image that was searched
        score: 0..1
        landmarks: (5, 2) px or None
        frame: left, top, width, height in px of the true image inside the one that was searched

    """
    left, top, width, height = frame
    x, y, box_width, box_height = (float(value) for value in box)
    points = None
    if landmarks is not None:
        fractions = (np.asarray(landmarks, dtype=np.float64) - (left, top)) / (width, height)
        points = tuple(fractions.ravel().tolist())
    return Face((x - left) / width, (y - top) / height, box_width / width, box_height / height, float(score), points)
