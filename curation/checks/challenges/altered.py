"""Faces turned into what is no person's face, to learn from: cartoons, sketches, statues, paintings, dolls, and scraps.

All are made of the data's own faces, so that nothing but what makes a face a photograph of a person tells them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

_CANVAS = 144
"""Side at which faces are altered, px."""


def _enlarged(picture: Pixels) -> Pixels:
    return np.asarray(cv2.resize(picture, (_CANVAS, _CANVAS), interpolation=cv2.INTER_CUBIC), np.uint8)


def _big_eyes(picture: Pixels, landmarks: Doubles, rng: np.random.Generator) -> Pixels:
    """Magnify both eyes, as cartoons and dolls have them."""
    y, x = np.mgrid[:_CANVAS, :_CANVAS].astype(np.float32)
    along, down, strength = x.copy(), y.copy(), rng.uniform(0.25, 0.6)
    between = float(np.linalg.norm(landmarks[1] - landmarks[0])) * _CANVAS
    for eye in landmarks[:2] * _CANVAS:
        radius = max(between * rng.uniform(0.45, 0.65), 4.0)
        near = np.clip(1 - np.hypot(x - eye[0], y - eye[1]) / radius, 0, None) * strength
        along, down = along - (x - eye[0]) * near, down - (y - eye[1]) * near
    maps = np.asarray(along, np.float32), np.asarray(down, np.float32)
    return np.asarray(cv2.remap(picture, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), np.uint8)


def _smooth(picture: Pixels, times: int, rng: np.random.Generator) -> Pixels:
    for _ in range(times):
        picture = np.asarray(cv2.bilateralFilter(picture, 7, rng.uniform(30, 70), rng.uniform(3, 7)), np.uint8)
    return picture


def _cartoon(picture: Pixels, landmarks: Doubles, rng: np.random.Generator) -> Floats:
    large = _enlarged(picture)
    large = _big_eyes(large, landmarks, rng) if rng.random() < 0.7 else large
    large = _smooth(large, int(rng.integers(2, 5)), rng)
    tones = int(rng.integers(3, 7))
    low, high = np.quantile(large, [0.03, 0.97])
    steps = np.floor(np.clip((large - low) / (high - low + 1), 0, 0.999) * tones) / (tones - 1)
    flat = cv2.GaussianBlur(np.clip(steps * 255 * rng.uniform(0.7, 1) + rng.uniform(0, 40), 0, 255), (0, 0), 0.8)
    if rng.random() < 0.8:
        soft = cv2.GaussianBlur(large, (0, 0), rng.uniform(1, 2))
        block, limit = 2 * int(rng.integers(4, 9)) + 1, rng.uniform(3, 8)
        lines = cv2.adaptiveThreshold(soft, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, block, limit)
        flat = flat * (0.15 + 0.85 * cv2.GaussianBlur(lines, (0, 0), 0.7) / 255)
    return np.asarray(flat, np.float32)


def _sketch(picture: Pixels, landmarks: Doubles, rng: np.random.Generator) -> Floats:
    large = _enlarged(picture)
    large = _big_eyes(large, landmarks, rng) if rng.random() < 0.3 else large
    background = np.maximum(cv2.GaussianBlur(large, (0, 0), rng.uniform(2, 6)).astype(np.float32), 1)
    dodged = np.clip(large.astype(np.float32) * 255 / background, 0, 255)
    paper = 255 - (255 - dodged) * rng.uniform(1, 2.5)
    noise = rng.normal(0, rng.uniform(5, 20), paper.shape) if rng.random() < 0.5 else 0.0
    return np.asarray(paper + noise, np.float32)


def _statue(picture: Pixels, landmarks: Doubles, rng: np.random.Generator) -> Floats:
    large, eyes = _enlarged(picture), landmarks[:2] * _CANVAS
    between = max(float(np.linalg.norm(eyes[1] - eyes[0])), 4.0)
    hole, lids = np.zeros_like(large), np.zeros_like(large)
    for eye in np.round(eyes).astype(int).tolist():
        cv2.ellipse(hole, eye, (int(between * 0.26), int(between * 0.17)), 0, 0, 360, 255, -1)
        cv2.ellipse(lids, eye, (int(between * 0.22), int(between * 0.1)), 0, 0, 360, 255, int(rng.integers(1, 3)))
    stone = _smooth(np.asarray(cv2.inpaint(large, hole, 3, cv2.INPAINT_TELEA), np.uint8), 3, rng).astype(np.float32)
    stone -= cv2.GaussianBlur(lids.astype(np.float32), (0, 0), 0.8) * rng.uniform(0.1, 0.4)
    stone = (stone - stone.mean()) * rng.uniform(1, 1.5) + rng.uniform(90, 170)
    return np.asarray(stone + _grain(int(rng.integers(3, 20)), rng) * rng.uniform(2, 14), np.float32)


def _painting(picture: Pixels, _landmarks: Doubles, rng: np.random.Generator) -> Floats:
    size = int(rng.integers(5, 11)) | 1
    flat = cv2.medianBlur(cv2.medianBlur(_enlarged(picture), size), size)
    noise = np.asarray(rng.normal(0, 1, flat.shape), np.float32)
    across, down = rng.uniform(0.5, 6), rng.uniform(0.5, 2)
    strokes = np.asarray(cv2.GaussianBlur(noise, (0, 0), across, sigmaY=down), np.float32)
    strokes = strokes.T if rng.random() < 0.5 else strokes
    return np.asarray(flat + strokes / float(strokes.std()) * rng.uniform(3, 15), np.float32)


def _doll(picture: Pixels, landmarks: Doubles, rng: np.random.Generator) -> Floats:
    smooth = _smooth(_big_eyes(_enlarged(picture), landmarks, rng), 5, rng).astype(np.float32)
    return np.asarray(255 / (1 + np.exp(-(smooth - smooth.mean()) / 255 * rng.uniform(6, 12))), np.float32)


def _grain(size: int, rng: np.random.Generator) -> Floats:
    count = _CANVAS // size + 2
    field = rng.normal(0, 1, (count, count)).astype(np.float32)
    return np.asarray(cv2.resize(field, (_CANVAS, _CANVAS), interpolation=cv2.INTER_CUBIC), np.float32)


def _scrambled(picture: Pixels, _landmarks: Doubles, rng: np.random.Generator) -> Floats:
    large, parts = _enlarged(picture), int(rng.choice([2, 3, 4, 6]))
    side = _CANVAS // parts
    tiles = [large[y : y + side, x : x + side] for y in range(0, _CANVAS, side) for x in range(0, _CANVAS, side)]
    dealt = [np.rot90(tiles[n], int(rng.integers(4))) for n in rng.permutation(len(tiles))]
    rows = [np.hstack(dealt[start : start + parts]) for start in range(0, len(dealt), parts)]
    return np.asarray(np.vstack(rows), np.float32)


def _scrap(picture: Pixels, _landmarks: Doubles, rng: np.random.Generator) -> Floats:
    side = picture.shape[0]
    part = max(2, int(side * rng.uniform(0.25, 0.45)))
    y, x = rng.integers(0, side - part, 2)
    return _enlarged(np.ascontiguousarray(picture[y : y + part, x : x + part])).astype(np.float32)


ALTERED: Mapping[str, Callable[[Pixels, Doubles, np.random.Generator], Floats]] = MappingProxyType(
    {
        "cartoon": _cartoon,
        "sketch": _sketch,
        "statue": _statue,
        "painting": _painting,
        "doll": _doll,
        "scrambled": _scrambled,
        "scrap": _scrap,
    }
)
"""What a face is made into."""


def alter(picture: Pixels, landmarks: Doubles, kind: str, rng: np.random.Generator) -> Pixels:
    """Return a face (n, n) made into one of ``ALTERED``, (n, n); landmarks (5, 2) are fractions of the sides."""
    changed = np.clip(ALTERED[kind](picture, landmarks, rng), 0, 255).astype(np.uint8)
    method = cv2.INTER_AREA if picture.shape[0] < _CANVAS else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(changed, picture.shape[::-1], interpolation=method), np.uint8)
