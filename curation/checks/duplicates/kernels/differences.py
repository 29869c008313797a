"""The compiled part of ``changes``: settles registered pairs and weighs what they differ in, a pair after the other."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from curation.checks.duplicates.kernels.registration import (
    GX,
    GXX,
    GY,
    LANES,
    RESIDUAL,
    Doubles,
    Floats,
    compiled,
    dot,
    entry,
    new_template,
)
from curation.checks.duplicates.kernels.settling import (
    ENERGIES,
    ENERGY,
    EXPLAINED,
    FINE,
    GAIN,
    LENGTH,
    LEVEL,
    MASK,
    MATCHED,
    NOISE,
    ONES,
    OTHER,
    OWN,
    SIDE,
    SIZE,
    SQUARES,
    TEMPLATE,
    TONE,
    TRUST,
    UNEXPLAINED,
    VARIANCE,
    A,
    B,
    C,
    D,
    E,
    F,
    Flags,
    Indices,
    Ints,
    Room,
    blurs,
    deviation,
    flood,
    gradients,
    make_equally_sharp,
    masked_quantile,
    multiply,
    quantile,
    settle,
    smooth,
)

Pixels = NDArray[np.uint8]

SOURCES = "7444e62d0077"
"""First digits of the SHA-256 of ``registration`` and ``settling`` together: see ``comparison.REGISTRATION``."""

_CHANGED = np.float32(9.0)
_CHANGED_LEVELS = np.float32(25.0)
"""Squared deviations of the noise model, and levels squared, from which a pixel has changed."""

_LEAST_CHANGE = 6
_STRONG = 16.0
_FACIAL = 0.2
"""A change counts from so many pixels, where it reaches so many squared deviations and lies by this share in the zones
of eyes and mouth."""

_TEXTURE = np.float32(9.0)
"""Squared deviation of details, levels, from which a pixel has texture."""

_LEAST_ZONE = 0.008
"""Share of the picture from which a zone is looked at."""

_PARTS = 580
"""Connected areas of 48 x 48 pixels are fewer, whatever their shape."""

NO_CHANGE = 9.0

OVERLAY = np.array([-14.42, 18.62, -1.04, 2.92, -2.28, 3.79, 10.3, 12.75, 0.59, 0.64, 7.02])
"""What tells something laid over a picture from something that moved in it: the longest straight vertical and
horizontal edge, shares of the side; the ratio of both pictures' energies, log; the share of the residual that
displacements explain, log; how one-sided the leftover is, 0..1; the share of the finest details in it; the share of the
area that is flat in one picture only; the area, share of the picture; the share of it outside the zones of eyes and
mouth, and the share there of everything that changed. Weights of a logistic law, after its intercept."""

_USUAL = np.array([0.33, 0.42, 0.67, 0.42, 0.5, 0.6, 0.37, 0.76, 0.63, 0.76])
"""Landmarks (see ``Face``) of a face that fills its picture, for those that have none."""

_FLIP = np.array([1, 0, 2, 4, 3])
"""Landmarks in order of the mirrored picture."""

_EYE, _MOUTH = (0.45, 0.5, 0.25), (0.65, 0.35, 0.6)
"""How far the zones of eyes and mouth reach aside, above and below, shares of the distance of the eyes."""

(
    _PIXELS,
    _IN_ZONES,
    _STRONGEST,
    _SHIFTED,
    _ALL,
    _AREA,
    _OWN,
    _MATCHED,
    _FLAT,
    _OTHER_FLAT,
    _SIGNED,
    _UNSIGNED,
    _FINEST,
    _FINE,
    _VERTICAL,
    _HORIZONTAL,
    _ODDS,
) = cast(list[int], np.arange(17))
"""Sums over a change: see ``_find_changes``, ``_sum_areas`` and ``_find_edges``."""


@compiled
def _displace(room: Room) -> None:
    """Find what local displacements (Lucas & Kanade 1981) would explain.

    ``LENGTH`` is theirs, px; of the mean square residual ``EXPLAINED`` is their part, ``UNEXPLAINED`` all of it.
    """
    pictures, residual, gx, gy = room[0], room[2][RESIDUAL], room[1][GX], room[1][GY]
    products, small = room[1][GXX], np.float32(1e-6)
    for k in range(SIZE):
        products[k] = np.float32(0.5) * (pictures[OWN, k] + pictures[MATCHED, k])
    gradients(products, 1.0, gx, gy)
    multiply(gx, gx, pictures[MASK])
    multiply(gy, gy, pictures[MASK])
    smooth(room, MASK, ENERGIES, LENGTH)
    for target, one, two in (
        (A, gx, gx),
        (B, gy, gy),
        (C, gx, gy),
        (D, gx, residual),
        (E, gy, residual),
        (UNEXPLAINED, residual, residual),
    ):
        multiply(pictures[F], one, two)
        smooth(room, F, ENERGIES, target)
        for k in range(SIZE):
            pictures[target, k] /= pictures[LENGTH, k] + small
    for k in range(SIZE):
        xx, yy, xy, xr, yr = pictures[A, k], pictures[B, k], pictures[C, k], pictures[D, k], pictures[E, k]
        ridge = np.float32(0.05) * (xx + yy) + np.float32(0.3)
        xx, yy = xx + ridge, yy + ridge
        determinant = xx * yy - xy * xy
        dx, dy = (yy * xr - xy * yr) / determinant, (xx * yr - xy * xr) / determinant
        pictures[LENGTH, k] = np.sqrt(dx * dx + dy * dy)
        pictures[EXPLAINED, k] = max(dx * xr + dy * yr, np.float32(0))


@compiled
def _find_zones(landmarks: Doubles, a: Doubles, i: int, j: int, mirrored: bool, zones: Indices) -> None:
    """Mark eyes and brows (1) and the mouth (2) of the template: by its landmarks, else by the other picture's.

    Landmarks that neither has are those of a face that fills its picture.
    """
    points = np.empty((5, 2))
    det = a[0] * a[4] - a[1] * a[3]
    known = True
    for p in range(5):
        q = _FLIP[p] if mirrored else p
        x, y = landmarks[j, 2 * q] - 0.5, landmarks[j, 2 * q + 1] - 0.5
        x = (-x if mirrored else x) - a[2]
        y -= a[5]
        points[p, 0] = (a[4] * x - a[1] * y) / det + 0.5
        points[p, 1] = (a[0] * y - a[3] * x) / det + 0.5
        for c in range(2):
            own = landmarks[i, 2 * p + c]
            points[p, c] = own if np.isfinite(own) else points[p, c]
            known &= np.isfinite(points[p, c])
    for p in range(5):
        for c in range(2):
            points[p, c] = (points[p, c] if known else _USUAL[2 * p + c]) * SIDE - 0.5
    mx, my = (points[3, 0] + points[4, 0]) / 2, (points[3, 1] + points[4, 1]) / 2
    dx, dy = mx - (points[0, 0] + points[1, 0]) / 2, my - (points[0, 1] + points[1, 1]) / 2
    length = np.sqrt(dx * dx + dy * dy)
    across, along = points[1, 0] - points[0, 0], points[1, 1] - points[0, 1]
    unit = max(np.sqrt(across * across + along * along), 0.8 * length, 0.08 * SIDE)
    dx, dy = dx / max(length, 1e-6), dy / max(length, 1e-6)
    zones[:] = 0
    _mark(zones, 1, points[0, 0], points[0, 1], dx, dy, _EYE[0] * unit, _EYE[1] * unit, _EYE[2] * unit)
    _mark(zones, 1, points[1, 0], points[1, 1], dx, dy, _EYE[0] * unit, _EYE[1] * unit, _EYE[2] * unit)
    _mark(zones, 2, mx, my, dx, dy, _MOUTH[0] * unit, _MOUTH[1] * unit, _MOUTH[2] * unit)


@compiled
def _mark(
    zones: Indices,
    zone: int,
    x: float,
    y: float,
    dx: float,
    dy: float,
    aside: float,
    above: float,
    below: float,
) -> None:
    for row in range(SIDE):
        for column in range(SIDE):
            u, v = column - x, row - y
            along = u * dx + v * dy
            if (abs(u * dy - v * dx) < aside) & (along > -above) & (along < below):
                zones[row * SIDE + column] = zone


@compiled
def _find_changes(room: Room, sums: Doubles) -> int:
    """Label the connected pixels that noise does not explain (row 0 of the labels); return the highest label.

    The first sums (parts, 16) are: pixels, those in the zones of eyes and mouth, the most squared deviations, and
    residual's energy, explained and all.
    """
    pictures, changed, labels, zones = room[0], room[5][1], room[6][0], room[6][2]
    for k in range(SIZE):
        squares = pictures[SQUARES, k]
        changed[k] = (
            (squares > _CHANGED * pictures[VARIANCE, k]) & (squares > _CHANGED_LEVELS) & (pictures[MASK, k] > 0)
        )
        labels[k] = 0
    count = 0
    for k in range(SIZE):
        if changed[k] and labels[k] == 0:
            count += 1
            flood(changed, k, count, labels, room[8])
    sums[: count + 1] = 0.0
    for k in range(SIZE):
        part = labels[k]
        if part > 0:
            sums[part, _PIXELS] += 1
            sums[part, _IN_ZONES] += zones[k] > 0
            sums[part, _STRONGEST] = max(
                sums[part, _STRONGEST], float(pictures[SQUARES, k]) / float(pictures[VARIANCE, k])
            )
            sums[part, _SHIFTED] += pictures[EXPLAINED, k]
            sums[part, _ALL] += pictures[UNEXPLAINED, k]
    return count


@compiled
def _grow(room: Room) -> None:
    """Write the areas of change into row 1 of the labels: changes and one pixel more, of two the later."""
    labels, areas = room[6][0], room[6][1]
    for y in range(SIDE):
        for x in range(SIDE):
            highest = 0
            if room[0][MASK, y * SIDE + x] > 0:
                for row in range(max(y - 1, 0), min(y + 2, SIDE)):
                    for column in range(max(x - 1, 0), min(x + 2, SIDE)):
                        highest = max(highest, labels[row * SIDE + column])
            areas[y * SIDE + x] = highest


@compiled
def _find_leftover(room: Room) -> None:
    """Fill ``A`` with the residual in levels, low frequencies and all, ``B`` and ``C`` with its blurs.

    It is the template less the other at its local tone (``D``).
    """
    pictures = room[0]
    for k in range(SIZE):
        pictures[D, k] = pictures[GAIN, k] * pictures[LEVEL, k]
        pictures[E, k] = pictures[MASK, k] * pictures[TRUST, k]
        pictures[F, k] = (pictures[TEMPLATE, k] - pictures[D, k]) * pictures[E, k]
    smooth(room, F, TONE, A)
    smooth(room, E, TONE, B)
    for k in range(SIZE):
        offset = pictures[A, k] / (pictures[B, k] + np.float32(1e-3))
        pictures[A, k] = (pictures[TEMPLATE, k] - pictures[D, k] - offset) * pictures[MASK, k]
    smooth(room, A, NOISE, B)
    smooth(room, A, FINE, C)


@compiled
def _sum_areas(room: Room, noise: float, sums: Doubles) -> None:
    """Add up what tells overlays from movements over the areas of change."""
    pictures, areas = room[0], room[6][1]
    deviation(room, TEMPLATE, 1, E)
    deviation(room, D, 1, F)
    big, flat = np.float32(max(8.0, 3.0 * noise)), np.float32(1.0 + noise)
    one, three = np.float32(1), np.float32(3)
    for k in range(SIZE):
        area = areas[k]
        if area > 0:
            left, first, second = pictures[A, k], pictures[E, k], pictures[F, k]
            sums[area, _AREA] += 1
            sums[area, _OWN] += pictures[OWN, k] * pictures[OWN, k]
            sums[area, _MATCHED] += pictures[MATCHED, k] * pictures[MATCHED, k]
            sums[area, _FLAT] += (first < flat) & (second > three * (one + first))
            sums[area, _OTHER_FLAT] += (second < flat) & (first > three * (one + second))
            if abs(left) > big:
                sums[area, _SIGNED] += left
                sums[area, _UNSIGNED] += abs(left)
            sums[area, _FINEST] += (left - pictures[B, k]) ** 2
            sums[area, _FINE] += (left - pictures[C, k]) ** 2


@compiled
def _find_edges(room: Room, least: float, along: int, across: int, column: int, sums: Doubles) -> None:
    """Find the longest straight edge of the leftover in each area: pixels in a line that rise, or fall, at once.

    Args:
        room: of the pair
        least: levels by which an edge rises
        along: how far the next pixel of an edge is in a row of the room
        across: how far the pixel is from which the edge rises
        column: of the sums
        sums: filled

    """
    left, areas, limit = room[0][A], room[6][1], np.float32(least)
    for line in range(1, SIDE):
        rising = falling = 0
        for place in range(SIDE):
            k = line * across + place * along
            rise = left[k] - left[k - across]
            area = areas[k]
            rising = rising + 1 if area > 0 and rise > limit else 0
            falling = falling + 1 if area > 0 and -rise > limit else 0
            if area > 0:
                sums[area, column] = max(sums[area, column], float(rising), float(falling))


@compiled
def _overlay_odds(sums: Doubles, outside: float) -> float:
    """Return the log-odds that a change was laid over the picture, given its sums; see ``OVERLAY``."""
    whole = max(sums[_AREA], 1.0)
    odds = OVERLAY[0] + OVERLAY[1] * sums[_VERTICAL] / SIDE + OVERLAY[2] * sums[_HORIZONTAL] / SIDE
    odds += OVERLAY[3] * abs(np.log((sums[_OWN] + 10) / (sums[_MATCHED] + 10)))
    odds += OVERLAY[4] * np.log(sums[_SHIFTED] / (sums[_ALL] + 1) + 0.02)
    odds += OVERLAY[5] * abs(sums[_SIGNED]) / (sums[_UNSIGNED] + 1)
    odds += OVERLAY[6] * sums[_FINEST] / (sums[_FINE] + 1)
    odds += OVERLAY[7] * np.sqrt(max(sums[_FLAT], sums[_OTHER_FLAT]) / whole) + OVERLAY[8] * whole / SIZE
    return float(odds + OVERLAY[9] * (1 - sums[_IN_ZONES] / max(sums[_PIXELS], 1.0)) + OVERLAY[10] * outside)


@compiled
def _judge_changes(room: Room, noise: float, sums: Doubles) -> float:
    """Return the least log-odds of being an overlay of what changed at eyes and mouth.

    Row 2 of the flags is set but where something was laid over the picture.
    """
    labels, still = room[6][0], room[5][2]
    still[:] = True
    count = _find_changes(room, sums)
    facial = np.zeros(count + 1, dtype=np.bool_)
    every = within = 0.0
    for part in range(1, count + 1):
        size = sums[part, _PIXELS]
        every += size
        within += sums[part, _IN_ZONES]
        facial[part] = size >= _LEAST_CHANGE and sums[part, _IN_ZONES] >= _FACIAL * size
        facial[part] &= sums[part, _STRONGEST] >= _STRONG
    if not facial.any():
        return NO_CHANGE
    _grow(room)
    _find_leftover(room)
    _sum_areas(room, noise, sums)
    least = max(12.0, 4.0 * noise)
    _find_edges(room, least, SIDE, 1, _VERTICAL, sums)
    _find_edges(room, least, 1, SIDE, _HORIZONTAL, sums)
    overlay = NO_CHANGE
    for part in range(1, count + 1):
        if facial[part]:
            sums[part, _ODDS] = _overlay_odds(sums[part], (every - within) / every)
            overlay = min(overlay, sums[part, _ODDS])
    for k in range(SIZE):
        still[k] = not (facial[labels[k]] and sums[labels[k], _ODDS] > 0)
    return overlay


@compiled
def _in_deviations(room: Room, zone: int) -> float:
    """Return the 95 % quantile of the residual in deviations of the noise model over a zone; 0 if it is tiny.

    ``A`` holds the squared deviations.
    """
    pictures, zones, still = room[0], room[6][2], room[5][2]
    seen = 0
    for k in range(SIZE):
        counts = zones[k] == zone and still[k] and pictures[MASK, k] > 0
        pictures[B, k] = np.float32(counts)
        seen += counts
    if seen < _LEAST_ZONE * SIZE:
        return 0.0
    return float(np.sqrt(masked_quantile(room, pictures[A], pictures[B], 0.95)))


@compiled
def _contrast_quantile(room: Room, row: int, share: float) -> float:
    """Return the quantile of a row over pixels, weighted by their contrast (``F``)."""
    pictures, numbers, weights = room[0], room[11], room[8]
    for k in range(SIZE):
        numbers[k] = pictures[row, k]
        weights[k] = np.int64(pictures[F, k] * np.float32(65536))
    return quantile(room, SIZE, share)


@compiled
def _weigh(room: Room, model: Doubles, sums: Doubles, out: Doubles) -> None:
    """Write the evidence (see ``changes.EVIDENCE``) of a settled pair."""
    pictures, lanes, residual = room[0], room[3], room[2][RESIDUAL]
    _displace(room)
    out[11] = _judge_changes(room, np.sqrt(model[0]), sums)
    for k in range(SIZE):
        pictures[A, k] = pictures[SQUARES, k] / pictures[VARIANCE, k]
    out[8], out[9], out[10] = _in_deviations(room, 1), _in_deviations(room, 2), _in_deviations(room, 0)
    for target, source in ((B, OWN), (C, MATCHED)):
        multiply(pictures[A], pictures[source], pictures[source])
        smooth(room, A, ENERGIES, target)
    texture = 0
    most, four, one = np.float32(2000), np.float32(4), np.float32(1)
    for k in range(SIZE):
        energy, mask = pictures[ENERGY, k], pictures[MASK, k]
        pictures[F, k] = np.sqrt(min(energy, most)) * mask
        texture += energy * mask > _TEXTURE
        pictures[D, k] = pictures[SQUARES, k] / (max(pictures[B, k], pictures[C, k]) + four)
        pictures[E, k] = pictures[EXPLAINED, k] / (pictures[UNEXPLAINED, k] + one)
    out[0], out[1] = _contrast_quantile(room, D, 0.5), _contrast_quantile(room, D, 0.9)
    out[2], out[3] = _contrast_quantile(room, LENGTH, 0.5), _contrast_quantile(room, LENGTH, 0.75)
    out[4] = _contrast_quantile(room, E, 0.5)
    mask = pictures[MASK]
    out[5] = dot(pictures[EXPLAINED], mask, lanes) / (dot(pictures[UNEXPLAINED], mask, lanes) + 1)
    out[6], out[7] = model[0], model[1]
    out[12] = texture / SIZE
    out[13] = dot(mask, pictures[ONES], lanes) / SIZE
    multiply(pictures[A], residual, pictures[ONES])
    smooth(room, A, NOISE, B)
    multiply(pictures[B], pictures[B], pictures[B])
    out[14] = dot(pictures[B], mask, lanes) / (dot(residual, residual, lanes) + 1)


@compiled
def _lay(picture: Pixels, mirrored: bool, row: Floats) -> None:
    for y in range(SIDE):
        for x in range(SIDE):
            row[y * SIDE + x] = picture[y, SIDE - 1 - x if mirrored else x]


@entry
def differ(
    levels: Pixels,
    landmarks: Doubles,
    i: Indices,
    j: Indices,
    mirrored: Flags,
    maps: Doubles,
    asked: Flags,
    weighed: bool,
    numbers: Ints,
    values: Floats,
    differences: Doubles,
) -> None:
    """See ``changes.differ``; ``differences`` (M, 15) comes as NaN, and values (2304,) are numbers' (2304,) memory."""
    room = (
        np.zeros((26, SIZE), dtype=np.float32),
        new_template(SIDE),
        np.zeros((6, SIZE), dtype=np.float32),
        np.empty((3, LANES), dtype=np.float32),
        blurs(),
        np.zeros((3, SIZE), dtype=np.bool_),
        np.zeros((3, SIZE), dtype=np.int64),
        numbers,
        np.zeros(SIZE, dtype=np.int64),
        np.zeros(2048, dtype=np.int64),
        np.zeros((2, 2 * SIZE), dtype=np.float32),
        values,
    )
    room[0][ONES, :] = np.float32(1)
    model, sums = np.zeros(2), np.zeros((_PARTS, 17))
    for n in range(i.shape[0]):
        if not asked[n]:
            continue
        _lay(levels[i[n]], False, room[0][TEMPLATE])
        _lay(levels[j[n]], mirrored[n], room[0][OTHER])
        a = maps[n].copy()
        make_equally_sharp(room, a)
        if not settle(room, a, model):
            continue
        for c in range(6):
            maps[n, c] = a[c]
        if weighed:
            _lay(levels[i[n]], False, room[0][TEMPLATE])  # as sharp as it was
            _find_zones(landmarks, a, i[n], j[n], mirrored[n], room[6][2])
            _weigh(room, model, sums, differences[n])
