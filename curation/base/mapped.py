"""Tables in mapped, unnamed files: of a large table only the columns and rows in use need memory."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.base import scratch

if TYPE_CHECKING:
    import pandas as pd

FROM = 131_072
"""Rows from which a table lies in files; a smaller one takes little memory, and a file for each column takes time."""

BLOCK = 65_536
"""Rows that are converted at a time."""


def place(count: int, folder: Path) -> Path | None:
    """Return where a table of so many rows lies: in files of ``folder``, or in memory, None.

    In memory are those of few rows, and all where a person may read a workspace but not write to it.
    """
    return folder if count >= FROM and os.access(folder, os.W_OK) else None


_FOLDER: ContextVar[Path | None] = ContextVar("folder", default=None)


@contextlib.contextmanager
def lying_in(folder: Path) -> Iterator[None]:
    """Have ``spooled`` write into files of ``folder`` meanwhile."""
    before = _FOLDER.set(folder)
    try:
        yield
    finally:
        _FOLDER.reset(before)


def spooled(table: pa.Table, order: pa.Array | None = None) -> pa.Table:
    """Return a table of numbers and texts, its columns in files of the folder of ``lying_in``.

    Args:
        table: of these
        order: of its rows in the result; None: as they are

    """
    folder = _FOLDER.get()
    room = None if folder is None else place(table.num_rows, folder)
    if room is not None:
        with _unless_full():
            return _table(table.schema, partial(_written, room, table, order))
    return (table if order is None else table.take(order)).combine_chunks()


def _written(folder: Path, table: pa.Table, order: pa.Array | None, field: pa.Field) -> pa.Array:
    values = column(table[field.name].chunks, field.type, folder)
    if order is not None:
        taken = (values.take(order[start : start + BLOCK]) for start in range(0, len(order), BLOCK))
        values = column(taken, field.type, folder)
    scratch.release_all()
    return values


@contextlib.contextmanager
def _unless_full() -> Iterator[None]:
    """Go on behind the block where the disk is full: the table is then in memory."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise


class Column:
    """A column of Arrow's, of numbers or texts, that is written into files piece by piece."""

    def __init__(self, kind: pa.DataType, folder: Path) -> None:
        """Begin an empty column of ``kind``; ``folder`` is on a disk with space for it.

        Raises:
            OSError: no file can be made there.

        """
        self._kind = pa.large_string() if pa.types.is_string(kind) else kind
        self._is_text = pa.types.is_large_string(self._kind)
        self._files = ExitStack()
        self._values, self._ends = (
            self._files.enter_context(tempfile.TemporaryFile(dir=folder))  # noqa: SIM115 -- open while it grows
            for _ in range(2)
        )
        self._ends.write(bytes(8))
        self._valid: list[Any] = []
        self._count = self._bytes = 0

    def add(self, piece: pa.Array) -> None:
        """Write the next values; nulls stay.

        Raises:
            OSError: the disk is full.

        """
        if len(piece) == 0:
            return
        piece = piece.cast(self._kind)
        self._valid.append((len(piece), np.asarray(piece.is_valid()) if piece.null_count else None))
        if piece.null_count:
            piece = piece.fill_null("" if self._is_text else 0)
        start, end = piece.offset, piece.offset + len(piece)
        buffers = piece.buffers()
        self._count += len(piece)
        if not self._is_text:
            width = self._kind.bit_width // 8
            self._values.write(memoryview(buffers[1])[start * width : end * width])
            return
        ends = np.frombuffer(buffers[1], dtype=np.int64)[start : end + 1]
        if ends[-1] > ends[0]:
            self._values.write(memoryview(buffers[2])[ends[0] : ends[-1]])
        self._ends.write(ends[1:] - ends[0] + self._bytes)
        self._bytes += int(ends[-1] - ends[0])

    def array(self) -> pa.Array:
        """Return all values; the column is complete."""
        valid = None
        if any(known is not None for _, known in self._valid):
            known = np.concatenate([np.ones(n, dtype=np.bool_) if some is None else some for n, some in self._valid])
            valid = pa.py_buffer(np.packbits(known, bitorder="little"))
        files = (self._ends, self._values) if self._is_text else (self._values,)
        buffers = [pa.py_buffer(scratch.mapped(file)) for file in files]
        self._files.close()
        return pa.Array.from_buffers(self._kind, self._count, [valid, *buffers])


def can_hold(kind: pa.DataType) -> bool:
    """Return whether a ``Column`` may be of this kind."""
    types = pa.types
    return any(fits(kind) for fits in (types.is_string, types.is_large_string, types.is_integer, types.is_floating))


def column(pieces: Iterable[pa.Array], kind: pa.DataType, folder: Path) -> pa.Array:
    """Return pieces as one column in files of ``folder``; see ``Column``."""
    found = Column(kind, folder)
    for piece in pieces:
        found.add(piece)
    return found.array()


def parquet_table(file: Any, folder: Path) -> pa.Table:
    """Return the table in an open Parquet file; a large one is written out into files of ``folder``.

    Columns of other kinds than numbers and texts are in memory, and so are all where no file can be made or filled.
    """
    parquet = pq.ParquetFile(file, pre_buffer=False)

    def read(field: pa.Field) -> pa.ChunkedArray | pa.Array:
        if not can_hold(field.type):
            return parquet.read(columns=[field.name], use_threads=False).column(0)
        batches = parquet.iter_batches(BLOCK, columns=[field.name], use_threads=False)
        return column((batch.column(0) for batch in batches), field.type, folder)

    if place(parquet.metadata.num_rows, folder):
        with _unless_full():
            return _table(parquet.schema_arrow, read)
    return parquet.read()


def frame(given: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Return a frame, of which the columns of numbers and texts lie in files of ``folder`` if it is large."""

    def written(field: pa.Field) -> pa.Array:
        values = pa.array(given[field.name])
        pieces = values.chunks if isinstance(values, pa.ChunkedArray) else [values]
        return column(pieces, field.type, folder) if can_hold(field.type) else values

    if place(len(given), folder):
        with _unless_full():
            table = _table(pa.Schema.from_pandas(given, preserve_index=False), written)
            found: pd.DataFrame = table.to_pandas(split_blocks=True)
            return found
    return given


def _table(schema: pa.Schema, values: Callable[[pa.Field], Any]) -> pa.Table:
    """Return the table of the values of each field; texts become large ones."""
    table = pa.table([values(field) for field in schema], names=schema.names)
    return table.replace_schema_metadata(schema.metadata)
