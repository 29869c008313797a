"""Challenges planted for the audit, of kinds that no model was trained on: other fonts, signs, objects, drawn faces."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import cv2
import numpy as np
import numpy.typing as npt

from curation.audit.synthetic.face import EXPRESSIONS, TYPICAL, draw, draw_person, draw_shot
from curation.audit.synthetic.plant import Kind, Pixels

_FONTS = (cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_HERSHEY_COMPLEX_SMALL, cv2.FONT_HERSHEY_SCRIPT_COMPLEX)
"""Fonts that ``curation.checks.challenges.overlays`` does not train on."""

_LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")

_OPACITY = (0.45, 0.95)
"""Opacity of planted marks; people do not see fainter ones either."""

_CANVAS = 192

Cover = npt.NDArray[np.float32]


def _laid(image: Pixels, canvas: npt.NDArray[np.uint8], tone: float, opacity: float) -> Pixels:
    """Draw a canvas (192, 192) over an image of any size."""
    height, width = image.shape[:2]
    alpha = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255 * opacity
    alpha = alpha if image.ndim == 2 else alpha[:, :, None]
    return np.asarray(np.clip(image * (1 - alpha) + tone * alpha, 0, 255), np.uint8)


def _seen_tone(image: Pixels, place: npt.NDArray[np.uint8]) -> float:
    """Return white over dark places and black over bright ones."""
    small = cv2.resize(image, (_CANVAS, _CANVAS), interpolation=cv2.INTER_AREA)
    return 255.0 if small[place > 128].mean() < 128 else 0.0


def _word(image: Pixels, rng: np.random.Generator) -> Pixels:
    canvas = np.zeros((_CANVAS, _CANVAS), np.uint8)
    text = "".join(rng.choice(_LETTERS, int(rng.integers(4, 9))))
    font, scale = int(rng.choice(_FONTS)), 1.0
    (width, _), _ = cv2.getTextSize(text, font, scale, 2)
    scale = _CANVAS * rng.uniform(0.6, 0.9) / width
    start = (round(_CANVAS * rng.uniform(0.03, 0.1)), round(_CANVAS * rng.uniform(0.2, 0.93)))
    cv2.putText(canvas, text, start, font, scale, 255, max(2, round(3 * scale)), cv2.LINE_AA)
    return _laid(image, canvas, _seen_tone(image, canvas), rng.uniform(*_OPACITY))


def _sign(image: Pixels, rng: np.random.Generator) -> Pixels:
    """A camera in outline, with a word below it."""
    canvas = np.zeros((_CANVAS, _CANVAS), np.uint8)
    size = int(_CANVAS * rng.uniform(0.12, 0.2))
    x, y = (int(_CANVAS * rng.uniform(0.3, 0.7)) for _ in range(2))
    width = max(3, size // 6)
    cv2.rectangle(canvas, (x - size, y - size * 2 // 3), (x + size, y + size * 2 // 3), 255, width, cv2.LINE_AA)
    cv2.circle(canvas, (x, y), size // 2, 255, width, cv2.LINE_AA)
    cv2.rectangle(canvas, (x - size // 3, y - size), (x + size // 3, y - size * 2 // 3), 255, -1, cv2.LINE_AA)
    text = "".join(rng.choice(_LETTERS, 5))
    scale = size / 22
    cv2.putText(canvas, text, (x - 2 * size, y + 2 * size), int(rng.choice(_FONTS)), scale, 255, 2, cv2.LINE_AA)
    return _laid(image, canvas, _seen_tone(image, canvas), rng.uniform(*_OPACITY))


def _scarf(image: Pixels, rng: np.random.Generator) -> Pixels:
    """A striped scarf over mouth and nose."""
    canvas = np.zeros((_CANVAS, _CANVAS), np.uint8)
    top, slope = _CANVAS * rng.uniform(0.5, 0.58), rng.uniform(-0.1, 0.1)
    across = np.arange(0, _CANVAS + 1, 8)
    edge = top + slope * (across - _CANVAS / 2) + 3 * np.sin(across / 17)
    outline = np.stack([across, edge], 1).round().astype(np.int32)
    cv2.fillPoly(canvas, [np.vstack([outline, [[_CANVAS, _CANVAS], [0, _CANVAS]]])], 255, cv2.LINE_AA)
    y, x = np.mgrid[:_CANVAS, :_CANVAS]
    stripes = np.sin((y + slope * x) * 2 * np.pi / rng.uniform(12, 30)) > 0
    shade = np.where(stripes, rng.uniform(20, 90), rng.uniform(110, 230)) + rng.normal(0, 6, (_CANVAS, _CANVAS))
    return _covered(image, canvas, shade.astype(np.float32))


def _fan(image: Pixels, rng: np.random.Generator) -> Pixels:
    """An open fan over the eyes and brows."""
    canvas = np.zeros((_CANVAS, _CANVAS), np.uint8)
    x, y = _CANVAS * rng.uniform(0.4, 0.6), _CANVAS * rng.uniform(0.6, 0.7)
    radius, tone = _CANVAS * rng.uniform(0.4, 0.55), rng.uniform(30, 220)
    cv2.ellipse(canvas, (round(x), round(y)), (round(radius), round(radius)), 0, 195, 345, 255, -1, cv2.LINE_AA)
    rows, columns = np.mgrid[:_CANVAS, :_CANVAS]
    folds = np.sin(np.arctan2(rows - y, columns - x) * rng.integers(20, 34))
    shade = (tone * (1 + 0.25 * folds)).astype(np.float32)
    return _covered(image, canvas, shade)


def _covered(image: Pixels, canvas: npt.NDArray[np.uint8], shade: Cover) -> Pixels:
    height, width = image.shape[:2]
    laid = cv2.GaussianBlur(cv2.resize(shade, (width, height), interpolation=cv2.INTER_AREA), (0, 0), 0.6)
    laid = laid if image.ndim == 2 else laid[:, :, None]
    alpha = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    alpha = alpha if image.ndim == 2 else alpha[:, :, None]
    return np.asarray(np.clip(image * (1 - alpha) + laid * alpha, 0, 255), np.uint8)


def _drawn_face(image: Pixels, rng: np.random.Generator) -> Pixels:
    """A face as ``curate sample`` draws them, of the image's size."""
    tones = draw(_CANVAS, draw_person(rng), TYPICAL[str(rng.choice(EXPRESSIONS))], draw_shot(rng), rng)
    return _as_image(255 * np.clip(tones, 0, 1), image)


def _placard(image: Pixels, rng: np.random.Generator) -> Pixels:
    """A page of print that replaces the image."""
    page = np.full((_CANVAS, _CANVAS), rng.uniform(215, 250), np.uint8)
    gap = int(rng.integers(24, 40))
    for line in range(gap, _CANVAS, gap):
        text = "".join(rng.choice((*_LETTERS, " "), 14))
        cv2.putText(page, text, (6, line), int(rng.choice(_FONTS)), gap / 40, int(rng.integers(60)), 2, cv2.LINE_AA)
    return _as_image(page.astype(np.float32), image)


def _as_image(tones: npt.NDArray[np.floating], image: Pixels) -> Pixels:
    height, width = image.shape[:2]
    levels = np.asarray(cv2.resize(tones, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return levels if image.ndim == 2 else np.repeat(levels[:, :, None], 3, axis=2)


PLANTED: Mapping[str, tuple[Kind, tuple[str, ...]]] = MappingProxyType(
    {
        "written over": (_word, ("watermark",)),
        "sign over it": (_sign, ("watermark",)),
        "scarf": (_scarf, ("occluded_face",)),
        "fan": (_fan, ("occluded_face",)),
        "drawn face": (_drawn_face, ("non_human_face",)),
        "page of print": (_placard, ("outlier",)),
    }
)
"""How each kind is made, and the check that must flag it."""
