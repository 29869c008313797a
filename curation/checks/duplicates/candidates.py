"""Wide, cheap searches for pairs that may be one picture. What they name is proved or dropped by verification.

No search compares all with all: hashes meet in buckets of their chunks, descriptors in a nearest-neighbour index.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from curation.base.pools.threads import Threads, Workers, blocks, fill, in_order
from curation.checks.duplicates.features import (
    ALONE,
    MIRROR_SIGNS,
    PLAIN,
    QUANTUM,
    Floats,
    Pixels,
    View,
    descriptors,
    seen_by,
)
from curation.checks.duplicates.kernels import load

Vectors = NDArray[np.int8] | NDArray[np.float32]
"""Descriptors of pictures, which are whole numbers, or other vectors (embeddings of faces)."""

Indices = NDArray[np.int64]
Hashes = NDArray[np.int64]
Flags = NDArray[np.bool_]
Report = Callable[[int, int], None]
Join = Callable[[Hashes, Hashes, int], tuple[Indices, Indices]]
"""Finds pairs of hashes within a radius, as ``hamming_pairs`` does."""

Neighbours = tuple[Floats, Indices]
"""(N, k) similarities, falling, and (N, k) row numbers, -1 where there is none."""

Searcher = Callable[[Vectors, int], Callable[[Vectors], Neighbours]]
"""Prepares descriptors for being searched for so many neighbours, as ``searcher`` does."""


class Elsewhere(ABC):
    """A search that workers do elsewhere; each of them can make one of its own by ``make(*arguments)``.

    As it is called, descriptors and what is found go through this process: workers that have the pictures need neither.
    """

    def __init__(self, make: Callable[..., Callable[[Vectors], Neighbours]], *arguments: Any) -> None:
        """Make nothing yet; ``make`` must be importable by name, and its arguments picklable."""
        self.make = make
        self.arguments = arguments

    @abstractmethod
    def __call__(self, queries: Vectors) -> Neighbours:
        """Return the nearest of descriptors (Q, D)."""


class Features(NamedTuple):
    """What a search may look at.

    thumbnails -- (R, 48, 48) uint8 grey levels, a row a look; the first N are the distinct contents
    dhash, phash -- (N,) 64-bit perceptual hashes as signed integers, first row's first bit highest
    """

    thumbnails: Pixels
    dhash: Hashes
    phash: Hashes


class Index(NamedTuple):
    """Descriptors (R, 44) of looks, and a search for the nearest of them."""

    vectors: Vectors
    search: Callable[[Vectors], Neighbours]


_HIGH, _LOW = 33, 0xFFFFFFFF
"""Bits of a pair's number below its first row, and the second row, once whether it is mirrored is shifted out."""


@dataclass(frozen=True)
class Candidates:
    """Pairs that may be one picture, each one number, for there are many times as many pairs as images.

    keys -- (M,) int64: i * 2^33 + j * 2 + whether j is to be mirrored; i < j
    """

    keys: Indices

    @classmethod
    def of(cls, pairs: Indices, mirrored: Flags) -> Candidates:
        """Return pairs (M, 2) that are in order already."""
        return cls((pairs[:, 0] << _HIGH) | (pairs[:, 1] << 1) | mirrored)

    @property
    def pairs(self) -> Indices:
        """(M, 2) int64 rows."""
        return np.stack([self.keys >> _HIGH, (self.keys >> 1) & _LOW], axis=1)

    @property
    def mirrored(self) -> Flags:
        """(M,) whether the second is to be mirrored."""
        return (self.keys & 1).astype(np.bool_)

    def some(self, rows: slice | Indices | Flags) -> Candidates:
        """Return those in ``rows``."""
        return Candidates(self.keys[rows])

    def __len__(self) -> int:
        return len(self.keys)


class CandidateSource(Protocol):
    """Anything that can name pairs: a search of ours, or a peer's answer."""

    @property
    def name(self) -> str:
        """What the source is called in evidence and benchmarks."""

    def pairs(self, features: Features) -> Candidates:
        """Return candidate pairs; rows of ``features`` are numbered from 0."""


def as_pairs(pairs: Indices) -> Candidates:
    """Return pairs (M, 2) as they are, none mirrored."""
    return Candidates.of(pairs, np.zeros(len(pairs), dtype=np.bool_))


def as_candidates(i: Indices, j: Indices, mirrored: Flags) -> Candidates:
    """Order each pair, drop pairs of an image with itself and repetitions, and sort."""
    key: Indices = np.minimum(i, j).astype(np.int64)
    other: Indices = np.maximum(i, j).astype(np.int64)
    apart = key != other
    key <<= _HIGH
    other <<= 1
    key |= other
    key |= mirrored
    return Candidates(_distinct(key[apart]))


def _distinct(keys: Indices) -> Indices:
    """Return each of them once, sorted; they are sorted where they are."""
    # not np.unique, which hashes: five times the cost for millions of pairs
    keys.sort()
    new = np.ones(len(keys), dtype=np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=new[1:])
    return keys[new]


def union(found: list[Candidates]) -> Candidates:
    """Return all pairs that any source named, each once; ``found`` is emptied, so that its memory is used again."""
    keys = np.empty(sum(map(len, found)), dtype=np.int64)
    filled = len(keys)
    while found:
        part = found.pop()
        keys[filled - len(part) : filled] = part.keys
        filled -= len(part)
    return Candidates(_distinct(keys))


# --- hashes -----------------------------------------------------------------------------------------------------------

CHUNKS = 4
CHUNK_BITS = 16
"""Multi-index hashing (Norouzi, Punjani & Fleet 2012): 64 bits are cut into four chunks of 16."""

_ALL_PAIRS = 8
"""Among so many images with one hash every pair is named; among more, each with the so many that follow it."""


@dataclass(frozen=True)
class HashSource:
    """Pairs whose difference hashes or perceptual hashes are within ``radius`` bits, plain and mirrored."""

    radius: int
    join: Join | None = None
    report: Report | None = None
    name: str = "hashes"

    SEARCHES: ClassVar[int] = 4
    """Of which progress tells: two kinds of hash, plain and mirrored."""

    def pairs(self, features: Features) -> Candidates:
        """Return all such pairs; of images with one hash the first stands for the others."""
        join = self.join or hamming_pairs
        found = []
        for hashes, mirrored in (
            (features.dhash, mirrored_dhash(features.dhash)),
            (features.phash, mirrored_phash(features.phash)),
        ):
            _, first, group = np.unique(hashes, return_index=True, return_inverse=True)
            found.append(_within_groups(group.astype(np.int64)))
            database = _dealt(hashes[first])
            for turned, queries in ((False, database), (True, _dealt(mirrored[first]))):
                a, b = join(queries, database, self.radius)
                once = a < b  # what a is to b, plain or mirrored, b is to a
                a, b = first[a[once]], first[b[once]]
                found.append(as_candidates(a, b, np.full(len(a), turned)))
                if self.report is not None:
                    self.report(2 * (hashes is features.phash) + turned + 1, self.SEARCHES)
        return union(found)


_DEAL: Indices = np.argsort(np.add.outer(np.arange(8), np.arange(8)).ravel() % CHUNKS, kind="stable")
"""An order of the 8 x 8 bits that puts neighbours along rows and columns into different chunks. They go together, and
in chunks of whole rows a few values would hold most hashes: on 200,000 that is 2.5 times the comparisons."""


def _dealt(hashes: Hashes) -> Hashes:
    """Return hashes with their bits in another order, which leaves all distances as they are."""
    return _packed(_bits(hashes).reshape(-1, 64)[:, _DEAL].reshape(-1, 8, 8))


def _within_groups(group: Indices) -> Candidates:
    """Pair the members of each group: the k-th with the next few, so that n members make at most 8 n pairs."""
    order = np.argsort(group, kind="stable")
    parts = []
    for step in range(1, min(_ALL_PAIRS, len(order))):
        same = group[order[step:]] == group[order[:-step]]
        parts.append(np.stack([order[:-step][same], order[step:][same]], axis=1))
    pairs = np.concatenate(parts) if parts else np.empty((0, 2), dtype=np.int64)
    return as_candidates(pairs[:, 0], pairs[:, 1], np.zeros(len(pairs), dtype=np.bool_))


def _bits(hashes: Hashes) -> NDArray[np.uint8]:
    return np.unpackbits(hashes.astype(">i8").view(np.uint8).reshape(-1, 8, 1), axis=2)


def _packed(bits: NDArray[np.uint8]) -> Hashes:
    packed = np.ascontiguousarray(np.packbits(bits, axis=2)[:, :, 0])
    return packed.view(">i8")[:, 0].astype(np.int64)


def mirrored_dhash(hashes: Hashes) -> Hashes:
    """Return the difference hashes of the mirrored pictures: each row reversed and inverted (equal cells aside)."""
    return _packed(1 - _bits(hashes)[:, :, ::-1])


def mirrored_phash(hashes: Hashes) -> Hashes:
    """Return the perceptual hashes of the mirrored pictures, nearly: odd horizontal cosines change sign."""
    bits = _bits(hashes)
    bits[:, :, 1::2] = 1 - bits[:, :, 1::2]
    return _packed(bits)


def hamming_pairs(queries: Hashes, database: Hashes, radius: int) -> tuple[Indices, Indices]:
    """Return all (query, database entry) pairs within ``radius`` bits, by multi-index hashing.

    If two hashes differ in at most r bits, then in at least one chunk c they differ in at most r_c bits, where the
    r_c + 1 add up to r + 1: buckets that near are looked into.

    Args:
        queries: (Q,) signed 64-bit hashes
        database: (D,) signed 64-bit hashes
        radius: 0..12 bits

    Returns:
        indices (M,) of queries and (M,) of database entries, sorted by query, then entry.

    """
    radii = chunk_radii(radius)
    found = [_chunk_keys(queries, database, chunk, radius) for chunk in range(CHUNKS) if radii[chunk] >= 0]
    return _apart(np.sort(np.concatenate(found)))


def chunk_radii(radius: int) -> Indices:
    """Return the r_c (4,) of ``hamming_pairs``, -1 for a chunk that need not be looked at."""
    radii = np.full(CHUNKS, (radius + 1) // CHUNKS, dtype=np.int64)
    radii[: (radius + 1) % CHUNKS] += 1
    return radii - 1


def chunk_pairs(queries: Hashes, database: Hashes, chunk: int, radius: int) -> tuple[Indices, Indices]:
    """Return the pairs of ``hamming_pairs`` that ``chunk`` is the first to find, in no set order."""
    return _apart(_chunk_keys(queries, database, chunk, radius))


def _chunk_keys(queries: Hashes, database: Hashes, chunk: int, radius: int) -> Indices:
    """Return the pairs of ``chunk_pairs`` as numbers (M,): the query's row times 2^32, and the entry's."""
    order, bounds = _buckets(database, chunk)
    asked, asked_bounds = _buckets(queries, chunk)
    values = np.arange(2**CHUNK_BITS, dtype=np.uint16)
    radii = chunk_radii(radius)
    masks = values[np.bitwise_count(values) <= radii[chunk]].astype(np.int64)
    # in order of their keys, so that what meets lies together in memory
    bits = (queries[asked].view(np.uint64), database[order].view(np.uint64))
    given = (*bits, asked, order, asked_bounds, bounds, chunk, radii, radius, masks)
    found, number = np.empty(4 * len(queries) + 1024, dtype=np.int64), np.zeros(1, dtype=np.int64)
    load.entry("probe_buckets")(*given, found, number)
    if number[0] > len(found):
        found = np.empty(number[0], dtype=np.int64)
        load.entry("probe_buckets")(*given, found, number)
    return found[: number[0]].copy()


def _buckets(hashes: Hashes, chunk: int) -> tuple[Indices, Indices]:
    """Return rows (N,) in order of the chunk's value, and where in it each value begins (65537,)."""
    keys = chunk_of(hashes, chunk)
    order = np.argsort(keys, kind="stable")
    return order, np.searchsorted(keys[order], np.arange(2**CHUNK_BITS + 1))


def _apart(keys: Indices) -> tuple[Indices, Indices]:
    return keys >> 32, keys & 0xFFFFFFFF


def chunk_of(hashes: Hashes, chunk: int) -> Indices:
    """Return one chunk (N,) of each hash, 0..65535."""
    return ((hashes.view(np.uint64) >> np.uint64(chunk * CHUNK_BITS)) & np.uint64(0xFFFF)).astype(np.int64)


# --- descriptors ------------------------------------------------------------------------------------------------------

_TIGHTER = (View(1.12, 0.0, 0.0), View(1.25, 0.0, 0.0))
"""Crops of 5 and 10 % on each side."""

_STEP = 2.5
"""Shift of the shifted views, px of 48: within 1 px of shifts of 2 and 3 px along both axes."""

_PLAIN_VIEWS = (PLAIN, *_TIGHTER, View(1.0, _STEP, _STEP), View(1.0, -_STEP, _STEP))
_MIRRORED_VIEWS = (PLAIN, *_TIGHTER, View(1.0, _STEP, _STEP), View(1.0, _STEP, -_STEP))
"""A pair is looked for from both ends, so half of the diagonals suffice; mirroring swaps which half."""

FLAT_LIMIT = 30_000
"""Up to so many images all descriptors are compared by matrix products; above, within partitions, or the cost would
grow with the square."""

FEW = 4
_FLAT_LIMIT_OF_FEW = 5000
"""Where no more neighbours are asked for, they must be so similar that they lie in the nearest partitions: from so many
images on a tenth of the cost."""

_PROBES, _PROBES_OF_FEW = 64, 16
"""Partitions looked into per query: as many descriptors at a million images as are compared at 20,000, and those of a
few where only these are asked for."""

_BLOCK = 512, 1024
"""Queries and descriptors that are compared by one product, which stays in the processor's cache."""

_ALIKE, _MOST = 0.88, 16
"""Cosine of descriptors from which all neighbours are named, however many, and how many at most: the ``neighbours``
nearest may all be others, of more images or where copies of one picture are many. Of 4,024 copies among 19,183 faces
the ten nearest hold 78.5 %, these 78.9 %, for 1 % more pairs; among 80,000, most of them blends of two faces, 74.0 and
74.5 % (for 2 % more), all 16 nearest 77.0 % (for 55 % more). Other sources name most of the rest."""

_QUERIES = 65_536
"""Queries a block: enough of them for each partition, and less memory than for all at once."""

AT_ONCE = 2 * _QUERIES
"""Queries of which more is in memory than their descriptors."""

_TRAINING_POINTS, _ROUNDS = 64, 10
"""Descriptors a partition that k-means is shown, and how often it moves its centroids."""

_TOGETHER, _PRODUCTS = 512, 2**20
"""Descriptors that are compared with all centroids at a time, and products at most: more of them would be mapped anew
each time, which takes the system longer than they take."""

_SEED = 1234
"""Of the partitions' k-means."""


@dataclass(frozen=True)
class NeighbourSource:
    """The nearest descriptors of every image and of its mirror image, seen through several views."""

    neighbours: int
    report: Report | None = None
    searcher: Searcher | None = None
    workers: Workers | None = None
    name: str = "neighbours"

    SEARCHES: ClassVar[int] = len(_PLAIN_VIEWS) + len(_MIRRORED_VIEWS)
    """Of which progress tells: one a view."""

    def index(self, thumbnails: Pixels) -> Index:
        """Return the index that ``pairs`` searches; others may search it too."""
        plain = descriptors(thumbnails, PLAIN, self.workers)
        # one more, because an image is its own nearest
        count = min(max(self.neighbours, _MOST) + 1, len(thumbnails))
        return Index(plain, (self.searcher or searcher)(plain, count))

    def pairs(self, features: Features, index: Index | None = None) -> Candidates:
        """Return each image's ``neighbours`` nearest over all views, plain and mirrored, and all ``_ALIKE``."""
        plain, search = index or self.index(features.thumbnails)
        parts = in_parts(features.thumbnails)
        found, done = [], 0
        for some, pictures in parts:
            for mirrored, views in ((False, _PLAIN_VIEWS), (True, _MIRRORED_VIEWS)):
                best: Neighbours | None = None
                others = seen_by(pictures, views[1:], self.workers)
                for view in views:
                    seen = plain[some] if view == PLAIN else next(others)
                    near = search(seen * MIRROR_SIGNS if mirrored else seen)
                    best = merged(best, near) if best else near
                    done += 1
                    if self.report is not None:
                        self.report(done // len(parts), self.SEARCHES)
                row, place = self._named(*(best or near))
                del best, near, seen, others
                row += some.start
                found.append(as_candidates(row, place, np.full(len(row), mirrored)))
                del row, place
        return union(found)

    def _named(self, similarity: Floats, place: Indices) -> tuple[Indices, Indices]:
        """Return rows (M,) of queries, and the neighbours to name of each."""
        named = (similarity >= _ALIKE * QUANTUM**2) | (np.arange(similarity.shape[1]) <= self.neighbours)
        row, rank = np.nonzero(named & (place >= 0))
        return row, place[row, rank]


def in_parts(thumbnails: Pixels) -> list[tuple[slice, Pixels]]:
    """Return which pictures are looked at together, and these; all as the array that workers may have already."""
    parts = blocks(len(thumbnails), AT_ONCE)
    return [(some, thumbnails if len(parts) == 1 else thumbnails[some]) for some in parts]


def no_neighbours(rows: int, count: int) -> Neighbours:
    """Return ``Neighbours`` of so many rows that have none yet."""
    return np.full((rows, count), -np.inf, dtype=np.float32), np.full((rows, count), -1, dtype=np.int64)


def merged(one: Neighbours, other: Neighbours) -> Neighbours:
    """Return the most similar of both (N, k), each once."""
    result = np.empty_like(one[0]), np.empty_like(one[1])
    load.entry("best_distinct")(*one, *other, *result)
    return result


def is_flat(rows: int, count: int) -> bool:
    """Return whether so many descriptors are all compared when so many neighbours are asked for."""
    return rows <= (FLAT_LIMIT if count > FEW else min(FLAT_LIMIT, _FLAT_LIMIT_OF_FEW))


def searcher(database: Vectors, count: int, threads: int = 1) -> Callable[[Vectors], Neighbours]:
    """Return a function from descriptors (Q, 44) to their ``count`` nearest in ``database`` (N, 44)."""
    if is_flat(len(database), count):
        return partial(flat_search, database.astype(np.float32), count, threads=threads)
    return partial(partition_search, partitioned(database, Threads(threads)), count, threads=threads)


def flat_search(database: Floats, count: int, queries: Floats | Vectors, threads: int = 1) -> Neighbours:
    """Return the ``count`` most similar of ``database`` (N, D) to each query (Q, D), all compared; equals by row."""
    similarity, index = no_neighbours(len(queries), count)
    some, many = _BLOCK
    rows = np.arange(max(len(database), some))

    def do(block: slice) -> None:
        asked, best = queries[block].astype(np.float32), (similarity[block], index[block])
        room = np.empty(some * many, dtype=np.float32)
        least = np.full(len(asked), -np.inf, dtype=np.float32)
        for part in blocks(len(database), many):
            products = room[: len(asked) * (part.stop - part.start)].reshape(len(asked), -1)
            np.matmul(asked, database[part].T, out=products)
            load.entry("keep_best")(products, rows[: len(asked)], rows[part], least, *best)

    for _ in in_order(do, blocks(len(queries), some), threads):
        pass
    return similarity, index


class Partitions(NamedTuple):
    """Descriptors laid down by partition.

    centroids -- (P, D)
    vectors   -- (N, D) in order of their partitions
    rows      -- (N,) the row of each in the database
    bounds    -- (P + 1,) where each partition begins
    """

    centroids: Floats
    vectors: Vectors
    rows: Indices
    bounds: Indices


def partitioned(database: Vectors, workers: Workers = ALONE) -> Partitions:
    """Return partitions by a seeded spherical k-means (Dhillon & Modha 2001), 4 sqrt N of them.

    Centroids are whole numbers as descriptors are, so that products are exact and whoever computes them, in whatever
    order and on however many threads, finds the same partitions.
    """
    partitions = int(4 * len(database) ** 0.5)
    shuffled = np.random.default_rng(_SEED).permutation(len(database))
    shown = database[np.sort(shuffled[: _TRAINING_POINTS * partitions])]
    centroids = database[shuffled[:partitions]].astype(np.float32)
    for _ in range(_ROUNDS):
        sums = np.zeros(centroids.shape)
        for filled, summed in workers.doing(_make_summing, centroids)([(part,) for part in workers.sent(shown, True)]):
            sums[filled] += summed
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        centroids = np.where(length > 0, np.rint(sums * (QUANTUM / np.maximum(length, 1.0))), centroids)
        centroids = centroids.astype(np.float32)
    nearest = np.empty(len(database), dtype=np.int64)
    fill(workers, partial(_nearest_of, centroids), [database], [nearest])
    rows = np.argsort(nearest, kind="stable")
    bounds = np.searchsorted(nearest[rows], np.arange(partitions + 1))
    return Partitions(centroids, database[rows], rows, bounds)


def _nearest_of(centroids: Floats, vectors: Vectors) -> tuple[Indices]:
    nearest = np.empty(len(vectors), dtype=np.int64)
    for part in _together(len(vectors), centroids):
        nearest[part] = (vectors[part].astype(np.float32) @ centroids.T).argmax(axis=1)
    return (nearest,)


def _together(rows: int, centroids: Floats) -> list[slice]:
    return blocks(rows, max(min(_TOGETHER, _PRODUCTS // len(centroids)), 1))


def _make_summing(centroids: Floats) -> Callable[[Sequence[Vectors]], tuple[Indices, NDArray[np.float64]]]:
    """Return what finds the centroids that vectors are nearest to, and the sum of the vectors of each."""

    def summing(task: Sequence[Vectors]) -> tuple[Indices, NDArray[np.float64]]:
        (vectors,) = task
        (nearest,) = _nearest_of(centroids, vectors)
        order = np.argsort(nearest, kind="stable")
        filled, first = np.unique(nearest[order], return_index=True)
        return filled, np.add.reduceat(vectors[order], first, axis=0, dtype=np.float64)

    return summing


def partition_search(partitions: Partitions, count: int, queries: Vectors, threads: int = 1) -> Neighbours:
    """Return the ``count`` most similar to each query (Q, D) in the partitions nearest to it; equals by row.

    All queries that look into a partition are compared with it by one matrix product. The result does not depend on
    which queries come together, apart from the last bits of real numbers.
    """
    similarity, index = no_neighbours(len(queries), count)

    def do(block: slice) -> None:
        _search_partitions(partitions, queries[block], similarity[block], index[block])

    for _ in in_order(do, blocks(len(queries), min(_QUERIES, max(-(-len(queries) // threads), 1))), threads):
        pass
    return similarity, index


def probed(centroids: Floats, count: int) -> int:
    """Return how many partitions are looked into for so many neighbours."""
    return min(_PROBES if count > FEW else _PROBES_OF_FEW, len(centroids))


def _search_partitions(partitions: Partitions, queries: Vectors, similarity: Floats, index: Indices) -> None:
    count = probed(partitions.centroids, similarity.shape[1])
    probes = _nearest_partitions(partitions.centroids, queries, count)
    least = np.full(len(queries), -np.inf, dtype=np.float32)
    # the nearest first, after which few others are among the best
    for asked in (probes[:, :1], probes[:, 1:]):
        order = np.argsort(asked, axis=None, kind="stable")
        bounds = np.searchsorted(asked.ravel()[order], np.arange(len(partitions.centroids) + 1))
        order //= max(asked.shape[1], 1)
        for partition in np.flatnonzero(np.diff(bounds)).tolist():
            who = order[bounds[partition] : bounds[partition + 1]]
            inside = slice(partitions.bounds[partition], partitions.bounds[partition + 1])
            vectors = partitions.vectors[inside].astype(np.float32)
            products = queries[who].astype(np.float32) @ vectors.T
            load.entry("keep_best")(products, who, partitions.rows[inside], least, similarity, index)


_GROUPS = 4
"""Groups of centroids for each that is wanted: the most similar ones then are seldom of one group."""


def _nearest_partitions(centroids: Floats, queries: Vectors, count: int) -> NDArray[np.uint16]:
    """Return the ``count`` centroids most similar to each query (Q, count), the most similar first; equals by row.

    The most similar of each group of centroids are found first, by vectors: what is below the ``count``-th of these is
    none of the ``count`` most similar.
    """
    similarity, index = no_neighbours(len(queries), count)
    rows = np.arange(max(len(centroids), _TOGETHER))
    size = max(len(centroids) // (_GROUPS * count), 1)
    groups = len(centroids) // size
    for block in _together(len(queries), centroids):
        products = queries[block].astype(np.float32) @ centroids.T
        most = products[:, : size * groups].reshape(len(products), size, groups).max(axis=1)
        least = np.ascontiguousarray(np.partition(most, groups - count, axis=1)[:, groups - count])
        given = (products, rows[: len(products)], rows[: len(centroids)], least)
        load.entry("keep_best")(*given, similarity[block], index[block])
    return index.astype(np.uint16)  # numbers of 16 bits are sorted many times as fast
