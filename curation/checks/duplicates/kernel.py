"""The compiled part of verification: registers two small grey pictures and compares them detail by detail.

Registration is an inverse-compositional Gauss-Newton search for the affine map between them: the template's gradients
replace those of the warped picture (Baker & Matthews 2004, "Lucas-Kanade 20 years on", section 2.2); gain and offset
are fitted anew in every step; residuals are weighted by Cauchy's law, so that text or a covered patch does not pull the
fit. Coarse levels are fitted by a similarity, finer ones by the full affine map.

Comparison splits levels into bands by differences of Gaussians (Marr & Hildreth 1980), which removes slow shading, and
compares bands cell by cell, so that text, a covered patch or a frame spoil a few cells and no more.

A map is six numbers a0..a5 that send a point (u, v) of the template, in fractions of the side from the centre, to
(a0*u + a1*v + a2, a3*u + a4*v + a5) of the other picture. It does not depend on resolution.

Compiled without fast-math: sums are taken in the order written, so results are equal on every machine. All of it is in
one file because numba's cache sees changes in a function's own file only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.int64]
Ints = NDArray[np.int32]
Bytes = NDArray[np.int8]
BytesRow = NDArray[np.int8]
Stack = NDArray[np.int8]

Other = tuple[Ints, Floats]
"""A picture on its way onto a template: (3, n * n) whole numbers and (6, n * n) floats, rows as named below."""

Starts = tuple[Bytes, Bytes]
"""See ``_lay_out_starts``."""

_LEVELS, _SQUARES, _GX, _GY, _GXX, _GXY, _GYY, _U, _V = range(9)
"""Rows of a template: levels, their squares, gradients (levels a side), their products, coordinates."""

_PACKED, _PLACE, _FOUND = range(3)
_WARPED, _INSIDE, _WEIGHT, _RESIDUAL, _FX, _FY = range(6)

LANES = 48
"""Sums are taken in so many lanes, a multiple of every side: compilers may not reorder sums, but may widen lanes."""

_RIGHT = (2, 4, 5)
_SQUARE = ((0, 1, 2), (1, 3, 4), (2, 4, 5))
"""Which of the moments (u u, u v, u, v v, v, 1) belong to (u, v, 1), and to its products with itself."""

_EMPTY = 1e-3
"""Variance below which a picture is one flat tone, squared levels."""

_CAUCHY = 2.385
"""Residuals of so many standard deviations have half the weight: 95 % efficiency under a normal law (Holland & Welsch
1977)."""

_DAMPING = 1e-3
"""Share of its own curvature added to each parameter (Levenberg 1944): flat pictures move little."""

_STEP_DONE = 2e-3
"""A step that moves the corners by less than this share of the side ends the level (0.1 px of 48)."""

_FARTHEST_SHIFT = 0.45
_FARTHEST_SCALE = 0.62
_FARTHEST_TURN = 0.8
"""A map that moves the centre by more of the side, changes an axis by more than this or turns it by more (sine) is no
copy's: given up."""

MIN_OVERLAP = 0.35
"""Share of the template's pixels that must fall inside the other picture."""

CELLS = 6
"""The picture is compared in 6 x 6 cells, 8 px each at a side of 48."""

EVIDENCE = (
    "fine_median",
    "fine_quartile",
    "fine_all",
    "middle_median",
    "middle_quartile",
    "middle_all",
    "drift_median",
    "drift_quartile",
    "overlap",
)
"""What ``compare`` returns, in this order.

*_median, *_quartile: median and lower quartile over cells of the band's correlation, cells weighted by their detail; a
median is no better than the best third of the inner cells, because other pictures in equal frames agree at the edge;
*_all: correlation over all pixels together; drift_*: median and upper quartile of the cells' own displacements that the
map left over, px of 48; overlap: share of the template's pixels inside the other picture.
"""

_FINE = (0.7, 2.0)
_MIDDLE = (1.5, 4.0)
"""Standard deviations of the two Gaussians of a band, px of 48: details of 2 to 6 px, and of 5 to 12 px."""

_COARSE = 2.0
"""Standard deviation of what the coarse band leaves out, px of 24."""

_COARSE_CELLS = 4
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
"""Registration starts from the best of these zooms with all shifts (fractions of the side), or of these turns
(radians): crops of 10 % on each side, either way round, and shifts so far apart that the search at 12 px reaches what
lies between them."""

Stage = tuple[int, int]

_SMALL: Stage = (4, 0)
_MIDDLING: Stage = (2, 1)
_FURTHER: Stage = (6, 1)
_LARGE: Stage = (6, 1)
"""Gauss-Newton steps at most, and whether all six numbers are sought (else scale, turn and shift): at 12 px, at 24 px
before and after a first look, at 48 px."""

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


_entry = njit(cache=True, error_model="numpy")
# What follows keeps the first use short, when all of this is compiled: nobody calls the others from Python, and the
# entries' cached code holds theirs; what is called in one place only is compiled there; loops stand for whole-array
# assignments, which bring the text of their errors along.
if TYPE_CHECKING:  # numba's types do not know the options
    _compiled = njit(error_model="numpy")
else:
    _compiled = njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
_inlined = njit(error_model="numpy", inline="always")


@_compiled
def new_template(n: int) -> Floats:
    """Return an empty template of side n: (9, n * n), see ``_LEVELS`` and so on; the coordinates are filled in."""
    template = np.zeros((9, n * n), dtype=np.float32)
    centre = (n - 1) * 0.5
    for y in range(n):
        for x in range(n):
            template[_U, y * n + x] = (x - centre) / n
            template[_V, y * n + x] = (y - centre) / n
    return template


@_compiled
def prepare(picture: Bytes, template: Floats) -> None:
    """Fill ``template`` from a picture (n, n): its levels, its gradients and their products, zero at the edge."""
    n = picture.shape[0]
    levels, gx, gy = template[_LEVELS], template[_GX], template[_GY]
    for y in range(n):
        for x in range(n):
            levels[y * n + x] = picture[y, x]
    half = np.float32(0.5 * n)
    for y in range(1, n - 1):
        for x in range(1, n - 1):
            k = y * n + x
            gx[k] = (levels[k + 1] - levels[k - 1]) * half
            gy[k] = (levels[k + n] - levels[k - n]) * half
    for k in range(n * n):
        template[_SQUARES, k] = levels[k] * levels[k]
        template[_GXX, k] = gx[k] * gx[k]
        template[_GXY, k] = gx[k] * gy[k]
        template[_GYY, k] = gy[k] * gy[k]


@_compiled
def new_other(n: int) -> Other:
    """Return room for another picture of side n and what becomes of it on the way."""
    return np.zeros((3, n * n), dtype=np.int32), np.zeros((6, n * n), dtype=np.float32)


@_compiled
def load(picture: Bytes, mirrored: bool, other: Other) -> None:
    """Lay a picture (n, n) into ``other``, mirrored if asked: a pixel and its three neighbours in one number."""
    n = picture.shape[0]
    packed = other[0][_PACKED]
    step = -1 if mirrored else 1
    first = n - 1 if mirrored else 0
    for y in range(n - 1):
        for x in range(n - 1):
            here, there = first + step * x, first + step * (x + 1)
            packed[y * n + x] = (
                (np.int32(picture[y, here]) & 255)
                | ((np.int32(picture[y, there]) & 255) << 8)
                | ((np.int32(picture[y + 1, here]) & 255) << 16)
                | (np.int32(picture[y + 1, there]) << 24)
            )


@_inlined
def _aim(template: Floats, a: Doubles, other: Other) -> int:
    """Find where each pixel of the template falls under map ``a``; return how many fall inside."""
    places, inside, fx, fy = other[0][_PLACE], other[1][_INSIDE], other[1][_FX], other[1][_FY]
    u, v = template[_U], template[_V]
    n = int(np.sqrt(u.shape[0]) + 0.5)
    nothing, last, most = np.float32(0), np.float32(n - 1), np.float32(n - 1.0001)
    a0, a1, a2 = np.float32(a[0] * n), np.float32(a[1] * n), np.float32(a[2] * n + (n - 1) * 0.5)
    a3, a4, a5 = np.float32(a[3] * n), np.float32(a[4] * n), np.float32(a[5] * n + (n - 1) * 0.5)
    width = np.int32(n)
    count = np.int32(0)
    for k in range(u.shape[0]):
        px = a0 * u[k] + a1 * v[k] + a2
        py = a3 * u[k] + a4 * v[k] + a5
        seen = (px >= nothing) & (py >= nothing) & (px <= last) & (py <= last)
        inside[k] = np.float32(1) if seen else nothing
        count += np.int32(seen)
        px, py = min(max(px, nothing), most), min(max(py, nothing), most)
        x, y = np.int32(px), np.int32(py)
        fx[k] = px - np.float32(x)
        fy[k] = py - np.float32(y)
        places[k] = np.int32(y * width) + x
    return int(count)


@_inlined
def _gather(packed: Ints, places: Ints, found: Ints) -> None:
    for k in range(places.shape[0]):
        found[k] = packed[np.uint32(places[k])]


@_inlined
def _blend(found: Ints, floats: Floats) -> None:
    """Interpolate bilinearly between the four neighbours of each place; 0 outside."""
    warped, inside, fx, fy = floats[_WARPED], floats[_INSIDE], floats[_FX], floats[_FY]
    for k in range(found.shape[0]):
        four = found[k]
        one = np.float32(np.int32(four << np.int32(24)) >> np.int32(24))
        two = np.float32(np.int32(four << np.int32(16)) >> np.int32(24))
        three = np.float32(np.int32(four << np.int32(8)) >> np.int32(24))
        upper = one + fx[k] * (two - one)
        lower = three + fx[k] * (np.float32(four >> np.int32(24)) - three)
        warped[k] = inside[k] * (upper + fy[k] * (lower - upper))


@_compiled
def warp(template: Floats, a: Doubles, other: Other) -> int:
    """Sample the other picture bilinearly under map ``a``; return how many of the template's pixels fall inside."""
    count = _aim(template, a, other)
    _gather(other[0][_PACKED], other[0][_PLACE], other[0][_FOUND])
    _blend(other[0][_FOUND], other[1])
    return count


@_compiled
def _dot(a: Floats, b: Floats, lanes: Floats) -> float:
    """Return the sum of a * b, taken in ``LANES`` lanes that are then added up: wide registers, but one order."""
    lane = lanes[0]
    lane[:] = 0.0
    for start in range(0, a.shape[0], LANES):
        left, right = a[start : start + LANES], b[start : start + LANES]
        for k in range(LANES):
            lane[k] += left[k] * right[k]
    total = 0.0
    for k in range(LANES // 4):
        total += float((lane[k] + lane[k + 12]) + (lane[k + 24] + lane[k + 36]))
    return total


@_compiled
def gain_and_offset(template: Floats, floats: Floats, count: int, lanes: Floats) -> tuple[float, float, float]:
    """Return gain and offset that map the warped picture onto the template where inside, and their correlation."""
    if count == 0:
        return 0.0, 0.0, 0.0
    warped, inside, levels = floats[_WARPED], floats[_INSIDE], template[_LEVELS]
    mean_t = _dot(inside, levels, lanes) / count
    mean_w = _dot(inside, warped, lanes) / count
    var_t = _dot(inside, template[_SQUARES], lanes) / count - mean_t * mean_t
    var_w = _dot(warped, warped, lanes) / count - mean_w * mean_w
    cov = _dot(warped, levels, lanes) / count - mean_t * mean_w
    if var_w <= _EMPTY or var_t <= _EMPTY:
        return 0.0, mean_t, 0.0
    gain = cov / var_w
    return gain, mean_t - gain * mean_w, cov / np.sqrt(var_t * var_w)


@_inlined
def _weigh(template: Floats, floats: Floats, gain: float, offset: float, count: int, lanes: Floats) -> None:
    """Fill in each pixel's weight by Cauchy's law, and its residual times that."""
    warped, inside, weight, residual = floats[_WARPED], floats[_INSIDE], floats[_WEIGHT], floats[_RESIDUAL]
    levels = template[_LEVELS]
    slope, level = np.float32(gain), np.float32(offset)
    for k in range(levels.shape[0]):
        residual[k] = slope * warped[k] + level - levels[k]
        weight[k] = abs(residual[k])
    # the standard deviation, estimated by the mean size (sqrt(pi / 2) times it: normal law)
    spread = 1.2533 * _dot(inside, weight, lanes) / max(count, 1)
    narrowing = np.float32(1.0 / (_CAUCHY * spread + 1e-6))
    one = np.float32(1)
    for k in range(levels.shape[0]):
        far = residual[k] * narrowing
        weight[k] = inside[k] / (one + far * far)
        residual[k] *= weight[k]


@_compiled
def _moments(weight: Floats, gradient: Floats, template: Floats, lanes: Floats, out: Doubles) -> None:
    """Write the sums of weight * gradient * (u u, u v, u, v v, v, 1) into ``out`` (6,)."""
    plain, once, twice = lanes[0], lanes[1], lanes[2]
    lanes[:] = 0.0
    for start in range(0, weight.shape[0], LANES):
        w, g, v = (
            weight[start : start + LANES],
            gradient[start : start + LANES],
            template[_V, start : start + LANES],
        )
        for k in range(LANES):
            plain[k] += w[k] * g[k]
        for k in range(LANES):
            once[k] += w[k] * g[k] * v[k]
        for k in range(LANES):
            twice[k] += w[k] * g[k] * v[k] * v[k]
    # a lane is always one and the same column, because sides divide the number of lanes
    s0 = s1 = s2 = s3 = s4 = s5 = 0.0
    for k in range(LANES):
        u = float(template[_U, k])
        p, q = float(plain[k]), float(once[k])
        s0 += u * u * p
        s1 += u * q
        s2 += u * p
        s3 += float(twice[k])
        s4 += q
        s5 += p
    out[0], out[1], out[2], out[3], out[4], out[5] = s0, s1, s2, s3, s4, s5


@_inlined
def _normal_equations(template: Floats, floats: Floats, lanes: Floats) -> tuple[Doubles, Doubles]:
    """Return Hessian (6, 6) and right side (6,) of one robust step."""
    hessian, right, sums = np.empty((6, 6)), np.empty(6), np.empty((5, 6))
    _moments(floats[_WEIGHT], template[_GXX], template, lanes, sums[0])
    _moments(floats[_WEIGHT], template[_GXY], template, lanes, sums[1])
    _moments(floats[_WEIGHT], template[_GYY], template, lanes, sums[2])
    _moments(floats[_RESIDUAL], template[_GX], template, lanes, sums[3])
    _moments(floats[_RESIDUAL], template[_GY], template, lanes, sums[4])
    for r in range(3):
        right[r] = sums[3, _RIGHT[r]]
        right[3 + r] = sums[4, _RIGHT[r]]
        for c in range(3):
            moment = _SQUARE[r][c]
            hessian[r, c] = sums[0, moment]
            hessian[r, 3 + c] = hessian[3 + r, c] = sums[1, moment]
            hessian[3 + r, 3 + c] = sums[2, moment]
    return hessian, right


@_compiled
def _solve(matrix: Doubles, right: Doubles) -> Doubles:
    """Solve a damped positive definite system by Cholesky's method; zeros where it is not definite."""
    size = right.shape[0]
    lower = np.zeros((size, size))
    for r in range(size):
        for c in range(r + 1):
            rest = matrix[r, c]
            if r == c:
                rest += _DAMPING * matrix[r, r] + 1e-9
            for k in range(c):
                rest -= lower[r, k] * lower[c, k]
            if r != c:
                lower[r, c] = rest / lower[c, c]
            elif rest <= 0.0:
                return np.zeros(size)
            else:
                lower[r, r] = np.sqrt(rest)
    return _substituted(lower, right)


@_inlined
def _substituted(lower: Doubles, right: Doubles) -> Doubles:
    """Solve (lower times its transpose) x = right, forwards and then backwards."""
    size = right.shape[0]
    solution = right.copy()
    for r in range(size):
        for k in range(r):
            solution[r] -= lower[r, k] * solution[k]
        solution[r] /= lower[r, r]
    for r in range(size - 1, -1, -1):
        for k in range(r + 1, size):
            solution[r] -= lower[k, r] * solution[k]
        solution[r] /= lower[r, r]
    return solution


@_inlined
def _similarity_step(hessian: Doubles, right: Doubles) -> Doubles:
    """Solve for the best similarity (scale and turn, p and q; shift) and return it as six affine numbers."""
    half, small, side = np.zeros((6, 4)), np.empty((4, 4)), np.empty(4)
    # columns: p adds to a0 and a4, q to a3 and, negative, to a1; then the two shifts
    for r in range(6):
        half[r, 0] = hessian[r, 0] + hessian[r, 4]
        half[r, 1] = hessian[r, 3] - hessian[r, 1]
        half[r, 2] = hessian[r, 2]
        half[r, 3] = hessian[r, 5]
    for c in range(4):
        small[0, c] = half[0, c] + half[4, c]
        small[1, c] = half[3, c] - half[1, c]
        small[2, c] = half[2, c]
        small[3, c] = half[5, c]
    side[0], side[1], side[2], side[3] = right[0] + right[4], right[3] - right[1], right[2], right[5]
    step = _solve(small, side)
    out = np.empty(6)
    out[0], out[1], out[2], out[3], out[4], out[5] = step[0], -step[1], step[2], step[1], step[0], step[3]
    return out


@_compiled
def _compose_with_inverse(a: Doubles, step: Doubles) -> bool:
    """Replace map ``a`` by a after the inverse of (identity + step), in place; False where that does not exist."""
    p, q, r, s = 1.0 + step[0], step[1], step[3], 1.0 + step[4]
    determinant = p * s - q * r
    if abs(determinant) < 0.1:
        return False
    i0, i1, i3, i4 = s / determinant, -q / determinant, -r / determinant, p / determinant
    i2 = -(i0 * step[2] + i1 * step[5])
    i5 = -(i3 * step[2] + i4 * step[5])
    a0, a1, a2, a3, a4, a5 = a[0], a[1], a[2], a[3], a[4], a[5]
    a[0] = a0 * i0 + a1 * i3
    a[1] = a0 * i1 + a1 * i4
    a[2] = a0 * i2 + a1 * i5 + a2
    a[3] = a3 * i0 + a4 * i3
    a[4] = a3 * i1 + a4 * i4
    a[5] = a3 * i2 + a4 * i5 + a5
    return True


@_compiled
def _too_far(a: Doubles) -> bool:
    if abs(a[2]) > _FARTHEST_SHIFT or abs(a[5]) > _FARTHEST_SHIFT:
        return True
    if abs(a[0] - 1.0) > _FARTHEST_SCALE or abs(a[4] - 1.0) > _FARTHEST_SCALE:
        return True
    return max(abs(float(a[1])), abs(float(a[3]))) > _FARTHEST_TURN


@_compiled
def fit_level(template: Floats, other: Other, a: Doubles, stage: Stage, lanes: Floats) -> float:
    """Improve map ``a`` in place at one resolution.

    Args:
        template: (9, n * n), see ``prepare``
        other: the other picture, see ``load``
        a: (6,) map to start from, changed in place
        stage: at most so many Gauss-Newton steps, and whether all six numbers are sought
        lanes: (3, LANES) scratch

    Returns:
        correlation of the overlap before the last step, -1..1; 0 where the fit was given up.

    """
    correlation = 0.0
    for _ in range(stage[0]):
        count = warp(template, a, other)
        if count < MIN_OVERLAP * template.shape[1]:
            return 0.0
        gain, offset, correlation = gain_and_offset(template, other[1], count, lanes)
        if gain <= 0.0:
            return 0.0
        _weigh(template, other[1], gain, offset, count, lanes)
        hessian, right = _normal_equations(template, other[1], lanes)
        step = _solve(hessian, right) if stage[1] else _similarity_step(hessian, right)
        if not _compose_with_inverse(a, step) or _too_far(a):
            return 0.0
        moved = max(abs(step[0]) + abs(step[1]) + 2.0 * abs(step[2]), abs(step[3]) + abs(step[4]) + 2.0 * abs(step[5]))
        if moved * 0.5 < _STEP_DONE:
            break
    return correlation


@_compiled
def _add_pair(sums: Floats, factor: float, one: Floats, two: Floats) -> None:
    for x in range(sums.shape[0]):
        sums[x] += factor * (one[x] + two[x])


@_compiled
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


@_compiled
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


@_compiled
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


@_compiled
def _cells(a: Floats, b: Floats, inside: Floats, cells: int, values: Doubles, weights: Doubles) -> float:
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


@_inlined
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


@_inlined
def _drifts(a: Floats, b: Floats, inside: Floats, lengths: Doubles, weights: Doubles) -> None:
    width = a.shape[0] // CELLS
    for cy in range(CELLS):
        for cx in range(CELLS):
            cell = cy * CELLS + cx
            lengths[cell], weights[cell] = _cell_drift(a, b, inside, cy * width, cx * width, width)


@_compiled
def median_agreement(band_a: Floats, band_b: Floats, inside: Floats, cells: int) -> float:
    """Return the median over cells x cells of the correlation of two registered bands (n, n)."""
    values = np.empty(cells * cells)
    weights = np.empty(cells * cells)
    _cells(band_a, band_b, inside, cells, values, weights)
    return _weighted_quantile(values, weights, 0.5)


@_compiled
def _inner_quantile(values: Doubles, weights: Doubles, share: float) -> float:
    """Return the weighted quantile of the cells that are not at the edge; sets the other weights to zero."""
    for k in range(CELLS):
        weights[k] = weights[CELLS * (CELLS - 1) + k] = 0.0
        weights[CELLS * k] = weights[CELLS * k + CELLS - 1] = 0.0
    return _weighted_quantile(values, weights, share)


@_inlined
def compare(fine_a: Floats, middle_a: Floats, fine_b: Floats, middle_b: Floats, inside: Floats, out: Doubles) -> None:
    """Write the evidence (see ``EVIDENCE``) for two registered pictures, given their bands (n, n)."""
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


@_inlined
def _first_maps() -> Doubles:
    """Return the maps (S, 6) at which registration may start."""
    maps = np.zeros((len(_ZOOMS) * len(_SHIFTS) * len(_SHIFTS) + len(_TURNS), 6))
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
    return maps


@_inlined
def _lay_out_starts(picture: Bytes, maps: Doubles, frame: Floats, other: Other, starts: Starts) -> None:
    """Warp the template by the inverse of each first map, so that other pictures need not be warped to be compared.

    Args:
        picture: (n, n) template
        maps: (S, 6) first maps
        frame: a template of side n, for its coordinates
        other: room for a picture
        starts: filled: (S, n * n) levels without their mean, (S, n * n) whether inside, both int8

    """
    load(picture, False, other)
    back = np.empty(6)
    floats = other[1]
    for s in range(maps.shape[0]):
        back[:] = 0.0
        back[0] = back[4] = 1.0
        step = maps[s].copy()
        step[0] -= 1.0
        step[4] -= 1.0
        _compose_with_inverse(back, step)
        count = warp(frame, back, other)
        mean = 0.0
        for k in range(floats.shape[1]):
            mean += floats[_WARPED, k]
        mean /= max(count, 1)
        for k in range(floats.shape[1]):
            inside = floats[_INSIDE, k] > 0.5
            starts[1][s, k] = inside
            starts[0][s, k] = np.int8(min(max(np.rint(floats[_WARPED, k] - mean), -127.0), 127.0)) if inside else 0


@_inlined
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


@_inlined
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


@_inlined
def _flat(picture: Bytes, mirrored: bool, out: BytesRow) -> None:
    n = picture.shape[0]
    for y in range(n):
        for x in range(n):
            out[y * n + x] = picture[y, n - 1 - x if mirrored else x]


@_compiled
def _matched(template: Floats, other: Other, a: Doubles, lanes: Floats) -> Floats:
    """Return the other picture (n, n) under map ``a`` at the template's gain and offset; outside, the template."""
    count = warp(template, a, other)
    gain, offset, _ = gain_and_offset(template, other[1], count, lanes)
    slope, level = np.float32(gain), np.float32(offset)
    out = np.empty(template.shape[1], dtype=np.float32)
    warped, inside, levels = other[1][_WARPED], other[1][_INSIDE], template[_LEVELS]
    for k in range(out.shape[0]):
        out[k] = inside[k] * (slope * warped[k] + level - levels[k]) + levels[k]
    n = int(np.sqrt(out.shape[0]) + 0.5)
    return out.reshape(n, n)


@_compiled
def _as_picture(row: Floats) -> Floats:
    n = int(np.sqrt(row.shape[0]) + 0.5)
    return row.copy().reshape(n, n)


@_compiled
def _coarse_agreement(template: Floats, coarse: Floats, other: Other, a: Doubles, lanes: Floats) -> float:
    detail = band(_matched(template, other, a, lanes), 0.0, _COARSE)
    return median_agreement(coarse, detail, _as_picture(other[1][_INSIDE]), _COARSE_CELLS)


@_inlined
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


@_inlined
def _given_start(tiny: Floats, other: Other, a: Doubles, lanes: Floats) -> float:
    """Return the correlation under a map that landmarks gave, -1 where it is too far to be tried."""
    if _too_far(a):
        return -1.0
    count = warp(tiny, a, other)
    if count < MIN_OVERLAP * tiny.shape[1]:
        return -1.0
    gain, _, correlation = gain_and_offset(tiny, other[1], count, lanes)
    return correlation if gain > 0.0 else -1.0


@_entry
def screen(
    small: Stack, middle: Stack, i: Indices, j: Indices, mirrored: Flags, maps: Doubles, given: Flags
) -> Doubles:
    """Register pairs coarsely and say how well their details agree.

    Args:
        small: (N, 12, 12) int8 pictures
        middle: (N, 24, 24) int8, the same, larger
        i: (M,) templates
        j: (M,) other pictures
        mirrored: (M,) whether the other picture is to be mirrored first
        maps: (M, 6) maps to start from, where known; filled with the maps found
        given: (M,) where a map to start from is known

    Returns:
        (M,) agreement at 24 px, -1..1; 0 where registration was given up.

    """
    agreement = np.zeros(i.shape[0])
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
            coarse = band(_as_picture(template[_LEVELS]), 0.0, _COARSE)
            last_coarse = i[k]
        load(middle[j[k]], mirrored[k], other)
        agreement[k] = _agreement(template, coarse, other, a, lanes)
    return agreement


@_entry
def examine(large: Stack, i: Indices, j: Indices, mirrored: Flags, maps: Doubles) -> Doubles:
    """Refine the maps of pairs at full size, in place, and return the evidence.

    Args:
        large: (N, 48, 48) int8 pictures
        i: (M,) templates
        j: (M,) other pictures
        mirrored: (M,) whether the other picture is to be mirrored first
        maps: (M, 6) maps to start from, changed in place

    Returns:
        (M, 9) see ``EVIDENCE``; no agreement and the farthest drift where registration was given up.

    """
    evidence = np.zeros((i.shape[0], 9))
    evidence[:, 6:8] = _FARTHEST_DRIFT
    side = large.shape[1]
    template, other = new_template(side), new_other(side)
    lanes = np.empty((3, LANES), dtype=np.float32)
    fine = middle = np.empty((side, side), dtype=np.float32)
    last = -1
    for k in range(i.shape[0]):
        if i[k] != last:
            prepare(large[i[k]], template)
            levels = _as_picture(template[_LEVELS])
            fine, middle = band(levels, _FINE[0], _FINE[1]), band(levels, _MIDDLE[0], _MIDDLE[1])
            last = i[k]
        load(large[j[k]], mirrored[k], other)
        detail = band(_matched(template, other, maps[k], lanes), _FINE[0], _FINE[1])
        if median_agreement(fine, detail, _as_picture(other[1][_INSIDE]), CELLS) < _LEAST_DETAIL:
            continue
        if fit_level(template, other, maps[k], _LARGE, lanes) <= 0.0:
            continue
        matched = _matched(template, other, maps[k], lanes)
        detail, shape = band(matched, _FINE[0], _FINE[1]), band(matched, _MIDDLE[0], _MIDDLE[1])
        compare(fine, middle, detail, shape, _as_picture(other[1][_INSIDE]), evidence[k])
    return evidence
