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

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.int64]

_CAUCHY = 2.385
"""Residuals of so many standard deviations have half the weight: 95 % efficiency under a normal law (Holland & Welsch
1977)."""

_DAMPING = 1e-3
"""Share of its own curvature added to each parameter (Levenberg 1944): flat pictures move little."""

_STEP_DONE = 2e-3
"""A step that moves the corners by less than this share of the side ends the level (0.1 px of 48)."""

_FARTHEST_SHIFT = 0.30
_FARTHEST_SCALE = 0.55
"""A map that moves the centre by more of the side, or changes an axis by more than this, is no copy's: given up."""

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

_STARTS = (
    (1.0, 0.0, 0.0),
    (0.8, 0.0, 0.0),
    (1.25, 0.0, 0.0),
    (1.0, 0.12, 0.0),
    (1.0, -0.12, 0.0),
    (1.0, 0.0, 0.12),
    (1.0, 0.0, -0.12),
    (1.0, 0.12, 0.12),
    (1.0, -0.12, 0.12),
    (1.0, 0.12, -0.12),
    (1.0, -0.12, -0.12),
)
"""Registration starts from the best of these zooms and shifts (fractions of the side): crops of 10 % on each side,
either way round, and shifts so far apart that the search at 12 px reaches what lies between them."""

_SMALL_STEPS = 4
_MIDDLE_STEPS = 2
_FURTHER_STEPS = 6
_LARGE_STEPS = 6
"""Gauss-Newton steps at most: at 12 px, at 24 px before and after a first look, at 48 px."""

_LEAST_CORRELATION = 0.70
_LEAST_HINT = 0.50
_LEAST_PROSPECT = 0.72
"""A pair is given up below this correlation at 12 px, this agreement at 24 px before the fit there, and after its
first steps. Of 100 candidates among the real faces 70, 44 and 14 pass; of 1000 natural copies 998, 998 and 998."""

_LEAST_DETAIL = 0.5
"""Median correlation of fine details, before the last refinement, below which a pair is given up."""


@njit(cache=True)
def warp(picture: Floats, a: Doubles, out: Floats, inside: Flags) -> int:
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
def gain_and_offset(template: Floats, warped: Floats, inside: Flags) -> tuple[float, float, float]:
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
def _spread(template: Floats, warped: Floats, inside: Flags, gain: float, offset: float) -> float:
    """Return the residuals' standard deviation, estimated by their mean size (sqrt(pi / 2) times it: normal law)."""
    n = template.shape[0]
    total = 0.0
    count = 0
    for y in range(n):
        for x in range(n):
            if inside[y, x]:
                total += abs(gain * warped[y, x] + offset - template[y, x])
                count += 1
    return 1.2533 * total / max(count, 1)


@njit(cache=True)
def _normal_equations(
    template: Floats, warped: Floats, inside: Flags, gain: float, offset: float
) -> tuple[Doubles, Doubles]:
    """Return Hessian (6, 6) and right side (6,) of one robust step."""
    n = template.shape[0]
    centre = (n - 1) * 0.5
    bound = _CAUCHY * _spread(template, warped, inside, gain, offset) + 1e-6
    hessian = np.zeros((6, 6))
    right = np.zeros(6)
    column = np.empty(6)
    # central differences need both neighbours, so the outermost ring is left out
    for y in range(1, n - 1):
        v = (y - centre) / n
        for x in range(1, n - 1):
            if not inside[y, x]:
                continue
            u = (x - centre) / n
            residual = gain * warped[y, x] + offset - template[y, x]
            weight = 1.0 / (1.0 + (residual / bound) ** 2)
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
    return hessian, right


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
    return _substituted(lower, right)


@njit(cache=True)
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
    if abs(a[2]) > _FARTHEST_SHIFT or abs(a[5]) > _FARTHEST_SHIFT:
        return True
    if abs(a[0] - 1.0) > _FARTHEST_SCALE or abs(a[4] - 1.0) > _FARTHEST_SCALE:
        return True
    return max(abs(float(a[1])), abs(float(a[3]))) > _FARTHEST_SCALE


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
    for _ in range(steps):
        if warp(picture, a, warped, inside) < MIN_OVERLAP * n * n:
            return 0.0
        gain, offset, correlation = gain_and_offset(template, warped, inside)
        if gain <= 0.0:
            return 0.0
        hessian, right = _normal_equations(template, warped, inside, gain, offset)
        step = _solve(hessian, right) if affine else _similarity_step(hessian, right)
        if not _compose_with_inverse(a, step) or _too_far(a):
            return 0.0
        moved = max(abs(step[0]) + abs(step[1]) + 2.0 * abs(step[2]), abs(step[3]) + abs(step[4]) + 2.0 * abs(step[5]))
        if moved * 0.5 < _STEP_DONE:
            break
    return correlation


@njit(cache=True)
def _smooth(picture: Floats, sigma: float, out: Floats, scratch: Floats) -> None:
    """Blur by a Gaussian cut at three deviations; the edge is repeated."""
    n = picture.shape[0]
    reach = int(3.0 * sigma + 0.5)
    taps = np.empty(2 * reach + 1, dtype=np.float32)
    total = 0.0
    for k in range(2 * reach + 1):
        # rounded, because the last bit of exp differs between machines
        value = np.rint(np.exp(-0.5 * ((k - reach) / sigma) ** 2) * 4096.0)
        taps[k] = value
        total += value
    taps /= np.float32(total)
    scratch[:] = 0.0
    for k in range(2 * reach + 1):
        tap = taps[k]
        for y in range(n):
            source = min(max(y + k - reach, 0), n - 1)
            for x in range(n):
                scratch[y, x] += tap * picture[source, x]
    out[:] = 0.0
    for k in range(2 * reach + 1):
        tap = taps[k]
        shift = k - reach
        low = max(0, -shift)
        high = min(n, n - shift)
        for y in range(n):
            for x in range(low):
                out[y, x] += tap * scratch[y, 0]
            for x in range(low, high):
                out[y, x] += tap * scratch[y, x + shift]
            for x in range(high, n):
                out[y, x] += tap * scratch[y, n - 1]


@njit(cache=True)
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
    out -= rest
    return out


@njit(cache=True)
def _weighted_quantile(values: Doubles, weights: Doubles, share: float) -> float:
    total = weights.sum()
    if total <= 0.0:
        return 0.0
    order = np.argsort(values)
    passed = 0.0
    for k in order:
        passed += weights[k]
        if passed >= share * total:
            return float(values[k])
    return float(values[order[-1]])


@njit(cache=True)
def _cells(a: Floats, b: Floats, inside: Flags, cells: int, values: Doubles, weights: Doubles) -> float:
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
                    if inside[y, x]:
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


@njit(cache=True)
def _cell_drift(a: Floats, b: Floats, inside: Flags, top: int, left: int, width: int) -> tuple[float, float]:
    """Return one cell's own displacement (a step of Lucas & Kanade 1981), px, and its weight."""
    n = a.shape[0]
    xx = xy = yy = xa = ya = xb = yb = aa = bb = 0.0
    for y in range(max(1, top), min(n - 1, top + width)):
        for x in range(max(1, left), min(n - 1, left + width)):
            if inside[y, x]:
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


@njit(cache=True)
def _drifts(a: Floats, b: Floats, inside: Flags, lengths: Doubles, weights: Doubles) -> None:
    width = a.shape[0] // CELLS
    for cy in range(CELLS):
        for cx in range(CELLS):
            cell = cy * CELLS + cx
            lengths[cell], weights[cell] = _cell_drift(a, b, inside, cy * width, cx * width, width)


@njit(cache=True)
def median_agreement(band_a: Floats, band_b: Floats, inside: Flags, cells: int) -> float:
    """Return the median over cells x cells of the correlation of two registered bands (n, n)."""
    values = np.empty(cells * cells)
    weights = np.empty(cells * cells)
    _cells(band_a, band_b, inside, cells, values, weights)
    return _weighted_quantile(values, weights, 0.5)


@njit(cache=True)
def _inner_quantile(values: Doubles, weights: Doubles, share: float) -> float:
    """Return the weighted quantile of the cells that are not at the edge; sets the other weights to zero."""
    for k in range(CELLS):
        weights[k] = weights[CELLS * (CELLS - 1) + k] = 0.0
        weights[CELLS * k] = weights[CELLS * k + CELLS - 1] = 0.0
    return _weighted_quantile(values, weights, share)


@njit(cache=True)
def compare(fine_a: Floats, middle_a: Floats, fine_b: Floats, middle_b: Floats, inside: Flags, out: Doubles) -> None:
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
    out[8] = inside.sum() / inside.size


@njit(cache=True)
def _oriented(picture: NDArray[np.generic], mirrored: bool) -> Floats:
    """Return the picture (n, n) in single precision, mirrored if asked."""
    n = picture.shape[0]
    out = np.empty((n, n), dtype=np.float32)
    for y in range(n):
        for x in range(n):
            out[y, x] = picture[y, n - 1 - x if mirrored else x]
    return out


@njit(cache=True)
def _start(template: Floats, picture: Floats, a: Doubles) -> None:
    """Set map ``a`` to the start at which the pictures agree best."""
    n = template.shape[0]
    warped = np.empty((n, n), dtype=np.float32)
    inside = np.empty((n, n), dtype=np.bool_)
    trial = np.zeros(6)
    best = -2.0
    for zoom, dx, dy in _STARTS:
        trial[0] = trial[4] = zoom
        trial[2] = dx
        trial[5] = dy
        warp(picture, trial, warped, inside)
        _, _, correlation = gain_and_offset(template, warped, inside)
        if correlation > best:
            best = correlation
            a[:] = trial


@njit(cache=True)
def _matched(template: Floats, picture: Floats, a: Doubles, inside: Flags) -> Floats:
    """Return ``picture`` under map ``a`` with the template's gain and offset; where it ends, the template goes on."""
    n = template.shape[0]
    out = np.empty((n, n), dtype=np.float32)
    warp(picture, a, out, inside)
    gain, offset, _ = gain_and_offset(template, out, inside)
    for y in range(n):
        for x in range(n):
            out[y, x] = gain * out[y, x] + offset if inside[y, x] else template[y, x]
    return out


@njit(cache=True)
def _coarse_agreement(template: Floats, coarse: Floats, other: Floats, a: Doubles, inside: Flags) -> float:
    detail = band(_matched(template, other, a, inside), 0.0, _COARSE)
    return median_agreement(coarse, detail, inside, _COARSE_CELLS)


@njit(cache=True)
def screen(small: Floats, middle: Floats, i: Indices, j: Indices, mirrored: Flags, maps: Doubles) -> Doubles:
    """Register pairs coarsely and say how well their details agree.

    Args:
        small: (N, 12, 12) pictures
        middle: (N, 24, 24) the same, larger
        i: (M,) templates
        j: (M,) other pictures
        mirrored: (M,) whether the other picture is to be mirrored first
        maps: (M, 6) filled with the maps found

    Returns:
        (M,) agreement at 24 px, -1..1; 0 where registration was given up.

    """
    agreement = np.zeros(i.shape[0])
    side = middle.shape[1]
    inside = np.empty((side, side), dtype=np.bool_)
    coarse = np.empty((side, side), dtype=np.float32)
    last = -1
    for k in range(i.shape[0]):
        a = maps[k]
        other = _oriented(small[j[k]], mirrored[k])
        _start(small[i[k]], other, a)
        if fit_level(small[i[k]], other, a, _SMALL_STEPS, False) < _LEAST_CORRELATION:
            continue
        template = middle[i[k]]
        if i[k] != last:
            coarse = band(template, 0.0, _COARSE)
            last = i[k]
        other = _oriented(middle[j[k]], mirrored[k])
        if _coarse_agreement(template, coarse, other, a, inside) < _LEAST_HINT:
            continue
        if fit_level(template, other, a, _MIDDLE_STEPS, True) <= 0.0:
            continue
        if _coarse_agreement(template, coarse, other, a, inside) < _LEAST_PROSPECT:
            continue
        if fit_level(template, other, a, _FURTHER_STEPS, True) > 0.0:
            agreement[k] = _coarse_agreement(template, coarse, other, a, inside)
    return agreement


@njit(cache=True)
def examine(large: NDArray[np.int8], i: Indices, j: Indices, mirrored: Flags, maps: Doubles) -> Doubles:
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
    inside = np.empty((side, side), dtype=np.bool_)
    template = np.empty((side, side), dtype=np.float32)
    fine, middle = template, template
    last = -1
    for k in range(i.shape[0]):
        if i[k] != last:
            template = _oriented(large[i[k]], False)
            fine, middle = band(template, _FINE[0], _FINE[1]), band(template, _MIDDLE[0], _MIDDLE[1])
            last = i[k]
        other = _oriented(large[j[k]], mirrored[k])
        matched = _matched(template, other, maps[k], inside)
        detail = band(matched, _FINE[0], _FINE[1])
        if median_agreement(fine, detail, inside, CELLS) < _LEAST_DETAIL:
            continue
        if fit_level(template, other, maps[k], _LARGE_STEPS, True) <= 0.0:
            continue
        matched = _matched(template, other, maps[k], inside)
        detail = band(matched, _FINE[0], _FINE[1])
        compare(fine, middle, detail, band(matched, _MIDDLE[0], _MIDDLE[1]), inside, evidence[k])
    return evidence
