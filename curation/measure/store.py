"""The cache of measurements on disk: folders of Parquet parts, written once, each with its checksum in its name.

A part that was cut short or altered is dropped with a warning, and what it held is measured again. One process writes
at a time (the workspace's lock); readers need none.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.base import files, reading
from curation.measure.tables import FACES_REVISION, FILES_SCHEMA, PIXELS_REVISION, decoders

if TYPE_CHECKING:
    import pandas as pd

    from curation.base.settings import MeasureSettings

_LOG = logging.getLogger(__name__)

_FILES_FORMAT = 2
"""Raised whenever the columns of the files table change."""

_STORED_FILES_SCHEMA = FILES_SCHEMA.append(pa.field("bytes", pa.int64())).append(pa.field("mtime_ns", pa.int64()))
"""The files rows, with the size and time by which a file is taken for unchanged, besides its inode and ctime."""

_LISTING_SCHEMA = pa.schema([_STORED_FILES_SCHEMA.field(name) for name in ("path", "url", "bytes", "mtime_ns")])

_DIGEST_BYTES = 8
"""64 bits tell any accident from an intact part; this is no defence against forgery."""


IDENTITY_FOLDERS = "identity-"
"""Beginning of the names of the folders of embeddings, so that all of them can be found and deleted."""


@dataclass(frozen=True)
class Folders:
    """Where the parts of one set of settings are: path -> content, and content -> measurements of each probe."""

    files: Path
    pixels: Path
    faces: Path


def folders(store: Path, settings: MeasureSettings, detector: Mapping[str, str]) -> Folders:
    """Return the folders under ``store``; those of a probe are named after all that its results depend on."""
    limits = {"max_pixels": settings.max_pixels, "analysis_side": settings.analysis_side}
    decoding = {"revision": PIXELS_REVISION, "decoders": decoders(), **limits}
    faces = {"detector": dict(detector), "min_face_score": settings.min_face_score, **decoding}
    faces["faces"] = FACES_REVISION
    return Folders(
        store / f"files-{_FILES_FORMAT}",
        store / f"pixels-{_fingerprint(decoding)}",
        store / f"faces-{_fingerprint(faces)}",
    )


def identity_folder(
    store: Path, settings: MeasureSettings, detector: Mapping[str, str], network: Mapping[str, Any]
) -> Path:
    """Return the folder of a network's embeddings, named after all that they depend on."""
    decoding = {"max_pixels": settings.max_pixels, "analysis_side": settings.analysis_side}
    seen = {"detector": dict(detector), "min_face_score": settings.min_face_score, **decoding, "network": dict(network)}
    return store / f"{IDENTITY_FOLDERS}{_fingerprint(seen)}"


def _fingerprint(identity: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def remove_stale_temporaries(folders: Folders) -> None:
    """Delete what a killed writer left half written; only the lock's holder may call this."""
    for folder in (folders.files, folders.pixels, folders.faces):
        for stale in folder.glob(".*.tmp"):
            stale.unlink(missing_ok=True)


class PartWriter:
    """Adds parts to a folder; it looks only once at those that are there."""

    def __init__(self, folder: Path) -> None:
        """Go on after the last part of ``folder``, which may be absent."""
        self._folder = folder
        self._last = max((int(path.name.split("-")[1]) for path in _parts(folder)), default=0)

    def write(self, part: pa.Table | bytes) -> None:
        """Add a part, atomically and durably: a table or what ``encoded`` made of one; an empty one adds none."""
        data = part if isinstance(part, bytes) else encoded(part)
        if data:
            self._last += 1
            files.write_bytes(self._folder / f"part-{self._last:06d}-{_digest(data)}.parquet", data)


def encoded(table: pa.Table) -> bytes:
    """Return the file that a table makes, no bytes if it is empty."""
    if table.num_rows == 0:
        return b""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", compression_level=1, use_dictionary=False)
    return buffer.getvalue()


def write_part(folder: Path, table: pa.Table) -> None:
    """Add one part, see :class:`PartWriter`."""
    PartWriter(folder).write(table)


def read_parts(
    folder: Path, schema: pa.Schema, columns: Sequence[str] | None = None, *, writing: bool = False
) -> pa.Table:
    """Return all rows of a folder, oldest first; damaged parts are left out with a warning.

    Args:
        folder: may be absent
        schema: of the parts
        columns: those to read; None reads all
        writing: delete damaged parts; only the lock's holder may ask for it

    """
    return pa.concat_tables(list(each_part(folder, schema, columns, writing=writing)))


def each_part(
    folder: Path, schema: pa.Schema, columns: Sequence[str] | None = None, *, writing: bool = False
) -> Iterator[pa.Table]:
    """Yield what ``read_parts`` returns, an empty table first and then a part at a time."""
    wanted = schema if columns is None else pa.schema([schema.field(name) for name in columns])
    yield wanted.empty_table()
    for path in _parts(folder):
        table = _intact(path, wanted)
        if table is not None:
            yield table
        elif writing:
            path.unlink(missing_ok=True)


def _parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*.parquet"))


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).hexdigest()


_INTACT: set[tuple[Path, int, int, int]] = set()
"""Parts that this process has found intact, each as the file that it was: inode, time of change in ns, size."""


def _intact(path: Path, schema: pa.Schema) -> pa.Table | None:
    try:
        with reading.open_regular(path) as file:
            status = os.fstat(file.fileno())
            known = (path, status.st_ino, status.st_ctime_ns, status.st_size)
            source: Any = pa.PythonFile(file) if known in _INTACT else pa.BufferReader(data := file.read())
            if known in _INTACT or path.stem.rsplit("-", 1)[-1] == _digest(data):
                _INTACT.add(known)
                # a thread of Arrow's that lets go of a Python object while the interpreter ends would abort the process
                found = pq.ParquetFile(source, pre_buffer=False).read(columns=schema.names, use_threads=False)
                return found.select(schema.names).cast(schema)
    except (pa.ArrowException, ValueError, KeyError) as error:  # its name fits, its table is none of ours
        _LOG.debug("%s: %s", path, error)
    _LOG.warning("%s is damaged and is left out; what it held is measured again by the next run", path)
    return None


def file_parts(folders: Folders, columns: Sequence[str], *, writing: bool = False) -> Iterator[pa.Table]:
    """Yield the stored files rows, oldest first: path, url, bytes, mtime_ns, and ``columns`` beside them."""
    return each_part(folders.files, _STORED_FILES_SCHEMA, [*_LISTING_SCHEMA.names, *columns], writing=writing)


def listing_table(listing: pd.DataFrame) -> pa.Table:
    """Return path, url, bytes, mtime_ns of a listing."""
    frame = listing[_LISTING_SCHEMA.names]
    return pa.Table.from_pandas(frame, schema=_LISTING_SCHEMA, preserve_index=False, nthreads=1)


def files_table(files: pa.Table, listed: pa.Table) -> pa.Table:
    """Return a batch's files rows as they are stored; ``listed`` holds the same files' rows of the listing."""
    for name in ("bytes", "mtime_ns"):
        files = files.append_column(name, listed[name])
    return files
