"""The compiled part of verification: registers small grey pictures and compares them detail by detail.

A map is six numbers, see ``kernels.registration``. All of a call runs without the interpreter's lock.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curation.checks.duplicates.kernels import load

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
