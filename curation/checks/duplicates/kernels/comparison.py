"""The compiled part of verification: registers two small grey pictures and compares them detail by detail.

Coarse levels are registered by a similarity, finer ones by the full affine map (see ``registration``). Comparison
splits levels into bands by differences of Gaussians (Marr & Hildreth 1980), which removes slow shading, and compares
bands cell by cell, so that text, a covered patch or a frame spoil a few cells and no more.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from curation.checks.duplicates.kernels.registration import (
    INSIDE,
    LANES,
    LEVELS,
    MIN_OVERLAP,
    WARPED,
    Bytes,
    Doubles,
    Floats,
    Other,
    Stage,
    compiled,
    compose_with_inverse,
    entry,
    fit_level,
    gain_and_offset,
    inlined,
    load,
    new_other,
    new_template,
    prepare,
    too_far,
    warp,
)

Flags = NDArray[np.bool_]
Indices = NDArray[np.int64]
BytesRow = NDArray[np.int8]
Stack = NDArray[np.int8]

Starts = tuple[Bytes, Bytes]
"""See ``_lay_out_starts``."""

REGISTRATION = "b16361588178"
"""First digits of the SHA-256 of ``registration``: numba's cache sees changes in a function's own file only, so this
file must change with that one. A test compares them."""

CELLS = np.int64(6)
"""The picture is compared in 6 x 6 cells, 8 px each at a side of 48."""

_FINE = (0.7, 2.0)
_MIDDLE = (1.5, 4.0)
"""Standard deviations of the two Gaussians of a band, px of 48: details of 2 to 6 px, and of 5 to 12 px."""

_COARSE = 2.0
"""Standard deviation of what the coarse band leaves out, px of 24."""

_COARSE_CELLS = np.int64(4)
"""The cheap comparison looks at 4 x 4 cells of 6 px of 24."""

_INNER_SHARE = 0.35
"""Share of the inner 16 cells that must be as good as a median says; a patch over half of them spoils nothing."""

_NOISE = 2.0
"""Standard deviation in grey levels that a band of an empty cell has anyway (JPEG, rounding); damps its correlation."""

_DRIFT_RIDGE = 0.1
"""Share of its own curvature added to a cell's system: an edge alone says nothing about motion along it."""

_FARTHEST_DRIFT = 3.0
"""A cell's displacement estimate beyond this is taken as this, px of 48: the estimate is linear."""

_ZOOMS = (0.8, 1.0, 1.25)
_SHIFTS = (-0.12, 0.0, 0.12)
_TURNS = (-0.14, 0.14)
_SHEARS = (-0.3, 0.3)
"""Registration starts from the best of these zooms with all shifts (fractions of the side), of these turns (radians),
or of these shears: crops of 10 % on each side, either way round, and shifts so far apart that the search at 12 px
reaches what lies between them."""

_SMALL: Stage = (np.int64(4), np.int64(0))
_MIDDLING: Stage = (np.int64(2), np.int64(1))
_FURTHER: Stage = (np.int64(6), np.int64(1))
_LARGE: Stage = (np.int64(6), np.int64(1))
"""Gauss-Newton steps at most, and whether all six numbers are sought (else scale, turn and shift): at 12 px, at 24 px
before and after a first look, at 48 px. numba compiles a function anew for every int that it is given by name, once for
all numbers of NumPy's."""

_TRUST = 0.1
"""Landmarks are believed although another start correlates better by this."""

_LEAST_START = 0.0
_LEAST_CORRELATION = 0.70
_LEAST_HINT = 0.50
_LEAST_PROSPECT = 0.72
"""A pair is given up below this correlation at 12 px, this agreement at 24 px before the fit there, and after its
first steps. Of 100 candidates among the real faces 70, 44 and 14 pass; of 1000 natural copies 998, 998 and 998."""

_LEAST_DETAIL = 0.5
"""Median correlation of fine details, before the last refinement, below which a pair is given up."""

_AS_IT_IS = cast(bool, np.bool_(False))


@compiled
def _add_pair(sums: Floats, factor: float, one: Floats, two: Floats) -> None:
    for x in range(sums.shape[0]):
        sums[x] += factor * (one[x] + two[x])


@compiled
def _smooth(picture: Floats, sigma: float, out: Floats, scratch: Floats) -> None:
    """Blur by a Gaussian cut at three deviations; the edge is repeated."""
    n = picture.shape[0]
    reach = int(3.0 * sigma + 0.5)
    taps = np.empty(reach + 1, dtype=np.float32)
    for k in range(reach + 1):
        # rounded, because the last bit of exp differs between machines; the middle one is added as a pair with itself
        taps[k] = np.rint(np.exp(-0.5 * (k / sigma) ** 2) * 4096.0) * (0.5 if k == 0 else 1.0)
    total = np.float32(0)
    for k in range(reach + 1):
        total += taps[k]
    whole = np.float32(2.0 * total)
    for k in range(reach + 1):
        taps[k] /= whole
    scratch[:] = 0.0
    out[:] = 0.0
    padded = np.empty(n + 2 * reach, dtype=np.float32)
    for y in range(n):
        sums, result = scratch[y], out[y]
        for k in range(reach + 1):
            _add_pair(sums, taps[k], picture[max(y - k, 0)], picture[min(y + k, n - 1)])
        for x in range(n + 2 * reach):
            padded[x] = sums[min(max(x - reach, 0), n - 1)]
        for k in range(reach + 1):
            _add_pair(result, taps[k], padded[reach - k : reach - k + n], padded[reach + k : reach + k + n])


@compiled
def band(picture: Floats, narrow: float, wide: float) -> Floats:
    """Return the details of ``picture`` (n, n) between two Gaussians of the given standard deviations, px.

    A ``narrow`` of 0 keeps the finest details.
    """
    out = picture.copy()
    rest = np.empty_like(picture)
    scratch = np.empty_like(picture)
    if narrow > 0.0:
        _smooth(picture, narrow, out, scratch)
    _smooth(picture, wide, rest, scratch)
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            out[y, x] -= rest[y, x]
    return out


@compiled
def _weighted_quantile(values: Doubles, weights: Doubles, share: float) -> float:
    total = 0.0
    for k in range(weights.shape[0]):
        total += weights[k]
    if total <= 0.0:
        return 0.0
    order = np.empty(values.shape[0], dtype=np.int64)
    for k in range(values.shape[0]):  # sorted by insertion: there are 36 at most
        place = k
        while place > 0 and values[order[place - 1]] > values[k]:
            order[place] = order[place - 1]
            place -= 1
        order[place] = k
    passed = 0.0
    for n in range(order.shape[0]):
        passed += weights[order[n]]
        if passed >= share * total:
            return float(values[order[n]])
    return float(values[order[-1]])


@compiled
def _cells(a: Floats, b: Floats, inside: Floats, cells: np.int64, values: Doubles, weights: Doubles) -> float:
    """Fill the correlation and the weight of each of cells x cells; return the correlation of all pixels.

    Bands have mean zero, so products are not centred again. The weight is the lesser of both energies: a cell that is
    empty in one picture only (covered) counts little, and text in one picture adds no weight.
    """
    width = a.shape[0] // cells
    all_ab = all_aa = all_bb = 0.0
    for cy in range(cells):
        for cx in range(cells):
            ab = aa = bb = 0.0
            count = 0
            for y in range(cy * width, (cy + 1) * width):
                for x in range(cx * width, (cx + 1) * width):
                    if inside[y, x] > 0.5:
                        p = float(a[y, x])
                        q = float(b[y, x])
                        ab += p * q
                        aa += p * p
                        bb += q * q
                        count += 1
            all_ab += ab
            all_aa += aa
            all_bb += bb
            floor = count * _NOISE * _NOISE
            scale = np.sqrt((aa + floor) * (bb + floor))
            values[cy * cells + cx] = ab / scale if count > 0 else 0.0
            weights[cy * cells + cx] = np.sqrt(min(aa, bb)) if 2 * count >= width * width else 0.0
    return all_ab / np.sqrt(all_aa * all_bb) if all_aa > 0.0 and all_bb > 0.0 else 0.0


@inlined
def _cell_drift(a: Floats, b: Floats, inside: Floats, top: int, left: int, width: int) -> tuple[float, float]:
    """Return one cell's own displacement (a step of Lucas & Kanade 1981), px, and its weight."""
    n = a.shape[0]
    xx = xy = yy = xa = ya = xb = yb = aa = bb = 0.0
    for y in range(max(1, top), min(n - 1, top + width)):
        for x in range(max(1, left), min(n - 1, left + width)):
            if inside[y, x] > 0.5:
                p = float(a[y, x])
                q = float(b[y, x])
                gx = (float(a[y, x + 1]) - float(a[y, x - 1])) * 0.5
                gy = (float(a[y + 1, x]) - float(a[y - 1, x])) * 0.5
                aa += p * p
                bb += q * q
                xx += gx * gx
                xy += gx * gy
                yy += gy * gy
                xa += gx * p
                ya += gy * p
                xb += gx * q
                yb += gy * q
    if aa <= 0.0 or bb <= 0.0:
        return _FARTHEST_DRIFT, 0.0
    gain = np.sqrt(aa / bb)
    weight = np.sqrt(min(aa, bb))
    ridge = _DRIFT_RIDGE * (xx + yy) + width * width * 0.01
    xx += ridge
    yy += ridge
    determinant = xx * yy - xy * xy
    xe = gain * xb - xa
    ye = gain * yb - ya
    dx = (yy * xe - xy * ye) / determinant
    dy = (xx * ye - xy * xe) / determinant
    return min(np.sqrt(dx * dx + dy * dy), _FARTHEST_DRIFT), weight


@inlined
def _drifts(a: Floats, b: Floats, inside: Floats, lengths: Doubles, weights: Doubles) -> None:
    width = a.shape[0] // CELLS
    for cy in range(CELLS):
        for cx in range(CELLS):
            cell = cy * CELLS + cx
            lengths[cell], weights[cell] = _cell_drift(a, b, inside, cy * width, cx * width, width)


@compiled
def median_agreement(band_a: Floats, band_b: Floats, inside: Floats, cells: np.int64) -> float:
    """Return the median over cells x cells of the correlation of two registered bands (n, n)."""
    values = np.empty(cells * cells)
    weights = np.empty(cells * cells)
    _cells(band_a, band_b, inside, cells, values, weights)
    return _weighted_quantile(values, weights, 0.5)


@compiled
def _inner_quantile(values: Doubles, weights: Doubles, share: float) -> float:
    """Return the weighted quantile of the cells that are not at the edge; sets the other weights to zero."""
    for k in range(CELLS):
        weights[k] = weights[CELLS * (CELLS - 1) + k] = 0.0
        weights[CELLS * k] = weights[CELLS * k + CELLS - 1] = 0.0
    return _weighted_quantile(values, weights, share)


@inlined
def compare(fine_a: Floats, middle_a: Floats, fine_b: Floats, middle_b: Floats, inside: Floats, out: Doubles) -> None:
    """Write the evidence (see ``kernel.EVIDENCE``) for two registered pictures, given their bands (n, n)."""
    values = np.empty(CELLS * CELLS)
    weights = np.empty(CELLS * CELLS)
    out[2] = _cells(fine_a, fine_b, inside, CELLS, values, weights)
    out[1] = _weighted_quantile(values, weights, 0.25)
    out[0] = min(_weighted_quantile(values, weights, 0.5), _inner_quantile(values, weights, 1.0 - _INNER_SHARE))
    out[5] = _cells(middle_a, middle_b, inside, CELLS, values, weights)
    out[4] = _weighted_quantile(values, weights, 0.25)
    out[3] = min(_weighted_quantile(values, weights, 0.5), _inner_quantile(values, weights, 1.0 - _INNER_SHARE))
    _drifts(middle_a, middle_b, inside, values, weights)
    out[7] = _weighted_quantile(values, weights, 0.75)
    out[6] = max(_weighted_quantile(values, weights, 0.5), _inner_quantile(values, weights, _INNER_SHARE))
    seen = 0.0
    for y in range(inside.shape[0]):
        for x in range(inside.shape[1]):
            seen += inside[y, x]
    out[8] = seen / inside.size


@inlined
def _first_maps() -> Doubles:
    """Return the maps (S, 6) at which registration may start."""
    maps = np.zeros((len(_ZOOMS) * len(_SHIFTS) * len(_SHIFTS) + len(_TURNS) + len(_SHEARS), 6))
    n = 0
    for zoom in _ZOOMS:
        for dx in _SHIFTS:
            for dy in _SHIFTS:
                maps[n, 0] = maps[n, 4] = zoom
                maps[n, 2], maps[n, 5] = dx, dy
                n += 1
    for turn in _TURNS:
        maps[n, 0] = maps[n, 4] = 1.0
        maps[n, 1], maps[n, 3] = -turn, turn
        n += 1
    for shear in _SHEARS:
        maps[n, 0] = maps[n, 4] = 1.0
        maps[n, 1] = shear
        n += 1
    return maps


@inlined
def _lay_out_starts(picture: Bytes, maps: Doubles, frame: Floats, other: Other, starts: Starts) -> None:
    """Warp the template by the inverse of each first map, so that other pictures need not be warped to be compared.

    Args:
        picture: (n, n) template
        maps: (S, 6) first maps
        frame: a template of side n, for its coordinates
        other: room for a picture
        starts: filled: (S, n * n) levels without their mean, (S, n * n) whether inside, both int8

    """
    load(picture, _AS_IT_IS, other)
    back = np.empty(6)
    floats = other[1]
    for s in range(maps.shape[0]):
        back[:] = 0.0
        back[0] = back[4] = 1.0
        step = maps[s].copy()
        step[0] -= 1.0
        step[4] -= 1.0
        compose_with_inverse(back, step)
        count = warp(frame, back, other)
        mean = 0.0
        for k in range(floats.shape[1]):
            mean += floats[WARPED, k]
        mean /= max(count, 1)
        for k in range(floats.shape[1]):
            inside = floats[INSIDE, k] > 0.5
            starts[1][s, k] = inside
            starts[0][s, k] = np.int8(min(max(np.rint(floats[WARPED, k] - mean), -127.0), 127.0)) if inside else 0


@inlined
def _sums(levels: BytesRow, inside: BytesRow, other: BytesRow) -> tuple[int, int, int, int, int, int]:
    """Return the sums of t, t t, o, o o and t o, and the count, over the pixels inside; whole numbers, so exact."""
    st, stt, so, soo, sto, count = np.int32(0), np.int32(0), np.int32(0), np.int32(0), np.int32(0), np.int32(0)
    for k in range(levels.shape[0]):
        t, o = np.int32(levels[k]), np.int32(other[k]) * np.int32(inside[k])
        st += t
        stt += t * t
        so += o
        soo += o * o
        sto += t * o
        count += np.int32(inside[k])
    return int(st), int(stt), int(so), int(soo), int(sto), int(count)


@inlined
def _start(starts: Starts, maps: Doubles, other: BytesRow, a: Doubles) -> float:
    """Set map ``a`` to the first map at which the pictures agree best; return their correlation."""
    best, chosen = -2.0, 0
    for s in range(maps.shape[0]):
        st, stt, so, soo, sto, count = _sums(starts[0][s], starts[1][s], other)
        n = float(max(count, 1))
        var = (stt - st * (st / n)) * (soo - so * (so / n))
        correlation = (sto - st * (so / n)) / np.sqrt(var) if var > 0.0 else 0.0
        if correlation > best:
            best, chosen = correlation, s
    for k in range(6):
        a[k] = maps[chosen, k]
    return best


@inlined
def _flat(picture: Bytes, mirrored: bool, out: BytesRow) -> None:
    n = picture.shape[0]
    for y in range(n):
        for x in range(n):
            out[y * n + x] = picture[y, n - 1 - x if mirrored else x]


@compiled
def _as_picture(row: Floats) -> Floats:
    n = int(np.sqrt(row.shape[0]) + 0.5)
    picture = np.empty((n, n), dtype=np.float32)
    for y in range(n):
        for x in range(n):
            picture[y, x] = row[y * n + x]
    return picture


@compiled
def _matched(template: Floats, other: Other, a: Doubles, lanes: Floats) -> Floats:
    """Return the other picture (n, n) under map ``a`` at the template's gain and offset; outside, the template."""
    count = warp(template, a, other)
    gain, offset, _ = gain_and_offset(template, other[1], count, lanes)
    slope, level = np.float32(gain), np.float32(offset)
    warped, inside, levels = other[1][WARPED], other[1][INSIDE], template[LEVELS]
    out = _as_picture(levels)
    n = out.shape[0]
    for y in range(n):
        for x in range(n):
            k = y * n + x
            out[y, x] = inside[k] * (slope * warped[k] + level - levels[k]) + levels[k]
    return out


@compiled
def _coarse_agreement(template: Floats, coarse: Floats, other: Other, a: Doubles, lanes: Floats) -> float:
    detail = band(_matched(template, other, a, lanes), 0.0, _COARSE)
    return median_agreement(coarse, detail, _as_picture(other[1][INSIDE]), _COARSE_CELLS)


@inlined
def _agreement(template: Floats, coarse: Floats, other: Other, a: Doubles, lanes: Floats) -> float:
    """Refine map ``a`` at 24 px, giving up early; return how well details agree, 0 where given up."""
    if _coarse_agreement(template, coarse, other, a, lanes) < _LEAST_HINT:
        return 0.0
    if fit_level(template, other, a, _MIDDLING, lanes) <= 0.0:
        return 0.0
    if _coarse_agreement(template, coarse, other, a, lanes) < _LEAST_PROSPECT:
        return 0.0
    if fit_level(template, other, a, _FURTHER, lanes) <= 0.0:
        return 0.0
    return _coarse_agreement(template, coarse, other, a, lanes)


@inlined
def _given_start(tiny: Floats, other: Other, a: Doubles, lanes: Floats) -> float:
    """Return the correlation under a map that landmarks gave, -1 where it is too far to be tried."""
    if too_far(a):
        return -1.0
    count = warp(tiny, a, other)
    if count < MIN_OVERLAP * tiny.shape[1]:
        return -1.0
    gain, _, correlation = gain_and_offset(tiny, other[1], count, lanes)
    return correlation if gain > 0.0 else -1.0


@entry
def screen(
    small: Stack,
    middle: Stack,
    i: Indices,
    j: Indices,
    mirrored: Flags,
    maps: Doubles,
    given: Flags,
    agreement: Doubles,
) -> None:
    """See ``kernel.screen``; ``agreement`` (M,) comes as zeros."""
    n, side = small.shape[1], middle.shape[1]
    tiny, template = new_template(n), new_template(side)
    tiny_other, other = new_other(n), new_other(side)
    lanes = np.empty((3, LANES), dtype=np.float32)
    firsts = _first_maps()
    starts = np.empty((len(firsts), n * n), dtype=np.int8), np.empty((len(firsts), n * n), dtype=np.int8)
    flat = np.empty(n * n, dtype=np.int8)
    coarse = np.empty((side, side), dtype=np.float32)
    last = last_coarse = -1
    for k in range(i.shape[0]):
        a = maps[k]
        if i[k] != last:
            _lay_out_starts(small[i[k]], firsts, tiny, tiny_other, starts)
            prepare(small[i[k]], tiny)
            last = i[k]
        _flat(small[j[k]], mirrored[k], flat)
        load(small[j[k]], mirrored[k], tiny_other)
        proposed = a.copy()
        correlation = _start(starts, firsts, flat, a)
        if given[k]:
            by_face = _given_start(tiny, tiny_other, proposed, lanes) + _TRUST
            if by_face > correlation:
                correlation = by_face
                for c in range(6):
                    a[c] = proposed[c]
        if correlation < _LEAST_START:
            continue
        if fit_level(tiny, tiny_other, a, _SMALL, lanes) < _LEAST_CORRELATION:
            continue
        if i[k] != last_coarse:
            prepare(middle[i[k]], template)
            coarse = band(_as_picture(template[LEVELS]), 0.0, _COARSE)
            last_coarse = i[k]
        load(middle[j[k]], mirrored[k], other)
        agreement[k] = _agreement(template, coarse, other, a, lanes)


@entry
def examine(large: Stack, i: Indices, j: Indices, mirrored: Flags, maps: Doubles, evidence: Doubles) -> None:
    """See ``kernel.examine``; ``evidence`` (M, 9) comes as zeros."""
    side = large.shape[1]
    template, other = new_template(side), new_other(side)
    lanes = np.empty((3, LANES), dtype=np.float32)
    fine = middle = np.empty((side, side), dtype=np.float32)
    last = -1
    for k in range(i.shape[0]):
        evidence[k, 6] = evidence[k, 7] = _FARTHEST_DRIFT
        if i[k] != last:
            prepare(large[i[k]], template)
            levels = _as_picture(template[LEVELS])
            fine, middle = band(levels, _FINE[0], _FINE[1]), band(levels, _MIDDLE[0], _MIDDLE[1])
            last = i[k]
        load(large[j[k]], mirrored[k], other)
        detail = band(_matched(template, other, maps[k], lanes), _FINE[0], _FINE[1])
        if median_agreement(fine, detail, _as_picture(other[1][INSIDE]), CELLS) < _LEAST_DETAIL:
            continue
        if fit_level(template, other, maps[k], _LARGE, lanes) <= 0.0:
            continue
        matched = _matched(template, other, maps[k], lanes)
        detail, shape = band(matched, _FINE[0], _FINE[1]), band(matched, _MIDDLE[0], _MIDDLE[1])
        compare(fine, middle, detail, shape, _as_picture(other[1][INSIDE]), evidence[k])
