"""Registers two small grey pictures: a robust inverse-compositional Gauss-Newton search for the affine map between them.

The template's gradients replace those of the warped picture (Baker & Matthews 2004, "Lucas-Kanade 20 years on", section
2.2); brightness gain and offset are fitted anew in every step; residuals are weighted after Huber (1964), so that text or a
covered patch does not pull the fit. Coarse levels are fitted by a similarity, finer ones by the full affine map.

A map is six numbers a0..a5 that send a point (u, v) of the template, in fractions of the side from the centre, to
(a0*u + a1*v + a2, a3*u + a4*v + a5) of the other picture. No step depends on the level's resolution.

Compiled without fast-math: sums are taken in the order written, so results are equal on every machine.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

HUBER = 1.345
"""Residuals beyond this many standard deviations are weighted down: 95 % efficiency under a normal law (Huber 1964)."""

_SPREAD_FLOOR = 0.02
"""Residual spread below which nothing is weighted down, as a share of the template's standard deviation."""

_DAMPING = 1e-3
"""Share of its own curvature added to each parameter (Levenberg 1944): flat pictures move little."""

_STEP_DONE = 2e-3
"""A step that moves the corners by less than this share of the side ends the level (0.1 px of 48)."""

_FARTHEST_SHIFT = 0.30
_FARTHEST_SCALE = 0.55
"""A map that moves the centre by more of the side, or changes an axis by more than this, is no copy's: given up."""

MIN_OVERLAP = 0.35
"""Share of the template's pixels that must fall inside the other picture."""


@njit(cache=True)
def warp(picture: Floats, a: Doubles, out: Floats, inside: NDArray[np.bool_]) -> int:
    """Sample ``picture`` (n, n) bilinearly under map ``a`` into ``out`` (n, n); return how many pixels fall inside."""
    n = picture.shape[0]
    centre = (n - 1) * 0.5
    count = 0
    for y in range(n):
        v = (y - centre) / n
        for x in range(n):
            u = (x - centre) / n
            px = centre + n * (a[0] * u + a[1] * v + a[2])
            py = centre + n * (a[3] * u + a[4] * v + a[5])
            if px < 0.0 or py < 0.0 or px > n - 1 or py > n - 1:
                inside[y, x] = False
                out[y, x] = 0.0
                continue
            x0 = min(int(px), n - 2)
            y0 = min(int(py), n - 2)
            fx = px - x0
            fy = py - y0
            top = picture[y0, x0] * (1.0 - fx) + picture[y0, x0 + 1] * fx
            low = picture[y0 + 1, x0] * (1.0 - fx) + picture[y0 + 1, x0 + 1] * fx
            out[y, x] = top * (1.0 - fy) + low * fy
            inside[y, x] = True
            count += 1
    return count


@njit(cache=True)
def gain_and_offset(template: Floats, warped: Floats, inside: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Return gain and offset that map ``warped`` onto ``template`` where inside, and their correlation."""
    n = template.shape[0]
    count = 0
    st = sw = stt = sww = stw = 0.0
    for y in range(n):
        for x in range(n):
            if inside[y, x]:
                t = float(template[y, x])
                w = float(warped[y, x])
                count += 1
                st += t
                sw += w
                stt += t * t
                sww += w * w
                stw += t * w
    if count == 0:
        return 0.0, 0.0, 0.0
    mt = st / count
    mw = sw / count
    vt = stt / count - mt * mt
    vw = sww / count - mw * mw
    cov = stw / count - mt * mw
    if vw <= 1e-9 or vt <= 1e-9:
        return 0.0, mt, 0.0
    gain = cov / vw
    return gain, mt - gain * mw, cov / np.sqrt(vt * vw)


@njit(cache=True)
def _normal_equations(
    template: Floats, warped: Floats, inside: NDArray[np.bool_], gain: float, offset: float, spread: float
) -> tuple[Doubles, Doubles, float]:
    """Return Hessian (6, 6), right side (6,) and the next residual spread of one robust step."""
    n = template.shape[0]
    centre = (n - 1) * 0.5
    hessian = np.zeros((6, 6))
    right = np.zeros(6)
    column = np.empty(6)
    bound = HUBER * spread
    total = 0.0
    count = 0
    # central differences need both neighbours, so the outermost ring is left out
    for y in range(1, n - 1):
        v = (y - centre) / n
        for x in range(1, n - 1):
            if not inside[y, x]:
                continue
            u = (x - centre) / n
            residual = gain * warped[y, x] + offset - template[y, x]
            size = abs(residual)
            total += size
            count += 1
            weight = 1.0 if size <= bound else bound / size
            gx = (template[y, x + 1] - template[y, x - 1]) * 0.5 * n
            gy = (template[y + 1, x] - template[y - 1, x]) * 0.5 * n
            column[0] = gx * u
            column[1] = gx * v
            column[2] = gx
            column[3] = gy * u
            column[4] = gy * v
            column[5] = gy
            for r in range(6):
                part = weight * column[r]
                right[r] += part * residual
                for c in range(r + 1):
                    hessian[r, c] += part * column[c]
    for r in range(6):
        for c in range(r):
            hessian[c, r] = hessian[r, c]
    # mean absolute residual -> standard deviation of a normal law: sqrt(pi / 2)
    return hessian, right, 1.2533 * total / max(count, 1)


@njit(cache=True)
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


@njit(cache=True)
def _similarity_step(hessian: Doubles, right: Doubles) -> Doubles:
    """Solve for the best similarity (scale and turn, p and q; shift) and return it as six affine numbers."""
    basis = np.zeros((6, 4))
    basis[0, 0] = basis[4, 0] = 1.0
    basis[1, 1] = -1.0
    basis[3, 1] = 1.0
    basis[2, 2] = 1.0
    basis[5, 3] = 1.0
    small = np.zeros((4, 4))
    side = np.zeros(4)
    for r in range(4):
        for k in range(6):
            side[r] += basis[k, r] * right[k]
            for c in range(4):
                for m in range(6):
                    small[r, c] += basis[k, r] * hessian[k, m] * basis[m, c]
    step = _solve(small, side)
    return np.array([step[0], -step[1], step[2], step[1], step[0], step[3]])


@njit(cache=True)
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


@njit(cache=True)
def _too_far(a: Doubles) -> bool:
    return (
        abs(a[2]) > _FARTHEST_SHIFT
        or abs(a[5]) > _FARTHEST_SHIFT
        or abs(a[0] - 1.0) > _FARTHEST_SCALE
        or abs(a[4] - 1.0) > _FARTHEST_SCALE
        or abs(a[1]) > _FARTHEST_SCALE
        or abs(a[3]) > _FARTHEST_SCALE
    )


@njit(cache=True)
def fit_level(template: Floats, picture: Floats, a: Doubles, steps: int, affine: bool) -> float:
    """Improve map ``a`` in place at one resolution.

    Args:
        template: (n, n) float32 grey levels
        picture: (n, n) float32 grey levels
        a: (6,) map to start from, changed in place
        steps: at most so many Gauss-Newton steps
        affine: all six numbers; else scale, turn and shift only

    Returns:
        correlation of the overlap before the last step, -1..1; 0 where the fit was given up.

    """
    n = template.shape[0]
    warped = np.empty((n, n), dtype=np.float32)
    inside = np.empty((n, n), dtype=np.bool_)
    correlation = 0.0
    spread = 1e9
    for _ in range(steps):
        if warp(picture, a, warped, inside) < MIN_OVERLAP * n * n:
            return 0.0
        gain, offset, correlation = gain_and_offset(template, warped, inside)
        if gain <= 0.0:
            return 0.0
        hessian, right, spread = _normal_equations(template, warped, inside, gain, offset, spread)
        step = _solve(hessian, right) if affine else _similarity_step(hessian, right)
        if not _compose_with_inverse(a, step) or _too_far(a):
            return 0.0
        moved = max(
            abs(step[0]) + abs(step[1]) + 2.0 * abs(step[2]), abs(step[3]) + abs(step[4]) + 2.0 * abs(step[5])
        )
        if moved * 0.5 < _STEP_DONE:
            break
    return correlation
