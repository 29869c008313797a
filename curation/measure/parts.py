"""Parts of a picture that may be a picture by themselves: what a frame or bars surround, and each of two side by side.

Only what shows in the pixels is cut: margins of one tone, and a seam that runs through the whole picture.
"""

from __future__ import annotations

from collections.abc import Sequence
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


def parts_of(greys: Pixels) -> list[list[Part]]:
    """Return the parts of each picture (H, W): that within its margins if it has any, and the halves of two in one."""
    seen = greys if max(greys.shape[1:]) <= _LOOKED_AT else np.stack([_reduced(grey) for grey in greys])
    whole = (0, 0, seen.shape[2], seen.shape[1])
    inner = content_boxes(seen)
    boxes: list[list[tuple[int, Box]]] = [[] if box == whole else [(FRAMED, box)] for box in inner]
    for box in dict.fromkeys(inner):
        places = [place for place, other in enumerate(inner) if other == box]
        for place, found in zip(places, halves(seen[places], box), strict=True):
            boxes[place] += [(HALF, half) for half in found]
    return [_cut(grey, found, seen.shape[1:]) for grey, found in zip(greys, boxes, strict=True)]


def _cut(grey: Pixels, boxes: list[tuple[int, Box]], seen: tuple[int, ...]) -> list[Part]:
    """Return the parts in boxes of a picture that was seen at another size (height, width)."""
    down, across = grey.shape[0] / seen[0], grey.shape[1] / seen[1]
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


def content_boxes(greys: Sequence[Pixels] | Pixels) -> list[Box]:
    """Return the ``content_box`` of each picture (H, W)."""
    found: dict[int, Box] = {}
    for places in of_one_shape(greys):
        pictures = np.stack([greys[place] for place in places])
        outer = (pictures[:, [0, -1]], np.ascontiguousarray(pictures[:, :, [0, -1]].swapaxes(1, 2)))
        plain = np.any([(lines.std(axis=2) <= _PLAIN_LINE).any(axis=1) for lines in outer], axis=0)
        whole = (0, 0, pictures.shape[2], pictures.shape[1])
        for place, picture, may in zip(places, pictures, plain.tolist(), strict=True):
            found[place] = content_box(picture) if may else whole
    return [found[place] for place in range(len(greys))]


def of_one_shape(arrays: Sequence[Pixels] | Pixels) -> list[list[int]]:
    """Return the places of arrays, those of one shape together."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for place, array in enumerate(arrays):
        groups.setdefault(array.shape, []).append(place)
    return list(groups.values())


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
    for start in range(0, len(grey), _LINES):
        lines = grey[start : start + _LINES]
        others = (lines.std(axis=1) > _PLAIN_LINE) | (np.abs(lines.mean(axis=1) - first) > _SAME_TONE)
        if others.any():
            return start + int(others.argmax())
    return len(grey)


_LINES = 16
"""Looked at together: margins end soon or are wide."""


def halves(greys: Pixels, inner: Box) -> list[list[Box]]:
    """Return of each (H, W) the boxes of two pictures side by side, or one above the other, within a box.

    None without a seam.
    """
    left, top, right, bottom = inner
    content = greys[:, top:bottom, left:right]
    height, width = content.shape[1:]
    found: list[list[Box]] = []
    down = _seams(np.ascontiguousarray(content.swapaxes(1, 2)), height / max(width, 1) >= _TWO_IN_ONE)
    for across, below in zip(_seams(content, width / max(height, 1) >= _TWO_IN_ONE), down, strict=True):
        if across is not None:
            found.append([(left, top, left + across, bottom), (left + across, top, right, bottom)])
        elif below is not None:
            found.append([(left, top, right, top + below), (left, top + below, right, bottom)])
        else:
            found.append([])
    return found


def _seams(greys: Pixels, wide: bool) -> list[int | None]:
    """Return of each (H, W) the column where a second picture begins; the middle if it is ``wide``."""
    count, height, width = greys.shape
    if min(height, width) < 2 * _LEAST_SIDE:
        return [None] * count
    ahead, behind = greys[:, :, 1:], greys[:, :, :-1]
    jumps = np.maximum(ahead, behind) - np.minimum(ahead, behind)
    strength = np.minimum(jumps, _MOST_JUMP).sum(axis=1, dtype=np.uint32) / height
    first, last = (round(share * width) for share in _SEAM_PLACES)
    places = first + strength[:, first:last].argmax(axis=1)
    long = (jumps[np.arange(count), :, places] >= _SEAM_LEVELS).mean(axis=1) >= _SEAM_SHARE
    found: list[int | None] = [width // 2 if wide else None] * count
    for row in np.flatnonzero(long).tolist():
        place = int(places[row])
        around = np.median(strength[row, max(place - 10, 0) : place + 11])
        if strength[row, place] >= _SEAM * around + 4:
            found[row] = place + 1
    return found
