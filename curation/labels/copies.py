"""Groups of copies as numbers, and sums over them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from curation.base.arrays import Floats, Ints


def pictures(groups: npt.ArrayLike) -> Ints:
    """Return the number of each image's picture, (n,): copies share one, an image of no group ("") has its own."""
    names = np.asarray(groups, dtype=object)
    own = [name or f"\0{row}" for row, name in enumerate(names)]
    return np.unique(own, return_inverse=True)[1].astype(np.int64)


def members(groups: npt.ArrayLike) -> tuple[Ints, Ints]:
    """Return the rows of the images that are in a group, (m,), and the number of each one's group, (m,)."""
    names = np.asarray(groups, dtype=object)
    rows = np.flatnonzero(names != "")
    return rows, np.unique(names[rows].astype(str), return_inverse=True)[1].astype(np.int64)


def sums(values: Floats, number: Ints) -> Floats:
    """Return the sum of the values, (m, columns), over each row's group, in every row of it."""
    total = np.zeros((number.max(initial=-1) + 1, values.shape[1]))
    np.add.at(total, number, values)
    return total[number]
