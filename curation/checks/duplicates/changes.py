"""What two registered pictures differ in, and whether it leaves them one exposure.

A copy is the same exposure: once the map between the two is exact, what is left over is noise, whatever compression,
crop, blur or tone did, or something that was laid over one of them. Two shots of one scene leave displacements that no
single map explains, and what moved in the face. All of it is measured on grey levels, because what is laid over a
picture shows in them: it is flat or lies beyond the other's range, has straight edges, and no displacement explains it.

The map is refined by Gauss-Newton steps (Baker & Matthews 2004) on details, which are levels less their local mean,
after the other picture's tone and sharpness have been matched to the template's; residuals are weighted by Cauchy's law
on a noise model of two terms estimated from the pair: a constant, and a share of the local energy (contrast). Ground
(plain in both pictures and connected with the edge) is left out: it proves nothing.

Maps are as in ``kernel``; all of it is compiled: see ``kernels.settling`` and ``kernels.differences``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curation.checks.duplicates.kernels import load

Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]
Pixels = NDArray[np.uint8]

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


def differ(
    levels: Pixels,
    landmarks: Doubles,
    i: Ints,
    j: Ints,
    mirrored: Flags,
    maps: Doubles,
    asked: Flags,
    weighed: bool = True,
) -> Doubles:
    """Settle the pairs that are asked for, their maps in place, and weigh what they differ in.

    Args:
        levels: (N, 48, 48) uint8 grey levels
        landmarks: (N, 10) as in ``Face``, fractions of the picture; NaN where unknown
        i: (M,) templates
        j: (M,) other pictures
        mirrored: (M,) whether the other picture is to be mirrored first
        maps: (M, 6) maps to start from, changed in place where settled
        asked: (M,) which pairs
        weighed: False: only settle

    Returns:
        (M, 15) see ``EVIDENCE``; NaN where not asked for, or not settled.

    """
    differences = np.full((len(i), len(EVIDENCE)), np.nan)
    numbers = np.empty(levels.shape[1] * levels.shape[2], dtype=np.int32)
    load.entry("differ")(
        levels, landmarks, i, j, mirrored, maps, asked, weighed, numbers, numbers.view(np.float32), differences
    )
    return differences


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
