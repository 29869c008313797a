"""Numbers of one decoded image: exposure, contrast, entropy, sharpness, perceptual hashes, a thumbnail."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import cv2
import numpy as np
import scipy.fft
from numpy.typing import NDArray
from PIL import Image

from curation.measure.decode import Decoded, Pixels, as_grey_image
from curation.measure.parts import parts_of
from curation.measure.tables import THUMBNAIL_SIDE

_SHARPNESS_SIDE = 96
"""Longer side at which sharpness is measured, px: images above it are reduced to it, smaller ones are left alone."""

_HASH_SIDE = 8
"""A hash has 8 x 8 bits."""

_PHASH_SIDE = 32
"""The DCT of pHash is taken at four times the hash's side (imagehash's highfreq_factor)."""

_LEVELS = np.arange(256, dtype=np.float64)

_DECIMALS = 6
"""Floats are rounded so that equal pixels give equal tables on every machine."""

_QUANTILES = np.array([0.01, 0.05, 0.95, 0.99])


class PixelMeasures(NamedTuple):
    """What the pixel probe measures.

    pixel_sha256   -- of upright decoded pixels, their shape and the original's size: equal exactly for exact copies,
                      whatever the file format. Of a large image the reduced pixels are meant.
    brightness_*   -- mean and quantiles of the grey levels, 0..1
    contrast       -- standard deviation of the grey levels, 0..0.5
    entropy        -- Shannon entropy of the 256-bin grey histogram, bits, 0..8
    sharpness      -- variance of the Laplacian (Pech-Pacheco et al. 2000), grey levels squared, at a longer side of at
                      most 96 px
    edge_sharpness -- energy of second over that of first differences (at the same side), the least of four directions:
                      narrow edges have much of it, whatever the contrast; motion takes it away in one direction
    texture_entropy -- entropy, bits, of the grey levels where something soft is to be seen, at a longer side of at most
                      192 px: a photograph has 6 and more even if most of it is one tone, lettering has 4; 0 where there
                      is none
    dhash, phash   -- 64 bits as a signed integer, equal to imagehash.dhash and imagehash.phash of the decoded image
    thumbnail      -- 48 x 48 uint8 grey levels, row by row; the aspect ratio is not kept
    parts          -- see ``parts.parts_of``: kind, box and thumbnail of each
    """

    pixel_sha256: str
    brightness_mean: float
    brightness_p01: float
    brightness_p05: float
    brightness_p95: float
    brightness_p99: float
    contrast: float
    entropy: float
    sharpness: float
    edge_sharpness: float
    texture_entropy: float
    dhash: int
    phash: int
    thumbnail: bytes
    parts: list[dict[str, Any]]


def measure_pixels(decoded: Decoded) -> PixelMeasures:
    """Measure one decoded image; deterministic."""
    image = as_grey_image(decoded.pixels)
    grey = decoded.pixels if decoded.pixels.ndim == 2 else np.asarray(image)
    mean, quantiles, contrast, entropy = exposure(grey)
    return PixelMeasures(
        pixel_digest(decoded),
        mean,
        *quantiles,
        contrast,
        entropy,
        sharpness(grey),
        edge_sharpness(grey),
        texture_entropy(grey),
        dhash(image),
        phash(image),
        thumbnail(grey).tobytes(),
        [
            {"kind": part.kind, "box": list(part.box), "thumbnail": thumbnail(part.pixels).tobytes()}
            for part in parts_of(grey)
        ],
    )


def pixel_digest(decoded: Decoded) -> str:
    """Return the SHA-256 of canonical pixels: sizes and channels first, then the levels row by row."""
    channels = 1 if decoded.pixels.ndim == 2 else 3
    head = f"{decoded.width}x{decoded.height}x{channels}:{decoded.pixels.shape[1]}x{decoded.pixels.shape[0]}\n"
    digest = hashlib.sha256(head.encode("ascii"))
    digest.update(decoded.pixels.data)
    return digest.hexdigest()


def exposure(grey: Pixels) -> tuple[float, tuple[float, float, float, float], float, float]:
    """Return mean, the quantiles p01 p05 p95 p99, standard deviation (all 0..1) and entropy (bits) of grey levels.

    A quantile is the lowest level with at least that share of the pixels at or below it.
    """
    counts = cv2.calcHist([grey], [0], None, [256], [0, 256]).ravel().astype(np.float64)
    shares = counts / counts.sum()
    mean = float(shares @ _LEVELS)
    variance = float(shares @ (_LEVELS - mean) ** 2)
    cumulated = counts.cumsum()
    levels = np.searchsorted(cumulated, _QUANTILES * cumulated[-1] - 1e-9)
    p01, p05, p95, p99 = (round(level / 255, _DECIMALS) for level in levels.tolist())
    filled = shares[shares > 0]
    entropy = max(0.0, -float(filled @ np.log2(filled)))
    contrast = round(variance**0.5 / 255, _DECIMALS)
    return round(mean / 255, _DECIMALS), (p01, p05, p95, p99), contrast, round(entropy, _DECIMALS)


def quantiles(grey: Pixels) -> tuple[float, float]:
    """Return the quantiles p05 and p95 of grey levels, 0..1; NaN of no pixels."""
    return exposure(grey)[1][1:3] if grey.size else (float("nan"), float("nan"))


def sharpness(grey: Pixels) -> float:
    """Return the variance of the Laplacian in grey levels squared, at a longer side of at most 96 px."""
    _, deviation = cv2.meanStdDev(cv2.Laplacian(_reduced(grey), cv2.CV_16S))
    return round(float(deviation[0, 0]) ** 2, _DECIMALS)


def _reduced(grey: Pixels, side: int = _SHARPNESS_SIDE) -> Pixels:
    height, width = grey.shape
    longer = max(height, width)
    if longer <= side:
        return grey
    size = tuple(max(1, round(length * side / longer)) for length in (width, height))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


_DIRECTIONS = (((0, 1), 1.0), ((1, 0), 1.0), ((1, 1), 1.6), ((1, -1), 1.6))
"""Steps along which differences are taken, and what second differences gain by the longer steps of the diagonals: the
median over photographs of faces."""


def edge_sharpness(grey: Pixels) -> float:
    """Return the energy of second over that of first differences, at a longer side of at most 96 px.

    That of the direction in which it is least; 0 for pictures of less than 3 px.
    """
    levels = _reduced(grey).astype(np.int32)
    if min(levels.shape) < 3:
        return 0.0
    height, width = levels.shape
    least = np.inf
    middle = 2 * levels[1:-1, 1:-1]
    for (dy, dx), gain in _DIRECTIONS:
        ahead = levels[1 + dy : height - 1 + dy, 1 + dx : width - 1 + dx]
        behind = levels[1 - dy : height - 1 - dy, 1 - dx : width - 1 - dx]
        second, first = ahead + behind - middle, ahead - behind
        # whole numbers: equal on every machine
        energy = float((second * second).sum(dtype=np.int64)), float((first * first).sum(dtype=np.int64)) / 4
        least = min(least, energy[0] / (energy[1] + 0.5 * middle.size) / gain)
    return round(least, _DECIMALS)


_SOFT = (4, 48)
"""Grey levels by which the pixels around one differ where something soft is to be seen: more than compression makes of
one tone, less than the edges of lettering."""

_LEAST_SOFT = 0.003
_TEXTURE_SIDE = 192
"""Share of a picture below which that is nothing, and the longer side, px, at which it is looked for: a small face in a
large picture has few neighbours that differ; noise and the edges of lettering have many."""


def texture_entropy(grey: Pixels) -> float:
    """Return the Shannon entropy (bits) of the grey levels where neighbours differ a little; 0 if that is nowhere."""
    grey = _reduced(grey, _TEXTURE_SIDE)
    around = np.ones((3, 3), dtype=np.uint8)
    differ = cv2.subtract(cv2.dilate(grey, around), cv2.erode(grey, around))
    soft = (differ > _SOFT[0]) & (differ <= _SOFT[1])
    if soft.mean() < _LEAST_SOFT:
        return 0.0
    counts = np.bincount(grey[soft], minlength=256).astype(np.float64)
    shares = counts[counts > 0] / counts.sum()
    return round(max(0.0, -float(shares @ np.log2(shares))), _DECIMALS)


def dhash(image: Image.Image) -> int:
    """Return the difference hash of an L image: is a cell brighter than its left neighbour, at 9 x 8 (N. Krawetz)."""
    small = np.asarray(image.resize((_HASH_SIDE + 1, _HASH_SIDE), Image.Resampling.LANCZOS))
    return _signed64(small[:, 1:] > small[:, :-1])


def phash(image: Image.Image) -> int:
    """Return the perceptual hash of an L image: which of the 8 x 8 lowest DCT coefficients exceed their median."""
    small = np.asarray(image.resize((_PHASH_SIDE, _PHASH_SIDE), Image.Resampling.LANCZOS))
    rows = scipy.fft.dct(small, axis=0)[:_HASH_SIDE]
    low = scipy.fft.dct(rows, axis=1)[:, :_HASH_SIDE]
    ranked = np.sort(low, axis=None)
    median = (ranked[31] + ranked[32]) / 2
    return _signed64(low > median)


def _signed64(bits: NDArray[np.bool_]) -> int:
    return int.from_bytes(np.packbits(bits).tobytes(), "big", signed=True)


def thumbnail(grey: Pixels) -> Pixels:
    """Return (48, 48) grey levels, averaged over areas where the image is larger."""
    if grey.shape == (THUMBNAIL_SIDE, THUMBNAIL_SIDE):
        return grey
    larger = min(grey.shape) >= THUMBNAIL_SIDE
    method = cv2.INTER_AREA if larger else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(grey, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), interpolation=method), dtype=np.uint8)
