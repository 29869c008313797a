"""Harder copies than the toolkit itself plants: for tests and benchmarks of the search for near copies."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import cv2
import numpy as np

from curation.audit.synthetic import plant
from curation.audit.synthetic.plant import KINDS, Kind, Pixels


def sharpen(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Unsharp mask with an amount of 0.5 to 1.5."""
    smooth = cv2.GaussianBlur(image, (0, 0), plant.scaled(1.0, image)).astype(np.float64)
    return plant.levels(image + rng.uniform(0.5, 1.5) * (image - smooth))


def tone(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Lay a brightness ramp of 30 to 60 grey levels over the image, in any direction."""
    height, width = image.shape[:2]
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-0.5 : 0.5 : height * 1j, -0.5 : 0.5 : width * 1j]
    ramp = rng.uniform(30, 60) * (np.cos(angle) * x + np.sin(angle) * y)
    return plant.levels(image + (ramp if image.ndim == 2 else ramp[:, :, None]))


def border(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Put a black or white frame of 2 to 4 px at the reference side around the reduced image."""
    height, width = image.shape[:2]
    frame = round(plant.scaled(float(rng.uniform(2, 4)), image))
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
    return plant.warp(image, np.column_stack([np.diag(factors), centre - factors * centre]))


def turn(image: Pixels, rng: np.random.Generator, degrees: float) -> Pixels:
    """Turn by ``degrees``, either way; the edge is repeated."""
    height, width = image.shape[:2]
    way = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees * float(rng.choice([-1, 1])), 1.0)
    return plant.warp(image, np.asarray(way, dtype=np.float64))


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
    return plant.warp(image, np.array([[1, 0, dx], [0, 1, dy]], dtype=np.float64))


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
    return np.asarray(cv2.GaussianBlur(image, (0, 0), plant.scaled(1.5, image)), dtype=np.uint8)


def side_by_side(first: Pixels, second: Pixels) -> Pixels:
    """Return two pictures in one, the second scaled to the first's height (it may have other channels)."""
    height = len(first)
    width = round(second.shape[1] * height / len(second))
    scaled = cv2.resize(second, (width, height), interpolation=cv2.INTER_AREA)
    if scaled.ndim != first.ndim:
        scaled = scaled[:, :, None].repeat(3, axis=2) if first.ndim == 3 else scaled.mean(axis=2)
    return np.concatenate([first, scaled.astype(np.uint8)], axis=1)


def _quarter(turns: int) -> Kind:
    return lambda image, rng: quarter_turns(image, rng, turns)


FURTHER_KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "sharpen": sharpen,
        "tone": tone,
        "border": border,
        "stretch": stretch,
        "crop_corner": plant.crop_by(0.05, jitter=1.0),
        "crop_14": plant.crop_by(0.14),
        "mirror_crop": lambda image, rng: plant.crop(plant.mirror(image, rng), rng, 0.06),
        "rotate_gamma": lambda image, rng: plant.gamma(plant.rotate(image, rng), rng),
        "shift_noise": lambda image, rng: plant.noise(plant.shift(image, rng, 2), rng),
        "text_crop": lambda image, rng: plant.crop(plant.text(image, rng), rng, 0.05),
    }
)
"""Harder kinds, for looking beyond those."""


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
        "crop_20": plant.crop_by(0.20, jitter=1.0),
        "turn_15": lambda image, rng: turn(image, rng, 15),
        "turn_30": lambda image, rng: turn(image, rng, 30),
        "block_30": lambda image, rng: cover(image, rng, 0.30),
        "cutout_40": lambda image, rng: cover(image, rng, 0.40, centred=True),
        "strong_blur": strong_blur,
        "shift_20": lambda image, rng: shift_diagonally(image, rng, 0.20),
    }
)
"""Copies that a search for slight changes alone would miss; two pictures in one are ``side_by_side``."""


def make_copy(image: Pixels, kind: str, seed: int) -> Pixels:
    """Return a copy of any kind, the toolkit's own or one of these; see ``plant.make_copy``."""
    return plant.make_copy(image, kind, seed, {**KINDS, **FURTHER_KINDS, **HARD_KINDS})
