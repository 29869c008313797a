"""Marks that tell verified copies apart: what differs once the pictures are registered was laid over one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from curation.checks.challenges.overlays import PairMark, mark_of_pair

if TYPE_CHECKING:
    import pandas as pd

Pixels = npt.NDArray[np.uint8]

_MOST_PAIRS = 20_000
"""Pairs that are compared; a data set with more of them has marks enough."""

Thumbnails = Callable[[Sequence[str]], Pixels]
"""Names of contents (pixel SHA-256) -> (n, 48, 48) grey thumbnails."""


def marks_of_pairs(pairs: pd.DataFrame, minimum: float, thumbnails: Thumbnails) -> list[tuple[str, str, PairMark]]:
    """Return (content that carries a mark, its clean copy, the mark) of every pair that a mark tells apart.

    Args:
        pairs: as ``find_pairs`` returns them.
        minimum: probability from which a pair is one picture.
        thumbnails: of contents.

    """
    from curation.checks.duplicates.candidates import Candidates
    from curation.checks.duplicates.features import pictures
    from curation.checks.duplicates.verification import joined, verify

    copies = pairs[(pairs["relation"] == "near_duplicate") & (pairs["probability"] >= minimum)]
    copies = copies.sort_values(["probability", "pixel_sha256_a", "pixel_sha256_b"], ascending=[False, True, True])
    copies = copies.head(_MOST_PAIRS)
    if copies.empty:
        return []
    sides = [copies[f"pixel_sha256_{side}"].astype(str).to_numpy() for side in "ab"]
    names, places = np.unique(np.concatenate(sides), return_inverse=True)
    shown = np.ascontiguousarray(thumbnails(names.tolist()))
    mirrored = copies["transform"].astype(str).str.startswith("mirrored").to_numpy(dtype=np.bool_)
    candidates = Candidates.of(places.reshape(2, -1).T.astype(np.int64), mirrored)
    found = joined(list(verify(pictures(shown), candidates, weighed=False)))
    marks = []
    for (first, second), swapped, affine in zip(
        found.candidates.pairs.tolist(), found.candidates.mirrored.tolist(), found.maps, strict=True
    ):
        mark = mark_of_pair(shown[first], shown[second], affine, swapped)
        if mark is not None:
            carrier, clean = (second, first) if mark.marked else (first, second)
            marks.append((str(names[carrier]), str(names[clean]), mark))
    return marks
