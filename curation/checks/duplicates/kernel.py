"""The compiled part of verification: registers small grey pictures and compares them detail by detail.

A map is six numbers, see ``kernels.registration``. All of a call runs without the interpreter's lock.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curation.checks.duplicates.kernels import load

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.int64]
Stack = NDArray[np.int8]

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
    agreement = np.zeros(len(i))
    load.entry("screen")(small, middle, i, j, mirrored, maps, given, agreement)
    return agreement


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
    evidence = np.zeros((len(i), len(EVIDENCE)))
    load.entry("examine")(large, i, j, mirrored, maps, evidence)
    return evidence


def place_crops(large: Stack, one: Indices, other: Indices, sides: tuple[int, ...]) -> tuple[Doubles, Indices]:
    """Lay pictures, shrunk, over others where their details agree best.

    Args:
        large: (N, 48, 48) int8 pictures
        one: (M,) pictures that are laid over, at 24 px
        other: (M,) pictures that are shrunk
        sides: to which of them, px, at most 16; where the first agrees too little, the others are not tried

    Returns:
        (M,) the best correlation of levels, -1..1, and (M, 3) the side, left and top at which it is.

    """
    agreement, places = np.zeros(len(one)), np.zeros((len(one), 3), dtype=np.int64)
    weights = np.stack([area_weights(large.shape[1], side) for side in sides])
    given = np.array(sides, dtype=np.int64)
    load.entry("place_crops")(large, one, other, given, weights, agreement, places)
    return agreement, places


def area_weights(source: int, target: int) -> Floats:
    """Return (source, 16): the share of each target pixel that each source pixel covers, none beyond ``target``."""
    edges = np.arange(target + 1) * (source / target)
    pixels = np.arange(source)[:, None]
    covered = np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels)
    weights = np.zeros((source, 16), dtype=np.float32)
    weights[:, :target] = np.maximum(covered, 0) * (target / source)
    return weights
