"""The map between two registered pictures as numbers and as words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.base.tables import FRAMED, HALF, WHOLE

Doubles = NDArray[np.float64]

_SEEN_SCALE = 0.02
_SEEN_DEGREES = 1.5
_SEEN_SHIFT = 0.02
_SEEN_STRETCH = 0.05
"""Smaller changes are not put into words: below 1 px of 48."""

_CLEAN = 0.8
_SPOILT = 0.5
"""Where half of the cells agree better than the first and a quarter worse than the second, a part is covered."""


@dataclass(frozen=True)
class Transforms:
    """What turns picture i into picture j, (M,) each.

    scale   -- above 1: j shows less of the scene, enlarged (a tighter crop)
    angle   -- degrees by which j's content is turned clockwise, -180..180
    dx, dy  -- where i's centre lies in j, in fractions of the side, from j's centre to the right and down
    stretch -- ratio of the larger to the smaller enlargement, from 1
    """

    scale: Doubles
    angle: Doubles
    dx: Doubles
    dy: Doubles
    stretch: Doubles


def decompose(maps: Doubles) -> Transforms:
    """Split affine maps (M, 6) (see ``kernel``) into scale, turn, shift and stretch."""
    linear = maps[:, [0, 1, 3, 4]].reshape(-1, 2, 2)
    first, second = linear[:, 0, 0] + linear[:, 1, 1], linear[:, 1, 0] - linear[:, 0, 1]
    third, fourth = linear[:, 0, 0] - linear[:, 1, 1], linear[:, 1, 0] + linear[:, 0, 1]
    # singular values of a 2 x 2 matrix in closed form (Blinn 1996)
    turn, shear = np.hypot(first, second) / 2, np.hypot(third, fourth) / 2
    larger, smaller = turn + shear, np.maximum(np.abs(turn - shear), 1e-6)
    return Transforms(
        np.sqrt(larger * smaller), np.degrees(np.arctan2(second, first)), maps[:, 2], maps[:, 5], larger / smaller
    )


_FRAMED_WORDS = {
    (WHOLE, FRAMED): "framed",
    (FRAMED, WHOLE): "without its frame",
    (WHOLE, HALF): "beside another picture",
    (HALF, WHOLE): "without the picture beside it",
}
_TURNED_WORDS = ("", "turned by 90 degrees", "turned by 180 degrees", "turned by 90 degrees")
_FLIPPED_WORDS = (
    "mirrored",
    "mirrored and turned by 90 degrees",
    "flipped upside down",
    "mirrored and turned by 90 degrees",
)


def in_words(
    transforms: Transforms,
    mirrored: NDArray[np.bool_],
    fine: Doubles,
    quartile: Doubles,
    turn: NDArray[np.int64] | None = None,
    framed: Sequence[NDArray[np.int64]] = (),
) -> list[str]:
    """Say what was done to i to get j, as in "mirrored, 6 % tighter crop, 3 degrees rotated".

    ``fine`` and ``quartile`` are the evidence of the same names' median and lower quartile; ``turn`` (see
    ``looks.NEGATIVE``) and ``framed`` (see ``WHOLE``; of i and of j) say how the pictures were looked at.
    """
    turns = np.zeros(len(fine), dtype=np.int64) if turn is None else turn
    whole = np.full(len(fine), WHOLE)
    rows = zip(
        mirrored.tolist(),
        turns.tolist(),
        zip(*(side.tolist() for side in framed or (whole, whole)), strict=True),
        transforms.scale.tolist(),
        transforms.angle.tolist(),
        transforms.dx.tolist(),
        transforms.dy.tolist(),
        transforms.stretch.tolist(),
        ((fine > _CLEAN) & (quartile < _SPOILT)).tolist(),
        strict=True,
    )
    return [_words(*row) for row in rows]


_OPPOSITES = (
    ("tighter", "wider"),
    ("without its frame", "framed"),
    ("without the picture beside it", "beside another picture"),
)


def inverted(words: str) -> str:
    """Return the words of ``in_words`` as seen from j, for what was done to j to get i."""
    for one, other in _OPPOSITES:
        words = words.replace(one, "\0").replace(other, one).replace("\0", other)
    return words


def _words(
    mirrored: bool,
    turn: int,
    framed: tuple[int, int],
    scale: float,
    angle: float,
    dx: float,
    dy: float,
    stretch: float,
    covered: bool,
) -> str:
    words = [(_FLIPPED_WORDS if mirrored else _TURNED_WORDS)[turn % 4], "negative" if turn >= 4 else ""]
    words.append(_FRAMED_WORDS.get(framed, ""))
    if scale > 1 + _SEEN_SCALE:
        words.append(f"{100 * (1 - 1 / scale):.0f} % tighter crop")
    elif scale < 1 - _SEEN_SCALE:
        words.append(f"{100 * (1 - scale):.0f} % wider crop")
    if abs(angle) >= _SEEN_DEGREES:
        words.append(f"{abs(angle):.0f} degrees rotated")
    if max(abs(dx), abs(dy)) >= _SEEN_SHIFT:
        words.append(f"shifted by {100 * np.hypot(dx, dy):.0f} %")
    if stretch >= 1 + _SEEN_STRETCH:
        words.append(f"stretched by {100 * (stretch - 1):.0f} %")
    if covered:
        words.append("partly covered or marked")
    return ", ".join(filter(None, words)) or "same view"


def pixel_map(affine: Doubles, side: int) -> Doubles:
    """Return a map (6,) (see ``kernel``) as a matrix (2, 3) between pixel places of two pictures of one side."""
    matrix = affine.reshape(2, 3).copy()
    centre = (side - 1) / 2
    matrix[:, 2] = side * matrix[:, 2] + centre - matrix[:, :2] @ np.array([centre, centre])
    return matrix
