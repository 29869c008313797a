"""Numbers of one decoded image: exposure, contrast, entropy, sharpness, perceptual hashes, a thumbnail."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import scipy
from numpy.typing import NDArray
from PIL import Image

from curation.measure.decode import Decoded, Pixels
from curation.measure.parts import of_one_shape, parts_of
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
    dhash, phash   -- 64 bits as a signed integer, equal to imagehash.dhash and imagehash.phash of the decoded image,
                      which is halved before where its longer side has 384 px or more (``Decoded.small_grey``)
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


def measure_pixels(pictures: Sequence[Decoded]) -> list[PixelMeasures]:
    """Measure decoded images; each as if it were alone, those of one size together."""
    found: dict[int, PixelMeasures] = {}
    for places in of_one_shape([picture.grey for picture in pictures]):
        found.update(zip(places, _measured([pictures[place] for place in places]), strict=True))
    return [found[place] for place in range(len(pictures))]


def _measured(pictures: Sequence[Decoded]) -> Iterator[PixelMeasures]:
    """Yield the measures of pictures of one size."""
    greys = np.stack([picture.small_grey for picture in pictures])
    # what was halved before has lost a part of its sharpness
    small = greys if max(greys.shape[1:]) <= _SHARPNESS_SIDE else np.stack([_reduced(p.grey) for p in pictures])
    light = exposure([picture.grey for picture in pictures])
    numbers = zip(
        sharpness(small), edge_sharpness(small), texture_entropy(greys), dhash(greys), phash(greys), strict=True
    )
    for picture, exposed, measured, parts in zip(pictures, light, numbers, parts_of(greys), strict=True):
        rows = [
            {"kind": part.kind, "box": list(part.box), "thumbnail": thumbnail(part.pixels).tobytes()} for part in parts
        ]
        thumb = thumbnail(picture.small_grey).tobytes()
        yield PixelMeasures(pixel_digest(picture), *exposed, *measured, thumb, rows)


def pixel_digest(decoded: Decoded) -> str:
    """Return the SHA-256 of canonical pixels: sizes and channels first, then the levels row by row."""
    channels = 1 if decoded.pixels.ndim == 2 else 3
    head = f"{decoded.width}x{decoded.height}x{channels}:{decoded.pixels.shape[1]}x{decoded.pixels.shape[0]}\n"
    digest = hashlib.sha256(head.encode("ascii"))
    digest.update(decoded.pixels.data)
    return digest.hexdigest()


Exposure = tuple[float, float, float, float, float, float, float]


def exposure(greys: Sequence[Pixels]) -> list[Exposure]:
    """Return mean, the quantiles p01 p05 p95 p99, standard deviation (all 0..1) and entropy (bits) of each (H, W).

    A quantile is the lowest level with at least that share of the pixels at or below it.
    """
    counts = np.stack([_counts(grey) for grey in greys])
    shares = counts / counts.sum(axis=1, keepdims=True)
    means = np.vecdot(shares, _LEVELS)
    variances = np.vecdot(shares, (_LEVELS - means[:, None]) ** 2)
    found = []
    for mean, row, variance, share in zip(means.tolist(), counts, variances.tolist(), shares, strict=True):
        contrast = round(variance**0.5 / 255, _DECIMALS)
        p01, p05, p95, p99 = _quantiles(row, _QUANTILES)
        found.append((round(mean / 255, _DECIMALS), p01, p05, p95, p99, contrast, _entropy(share)))
    return found


def _counts(grey: Pixels, mask: Pixels | None = None) -> NDArray[np.float64]:
    """Return how many pixels have each of the 256 levels, of those where the mask is not 0."""
    return np.asarray(cv2.calcHist([grey], [0], mask, [256], [0, 256]), dtype=np.float64).ravel()


def _entropy(shares: NDArray[np.float64]) -> float:
    """Return the Shannon entropy, bits."""
    filled = shares[shares > 0]
    return round(max(0.0, -float(filled @ np.log2(filled))), _DECIMALS)


def _quantiles(counts: NDArray[np.float64], at: NDArray[np.float64]) -> list[float]:
    cumulated = counts.cumsum()
    return [round(level / 255, _DECIMALS) for level in cumulated.searchsorted(at * cumulated[-1] - 1e-9).tolist()]


def quantiles(grey: Pixels) -> tuple[float, float]:
    """Return the quantiles p05 and p95 of grey levels (H, W), 0..1; NaN of no pixels."""
    low, high = _quantiles(_counts(grey), _QUANTILES[1:3]) if grey.size else (float("nan"), float("nan"))
    return low, high


def sharpness(greys: Pixels) -> list[float]:
    """Return the variance of the Laplacian of each (H, W), grey levels squared."""
    deviations = (cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))[1] for grey in greys)
    return [round(float(deviation[0, 0]) ** 2, _DECIMALS) for deviation in deviations]


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

_TOGETHER = 32
"""Small pictures whose differences stay in the processor's cache."""


def edge_sharpness(greys: Pixels) -> list[float]:
    """Return the energy of second over that of first differences of each (H, W).

    That of the direction in which it is least; 0 for pictures of less than 3 px.
    """
    if min(greys.shape[1:]) < 3:
        return [0.0] * len(greys)
    parts = (greys[start : start + _TOGETHER] for start in range(0, len(greys), _TOGETHER))
    return [round(energy, _DECIMALS) for part in parts for energy in _least_energy(part.astype(np.float64)).tolist()]


def _least_energy(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    count, height, width = levels.shape
    middle = 2 * levels[:, 1:-1, 1:-1]
    energies: list[NDArray[np.float64]] = []
    for (dy, dx), gain in _DIRECTIONS:
        ahead = levels[:, 1 + dy : height - 1 + dy, 1 + dx : width - 1 + dx]
        behind = levels[:, 1 - dy : height - 1 - dy, 1 - dx : width - 1 - dx]
        second, first = ((ahead + behind - middle).reshape(count, -1), (ahead - behind).reshape(count, -1))
        # sums of whole numbers: equal on every machine
        energies.append(np.vecdot(second, second) / (np.vecdot(first, first) / 4 + 0.5 * second.shape[1]) / gain)
    return np.asarray(np.min(energies, axis=0), dtype=np.float64)


_SOFT = (4, 48)
"""Grey levels by which the pixels around one differ where something soft is to be seen: more than compression makes of
one tone, less than the edges of lettering."""

_LEAST_SOFT = 0.003
_TEXTURE_SIDE = 192
"""Share of a picture below which that is nothing, and the longer side, px, at which it is looked for: a small face in a
large picture has few neighbours that differ; noise and the edges of lettering have many."""

_AROUND = np.ones((3, 3), dtype=np.uint8)


def texture_entropy(greys: Pixels) -> list[float]:
    """Return the Shannon entropy (bits) of the grey levels of each (H, W) where neighbours differ a little.

    0 if that is nowhere.
    """
    return [_texture_entropy(_reduced(grey, _TEXTURE_SIDE)) for grey in greys]


def _texture_entropy(grey: Pixels) -> float:
    differ = cv2.subtract(cv2.dilate(grey, _AROUND), cv2.erode(grey, _AROUND))
    soft = np.asarray(cv2.inRange(differ, _SOFT[0] + 1, _SOFT[1]), dtype=np.uint8)
    count = cv2.countNonZero(soft)
    return 0.0 if count / soft.size < _LEAST_SOFT else _entropy(_counts(grey, soft) / count)


def dhash(greys: Pixels) -> list[int]:
    """Return the difference hash of each (H, W): is a cell brighter than its left neighbour, at 9 x 8 (N. Krawetz)."""
    small = _resized(greys, _HASH_SIDE + 1, _HASH_SIDE)
    return _signed64(small[:, :, 1:] > small[:, :, :-1])


def phash(greys: Pixels) -> list[int]:
    """Return the perceptual hash of each (H, W): which of the 8 x 8 lowest DCT coefficients exceed their median."""
    small = _resized(greys, _PHASH_SIDE, _PHASH_SIDE)
    rows = scipy.fft.dct(small, axis=1)[:, :_HASH_SIDE]
    low = scipy.fft.dct(rows, axis=2)[:, :, :_HASH_SIDE].reshape(len(greys), -1)
    ranked = np.sort(low, axis=1)
    return _signed64(low > (ranked[:, 31:32] + ranked[:, 32:33]) / 2)


def _resized(greys: Pixels, width: int, height: int) -> Pixels:
    """Return each (H, W) at another size, as Pillow's LANCZOS has it."""
    images = (Image.fromarray(grey).resize((width, height), Image.Resampling.LANCZOS) for grey in greys)
    return np.stack([np.asarray(image) for image in images])


def _signed64(bits: NDArray[np.bool_]) -> list[int]:
    hashes: list[int] = np.packbits(bits.reshape(len(bits), 64), axis=1).view(">i8").ravel().tolist()
    return hashes


def thumbnail(grey: Pixels) -> Pixels:
    """Return (48, 48) grey levels, averaged over areas where the image is larger."""
    if grey.shape == (THUMBNAIL_SIDE, THUMBNAIL_SIDE):
        return grey
    larger = min(grey.shape) >= THUMBNAIL_SIDE
    method = cv2.INTER_AREA if larger else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(grey, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), interpolation=method), dtype=np.uint8)
