"""Draw what is not a person's face: textures, objects, cartoons and animals, as found among scraped faces."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from curation.audit.synthetic.detail import Tones, backdrop, rough, wobble


def texture(side: int, rng: np.random.Generator) -> Tones:
    """Return (side, side) float32 tones of stripes, tiles, foliage or waves."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side + wobble(side, 1.0, 0.03, rng)
    angle, cycles = rng.uniform(0, np.pi), rng.uniform(4, 9)
    along = np.cos(angle) * x + np.sin(angle) * y
    across = np.cos(angle) * y - np.sin(angle) * x
    waves = np.sin(2 * np.pi * cycles * along + rng.uniform(1, 4) * np.sin(2 * np.pi * across))
    tiles = np.sign(np.sin(2 * np.pi * cycles * along) * np.sin(2 * np.pi * cycles * across))
    leaves = 2.5 * cv2.GaussianBlur(rng.normal(0, 1, (side, side)).astype(np.float32), (0, 0), side / 60) * side / 60
    pattern = (np.sign(waves), tiles, leaves, waves)[rng.integers(4)]
    grain = rng.normal(0, 0.03, (side, side)) + rng.uniform(0.03, 0.08) * rough(side, rng)
    return np.clip(rng.uniform(0.4, 0.6) + rng.uniform(0.18, 0.3) * pattern + grain, 0, 1).astype(np.float32)


def thing(side: int, rng: np.random.Generator) -> Tones:
    """Return (side, side) float32 tones of a house, a tree, a car or a page of text before a soft backdrop."""
    scene = backdrop(side, rng.uniform(0.55, 0.85), rng)
    draw = (_house, _tree, _car, _page)[rng.integers(4)]
    draw(scene, rng)
    blurred = cv2.GaussianBlur(_seen_from_elsewhere(scene, rng), (0, 0), side / 140)
    return np.clip(blurred + rng.normal(0, 0.015, scene.shape), 0, 1).astype(np.float32)


def _seen_from_elsewhere(scene: Tones, rng: np.random.Generator) -> Tones:
    """Return the scene mirrored or not, tilted, nearer or farther, so that two of a kind are not copies."""
    side = scene.shape[0]
    matrix = cv2.getRotationMatrix2D((side / 2, side / 2), rng.uniform(-14, 14), rng.uniform(0.75, 1.4))
    matrix[:, 2] += rng.uniform(-0.12, 0.12, 2) * side
    flipped = scene[:, ::-1].copy() if rng.random() < 0.5 else scene
    warped = cv2.warpAffine(flipped, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(rng.uniform(0, 0.15) + rng.uniform(0.6, 0.9) * warped, dtype=np.float32)


Point = tuple[float, float]


def _box(scene: Tones, start: Point, end: Point, tone: float) -> None:
    _polygon(scene, [start, (end[0], start[1]), end, (start[0], end[1])], tone)


def _polygon(scene: Tones, corners: list[Point], tone: float) -> None:
    pixels = np.round(np.array(corners) * scene.shape[0]).astype(np.int32)
    cv2.fillPoly(scene, [pixels], tone)


def _disc(scene: Tones, centre: Point, radius: float, tone: float) -> None:
    side = scene.shape[0]
    cv2.circle(scene, (round(centre[0] * side), round(centre[1] * side)), round(radius * side), tone, -1)


def _house(scene: Tones, rng: np.random.Generator) -> None:
    left, right, top = rng.uniform(0.08, 0.22), rng.uniform(0.75, 0.95), rng.uniform(0.4, 0.55)
    _box(scene, (0, 0.85), (1, 1), rng.uniform(0.2, 0.4))
    _box(scene, (left, top), (right, 0.88), rng.uniform(0.4, 0.9))
    _polygon(
        scene, [(left - 0.06, top), (right + 0.06, top), (0.4, top - rng.uniform(0.2, 0.35))], rng.uniform(0.1, 0.3)
    )
    _box(scene, (left + 0.06, 0.6), (left + 0.18, 0.88), 0.1)
    for x in np.arange(left + 0.28, right - 0.12, 0.17):
        _box(scene, (x, top + 0.08), (x + 0.1, top + 0.2), 0.15)


def _tree(scene: Tones, rng: np.random.Generator) -> None:
    x = rng.uniform(0.3, 0.7)
    _box(scene, (0, 0.88), (1, 1), rng.uniform(0.3, 0.5))
    _box(scene, (x - 0.04, 0.5), (x + 0.04, 0.92), 0.15)
    for _ in range(60):
        place = (x + rng.normal(0, 0.14), 0.36 + rng.normal(0, 0.11))
        _disc(scene, place, rng.uniform(0.02, 0.07), rng.uniform(0.15, 0.55))


def _car(scene: Tones, rng: np.random.Generator) -> None:
    tone = rng.uniform(0.1, 0.9)
    _box(scene, (0, 0.72), (1, 1), 0.35)
    _polygon(scene, [(0.22, 0.5), (0.34, 0.32), (0.66, 0.32), (0.82, 0.5)], tone)
    _polygon(scene, [(0.3, 0.48), (0.37, 0.36), (0.49, 0.36), (0.49, 0.48)], 0.2)
    _box(scene, (0.06, 0.5), (0.95, 0.7), tone)
    for x in (0.26, 0.75):
        _disc(scene, (x + rng.uniform(-0.02, 0.02), 0.71), 0.1, 0.05)
        _disc(scene, (x, 0.71), 0.04, 0.6)


def _page(scene: Tones, rng: np.random.Generator) -> None:
    _box(scene, (0.08, 0.06), (0.92, 0.96), 0.95)
    for y in np.arange(0.14, 0.9, 0.075):
        x, end = 0.14, rng.uniform(0.6, 0.86)
        while x < end:
            length = rng.uniform(0.03, 0.14)
            _box(scene, (x, y), (min(x + length, end), y + 0.025), 0.15)
            x += length + 0.035


def cartoon(side: int, rng: np.random.Generator) -> Tones:
    """Return (side, side) float32 tones of a face as comics have it: flat tones, outlines, large eyes."""
    scene = np.full((side, side), rng.uniform(0.35, 0.95), np.float32)
    skin, line, size = rng.uniform(0.7, 1.0), rng.uniform(0.0, 0.1), rng.uniform(0.34, 0.42)
    spikes, hair = int(rng.integers(2, 10)), rng.uniform(0.1, 0.6)
    for part in np.linspace(-1, 1, spikes):
        root = 0.5 + part * size
        _polygon(scene, [(root - 0.09, 0.4), (root + 0.3 * part * size, 0.5 - 1.35 * size), (root + 0.09, 0.4)], hair)
    for radius, tone in ((size + 0.025, line), (size, skin)):
        _disc(scene, (0.5, 0.5), radius, tone)
    apart, large, glance = rng.uniform(0.33, 0.5), rng.uniform(0.2, 0.36), rng.uniform(-0.08, 0.08)
    for eye in (-1, 1):
        x, y = 0.5 + eye * apart * size, 0.5 - 0.25 * size
        for radius, tone in ((large + 0.05, line), (large, 1.0)):
            _disc(scene, (x, y), radius * size, tone)
        _disc(scene, (x + glance * size, y), 0.4 * large * size, 0.0)
    wide, deep, turned = rng.uniform(0.3, 0.65), rng.uniform(0.15, 0.45), rng.choice([0, np.pi])
    angles = np.linspace(turned, turned + np.pi, 24)
    lips = [(0.5 + wide * size * np.cos(t), 0.5 + size * (0.4 + deep * np.sin(t))) for t in angles.tolist()]
    _polygon(scene, lips, line)
    _disc(scene, (0.5, 0.5 + 0.1 * size), rng.uniform(0.05, 0.14) * size, 0.6 * skin)
    return np.asarray(_seen_from_elsewhere(scene, rng) + rng.normal(0, 0.01, scene.shape), dtype=np.float32)


def animal(side: int, rng: np.random.Generator) -> Tones:
    """Return (side, side) float32 tones of a cat's face: ears, slit pupils, fur, whiskers."""
    scene = backdrop(side, rng.uniform(0.1, 0.9), rng)
    fur, dark = rng.uniform(0.3, 0.8), rng.uniform(0.02, 0.12)
    for ear in (-1, 1):
        for inset, tone in ((0.0, fur), (0.05, 0.6 * fur)):
            _polygon(
                scene,
                [
                    (0.5 + ear * (0.36 - inset), 0.42),
                    (0.5 + ear * 0.34, 0.06 + 2 * inset),
                    (0.5 + ear * (0.1 + inset), 0.26),
                ],
                tone,
            )
    _disc(scene, (0.5, 0.55), 0.37, fur)
    for stripe in (-0.12, 0.0, 0.12):
        _polygon(scene, [(0.48 + stripe, 0.2), (0.52 + stripe, 0.2), (0.5 + 0.6 * stripe, 0.36)], 0.5 * fur)
    for eye in (-1, 1):
        _disc(scene, (0.5 + eye * 0.16, 0.5), 0.075, 0.85)
        _box(scene, (0.49 + eye * 0.16, 0.44), (0.51 + eye * 0.16, 0.56), dark)
        _disc(scene, (0.5 + eye * 0.08, 0.74), 0.1, min(1.0, fur + 0.2))
    _polygon(scene, [(0.45, 0.63), (0.55, 0.63), (0.5, 0.69)], dark)
    shaded = scene * (1 + 0.12 * rough(side, rng))
    for height in (0.7, 0.75, 0.8):
        for whisker in (-1, 1):
            start, end = (
                [round(x * side), round(y * side)]
                for x, y in ((0.5 + whisker * 0.1, 0.73), (0.5 + whisker * 0.46, height - 0.06))
            )
            cv2.line(shaded, start, end, 0.95, 1, cv2.LINE_AA)
    warped = _seen_from_elsewhere(shaded.astype(np.float32), rng)
    return np.clip(cv2.GaussianBlur(warped, (0, 0), side / 140), 0, 1).astype(np.float32)


SCENES: dict[str, Callable[[int, np.random.Generator], Tones]] = {
    "texture": texture,
    "object": thing,
    "cartoon": cartoon,
    "animal": animal,
}
