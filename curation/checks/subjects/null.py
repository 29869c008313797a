"""The distribution of distances between different people's faces in a data set, estimated from the set itself.

Almost all pairs of faces in a data set are of different people, and their distances are close to a normal distribution
(between faces of two other data sets: down to one pair in a hundred thousand). Its median and its lower side are
estimated from the data (an empirical null: Efron, "Large-scale simultaneous hypothesis testing", 2004) without pairs
known to be of one person. It gives the number of pairs of different people below a distance by chance, which grows with
the square of the number of faces, so the limit falls as a data set grows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from curation.base.arrays import Floats, Ints

_PAIRS = 400_000
"""Pairs of faces that are drawn."""

_COHORT = 2000
"""Faces to which each face's typical distance is measured."""

_OWN_SHARE = 0.5
"""Share of the deviation of a face's typical distance that is corrected. A face of poor quality is near to all, one
with a beard far from all; but part of that is the person. On two sizes of one set of 40 people, at one false pair in
10,000, a half gave 0.961 and 0.906 of the true pairs, none 0.948 and 0.879, the whole 0.930 and 0.855."""

_LARGE = 4
_ENOUGH_LARGE = 25
"""Faces per group, and groups, needed to estimate how much less the distance of two groups varies."""

_LEAST_KNOWN = 200
"""Pairs known to be of different people from which on the distribution is checked against them."""

_LEAST_FREEDOM = 100
"""Pictures beyond the first of each person from which on the variation within people is estimated."""

_SHRINKAGE = 0.7
"""Shrinkage of the covariance within people towards a sphere. For 40 people at 92, 48, 40, 32, 28 and 24 px 0.7 joined
the most pairs, 0.5 and 0.9 hardly fewer, all more than none."""

_LOWER = (0.1587, 0.05)
"""Quantiles at which the lower side is estimated; the wider one counts."""


@dataclass(frozen=True)
class Distances:
    """The distribution of distances between two people.

    middle -- median
    between, within -- variances: of two people's distance, and added by a single face; for groups of a and b faces the
        variance is between + within * (1/a + 1/b)
    typical -- (N,) median distance of each face to others
    """

    middle: float
    between: float
    within: float
    typical: Floats

    def expected(self, one: Any, other: Any) -> Any:
        """Return the expected distance of two faces (or groups) with these typical distances."""
        return _OWN_SHARE * (one + other) / 2 + (1 - _OWN_SHARE) * self.middle

    def spread(self, one: Any, other: Any) -> Any:
        """Return the standard deviation for groups of these sizes."""
        return np.sqrt(self.between + self.within * (1 / one + 1 / other))


@dataclass(frozen=True)
class Groups:
    """Groups as points: (K, dimensions) centres, (K,) mean squared distances from them, sizes, typical distances."""

    centre: Floats
    scatter: Floats
    size: Floats
    typical: Floats


def grouped(faces: Floats, number: Ints, typical: Floats) -> Groups:
    """Return the groups of faces (N, dimensions) given by ``number`` (N,) in 0 .. K - 1."""
    size = np.bincount(number).astype(np.float64)
    centre = np.zeros((len(size), faces.shape[1]))
    np.add.at(centre, number, faces)
    centre /= size[:, None]
    scatter = np.bincount(number, ((faces - centre[number]) ** 2).sum(axis=1)) / size
    return Groups(centre, scatter, size, np.bincount(number, typical) / size)


def apart(one: Groups, other: Groups) -> Floats:
    """Return (A, B) root mean square distances between the faces of two sets of groups."""
    square = (one.centre**2).sum(axis=1)[:, None] + (other.centre**2).sum(axis=1) - 2 * one.centre @ other.centre.T
    total: Floats = np.sqrt(np.maximum(square + one.scatter[:, None] + other.scatter, 0.0))
    return total


def without_own_variation(faces: Floats, number: Ints, different: Floats | None) -> tuple[Floats, Floats | None]:
    """Return faces (N, dimensions) with smaller weight of the directions in which pictures of one person differ.

    Within-class covariance normalisation (Hatch, Kajarekar & Stolcke, 2006), with the covariance shrunk towards a
    sphere, reduces the effect of expression, light and pose. Without enough pictures of one person nothing changes.

    Args:
        faces: (N, dimensions) embeddings
        number: (N,) groups of one person found so far
        different: (M, 2, dimensions) pairs, transformed the same way

    """
    size = np.bincount(number)
    freedom = int((size[size > 1] - 1).sum())
    if freedom < _LEAST_FREEDOM:
        return faces, different
    centre = np.zeros((len(size), faces.shape[1]))
    np.add.at(centre, number, faces)
    centre /= size[:, None]
    own = (faces - centre[number])[size[number] > 1]
    covariance = own.T @ own / freedom
    mean = float(np.trace(covariance)) / len(covariance)
    shrunk = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * mean * np.eye(len(covariance))
    values, vectors = np.linalg.eigh(shrunk)
    change = (vectors * np.sqrt(mean / values)) @ vectors.T
    return faces @ change, None if different is None else different @ change


def learn(faces: Floats, number: Ints, seed: int, different: Floats | None = None) -> Distances:
    """Return the distribution of distances between two people.

    Args:
        faces: (N, dimensions) embeddings
        number: (N,) groups of one person found or given so far; pairs inside one do not count
        seed: of the pairs drawn
        different: (M, 2, dimensions) embeddings of pairs known to be of different people; if their lower side is wider
            than that of the drawn pairs, it counts

    """
    rng = np.random.default_rng(seed)
    cohort = np.sort(rng.choice(len(faces), min(_COHORT, len(faces)), replace=False))
    typical = _typical(faces, faces[cohort], number, number[cohort])
    one, other = rng.integers(0, len(faces), (2, _PAIRS))
    kept = number[one] != number[other]
    one, other = one[kept], other[kept]
    distance = _lengths(faces, one, other)
    law = Distances(float(np.median(distance)), 1.0, 0.0, typical)
    rest = distance - law.expected(typical[one], typical[other])
    single = _lower_side(rest)
    if different is not None and len(different) >= _LEAST_KNOWN:
        nobody = np.full(len(different), -1)
        a, b = (_typical(different[:, side], faces[cohort], nobody, number[cohort]) for side in (0, 1))
        known = np.linalg.norm(different[:, 0] - different[:, 1], axis=1) - law.expected(a, b)
        single = max(single, float(np.quantile(known, _LOWER[1]) / scipy.special.ndtri(_LOWER[1])))
    return _with_sizes(law, single, grouped(faces, number, typical))


def _with_sizes(law: Distances, single: float, groups: Groups) -> Distances:
    """Return the distribution with its variance split into those of people and of single faces."""
    large = np.flatnonzero(groups.size >= _LARGE)
    within = 0.0
    if len(large) >= _ENOUGH_LARGE:
        large = large[: int(_PAIRS**0.5)]
        chosen = Groups(groups.centre[large], groups.scatter[large], groups.size[large], groups.typical[large])
        upper = np.triu_indices(len(large), 1)
        rest = (apart(chosen, chosen) - law.expected(chosen.typical[:, None], chosen.typical))[upper]
        inverse = float((1 / chosen.size[:, None] + 1 / chosen.size)[upper].mean())
        within = max(0.0, (single**2 - _lower_side(rest) ** 2) / (2 - inverse))
    return Distances(law.middle, max(single**2 - 2 * within, 1e-9), within, law.typical)


def _lengths(faces: Floats, one: Ints, other: Ints) -> Floats:
    squares = (faces**2).sum(axis=1)
    block = 65_536
    products = [
        np.einsum("ij,ij->i", faces[one[start : start + block]], faces[other[start : start + block]])
        for start in range(0, len(one), block)
    ]
    length: Floats = np.sqrt(np.maximum(squares[one] + squares[other] - 2 * np.concatenate(products), 0.0))
    return length


def _lower_side(values: Floats) -> float:
    """Return the standard deviation estimated from the values below the median."""
    middle = np.median(values)
    return float(max((np.quantile(values, share) - middle) / scipy.special.ndtri(share) for share in _LOWER))


def _typical(faces: Floats, cohort: Floats, number: Ints, cohort_number: Ints) -> Floats:
    """Return (N,) the median distance of each face to faces of other groups in the cohort."""
    result = np.empty(len(faces))
    squares, cohort_squares = (faces**2).sum(axis=1), (cohort**2).sum(axis=1)
    for start in range(0, len(faces), _COHORT):
        rows = slice(start, start + _COHORT)
        square = squares[rows, None] + cohort_squares - 2 * faces[rows] @ cohort.T
        square[number[rows, None] == cohort_number] = np.nan
        result[rows] = np.sqrt(np.maximum(np.nanmedian(square, axis=1), 0.0))
    return np.where(np.isnan(result), np.nanmedian(result), result)
