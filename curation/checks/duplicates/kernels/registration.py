"""The compiled registration of one small grey picture to another.

An inverse-compositional Gauss-Newton search for the affine map between them: the template's gradients replace those of
the warped picture (Baker & Matthews 2004, "Lucas-Kanade 20 years on", section 2.2); gain and offset are fitted anew in
every step; residuals are weighted by Cauchy's law, so that text or a covered patch does not pull the fit.

A map is six numbers a0..a5 that send a point (u, v) of the template, in fractions of the side from the centre, to
(a0*u + a1*v + a2, a3*u + a4*v + a5) of the other picture. It does not depend on resolution.

Compiled without fast-math: sums are taken in the order written, so results are equal on every machine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., Any])

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int32]
Bytes = NDArray[np.int8]

Other = tuple[Ints, Floats]
"""A picture on its way onto a template: (3, n * n) whole numbers and (6, n * n) floats, rows as named below."""

Stage = tuple[np.int64, np.int64]
"""Gauss-Newton steps at most, and whether all six numbers are sought; else scale, turn and shift."""

LEVELS, _SQUARES, GX, GY, GXX, GXY, GYY, _U, _V = range(9)
"""Rows of a template: levels, their squares, gradients (levels a side), their products, coordinates."""

_PACKED, _PLACE, _FOUND = range(3)
WARPED, INSIDE, WEIGHT, RESIDUAL, _FX, _FY = range(6)

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


class _Decorator(Protocol):
    """A decorator that leaves the type as it is; numba's own types do not know all of its options."""

    def __call__(self, function: F) -> F: ...


compiled: _Decorator = cast(Any, njit)(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
inlined = njit(error_model="numpy", inline="always")
entry = njit(cache=True, nogil=True, error_model="numpy")
# These keep the first use short, when all of this is compiled: nobody calls such functions from Python, and the cached
# code of the entries holds theirs; what is called in one place only is compiled there; loops stand for
# whole-array assignments, which bring the text of their errors along.


@compiled
def new_template(n: int) -> Floats:
    """Return an empty template of side n: (9, n * n), see ``LEVELS`` and so on; the coordinates are filled in."""
    template = np.zeros((9, n * n), dtype=np.float32)
    centre = (n - 1) * 0.5
    for y in range(n):
        for x in range(n):
            template[_U, y * n + x] = (x - centre) / n
            template[_V, y * n + x] = (y - centre) / n
    return template


@compiled
def prepare(picture: Bytes, template: Floats) -> None:
    """Fill ``template`` from a picture (n, n): its levels, its gradients and their products, zero at the edge."""
    n = picture.shape[0]
    levels, gx, gy = template[LEVELS], template[GX], template[GY]
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
        template[GXX, k] = gx[k] * gx[k]
        template[GXY, k] = gx[k] * gy[k]
        template[GYY, k] = gy[k] * gy[k]


@compiled
def new_other(n: int) -> Other:
    """Return room for another picture of side n and what becomes of it on the way."""
    return np.zeros((3, n * n), dtype=np.int32), np.zeros((6, n * n), dtype=np.float32)


@compiled
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


@inlined
def _aim(template: Floats, a: Doubles, other: Other) -> int:
    """Find where each pixel of the template falls under map ``a``; return how many fall inside."""
    places, inside, fx, fy = other[0][_PLACE], other[1][INSIDE], other[1][_FX], other[1][_FY]
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


@inlined
def _gather(packed: Ints, places: Ints, found: Ints) -> None:
    for k in range(places.shape[0]):
        found[k] = packed[np.uint32(places[k])]


@inlined
def _blend(found: Ints, floats: Floats) -> None:
    """Interpolate bilinearly between the four neighbours of each place; 0 outside."""
    warped, inside, fx, fy = floats[WARPED], floats[INSIDE], floats[_FX], floats[_FY]
    for k in range(found.shape[0]):
        four = found[k]
        one = np.float32(np.int32(four << np.int32(24)) >> np.int32(24))
        two = np.float32(np.int32(four << np.int32(16)) >> np.int32(24))
        three = np.float32(np.int32(four << np.int32(8)) >> np.int32(24))
        upper = one + fx[k] * (two - one)
        lower = three + fx[k] * (np.float32(four >> np.int32(24)) - three)
        warped[k] = inside[k] * (upper + fy[k] * (lower - upper))


@compiled
def warp(template: Floats, a: Doubles, other: Other) -> int:
    """Sample the other picture bilinearly under map ``a``; return how many of the template's pixels fall inside."""
    count = _aim(template, a, other)
    _gather(other[0][_PACKED], other[0][_PLACE], other[0][_FOUND])
    _blend(other[0][_FOUND], other[1])
    return count


@compiled
def dot(a: Floats, b: Floats, lanes: Floats) -> float:
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


@compiled
def gain_and_offset(template: Floats, floats: Floats, count: int, lanes: Floats) -> tuple[float, float, float]:
    """Return gain and offset that map the warped picture onto the template where inside, and their correlation."""
    if count == 0:
        return 0.0, 0.0, 0.0
    warped, inside, levels = floats[WARPED], floats[INSIDE], template[LEVELS]
    mean_t = dot(inside, levels, lanes) / count
    mean_w = dot(inside, warped, lanes) / count
    var_t = dot(inside, template[_SQUARES], lanes) / count - mean_t * mean_t
    var_w = dot(warped, warped, lanes) / count - mean_w * mean_w
    cov = dot(warped, levels, lanes) / count - mean_t * mean_w
    if var_w <= _EMPTY or var_t <= _EMPTY:
        return 0.0, mean_t, 0.0
    gain = cov / var_w
    return gain, mean_t - gain * mean_w, cov / np.sqrt(var_t * var_w)


@inlined
def _weigh(template: Floats, floats: Floats, gain: float, offset: float, count: int, lanes: Floats) -> None:
    """Fill in each pixel's weight by Cauchy's law, and its residual times that."""
    warped, inside, weight, residual = floats[WARPED], floats[INSIDE], floats[WEIGHT], floats[RESIDUAL]
    levels = template[LEVELS]
    slope, level = np.float32(gain), np.float32(offset)
    for k in range(levels.shape[0]):
        residual[k] = slope * warped[k] + level - levels[k]
        weight[k] = abs(residual[k])
    # the standard deviation, estimated by the mean size (sqrt(pi / 2) times it: normal law)
    spread = 1.2533 * dot(inside, weight, lanes) / max(count, 1)
    narrowing = np.float32(1.0 / (_CAUCHY * spread + 1e-6))
    one = np.float32(1)
    for k in range(levels.shape[0]):
        far = residual[k] * narrowing
        weight[k] = inside[k] / (one + far * far)
        residual[k] *= weight[k]


@compiled
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


@inlined
def normal_equations(template: Floats, floats: Floats, lanes: Floats) -> tuple[Doubles, Doubles]:
    """Return Hessian (6, 6) and right side (6,) of one robust step."""
    hessian, right, sums = np.empty((6, 6)), np.empty(6), np.empty((5, 6))
    _moments(floats[WEIGHT], template[GXX], template, lanes, sums[0])
    _moments(floats[WEIGHT], template[GXY], template, lanes, sums[1])
    _moments(floats[WEIGHT], template[GYY], template, lanes, sums[2])
    _moments(floats[RESIDUAL], template[GX], template, lanes, sums[3])
    _moments(floats[RESIDUAL], template[GY], template, lanes, sums[4])
    for r in range(3):
        right[r] = sums[3, _RIGHT[r]]
        right[3 + r] = sums[4, _RIGHT[r]]
        for c in range(3):
            moment = _SQUARE[r][c]
            hessian[r, c] = sums[0, moment]
            hessian[r, 3 + c] = hessian[3 + r, c] = sums[1, moment]
            hessian[3 + r, 3 + c] = sums[2, moment]
    return hessian, right


@compiled
def solve(matrix: Doubles, right: Doubles, damping: float) -> Doubles:
    """Solve a positive definite system, damped by a share of its diagonal (Cholesky); zeros if it is none."""
    size = right.shape[0]
    lower = np.zeros((size, size))
    for r in range(size):
        for c in range(r + 1):
            rest = matrix[r, c]
            if r == c:
                rest += damping * matrix[r, r] + 1e-9
            for k in range(c):
                rest -= lower[r, k] * lower[c, k]
            if r != c:
                lower[r, c] = rest / lower[c, c]
            elif rest <= 0.0:
                return np.zeros(size)
            else:
                lower[r, r] = np.sqrt(rest)
    return _substituted(lower, right)


@inlined
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


@inlined
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
    step = solve(small, side, _DAMPING)
    out = np.empty(6)
    out[0], out[1], out[2], out[3], out[4], out[5] = step[0], -step[1], step[2], step[1], step[0], step[3]
    return out


@compiled
def compose_with_inverse(a: Doubles, step: Doubles) -> bool:
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


@compiled
def too_far(a: Doubles) -> bool:
    """Return whether map ``a`` is no copy's."""
    if abs(a[2]) > _FARTHEST_SHIFT or abs(a[5]) > _FARTHEST_SHIFT:
        return True
    if abs(a[0] - 1.0) > _FARTHEST_SCALE or abs(a[4] - 1.0) > _FARTHEST_SCALE:
        return True
    return max(abs(float(a[1])), abs(float(a[3]))) > _FARTHEST_TURN


@compiled
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
        hessian, right = normal_equations(template, other[1], lanes)
        step = solve(hessian, right, _DAMPING) if stage[1] else _similarity_step(hessian, right)
        if not compose_with_inverse(a, step) or too_far(a):
            return 0.0
        moved = max(abs(step[0]) + abs(step[1]) + 2.0 * abs(step[2]), abs(step[3]) + abs(step[4]) + 2.0 * abs(step[5]))
        if moved * 0.5 < _STEP_DONE:
            break
    return correlation
