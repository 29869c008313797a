"""Which kind of source was given, and which reader reads it."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from urllib.parse import unquote, urlsplit

from curation.ingest import archives, folders, kinds, lists, names, remote
from curation.ingest.listing import Finds, FoundFile, IngestError, Listing, from_folders, from_rows

_HEAD_BYTES = 512
"""Enough to tell an archive, a Parquet file or an image (the mark of a tar is at byte 257)."""

_WHAT_TO_GIVE = "give a folder, a zip or tar archive, a CSV or Parquet list, an image or an fsspec URL"


def read_source(source: str, cache: Path) -> Listing:
    """Return which images ``source`` holds; only what tells a file's kind is read of them.

    Args:
        source: a folder of class folders (with or without split folders, in any order), a zip or tar of such a folder,
            a CSV, TSV or Parquet list (columns path, label and, optionally, split; paths relative to the list's
            folder), a single image, or an fsspec URL of any of these.
        cache: folder in which archives are unpacked, each once, by its content.

    Raises:
        IngestError: there is no such source, or it cannot be read as a whole.

    """
    url = urlsplit(source) if remote.is_url(source) and source.split("://")[0] in {"file", "local"} else None
    if url is None and remote.is_url(source):
        return _read_remote(remote.connect(source), cache)
    return _read_local(unquote(url.netloc + url.path) if url else source, cache)


def _read_local(source: str, cache: Path) -> Listing:
    shown = names.escaped(source)
    try:
        full = os.path.realpath(source, strict=True)
        mode = Path(full).stat().st_mode
        head = b""
        if stat.S_ISREG(mode):
            with Path(full).open("rb") as file:
                head = file.read(_HEAD_BYTES)
    except FileNotFoundError as error:
        raise IngestError(f"there is nothing at {shown}; {_WHAT_TO_GIVE}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise IngestError(f"{shown} cannot be read ({reason}); {_WHAT_TO_GIVE}") from error
    root = names.escaped(full)
    if stat.S_ISDIR(mode):
        return from_folders(root, folders.scan(full, cache))
    if not stat.S_ISREG(mode):
        raise IngestError(f"{shown} is neither a folder nor a regular file; {_WHAT_TO_GIVE}")
    return _read_local_file(full, kinds.source_kind(head, full), shown, cache)


def _read_local_file(full: str, kind: str, shown: str, cache: Path) -> Listing:
    root = names.escaped(full)
    if kind in ("zip", "tar"):
        return from_folders(root, archives.unpack(Path(full), kind, cache, shown))
    if kind == "image":
        status = Path(full).stat()
        name = names.escaped(full.rpartition("/")[2])
        found = FoundFile(name, folders.openable(full, cache), status.st_size, status.st_mtime_ns)
        return from_rows(root, Finds([found]))
    folder = full.rpartition("/")[0]
    entries = _entries(kind, Path(full).read_bytes() if kind else b"", shown)
    return from_rows(root, lists.resolve(entries, folder, lists.local_locator(folder, cache)))


def _entries(kind: str, data: bytes, shown: str) -> list[lists.Entry]:
    if not kind:
        raise IngestError(f"{shown} is no kind of source that can be read; {_WHAT_TO_GIVE}")
    return list(lists.read_parquet(data, shown) if kind == "parquet" else lists.read_csv(data, shown))


def _read_remote(place: remote.Remote, cache: Path) -> Listing:
    with remote.refusals(place.shown):
        if place.fs.isdir(place.path):
            remote.require_no_secrets(place)
            return from_folders(place.shown, remote.scan(place))
        head = place.fs.cat_file(place.path, start=0, end=_HEAD_BYTES)
        kind = kinds.source_kind(head, place.path)
        if kind in ("zip", "tar"):
            with remote.downloaded(place, cache) as archive:
                return from_folders(place.shown, archives.unpack(archive, kind, cache, place.shown))
        remote.require_no_secrets(place)
        if kind == "image":
            return from_rows(place.shown, Finds([remote.single(place)]))
        entries = _entries(kind, place.fs.cat_file(place.path) if kind else b"", place.shown)
        parent = remote.parent_of(place)
        return from_rows(place.shown, lists.resolve(entries, parent.path, remote.locator(parent)))
