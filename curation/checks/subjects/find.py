"""Groups of one person among faces, for an unknown number of people, and their expected precision.

A group is a node of the tree of joins. The limit of heights is the highest at which the expected pairs of different
people below it are at most one in a hundred (by default) of the pairs in groups.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy

from curation.base.arrays import Floats, Floats32, Ints
from curation.checks.subjects import null, tree

REVISION = 2
"""To be raised whenever groups may change for the same embeddings; makes kept ones stale."""

_NEIGHBOURS = 32
"""Nearest faces with which a face may be joined directly; a person with more pictures is joined through them."""

_FEW = 2048
"""Up to this many faces all pairs are compared."""

_CHANCE_EDGES = 2.0
"""Pairs of strangers per face that are considered: a limit beyond which there is no useful group."""

_ROUNDS = 3
"""Rounds, each of which uses the people found by the last: the distribution of strangers without their pairs, and the
directions in which one person's pictures differ."""

_HEIGHTS = np.linspace(-1.5, -9.0, 151)
"""Limits that are tried, in standard deviations."""

_WINDOW = 10
"""Steps of ``_HEIGHTS``: half a standard deviation, in which joins are compared with those expected by chance."""

_LARGEST_LOCAL = 15
"""Joins just below the limit may be wrong this many times as often as pairs overall: at 0.99 about one in seven."""

_LEAST_FACES = 30
"""With fewer faces the distances between people cannot be estimated."""

Separated = Sequence[Sequence[Sequence[int]]]

_MADE = re.compile("person-[0-9a-f]{12}")

UNSURE = 0.9
"""Groups with at least this expected precision, but less than requested, wait for a person."""


def is_made(name: str) -> bool:
    """Return whether a name was generated for pictures that, according to somebody, show one unnamed person.

    They may still show somebody else who was given a name.
    """
    return _MADE.fullmatch(name) is not None


@dataclass(frozen=True)
class Subjects:
    """Who is who among faces (N,).

    group      -- number of the person: equal for one person
    sure       -- expected share of correct pairs among all groups at least as certain as this one; 1 for single faces
    perhaps    -- number of the person at the precision ``UNSURE``
    unsure     -- the same share for those
    limit      -- standard deviations: largest height of groups
    expected_false -- pairs of different people expected in groups by chance
    pairs      -- pairs in groups
    """

    group: Ints
    sure: Floats
    perhaps: Ints
    unsure: Floats
    limit: float
    expected_false: float
    pairs: int


def find_subjects(
    faces: Floats32,
    given: Sequence[str],
    precision: float,
    seed: int,
    different: Floats | None = None,
    separated: Separated = (),
) -> Subjects:
    """Return who is who; deterministic.

    Args:
        faces: (N, dimensions) embeddings, one per distinct picture: copies would count as evidence
        given: (N,) names of people, "" if unknown; faces of one name are one person, of two names two
        precision: expected share of correct pairs, 0.5 .. 1
        seed: of random draws
        different: (M, 2, dimensions) embeddings of pairs of faces that are known to show different people
        separated: places of faces that a person separated: different parts of a set show different people

    """
    names = np.asarray(given, dtype=object)
    leaf = _leaves(names)
    apart = _apart(names, leaf, separated)
    if len(faces) < _LEAST_FACES:
        return _as_given(leaf)
    number = leaf
    for _ in range(_ROUNDS):
        points, known = null.without_own_variation(faces.astype(np.float64), number, different)
        law = null.learn(points, number, seed, known)
        start = null.grouped(points, leaf, law.typical)
        leaf_names = names[np.unique(leaf, return_index=True)[1]].tolist()
        strangers = _stranger_pairs(start.size, [bool(name) and not is_made(name) for name in leaf_names])
        if not strangers:
            return _as_given(leaf)
        limit = float(scipy.special.ndtri(min(_LOOSEST, _CHANCE_EDGES * len(faces) / strangers)))
        found, nodes = tree.build(start, _edges(points, leaf), law, apart, limit)
        people = int(number.max()) + 1
        told = tree.with_neighbourhoods(found, nodes, start, law, people)
        curve = _Curve.of(told, nodes.size, start.size, strangers)
        number = _with_sureness(told, curve, curve.limit(precision))[0][leaf]
    return _as_subjects(told, curve, leaf, precision)


_LOOSEST = 0.1
"""Share of strangers' pairs that may be considered in a small set."""


def _leaves(names: npt.NDArray[np.object_]) -> Ints:
    """Return (N,) in 0 .. K - 1: the faces of one name are one leaf, each unnamed face is its own leaf."""
    keys = np.array([f"={name}" if name else f"#{place}" for place, name in enumerate(names)], dtype=object)
    return np.asarray(pd.factorize(keys)[0], dtype=np.int64)


def _as_given(leaf: Ints) -> Subjects:
    ones = np.ones(len(leaf))
    return Subjects(leaf, ones, leaf, ones, -np.inf, 0.0, 0)


def _apart(names: npt.NDArray[np.object_], leaf: Ints, separated: Separated) -> list[tree.Apart]:
    """Return what separates each leaf from others."""
    found: list[list[tree.Apart]] = [[] for _ in range(int(leaf.max(initial=-1)) + 1)]
    for place, name in enumerate(names):
        if name and not is_made(name):
            found[leaf[place]].append({"name": frozenset([name])})
    for number, parts in enumerate(separated):
        for part, places in enumerate(parts):
            for place in places:
                found[leaf[place]].append({f"separated {number}": frozenset([str(part)])})
    return [tree.united(each) for each in found]


def _stranger_pairs(size: Floats, given: list[bool]) -> float:
    """Return how many pairs of faces are undecided: not within one leaf, and not both named."""
    named = np.array(given)
    total, known = size.sum(), size[named].sum()
    alone = size[~named]
    return float((total**2 - known**2 - (alone**2).sum()) / 2)


def _edges(points: Floats, leaf: Ints) -> Ints:
    """Return (E, 2) pairs of leaves whose faces are near neighbours, each once."""
    from curation.checks.duplicates.candidates import searcher

    count = min(_NEIGHBOURS + 1, len(points))
    if len(points) <= _FEW:
        one, other = np.triu_indices(len(points), 1)
    else:
        # with one more dimension the largest product is the smallest distance
        database = np.column_stack([points, -(points**2).sum(axis=1) / 2]).astype(np.float32)
        asked = np.column_stack([points, np.ones(len(points))]).astype(np.float32)
        near = searcher(database, count)(asked)[1]
        one, other = np.repeat(np.arange(len(points)), count), near.ravel()
        one, other = one[other >= 0], other[other >= 0]
    one, other = leaf[one], leaf[other]
    pairs = np.stack([np.minimum(one, other), np.maximum(one, other)], axis=1)[one != other]
    return np.unique(pairs, axis=0)


@dataclass(frozen=True)
class _Curve:
    """The outcome at each limit of heights.

    pairs  -- pairs of faces in groups
    groups -- number of groups, including single faces
    chance -- share of strangers that are nearer
    false  -- pairs of strangers expected to be nearer
    """

    pairs: Floats
    groups: Floats
    chance: Floats
    false: Floats

    @classmethod
    def of(cls, found: tree.Tree, sizes: Floats, leaf_sizes: Floats, strangers: float) -> _Curve:
        """Return the curve of a tree; ``sizes`` are the faces of its nodes, ``leaf_sizes`` those of its leaves."""
        own = np.concatenate([leaf_sizes**2, np.zeros(len(found.children))])
        for place, (one, other) in enumerate(found.children.tolist()):
            own[found.leaves + place] = own[one] + own[other]
        joined = (sizes**2 - own) / 2
        cuts = [found.cut(limit) for limit in _HEIGHTS]
        pairs = np.array([joined[cut].sum() for cut in cuts])
        groups = np.array([float(len(cut)) for cut in cuts])
        chance = np.asarray(scipy.special.ndtr(_HEIGHTS), dtype=np.float64)
        return cls(pairs, groups, chance, strangers * chance)

    @property
    def precision(self) -> Floats:
        """Expected share of correct pairs at each limit, monotone: never less at a lower limit."""
        share = 1 - self.false / np.maximum(self.pairs, 1e-9)
        rising: Floats = np.maximum.accumulate(np.clip(share, 0.0, 1.0))
        return rising

    def limit(self, precision: float) -> float:
        """Return the highest limit with that expected precision; -inf where there is none.

        The joins just below it must be correct too, not only all joins on average: certain groups must not make room
        for false pairs (local as opposed to tail-area false discovery rate: Efron, 2004).
        """
        enough = (1 - self.false / np.maximum(self.pairs, 1e-9)) >= precision
        lower = np.minimum(np.arange(len(_HEIGHTS)) + _WINDOW, len(_HEIGHTS) - 1)
        joins, by_chance = self.groups[lower] - self.groups, self.chance - self.chance[lower]
        enough &= self.groups**2 / 2 * by_chance <= _LARGEST_LOCAL * (1 - precision) * joins
        return float(_HEIGHTS[enough.argmax()]) if enough.any() else -np.inf

    def at(self, heights: Floats) -> Floats:
        """Return the expected precision of limits at given heights."""
        told: Floats = np.interp(-heights, -_HEIGHTS, self.precision)
        return told


def _as_subjects(found: tree.Tree, curve: _Curve, leaf: Ints, precision: float) -> Subjects:
    limit = curve.limit(precision)
    group, sure = _with_sureness(found, curve, limit)
    perhaps, unsure = _with_sureness(found, curve, curve.limit(UNSURE))
    place = int((limit <= _HEIGHTS).sum()) - 1 if np.isfinite(limit) else len(_HEIGHTS) - 1
    pairs = int(curve.pairs[place]) if np.isfinite(limit) else 0
    false = float(curve.false[place]) if pairs else 0.0
    return Subjects(group[leaf], sure[leaf], perhaps[leaf], unsure[leaf], limit, false, pairs)


def _with_sureness(found: tree.Tree, curve: _Curve, limit: float) -> tuple[Ints, Floats]:
    """Return (N,) in 0 .. K - 1 the group of each leaf at a limit, and its expected precision; 1 for a single leaf."""
    nodes = found.cut(limit)
    number, sure = np.empty(found.leaves, dtype=np.int64), np.ones(found.leaves)
    heights = curve.at(found.height[nodes])
    for place, node in enumerate(nodes):
        members = found.members(node)
        number[members] = place
        if node >= found.leaves:
            sure[members] = heights[place]
    return number, sure
