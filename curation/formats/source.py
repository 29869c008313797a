"""Which kind of source was given, and which reader reads it."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from urllib.parse import unquote, urlsplit

from curation.base.settings import SourceSettings
from curation.formats import archives, folders, kinds, lists, names, remote
from curation.formats.listing import FoundFile, IngestError, Listing, SourceContents, finished, from_folders, from_rows

_DEFAULTS = SourceSettings()

_HEAD_BYTES = 512
"""Enough to tell an archive, a Parquet file or an image (the mark of a tar is at byte 257)."""

_WHAT_TO_GIVE = "give a folder, a zip or tar archive, a CSV or Parquet list, an image or an fsspec URL"

_LISTS = ("parquet", "list")
"""Kinds of files that name images by their paths."""

NAMED = ("hf", "fiftyone", "torchvision", "kaggle")
"""What may stand before a colon for a source that is no path: the library that knows it."""


def read_source(source: str, cache: Path, settings: SourceSettings = _DEFAULTS) -> Listing:
    """Return which images ``source`` holds; only what tells a file's kind is read of them.

    Args:
        source: a folder of class folders (with or without split folders, in any order), a zip or tar of such a folder,
            a CSV, TSV or Parquet list (columns path, label and, optionally, split; paths relative to the list's
            folder), a single image, or an fsspec URL of any of these; a folder that Hugging Face's datasets or FiftyOne
            saved, that holds WebDataset shards, or images with COCO annotations; or hf:NAME, fiftyone:NAME,
            torchvision:CLASS:ROOT, kaggle:OWNER/NAME.
        cache: folder in which archives are unpacked, each once, by its content.
        settings: how names are understood, and whether paths may lead outside the source.

    Raises:
        IngestError: there is no such source, or it cannot be read as a whole.

    """
    return finished(_read(source, cache), settings)


def _read(source: str, cache: Path) -> Listing:
    library, _, name = source.partition(":")
    if library in NAMED and name and not remote.is_url(source):
        return _read_named(library, name, cache)
    url = urlsplit(source) if remote.is_url(source) and source.split("://")[0] in {"file", "local"} else None
    if url is None and remote.is_url(source):
        return _read_remote(remote.connect(source), cache)
    return _read_local(unquote(url.netloc + url.path) if url else source, cache)


def _read_named(library: str, name: str, cache: Path) -> Listing:
    """Return what one of the libraries in ``NAMED`` knows under ``name``; each is loaded when it is asked."""
    if library == "kaggle":
        from curation.formats import kaggle

        return _read_local(kaggle.fetch(name), cache)
    if library == "fiftyone":
        from curation.formats import fiftyone

        return from_rows(*fiftyone.read_named(name, cache))
    if library == "torchvision":
        from curation.formats import torchvision

        return from_rows(*torchvision.read(name, cache))
    from curation.formats import huggingface

    return from_rows(*huggingface.read(name, cache))


def _read_folder(full: str, cache: Path) -> Listing:
    """Return the images of a local folder: one that another library wrote, or class folders."""
    from curation.formats import coco, fiftyone, huggingface, webdataset

    root, folder = names.escaped(full), Path(full)
    if huggingface.is_saved(folder):
        return from_rows(*huggingface.read(full, cache))
    if fiftyone.is_dataset(folder):
        return from_rows(root, fiftyone.read_folder(folder, cache))
    if shards := webdataset.shards_in(folder):
        return from_rows(root, webdataset.read(shards, cache))
    if annotations := coco.annotations_in(folder):
        return from_rows(root, coco.read(annotations, folder, cache))
    return from_folders(root, folders.scan(full, cache))


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
    if stat.S_ISDIR(mode):
        return _read_folder(full, cache)
    if not stat.S_ISREG(mode):
        raise IngestError(f"{shown} is neither a folder nor a regular file; {_WHAT_TO_GIVE}")
    return _read_local_file(full, kinds.source_kind(head, full), shown, cache)


def _read_local_file(full: str, kind: str, shown: str, cache: Path) -> Listing:
    from curation.formats import coco, webdataset

    root = names.escaped(full)
    if kind == "tar" and webdataset.is_shard(Path(full)):
        return from_rows(root, webdataset.read([Path(full)], cache))
    if kind == "json" and coco.is_coco(Path(full)):
        return from_rows(root, coco.read([Path(full)], Path(full).parent, cache))
    if kind in ("zip", "tar"):
        return from_folders(root, archives.unpack(Path(full), kind, cache, shown))
    if kind == "image":
        status = Path(full).stat()
        name = names.escaped(full.rpartition("/")[2])
        found = FoundFile(name, folders.openable(full, cache), status.st_size, status.st_mtime_ns)
        return from_rows(root, SourceContents([found]))
    folder = full.rpartition("/")[0]
    entries = _entries(kind, Path(full).read_bytes() if kind in _LISTS else b"", shown)
    return from_rows(root, lists.resolve(entries, folder, lists.local_locator(folder, cache)))


def _entries(kind: str, data: bytes, shown: str) -> list[lists.Entry]:
    if kind not in _LISTS:
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
            return from_rows(place.shown, SourceContents([remote.single(place)]))
        entries = _entries(kind, place.fs.cat_file(place.path) if kind in _LISTS else b"", place.shown)
        parent = remote.parent_of(place)
        return from_rows(place.shown, lists.resolve(entries, parent.path, remote.locator(parent)))
