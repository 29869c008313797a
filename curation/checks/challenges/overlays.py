"""Marks that people lay over pictures: drawn ones to learn from, and those that tell two copies of a picture apart.

A mark is opacity, -1..1 a pixel: positive towards white, negative towards black.
"""

from __future__ import annotations

import string
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from curation.checks.duplicates.transform import pixel_map

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

_CANVAS = 256
"""Side at which marks are drawn, px."""

_FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_PLAIN,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_SCRIPT_SIMPLEX,
)
"""Hershey's fonts, inside OpenCV; others of them are kept for the audit."""

_OUTLINED = 0.4
"""Share of the texts in the font inside Pillow, which has the even strokes of most print."""

_RESTYLED = 0.5
"""Share of the marks whose letters and signs are made into others by slanting, bending, thinning and so on."""

_KINDS = {"text": 0.3, "lines": 0.22, "tiled": 0.09, "logo": 0.31, "grid": 0.08}
"""What is drawn, and how often."""

_FEWEST_PIXELS = 0.01
"""Share of the picture below which a mark lies outside it."""


def draw_mark(rng: np.random.Generator, kind: str = "") -> Floats:
    """Return the cover (256, 256) 0..1 of a mark at a random place; ``kind`` is one of ``_KINDS`` or "" for any."""
    kind = kind or str(rng.choice(list(_KINDS), p=list(_KINDS.values())))
    for _ in range(20):
        canvas = np.zeros((_CANVAS, _CANVAS), np.uint8)
        if kind == "grid":
            _grid(canvas, rng)
        elif kind == "logo":
            _logo(canvas, rng)
        else:
            _lines(canvas, rng, kind)
        if kind != "grid" and rng.random() < _RESTYLED:
            canvas = _restyled(canvas, rng)
        turn = 0.0 if rng.random() < 0.75 else rng.uniform(-50, 50)
        matrix = cv2.getRotationMatrix2D((_CANVAS / 2, _CANVAS / 2), turn, 1.0)
        if kind != "grid":
            matrix[:, 2] = matrix[:, 2] + rng.uniform(-0.4, 0.4, 2) * _CANVAS
        placed = cv2.warpAffine(canvas, matrix, (_CANVAS, _CANVAS)) / np.float32(255)
        if (placed > 0.3).mean() > _FEWEST_PIXELS:
            break
    return np.asarray(placed, np.float32)


def _word(rng: np.random.Generator, letters: int) -> str:
    alphabet = string.ascii_lowercase if rng.random() < 0.6 else string.ascii_uppercase
    word = "".join(rng.choice(list(alphabet), letters))
    word = word.capitalize() if rng.random() < 0.3 else word
    ending = rng.choice(["", ".com", ".org", " 2019"], p=[0.8, 0.1, 0.05, 0.05])
    return f"(c) {word}" if rng.random() < 0.1 else word + str(ending)


def _write(canvas: Pixels, text: str, height: float, middle: tuple[float, float], rng: np.random.Generator) -> None:
    """Write a line of text so high, px, about a point."""
    if rng.random() < _OUTLINED:
        page = Image.fromarray(canvas)
        bold = round(height * rng.choice([0.0, 0.0, 0.03, 0.06]))
        font = ImageFont.load_default(size=height * 1.3)
        ImageDraw.Draw(page).text(middle, text, fill=255, font=font, anchor="mm", stroke_width=bold)
        canvas[:] = np.asarray(page)
        return
    font_face, weight = int(rng.choice(_FONTS)), max(1, round(height * rng.uniform(0.06, 0.2)))
    (_, tall), _ = cv2.getTextSize(text, font_face, 1.0, weight)
    scale = height / max(tall, 1)
    (width, tall), _ = cv2.getTextSize(text, font_face, scale, weight)
    start = (round(middle[0] - width / 2), round(middle[1] + tall / 2))
    cv2.putText(canvas, text, start, font_face, scale, 255, weight, cv2.LINE_AA)


def _restyled(canvas: Pixels, rng: np.random.Generator) -> Pixels:
    """Return a drawing slanted, stretched, bent, and thinner, bolder or in outline: other hands' letters and signs."""
    middle = (_CANVAS - 1) / 2
    y, x = np.mgrid[:_CANVAS, :_CANVAS].astype(np.float32)
    across, down = (x - middle) * rng.uniform(0.75, 1.4), (y - middle) * rng.uniform(0.8, 1.25)
    across = across + rng.choice([0.0, rng.uniform(-0.45, 0.45)]) * down
    if rng.random() < 0.3:
        wave = rng.uniform(20, 90)
        down = down + rng.uniform(2, 10) * np.sin(across / wave + rng.uniform(0, 6))
        across = across + rng.uniform(0, 5) * np.sin(down / wave + rng.uniform(0, 6))
    maps = np.asarray(across + middle, np.float32), np.asarray(down + middle, np.float32)
    bent = np.asarray(cv2.remap(canvas, *maps, cv2.INTER_LINEAR), np.uint8)
    style, size = rng.random(), int(rng.integers(2, 5))
    kernel = np.ones(rng.choice([1, size], 2) if style < 0.2 else (size, size), np.uint8)
    if style < 0.35:
        return np.asarray(cv2.dilate(bent, kernel), np.uint8)
    if style < 0.45:
        return np.asarray(cv2.erode(bent, np.ones((2, 2), np.uint8)), np.uint8)
    return np.asarray(cv2.morphologyEx(bent, cv2.MORPH_GRADIENT, kernel), np.uint8) if style < 0.6 else bent


def _lines(canvas: Pixels, rng: np.random.Generator, kind: str) -> None:
    height = _CANVAS * rng.uniform(0.08, 0.26 if kind == "text" else 0.17)
    lines = {"text": 1, "tiled": 5}.get(kind, int(rng.integers(2, 5)))
    gap = height * 1.6 if kind != "tiled" else _CANVAS * rng.uniform(0.25, 0.5)
    text = _word(rng, int(rng.integers(3, 14)))
    for line in range(lines):
        text = text if kind == "tiled" else _word(rng, int(rng.integers(3, 14)))
        offset = rng.uniform(-0.3, 0.3) * _CANVAS if kind == "tiled" else 0.0
        _write(canvas, text, height, (_CANVAS / 2 + offset, _CANVAS / 2 + (line - (lines - 1) / 2) * gap), rng)


def _logo(canvas: Pixels, rng: np.random.Generator) -> None:
    middle, radius = _CANVAS // 2, int(_CANVAS * rng.uniform(0.07, 0.26))
    width = -1 if rng.random() < 0.2 else max(2, int(radius * rng.uniform(0.1, 0.4)))
    ink = dict(color=255, thickness=width, lineType=cv2.LINE_AA)
    shape = int(rng.choice(6, p=[0.2, 0.22, 0.14, 0.2, 0.12, 0.12]))
    if shape == 0:
        for side in (-0.5, 0.5):
            cv2.circle(canvas, (middle + round(side * radius * rng.uniform(0.9, 1.6)), middle), radius, **ink)
    elif shape == 1:
        cv2.circle(canvas, (middle, middle), radius, **ink)
        _write(canvas, _word(rng, int(rng.integers(1, 3))), radius * rng.uniform(0.6, 1.1), (middle, middle), rng)
    elif shape == 2:
        across, down = round(radius * rng.uniform(0.8, 1.3)), round(radius * rng.uniform(0.5, 0.9))
        cv2.rectangle(canvas, (middle - across, middle - down), (middle + across, middle + down), **ink)
        cv2.circle(canvas, (middle, middle), round(down * 0.6), 0 if width < 0 else 255, max(2, width))
    elif shape == 3:
        for _ in range(int(rng.integers(2, 6))):
            axes = (radius, round(radius * rng.uniform(0.3, 1)))
            first, length = rng.uniform(0, 360), rng.uniform(90, 360)
            cv2.ellipse(canvas, (middle, middle), axes, rng.uniform(0, 180), first, first + length, **ink)
    else:
        corners = int(rng.integers(3, 11))
        angles = np.linspace(0, 2 * np.pi, corners, endpoint=False) + rng.uniform(0, np.pi)
        radii = radius * np.where(np.arange(corners) % 2 == 0, 1.0, rng.uniform(0.4, 1.0))
        points = np.round(middle + np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None]).astype(np.int32)
        cv2.fillPoly(canvas, [points], 255, cv2.LINE_AA) if width < 0 else cv2.polylines(
            canvas, [points], True, 255, width, cv2.LINE_AA
        )
    if rng.random() < 0.4:
        _write(canvas, _word(rng, int(rng.integers(3, 9))), radius * 0.6, (middle, middle + 1.6 * radius), rng)


def _grid(canvas: Pixels, rng: np.random.Generator) -> None:
    step, width = int(_CANVAS * rng.uniform(0.25, 0.7)), max(2, int(_CANVAS * rng.uniform(0.008, 0.025)))
    across, down = rng.choice([(1.0, 1.0), (1.0, -1.0), (0.5, 1.0), (1.0, 0.0)])
    second = rng.random() < 0.8
    for start in range(-2 * _CANVAS, 2 * _CANVAS, step):
        reach = 3 * _CANVAS
        first = (start, -_CANVAS if down else start)
        cv2.line(
            canvas, first, (round(first[0] + across * reach), round(first[1] + down * reach)), 255, width, cv2.LINE_AA
        )
        if second:
            first = (start, -_CANVAS)
            cv2.line(canvas, first, (round(first[0] - down * reach), first[1] + reach), 255, width, cv2.LINE_AA)


def lay_mark(picture: Floats, cover: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Lay a drawn mark over a picture (h, w) 0..255; return the picture and the mark's opacity (h, w) 0..1."""
    height, width = picture.shape
    zoom = rng.uniform(0.75, 1.4)
    scale = zoom * np.array([width, height]) / _CANVAS
    # whole pixels: a mark is as sharp as the picture it is laid on
    shift = np.rint(np.array([width, height]) * ((1 - zoom) / 2 + rng.uniform(-0.15, 0.15, 2)))
    reduced = cv2.resize(
        cover, (max(1, round(_CANVAS * scale[0])), max(1, round(_CANVAS * scale[1]))), interpolation=cv2.INTER_AREA
    )
    placed = cv2.warpAffine(reduced, np.array([[1, 0, shift[0]], [0, 1, shift[1]]]), (width, height))
    inside = placed > 0.3
    if inside.mean() < _FEWEST_PIXELS / 2:
        return picture, np.zeros_like(picture)
    opacity = np.float32(rng.uniform(0.15, 1.0) ** 1.3)
    base = _with_band(picture, inside, rng) if rng.random() < 0.25 else picture
    bright = (base[inside].mean() < 128) == (rng.random() < 0.8)
    tone = np.float32(rng.uniform(0.8, 1.0) * 255 if bright else rng.uniform(0.0, 0.2) * 255)
    if rng.random() < 0.2:
        shadow = np.float32(0.6) * opacity * np.roll(placed, (1, 1), (0, 1))
        base = base * (1 - shadow) + (255 - tone) * shadow
    alpha = opacity * placed
    return np.asarray(base * (1 - alpha) + tone * alpha, np.float32), np.asarray(alpha, np.float32)


def _with_band(picture: Floats, inside: npt.NDArray[np.bool_], rng: np.random.Generator) -> Floats:
    """Return the picture with a half transparent box or band behind the mark."""
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    margin = max(1, picture.shape[0] // 24)
    whole = rng.random() < 0.5
    box = (
        slice(max(0, rows[0] - margin), rows[-1] + 1 + margin),
        slice(0, None) if whole else slice(max(0, columns[0] - margin), columns[-1] + 1 + margin),
    )
    result = picture.copy()
    share = rng.uniform(0.2, 0.8)
    result[box] = result[box] * (1 - share) + rng.choice([0.0, 255.0]) * share
    return result


@dataclass(frozen=True)
class PairMark:
    """What one of two copies has over the other.

    Attributes:
        marked: 0 where the first of the pair carries it, 1 where the second does.
        opacity: (48, 48) float32, -1..1, in the frame of the one that carries it.
        picture, clean: (48, 48) float32 levels of the one that carries it and of the other, in that frame.
        inside: (48, 48) where both pictures show something.

    """

    marked: int
    opacity: Floats
    picture: Floats
    clean: Floats
    inside: npt.NDArray[np.bool_]


_SEEN = 2.5
"""Residuals of so many deviations belong to a mark."""

_DENSE = 0.22
"""Share of such residuals within 7 x 7 px that makes a mark's core."""

_FEWEST_CORE = 60
"""px of 48 x 48."""

_THICK = 0.35
"""Share of a mark that may outlast an opening by 5 x 5 px: strokes are thinner, a changed background is not."""

_OWN, _OTHERS = 0.45, 0.3
"""A mark's residual correlates so much with details of the picture that carries it, and no more with the other's."""


def mark_of_pair(first: Pixels, second: Pixels, affine: npt.NDArray[np.float64], mirrored: bool) -> PairMark | None:
    """Return the mark that one of two registered copies carries, None where they differ in no such way.

    Args:
        first: (48, 48) thumbnail.
        second: (48, 48) thumbnail of the same picture.
        affine: (6,) map from the first to the second, see ``curation.checks.duplicates.kernel``.
        mirrored: whether the second is to be mirrored before.

    """
    side = first.shape[0]
    into = pixel_map(affine, side)
    other = np.ascontiguousarray(second[:, ::-1]) if mirrored else second
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = np.asarray(cv2.warpAffine(other.astype(np.float32), into, (side, side), flags=flags), np.float32)
    inside = cv2.warpAffine(np.ones((side, side), np.float32), into, (side, side), flags=flags) > 0.99
    inside = cv2.erode(inside.astype(np.uint8), np.ones((3, 3))) > 0
    if inside.mean() < 0.4:
        return None
    one = first.astype(np.float32)
    for marked, (picture, clean) in enumerate(((one, warped), (warped, one))):
        found = _mark_over(picture, clean, inside)
        if found is not None:
            return PairMark(marked, found, picture, clean, inside)
    return None


def _mark_over(picture: Floats, clean: Floats, inside: npt.NDArray[np.bool_]) -> Floats | None:
    """Return what ``picture`` has over ``clean`` as opacity, None where that is nothing or belongs to ``clean``."""
    fitted, sigma, gain = _explained(picture, clean, inside)
    residual = np.where(inside, picture - fitted, 0).astype(np.float32)
    soft = cv2.GaussianBlur(clean, (0, 0), 0.7)
    gradient = np.hypot(cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)) / 8 * gain
    strong = (np.abs(residual) > _SEEN * np.sqrt(sigma**2 + (0.6 * gradient) ** 2 + 9)) & inside
    core = (cv2.blur(strong.astype(np.float32), (7, 7)) > _DENSE).astype(np.uint8)
    count, numbers, facts, _ = cv2.connectedComponentsWithStats(core)
    large = np.flatnonzero(facts[1:, cv2.CC_STAT_AREA] >= _FEWEST_CORE / 2) + 1
    marked = np.asarray(np.isin(numbers, large) if count > 1 else np.zeros_like(inside), np.bool_)
    if marked.sum() < _FEWEST_CORE:
        return None
    own, others = (_correlation(_detail(residual)[marked], _detail(of)[marked]) for of in (picture, clean))
    if own < _OWN or abs(others) > _OTHERS:
        return None
    cover = cv2.GaussianBlur(cv2.dilate(marked.astype(np.uint8), np.ones((3, 3))).astype(np.float32), (0, 0), 1.0)
    laid = residual * cover
    room = np.maximum(np.where(laid > 0, 255 - clean, clean), 30)
    opacity = np.clip(laid / room, -1, 1).astype(np.float32)
    solid = (np.abs(opacity) > 0.06).astype(np.uint8)
    thick = cv2.morphologyEx(solid, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    return None if thick.sum() > _THICK * max(solid.sum(), 1) else opacity


def _explained(picture: Floats, clean: Floats, inside: npt.NDArray[np.bool_]) -> tuple[Floats, float, float]:
    """Fit one picture by the other's levels, tone, sharpness and small shifts, robustly.

    Returns:
        the fit (h, w), the deviation of what is left (median-based, at least 2), and the gain of levels.

    """
    soft, softer = (np.asarray(cv2.GaussianBlur(clean, (0, 0), width), np.float32) for width in (0.8, 1.6))
    across, down = (np.asarray(cv2.Sobel(clean, cv2.CV_32F, *order) / 8, np.float32) for order in ((1, 0), (0, 1)))
    columns = [
        clean,
        np.asarray(clean * clean / 255, np.float32),
        clean - soft,
        soft - softer,
        across,
        down,
        np.ones_like(clean),
    ]
    basis = np.stack(columns, axis=-1)
    known, wanted = basis[inside], picture[inside]
    weights, sigma = np.ones(len(wanted), np.float32), 2.0
    solution = np.zeros(len(columns), np.float32)
    for _ in range(5):
        weighted = known * weights[:, None]
        matrix = weighted.T @ known + 1e-3 * np.eye(len(columns), dtype=np.float32)
        solution = np.linalg.solve(matrix, weighted.T @ wanted)
        left = wanted - known @ solution
        sigma = max(2.0, 1.4826 * float(np.median(np.abs(left))))
        weights = (1 / (1 + (left / (2.385 * sigma)) ** 2)).astype(np.float32)
    return np.asarray(basis @ solution, np.float32), sigma, float(solution[0])


def _detail(picture: Floats) -> Floats:
    return np.asarray(picture - cv2.blur(picture, (7, 7)), np.float32)


def _correlation(one: Floats, other: Floats) -> float:
    one, other = one - one.mean(), other - other.mean()
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / max(lengths, 1e-6)


def lay_pair_mark(picture: Floats, mark: PairMark, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Lay the mark of a pair over another picture (48, 48), elsewhere and in another size; return both."""
    side = picture.shape[0]
    zoom, centre = rng.uniform(0.75, 1.35), (side - 1) / 2
    shift = centre * (1 - zoom) + rng.uniform(-0.25, 0.25, 2) * side
    matrix = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]])
    opacity = cv2.warpAffine(mark.opacity, matrix, (side, side)) * np.float32(rng.uniform(0.6, 1.3))
    bright, dark = np.clip(opacity, 0, 1), np.clip(-opacity, 0, 1)
    laid = (picture * (1 - bright) + 255 * bright) * (1 - dark)
    return np.asarray(laid, np.float32), np.asarray(np.maximum(bright, dark), np.float32)
