"""What makes a picture unique besides its subject: surfaces, strands, backdrops, cast light.

Fine detail is drawn at 2 to 6 px of the final 48, as in photographs: finer detail would not survive resizing and JPEG,
coarser detail would not distinguish two people drawn alike.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Tones = npt.NDArray[np.float32]

_FINISHED = 48
"""Side in px that grain sizes refer to."""


def mottle(side: int, grain: float, rng: np.random.Generator) -> Tones:
    """Return (side, side) float32 noise of mean 0 and standard deviation about 1, in spots of ``grain`` px of 48."""
    cells = max(2, round(_FINISHED / grain))
    spots = cv2.resize(rng.normal(0.0, 1.0, (cells, cells)), (side, side), interpolation=cv2.INTER_CUBIC)
    return np.asarray(spots / max(float(spots.std()), 1e-6), dtype=np.float32)


def rough(side: int, rng: np.random.Generator, scale: float = 1.0) -> Tones:
    """Return (side, side) float32 noise of standard deviation about 1 with spots of many sizes, as surfaces have."""
    parts = [mottle(side, scale * grain * rng.uniform(0.8, 1.25), rng) for grain in (1.6, 2.6, 4.5)]
    return np.asarray(np.sqrt(1 / 3) * np.sum(parts, axis=0), dtype=np.float32)


def dots(side: int, count: int, radius: tuple[float, float], rng: np.random.Generator) -> Tones:
    """Return the cover (0..1) of ``count`` dots at random places, their radii from a range in px of 48."""
    cover = np.zeros((side, side), dtype=np.uint8)
    fraction = 4  # bits after the point of the positions that OpenCV takes
    unit = side / _FINISHED * 2**fraction
    for x, y, r in zip(*rng.uniform(0, _FINISHED, (2, count)), rng.uniform(*radius, count), strict=True):
        cv2.circle(cover, (round(x * unit), round(y * unit)), round(r * unit), 255, -1, cv2.LINE_AA, fraction)
    return np.asarray(cover / 255, dtype=np.float32)


def strands(x: Tones, y: Tones, parting: float, curls: float, rng: np.random.Generator) -> Tones:
    """Return noise of standard deviation about 1 drawn out along hair combed away from a parting.

    Args:
        x: head coordinates to the right, (side, side)
        y: head coordinates down, (side, side)
        parting: where on the crown the strands start
        curls: 0 (straight) to 1 (all curls)
        rng: random generator

    """
    side = x.shape[0]
    wave = mottle(side, rng.uniform(6, 14), rng) * rng.uniform(0.01, 0.06)
    around = np.arctan2(x - parting, y + rng.uniform(1.1, 1.7)) + wave
    count = int(rng.integers(50, 110))
    straight = np.interp(around, np.linspace(-np.pi, np.pi, 4 * count), rng.normal(0.0, 1.0, 4 * count))
    mixed = (1 - curls) * straight + curls * mottle(side, rng.uniform(2.2, 4.0), rng)
    return np.asarray(mixed, dtype=np.float32)


def wobble(side: int, scale: float, amount: float, rng: np.random.Generator) -> tuple[Tones, Tones]:
    """Return how far to move points sideways and down, (side, side) each, so that no two shapes are alike.

    Args:
        side: px
        scale: of the shape, in sides
        amount: standard deviation of the moves
        rng: random generator

    """
    grains = scale * rng.uniform(9, 16, 2)
    aside, down = (np.asarray(amount * mottle(side, grain, rng), dtype=np.float32) for grain in grains)
    return aside, down


def cast_light(side: int, strength: float, rng: np.random.Generator) -> Tones:
    """Return factors (side, side) around 1: patches of light, and in every third picture the edge of a shadow."""
    factors = 1 + 0.3 * strength * mottle(side, rng.uniform(8, 20), rng)
    if rng.random() < 1 / 3:
        factors *= 1 - strength * _half_plane(side, rng)
    return np.asarray(np.clip(factors, 0.4, 1.3), dtype=np.float32)


def cloth(side: int, rng: np.random.Generator) -> Tones:
    """Return (side, side) float32 of standard deviation about 1: plain, striped or checked cloth with folds."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side + 0.04 * mottle(side, 14, rng)
    angle, cycles = rng.uniform(0, np.pi), rng.uniform(6, 13)
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    stripes = np.sin(2 * np.pi * cycles * along)
    pattern = (np.zeros_like(x), stripes, stripes * np.sin(2 * np.pi * cycles * across))[rng.integers(3)]
    return np.asarray(pattern + 0.7 * rough(side, rng), dtype=np.float32)


def backdrop(side: int, tone: float, rng: np.random.Generator) -> Tones:
    """Return (side, side) float32 tones 0..1, as behind a portrait: light falling off, things, a surface."""
    slope = np.linspace(-1, 1, side, dtype=np.float32) * rng.uniform(-0.12, 0.12)
    tones = tone + rng.uniform(0.02, 0.1) * mottle(side, rng.uniform(8, 24), rng) + slope[:, None] + slope[::-1]
    things = (_lights, _shelves, _panels)[rng.integers(3)]
    tones += rng.uniform(0.04, 0.16) * things(side, rng)
    tones += rng.uniform(0.015, 0.06) * rough(side, rng)
    return np.asarray(np.clip(tones, 0, 1), dtype=np.float32)


def _half_plane(side: int, rng: np.random.Generator) -> Tones:
    """Return a cover that rises softly from 0 to 1 across a random line near the middle."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    distance = np.cos(angle) * x + np.sin(angle) * y - rng.uniform(-0.1, 0.3)
    return np.asarray(1 / (1 + np.exp(np.clip(-distance / rng.uniform(0.01, 0.06), -30, 30))), dtype=np.float32)


def _lights(side: int, rng: np.random.Generator) -> Tones:
    """Return blurred round lights and leaves."""
    light, dark = (dots(side, int(rng.integers(4, 16)), (1.5, 6.0), rng) for _ in range(2))
    return np.asarray(cv2.GaussianBlur(1.5 * (light - dark), (0, 0), side / 90), dtype=np.float32)


def _shelves(side: int, rng: np.random.Generator) -> Tones:
    """Return rows of upright things of different tones."""
    rows, columns = int(rng.integers(2, 5)), int(rng.integers(7, 18))
    shelf = cv2.resize(rng.normal(0.0, 1.0, (rows, columns)), (side, side), interpolation=cv2.INTER_NEAREST)
    return np.asarray(cv2.GaussianBlur(shelf, (0, 0), side / 110), dtype=np.float32)


def _panels(side: int, rng: np.random.Generator) -> Tones:
    """Return large areas with straight edges: walls, doors, a window."""
    return np.asarray(sum(rng.normal(0.0, 1.0) * _half_plane(side, rng) for _ in range(4)), dtype=np.float32)
