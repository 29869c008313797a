"""Copies of images as they happen in the wild, made on purpose: for the sample, the audit, tests and benchmarks.

Every kind takes an image and a seeded generator and returns an image of the same shape.
Lengths are given at a side of 48 px (the size of the data set that this toolkit grew up with) and scale with the image.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""(H, W) grey or (H, W, 3) RGB levels."""

Kind = Callable[[Pixels, np.random.Generator], Pixels]

REFERENCE_SIDE = 48
"""Side to which lengths below refer, px."""

_WORDS = ("stock", "photo", "sample", "(c) 2013", "getty", "preview", "alamy", "www.pics")


def scaled(length: float, image: Pixels) -> float:
    """Return a length at the reference side as pixels of this image."""
    return float(length * min(image.shape[:2]) / REFERENCE_SIDE)


def levels(values: NDArray[np.floating]) -> Pixels:
    """Return values as grey levels, rounded and clipped."""
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)


def _either(rng: np.random.Generator, low: tuple[float, float], high: tuple[float, float]) -> float:
    """Draw from one of two ranges, so that the amount is never close to doing nothing."""
    return float(rng.uniform(*(low if rng.random() < 0.5 else high)))


def jpeg(image: Pixels, rng: np.random.Generator, quality: tuple[int, int] = (30, 60)) -> Pixels:
    """Compress as JPEG at a quality drawn from ``quality`` (libjpeg's scale, 1 to 100, ends included)."""
    drawn = int(rng.integers(quality[0], quality[1], endpoint=True))
    if image.ndim == 3:
        data = simplejpeg.encode_jpeg(np.ascontiguousarray(image), drawn)
        return np.asarray(simplejpeg.decode_jpeg(data), dtype=np.uint8)
    grey = np.ascontiguousarray(image)[:, :, None]
    data = simplejpeg.encode_jpeg(grey, drawn, colorspace="GRAY", colorsubsampling="Gray")
    return np.asarray(simplejpeg.decode_jpeg(data, "GRAY")[:, :, 0], dtype=np.uint8)


def brightness(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Add 15 to 45 grey levels, or take them away."""
    return levels(image + _either(rng, (-45, -15), (15, 45)))


def contrast(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Scale levels around their mean by 0.5 to 0.8 or 1.2 to 1.5."""
    mean = image.mean()
    return levels((image - mean) * _either(rng, (0.5, 0.8), (1.2, 1.5)) + mean)


def gamma(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Raise levels in 0..1 to a power of 0.5 to 0.8 or 1.25 to 1.8."""
    return levels(255 * (image / 255) ** _either(rng, (0.5, 0.8), (1.25, 1.8)))


def warp(image: Pixels, matrix: NDArray[np.floating]) -> Pixels:
    """Move an image by an affine map (2, 3); the edge is repeated."""
    height, width = image.shape[:2]
    warped = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, dtype=np.uint8)


def shift(image: Pixels, rng: np.random.Generator, length: float) -> Pixels:
    """Move by ``length`` (px at the reference side) sideways, up or down, or both; the edge is repeated."""
    step = round(scaled(length, image))
    dx, dy = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))[int(rng.integers(8))]
    return warp(image, np.array([[1, 0, dx * step], [0, 1, dy * step]], dtype=np.float64))


def crop(image: Pixels, rng: np.random.Generator, share: float, jitter: float = 0.25) -> Pixels:
    """Cut ``share`` of the side off on each side and enlarge again; the window is off centre by up to ``jitter``.

    ``jitter`` 1 lets the window touch the image's edge.
    """
    height, width = image.shape[:2]
    cut_y, cut_x = share * height, share * width
    top = round(cut_y * (1 + jitter * rng.uniform(-1, 1)))
    left = round(cut_x * (1 + jitter * rng.uniform(-1, 1)))
    window = image[top : top + height - round(2 * cut_y), left : left + width - round(2 * cut_x)]
    return np.asarray(cv2.resize(window, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def mirror(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Swap left and right."""
    return np.ascontiguousarray(image[:, ::-1])


def rotate(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Turn by 3 to 9 degrees, either way; the edge is repeated."""
    height, width = image.shape[:2]
    degrees = _either(rng, (-9, -3), (3, 9))
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    return warp(image, np.asarray(turn, dtype=np.float64))


def text(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Write a word in black or white near the upper or lower edge."""
    marked = image.copy()
    scale = scaled(float(rng.uniform(0.28, 0.36)), image)
    level = int(rng.choice([0, 255]))
    height = image.shape[0]
    baseline = round(scaled(9, image)) if rng.random() < 0.5 else height - round(scaled(3, image))
    start = round(scaled(float(rng.uniform(1, 8)), image))
    word = _WORDS[int(rng.integers(len(_WORDS)))]
    thickness = max(1, round(scaled(1, image)))
    cv2.putText(marked, word, (start, baseline), cv2.FONT_HERSHEY_SIMPLEX, scale, (level,) * 3, thickness)
    return marked


def noise(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Add Gaussian noise with a standard deviation of 5 to 12 grey levels."""
    return levels(image + rng.normal(0, rng.uniform(5, 12), image.shape))


def blur(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Blur by a Gaussian with a standard deviation of 0.6 to 1.2 px at the reference side."""
    sigma = scaled(float(rng.uniform(0.6, 1.2)), image)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), dtype=np.uint8)


def resample(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Reduce to 50 to 75 % of the side and enlarge again."""
    height, width = image.shape[:2]
    share = rng.uniform(0.5, 0.75)
    small = cv2.resize(image, (round(width * share), round(height * share)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def block(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Cover a square of 12 px at the reference side, anywhere, with one grey level."""
    side = round(scaled(12, image))
    top, left = (int(rng.integers(0, length - side, endpoint=True)) for length in image.shape[:2])
    covered = image.copy()
    covered[top : top + side, left : left + side] = rng.integers(0, 256)
    return covered


def _then_jpeg(first: Kind) -> Kind:
    def both(image: Pixels, rng: np.random.Generator) -> Pixels:
        return jpeg(first(image, rng), rng)

    return both


def _shift_by(length: float) -> Kind:
    return lambda image, rng: shift(image, rng, length)


def crop_by(share: float, jitter: float = 0.25) -> Kind:
    """Return the kind that crops so; see :func:`crop`."""
    return lambda image, rng: crop(image, rng, share, jitter)


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "jpeg": jpeg,
        "brightness": brightness,
        "contrast": contrast,
        "gamma": gamma,
        "shift_1": _shift_by(1),
        "shift_2": _shift_by(2),
        "shift_3": _shift_by(3),
        "crop_5": crop_by(0.05),
        "crop_10": crop_by(0.10),
        "mirror": mirror,
        "mirror_jpeg": _then_jpeg(mirror),
        "rotate": rotate,
        "text": text,
        "text_jpeg": _then_jpeg(text),
        "noise": noise,
        "blur": blur,
        "resample": resample,
        "crop_jpeg": _then_jpeg(crop_by(0.05)),
        "block": block,
    }
)
"""The kinds of copies that duplicate search is held to."""


def make_copy(image: Pixels, kind: str, seed: int, kinds: Mapping[str, Kind] = KINDS) -> Pixels:
    """Return a copy of one kind.

    Args:
        image: (H, W) or (H, W, 3) uint8, both sides at least 16 px
        kind: a name in ``kinds``
        seed: equal seeds, kinds and images give equal copies
        kinds: name -> what makes a copy

    Raises:
        KeyError: there is no such kind.

    """
    return kinds[kind](image, np.random.default_rng([seed, zlib.crc32(kind.encode())]))
