"""The first compiled part of ``changes``: makes the map between two registered pictures exact, and compares them.

A pair's pictures (48, 48) lie flat in rows of one array, so that all of it stays in the processor's cache. Sums that
decide are taken in lanes (see ``registration``), quantiles by counting whole numbers: one result on every machine.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from curation.checks.duplicates.kernels.registration import (
    GX,
    GXX,
    GXY,
    GY,
    GYY,
    RESIDUAL,
    WEIGHT,
    Doubles,
    Floats,
    compiled,
    compose_with_inverse,
    dot,
    normal_equations,
    solve,
)

Flags = NDArray[np.bool_]
Indices = NDArray[np.int64]
Ints = NDArray[np.int32]

SIDE = cast(int, np.int64(48))
SIZE = cast(int, np.int64(48 * 48))
"""Numbers of NumPy's, as all in this file that functions are given: see ``comparison``."""

DETAIL, TONE, NOISE, ENERGIES, FINE = cast(list[int], np.arange(5))
_DEVIATIONS = (4.0, 7.0, 1.0, 2.0, 3.0, 0.6, 0.9, 1.2, 1.6, 2.1, 2.7)
_FIRST_SOFTENING = 5
"""Standard deviations, px: of the local mean that details leave out; of the windows in which tone is matched, and
residuals and energies are averaged; of what fine details leave out; and the blurs of which one makes the sharper
picture as soft as the other."""

_AS_SHARP = np.float32(1.15)
"""Ratio of sharpness up to which pictures are left as they are."""

_MARGIN = cast(int, np.int64(24))
_WIDTH = cast(int, np.int64(48 + 2 * 24))
"""Zeros before and behind a picture that is blurred, px: the widest blur reaches 21, in steps of four."""

_STEPS = 4
_STEP_DONE = 0.02
"""Gauss-Newton steps at most, and the movement of the corners, px, that ends them."""

_FARTHEST_STEP = 0.05
"""A step that moves the centre by more of the side leads nowhere."""

_LEAST_INSIDE = 0.12
"""Share of the template's pixels that must remain for anything to be said."""

_LEAST_NOISE = 0.5
_LEAST_CONTRAST_NOISE = 0.002
"""Rounding and interpolation leave so much in any copy: levels squared, and share of the energy."""

_LOW, _HIGH = np.float32(2.0), np.float32(253.0)
"""Levels beyond which a picture is clipped: what it had there is lost, and says nothing unless both are clipped."""

_TAIL = np.float32(6.0)
"""Squared deviations at which a pixel has half its weight."""

_PLAIN, _PLAIN_SHARE, _LEAST_PLAIN = 2.0, 0.05, 0.6
"""Levels: a pixel is plain where the deviation of the 5 x 5 around it is below 2, or below this share of the picture's
own (dark pictures have little of everything), but never below what rounding makes."""

(
    TEMPLATE,
    OTHER,
    SEEN,
    MASK,
    LEVEL,
    OWN,
    DETAILS,
    OWN_ENERGY,
    MATCHED,
    GAIN,
    SQUARES,
    ENERGY,
    VARIANCE,
    TRUST,
    EXPLAINED,
    UNEXPLAINED,
    LENGTH,
    ONES,
    A,
    B,
    C,
    D,
    E,
    F,
    COLUMNS,
    ROWS,
) = cast(list[int], np.arange(26))
"""Rows of a pair's room: both pictures' levels; the other under the map, there at the template's tone as a whole, and
what counts (inside both, no ground); details of the template, of the other, and of that at the template's tone and
sharpness; mean squares around a pixel of the residual, and of details, the lesser of both; what noise is expected to
leave of the first; weights; see ``_displace``; the others are for what is needed for a moment. The residual is row
``RESIDUAL`` of the normal equations' own room."""

Room = tuple[Floats, Floats, Floats, Floats, Floats, Flags, Indices, Ints, Indices, Indices, Floats, Floats]
"""All that a pair needs: (26, n * n) see above; template and other of ``registration``; (3, ``LANES``); (11, 24)
halves of the blurs; (3, n * n) ground and so on; (2, n * n) parts and areas of change, zones of the face; numbers whose
order is that of a row's values, their weights, and counts; (2, 96 * 48) a picture between zeros; those
numbers as the values that they are."""


# --- pictures ---------------------------------------------------------------------------------------------------------


@compiled
def blurs() -> Floats:
    """Return the halves of the Gaussians, the middle first, zeros behind."""
    taps = np.zeros((len(_DEVIATIONS), _MARGIN + 2), dtype=np.float32)
    for b in range(len(_DEVIATIONS)):
        total = 0.0
        for k in range(_MARGIN):
            if k <= 3 * _DEVIATIONS[b]:
                # rounded, because the last bit of exp differs between machines
                taps[b, k] = np.rint(np.exp(-0.5 * (k / _DEVIATIONS[b]) ** 2) * 1048576.0)
                total += taps[b, k] * (1.0 if k == 0 else 2.0)
        for k in range(_MARGIN):
            taps[b, k] /= np.float32(total)
    return taps


@compiled
def _add_four(sums: Floats, at: int, source: Floats, middle: int, apart: int, taps: Floats, first: int) -> None:
    """Add four pairs of rows that are ``first * apart`` and more before and behind ``middle``."""
    t0, t1, t2, t3 = taps[first], taps[first + 1], taps[first + 2], taps[first + 3]
    # unsigned: a negative place would count from the end, and asking for that at each pixel leaves no vectors
    to, step = np.uint64(at), np.uint64(apart)
    a, b = np.uint64(middle - first * apart), np.uint64(middle + first * apart)
    c, d = np.uint64(a - step), np.uint64(b + step)
    e, f = np.uint64(c - step), np.uint64(d + step)
    g, h = np.uint64(e - step), np.uint64(f + step)
    for n in range(SIDE):
        x = np.uint64(n)
        near = t0 * (source[a + x] + source[b + x]) + t1 * (source[c + x] + source[d + x])
        sums[to + x] += near + (t2 * (source[e + x] + source[f + x]) + t3 * (source[g + x] + source[h + x]))


@compiled
def smooth(room: Room, source: int, blur: int, target: int) -> None:
    """Blur a row by a Gaussian; what is outside the picture weighs nothing."""
    taps, picture, tall, wide, out = room[4][blur], room[0][source], room[10][0], room[10][1], room[0][target]
    for k in range(SIZE):
        tall[_MARGIN * SIDE + k] = picture[k]
    for y in range(SIDE):
        at, middle = y * _WIDTH + _MARGIN, (y + _MARGIN) * SIDE
        for x in range(SIDE):
            wide[at + x] = taps[0] * tall[middle + x]
        first = 1
        while taps[first] > 0:
            _add_four(wide, at, tall, middle, SIDE, taps, first)
            first += 4
    for y in range(SIDE):
        at, middle = y * SIDE, y * _WIDTH + _MARGIN
        for x in range(SIDE):
            out[at + x] = taps[0] * wide[middle + x]
        first = 1
        while taps[first] > 0:
            _add_four(out, at, wide, middle, 1, taps, first)
            first += 4


@compiled
def multiply(target: Floats, one: Floats, two: Floats) -> None:
    """Write the product of two rows."""
    for k in range(SIZE):
        target[k] = one[k] * two[k]


@compiled
def _soften(picture: Floats, columns: Floats, out: Floats) -> None:
    """Average with both neighbours along both axes, weights (1, 4, 1) / 6; edges are repeated."""
    four, share = np.float32(4), np.float32(1 / 36)
    for y in range(SIDE):
        above, below = max(y - 1, 0) * SIDE, min(y + 1, SIDE - 1) * SIDE
        for x in range(SIDE):
            columns[y * SIDE + x] = picture[above + x] + four * picture[y * SIDE + x] + picture[below + x]
    for y in range(SIDE):
        first, last = y * SIDE, y * SIDE + SIDE - 1
        for k in range(first + 1, last):
            out[k] = share * (columns[k - 1] + four * columns[k] + columns[k + 1])
        out[first] = share * (np.float32(5) * columns[first] + columns[first + 1])
        out[last] = share * (np.float32(5) * columns[last] + columns[last - 1])


@compiled
def gradients(picture: Floats, factor: float, gx: Floats, gy: Floats) -> None:
    """Write half the differences of a pixel's neighbours, times a factor; 0 at the edge."""
    for k in range(SIZE):
        gx[k] = gy[k] = np.float32(0)
    half = np.float32(factor / 2)
    for y in range(SIDE):
        for k in range(y * SIDE + 1, y * SIDE + SIDE - 1):
            gx[k] = (picture[k + 1] - picture[k - 1]) * half
    for k in range(SIDE, SIZE - SIDE):
        gy[k] = (picture[k + SIDE] - picture[k - SIDE]) * half


@compiled
def _laplacian(picture: Floats, out: Floats) -> None:
    four = np.float32(4)
    for k in range(SIZE):
        out[k] = np.float32(0)
    for y in range(1, SIDE - 1):
        for k in range(y * SIDE + 1, y * SIDE + SIDE - 1):
            out[k] = picture[k - SIDE] + picture[k + SIDE] + picture[k - 1] + picture[k + 1] - four * picture[k]


@compiled
def deviation(room: Room, source: int, reach: int, target: int) -> None:
    """Write the standard deviation of the (2 reach + 1)^2 levels around each pixel; edges are repeated."""
    picture, sums, squares, out = room[0][source], room[0][COLUMNS], room[0][ROWS], room[0][target]
    middle, share = np.float32(128), np.float32(1.0 / (2 * reach + 1) ** 2)
    for y in range(SIDE):
        for x in range(SIDE):
            sums[y * SIDE + x] = squares[y * SIDE + x] = np.float32(0)
        for step in range(-reach, reach + 1):
            row = min(max(y + step, 0), SIDE - 1) * SIDE
            for x in range(SIDE):
                level = picture[row + x] - middle
                sums[y * SIDE + x] += level
                squares[y * SIDE + x] += level * level
    for y in range(SIDE):
        for x in range(SIDE):
            total = square = np.float32(0)
            for step in range(-reach, reach + 1):
                k = y * SIDE + min(max(x + step, 0), SIDE - 1)
                total += sums[k]
                square += squares[k]
            mean = share * total
            out[y * SIDE + x] = np.sqrt(max(share * square - mean * mean, np.float32(0)))


@compiled
def sample(room: Room, maps: Doubles) -> None:
    """Fill ``SEEN`` with the other picture under the map, and ``MASK`` with what lies inside it, less one pixel."""
    picture, levels, inside = room[0][OTHER], room[0][SEEN], room[0][MASK]
    centre, most = np.float32((SIDE - 1) / 2), np.float32(SIDE - 1.001)
    first, last, nothing, side = np.float32(0.5), np.float32(SIDE - 1.5), np.float32(0), np.float32(SIDE)
    a0, a1, a2 = np.float32(maps[0]), np.float32(maps[1]), np.float32(maps[2])
    a3, a4, a5 = np.float32(maps[3]), np.float32(maps[4]), np.float32(maps[5])
    place = np.empty(SIDE, dtype=np.int32)
    fx, fy = np.empty(SIDE, dtype=np.float32), np.empty(SIDE, dtype=np.float32)
    for row in range(SIDE):
        v = np.float32((row - (SIDE - 1) / 2) / SIDE)
        edge = row == 0 or row == SIDE - 1
        for column in range(SIDE):
            u = np.float32((column - (SIDE - 1) / 2) / SIDE)
            x = (a0 * u + a1 * v + a2) * side + centre
            y = (a3 * u + a4 * v + a5) * side + centre
            seen = (x >= first) & (y >= first) & (x <= last) & (y <= last)
            inner = seen and not edge and 0 < column < SIDE - 1
            inside[row * SIDE + column] = np.float32(1) if inner else nothing
            x, y = min(max(x, nothing), most), min(max(y, nothing), most)
            left, top = np.int32(x), np.int32(y)
            fx[column], fy[column] = x - np.float32(left), y - np.float32(top)
            place[column] = top * np.int32(SIDE) + left
        for column in range(SIDE):
            k = place[column]
            upper = picture[k] + fx[column] * (picture[k + 1] - picture[k])
            lower = picture[k + SIDE] + fx[column] * (picture[k + SIDE + 1] - picture[k + SIDE])
            levels[row * SIDE + column] = upper + fy[column] * (lower - upper)


@compiled
def _spread_to(flags: Flags, reach: int, out: Flags) -> None:
    """Set ``out`` where a flag is set within ``reach`` pixels along both axes."""
    for y in range(SIDE):
        for x in range(SIDE):
            if flags[y * SIDE + x]:
                for row in range(max(y - reach, 0), min(y + reach + 1, SIDE)):
                    for column in range(max(x - reach, 0), min(x + reach + 1, SIDE)):
                        out[row * SIDE + column] = True


@compiled
def flood(flags: Flags, start: int, label: int, labels: Indices, waiting: Indices) -> None:
    """Give the connected pixels around ``start`` a label; diagonal neighbours are connected."""
    if not flags[start] or labels[start] != 0:
        return
    labels[start] = label
    waiting[0] = start
    count = 1
    while count > 0:
        count -= 1
        y, x = divmod(waiting[count], SIDE)
        for row in range(max(y - 1, 0), min(y + 2, SIDE)):
            for column in range(max(x - 1, 0), min(x + 2, SIDE)):
                k = row * SIDE + column
                if flags[k] and labels[k] == 0:
                    labels[k] = label
                    waiting[count] = k
                    count += 1


@compiled
def _find_ground(room: Room) -> None:
    """Set row 0 of the flags where both pictures are plain and connected with the edge, or one of them is clipped."""
    pictures, flags, (labels, waiting) = room[0], room[5], (room[6][0], room[8])
    ground, plain = flags[0], flags[1]
    ground[:] = False
    plain[:] = True
    labels[:] = 0
    found = False
    for source in (TEMPLATE, SEEN):
        mean = dot(pictures[source], pictures[ONES], room[3]) / SIZE
        for k in range(SIZE):
            pictures[A, k] = pictures[source, k] - np.float32(mean)
        own = np.sqrt(dot(pictures[A], pictures[A], room[3]) / SIZE)
        least = np.float32(min(max(_PLAIN_SHARE * own, _LEAST_PLAIN), _PLAIN))
        deviation(room, source, 2, B)
        for k in range(SIZE):
            plain[k] &= pictures[B, k] < least
    for n in range(SIDE):
        for k in (n, SIZE - SIDE + n, n * SIDE, n * SIDE + SIDE - 1):
            found |= plain[k]
            flood(plain, k, 1, labels, waiting)
    if found:
        for k in range(SIZE):
            plain[k] = labels[k] != 0
        _spread_to(plain, 2, ground)
    found = False
    for k in range(SIZE):
        one, two = pictures[TEMPLATE, k], pictures[SEEN, k]
        plain[k] = ((one < _LOW) != (two < _LOW)) | ((one > _HIGH) != (two > _HIGH))
        found |= plain[k]
    if found:
        _spread_to(plain, 1, ground)


@compiled
def _pass_over(numbers: Ints, weights: Indices, mass: Indices, shift: int, bits: int, prefix: int) -> None:
    """Add up the weights of the numbers that begin with ``prefix``, by their next ``bits``."""
    for n in range(1 << bits):
        mass[n] = 0
    for k in range(numbers.shape[0]):
        number = np.int64(numbers[k]) & 0x7FFFFFFF
        if number >> (shift + bits) == prefix:
            mass[(number >> shift) & ((1 << bits) - 1)] += weights[k]


@compiled
def quantile(room: Room, count: int, share: float) -> float:
    """Return the weighted quantile of the first ``count`` values, none below 0; 0 where all weights are.

    Such numbers are in order of their bits, so weights are counted by the first bits, then by the next (radix).
    """
    numbers, weights, mass = room[7][:count], room[8][:count], room[9]
    total = 0
    for k in range(count):
        total += weights[k]
    if total == 0:
        return 0.0
    wanted = max(np.int64(np.ceil(share * total)), 1)
    prefix = 0
    for shift, bits in ((20, 11), (10, 10), (0, 10)):
        _pass_over(numbers, weights, mass, shift, bits, prefix)
        place = 0
        while mass[place] < wanted:
            wanted -= mass[place]
            place += 1
        prefix = (prefix << bits) | place
    numbers[0] = np.int32(prefix)
    return float(room[11][0])


@compiled
def masked_quantile(room: Room, values: Floats, mask: Floats, share: float) -> float:
    """Return the quantile of the values, none below 0, of the pixels within the mask; 0 where there are none."""
    numbers, weights, count = room[11], room[8], 0
    for k in range(SIZE):
        numbers[count] = values[k]
        weights[count] = 1
        count += mask[k] > 0
    return quantile(room, count, share)


# --- comparison -------------------------------------------------------------------------------------------------------


@compiled
def _level(room: Room) -> None:
    """Fill ``LEVEL`` with the other's levels, mapped by the cubic that fits the template's best."""
    pictures, lanes = room[0], room[3]
    template, terms, weight = pictures[TEMPLATE], pictures[A], pictures[B]
    matrix, right, moments = np.empty((4, 4)), np.empty(4), np.empty(7)
    for k in range(SIZE):
        terms[k] = pictures[SEEN, k] * np.float32(1 / 128) - np.float32(1)
        weight[k] = pictures[MASK, k] * pictures[TRUST, k]
    for power in range(7):
        moments[power] = dot(weight, pictures[ONES], lanes)
        if power < 4:
            right[power] = dot(weight, template, lanes)
        for k in range(SIZE):
            weight[k] *= terms[k]
    # where levels are few, the curve stays a line
    ridge = 1e-4 * (moments[0] + moments[2] + moments[4] + moments[6]) + 1e-6
    for r in range(4):
        for c in range(4):
            matrix[r, c] = moments[r + c]
        matrix[r, r] += (ridge if r > 1 else 0.0) + 1e-6
    curve = solve(matrix, right, 0.0)
    c0, c1, c2, c3 = np.float32(curve[0]), np.float32(curve[1]), np.float32(curve[2]), np.float32(curve[3])
    for k in range(SIZE):
        level = ((c3 * terms[k] + c2) * terms[k] + c1) * terms[k] + c0
        pictures[LEVEL, k] = level if pictures[MASK, k] * pictures[TRUST, k] > 0 else template[k]


@compiled
def _details(room: Room, source: int, target: int) -> None:
    """Take the local mean (of what counts) off a softened picture; ``C`` holds the window's weight."""
    pictures = room[0]
    multiply(pictures[A], pictures[source], pictures[MASK])
    smooth(room, A, DETAIL, B)
    _soften(pictures[source], pictures[COLUMNS], pictures[A])
    for k in range(SIZE):
        pictures[target, k] = (pictures[A, k] - pictures[B, k] / pictures[C, k]) * pictures[MASK, k]


@compiled
def _match(room: Room) -> None:
    """Bring the other's details to the template's tone and sharpness: ``GAIN``, ``MATCHED`` and the residual."""
    pictures, lanes, residual = room[0], room[3], room[2][RESIDUAL]
    own, details, mask, matched = pictures[OWN], pictures[DETAILS], pictures[MASK], pictures[MATCHED]
    weighted, edges = pictures[A], pictures[B]
    two, least, most = np.float32(2), np.float32(0.1), np.float32(8)
    for k in range(SIZE):
        weighted[k] = pictures[TRUST, k] * mask[k]
        pictures[C, k] = weighted[k] * own[k] * details[k]
        pictures[D, k] = weighted[k] * details[k] * details[k]
    smooth(room, C, TONE, E)
    smooth(room, D, TONE, F)
    for k in range(SIZE):
        pictures[GAIN, k] = min(max((pictures[E, k] + two) / (pictures[F, k] + two), least), most)
        matched[k] = pictures[GAIN, k] * details[k]
    _laplacian(matched, edges)
    for k in range(SIZE):
        weighted[k] *= edges[k]
        residual[k] = own[k] - matched[k]
    sharpness = np.float32(dot(weighted, residual, lanes) / (dot(weighted, edges, lanes) + 1e-3))
    for k in range(SIZE):
        matched[k] = (matched[k] + sharpness * edges[k]) * mask[k]
        residual[k] = own[k] - matched[k]


@compiled
def _model_noise(room: Room, model: Doubles) -> None:
    """Find ``SQUARES`` and ``ENERGY``, the constant and the share of energy that typical squares have, and weights."""
    pictures, residual = room[0], room[2][RESIDUAL]
    squares, energy, mask = pictures[SQUARES], pictures[ENERGY], pictures[MASK]
    multiply(pictures[A], residual, residual)
    smooth(room, A, NOISE, SQUARES)
    multiply(pictures[A], pictures[MATCHED], pictures[MATCHED])
    smooth(room, A, ENERGIES, ENERGY)
    for k in range(SIZE):
        energy[k] = min(energy[k], pictures[OWN_ENERGY, k])
    model[0] = max(masked_quantile(room, squares, mask, 0.25), _LEAST_NOISE)
    constant, middle = np.float32(model[0]), np.float32(masked_quantile(room, energy, mask, 0.5))
    for k in range(SIZE):
        pictures[A, k] = mask[k] if energy[k] >= middle else np.float32(0)
        pictures[B, k] = max(squares[k] - constant, np.float32(0)) / (energy[k] + np.float32(1))
    model[1] = max(masked_quantile(room, pictures[B], pictures[A], 0.5), _LEAST_CONTRAST_NOISE)
    share = np.float32(model[1])
    for k in range(SIZE):
        pictures[VARIANCE, k] = constant + share * energy[k]
        pictures[TRUST, k] = np.float32(1) / (np.float32(1) + squares[k] / (pictures[VARIANCE, k] * _TAIL))


@compiled
def _compare(room: Room, a: Doubles, rounds: int, model: Doubles) -> float:
    """Compare a pair under its map; return the share of the template that counts."""
    pictures = room[0]
    sample(room, a)
    for k in range(SIZE):
        if room[5][0, k]:
            pictures[MASK, k] = np.float32(0)
    _level(room)
    smooth(room, MASK, DETAIL, C)
    for k in range(SIZE):
        pictures[C, k] += np.float32(1e-6)
    _details(room, TEMPLATE, OWN)
    _details(room, LEVEL, DETAILS)
    multiply(pictures[A], pictures[OWN], pictures[OWN])
    smooth(room, A, ENERGIES, OWN_ENERGY)
    for _ in range(rounds):
        _match(room)
        _model_noise(room, model)
    return dot(pictures[MASK], pictures[ONES], room[3]) / SIZE


@compiled
def _step(room: Room) -> Doubles:
    """Return by what the template has to move towards the other picture (6,)."""
    pictures, template, floats = room[0], room[1], room[2]
    gx, gy = template[GX], template[GY]
    gradients(pictures[OWN], float(SIDE), gx, gy)
    for k in range(SIZE):
        template[GXX, k] = gx[k] * gx[k]
        template[GXY, k] = gx[k] * gy[k]
        template[GYY, k] = gy[k] * gy[k]
        floats[WEIGHT, k] = pictures[TRUST, k] * pictures[MASK, k] / pictures[VARIANCE, k]
        floats[RESIDUAL, k] *= -floats[WEIGHT, k]
    matrix, right = normal_equations(template, floats, room[3])
    return solve(matrix, right, 1e-3)


@compiled
def settle(room: Room, a: Doubles, model: Doubles) -> bool:
    """Refine map ``a`` in place until nothing moves; return whether it settled, the pair compared under it."""
    multiply(room[0][TRUST], room[0][ONES], room[0][ONES])
    sample(room, a)
    _find_ground(room)
    for turn in range(_STEPS):
        if _compare(room, a, 2 if turn == 0 else 1, model) < _LEAST_INSIDE:
            return False
        step = _step(room)
        size = abs(step[0]) + abs(step[1]) + abs(step[3]) + abs(step[4]) + 2 * (abs(step[2]) + abs(step[5]))
        size *= SIDE / 4
        if max(abs(step[2]), abs(step[5])) > _FARTHEST_STEP or size >= SIDE / 4:
            return False
        if not compose_with_inverse(a, step):
            return False
        if size < _STEP_DONE:
            break
    return _compare(room, a, 2, model) >= _LEAST_INSIDE


@compiled
def _sharpness(room: Room, source: int) -> float:
    """Return the energy of second over that of first differences, inside both: less of a blurred picture."""
    pictures, lanes = room[0], room[3]
    _laplacian(pictures[source], pictures[C])
    gradients(pictures[source], 1.0, pictures[D], pictures[E])
    for k in range(SIZE):
        pictures[D, k] = pictures[D, k] * pictures[D, k] + pictures[E, k] * pictures[E, k]
        pictures[C, k] *= pictures[C, k]
    edges = dot(pictures[C], pictures[MASK], lanes)
    return float(edges / (dot(pictures[D], pictures[MASK], lanes) + 1e-3))


@compiled
def _edge_blur(room: Room, source: int, blur: int, target: int) -> None:
    """Blur a row as if the picture went on beyond the edge."""
    smooth(room, ONES, blur, F)
    smooth(room, source, blur, target)
    for k in range(SIZE):
        room[0][target, k] /= room[0][F, k]


@compiled
def make_equally_sharp(room: Room, a: Doubles) -> None:
    """Blur the sharper of both pictures to the other's sharpness."""
    sample(room, a)
    own, other = _sharpness(room, TEMPLATE), _sharpness(room, SEEN)
    if max(own, other) <= _AS_SHARP * min(own, other):
        return
    source, kept = (TEMPLATE, TEMPLATE) if own > other else (SEEN, OTHER)
    wanted = min(own, other) + 1e-6
    best, chosen = (max(own, other) + 1e-6) / wanted, -1
    for blur in range(_FIRST_SOFTENING, len(_DEVIATIONS)):
        _edge_blur(room, source, blur, A)
        ratio = (_sharpness(room, A) + 1e-6) / wanted
        apart = max(ratio, 1 / ratio)
        if apart < best:
            best, chosen = apart, blur
    if chosen >= 0:
        _edge_blur(room, kept, chosen, A)
        multiply(room[0][kept], room[0][A], room[0][ONES])
