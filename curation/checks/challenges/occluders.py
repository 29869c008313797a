"""Things before a face, drawn where its landmarks are, to learn from: hands, glasses, masks, bars, hair and others.

They are drawn on a canvas of one size in shades around 1, and then take the tone of a material or of the face's skin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Point = npt.NDArray[np.float64]

_CANVAS = 192

_AA = cv2.LINE_AA


class _Face:
    """A face's own frame on the canvas: x to the right in distances between the eyes, y down, 0 at the eyes."""

    def __init__(self, landmarks: Doubles) -> None:
        points = landmarks * _CANVAS
        self.eyes = (points[0] + points[1]) / 2
        mouth = (points[3] + points[4]) / 2
        across, down = points[1] - points[0], mouth - self.eyes
        width, height = float(np.linalg.norm(across)), float(np.linalg.norm(down))
        self.across, self.down = across / max(width, 1e-6), down / max(height, 1e-6)
        self.unit = max(width, 0.9 * height, 0.12 * _CANVAS)

    def at(self, x: float, y: float) -> Point:
        """Return a place on the canvas; the mouth is near (0, 1)."""
        return np.asarray(self.eyes + self.across * x * self.unit + self.down * y * self.unit)

    @property
    def tilt(self) -> float:
        """Degrees by which the eyes' line is turned."""
        return float(np.degrees(np.arctan2(self.across[1], self.across[0])))


@dataclass(frozen=True)
class _Thing:
    """A drawn thing: its cover (192, 192) 0..255, its shades around 1, and the tone 0..255; None takes the skin's."""

    cover: Pixels
    shades: Floats
    tone: float | None


def _noise(rng: np.random.Generator, grain: float) -> Floats:
    """Return smooth noise of deviation about 1 with grains of that many px."""
    count = max(2, int(_CANVAS / grain))
    field = rng.normal(0, 1, (count, count)).astype(np.float32)
    return np.asarray(cv2.resize(field, (_CANVAS, _CANVAS), interpolation=cv2.INTER_CUBIC), np.float32)


def _blank() -> Pixels:
    return np.zeros((_CANVAS, _CANVAS), np.uint8)


def _place(point: Point) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def _line(cover: Pixels, start: Point, end: Point, width: float) -> None:
    cv2.line(cover, _place(start), _place(end), 255, max(2, round(width)), _AA)


def _polygon(cover: Pixels, corners: list[Point]) -> None:
    cv2.fillPoly(cover, [np.round(np.array(corners) * 16).astype(np.int32)], 255, _AA, 4)


def _oval(cover: Pixels, middle: Point, across: float, down: float, turn: float) -> None:
    cv2.ellipse(cover, _place(middle), (max(1, round(across)), max(1, round(down))), turn, 0, 360, 255, -1, _AA)


def _hand(face: _Face, rng: np.random.Generator) -> _Thing:
    cover, shades = _blank(), np.ones((_CANVAS, _CANVAS), np.float32)
    spots = [(0, 1), (0, 0.55), (-0.5, 0), (0.5, 0), (0, 0), (-0.6, 0.8), (0.6, 0.8), (0, 1.15), (0, -0.3)]
    x, y = spots[rng.integers(len(spots))]
    middle = face.at(x + rng.normal(0, 0.1), y + rng.normal(0, 0.1))
    angle = (
        rng.uniform(0, 2 * np.pi)
        if rng.random() < 0.4
        else np.pi / 2 * rng.choice([1, 1, 0.6, 1.4]) + rng.normal(0, 0.3)
    )
    arm = np.array([np.cos(angle), np.sin(angle)])
    side = np.array([-arm[1], arm[0]])
    length, width, fingers = (
        face.unit * rng.uniform(0.8, 1.3),
        face.unit * rng.uniform(0.16, 0.25),
        int(rng.integers(1, 6)),
    )
    spread = rng.uniform(1.0, 1.3)
    for finger in range(fingers):
        offset = (finger - (fingers - 1) / 2) * width
        one = _blank()
        tip = middle - arm * length * (0.55 - 0.06 * abs(finger - (fingers - 1) / 2)) + side * offset * spread
        _line(one, tip, middle + arm * length * 0.45 + side * offset, width)
        depth = cv2.distanceTransform((one > 128).astype(np.uint8), cv2.DIST_L2, 3)
        shades = np.where(one > 128, 0.62 + 0.45 * np.clip(depth / (width / 2), 0, 1) ** 0.6, shades)
        cover = np.maximum(cover, one)
    back = _blank()
    wrist = middle + arm * length * 0.8
    _oval(back, wrist, length * 0.5, fingers * width * 0.55 + 2, float(np.degrees(angle)))
    _line(back, wrist, wrist + arm * _CANVAS * 1.2, max(3.0, fingers * width * 0.75))
    depth = cv2.distanceTransform((back > 128).astype(np.uint8), cv2.DIST_L2, 3)
    shades = np.where((back > 128) & (cover < 128), 0.72 + 0.3 * np.clip(depth / width, 0, 1), shades)
    shades = shades * (1 + 0.05 * _noise(rng, 5) + 0.12 * _noise(rng, 60))
    return _Thing(np.maximum(cover, back), np.asarray(shades, np.float32), None)


def _glasses(face: _Face, rng: np.random.Generator) -> _Thing:
    cover = _blank()
    across, down = face.unit * rng.uniform(0.3, 0.43), face.unit * rng.uniform(0.2, 0.36)
    round_lenses = rng.random() < 0.5
    for side in (-0.5, 0.5):
        middle = face.at(side, 0.03)
        if round_lenses:
            _oval(cover, middle, across, down, face.tilt)
        else:
            box = ((float(middle[0]), float(middle[1])), (2 * across, 2 * down), face.tilt)
            _polygon(cover, list(cv2.boxPoints(box)))
        _line(cover, face.at(1.7 * side, -0.03), face.at(2.5 * side, -0.05), face.unit * 0.07)
    _line(cover, face.at(-0.25, -0.02), face.at(0.25, -0.02), face.unit * 0.07)
    slope = (np.mgrid[:_CANVAS, :_CANVAS][0] - face.eyes[1]) / face.unit
    shades = 1 + rng.uniform(-0.4, 0.8) * slope + 0.25 * _noise(rng, 40)
    return _Thing(cover, np.asarray(shades, np.float32), rng.uniform(8, 75))


def _mask(face: _Face, rng: np.random.Generator) -> _Thing:
    cover = _blank()
    top, width, bottom = rng.uniform(0.35, 0.62), rng.uniform(0.8, 1.1), rng.uniform(1.5, 1.9)
    right = [(0.0, top - 0.1), (0.35, top - 0.02), (width, top + 0.12), (width * 0.85, 1.15), (0.4, bottom)]
    left = [(-x, y) for x, y in reversed(right[1:])]
    _polygon(cover, [face.at(x, y) for x, y in (*right, (0.0, bottom + 0.06), *left)])
    shades = 1 + 0.05 * _noise(rng, 8) + 0.12 * _noise(rng, 50)
    if rng.random() < 0.6:
        for fold in range(3):
            crease = _blank()
            y = top + 0.35 + 0.25 * fold
            _line(crease, face.at(-width, y), face.at(width, y), 2)
            shades = shades - crease / 255 * 0.25
    if rng.random() < 0.6:
        for side in (-1, 1):
            _line(cover, face.at(side * width, top + 0.15), face.at(side * 1.4, 0.2), 2)
    tone = rng.choice([rng.uniform(170, 245), rng.uniform(20, 80), rng.uniform(80, 170)], p=[0.55, 0.3, 0.15])
    return _Thing(cover, np.asarray(shades, np.float32), float(tone))


def _bar(face: _Face, rng: np.random.Generator) -> _Thing:
    cover = _blank()
    height, width = rng.uniform(0.15, 0.35), rng.uniform(0.9, 1.6)
    if rng.random() < 0.3:
        angle = rng.uniform(0, np.pi)
        reach = np.array([np.cos(angle), np.sin(angle)]) * _CANVAS
        middle = face.at(rng.uniform(-0.4, 0.4), rng.uniform(0, 1))
        _line(cover, middle - reach, middle + reach, height * face.unit * 1.2)
    else:
        y = float(rng.choice([0, 0.6, 1.05, -0.25]))
        corners = [(-width, y - height), (width, y - height), (width, y + height), (-width, y + height)]
        _polygon(cover, [face.at(*corner) for corner in corners])
    tone = float(rng.choice([0.0, 255.0, rng.uniform(0, 255)]))
    return _Thing(cover, 1 + 0.03 * _noise(rng, 10), tone)


def _microphone(face: _Face, rng: np.random.Generator) -> _Thing:
    ball, handle = _blank(), _blank()
    middle, radius = face.at(rng.normal(0, 0.25), rng.uniform(0.85, 1.3)), face.unit * rng.uniform(0.22, 0.42)
    angle = rng.normal(np.pi / 2, 0.5)
    _line(handle, middle, middle + np.array([np.cos(angle), np.sin(angle)]) * _CANVAS, radius * 1.1)
    _oval(ball, middle, radius, radius, 0)
    y, x = np.mgrid[:_CANVAS, :_CANVAS]
    far = ((x - middle[0] + radius * 0.4) ** 2 + (y - middle[1] + radius * 0.4) ** 2) / radius**2
    mesh = 0.35 * np.sign(np.sin(x * 0.9) * np.sin(y * 0.9))
    shades = np.where((handle > 128) & (ball < 128), 0.8, np.clip(1.5 - 0.5 * far + mesh, 0.2, 3))
    return _Thing(np.maximum(ball, handle), shades.astype(np.float32), rng.uniform(15, 90))


def _hair(face: _Face, rng: np.random.Generator) -> _Thing:
    cover, shades = _blank(), np.ones((_CANVAS, _CANVAS), np.float32)
    side, strands = float(rng.choice([-1, 1])), int(rng.integers(14, 60))
    start, span = rng.uniform(-0.3, 0.5), rng.uniform(0.3, 0.8)
    along = np.linspace(0, 1, 14)[:, None]
    for strand in range(strands):
        share = strand / strands
        root = face.at(side * (start - 0.5 + share * 0.9), -1.6)
        tip = face.at(side * (start + share * span + rng.normal(0, 0.05)), rng.uniform(0.1, 1.3))
        bow = (root + tip) / 2 + face.across * side * face.unit * rng.normal(0.15, 0.08)
        curve = (1 - along) ** 2 * root + 2 * along * (1 - along) * bow + along**2 * tip
        one = _blank()
        width = max(2, round(face.unit * rng.uniform(0.03, 0.09)))
        cv2.polylines(one, [np.round(curve * 16).astype(np.int32)], False, 255, width, _AA, 4)
        shades = np.where(one > 128, rng.uniform(0.6, 1.5), shades)
        cover = np.maximum(cover, one)
    tone = rng.choice([rng.uniform(5, 50), rng.uniform(50, 110), rng.uniform(150, 220)], p=[0.55, 0.25, 0.2])
    return _Thing(cover, np.asarray(shades, np.float32), float(tone))


def _cup(face: _Face, rng: np.random.Generator) -> _Thing:
    cover = _blank()
    middle, across, down = face.at(rng.normal(0, 0.25), rng.uniform(0.85, 1.4)), *face.unit * rng.uniform(0.3, 0.6, 2)
    box = ((float(middle[0]), float(middle[1] + down / 2)), (2 * across, 2 * down), rng.normal(0, 12))
    _polygon(cover, list(cv2.boxPoints(box)))
    _oval(cover, middle - np.array([0, down / 2]), across, across * 0.3, 0)
    from_middle = (np.mgrid[:_CANVAS, :_CANVAS][1] - middle[0]) / across
    shades = np.clip(1 - 0.35 * from_middle**2 + 0.1 * _noise(rng, 30), 0.3, 1.6)
    return _Thing(cover, shades.astype(np.float32), rng.uniform(20, 240))


def _shape(face: _Face, rng: np.random.Generator) -> _Thing:
    """Anything: a random outline in random shades, often of the skin's tone, so that unknown things are not missed."""
    cover = _blank()
    middle, radius = face.at(rng.uniform(-0.7, 0.7), rng.uniform(-0.4, 1.3)), face.unit * rng.uniform(0.25, 0.55)
    around = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    waves = sum(rng.normal(0, 0.35 / n) * np.cos(n * around + rng.uniform(0, 2 * np.pi)) for n in range(2, 7))
    outline = radius * np.clip(1 + waves, 0.3, 2) * np.stack([np.cos(around), np.sin(around)])
    turn, long = rng.uniform(0, np.pi), rng.uniform(1, 3)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    _polygon(cover, list((rotation @ (outline * np.array([[long], [1]]))).T + middle))
    depth = cv2.distanceTransform((cover > 128).astype(np.uint8), cv2.DIST_L2, 3) / radius
    rim = rng.uniform(0.4, 1.0)
    shades = rim + (1 - rim) * np.clip(depth / rng.uniform(0.2, 0.8), 0, 1)
    shades = shades * (1 + rng.uniform(0, 0.25) * _noise(rng, rng.uniform(3, 20)) + 0.15 * _noise(rng, 60))
    return _Thing(cover, shades.astype(np.float32), None if rng.random() < 0.5 else rng.uniform(5, 245))


def _limbs(face: _Face, rng: np.random.Generator) -> _Thing:
    """A thing of several rounded parts that lie over each other, lit from one side: what most objects are made of."""
    cover, shades = _blank(), np.ones((_CANVAS, _CANVAS), np.float32)
    joint, angle = face.at(rng.uniform(-0.8, 0.8), rng.uniform(-0.5, 1.5)), rng.uniform(0, 2 * np.pi)
    light, ink = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1.0)
    tones = rng.uniform(1 - rng.uniform(0, 0.5), 1.2, 8)
    for part in range(int(rng.integers(2, 8))):
        one, length, width = _blank(), face.unit * rng.uniform(0.2, 1.1), face.unit * rng.uniform(0.1, 0.5)
        angle = angle + rng.normal(0, 0.9)
        along = np.array([np.cos(angle), np.sin(angle)])
        start = joint + rng.normal(0, 0.25, 2) * face.unit
        if rng.random() < 0.3:
            _oval(one, start, length / 2, width, float(np.degrees(angle)))
        else:
            _line(one, start, start + along * length, width)
        depth = np.clip(cv2.distanceTransform((one > 128).astype(np.uint8), cv2.DIST_L2, 3) / (width / 2), 0, 1) ** 0.6
        slope = np.gradient(depth)
        lit = ink + (1 - ink) * depth + 0.8 * (slope[1] * np.cos(light) + slope[0] * np.sin(light))
        shades = np.where(one > 128, np.clip(lit, 0.2, 1.8) * tones[part], shades)
        cover = np.maximum(cover, one)
        joint = joint if rng.random() < 0.6 else start + along * length
    shades = shades * (1 + rng.uniform(0, 0.2) * _noise(rng, rng.uniform(2, 12)) + 0.1 * _noise(rng, 60))
    return _Thing(cover, np.asarray(shades, np.float32), None if rng.random() < 0.5 else rng.uniform(5, 245))


def _cutout(face: _Face, rng: np.random.Generator) -> _Thing:
    """A part of another picture in any outline; the caller fills it."""
    made = _shape(face, rng) if rng.random() < 0.5 else _limbs(face, rng)
    return _Thing(made.cover, np.ones((_CANVAS, _CANVAS), np.float32), None)


def _block(face: _Face, rng: np.random.Generator) -> _Thing:
    """A part of another picture; the caller fills it."""
    cover = _blank()
    middle, (across, down) = (
        face.at(rng.uniform(-0.6, 0.6), rng.uniform(-0.3, 1.2)),
        face.unit * rng.uniform(0.3, 0.7, 2),
    )
    if rng.random() < 0.4:
        _oval(cover, middle, across, down, rng.uniform(0, 180))
    else:
        turn = rng.uniform(0, 90) if rng.random() < 0.3 else 0.0
        _polygon(cover, list(cv2.boxPoints(((float(middle[0]), float(middle[1])), (2 * across, 2 * down), turn))))
    return _Thing(cover, np.ones((_CANVAS, _CANVAS), np.float32), None)


BLOCK, CUTOUT, SHAPE, LIMBS = "block", "cutout", "shape", "limbs"

OCCLUDERS: Mapping[str, Callable[[_Face, np.random.Generator], _Thing]] = MappingProxyType(
    {
        "hand": _hand,
        "glasses": _glasses,
        "mask": _mask,
        "bar": _bar,
        BLOCK: _block,
        CUTOUT: _cutout,
        SHAPE: _shape,
        LIMBS: _limbs,
        "microphone": _microphone,
        "hair": _hair,
        "cup": _cup,
    }
)
"""What is drawn: dark glasses, face masks, censor bars, a part of another picture, a cup or another object ..."""

ANYTHING = (SHAPE, SHAPE, LIMBS, CUTOUT)
"""Things of no kind, drawn more often than those with a name: what covers a face in a photograph may be anything."""


def occlude(
    picture: Pixels, landmarks: Doubles, kind: str, other: Pixels, rng: np.random.Generator
) -> tuple[Pixels, Floats]:
    """Lay a thing before a face.

    Args:
        picture: (n, n) grey levels.
        landmarks: (5, 2) of the face, fractions of the sides: eyes, nose, corners of the mouth.
        kind: one of ``OCCLUDERS``.
        other: another picture (m, m), of which a block is taken.
        rng: the source of chance.

    Returns:
        the picture, and its cover (n, n) 0..1.

    """
    side = picture.shape[0]
    face = _Face(landmarks)
    thing = OCCLUDERS[kind](face, rng)
    size = (side, side)
    cover = cv2.resize(thing.cover, size, interpolation=cv2.INTER_AREA) / np.float32(255)
    if kind in {BLOCK, CUTOUT}:
        laid = _elsewhere(other, size, rng)
        if rng.random() < 0.4:
            laid = (laid - laid.mean()) * rng.uniform(0.4, 1.0) + _skin(picture, face) * rng.uniform(0.8, 1.15)
    else:
        tone = _skin(picture, face) * rng.uniform(0.8, 1.15) if thing.tone is None else thing.tone
        laid = cv2.resize(thing.shades, size, interpolation=cv2.INTER_AREA) * np.float32(tone)
    scale = max(1.0, side / 96)
    shade = np.asarray(cv2.GaussianBlur(np.clip(laid, 0, 255), (0, 0), rng.uniform(0.3, 0.9) * scale), np.float32)
    alpha = np.asarray(cv2.GaussianBlur(cover, (0, 0), 0.4 * scale), np.float32)
    return np.clip(picture * (1 - alpha) + shade * alpha, 0, 255).astype(np.uint8), alpha


def _elsewhere(other: Pixels, size: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Return another picture, turned so that no part of a face lies where it belongs."""
    turned = np.rot90(other, int(rng.integers(4))) if rng.random() < 0.6 else other
    rolled = np.roll(turned, rng.integers(0, other.shape[0], 2), (0, 1))
    return np.asarray(cv2.resize(np.ascontiguousarray(rolled), size, interpolation=cv2.INTER_LINEAR), np.float32)


def _skin(picture: Pixels, face: _Face) -> float:
    """Return the median tone of cheeks, nose and forehead."""
    places = [face.at(x, y) for x, y in ((-0.45, 0.55), (0.45, 0.55), (0, 0.5), (0, -0.35))]
    side = picture.shape[0]
    rows, columns = (np.clip([p[axis] / _CANVAS * side for p in places], 0, side - 1).astype(int) for axis in (1, 0))
    return float(np.median(picture[rows, columns]))
