"""What the heads learn from: the data's own faces, some with marks or things before them, and what lies where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from curation.checks.challenges.altered import ALTERED, alter
from curation.checks.challenges.occluders import ANYTHING, OCCLUDERS, occlude
from curation.checks.challenges.overlays import PairMark, draw_mark, lay_mark, lay_pair_mark

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

LARGEST_SIDE = 160
"""Faces are drawn on at their own size up to this side, px, so that strokes are as sharp as the pictures are."""

_DRAWN_MARKS = 1200
"""Marks that are drawn; each is laid several times, elsewhere and of another size."""

_NO_FACES = 0.05
"""Share of the other lessons that show no person's face, and nothing before one: a head that has only seen faces takes
whatever is none for something that covers one."""

_OF_PAIRS = 0.06
"""Share of the lessons that are pictures of a pair itself, with and without its mark."""

_OCCLUDED = 0.6
_MARKED = 0.5
"""Shares of the others; many have both, so that neither is taken for the other."""

_PAIR_MARKS = 0.45
"""Share of the marks laid that are of pairs, where there are enough of these."""

_ENOUGH_PAIRS = 20

_TURN, _ZOOM, _SHIFT, _GAMMA = 12.0, (0.9, 1.2), 0.06, (0.7, 1.4)
"""Most degrees, sizes, most shift as a share of the side, and exponents of light of a face that is shown again."""

_OFTEN = 2
"""Lessons a face from which those after the first show it otherwise: fewer need no more variety than the faces have."""

_MIRRORED = [1, 0, 2, 4, 3]
"""Which landmark each becomes in the mirror."""


@dataclass(frozen=True)
class Lessons:
    """Pictures to learn from.

    Attributes:
        pictures: (n, side, side) uint8.
        overlay, occluder: (n, cells, cells) float32, share of each cell that a mark or a thing covers.
        occluders: (n,) the kind of thing, "" for none.
        faces: (n,) whether a person's face is shown.

    """

    pictures: Pixels
    overlay: Floats
    occluder: Floats
    occluders: npt.NDArray[np.str_]
    faces: npt.NDArray[np.bool_]


def draw_lessons(
    faces: Sequence[Pixels],
    landmarks: Doubles,
    pair_marks: Sequence[PairMark],
    count: int,
    shape: tuple[int, int, int],
    seed: int,
    kinds: Sequence[str] = (*OCCLUDERS, *ANYTHING),
    varied: bool = False,
) -> Lessons:
    """Draw lessons.

    Args:
        faces: square grey pictures of a face each, of any size.
        landmarks: (n, 5, 2) fractions of their sides.
        pair_marks: marks that tell copies apart.
        count: how many lessons.
        shape: side of the pictures, cells a side for marks and for things.
        seed: of every draw.
        kinds: of things; what stands here more than once is drawn more often.
        varied: whether a face that is shown again is shown otherwise: turned, nearer, in other light.

    """
    again = 1 - len(faces) / count if varied and count >= _OFTEN * len(faces) else 0.0
    rng = np.random.default_rng(seed)
    side, fine, coarse = shape
    marks = [draw_mark(rng) for _ in range(min(_DRAWN_MARKS, count))]
    pictures = np.empty((count, side, side), np.uint8)
    overlay, occluder = np.zeros((count, fine, fine), np.float32), np.zeros((count, coarse, coarse), np.float32)
    named, shows_face = np.zeros(count, "U16"), np.ones(count, np.bool_)
    for row in range(count):
        place = int(rng.integers(len(faces)))
        picture, points = _seen(faces[place], landmarks[place], rng)
        if rng.random() < again:
            picture, points = _otherwise(picture, points, rng)
        if len(pair_marks) >= _ENOUGH_PAIRS and rng.random() < _OF_PAIRS:
            picture, laid = _of_pair(pair_marks[int(rng.integers(len(pair_marks)))], picture, rng)
            pictures[row], overlay[row] = at_side(picture, side), at_side(laid, fine)
            continue
        if rng.random() < _NO_FACES:
            picture, shows_face[row] = alter(picture, points, str(rng.choice(list(ALTERED))), rng), False
        elif rng.random() < _OCCLUDED:
            kind = str(rng.choice(list(kinds)))
            picture, cover = occlude(picture, points, kind, faces[int(rng.integers(len(faces)))], rng)
            occluder[row], named[row] = at_side(cover, coarse), kind
        if rng.random() < _MARKED:
            picture, laid = _marked(picture, marks, pair_marks, rng)
            overlay[row] = at_side(laid, fine)
        pictures[row] = at_side(_compressed(picture, rng), side)
    return Lessons(pictures, overlay, occluder, named, shows_face)


def draw_altered(faces: Sequence[Pixels], landmarks: Doubles, count: int, side: int, seed: int) -> Pixels:
    """Return faces made into what is no person's face, (count, side, side), every kind as often."""
    rng = np.random.default_rng(seed)
    kinds = list(ALTERED)
    places = rng.integers(0, len(faces), count).tolist()
    made = [alter(faces[p], landmarks[p], kinds[row % len(kinds)], rng) for row, p in enumerate(places)]
    return np.stack([at_side(_compressed(picture, rng), side) for picture in made])


def _seen(face: Pixels, landmarks: Doubles, rng: np.random.Generator) -> tuple[Pixels, Doubles]:
    """Return a face as it is or mirrored."""
    if rng.random() < 0.5:
        return face, landmarks
    points = landmarks[_MIRRORED].copy()
    points[:, 0] = 1 - points[:, 0]
    return np.ascontiguousarray(face[:, ::-1]), points


def _otherwise(face: Pixels, landmarks: Doubles, rng: np.random.Generator) -> tuple[Pixels, Doubles]:
    """Return a face a little turned, nearer or farther, moved, and in other light."""
    side = face.shape[0]
    matrix = cv2.getRotationMatrix2D((side / 2, side / 2), rng.uniform(-_TURN, _TURN), rng.uniform(*_ZOOM))
    matrix[:, 2] += rng.uniform(-_SHIFT, _SHIFT, 2) * side
    moved = cv2.warpAffine(face, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    light = 255 * (np.arange(256) / 255) ** rng.uniform(*_GAMMA)
    points = landmarks @ matrix[:, :2].T + matrix[:, 2] / side
    return np.asarray(cv2.LUT(moved, light.astype(np.uint8)), np.uint8), np.asarray(points)


def _of_pair(mark: PairMark, around: Pixels, rng: np.random.Generator) -> tuple[Pixels, Floats]:
    """Return one of a pair's two pictures, what lies outside of it filled from another, and where its mark lies."""
    marked = rng.random() < 0.5
    filled = np.where(mark.inside, mark.picture if marked else mark.clean, at_side(around, mark.inside.shape[0]))
    laid = (np.abs(mark.opacity) > 0.05) & mark.inside & marked
    return np.clip(filled, 0, 255).astype(np.uint8), laid.astype(np.float32) / np.float32(2)


def _marked(
    picture: Pixels, marks: Sequence[Floats], pair_marks: Sequence[PairMark], rng: np.random.Generator
) -> tuple[Pixels, Floats]:
    levels = picture.astype(np.float32)
    if len(pair_marks) >= _ENOUGH_PAIRS and rng.random() < _PAIR_MARKS:
        mark = pair_marks[int(rng.integers(len(pair_marks)))]
        laid, opacity = lay_pair_mark(at_side(levels, mark.opacity.shape[0]), mark, rng)
    else:
        laid, opacity = lay_mark(levels, marks[int(rng.integers(len(marks)))], rng)
    return np.clip(laid, 0, 255).astype(np.uint8), opacity


def _compressed(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """Return half of the pictures after JPEG compression: what is laid on a picture is mostly compressed with it."""
    if rng.random() < 0.5:
        return picture
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(50, 95))])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)


def at_side(picture: npt.NDArray[Any], side: int) -> npt.NDArray[Any]:
    """Return a square picture or cover at another side."""
    if picture.shape[0] == side:
        return picture
    method = cv2.INTER_AREA if picture.shape[0] > side else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (side, side), interpolation=method))
