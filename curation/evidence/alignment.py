"""Faces of other pictures, cropped and aligned as in the data set: eyes, nose and mouth at its usual places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pandas as pd

from curation.base.arrays import Floats, Pixels
from curation.base.errors import CurationError
from curation.base.progress import Report

if TYPE_CHECKING:
    from curation.base.settings import Settings

FRONTAL_DEGREES = 15.0
"""Faces turned less than this about both axes give the usual places of a data set's landmarks."""

LEAST_FACES = 20
"""Frontal faces needed for that."""

_PRESHRINK = 2.0
"""Images are first reduced to at most so many times their final scale, averaging areas: bilinear sampling alone would
skip pixels."""

_NONE = float("nan")

COLUMNS = ["found", "face_px", "yaw", "pitch", "roll", "face_score"]


class AlignmentError(CurationError):
    """The data set's own faces do not show where a face should be."""


@dataclass(frozen=True)
class Reference:
    """Where the landmarks of a data set usually are.

    Attributes:
        landmarks: (5, 2), x and y in shares of the side: eyes, nose tip, corners of the mouth.
        side: of its images, pixels.

    """

    landmarks: Floats
    side: int

    @property
    def flat(self) -> list[float]:
        """x1, y1, .. x5, y5."""
        return [float(value) for value in self.landmarks.ravel()]


@dataclass(frozen=True)
class Faces:
    """Aligned faces, row by row those of the files.

    Attributes:
        images: (n, side, side) uint8 grey.
        facts: found (bool), face_px (width of the face in the original, pixels), yaw, pitch, roll (degrees),
            face_score (0..1); NaN where no face was found: the whole image is then used.

    """

    images: Pixels
    facts: pd.DataFrame


def reference_of(faces: pd.DataFrame, side: int) -> Reference:
    """Return the median landmarks of a data set's frontal faces.

    Args:
        faces: as ``curation.measure.load_faces`` gives them.
        side: of the images, pixels.

    Raises:
        AlignmentError: fewer than ``LEAST_FACES`` frontal faces have landmarks.

    """
    best = faces[(faces["rank"] == 0) & faces["landmarks"].notna()]
    frontal = best[(best["yaw"].abs() < FRONTAL_DEGREES) & (best["roll"].abs() < FRONTAL_DEGREES)]
    if len(frontal) < LEAST_FACES:
        raise AlignmentError(
            f"only {len(frontal)} frontal faces have landmarks, {LEAST_FACES} are needed to align others like them"
        )
    points = np.stack([np.asarray(row, np.float64) for row in frontal["landmarks"]])
    return Reference(np.median(points, axis=0).reshape(5, 2), side)


def similarity(source: Floats, target: Floats) -> Floats:
    """Return the (2, 3) map of least squares from points (n, 2) to points (n, 2): turn, scale and shift.

    In complex numbers, target = a * source + b with a and b found in closed form (Umeyama, 1991, without reflection).
    """
    one, other = source @ (1, 1j), target @ (1, 1j)
    centred = one - one.mean()
    a = (np.conj(centred) @ (other - other.mean())) / max(float((np.abs(centred) ** 2).sum()), 1e-12)
    b = other.mean() - a * one.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def aligned(pixels: Pixels, landmarks: Sequence[float], reference: Reference) -> Pixels:
    """Return a face moved so that its landmarks lie where the reference has them, (side, side) grey.

    Args:
        pixels: (h, w) grey.
        landmarks: x1, y1, .. x5, y5 in shares of width and height.
        reference: where they should be.

    """
    height, width = pixels.shape
    points = np.asarray(landmarks, np.float64).reshape(5, 2) * (width, height)
    move = similarity(points, reference.landmarks * reference.side)
    scale = float(np.hypot(move[0, 0], move[1, 0]))
    if scale * _PRESHRINK < 1:
        factor = scale * _PRESHRINK
        small = (max(1, round(width * factor)), max(1, round(height * factor)))
        pixels = cv2.resize(pixels, small, interpolation=cv2.INTER_AREA).astype(np.uint8)
        move = similarity(points * (small[0] / width, small[1] / height), reference.landmarks * reference.side)
    side = (reference.side, reference.side)
    moved = cv2.warpAffine(pixels, move, side, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)


def aligned_files(urls: Sequence[str], reference: Reference, settings: Settings, report: Report) -> Faces:
    """Find, crop and align the best face of each file; a file without a face is resized as a whole.

    Args:
        urls: of image files.
        reference: of the data set that the model was trained on.
        settings: whose detector is used.
        report: called with (files done, all).

    Raises:
        AlignmentError: a file cannot be decoded.

    """
    from curation.measure.batch import read_pixels
    from curation.measure.decode import DecodeError
    from curation.measure.faces.choice import choose_detector
    from curation.measure.faces.pose import pose_of

    detector = choose_detector(settings.measure).make(settings.measure.min_face_score)
    images = np.empty((len(urls), reference.side, reference.side), np.uint8)
    rows = []
    for place, url in enumerate(urls):
        try:
            pixels = read_pixels(url, settings.measure)
        except (DecodeError, OSError) as error:
            raise AlignmentError(f"{url} cannot be read ({error}); remove it from the folder") from error
        found = detector.detect(pixels)
        grey = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.uint8)
        if found and found[0].landmarks is not None:
            face = found[0]
            images[place] = aligned(grey, face.landmarks or (), reference)
            pose = pose_of(face.landmarks, grey.shape[1] / grey.shape[0])
            rows.append((True, face.width * grey.shape[1], pose.yaw, pose.pitch, pose.roll, face.score))
        else:
            images[place] = cv2.resize(grey, (reference.side, reference.side), interpolation=cv2.INTER_AREA)
            rows.append((False, _NONE, _NONE, _NONE, _NONE, _NONE))
        report(place + 1, len(urls))
    return Faces(images, pd.DataFrame(rows, columns=COLUMNS))
