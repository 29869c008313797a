"""Draw a face: soft shading on an ellipsoid rather than lines, so that face detectors recognise it.

Positions are in head coordinates: x to the right and y down, the chin and the crown at y = 1 and -1, the temples
near x = 0.75 and -0.75. Tones are 0 (black) to 1 (white).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from curation.audit.synthetic import detail
from curation.audit.synthetic.detail import Tones

EXPRESSIONS = ("happy", "neutral", "sad", "surprise")

_UNEVEN = 0.017
"""Standard deviation in head units by which a face's places differ from an even, symmetric face's."""

_MEASURED = 0.65
"""Radius in head units of the part of the face that a camera measures light on."""

_KNEE = 0.38
"""Distance from middle grey from which tones are compressed, as in film."""


@dataclass(frozen=True)
class Expression:
    """How a face moves: 0 is at rest; about -1..1.

    smile lifts the mouth's corners (negative: lowers them), open is the mouth's opening, width its width, teeth how
    far they show, brow_lift raises the brows, brow_tilt raises their inner ends, lids opens the eyes, fold deepens the
    lines from nose to mouth.
    """

    smile: float
    open: float
    width: float
    teeth: float
    brow_lift: float
    brow_tilt: float
    lids: float
    fold: float

    def mixed(self, other: Expression, share: float) -> Expression:
        """Return the expression ``share`` (0..1) of the way to ``other``."""
        mine, theirs = (np.array(list(vars(face).values())) for face in (self, other))
        return Expression(*(mine + share * (theirs - mine)).tolist())


TYPICAL = {
    "happy": Expression(
        smile=1.0, open=0.35, width=0.35, teeth=1.0, brow_lift=0.1, brow_tilt=0.0, lids=-0.35, fold=1.0
    ),
    "neutral": Expression(smile=0.0, open=0.0, width=0.0, teeth=0.0, brow_lift=0.0, brow_tilt=0.0, lids=0.0, fold=0.2),
    "sad": Expression(smile=-0.9, open=0.0, width=-0.1, teeth=0.0, brow_lift=0.1, brow_tilt=1.0, lids=-0.45, fold=0.5),
    "surprise": Expression(
        smile=0.0, open=1.0, width=-0.3, teeth=0.1, brow_lift=1.0, brow_tilt=0.1, lids=0.9, fold=0.0
    ),
}
"""What tells the expressions apart, after the action units of Ekman and Friesen's Facial Action Coding System (1978):
6+12 happiness, 1+4+15 sadness, 1+2+5+26 surprise."""


@dataclass(frozen=True)
class Person:
    """What stays the same from one picture of a person to the next.

    age is in years, low how far the features lie below a grown face's (head units), sag how deep folds and eye bags
    are at rest (0..1), seed that of freckles, lines and pores.
    """

    age: float
    skin: float
    hair: float
    hair_top: float
    hair_sides: float
    parting: float
    width: float
    jaw: float
    low: float
    eye_distance: float
    eye_size: float
    iris: float
    brow_weight: float
    nose_length: float
    nose_width: float
    mouth_width: float
    lip: float
    beard: float
    moustache: float
    glasses: float
    clothing: float
    roughness: float
    freckles: int
    wrinkles: int
    sag: float
    curls: float
    brow_arch: float
    brow_length: float
    brow_slope: float
    frame_width: float
    frame_shape: float
    seed: int


_CHILD, _OLD = 14.0, 55.0
"""Years up to which a face is a child's, and from which it is an old one's, both gradually."""


def draw_person(rng: np.random.Generator) -> Person:
    """Return a random person of 3 to 90 years, of any skin tone, with or without glasses and beard."""
    age = rng.choice([rng.uniform(3, _CHILD), rng.uniform(16, 55), rng.uniform(55, 90)], p=[0.2, 0.55, 0.25])
    child, old = float(np.clip((_CHILD + 2 - age) / 10, 0, 1)), float(np.clip((age - _OLD + 10) / 30, 0, 1))
    skin = rng.uniform(0.38, 0.88)
    dark, fair = rng.uniform(0.03, 0.25), rng.choice([rng.uniform(0.25, 0.5), rng.uniform(0.6, 0.85)])
    hair = dark if skin < 0.5 or rng.random() < 0.55 else fair
    shaves = age < 18 or rng.random() < 0.6
    bald = rng.random() < 0.08 + 0.35 * old
    return Person(
        age=age,
        skin=skin,
        hair=hair + old * rng.uniform(0.3, 1.0) * (0.85 - hair),
        hair_top=0.0 if bald and not child else rng.uniform(0.1, 0.4),
        hair_sides=rng.choice([0.0, rng.uniform(0.3, 1.0)]) if shaves else 0.0,
        parting=rng.uniform(-0.5, 0.5),
        width=rng.uniform(0.68, 0.82) + 0.05 * child,
        jaw=rng.uniform(0.1, 0.36) * (1 - 0.4 * child),
        low=0.07 * child,
        eye_distance=rng.uniform(0.29, 0.35) + 0.01 * child,
        eye_size=rng.uniform(0.9, 1.2) + 0.2 * child - 0.1 * old,
        iris=rng.uniform(0.05, 0.35),
        brow_weight=rng.uniform(0.5, 1.2) * (1 - 0.35 * child),
        nose_length=rng.uniform(0.24, 0.36) - 0.07 * child,
        nose_width=rng.uniform(0.10, 0.16) - 0.01 * child,
        mouth_width=rng.uniform(0.24, 0.31) - 0.02 * child,
        lip=rng.uniform(0.5, 1.2) * (1 - 0.4 * old),
        beard=0.0 if shaves else rng.choice([0.0, rng.uniform(0.3, 0.9)], p=[0.3, 0.7]),
        moustache=0.0 if shaves else rng.choice([0.0, rng.uniform(0.5, 0.9)], p=[0.3, 0.7]),
        glasses=float(rng.random() < 0.1 + 0.3 * old),
        clothing=rng.uniform(0.05, 0.95),
        roughness=rng.uniform(0.03, 0.055) * (1 - 0.3 * child),
        freckles=int(rng.choice([rng.integers(5, 25), rng.integers(50, 120)], p=[0.85, 0.15])),
        wrinkles=int(rng.integers(2, 9) * (1 - child) + 12 * old),
        sag=old * rng.uniform(0.5, 1.0),
        curls=rng.choice([0.0, rng.uniform(0.4, 1.0)], p=[0.4, 0.6] if skin < 0.5 else [0.7, 0.3]),
        brow_arch=rng.uniform(-0.01, 0.05),
        brow_length=rng.uniform(0.17, 0.24),
        brow_slope=rng.uniform(-0.02, 0.03),
        frame_width=rng.uniform(0.02, 0.05),
        frame_shape=rng.uniform(2.0, 6.0),
        seed=int(rng.integers(2**31)),
    )


@dataclass(frozen=True)
class Shot:
    """How one picture is taken: the head's place and size in sides of the image, its turn, and the light."""

    x: float = 0.5
    y: float = 0.52
    size: float = 0.92
    roll_degrees: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    light_x: float = -0.4
    light_y: float = -0.5
    hardness: float = 0.4
    backdrop: float = 0.5
    grain: float = 0.012
    exposure: float = 0.8
    shear: float = 0.0
    keystone: float = 0.0
    shadows: float = 0.2


def draw_shot(rng: np.random.Generator) -> Shot:
    """Return a random shot of a centred, nearly upright head."""
    return Shot(
        x=0.5 + rng.uniform(-0.05, 0.05),
        y=0.52 + rng.uniform(-0.04, 0.04),
        size=rng.uniform(0.82, 1.04),
        roll_degrees=float(np.clip(rng.normal(0.0, 3.5), -10.0, 10.0)),
        yaw=float(np.clip(rng.normal(0.0, 0.4), -0.8, 0.8)),
        pitch=float(np.clip(rng.normal(0.0, 0.35), -0.8, 0.8)),
        light_x=rng.uniform(-0.9, 0.9),
        light_y=rng.uniform(-0.8, 0.1),
        hardness=rng.uniform(0.25, 0.6),
        backdrop=rng.uniform(0.05, 0.95),
        grain=rng.uniform(0.006, 0.02),
        exposure=rng.uniform(0.6, 1.0),
        shear=rng.uniform(-0.1, 0.1),
        keystone=rng.uniform(-0.1, 0.1),
        shadows=rng.uniform(0.05, 0.3),
    )


def same_light(light: Shot, pose: Shot) -> Shot:
    """Return ``pose`` with the lamp, backdrop and exposure of ``light``, as in one session."""
    return replace(
        pose,
        light_x=light.light_x,
        light_y=light.light_y,
        hardness=light.hardness,
        backdrop=light.backdrop,
        exposure=light.exposure,
    )


@dataclass
class _Canvas:
    """An image in the making, with the head coordinates of its pixels."""

    tones: Tones
    x: Tones
    y: Tones
    soft: float
    scale: float

    def paint(self, cover: Tones, tone: Tones | float) -> None:
        """Lay ``tone`` over the image where ``cover`` (0..1) says."""
        self.tones += cover * (tone - self.tones)

    def inside(self, distance: Tones) -> Tones:
        """Return the soft cover of the area where ``distance`` (in head units) is negative."""
        cover: Tones = 1 / (1 + np.exp(np.clip(distance / self.soft, -30, 30)))
        return cover

    def ellipse(self, x: float, y: float, width: float, height: float) -> Tones:
        """Return the soft cover of an ellipse with these half axes."""
        radius: Tones = np.sqrt(((self.x - x) / width) ** 2 + ((self.y - y) / height) ** 2)
        return self.inside((radius - 1) * min(width, height))

    def glow(self, x: float, y: float, width: float, height: float) -> Tones:
        """Return a Gaussian spot of height 1."""
        spot: Tones = np.exp(-(((self.x - x) / width) ** 2) - ((self.y - y) / height) ** 2)
        return spot

    def stroke(self, x: float, y: float, half_length: float, weight: float, slope: float, bend: float) -> Tones:
        """Return the cover of a stroke that thins out to its ends: y + slope * t - bend * (1 - t^2), t from -1 to 1."""
        t = (self.x - x) / half_length
        middle = y + slope * t - bend * (1 - t**2)
        taper = np.clip(1 - t**2, 0, 1) ** 0.5
        cover: Tones = self.inside(np.abs(self.y - middle) - weight * taper) * self.inside(
            (np.abs(t) - 1) * half_length
        )
        return cover


def draw(side: int, person: Person, expression: Expression, shot: Shot, rng: np.random.Generator) -> Tones:
    """Return (side, side) float32 tones 0..1 of one picture of a person."""
    return draw_on(detail.backdrop(side, shot.backdrop, rng), person, expression, shot, rng)


def draw_on(scene: Tones, person: Person, expression: Expression, shot: Shot, rng: np.random.Generator) -> Tones:
    """Return ``scene`` (a square of float32 tones) with a person drawn on it."""
    side = scene.shape[0]
    canvas = _canvas(scene, shot, rng)
    strands = detail.strands(canvas.x, canvas.y, person.parting, person.curls, rng)
    _shoulders(canvas, person, rng)
    _hair_behind(canvas, person, strands)
    _head(canvas, person, shot, rng)
    turn = _Turn(0.14 * shot.yaw, 0.07 * shot.pitch + person.low)
    _eyes(canvas, person, expression, turn)
    _brows(canvas, person, expression, turn, strands)
    _nose(canvas, person, shot, turn)
    if person.moustache:
        _moustache(canvas, person, expression, turn, strands)
    _mouth(canvas, person, expression, turn)
    _folds(canvas, person, expression, turn)
    _hair_in_front(canvas, person, strands, rng)
    if person.glasses:
        _glasses(canvas, person, turn)
    canvas.tones *= detail.cast_light(side, shot.shadows, rng)
    return _photographed(canvas, shot, rng)


def _photographed(canvas: _Canvas, shot: Shot, rng: np.random.Generator) -> Tones:
    """Return ``tones`` as a camera takes them: not quite sharp, exposed, and with the grain of its film or sensor."""
    side = canvas.tones.shape[0]
    blurred = np.asarray(cv2.GaussianBlur(canvas.tones, (0, 0), side / 140), dtype=np.float32)
    exposed = _exposed(blurred, canvas.x**2 + canvas.y**2 < _MEASURED**2, shot.exposure)
    grain = rng.normal(0.0, shot.grain, exposed.shape) + shot.grain * detail.mottle(side, 1.6, rng)
    return np.asarray(np.clip(_within_range(exposed) + grain, 0, 1), dtype=np.float32)


def _exposed(tones: Tones, face: npt.NDArray[np.bool_], share: float) -> Tones:
    """Return ``tones`` spread as by a camera's automatic exposure, for picture and face alike, by ``share`` (0..1)."""
    low, high = (np.percentile(tones, (1, 99)) + np.percentile(tones[face], (1, 99))) / 2
    spread: Tones = tones + share * ((tones - low) / max(high - low, 0.05) - tones)
    return spread


def _within_range(tones: Tones) -> Tones:
    """Return ``tones`` with shadows and highlights compressed, so that a bright backdrop keeps its detail."""
    over = np.abs(tones - 0.5) - _KNEE
    rest = 0.5 - _KNEE
    kept = np.where(over > 0, _KNEE + rest * (1 - np.exp(-np.maximum(over, 0) / rest)), over + _KNEE)
    compressed: Tones = 0.5 + np.sign(tones - 0.5) * kept
    return compressed


@dataclass(frozen=True)
class _Turn:
    """How far the features move when the head turns and nods."""

    x: float
    y: float


def _canvas(scene: Tones, shot: Shot, rng: np.random.Generator) -> _Canvas:
    side = scene.shape[0]
    places = (np.arange(side, dtype=np.float32) + 0.5) / side
    half = shot.size / 2
    right, down = np.meshgrid((places - shot.x) / half, (places - shot.y) / half)
    angle = np.deg2rad(shot.roll_degrees)
    x = np.cos(angle) * right + np.sin(angle) * down
    y = np.cos(angle) * down - np.sin(angle) * right
    aside, down_by = detail.wobble(side, shot.size, _UNEVEN, rng)
    x += shot.shear * y + shot.keystone * x * y + aside
    y += down_by
    # an edge is about one pixel of the finished 48 px image wide
    return _Canvas(scene.copy(), x.astype(np.float32), y.astype(np.float32), 0.35 / 48 / half, shot.size)


def _shoulders(canvas: _Canvas, person: Person, rng: np.random.Generator) -> None:
    cloth = detail.cloth(canvas.tones.shape[0], rng)
    canvas.paint(canvas.ellipse(0.0, 2.0, 1.5, rng.uniform(0.8, 0.95)), np.clip(person.clothing + 0.12 * cloth, 0, 1))
    canvas.paint(canvas.ellipse(0.0, 1.0, 0.42, rng.uniform(0.45, 0.6)), 0.72 * person.skin)


def _hair_tone(person: Person, strands: Tones) -> Tones:
    tone: Tones = np.clip(person.hair + (0.05 + 0.13 * person.hair) * (0.5 + strands), 0, 1)
    return tone


def _hair_behind(canvas: _Canvas, person: Person, strands: Tones) -> None:
    tone = _hair_tone(person, strands)
    if person.hair_top:
        canvas.paint(canvas.ellipse(0.0, -0.3, person.width + 0.12, 0.76 + 0.3 * person.hair_top), tone)
    if person.hair_sides:
        length = 0.4 + 0.7 * person.hair_sides
        canvas.paint(canvas.ellipse(0.0, 0.1, person.width + 0.2, length), tone)


def _face_radius(canvas: _Canvas, person: Person) -> Tones:
    """Return the distance from the head's middle, 1 at its outline, which narrows towards the chin."""
    down = np.clip((canvas.y + 0.1) / 1.1, 0, 1)
    width = person.width * (1 - person.jaw * down**2)
    radius: Tones = np.sqrt((canvas.x / width) ** 2 + canvas.y**2)
    return radius


def _head(canvas: _Canvas, person: Person, shot: Shot, rng: np.random.Generator) -> None:
    for ear in (-1, 1):
        canvas.paint(canvas.ellipse(ear * (person.width + 0.02) - 0.05 * shot.yaw, 0.0, 0.09, 0.2), 0.8 * person.skin)
    radius = _face_radius(canvas, person)
    depth = np.sqrt(np.clip(1 - radius**2, 0, 1))
    light = np.array([shot.light_x, shot.light_y, 1.0])
    light /= np.linalg.norm(light)
    lit = canvas.x / person.width * light[0] + canvas.y * light[1] + depth * light[2]
    shade = 1 - shot.hardness + shot.hardness * np.clip(lit, 0, 1)
    rim = 1 - 0.25 * np.clip(radius, 0, 1) ** 6
    tone = person.skin * shade * rim
    tone += 0.06 * canvas.glow(0.0, -0.55, 0.45, 0.2) + 0.05 * canvas.glow(0.0, 0.82, 0.16, 0.1)
    if person.beard:
        chin = canvas.inside(0.32 - canvas.y) * canvas.inside(0.75 - radius) * (1 - canvas.ellipse(0, 0.38, 0.3, 0.14))
        stubble = 1 + 0.3 * detail.mottle(canvas.tones.shape[0], 1.8 * canvas.scale, rng)
        tone *= 1 - 0.75 * person.beard * np.clip(chin * stubble, 0, 1)
    tone *= _skin(canvas, person, rng)
    canvas.paint(canvas.inside((radius - 1) * person.width), np.clip(tone, 0, 1))


def _skin(canvas: _Canvas, person: Person, rng: np.random.Generator) -> Tones:
    """Return the factors that pores, spots and lines make of an even skin's tone."""
    side = canvas.tones.shape[0]
    own = np.random.default_rng(person.seed)  # marks of a face recur in the next picture of it
    factors = 1 + person.roughness * detail.rough(side, rng, canvas.scale)
    factors *= 1 - 0.2 * detail.dots(side, person.freckles, (0.3 * canvas.scale, 0.7 * canvas.scale), rng)
    for _ in range(person.wrinkles):
        x, y = own.choice([-1, 1]) * own.uniform(0.1, 0.5), own.choice([-0.5, 0.15, 0.3, 0.75]) + own.normal(0, 0.06)
        line = canvas.stroke(x, y, own.uniform(0.1, 0.3), 0.012, own.normal(0, 0.08), own.normal(0, 0.05))
        factors *= 1 - own.uniform(0.06, 0.2) * (1 + 0.6 * person.sag) * line
    return factors


def _eyes(canvas: _Canvas, person: Person, expression: Expression, turn: _Turn) -> None:
    height = 0.068 * person.eye_size * (1 + 0.55 * expression.lids)
    half = 0.135 * person.eye_size
    for side in (-1, 1):
        x, y = side * person.eye_distance + turn.x, -0.1 + turn.y
        canvas.tones *= 1 - 0.36 * canvas.glow(x, y - 0.05, 0.23, 0.14)
        canvas.tones *= 1 - (0.12 + 0.14 * person.sag) * canvas.glow(x, y + 0.13, 0.18, 0.05)
        opening = canvas.ellipse(x, y, half, height)
        canvas.paint(opening, min(0.95, 0.35 + 0.6 * person.skin))
        iris = canvas.ellipse(x + 0.3 * turn.x, y, 0.07 * person.eye_size, 0.075 * person.eye_size) * opening
        canvas.paint(iris, person.iris)
        canvas.paint(canvas.ellipse(x + 0.3 * turn.x, y, 0.035, 0.037) * opening, 0.02)
        canvas.paint(0.8 * canvas.glow(x + 0.3 * turn.x - 0.025, y - 0.025, 0.018, 0.018) * opening, 0.95)
        lid = canvas.stroke(x, y - 0.1 * height, half * 1.1, 0.02, 0.0, height)
        canvas.paint(0.85 * lid, 0.15 * person.skin)
        canvas.paint(0.35 * canvas.stroke(x, y + 0.2 * height, half, 0.01, 0.0, -height), 0.4 * person.skin)


def _brows(canvas: _Canvas, person: Person, expression: Expression, turn: _Turn, strands: Tones) -> None:
    tone = np.clip(min(0.55 * person.skin, 0.6 * person.hair + 0.05) + 0.06 * strands, 0, 1)
    for side in (-1, 1):
        y = -0.31 - 0.13 * expression.brow_lift + turn.y
        slope = side * (0.03 + person.brow_slope + 0.10 * expression.brow_tilt)
        bend = 0.02 + person.brow_arch + 0.05 * max(expression.brow_lift, 0)
        x = side * 1.05 * person.eye_distance + turn.x
        brow = canvas.stroke(x, y, person.brow_length, 0.035 * person.brow_weight, slope, bend)
        canvas.paint(0.85 * brow, tone)
    if expression.brow_tilt > 0.3:
        canvas.tones *= 1 - 0.15 * expression.brow_tilt * canvas.glow(turn.x, -0.33 + turn.y, 0.05, 0.09)


def _nose(canvas: _Canvas, person: Person, shot: Shot, turn: _Turn) -> None:
    tip = 0.02 + person.nose_length + 1.2 * turn.y
    x = 1.6 * turn.x
    canvas.tones += 0.10 * person.skin * canvas.glow(1.3 * turn.x, tip - 0.22, 0.055, 0.22)
    canvas.tones += 0.10 * person.skin * canvas.glow(x, tip - 0.03, 0.07, 0.06)
    shadow_side = -1.0 if shot.light_x > 0 else 1.0
    canvas.tones *= 1 - 0.22 * canvas.glow(x + shadow_side * 0.12, tip - 0.12, 0.06, 0.2)
    canvas.tones *= 1 - 0.30 * canvas.glow(x, tip + 0.085, person.nose_width, 0.04)
    for side in (-1, 1):
        canvas.tones *= 1 - 0.62 * canvas.glow(x + side * 0.55 * person.nose_width, tip + 0.055, 0.042, 0.028)
        canvas.tones *= 1 - 0.25 * canvas.glow(x + side * 1.15 * person.nose_width, tip + 0.01, 0.03, 0.06)


def _moustache(canvas: _Canvas, person: Person, expression: Expression, turn: _Turn, strands: Tones) -> None:
    y = 0.43 + turn.y - 0.03 * expression.smile
    cover = canvas.stroke(1.2 * turn.x, y, 1.1 * person.mouth_width, 0.06, 0.0, 0.05 - 0.08 * expression.smile)
    canvas.paint(person.moustache * cover, _facial_hair_tone(person, strands))


def _facial_hair_tone(person: Person, strands: Tones) -> Tones:
    tone: Tones = np.clip(min(0.6 * person.skin, person.hair) + 0.05 * strands, 0, 1)
    return tone


def _mouth(canvas: _Canvas, person: Person, expression: Expression, turn: _Turn) -> None:
    """Draw lips, opening and teeth between a lower and an upper curve that meet in the corners."""
    x, y = 1.2 * turn.x, 0.52 + turn.y + 0.05 * max(expression.open, 0)
    half = person.mouth_width * (1 + 0.45 * expression.width)
    t = np.clip((canvas.x - x) / half, -1.3, 1.3)
    arch = np.clip(1 - t**2, 0, 1)
    middle = y + 0.14 * expression.smile * (arch - 0.5)
    gap = 0.006 + 0.15 * expression.open * np.sqrt(arch)
    lip = (0.028 + 0.03 * person.lip) * np.sqrt(arch)
    within = canvas.inside((np.abs(t) - 1) * half)
    upper, lower = middle - 0.75 * gap, middle + gap
    lips = canvas.inside(upper - 0.8 * lip - canvas.y) * canvas.inside(canvas.y - lower - 1.15 * lip) * within
    canvas.tones *= 1 - 0.28 * canvas.glow(x, y + 0.16 + 0.12 * expression.open, 0.2, 0.05)
    canvas.paint(0.75 * lips, 0.62 * person.skin)
    opening = canvas.inside(upper - canvas.y) * canvas.inside(canvas.y - lower) * within
    canvas.paint(0.95 * opening, 0.06)
    teeth = opening * canvas.inside(canvas.y - upper - 0.62 * gap) * canvas.inside((np.abs(t) - 0.85) * half)
    canvas.paint(min(1.0, expression.teeth) * teeth, 0.93)
    line = canvas.inside(np.abs(canvas.y - middle) - 0.016) * within
    canvas.paint(0.8 * max(0.0, 1 - 3 * expression.open) * line, 0.15 * person.skin)
    for side in (-1, 1):
        corner = y - 0.07 * expression.smile
        canvas.tones *= 1 - 0.3 * canvas.glow(x + side * 1.02 * half, corner, 0.045, 0.04)


def _folds(canvas: _Canvas, person: Person, expression: Expression, turn: _Turn) -> None:
    depth = expression.fold + 0.7 * person.sag * (1 - 0.5 * max(expression.fold, 0))
    for side in (-1, 1):
        x = 1.3 * turn.x + side * (0.27 + 0.07 * expression.fold)
        canvas.tones *= 1 - 0.22 * depth * canvas.glow(x, 0.4 + turn.y, 0.04, 0.13)
        cheek = canvas.glow(turn.x + side * 0.42, 0.22 + turn.y, 0.16, 0.12)
        canvas.tones += (0.03 + 0.07 * max(expression.smile, 0)) * person.skin * cheek


def _hair_in_front(canvas: _Canvas, person: Person, strands: Tones, rng: np.random.Generator) -> None:
    if not person.hair_top:
        return
    tone = _hair_tone(person, strands)
    line = -0.62 - 0.1 * person.hair_top + 0.35 * (canvas.x - person.parting) ** 2 * np.sign(0.3 + person.hair_top)
    line += rng.uniform(0.01, 0.06) * strands + 0.04 * detail.mottle(canvas.tones.shape[0], 5.0 * canvas.scale, rng)
    radius = _face_radius(canvas, person)
    canvas.paint(canvas.inside(canvas.y - line) * canvas.inside((radius - 1.04) * person.width), tone)


def _glasses(canvas: _Canvas, person: Person, turn: _Turn) -> None:
    for side in (-1, 1):
        x, y = side * person.eye_distance + turn.x, -0.08 + turn.y
        power = person.frame_shape
        radius = (np.abs((canvas.x - x) / 0.23) ** power + np.abs((canvas.y - y) / 0.17) ** power) ** (1 / power)
        ring = canvas.inside(np.abs(radius - 1) * 0.19 - person.frame_width / 2)
        canvas.paint(0.85 * ring, 0.08)
    canvas.paint(0.8 * canvas.stroke(turn.x, -0.1 + turn.y, 0.1, 0.02, 0.0, 0.02), 0.08)
