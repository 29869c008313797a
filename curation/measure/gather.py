"""Columns of a listing, filled as parts of the cache are read one by one: no stored table is ever held whole.

The columns of a large listing lie in mapped files (``curation.base.mapped``).
"""

from __future__ import annotations

import binascii
import contextlib
import functools
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.base import mapped, scratch
from curation.base.arrays import Flags, Ints
from curation.base.frames import are_sorted

Keys = NDArray[np.uint64]
"""(N, 2): the first 128 bits of SHA-256 hashes. Two files that agree in them are as hard to make as 2**64 hashes."""

_HEX = 64
"""Characters of a SHA-256 hash."""


def room_for(count: int, folder: Path) -> Path | None:
    """Return where columns of so many rows lie; ``folder``, of a cache, may not be there yet."""
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    return mapped.place(count, folder)


class Gathered(Protocol):
    """A column that is filled in any order."""

    def put(self, at: Ints, values: pa.Array) -> None:
        """Set the rows ``at`` to values; where these are null, nothing changes."""

    def column(self) -> Any:
        """Return the whole column as one of pandas."""


class Numbers:
    """A column of numbers; what is never set is ``absent``."""

    def __init__(self, count: int, kind: pa.DataType, absent: float, folder: Path | None) -> None:
        """Begin with ``absent`` in all rows."""
        self.values: NDArray[Any] = scratch.mapped_zeros(folder, (count,), kind.to_pandas_dtype())
        if absent != 0:
            self.values[:] = absent

    def put(self, at: Ints, values: pa.Array) -> None:
        """See ``Gathered``."""
        if values.null_count:
            known = values.is_valid()
            at, values = at[np.asarray(known)], values.filter(known)
        self.values[at] = values.to_numpy(zero_copy_only=False)

    def column(self) -> NDArray[Any]:
        """See ``Gathered``."""
        return self.values


class Words:
    """A column of texts, few of them different; what is never set is ""."""

    def __init__(self, count: int, folder: Path | None) -> None:
        """Begin with "" in all rows."""
        self.codes: NDArray[np.int32] = scratch.mapped_zeros(folder, (count,), np.int32)
        self._folder = folder
        self._numbers = {"": 0}

    def put(self, at: Ints, values: pa.Array) -> None:
        """See ``Gathered``."""
        encoded = values.dictionary_encode()
        numbers = [self._numbers.setdefault(word, len(self._numbers)) for word in encoded.dictionary.to_pylist()]
        codes = np.append(np.array(numbers, dtype=np.int32), 0)[pc.fill_null(encoded.indices, -1).to_numpy()]
        known = np.asarray(values.is_valid())
        self.codes[at[known]] = codes[known]

    def word(self, row: int) -> str:
        """Return the text of one row."""
        return list(self._numbers)[int(self.codes[row])]

    def column(self) -> Any:
        """See ``Gathered``."""
        words = pa.array(list(self._numbers), pa.large_string())
        blocks = (self.codes[start : start + mapped.BLOCK] for start in range(0, len(self.codes), mapped.BLOCK))
        return _texts((words.take(pa.array(codes)) for codes in blocks), self._folder)


class Hashes:
    """A column of SHA-256 hashes in hexadecimal; what is never set is ""."""

    def __init__(self, count: int, folder: Path | None) -> None:
        """Begin with "" in all rows."""
        self._digits: NDArray[np.uint8] = scratch.mapped_zeros(folder, (count, _HEX), np.uint8)
        self._folder = folder

    def put(self, at: Ints, values: pa.Array) -> None:
        """See ``Gathered``."""
        given = np.asarray(pc.fill_null(pc.equal(pc.binary_length(values), _HEX), False))
        self._digits[at[~given]] = 0
        self._digits[at[given]] = _digits(values.filter(pa.array(given)))

    def clear(self, at: Ints) -> None:
        """Set the rows ``at`` to ""."""
        self._digits[at] = 0

    @property
    def known(self) -> Flags:
        """(N,) whether a row has a hash."""
        return np.asarray(self._digits[:, 0] != 0, dtype=np.bool_)

    def keys(self, at: Ints) -> Keys:
        """Return the keys of rows that have a hash."""
        blocks = range(0, len(at), mapped.BLOCK)
        parts = [_as_keys(self._digits[at[start : start + mapped.BLOCK]]) for start in blocks]
        return np.concatenate([np.empty((0, 2), np.uint64), *parts])

    def texts(self, at: Ints | None = None) -> pa.Array:
        """Return all hashes, or those of some rows."""
        number = len(self._digits) if at is None else len(at)
        blocks = (slice(start, start + mapped.BLOCK) for start in range(0, number, mapped.BLOCK))
        pieces = (_as_texts(self._digits[block if at is None else at[block]]) for block in blocks)
        return _joined(pieces, self._folder)

    def column(self) -> Any:
        """See ``Gathered``."""
        return _pandas(self.texts())


class Contents:
    """Rows of contents, found by the contents' keys; several rows may have one content."""

    def __init__(self, keys: Keys, rows: Ints) -> None:
        """Remember the ``rows`` (N,) of ``keys`` (N, 2)."""
        order = np.argsort(keys[:, 0], kind="stable")
        self._first, self._second, self._rows = keys[order, 0], keys[order, 1], rows[order]

    @classmethod
    def of(cls, hashes: Hashes) -> Contents:
        """Return the contents of a column of hashes."""
        at = np.flatnonzero(hashes.known)
        return cls(hashes.keys(at), at)

    @classmethod
    def named(cls, texts: Any) -> Contents:
        """Return the contents of hashes (N,) in hexadecimal, their rows 0..N-1.

        Raises:
            ValueError: one is no hash.

        """
        return cls(keys_of(pa.array(texts, pa.large_string())), np.arange(len(texts)))

    def find(self, keys: Keys) -> tuple[Ints, Ints]:
        """Return all rows of these contents, and for each the place of its content among ``keys``."""
        begins, ends = (np.searchsorted(self._first, keys[:, 0], side=side) for side in ("left", "right"))
        counts = ends - begins
        place = np.repeat(np.arange(len(keys)), counts)
        at = np.arange(len(place)) + np.repeat(begins - np.cumsum(counts) + counts, counts)
        same = self._second[at] == keys[place, 1]
        return self._rows[at[same]], place[same]

    def firsts(self, count: int) -> Flags:
        """Return (``count``,) which rows are the first ones of their contents."""
        first: Flags = np.zeros(count, dtype=np.bool_)
        order = np.lexsort((self._rows, self._second, self._first))
        keys = np.stack([self._first[order], self._second[order]])
        begins = np.ones(len(order), dtype=np.bool_)
        begins[1:] = (keys[:, 1:] != keys[:, :-1]).any(axis=0)
        first[self._rows[order[begins]]] = True
        return first

    def each_found(self, parts: Iterable[pa.Table], done: Flags) -> Iterator[tuple[Ints, pa.Table]]:
        """Yield for each part of the cache the rows of its contents, and the part's rows of these.

        Each row is found once, in the oldest part: ``done`` (N,) says which were, and is filled.
        """
        for part in parts:
            at, place = self.find(keys_of(part["sha256"]))
            fresh = ~done[at]
            at, place = at[fresh], place[fresh]
            done[at] = True
            yield at, part.take(pa.array(place))


class Files:
    """What is on record of the files of a listing, of those that are unchanged.

    Attributes:
        found: (N,) whether there is anything
        sha256: their contents, "" where a file could not be read
        words: error and error_kind, which say why
        numbers: inode and ctime_ns, 0 where unknown

    """

    def __init__(self, listing: pa.Table, parts: Iterable[pa.Table], folder: Path) -> None:
        """Look all files of a listing up.

        Args:
            listing: path (each once), url, bytes, mtime_ns
            parts: of the files rows, oldest first: those columns, sha256, error, error_kind, inode, ctime_ns
            folder: see ``room_for``

        """
        count = listing.num_rows
        room = room_for(count, folder)
        self.found: Flags = np.zeros(count, dtype=np.bool_)
        self.sha256 = Hashes(count, room)
        self.words = {name: Words(count, room) for name in ("error", "error_kind")}
        self.numbers = {name: Numbers(count, pa.int64(), 0, room) for name in ("inode", "ctime_ns")}
        rows_of = _Paths(listing["path"])
        columns: dict[str, Gathered] = {"sha256": self.sha256, **self.words, **self.numbers}
        for part in parts:
            rows, place = rows_of.find(part["path"])
            listed, here = listing.take(pa.array(rows)), part.take(pa.array(place))
            equal = [np.asarray(pc.equal(here[name], listed[name])) for name in ("url", "bytes", "mtime_ns")]
            same = functools.reduce(np.logical_and, equal)
            for name, column in columns.items():
                column.put(rows, here[name].combine_chunks())
            self.found[rows] = same  # also where an older row was of the same file, and this one is of another
            self.sha256.clear(rows[~same])

    def rows(self, at: Ints) -> dict[str, pa.Array]:
        """Return sha256, inode and ctime_ns of some rows, null where nothing is on record."""
        nothing = pa.array(~self.found[at])
        columns = {"sha256": self.sha256.texts(at)}
        columns |= {name: pa.array(column.values[at]) for name, column in self.numbers.items()}
        return {name: pc.if_else(nothing, pa.scalar(None, values.type), values) for name, values in columns.items()}


class _Paths:
    """Rows of a listing, found by path."""

    def __init__(self, paths: pa.ChunkedArray) -> None:
        self._order: Ints | None = None
        self._paths = paths.combine_chunks()
        if not are_sorted(self._paths):
            self._order = pc.sort_indices(self._paths).to_numpy().astype(np.int64)
            self._paths = self._paths.take(pa.array(self._order))

    def find(self, paths: pa.ChunkedArray) -> tuple[Ints, Ints]:
        """Return the rows of those paths that are listed, and their places among ``paths``."""
        if len(paths) == 0:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        ends = pc.min_max(paths)  # files are measured in the order of the listing: most lie in a small part of it
        begin = bisect_left(self, ends["min"].as_py())
        end = bisect_right(self, ends["max"].as_py())
        found = pc.index_in(paths.combine_chunks(), value_set=self._paths.slice(begin, end - begin))
        place = np.flatnonzero(np.asarray(found.is_valid()))
        rows = found.drop_null().to_numpy().astype(np.int64) + begin
        return rows if self._order is None else self._order[rows], place

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, row: int) -> str:
        return str(self._paths[row])


def keys_of(hashes: pa.Array | pa.ChunkedArray) -> Keys:
    """Return the keys (N, 2) of hashes in hexadecimal.

    Raises:
        ValueError: one is no hash.

    """
    pieces = hashes.chunks if isinstance(hashes, pa.ChunkedArray) else [hashes]
    blocks = (piece[start : start + mapped.BLOCK] for piece in pieces for start in range(0, len(piece), mapped.BLOCK))
    return np.concatenate([np.empty((0, 2), np.uint64), *(_as_keys(_digits(block)) for block in blocks)])


def _as_keys(digits: NDArray[np.uint8]) -> Keys:
    halves = np.ascontiguousarray(digits[:, : _HEX // 2])
    return np.frombuffer(binascii.unhexlify(halves.data), dtype=np.uint64).reshape(-1, 2)


def _digits(hashes: pa.Array | pa.ChunkedArray) -> NDArray[np.uint8]:
    """Return the characters (N, 64) of hashes."""
    if isinstance(hashes, pa.ChunkedArray):
        hashes = hashes.combine_chunks()
    if len(hashes) == 0:
        return np.empty((0, _HEX), dtype=np.uint8)
    if hashes.null_count or not pc.all(pc.equal(pc.binary_length(hashes), _HEX)).as_py():
        raise ValueError("something is no SHA-256 hash")
    _, ends, data = hashes.cast(pa.large_string()).buffers()
    start = int(np.frombuffer(ends, dtype=np.int64)[hashes.offset])
    return np.frombuffer(data, dtype=np.uint8)[start : start + len(hashes) * _HEX].reshape(-1, _HEX)


def _as_texts(digits: NDArray[np.uint8]) -> pa.Array:
    known = digits[:, 0] != 0
    ends = np.append(0, np.cumsum(known * _HEX))
    data = digits.tobytes() if known.all() else digits[known].tobytes()
    return pa.LargeStringArray.from_buffers(len(digits), pa.py_buffer(ends), pa.py_buffer(data))


def _joined(pieces: Iterable[pa.Array], folder: Path | None) -> pa.Array:
    if folder is not None:
        return mapped.column(pieces, pa.large_string(), folder)
    return pa.concat_arrays([pa.array([], pa.large_string()), *pieces])


def _texts(pieces: Iterable[pa.Array], folder: Path | None) -> Any:
    return _pandas(_joined(pieces, folder))


def _pandas(texts: pa.Array) -> Any:
    import pandas as pd

    return pd.array(texts, dtype="str")
