"""Neighbours in embedding space, and few images that represent all: linear in the number of images.

All work is done in partitions of similar size (k-means), so that no matrix of all pairs is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from curation.base.arrays import Floats, Floats32, Ints
from curation.checks.challenges.distance import Embedding, stretched

NEIGHBOURS = 10
"""The distance to the neighbour of this rank is the loneliness of an image."""

_AXES = 64
"""Axes of the projection; the rest of 1,280 dimensions mostly adds noise to distances."""

_FITTED = 10_000
"""Most images from which the axes are computed."""

_AT_ONCE = 8192
"""Images projected at a time."""

_PART = 384
"""Approximate size of a partition; selection takes quadratic time in it."""

_LARGEST = 2
"""A partition with more than this many times ``_PART`` images is divided."""

_PROBED = 12
"""Partitions in which neighbours are searched."""


@dataclass(frozen=True)
class Projection:
    """Maps embeddings (n, dimensions) to unit vectors (n, axes), whose scalar product is the similarity of images."""

    middle: Floats32
    axes: Floats32

    def __call__(self, embedding: Embedding) -> Floats32:
        """Return (n, axes) float32 of length 1."""
        result = np.empty((len(embedding), self.axes.shape[1]), np.float32)
        for start in range(0, len(embedding), _AT_ONCE):
            some = (stretched(embedding[start : start + _AT_ONCE]) - self.middle) @ self.axes
            result[start : start + _AT_ONCE] = some / np.maximum(np.linalg.norm(some, axis=1, keepdims=True), 1e-9)
        return result


def projection(embedding: Embedding, seed: int) -> Projection:
    """Return the axes of most variance, each divided by the square root of its deviation, so that none dominates."""
    rng = np.random.default_rng(seed)
    rows = np.arange(len(embedding))
    rows = rows if len(rows) <= _FITTED else np.sort(rng.choice(rows, _FITTED, replace=False))
    points = stretched(embedding[rows])
    middle = points.mean(axis=0)
    centred = points - middle
    variance, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64) / max(len(rows), 1))
    count = max(1, min(_AXES, len(rows) - 1, len(variance)))
    scale = np.maximum(variance[-count:], 1e-9) ** -0.25
    return Projection(middle, np.asarray(axes[:, -count:] * scale, np.float32))


def partitions(points: Floats32, seed: int, size: int = _PART) -> list[Ints]:
    """Return the rows of each partition of about ``size`` neighbouring rows; none is more than twice as large."""
    import faiss

    rows = np.arange(len(points))
    count = round(len(points) / size)
    if count < 2:
        return [rows] if len(rows) else []
    means: Any = faiss.Kmeans(
        points.shape[1], count, niter=8, seed=seed % 2**31, spherical=True, max_points_per_centroid=64
    )
    means.min_points_per_centroid = 1
    means.train(points)
    _, nearest = means.index.search(points, 1)
    order = np.argsort(nearest[:, 0], kind="stable")
    found = np.split(order, np.cumsum(np.bincount(nearest[:, 0], minlength=count))[:-1])
    return [
        part for whole in found if len(whole) for part in np.array_split(whole, -(-len(whole) // (_LARGEST * size)))
    ]


def _index(points: Floats32) -> Any:
    """Return a search index of points; of many points only the nearest partitions are searched."""
    import faiss

    flat: Any = faiss.IndexFlatIP(points.shape[1])
    if len(points) <= _PROBED * _PART:
        flat.add(points)
        return flat
    index: Any = faiss.IndexIVFFlat(flat, points.shape[1], len(points) // _PART, faiss.METRIC_INNER_PRODUCT)
    index.nprobe = _PROBED
    index.cp.max_points_per_centroid, index.cp.min_points_per_centroid = 64, 1
    index.train(points)
    index.add(points)
    return index


def lonely(points: Floats32) -> Floats:
    """Return the distance (n,) of each row to its ``NEIGHBOURS``-th neighbour (0 the same .. 2 opposite).

    NaN if there are fewer others. Among many images, neighbours are searched in the nearest partitions only.
    """
    if len(points) <= NEIGHBOURS:
        return np.full(len(points), np.nan)
    alike, _ = _index(points).search(points, NEIGHBOURS + 1)
    return np.asarray(np.sqrt(np.clip(2 - 2 * alike[:, -1].astype(np.float64), 0, None)), np.float64)


def nearest_alike(points: Floats32, others: Floats32) -> Floats:
    """Return the similarity (n,) of each row to its nearest of ``others``, -1 (opposite) to 1; -1 without others."""
    if not len(others):
        return np.full(len(points), -1.0)
    alike, _ = _index(others).search(points, 1)
    return np.asarray(alike[:, 0], np.float64)


def chosen(points: Floats32, merit: Floats, limit: int, covered: Floats | None = None) -> tuple[Ints, Floats]:
    """Return the rows that best represent all rows, in the order of choice, and the gain of each.

    Facility location: each row counts with its similarity to the nearest chosen row, times that row's merit. The greedy
    choice has at least 1 - 1/e of the best value for its size (Nemhauser, Wolsey & Fisher, 1978, Math. Prog. 14:265).

    Args:
        points: (n, axes) of length 1.
        merit: (n,) 0..1, such as the probability that the label is right; the weight of a row, chosen or represented.
        limit: most rows to choose.
        covered: (n,) similarity to the nearest row that was chosen before; None if there is none.

    """
    alike = np.clip(points @ points.T, 0, 1) * merit[None, :].astype(np.float32)
    best = np.zeros(len(points), np.float32) if covered is None else np.clip(covered, 0, 1).astype(np.float32)
    weight = merit.astype(np.float32)
    # gains never grow, so only the largest bound is recomputed (Minoux, 1978)
    bounds = weight @ np.maximum(alike - best[:, None], 0)
    rows: list[int] = []
    gains: list[float] = []
    while len(rows) < min(limit, len(points)):
        while True:
            first = int(np.argmax(bounds))
            now = float(weight @ np.maximum(alike[:, first] - best, 0))
            if now >= bounds[first] - 1e-6:
                break
            bounds[first] = now
        rows.append(first)
        gains.append(max(now, 0.0))
        best = np.maximum(best, alike[:, first])
        bounds[first] = -1.0
    return np.array(rows, np.int64), np.array(gains)


def shares(sizes: Ints, number: int, *, even: bool) -> Ints:
    """Return how many of ``number`` each group gets: equal numbers (``even``), or by its size.

    No group gets more than its size; the rest goes to the largest remainders, the first among equal ones.
    """
    left = min(number, int(sizes.sum()))
    if not even:
        exact = sizes * (left / max(int(sizes.sum()), 1))
        given: Ints = np.floor(exact).astype(np.int64)
        given[np.argsort(given - exact, kind="stable")[: left - int(given.sum())]] += 1
        return given
    given = np.zeros(len(sizes), dtype=np.int64)
    while left > 0:
        open_ = np.flatnonzero(given < sizes)
        each = max(left // len(open_), 1)
        more = np.minimum(sizes[open_] - given[open_], each)[:left]
        given[open_[: len(more)]] += more
        left -= int(more.sum())
    return given
