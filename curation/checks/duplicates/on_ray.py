"""The costly steps of the near-duplicate search on Ray, by the same functions and with the same results.

Verification: blocks of pairs; the pictures are stored once and shared by all processes of a node. Neighbours: blocks of
queries against the one index (for many images: k-means partitions). Hashes: a shuffle by chunk keys, for so many that
it pays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curation.base.pools import EngineError, ray_pool
from curation.checks.duplicates.candidates import (
    CHUNK_BITS,
    Candidates,
    Hashes,
    Indices,
    Neighbours,
    Partitions,
    chunk_of,
    chunk_pairs,
    chunk_radii,
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
Columns = dict[str, NDArray[Any]]

_BLOCKS_A_WORKER = 4
"""At least so many, where there is enough work, so that all end at about the same time."""

_LEAST_PAIRS = 4096
_MOST_PAIRS = 65_536
"""Pairs a block: at a tenth of a millisecond each, between half a second and a few seconds."""

_LEAST_QUERIES = 4096
"""Queries a block: faiss compares them with the database in blocks of as many."""

_WORTH_A_SHUFFLE = 2_000_000
"""Hashes from which they are shuffled. On two cores a million cost as much here as there (42 s, 51 s); a shuffle needs
2.8 GiB for them, and pays with more cores or where one process cannot hold all hashes."""

_RANGE_BITS = 4
"""A chunk's keys are divided by their first bits into 16 ranges; a bucket of the shuffle is one range of one chunk."""


def ray_engine(settings: EngineSettings) -> Engine:
    """Return the steps of ``find_near_duplicates`` as they run on Ray; nothing is started before the first one."""
    return Engine(partial(_join, settings), partial(_searcher, settings), partial(_verify, settings))


# --- verification -----------------------------------------------------------------------------------------------------


def _verify(
    settings: EngineSettings, pictures: Pictures, candidates: Candidates, report: Report | None = None
) -> Iterator[Verified]:
    size = _block_size(settings, len(candidates), _LEAST_PAIRS, _MOST_PAIRS)
    blocks = [
        Candidates(candidates.pairs[start : start + size], candidates.mirrored[start : start + size])
        for start in range(0, len(candidates), size)
    ]
    if blocks:
        yield from ray_pool.do_all(settings, _make_verifier, tuple(pictures), blocks, report)


def _make_verifier(*pictures: Any) -> Callable[[Candidates], Verified]:
    given = Pictures(*pictures)
    return lambda block: joined(verify(given, block))


def _block_size(settings: EngineSettings, rows: int, least: int, most: int) -> int:
    even = -(-rows // (ray_pool.slots(settings) * _BLOCKS_A_WORKER))
    return min(max(even, least), most)


# --- neighbours -------------------------------------------------------------------------------------------------------


def _searcher(settings: EngineSettings, database: Floats, count: int) -> Callable[[Floats], Neighbours]:
    arguments: tuple[Any, ...] = (database, count)
    make: Callable[..., Callable[[Floats], Neighbours]] = searcher
    if not is_flat(len(database), count):
        # the partitions are made once, here, and shared
        arguments = (*partitioned(database), count)
        make = _partition_searcher

    def search(queries: Floats) -> Neighbours:
        size = _block_size(settings, len(queries), _LEAST_QUERIES, len(queries))
        blocks = [queries[start : start + size] for start in range(0, len(queries), size)]
        parts: list[Neighbours] = ray_pool.do_all(settings, make, arguments, blocks)
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    return search


def _partition_searcher(
    centroids: Floats, vectors: Floats, rows: Indices, bounds: Indices, count: int
) -> Callable[[Floats], Neighbours]:
    return partial(partition_search, Partitions(centroids, vectors, rows, bounds), count)


# --- hashes -----------------------------------------------------------------------------------------------------------


def _join(settings: EngineSettings, queries: Hashes, database: Hashes, radius: int) -> tuple[Indices, Indices]:
    if max(len(queries), len(database)) < _WORTH_A_SHUFFLE:
        return hamming_pairs(queries, database, radius)
    return shuffled_join(settings, queries, database, radius)


def shuffled_join(settings: EngineSettings, queries: Hashes, database: Hashes, radius: int) -> tuple[Indices, Indices]:
    """Return what ``hamming_pairs`` returns, by a shuffle: no process sees more than one bucket of hashes.

    Every entry goes to one bucket a chunk; every query goes to all buckets that hold keys near enough to its own.

    Args:
        settings: which Ray
        queries: (Q,) signed 64-bit hashes
        database: (D,) signed 64-bit hashes
        radius: 0..12 bits

    Raises:
        EngineError: Ray cannot be used, or the shuffle failed.

    """
    workers = ray_pool.slots(settings)
    import ray.data

    blocks = 2 * workers
    rows = {
        "hash": np.concatenate([queries, database]),
        "row": np.concatenate([np.arange(len(queries)), np.arange(len(database))]),
        "is_query": np.arange(len(queries) + len(database)) < len(queries),
    }
    dataset = ray.data.from_blocks(_as_blocks(rows, blocks))
    dataset.context.enable_progress_bars = False
    spread = dataset.map_batches(partial(spread_over_buckets, radius=radius), batch_size=None, batch_format="numpy")
    joined = spread.groupby("bucket", num_partitions=blocks).map_groups(
        partial(join_bucket, radius=radius), batch_format="numpy"
    )
    try:
        found = [(part["query"], part["entry"]) for part in joined.iter_batches(batch_size=None, batch_format="numpy")]
    except ray.exceptions.RayError as error:
        raise EngineError(f"the shuffle of hashes failed on Ray ({type(error).__name__}); try again") from error
    empty = np.empty(0, dtype=np.int64)
    query, entry = (np.concatenate([empty, *side]) for side in (zip(*found, strict=True) if found else ((), ())))
    order = np.lexsort((entry, query))
    return query[order], entry[order]


def _as_blocks(rows: Columns, number: int) -> list[Any]:
    import pyarrow as pa

    table = pa.table(rows)
    size = max(1, -(-table.num_rows // number))
    return [table.slice(start, size) for start in range(0, table.num_rows, size)] or [table]


def spread_over_buckets(rows: Columns, radius: int) -> Columns:
    """Return each row once for every bucket that it belongs to."""
    hashes = np.asarray(rows["hash"], dtype=np.int64)
    is_query = np.asarray(rows["is_query"], dtype=np.bool_)
    flips = np.arange(2**_RANGE_BITS)
    places, buckets = [], []
    for chunk in np.flatnonzero(chunk_radii(radius) >= 0).tolist():
        own = chunk_of(hashes, chunk) >> (CHUNK_BITS - _RANGE_BITS)
        for flip in flips[np.bitwise_count(flips) <= chunk_radii(radius)[chunk]].tolist():
            sent = np.flatnonzero(is_query | (flip == 0))
            places.append(sent)
            buckets.append(chunk * 2**_RANGE_BITS + (own[sent] ^ flip))
    place = np.concatenate(places)
    return {"bucket": np.concatenate(buckets)} | {name: np.asarray(column)[place] for name, column in rows.items()}


def join_bucket(rows: Columns, radius: int) -> Columns:
    """Return the pairs that one bucket holds."""
    chunk = int(rows["bucket"][0]) >> _RANGE_BITS
    is_query = np.asarray(rows["is_query"], dtype=np.bool_)
    hashes, row = (np.asarray(rows[name], dtype=np.int64) for name in ("hash", "row"))
    query, entry = chunk_pairs(hashes[is_query], hashes[~is_query], chunk, radius)
    return {"query": row[is_query][query], "entry": row[~is_query][entry]}
