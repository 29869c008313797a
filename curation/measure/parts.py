"""Parts of a picture that may be a picture by themselves: what a frame or bars surround, and each of two side by side.

Only what shows in the pixels is cut: margins of one tone, and a seam that runs through the whole picture.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from curation.base.tables import FRAMED, HALF
from curation.measure.decode import Pixels

Box = tuple[int, int, int, int]
"""Left, top, right, bottom, px."""

_LOOKED_AT = 160
"""Longer side at which margins and seams are looked for, px."""

_PLAIN_LINE = 6.0
"""Standard deviation in grey levels up to which a line of pixels has one tone, compression included."""

_SAME_TONE = 10.0
"""Grey levels by which lines of one margin may differ from its first."""

_LEAST_MARGIN = 0.035
"""Share of the side from which a margin is cut off."""

_LEAST_SIDE = 16
_LEAST_SHARE = 0.12
"""A part is at least so many px, and so much of the picture, wide and high."""

_SEAM_PLACES = (0.3, 0.7)
"""Where a seam may run, shares of the side."""

_SEAM = 2.2
_MOST_JUMP = 40
_SEAM_LEVELS = 8.0
_SEAM_SHARE = 0.6
"""A seam's jump (of which at most 40 levels count) is so many times that of the columns around, and of at least so many
levels in this share of its rows."""

_TWO_IN_ONE = 1.75
"""Ratio of sides from which a picture without a seam is cut in the middle: two squares make 2."""


class Part(NamedTuple):
    """A part: its kind, and its box in fractions of the picture (left, top, right, bottom)."""

    kind: int
    box: tuple[float, float, float, float]
    pixels: Pixels


def parts_of(grey: Pixels) -> list[Part]:
    """Return the parts of a picture (H, W): that within its margins if it has any, and the halves of two in one."""
    seen = _reduced(grey)
    inner = content_box(seen)
    whole = (0, 0, seen.shape[1], seen.shape[0])
    boxes = [] if inner == whole else [(FRAMED, inner)]
    boxes += [(HALF, half) for half in halves(seen, inner)]
    across, down = grey.shape[1] / seen.shape[1], grey.shape[0] / seen.shape[0]
    found = []
    for kind, (left, top, right, bottom) in boxes:
        x1, x2, y1, y2 = (round(side) for side in (left * across, right * across, top * down, bottom * down))
        box = (x1 / grey.shape[1], y1 / grey.shape[0], x2 / grey.shape[1], y2 / grey.shape[0])
        found.append(Part(kind, box, np.ascontiguousarray(grey[y1:y2, x1:x2])))
    return found


def _reduced(grey: Pixels) -> Pixels:
    """Return the picture with its longer side at most ``_LOOKED_AT``."""
    factor = _LOOKED_AT / max(grey.shape)
    if factor >= 1:
        return grey
    size = (max(1, round(grey.shape[1] * factor)), max(1, round(grey.shape[0] * factor)))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def content_box(grey: Pixels) -> Box:
    """Return what is left when margins of one tone are cut off; the whole picture where that is too little."""
    height, width = grey.shape
    top, bottom = _margins(grey)
    left, right = _margins(np.ascontiguousarray(grey[top : height - bottom].T)) if top + bottom < height else (0, 0)
    cut = (left, top, width - right, height - bottom)
    wide, high = cut[2] - cut[0], cut[3] - cut[1]
    enough = min(wide, high) >= _LEAST_SIDE and wide >= _LEAST_SHARE * width and high >= _LEAST_SHARE * height
    return cut if enough else (0, 0, width, height)


def _margins(grey: Pixels) -> tuple[int, int]:
    """Return the height of the margins above and below, px; 0 where they are too narrow to be any."""
    least = max(1, round(_LEAST_MARGIN * len(grey)))
    above, below = (_margin(grey[::way]) for way in (1, -1))
    return (above if above >= least else 0), (below if below >= least else 0)


def _margin(grey: Pixels) -> int:
    """Return how many lines, from the first on, are of one tone, and all of the same."""
    first = float(grey[0].mean())
    for number, line in enumerate(grey):
        if line.std() > _PLAIN_LINE or abs(float(line.mean()) - first) > _SAME_TONE:
            return number
    return len(grey)


def halves(grey: Pixels, inner: Box) -> list[Box]:
    """Return the boxes of two pictures side by side, or one above the other, within a box; none without a seam."""
    left, top, right, bottom = inner
    content = grey[top:bottom, left:right]
    height, width = content.shape
    across = _seam(content, width / max(height, 1) >= _TWO_IN_ONE)
    if across is not None:
        return [(left, top, left + across, bottom), (left + across, top, right, bottom)]
    down = _seam(np.ascontiguousarray(content.T), height / max(width, 1) >= _TWO_IN_ONE)
    if down is not None:
        return [(left, top, right, top + down), (left, top + down, right, bottom)]
    return []


def _seam(grey: Pixels, wide: bool) -> int | None:
    """Return the column where a second picture begins; a ``wide`` picture without a seam is cut in the middle."""
    width = grey.shape[1]
    if min(grey.shape) < 2 * _LEAST_SIDE:
        return None
    jumps = cv2.absdiff(grey[:, 1:], grey[:, :-1])
    strength = np.minimum(jumps, _MOST_JUMP).mean(axis=0)
    first, last = (round(share * width) for share in _SEAM_PLACES)
    place = first + int(np.argmax(strength[first:last]))
    around = np.median(strength[max(place - 10, 0) : place + 11])
    clear = bool(strength[place] >= _SEAM * around + 4 and (jumps[:, place] >= _SEAM_LEVELS).mean() >= _SEAM_SHARE)
    middle = width // 2 if wide else None
    return place + 1 if clear else middle
