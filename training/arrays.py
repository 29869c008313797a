"""Types of arrays, one name per dtype in all packages."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]
Half = npt.NDArray[np.float16]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.uint8]
"""Grey levels or colours, 0 to 255."""

Probabilities = npt.NDArray[np.floating[Any]]
"""One per class, (n, classes); the rows sum to 1."""
