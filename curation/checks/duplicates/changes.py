"""What two registered pictures differ in, and whether it leaves them one exposure.

A copy is the same exposure: once the map between the two is exact, what is left over is noise, whatever compression,
crop, blur or tone did, or something that was laid over one of them. Two shots of one scene leave displacements that no
single map explains, and what moved in the face. All of it is measured on grey levels, because what is laid over a
picture shows in them: it is flat or lies beyond the other's range, has straight edges, and no displacement explains it.

The map is refined by Gauss-Newton steps (Baker & Matthews 2004) on details, which are levels less their local mean,
after the other picture's tone and sharpness have been matched to the template's; residuals are weighted by Cauchy's law
on a noise model of two terms estimated from the pair: a constant, and a share of the local energy (contrast). Ground
(plain in both pictures and connected with the edge) is left out: it proves nothing.

Maps are as in ``kernel``. Pairs are compared in batches of arrays (B, n, n), one row a pair.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from curation.checks.duplicates.kernel import sample

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Bytes = NDArray[np.uint8]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]

EVIDENCE = (
    "noise_median",
    "noise_upper",
    "shift_median",
    "shift_upper",
    "explained_median",
    "explained_all",
    "noise",
    "contrast_noise",
    "eyes",
    "mouth",
    "elsewhere",
    "overlay",
    "support",
    "inside",
    "structure",
)
"""What is measured of a pair, in this order.

noise_*        -- residual over local energy: median and 90 % quantile over pixels, weighted by their contrast
shift_*        -- displacement that the map left over, px: median and upper quartile, weighted likewise
explained_*    -- share of the residual that local displacements explain: weighted median, and of all of it
noise          -- the noise model's constant, levels squared
contrast_noise -- the noise model's share of the local energy
eyes, mouth, elsewhere -- 95 % quantile over the zone of the residual in deviations of the noise model, overlays left
                          out
overlay        -- log-odds of being an overlay, of that change in the zones of eyes and mouth that looks least like one;
                  ``NO_CHANGE`` where there is none
support        -- share of the template that has texture in both pictures
inside         -- share of the template that is inside the other picture and no ground
structure      -- share of the residual's energy that a blur of 1 px leaves: .22 of white noise, half of what two faces
                  differ in
"""

SUPPORT = EVIDENCE.index("support")

NO_CHANGE = 9.0

_DETAIL = 4.0
_TONE = 7.0
_NOISE = 1.0
_ENERGY = 2.0
"""Standard deviations, px, of the local mean that details leave out, and of the windows in which tone is matched, and
residuals and energies are averaged."""

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

_CLIPPED = (2.0, 253.0)
"""Levels beyond which a picture is clipped: what it had there is lost, and says nothing unless both are clipped."""

_TAIL = 6.0
"""Squared deviations at which a pixel has half its weight."""

_PLAIN = 2.0
_PLAIN_SHARE = 0.05
_LEAST_PLAIN = 0.6
"""Levels: a pixel is plain where the deviation of the 5 x 5 around it is below 2, or below this share of the picture's
own (dark pictures have little of everything), but never below what rounding makes."""

_CHANGED = 9.0
_CHANGED_LEVELS = 5.0
"""Squared deviations of the noise model, and levels, from which a pixel has changed."""

_LEAST_CHANGE = 6
_STRONG = 16.0
_FACIAL = 0.2
"""A change counts from so many pixels of 48 x 48, where it reaches so many squared deviations and lies by this share in
the zones of eyes and mouth."""

_TEXTURE = 3.0
"""Deviation of details, levels, from which a pixel has texture."""

OVERLAY_FEATURES = (
    "vertical",
    "horizontal",
    "energy",
    "explained",
    "one_sided",
    "finest",
    "flat",
    "area",
    "outside",
    "others",
)
OVERLAY_WEIGHTS = np.array([-14.42, 18.62, -1.04, 2.92, -2.28, 3.79, 10.3, 12.75, 0.59, 0.64, 7.02])
"""What tells something laid over a picture from something that moved in it: the longest straight vertical and
horizontal edge, shares of the side; the ratio of both pictures' energies, log; the share of the residual that
displacements explain, log; how one-sided the leftover is, 0..1; the share of the finest details in it; the share of the
area that is flat in one picture only; the area, share of the picture; the share of it outside the zones of eyes and
mouth, and the share there of everything that changed. Weights of a logistic law, after its intercept."""


# --- pictures ---------------------------------------------------------------------------------------------------------


@cache
def _blur_matrix(side: int, deviation: float) -> Floats:
    """Return the (side, side) matrix that blurs a row by a Gaussian; what is outside the picture weighs nothing."""
    places = np.arange(side)
    matrix = np.exp(-0.5 * ((places[:, None] - places) / deviation) ** 2)
    matrix[np.abs(places[:, None] - places) > 3 * deviation] = 0.0
    inner = matrix[side // 2].sum()
    return np.asarray(matrix / inner, dtype=np.float32)


def _blurred(pictures: Floats, deviation: float) -> Floats:
    """Return pictures (B, n, n) blurred along both axes: two products with one matrix."""
    matrix = _blur_matrix(pictures.shape[-1], deviation)
    return np.asarray(np.matmul(matrix, pictures @ matrix))


def _gradients(pictures: Floats) -> tuple[Floats, Floats]:
    gx, gy = np.zeros_like(pictures), np.zeros_like(pictures)
    gx[:, :, 1:-1] = (pictures[:, :, 2:] - pictures[:, :, :-2]) / 2
    gy[:, 1:-1] = (pictures[:, 2:] - pictures[:, :-2]) / 2
    return gx, gy


def _laplacian(pictures: Floats) -> Floats:
    out = np.zeros_like(pictures)
    inner = pictures[:, 1:-1, 1:-1]
    out[:, 1:-1, 1:-1] = (
        pictures[:, :-2, 1:-1] + pictures[:, 2:, 1:-1] + pictures[:, 1:-1, :-2] + pictures[:, 1:-1, 2:] - 4 * inner
    )
    return out


def _deviation(pictures: Floats, size: int) -> Floats:
    """Return the standard deviation of the size x size levels around each pixel."""
    window = (1, size, size)
    mean = ndimage.uniform_filter(pictures, window, mode="nearest")
    squares = ndimage.uniform_filter(pictures * pictures, window, mode="nearest")
    return np.asarray(np.sqrt(np.maximum(squares - mean * mean, 0)))


_IN_PLANE = np.zeros((3, 3, 3), dtype=np.bool_)
_IN_PLANE[1] = True
"""Neighbours of a pixel in its own picture of a batch."""


def ground_of(first: Floats, second: Floats) -> Flags:
    """Return (B, n, n) what is plain in both pictures and connected with the edge, and two pixels more."""
    plain = np.ones(first.shape, dtype=np.bool_)
    for pictures in (first, second):
        own = pictures.std(axis=(1, 2), keepdims=True)
        plain &= _deviation(pictures, 5) < np.clip(_PLAIN_SHARE * own, _LEAST_PLAIN, _PLAIN)
    if not plain.any():
        return plain
    parts, count = ndimage.label(plain, _IN_PLANE)
    at_edge = np.zeros(count + 1, dtype=np.bool_)
    for side in (parts[:, 0], parts[:, -1], parts[:, :, 0], parts[:, :, -1]):
        at_edge[side] = True
    at_edge[0] = False
    return np.asarray(ndimage.binary_dilation(at_edge[parts], _IN_PLANE, iterations=2))


def _clipped(first: Floats, second: Floats) -> Flags:
    """Return (B, n, n) what is clipped in one of both pictures only, and one pixel more."""
    low, high = _CLIPPED
    one = ((first < low) != (second < low)) | ((first > high) != (second > high))
    return np.asarray(ndimage.binary_dilation(one, _IN_PLANE)) if one.any() else one


@cache
def _coordinates(side: int) -> tuple[Floats, Floats]:
    """Return (side, side) coordinates u, v of the pixels, fractions of the side from the centre."""
    v, u = ((np.mgrid[:side, :side] - (side - 1) / 2) / side).astype(np.float32)
    return u, v


def _quantile(values: Floats, weights: Floats, share: float) -> Floats:
    """Return the weighted quantile (B,) of each picture's pixels; 0 where all weights are."""
    values, weights = (part.reshape(len(part), -1) for part in (values, weights))
    order = np.argsort(values, axis=1)
    rows = np.arange(len(values))
    ordered = weights.ravel().take(rows[:, None] * weights.shape[1] + order)
    passed = np.cumsum(ordered, axis=1, dtype=np.float64)
    place = (passed < share * passed[:, -1:]).sum(axis=1).clip(max=values.shape[1] - 1)
    return np.where(passed[:, -1] > 0, values[rows, order[rows, place]], 0).astype(np.float32)


def _masked_quantile(values: Floats, mask: Floats, share: float) -> Floats:
    """Return the quantile (B,) of each picture's pixels within the mask; 0 where there are none."""
    ordered = np.sort(np.where(mask > 0, values, np.inf).reshape(len(values), -1), axis=1)
    count = (mask > 0).sum(axis=(1, 2))
    place = np.clip(np.ceil(share * count).astype(np.int64) - 1, 0, ordered.shape[1] - 1)
    return np.where(count > 0, ordered[np.arange(len(values)), place], 0).astype(np.float32)


# --- comparison -------------------------------------------------------------------------------------------------------


class Comparison(NamedTuple):
    """Pairs compared under their maps, arrays (B, n, n).

    mask     -- what counts: inside both, no ground
    level    -- the other picture under the map, at the template's tone as a whole
    own, matched -- details of the template, and of the other at the template's tone and sharpness
    gain     -- the local gain that matches the tone
    residual -- own less matched
    squares  -- mean square of the residual around a pixel
    energy   -- the lesser of both pictures' mean square details around a pixel
    variance -- what the noise model expects of ``squares``
    weight   -- Cauchy weight of a pixel
    model    -- (B, 2) the noise model: constant, share of energy
    """

    mask: Floats
    level: Floats
    own: Floats
    matched: Floats
    gain: Floats
    residual: Floats
    squares: Floats
    energy: Floats
    variance: Floats
    weight: Floats
    model: Floats


def _total(pictures: Floats) -> Floats:
    return np.asarray(pictures.sum(axis=(1, 2), keepdims=True))


def _levelled(template: Floats, other: Floats, weight: Floats) -> Floats:
    """Return the other picture's levels mapped by the cubic that fits the template's best; where unweighted, those."""
    level = (other / np.float32(128) - 1).reshape(len(other), -1)
    terms = np.stack([np.ones_like(level), level, level * level, level * level * level], axis=1)
    weighted = terms * weight.reshape(len(other), 1, -1)
    matrix = (weighted @ terms.transpose(0, 2, 1)).astype(np.float64)
    right = (weighted @ template.reshape(len(other), -1, 1)).astype(np.float64)
    # where levels are few, the curve stays a line
    ridge = (1e-4 * matrix.trace(axis1=1, axis2=2) + 1e-6)[:, None] * np.array([0.0, 0.0, 1.0, 1.0]) + 1e-6
    matrix += ridge[:, :, None] * np.eye(4)
    curve = np.linalg.solve(matrix, right).astype(np.float32)
    mapped = (curve.transpose(0, 2, 1) @ terms).reshape(other.shape)
    return np.asarray(np.where(weight > 0, mapped, template))


@cache
def _soft_matrix(side: int) -> Floats:
    """Return the (side, side) matrix that averages with both neighbours, weights (1, 4, 1) / 6; edges are repeated."""
    matrix = (4 * np.eye(side) + np.eye(side, k=1) + np.eye(side, k=-1)) / 6
    matrix[0, 0] = matrix[-1, -1] = 5 / 6
    return matrix.astype(np.float32)


def _softened(pictures: Floats) -> Floats:
    matrix = _soft_matrix(pictures.shape[-1])
    return np.asarray(np.matmul(matrix, pictures @ matrix.T))


def _noise_model(squares: Floats, energy: Floats, mask: Floats) -> Floats:
    """Return (B, 2) the constant and the share of energy that typical residuals (mean squares) have."""
    constant = np.maximum(_masked_quantile(squares, mask, 0.25), _LEAST_NOISE)
    upper = mask * (energy >= _masked_quantile(energy, mask, 0.5)[:, None, None])
    ratio = np.asarray(np.maximum(squares - constant[:, None, None], 0) / (energy + 1), dtype=np.float32)
    return np.stack([constant, np.maximum(_masked_quantile(ratio, upper, 0.5), _LEAST_CONTRAST_NOISE)], axis=1)


def _compared(
    template: Floats, other: Floats, maps: Doubles, ground: Flags, weight: Floats, rounds: int
) -> tuple[Comparison, Flags]:
    """Compare pairs under their maps; also return which have enough in common."""
    seen, inside = sample(other, maps)
    mask = (inside & ~ground).astype(np.float32)
    enough = mask.mean(axis=(1, 2)) >= _LEAST_INSIDE
    level = _levelled(template, seen, mask * weight)
    window = _blurred(mask, _DETAIL) + np.float32(1e-6)
    own, details = ((_softened(part) - _blurred(part * mask, _DETAIL) / window) * mask for part in (template, level))
    own_energy = _blurred(own * own, _ENERGY)
    for _ in range(rounds):
        weighted = weight * mask
        gain = (_blurred(weighted * own * details, _TONE) + 2) / (_blurred(weighted * details**2, _TONE) + 2)
        gain = np.clip(gain, 0.1, 8)
        matched = gain * details
        edges = _laplacian(matched)
        sharpness = _total(weighted * (own - matched) * edges) / (_total(weighted * edges**2) + np.float32(1e-3))
        matched = (matched + sharpness * edges) * mask
        residual = own - matched
        squares = _blurred(residual**2, _NOISE)
        energy = np.minimum(_blurred(matched**2, _ENERGY), own_energy)
        model = _noise_model(squares, energy, mask)
        variance = model[:, 0, None, None] + model[:, 1, None, None] * energy
        weight = np.asarray(1 / (1 + squares / (variance * np.float32(_TAIL))))
    return Comparison(mask, level, own, matched, gain, residual, squares, energy, variance, weight, model), enough


def _steps(seen: Comparison) -> Doubles:
    """Return (B, 6) by what each template has to move towards the other picture; NaN where nothing says so."""
    side = seen.own.shape[-1]
    u, v = _coordinates(side)
    gx, gy = (gradient * side for gradient in _gradients(seen.own))
    weight = (seen.weight * seen.mask / seen.variance).reshape(len(gx), 1, -1)
    slopes = np.stack([gx * u, gx * v, gx, gy * u, gy * v, gy], axis=1).reshape(len(gx), 6, -1)
    matrix = ((slopes * weight) @ slopes.transpose(0, 2, 1)).astype(np.float64)
    right = -((slopes * weight) @ seen.residual.reshape(len(gx), -1, 1)).astype(np.float64)
    matrix += (0.001 * matrix.diagonal(axis1=1, axis2=2) + 1e-6)[:, :, None] * np.eye(6)
    return np.asarray(np.linalg.solve(matrix, right)[:, :, 0])


def _as_matrices(maps: Doubles) -> Doubles:
    matrices = np.zeros((len(maps), 3, 3))
    matrices[:, :2] = maps.reshape(-1, 2, 3)
    matrices[:, 2, 2] = 1.0
    return matrices


def after(first: Doubles, second: Doubles) -> Doubles:
    """Return maps (B, 6) that do ``second`` and then ``first``."""
    return (_as_matrices(first) @ _as_matrices(second))[:, :2].reshape(-1, 6)


def inverse(maps: Doubles) -> Doubles:
    """Return the inverse maps (B, 6)."""
    return np.asarray(np.linalg.inv(_as_matrices(maps))[:, :2].reshape(-1, 6), dtype=np.float64)


_IDENTITY = np.array([1.0, 0, 0, 0, 1.0, 0])


_BLURS = (0.6, 0.9, 1.2, 1.6, 2.1, 2.7)
"""Blurs, px, of which one makes the sharper picture as soft as the other."""

_AS_SHARP = 1.15
"""Ratio of sharpness up to which pictures are left as they are."""


def _sharpness(pictures: Floats, mask: Floats) -> Floats:
    """Return (B,) the energy of second over that of first differences: less of a blurred picture."""
    gx, gy = _gradients(pictures)
    edges = (_laplacian(pictures) ** 2 * mask).sum(axis=(1, 2))
    return np.asarray(edges / (((gx**2 + gy**2) * mask).sum(axis=(1, 2)) + 1e-3))


def equally_sharp(template: Floats, other: Floats, maps: Doubles) -> tuple[Floats, Floats]:
    """Return both pictures of each pair, the sharper one blurred to the other's sharpness."""
    seen, inside = sample(other, maps)
    mask = inside.astype(np.float32)
    sharp = [_sharpness(template, mask), _sharpness(seen, mask)]
    result = [template.copy(), other.copy()]
    for side, pictures in enumerate((template, seen)):
        rows = np.flatnonzero(sharp[side] > _AS_SHARP * sharp[1 - side])
        wanted = sharp[1 - side][rows]
        best = np.abs(np.log(sharp[side][rows] + 1e-6) - np.log(wanted + 1e-6))
        for deviation in _BLURS if len(rows) else ():
            softer = _edge_blurred(pictures[rows], deviation)
            apart = np.abs(np.log(_sharpness(softer, mask[rows]) + 1e-6) - np.log(wanted + 1e-6))
            better = apart < best
            result[side][rows[better]] = _edge_blurred((template, other)[side][rows[better]], deviation)
            best = np.minimum(best, apart)
    return result[0], result[1]


def _edge_blurred(pictures: Floats, deviation: float) -> Floats:
    """Return pictures blurred, as if they went on beyond the edge."""
    return _blurred(pictures, deviation) / _blurred(np.ones_like(pictures[:1]), deviation)


def settle(template: Floats, other: Floats, maps: Doubles) -> tuple[Comparison, Flags]:
    """Refine maps (B, 6) in place until nothing moves; return the comparison under them, and which are settled."""
    seen_first = sample(other, maps)[0]
    ground = ground_of(template, seen_first) | _clipped(template, seen_first)
    alive = np.ones(len(maps), dtype=np.bool_)
    moving = alive.copy()
    weight = np.ones_like(template)
    for turn in range(_STEPS):
        now = np.flatnonzero(moving)
        if not len(now):
            break
        seen, enough = _compared(template[now], other[now], maps[now], ground[now], weight[now], 2 if turn == 0 else 1)
        weight[now] = seen.weight
        step = _steps(seen)
        size = np.abs(step) @ np.array([1, 1, 2, 1, 1, 2]) * (template.shape[-1] / 4)
        sound = enough & (np.abs(step[:, [2, 5]]).max(axis=1) <= _FARTHEST_STEP) & (size < template.shape[-1] / 4)
        alive[now] = sound
        maps[now[sound]] = after(maps[now[sound]], inverse(_IDENTITY + step[sound]))
        moving[now] = sound & (size >= _STEP_DONE)
    seen, enough = _compared(template, other, maps, ground, weight, 2)
    return seen, alive & enough


# --- changes ----------------------------------------------------------------------------------------------------------


def _displacements(seen: Comparison) -> tuple[Floats, Floats, Floats]:
    """Return what local displacements (Lucas & Kanade 1981) would explain.

    That is their length, px, and of the mean square residual the explained part, and all of it.
    """
    gx, gy = (gradient * seen.mask for gradient in _gradients(np.float32(0.5) * (seen.own + seen.matched)))
    window = _blurred(seen.mask, _ENERGY) + np.float32(1e-6)
    products = (gx * gx, gy * gy, gx * gy, gx * seen.residual, gy * seen.residual, seen.residual**2)
    xx, yy, xy, xr, yr, rr = (_blurred(product, _ENERGY) / window for product in products)
    ridge = np.float32(0.05) * (xx + yy) + np.float32(0.3)
    xx, yy = xx + ridge, yy + ridge
    determinant = xx * yy - xy * xy
    dx, dy = (yy * xr - xy * yr) / determinant, (xx * yr - xy * xr) / determinant
    return np.hypot(dx, dy), np.maximum(dx * xr + dy * yr, 0), rr


def _leftover(template: Floats, seen: Comparison) -> Floats:
    """Return the residual in levels, low frequencies and all: the template less the other at its local tone."""
    other = seen.gain * seen.level
    weight = seen.mask * seen.weight
    offset = _blurred((template - other) * weight, _TONE) / (_blurred(weight, _TONE) + np.float32(1e-3))
    return np.asarray((template - other - offset) * seen.mask)


def _runs(rising: Flags) -> Ints:
    """Return (B, n, n) how many pixels upwards, each pixel included, rise without a gap."""
    length = np.zeros(rising.shape, dtype=np.int64)
    length[:, 0] = rising[:, 0]
    for y in range(1, rising.shape[1]):
        length[:, y] = (length[:, y - 1] + 1) * rising[:, y]
    return length


def _longest_edges(left: Floats, parts: Ints, count: int, least: Floats) -> Doubles:
    """Return (count + 1, 2): the longest vertical and horizontal edge of the leftover within each part, px."""
    longest = np.zeros((count + 1, 2), dtype=np.int64)
    for axis, (levels, where) in enumerate(((left, parts), (left.swapaxes(1, 2), parts.swapaxes(1, 2)))):
        rise = np.diff(levels, axis=2, prepend=levels[:, :, :1])
        for sign in (1, -1):
            runs = _runs((sign * rise > least) & (where > 0))
            np.maximum.at(longest[:, axis], where.ravel(), runs.ravel())
    longest[0] = 0
    return longest.astype(np.float64)


class Changes(NamedTuple):
    """Where pairs differ by more than noise.

    parts    -- (B, n, n) which change, from 1, each pixel belongs to; 0: none
    pair     -- (K + 1,) the row of each change's pair
    features -- (K + 1, ``OVERLAY_FEATURES``)
    facial   -- (K + 1,) whether it lies at eyes or mouth and is strong
    """

    parts: Ints
    pair: Ints
    features: Doubles
    facial: Flags


def find_changes(template: Floats, seen: Comparison, zones: Ints, explained: Floats, squares: Floats) -> Changes:
    """Find the connected areas that noise does not explain, and measure what tells overlays from movements."""
    side = template.shape[-1]
    changed = (seen.squares > _CHANGED * seen.variance) & (seen.squares > _CHANGED_LEVELS**2) & (seen.mask > 0)
    parts, count = ndimage.label(changed, _IN_PLANE)
    parts = parts.astype(np.int64)

    def per_part(values: NDArray[np.generic], where: Ints) -> Doubles:
        weights = values.ravel().astype(np.float64)
        return np.asarray(np.bincount(where.ravel(), weights=weights, minlength=count + 1), dtype=np.float64)

    size = np.maximum(per_part(changed, parts), 1)
    strongest = np.zeros(count + 1)
    np.maximum.at(strongest, parts.ravel(), (seen.squares / seen.variance).ravel().astype(np.float64))
    within = per_part(zones > 0, parts) / size
    facial = (within >= _FACIAL) & (strongest >= _STRONG)
    facial &= size >= _LEAST_CHANGE * (side / 48) ** 2
    facial[0] = False
    pair = np.zeros(count + 1, dtype=np.int64)
    pair[parts.reshape(len(parts), -1)] = np.arange(len(parts))[:, None]

    area = ndimage.grey_dilation(parts, footprint=_IN_PLANE) * (seen.mask > 0)
    noise = np.sqrt(seen.model[:, 0])[:, None, None]
    left = _leftover(template, seen)
    contrasts = [_deviation(part, 3) for part in (template, seen.gain * seen.level)]
    flat = [per_part((one < 1 + noise) & (two > 3 * (1 + one)), area) for one, two in (contrasts, contrasts[::-1])]
    big = np.abs(left) > np.maximum(8, 3 * noise)
    whole = np.maximum(per_part(area > 0, area), 1)
    own, other = (per_part(part**2, area) + 10 for part in (seen.own, seen.matched))
    finest, fine = left - _blurred(left, 1.0), left - _blurred(left, 3.0)
    edges = _longest_edges(left, area, count, np.maximum(12, 4 * noise))
    features = [
        edges[:, 0] / side,
        edges[:, 1] / side,
        np.abs(np.log(own / other)),
        np.log(per_part(explained, parts) / (per_part(squares, parts) + 1) + 0.02),
        np.abs(per_part(left * big, area)) / (per_part(np.abs(left) * big, area) + 1),
        per_part(finest**2, area) / (per_part(fine**2, area) + 1),
        np.sqrt(np.maximum(*flat) / whole),
        whole / side**2,
        1 - within,
        ((changed & (zones == 0)).sum(axis=(1, 2)) / np.maximum(changed.sum(axis=(1, 2)), 1))[pair],
    ]
    return Changes(parts, pair, np.stack(features, axis=1), facial)


def _in_deviations(seen: Comparison, where: Flags) -> Floats:
    """Return (B,) the 95 % quantile of the residual in deviations of the noise model over an area; 0 if it is tiny."""
    weight = seen.mask * where
    ratio = np.sqrt(seen.squares / seen.variance)
    return np.where(weight.mean(axis=(1, 2)) >= 0.008, _masked_quantile(ratio, weight, 0.95), 0)


def weigh(template: Floats, seen: Comparison, zones: Ints) -> Doubles:
    """Return the evidence (B, ``EVIDENCE``) of settled pairs; zones (B, n, n): see ``face_zones``."""
    length, explained, squares = _displacements(seen)
    found = find_changes(template, seen, zones, explained, squares)
    odds = OVERLAY_WEIGHTS[0] + found.features @ OVERLAY_WEIGHTS[1:]
    overlay = np.full(len(template), NO_CHANGE)
    np.minimum.at(overlay, found.pair[found.facial], odds[found.facial])
    still = ~((odds > 0) & found.facial)[found.parts]
    contrast = np.sqrt(np.minimum(seen.energy, 2000)) * seen.mask
    both = np.maximum(_blurred(seen.own**2, _ENERGY), _blurred(seen.matched**2, _ENERGY)) + 4
    columns = [
        _quantile(seen.squares / both, contrast, 0.5),
        _quantile(seen.squares / both, contrast, 0.9),
        _quantile(length, contrast, 0.5),
        _quantile(length, contrast, 0.75),
        _quantile(explained / (squares + 1), contrast, 0.5),
        (explained * seen.mask).sum(axis=(1, 2)) / ((squares * seen.mask).sum(axis=(1, 2)) + 1),
        seen.model[:, 0],
        seen.model[:, 1],
        _in_deviations(seen, (zones == 1) & still),
        _in_deviations(seen, (zones == 2) & still),
        _in_deviations(seen, (zones == 0) & still),
        overlay,
        (seen.energy * seen.mask > _TEXTURE**2).mean(axis=(1, 2)),
        seen.mask.mean(axis=(1, 2)),
        (_blurred(seen.residual, 1.0) ** 2 * seen.mask).sum(axis=(1, 2)) / ((seen.residual**2).sum(axis=(1, 2)) + 1),
    ]
    return np.stack(columns, axis=1).astype(np.float64)
