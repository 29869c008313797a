"""The map between two registered pictures as numbers and as words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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


def in_words(transforms: Transforms, mirrored: NDArray[np.bool_], fine: Doubles, quartile: Doubles) -> list[str]:
    """Say what was done to i to get j, as in "mirrored, 6 % tighter crop, 3 degrees rotated".

    ``fine`` and ``quartile`` are the evidence of the same names' median and lower quartile.
    """
    rows = zip(
        mirrored.tolist(),
        transforms.scale.tolist(),
        transforms.angle.tolist(),
        transforms.dx.tolist(),
        transforms.dy.tolist(),
        transforms.stretch.tolist(),
        ((fine > _CLEAN) & (quartile < _SPOILT)).tolist(),
        strict=True,
    )
    return [_words(*row) for row in rows]


def inverted(words: str) -> str:
    """Return the words of ``in_words`` as seen from j, for what was done to j to get i."""
    return words.replace("tighter", "\0").replace("wider", "tighter").replace("\0", "wider")


def _words(mirrored: bool, scale: float, angle: float, dx: float, dy: float, stretch: float, covered: bool) -> str:
    words = ["mirrored"] if mirrored else []
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
    return ", ".join(words) or "same view"


def pixel_map(affine: Doubles, side: int) -> Doubles:
    """Return a map (6,) (see ``kernel``) as a matrix (2, 3) between pixel places of two pictures of one side."""
    matrix = affine.reshape(2, 3).copy()
    centre = (side - 1) / 2
    matrix[:, 2] = side * matrix[:, 2] + centre - matrix[:, :2] @ np.array([centre, centre])
    return matrix
