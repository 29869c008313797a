"""Marks that recur: the same strokes at the same place on pictures that are otherwise different."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_SUSPECT = 0.1
"""Probability from which an image is compared with others."""

_MOST = 3000
"""Suspects that are compared with each other at most, the likeliest first."""

_ALIKE = 0.7
"""Correlation of details under the mark."""

_FEWEST_CELLS = 8
"""Cells of 14 x 14 that a mark must cover: of fewer, two pictures agree by chance."""

_ELSEWHERE = 0.4
"""Correlation of details outside the mark from which two pictures are copies rather than two with one mark."""

_FEWEST_OTHERS = 2
"""Other pictures on which a mark must lie."""

_BLOCK = 512

_MOST_CLEAN, _COMMON = 600, 60
"""Pictures that surely carry no mark, from which so many principal components of details are taken: those of eyes and
mouths, which lie at one place on many pictures too. They do not count when pictures are compared."""


def recurring_marks(
    probability: Floats, logits: npt.NDArray[np.float32], thumbnails: npt.NDArray[np.uint8]
) -> dict[int, int]:
    """Return image (row) -> on how many other pictures the same mark lies at the same place, two at least.

    Args:
        probability: (n,) that each carries a mark; NaN where unknown.
        logits: (n, c, c) of the head that finds marks.
        thumbnails: (n, 48, 48).

    """
    covered = (logits >= 0).sum(axis=(1, 2)) >= _FEWEST_CELLS
    suspects = np.flatnonzero((np.nan_to_num(probability) >= _SUSPECT) & covered)
    suspects = suspects[np.argsort(-probability[suspects], kind="stable")][:_MOST]
    if len(suspects) <= _FEWEST_OTHERS:
        return {}
    clean = np.flatnonzero(probability < _SUSPECT)
    common = _components(_details(thumbnails[clean[:: len(clean) // _MOST_CLEAN + 1]]))
    details = _details(thumbnails[suspects])
    own = np.asarray(details - (details @ common.T) @ common, np.float32)
    side = thumbnails.shape[1]
    marks = np.stack([_mask(logits[row], side) for row in suspects.tolist()])
    # what the head saw of a mark may not be all of it
    near = np.stack([cv2.dilate(mark, np.ones((7, 7), np.uint8)) for mark in marks])
    masks, beside = (np.asarray(part.reshape(len(suspects), -1), np.float32) for part in (marks, 1 - near))
    counts = np.zeros(len(suspects), np.int64)
    for start in range(0, len(suspects), _BLOCK):
        block = slice(start, start + _BLOCK)
        under = _correlations(own[block], masks[block], own)
        around = _correlations(details[block], beside[block], details)
        alike = (under >= _ALIKE) & (around < _ELSEWHERE)
        counts[block] = alike.sum(axis=1)
    return {int(row): int(n) for row, n in zip(suspects, counts, strict=True) if n >= _FEWEST_OTHERS}


def _details(thumbnails: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    pictures = thumbnails.astype(np.float32)
    found = [(picture - cv2.blur(picture, (7, 7))).ravel() for picture in pictures]
    return np.array(found, np.float32).reshape(len(pictures), int(np.prod(thumbnails.shape[1:])))


def _components(details: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return principal components (m, p) of details (n, p), fewer than a quarter of the pictures."""
    if len(details) < 4:
        return details[:0]
    return np.asarray(np.linalg.svd(details, full_matrices=False)[2][: min(_COMMON, len(details) // 4)], np.float32)


def _mask(logits: npt.NDArray[np.float32], side: int) -> npt.NDArray[np.float32]:
    covered = (logits >= min(0.0, float(logits.max()))).astype(np.float32)
    return np.asarray(cv2.resize(covered, (side, side), interpolation=cv2.INTER_NEAREST), np.float32)


def _correlations(
    details: npt.NDArray[np.float32], masks: npt.NDArray[np.float32], others: npt.NDArray[np.float32]
) -> npt.NDArray[np.floating[Any]]:
    """Return (m, n) correlations of details (m, p) with others (n, p) under the first's masks; means are about 0."""
    masked = details * masks
    cross = masked @ others.T
    own, theirs = (masked * masked).sum(axis=1, keepdims=True), masks @ (others * others).T
    return np.asarray(cross / np.sqrt(np.maximum(own * theirs, 1e-6)))
