"""The costly steps of the near-duplicate search on Ray, by the same functions and with the same results.

What all tasks of a step look at (pictures, hashes, an index) is stored once and shared by all processes of a node; a
task is a block of pairs, of queries or of pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from curation.base.pools.ray_pool import RayPool
from curation.base.pools.ray_workers import OnRay
from curation.base.pools.threads import Make, blocks
from curation.checks.duplicates.candidates import (
    Candidates,
    Elsewhere,
    Hashes,
    Indices,
    Neighbours,
    Partitions,
    Vectors,
    hamming_pairs,
    is_flat,
    partition_search,
    partitioned,
    searcher,
)
from curation.checks.duplicates.features import Floats, Pictures
from curation.checks.duplicates.find import Engine
from curation.checks.duplicates.verification import Verified, joined, verify

if TYPE_CHECKING:
    from curation.base.settings import EngineSettings

Report = Callable[[int, int], None]

_PAIRS = 8192
"""Pairs a block: at a tenth of a millisecond each, a second."""

_LEAST_QUERIES, _MOST_QUERIES = 8192, 131_072
_BLOCKS_A_WORKER = 4
"""Descriptors a block, of equal size: a block costs the one who gives it out some milliseconds. Of blocks at least so
many where there is enough work, so that all end at about the same time."""

_PARTITIONED_AT_ONCE = 65_536
"""Descriptors that one process divides in less time than it takes to share that work."""


def ray_engine(settings: EngineSettings) -> Engine:
    """Return the steps of ``find_near_duplicates`` as they run on Ray; nothing is started before the first one."""
    workers = OnRay(settings)
    return Engine(partial(_join, settings), partial(_searcher, settings), partial(_verify, settings), workers)


def _verify(
    settings: EngineSettings, pictures: Pictures, candidates: Candidates, report: Report | None = None
) -> Iterator[Verified]:
    tasks = [candidates.some(block) for block in blocks(len(candidates), _PAIRS)]
    if tasks:
        yield from RayPool[Candidates, Verified](settings, _make_verifier, *pictures).in_order(tasks, report)


def _make_verifier(*pictures: Any) -> Callable[[Candidates], Verified]:
    given = Pictures(*pictures)
    return lambda block: joined(verify(given, block))


def _searcher(settings: EngineSettings, database: Vectors, count: int) -> Callable[[Vectors], Neighbours]:
    arguments: tuple[Any, ...] = (database, count)
    make: Callable[..., Callable[[Vectors], Neighbours]] = searcher
    if not is_flat(len(database), count):
        # the partitions are made once, and shared
        workers = OnRay(settings)
        small = len(database) <= _PARTITIONED_AT_ONCE
        made = next(workers.doing(_make_partitioned)([database])) if small else partitioned(database, workers)
        arguments = (*made, count)
        make = _partition_searcher
    return _Search(settings, make, *arguments)


class _Search(Elsewhere):
    def __init__(self, settings: EngineSettings, make: Make, *arguments: Any) -> None:
        super().__init__(make, *arguments)
        self._pool = RayPool[Vectors, Neighbours](settings, make, *arguments)

    def __call__(self, queries: Vectors) -> Neighbours:
        number = min(self._pool.workers * _BLOCKS_A_WORKER, len(queries) // _LEAST_QUERIES)
        size = -(-len(queries) // max(number, -(-len(queries) // _MOST_QUERIES), 1))
        parts = list(self._pool.in_order([queries[block] for block in blocks(len(queries), size)]))
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _make_partitioned() -> Callable[[Vectors], Partitions]:
    return partitioned


def _partition_searcher(
    centroids: Floats, vectors: Vectors, rows: Indices, bounds: Indices, count: int
) -> Callable[[Vectors], Neighbours]:
    return partial(partition_search, Partitions(centroids, vectors, rows, bounds), count)


def _join(settings: EngineSettings, queries: Hashes, database: Hashes, radius: int) -> tuple[Indices, Indices]:
    pool = RayPool[tuple[Hashes, int], tuple[Indices, Indices]](settings, _make_joiner, database, radius)
    # a block a worker, because each sorts all of the database first
    size = max(-(-len(queries) // pool.workers), _LEAST_QUERIES)
    parts = list(pool.in_order([(queries[block], block.start) for block in blocks(len(queries), size)]))
    empty = np.empty(0, dtype=np.int64)
    query, entry = (np.concatenate([empty, *(part[side] for part in parts)]) for side in (0, 1))
    return query, entry


def _make_joiner(database: Hashes, radius: int) -> Callable[[tuple[Hashes, int]], tuple[Indices, Indices]]:
    def join(task: tuple[Hashes, int]) -> tuple[Indices, Indices]:
        query, entry = hamming_pairs(task[0], database, radius)
        return query + task[1], entry

    return join
