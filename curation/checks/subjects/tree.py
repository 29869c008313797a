"""Agglomerative clustering of faces, the most certain pair first: average linkage on a graph of near neighbours.

The distance of two groups is the root mean square over all pairs of their faces, so that a chain of look-alikes does
not join; it follows from centres and scatters alone. Heights are in standard deviations of the distances between
different people: -4 is four below their usual distance.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy

from curation.base.arrays import Floats, Ints
from curation.checks.subjects.null import Distances, Groups, apart

_RANKS = slice(2, 12)
"""Ranks of the strangers that measure the density of a neighbourhood: the first two may be the same person."""

_NARROWEST, _WIDEST = 0.65, 3.0
"""Bounds of the ratio of a neighbourhood's spread to that of the whole set. In a set of celebrities and babies, the
babies are near to each other and cannot be distinguished."""

_MANY_PEOPLE = 1000
"""People from which on the bounds are the widest; with a tenth of that they are 0.9 and 1.2. Of few people, the
strangers near a face are a handful, and tell little about its neighbourhood."""

Apart = Mapping[str, frozenset[str]]
"""What separates faces: question -> answers. Two groups with answers to the same question, but none in common, are
different people. A given name is an answer; so are the parts into which a person separated pictures."""

_BLOCK = 256
"""Nodes compared with all faces at a time."""


@dataclass(frozen=True)
class Tree:
    """Nodes 0 .. N - 1 are the leaves, the others are joins in their order.

    children -- (J, 2) the two nodes of each join
    height   -- (N + J,) standard deviations: the weakest join at or below a node; -inf for a leaf
    roots    -- nodes that are not part of another
    """

    children: Ints
    height: Floats
    roots: Ints

    @property
    def leaves(self) -> int:
        """Number of leaves."""
        return len(self.height) - len(self.children)

    @cached_property
    def _laid_out(self) -> tuple[Ints, Ints, Ints]:
        """Leaves in an order in which those of every node are contiguous, and where each node's begin and end."""
        count = np.concatenate([np.ones(self.leaves, dtype=np.int64), np.zeros(len(self.children), dtype=np.int64)])
        for place, (one, other) in enumerate(self.children.tolist()):
            count[self.leaves + place] = count[one] + count[other]
        begin = np.zeros(len(count), dtype=np.int64)
        begin[self.roots] = np.cumsum(count[self.roots]) - count[self.roots]
        for place in range(len(self.children) - 1, -1, -1):
            one, other = self.children[place]
            begin[one] = begin[self.leaves + place]
            begin[other] = begin[one] + count[one]
        order = np.empty(self.leaves, dtype=np.int64)
        order[begin[: self.leaves]] = np.arange(self.leaves)
        return order, begin, begin + count

    def members(self, node: int) -> Ints:
        """Return the leaves of a node."""
        order, begin, end = self._laid_out
        return order[begin[node] : end[node]]

    def cut(self, limit: float) -> list[int]:
        """Return the largest nodes with a height of at most ``limit``, and the leaves in none of them."""
        found, waiting = [], self.roots.tolist()
        while waiting:
            now = waiting.pop()
            if now < self.leaves or self.height[now] <= limit:
                found.append(now)
            else:
                waiting += self.children[now - self.leaves].tolist()
        return sorted(found)


def build(start: Groups, edges: Ints, law: Distances, apart_by: Sequence[Apart], limit: float) -> tuple[Tree, Groups]:
    """Join groups until no two connected by an edge are nearer than ``limit``; return the tree and its nodes.

    Args:
        start: (N,) what to join: single faces or given groups
        edges: (E, 2) places of near neighbours
        law: distribution of distances between two people
        apart_by: (N,) what separates each from others
        limit: standard deviations

    """
    joining = _Joining(start, law, list(apart_by))
    for one, other in edges.tolist():
        joining.offer(one, other, limit)
    while joining.join_nearest(limit):
        pass
    return joining.tree(len(start.size)), joining.groups()


class _Joining:
    """State of the groups during joining."""

    def __init__(self, start: Groups, law: Distances, apart_by: list[Apart]) -> None:
        self._law = law
        self._centre = list(start.centre)
        self._scatter, self._size, self._typical = (
            values.tolist() for values in (start.scatter, start.size, start.typical)
        )
        self._apart = apart_by
        self._alive = [True] * len(apart_by)
        self._beside: list[set[int]] = [set() for _ in apart_by]
        self._queue: list[tuple[float, int, int]] = []
        self._joined: list[tuple[int, int]] = []
        self._heights: list[float] = []

    def offer(self, one: int, other: int, limit: float) -> None:
        """Queue two groups, unless they are known to be different people or too far apart."""
        mine, theirs = self._apart[one], self._apart[other]
        if mine and theirs and any(mine[asked].isdisjoint(theirs[asked]) for asked in mine.keys() & theirs.keys()):
            return
        gap = self._centre[one] - self._centre[other]
        distance = float(gap @ gap + self._scatter[one] + self._scatter[other]) ** 0.5
        height = (distance - self._law.expected(self._typical[one], self._typical[other])) / self._law.spread(
            self._size[one], self._size[other]
        )
        if height <= limit:
            heapq.heappush(self._queue, (height, one, other))
            self._beside[one].add(other)
            self._beside[other].add(one)

    def join_nearest(self, limit: float) -> bool:
        """Join the two nearest groups; return False if none are left."""
        while self._queue:
            height, one, other = heapq.heappop(self._queue)
            if self._alive[one] and self._alive[other]:
                self._join(height, one, other, limit)
                return True
        return False

    def _join(self, height: float, one: int, other: int, limit: float) -> None:
        new, first, second = len(self._alive), self._size[one], self._size[other]
        total = first + second
        gap = self._centre[one] - self._centre[other]
        self._centre.append((first * self._centre[one] + second * self._centre[other]) / total)
        spread = first * second / total**2 * float(gap @ gap)
        self._scatter.append((first * self._scatter[one] + second * self._scatter[other]) / total + spread)
        self._typical.append((first * self._typical[one] + second * self._typical[other]) / total)
        self._size.append(total)
        self._apart.append(united([self._apart[one], self._apart[other]]))
        self._alive += [True]
        self._alive[one] = self._alive[other] = False
        self._joined.append((one, other))
        self._heights.append(height)
        neighbours = (self._beside[one] | self._beside[other]) - {one, other}
        self._beside[one], self._beside[other] = set(), set()
        self._beside.append(set())
        for neighbour in sorted(neighbours):
            if self._alive[neighbour]:
                self.offer(neighbour, new, limit)

    def tree(self, leaves: int) -> Tree:
        """Return the tree of all joins."""
        height = np.full(leaves + len(self._joined), -np.inf)
        for place, (one, other) in enumerate(self._joined):
            height[leaves + place] = max(self._heights[place], height[one], height[other])
        children = np.asarray(self._joined, dtype=np.int64).reshape(-1, 2)
        return Tree(children, height, np.flatnonzero(self._alive))

    def groups(self) -> Groups:
        """Return all groups, including joined ones, as points."""
        return Groups(
            np.asarray(self._centre), np.asarray(self._scatter), np.asarray(self._size), np.asarray(self._typical)
        )


def united(parts: Sequence[Apart]) -> Apart:
    """Return what separates a group of these parts from others."""
    found: dict[str, frozenset[str]] = {}
    for part in parts:
        for asked, answers in part.items():
            found[asked] = found.get(asked, frozenset()) | answers
    return found


def with_neighbourhoods(tree: Tree, nodes: Groups, start: Groups, law: Distances, people: int) -> Tree:
    """Return the tree with heights in standard deviations of each node's own neighbourhood.

    Args:
        tree: as built
        nodes: (N + J,) its nodes as points
        start: (N,) its leaves
        law: distribution of distances between two people
        people: their approximate number

    """
    leaves, height = tree.leaves, tree.height.copy()
    narrowest, widest = max(_NARROWEST, 1 - people / _MANY_PEOPLE), min(_WIDEST, 1 + 2 * people / _MANY_PEOPLE)
    for first in range(leaves, len(height), _BLOCK):
        block = np.arange(first, min(first + _BLOCK, len(height)))
        some = Groups(nodes.centre[block], nodes.scatter[block], nodes.size[block], nodes.typical[block])
        away = apart(some, start) - law.expected(some.typical[:, None], start.typical)
        away /= law.spread(some.size[:, None], start.size)
        for row, node in enumerate(block.tolist()):
            own = tree.members(node)
            away[row, own] = np.inf
            strangers = leaves - len(own)
            if strangers > 2 * _RANKS.stop:
                nearest = np.sort(np.partition(away[row], _RANKS.stop)[: _RANKS.stop])[_RANKS]
                usual = scipy.special.ndtri((np.arange(_RANKS.start, _RANKS.stop) + 0.6) / strangers)
                height[node] /= np.clip(np.median(nearest / usual), narrowest, widest)
    return Tree(tree.children, height, tree.roots)
