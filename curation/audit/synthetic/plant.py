"""Copies of images as they happen in the wild, made on purpose: for tests, benchmarks and the audit.

Every kind takes an image and a seeded generator and returns an image, of the same shape but for some of ``HARD_KINDS``.
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


def make_copy(image: Pixels, kind: str, seed: int) -> Pixels:
    """Return a copy of one kind.

    Args:
        image: (H, W) or (H, W, 3) uint8, both sides at least 16 px
        kind: a name in ``KINDS``, ``FURTHER_KINDS`` or ``HARD_KINDS``
        seed: equal seeds, kinds and images give equal copies

    Raises:
        KeyError: there is no such kind.

    """
    make = next((kinds[kind] for kinds in (KINDS, FURTHER_KINDS) if kind in kinds), None) or HARD_KINDS[kind]
    return make(image, np.random.default_rng([seed, zlib.crc32(kind.encode())]))


def _scaled(length: float, image: Pixels) -> float:
    return float(length * min(image.shape[:2]) / REFERENCE_SIDE)


def _levels(values: NDArray[np.floating]) -> Pixels:
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
    return _levels(image + _either(rng, (-45, -15), (15, 45)))


def contrast(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Scale levels around their mean by 0.5 to 0.8 or 1.2 to 1.5."""
    mean = image.mean()
    return _levels((image - mean) * _either(rng, (0.5, 0.8), (1.2, 1.5)) + mean)


def gamma(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Raise levels in 0..1 to a power of 0.5 to 0.8 or 1.25 to 1.8."""
    return _levels(255 * (image / 255) ** _either(rng, (0.5, 0.8), (1.25, 1.8)))


def _warp(image: Pixels, matrix: NDArray[np.floating]) -> Pixels:
    height, width = image.shape[:2]
    warped = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, dtype=np.uint8)


def shift(image: Pixels, rng: np.random.Generator, length: float) -> Pixels:
    """Move by ``length`` (px at the reference side) sideways, up or down, or both; the edge is repeated."""
    step = round(_scaled(length, image))
    dx, dy = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))[int(rng.integers(8))]
    return _warp(image, np.array([[1, 0, dx * step], [0, 1, dy * step]], dtype=np.float64))


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
    return _warp(image, np.asarray(turn, dtype=np.float64))


def turn(image: Pixels, rng: np.random.Generator, degrees: float) -> Pixels:
    """Turn by ``degrees``, either way; the edge is repeated."""
    height, width = image.shape[:2]
    way = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees * float(rng.choice([-1, 1])), 1.0)
    return _warp(image, np.asarray(way, dtype=np.float64))


def quarter_turns(image: Pixels, rng: np.random.Generator, turns: int) -> Pixels:
    """Turn by 90 degrees anti-clockwise, ``turns`` times."""
    return np.ascontiguousarray(np.rot90(image, turns))


def upside_down(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Swap top and bottom."""
    return np.ascontiguousarray(image[::-1])


def transposed(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Swap rows and columns."""
    return np.ascontiguousarray(image.swapaxes(0, 1))


def negative(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Swap dark and light."""
    return np.asarray(255 - image, dtype=np.uint8)


def bars(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Lay black bars of 8 to 16 % over two opposite sides."""
    covered = image.copy()
    way = covered if rng.random() < 0.5 else covered.swapaxes(0, 1)
    width = round(len(way) * rng.uniform(0.08, 0.16))
    way[:width] = way[-width:] = 0
    return covered


def letterbox(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Add black bars of 10 to 25 % to two opposite sides."""
    width = round(min(image.shape[:2]) * rng.uniform(0.1, 0.25))
    above, aside = (width, 0) if rng.random() < 0.5 else (0, width)
    return np.asarray(cv2.copyMakeBorder(image, above, above, aside, aside, cv2.BORDER_CONSTANT, value=0), np.uint8)


def frame(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Add a frame of 4 to 12 % of any one colour."""
    width = round(min(image.shape[:2]) * rng.uniform(0.04, 0.12))
    colour = rng.integers(0, 256, 3).tolist()
    framed = cv2.copyMakeBorder(image, width, width, width, width, cv2.BORDER_CONSTANT, value=colour)
    return np.asarray(framed, dtype=np.uint8)


def shift_diagonally(image: Pixels, rng: np.random.Generator, share: float) -> Pixels:
    """Move by ``share`` of the side sideways and up or down; the edge is repeated."""
    height, width = image.shape[:2]
    dx, dy = (share * side * float(rng.choice([-1, 1])) for side in (width, height))
    return _warp(image, np.array([[1, 0, dx], [0, 1, dy]], dtype=np.float64))


def cover(image: Pixels, rng: np.random.Generator, share: float, centred: bool = False) -> Pixels:
    """Cover ``share`` of both sides by one grey level, anywhere or in the middle (in black)."""
    covered = image.copy()
    sides = [round(share * length) for length in image.shape[:2]]
    ends = [length - side for length, side in zip(image.shape[:2], sides, strict=True)]
    top, left = (end // 2 if centred else int(rng.integers(0, end, endpoint=True)) for end in ends)
    covered[top : top + sides[0], left : left + sides[1]] = 0 if centred else rng.integers(0, 256)
    return covered


def strong_blur(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Blur by a Gaussian with a standard deviation of 1.5 px at the reference side."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), _scaled(1.5, image)), dtype=np.uint8)


def side_by_side(first: Pixels, second: Pixels) -> Pixels:
    """Return two pictures in one, the second scaled to the first's height (it may have other channels)."""
    height = len(first)
    width = round(second.shape[1] * height / len(second))
    scaled = cv2.resize(second, (width, height), interpolation=cv2.INTER_AREA)
    if scaled.ndim != first.ndim:
        scaled = scaled[:, :, None].repeat(3, axis=2) if first.ndim == 3 else scaled.mean(axis=2)
    return np.concatenate([first, scaled.astype(np.uint8)], axis=1)


def text(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Write a word in black or white near the upper or lower edge."""
    marked = image.copy()
    scale = _scaled(float(rng.uniform(0.28, 0.36)), image)
    level = int(rng.choice([0, 255]))
    height = image.shape[0]
    baseline = round(_scaled(9, image)) if rng.random() < 0.5 else height - round(_scaled(3, image))
    start = round(_scaled(float(rng.uniform(1, 8)), image))
    word = _WORDS[int(rng.integers(len(_WORDS)))]
    thickness = max(1, round(_scaled(1, image)))
    cv2.putText(marked, word, (start, baseline), cv2.FONT_HERSHEY_SIMPLEX, scale, (level,) * 3, thickness)
    return marked


def noise(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Add Gaussian noise with a standard deviation of 5 to 12 grey levels."""
    return _levels(image + rng.normal(0, rng.uniform(5, 12), image.shape))


def blur(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Blur by a Gaussian with a standard deviation of 0.6 to 1.2 px at the reference side."""
    sigma = _scaled(float(rng.uniform(0.6, 1.2)), image)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), dtype=np.uint8)


def resample(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Reduce to 50 to 75 % of the side and enlarge again."""
    height, width = image.shape[:2]
    share = rng.uniform(0.5, 0.75)
    small = cv2.resize(image, (round(width * share), round(height * share)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def block(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Cover a square of 12 px at the reference side, anywhere, with one grey level."""
    side = round(_scaled(12, image))
    top, left = (int(rng.integers(0, length - side, endpoint=True)) for length in image.shape[:2])
    covered = image.copy()
    covered[top : top + side, left : left + side] = rng.integers(0, 256)
    return covered


def sharpen(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Unsharp mask with an amount of 0.5 to 1.5."""
    smooth = cv2.GaussianBlur(image, (0, 0), _scaled(1.0, image)).astype(np.float64)
    return _levels(image + rng.uniform(0.5, 1.5) * (image - smooth))


def tone(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Lay a brightness ramp of 30 to 60 grey levels over the image, in any direction."""
    height, width = image.shape[:2]
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-0.5 : 0.5 : height * 1j, -0.5 : 0.5 : width * 1j]
    ramp = rng.uniform(30, 60) * (np.cos(angle) * x + np.sin(angle) * y)
    return _levels(image + (ramp if image.ndim == 2 else ramp[:, :, None]))


def border(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Put a black or white frame of 2 to 4 px at the reference side around the reduced image."""
    height, width = image.shape[:2]
    frame = round(_scaled(float(rng.uniform(2, 4)), image))
    framed = np.full_like(image, rng.choice([0, 255]))
    inner = cv2.resize(image, (width - 2 * frame, height - 2 * frame), interpolation=cv2.INTER_AREA)
    framed[frame : height - frame, frame : width - frame] = inner
    return framed


def stretch(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Scale one axis by 1.06 to 1.14 around the centre."""
    height, width = image.shape[:2]
    factors = np.ones(2)
    factors[int(rng.integers(2))] = rng.uniform(1.06, 1.14)
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    return _warp(image, np.column_stack([np.diag(factors), centre - factors * centre]))


def _then_jpeg(first: Kind) -> Kind:
    def both(image: Pixels, rng: np.random.Generator) -> Pixels:
        return jpeg(first(image, rng), rng)

    return both


def _shift_by(length: float) -> Kind:
    return lambda image, rng: shift(image, rng, length)


def _crop_by(share: float, jitter: float = 0.25) -> Kind:
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
        "crop_5": _crop_by(0.05),
        "crop_10": _crop_by(0.10),
        "mirror": mirror,
        "mirror_jpeg": _then_jpeg(mirror),
        "rotate": rotate,
        "text": text,
        "text_jpeg": _then_jpeg(text),
        "noise": noise,
        "blur": blur,
        "resample": resample,
        "crop_jpeg": _then_jpeg(_crop_by(0.05)),
        "block": block,
    }
)
"""The kinds of copies that duplicate search is held to."""

FURTHER_KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "sharpen": sharpen,
        "tone": tone,
        "border": border,
        "stretch": stretch,
        "crop_corner": _crop_by(0.05, jitter=1.0),
        "crop_14": _crop_by(0.14),
        "mirror_crop": lambda image, rng: crop(mirror(image, rng), rng, 0.06),
        "rotate_gamma": lambda image, rng: gamma(rotate(image, rng), rng),
        "shift_noise": lambda image, rng: noise(shift(image, rng, 2), rng),
        "text_crop": lambda image, rng: crop(text(image, rng), rng, 0.05),
    }
)
"""Harder kinds, for looking beyond those."""


def _quarter(turns: int) -> Kind:
    return lambda image, rng: quarter_turns(image, rng, turns)


HARD_KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "turn_90": _quarter(1),
        "turn_180": _quarter(2),
        "turn_270": _quarter(3),
        "upside_down": upside_down,
        "transposed": transposed,
        "negative": negative,
        "bars": bars,
        "letterbox": letterbox,
        "frame": frame,
        "crop_20": _crop_by(0.20, jitter=1.0),
        "turn_15": lambda image, rng: turn(image, rng, 15),
        "turn_30": lambda image, rng: turn(image, rng, 30),
        "block_30": lambda image, rng: cover(image, rng, 0.30),
        "cutout_40": lambda image, rng: cover(image, rng, 0.40, centred=True),
        "strong_blur": strong_blur,
        "shift_20": lambda image, rng: shift_diagonally(image, rng, 0.20),
    }
)
"""Copies that a search for slight changes alone would miss; two pictures in one are ``side_by_side``."""
