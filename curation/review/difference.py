"""Where two copies of a picture differ: one is registered to the other, and what does not match is marked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from curation.base.settings import MeasureSettings
from curation.measure.decode import decode

Grey = NDArray[np.float32]

_SIDE = 192
"""Longer side at which pictures are compared, px: a larger one shows nothing more that a person would see."""

_SCALES = (0.125, 0.25, 1.0)
"""Sizes at which the registration is refined, as shares of ``_SIDE``: small crops are found at low resolution."""

MOST_MARKED = 0.3
"""Share of the area above which the registration is wrong, and marks would mislead."""

_STEPS = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 60, 1e-5)
"""Stopping criterion of the registration: steps, change of the correlation."""

_NOTICED = 24.0
"""Grey values of 255 from which a difference is marked: smaller ones are tone and compression."""

_FULL = 72.0
"""Grey values of 255 from which the mark is strongest."""


@dataclass(frozen=True)
class Difference:
    """Where a copy differs: a PNG overlay with transparency, and the marked share of its area (0..1)."""

    overlay: bytes
    share: float
    mirrored: bool
    same: bool = False
    """Whether the pixels are equal."""


def difference(reference: bytes, copy: bytes) -> Difference:
    """Register two image files by an affine map, plain or mirrored, and mark where the copy differs.

    Brightness and contrast are fitted first, because their change needs no mark. Parts of the copy outside the
    reference are not marked.

    Raises:
        DecodeError: a file has no usable pixels.

    """
    first, second = (decode(data, MeasureSettings()).pixels for data in (reference, copy))
    if np.array_equal(first, second):
        return Difference(b"", 0.0, mirrored=False, same=True)
    shown = _grey(second)
    wanted: Grey = np.asarray(cv2.resize(_grey(first), shown.shape[::-1], interpolation=cv2.INTER_AREA), np.float32)
    tries = [_registered(image, shown) for image in (wanted, np.ascontiguousarray(wanted[:, ::-1]))]
    mirrored = tries[1][0] > tries[0][0]
    _, laid, inside = tries[mirrored]
    spread = np.abs(_fitted(laid, shown, inside) - shown) * inside
    strength = np.clip((cv2.GaussianBlur(spread, (0, 0), 1.5) - _NOTICED) / (_FULL - _NOTICED), 0, 1)
    marks = np.zeros((*shown.shape, 4), np.uint8)
    marks[..., 2] = 255  # OpenCV's order: blue, green, red, opacity
    marks[..., 3] = np.where(strength > 0, 70 + 130 * strength, 0)
    return Difference(cv2.imencode(".png", marks)[1].tobytes(), float((strength > 0).mean()), mirrored)


def _grey(pixels: NDArray[np.uint8]) -> Grey:
    grey = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    scale = _SIDE / max(grey.shape)
    size = tuple(max(16, round(side * scale)) for side in grey.shape[::-1])
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_CUBIC), np.float32)


def _registered(image: Grey, onto: Grey) -> tuple[float, Grey, Grey]:
    """Return the correlation of the registered images, the image as registered, and where it has pixels (1)."""
    register: Any = cv2.findTransformECC  # its stubs want a mask, which is optional
    warp: Any = np.eye(2, 3, dtype=np.float32)
    fit = 0.0
    for scale in _SCALES:
        shape = tuple(max(round(side * scale), 8) for side in onto.shape[::-1])
        small = [cv2.resize(each, shape, interpolation=cv2.INTER_AREA) for each in (onto, image)]
        warp[:, 2] *= scale
        try:
            fit, warp = register(*small, warp, cv2.MOTION_AFFINE, _STEPS, None, 5)
        except cv2.error:  # nothing in common, or flat
            fit = 0.0
        warp[:, 2] /= scale
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = onto.shape[::-1]
    laid, inside = (np.asarray(cv2.warpAffine(each, warp, size, flags=flags)) for each in (image, np.ones_like(image)))
    return float(fit), laid.astype(np.float32), np.floor(inside + 1e-3).astype(np.float32)


def _fitted(image: Grey, to: Grey, inside: Grey) -> Grey:
    """Return the image with the brightness and contrast of the other, fitted where both have pixels."""
    where = inside > 0
    if where.sum() < _SIDE or image[where].std() < 1:
        return image
    gain, offset = np.polyfit(image[where], to[where], 1)
    fitted: Grey = np.asarray(image * max(float(gain), 0.0) + float(offset), np.float32)
    return fitted
