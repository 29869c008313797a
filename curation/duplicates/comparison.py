"""Compares two registered pictures detail by detail: the evidence that they are one picture, not two alike.

Grey levels are split into bands by differences of Gaussians (Marr & Hildreth 1980), which removes light, tone and
slow shading. Bands are compared cell by cell, so that text, a covered patch or a frame spoil a few cells and no more.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from curation.duplicates.registration import Doubles, Floats

CELLS = 6
"""The picture is compared in 6 x 6 cells, 8 px each at a side of 48."""

EVIDENCE = (
    "fine_median",
    "fine_quartile",
    "fine_all",
    "middle_median",
    "middle_quartile",
    "middle_all",
    "drift",
    "overlap",
)
"""What ``compare`` returns, in this order.

*_median, *_quartile: median and lower quartile over cells of the band's correlation, cells weighted by their detail;
*_all: correlation over all pixels together; drift: weighted root mean square of the cells' own displacement that the
map left over, in px of 48; overlap: share of the template's pixels inside the other picture.
"""

_FINE = (0.7, 2.0)
_MIDDLE = (1.5, 4.0)
"""Standard deviations of the two Gaussians of a band, px of 48: details of 2 to 6 px, and of 5 to 12 px."""

_COARSE = 2.0
"""Standard deviation of what the coarse band leaves out, px of 24."""

_COARSE_CELLS = 4
"""The cheap comparison looks at 4 x 4 cells of 6 px of 24."""

_NOISE = 2.0
"""Standard deviation in grey levels that a band of an empty cell has anyway (JPEG, rounding); damps its correlation."""

_FARTHEST_DRIFT = 3.0
"""A cell's displacement estimate beyond this is taken as this, px of 48: the estimate is linear."""


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
def bands(picture: Floats, fine: Floats, middle: Floats) -> None:
    """Write the fine and the middle band of ``picture`` (n, n) grey levels."""
    n = picture.shape[0]
    scratch = np.empty((n, n), dtype=np.float32)
    wide = np.empty((n, n), dtype=np.float32)
    _smooth(picture, _FINE[0], fine, scratch)
    _smooth(picture, _FINE[1], wide, scratch)
    fine -= wide
    _smooth(picture, _MIDDLE[0], middle, scratch)
    _smooth(picture, _MIDDLE[1], wide, scratch)
    middle -= wide


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
def _cells(a: Floats, b: Floats, inside: NDArray[np.bool_], cells: int, values: Doubles, weights: Doubles) -> float:
    """Fill the correlation and the weight of each of cells x cells; return the correlation of all pixels.

    Bands have mean zero, so products are not centred again. The weight is the geometric mean of both energies: a cell
    that is empty in one picture only (covered) counts little, one that is busy in both counts much.
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
            weights[cy * cells + cx] = np.sqrt(aa * bb) ** 0.5 if 2 * count >= width * width else 0.0
    return all_ab / np.sqrt(all_aa * all_bb) if all_aa > 0.0 and all_bb > 0.0 else 0.0


@njit(cache=True)
def _drift(a: Floats, b: Floats, inside: NDArray[np.bool_]) -> float:
    """Return the weighted root mean square of cells' displacements (one Lucas & Kanade step each), px."""
    n = a.shape[0]
    width = n // CELLS
    moved = total = 0.0
    for cy in range(CELLS):
        for cx in range(CELLS):
            xx = xy = yy = xe = ye = aa = bb = 0.0
            for y in range(max(1, cy * width), min(n - 1, (cy + 1) * width)):
                for x in range(max(1, cx * width), min(n - 1, (cx + 1) * width)):
                    if inside[y, x]:
                        aa += a[y, x] * a[y, x]
                        bb += b[y, x] * b[y, x]
            if aa <= 0.0 or bb <= 0.0:
                continue
            gain = np.sqrt(aa / bb)
            for y in range(max(1, cy * width), min(n - 1, (cy + 1) * width)):
                for x in range(max(1, cx * width), min(n - 1, (cx + 1) * width)):
                    if inside[y, x]:
                        gx = (a[y, x + 1] - a[y, x - 1]) * 0.5
                        gy = (a[y + 1, x] - a[y - 1, x]) * 0.5
                        e = gain * b[y, x] - a[y, x]
                        xx += gx * gx
                        xy += gx * gy
                        yy += gy * gy
                        xe += gx * e
                        ye += gy * e
            ridge = 0.1 * (xx + yy) + 1.0
            xx += ridge
            yy += ridge
            determinant = xx * yy - xy * xy
            dx = (yy * xe - xy * ye) / determinant
            dy = (xx * ye - xy * xe) / determinant
            square = min(dx * dx + dy * dy, _FARTHEST_DRIFT**2)
            weight = np.sqrt(xx + yy)
            moved += weight * square
            total += weight
    return float(np.sqrt(moved / total)) if total > 0.0 else _FARTHEST_DRIFT


@njit(cache=True)
def coarse_band(picture: Floats) -> Floats:
    """Return the band of ``picture`` (n, n) that the cheap comparison looks at: all but slow shading."""
    wide = np.empty_like(picture)
    _smooth(picture, _COARSE, wide, np.empty_like(picture))
    return picture - wide


@njit(cache=True)
def coarse_agreement(band_a: Floats, band_b: Floats, inside: NDArray[np.bool_]) -> float:
    """Return the median over 4 x 4 cells of the correlation of two registered coarse bands."""
    values = np.empty(_COARSE_CELLS**2)
    weights = np.empty(_COARSE_CELLS**2)
    _cells(band_a, band_b, inside, _COARSE_CELLS, values, weights)
    return _weighted_quantile(values, weights, 0.5)


@njit(cache=True)
def compare(
    fine_a: Floats, middle_a: Floats, fine_b: Floats, middle_b: Floats, inside: NDArray[np.bool_], out: Doubles
) -> None:
    """Write the evidence (see ``EVIDENCE``) for two registered pictures, given their bands (n, n)."""
    values = np.empty(CELLS * CELLS)
    weights = np.empty(CELLS * CELLS)
    out[2] = _cells(fine_a, fine_b, inside, CELLS, values, weights)
    out[0] = _weighted_quantile(values, weights, 0.5)
    out[1] = _weighted_quantile(values, weights, 0.25)
    out[5] = _cells(middle_a, middle_b, inside, CELLS, values, weights)
    out[3] = _weighted_quantile(values, weights, 0.5)
    out[4] = _weighted_quantile(values, weights, 0.25)
    out[6] = _drift(middle_a, middle_b, inside)
    out[7] = inside.sum() / inside.size
