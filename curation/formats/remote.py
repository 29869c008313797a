"""Folders, archives and lists behind any fsspec URL; every request to a server has a time limit."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from curation.base import reading
from curation.base.errors import installing
from curation.base.files import bare_url
from curation.base.text import is_text
from curation.base.waiting import ANSWER_S, NoAnswerError, answered
from curation.formats import kinds, names
from curation.formats.gate import NOT_AN_IMAGE, NOT_REGULAR, OUTSIDE, SYSTEM_FILE
from curation.formats.listing import FoundFile, IngestError
from curation.formats.lists import Finder, among
from curation.formats.tree import Tree

LISTING_S = 3600.0
"""Seconds for listing a folder: a bucket of a million objects takes minutes."""

DOWNLOAD_STALLED_S = 120.0
"""Seconds without data after which a download is given up."""

MOST_DOWNLOADED_BYTES = 64 * 2**30
"""A larger archive is not downloaded."""

_CHUNK = 4 * 2**20

_MODIFIED_KEYS = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")
"""Keys under which fsspec's file systems state when a file was written, best first."""


class Remote(NamedTuple):
    """What a URL names: the file system, the path in it, the URL, and the URL without its secrets."""

    fs: Any
    path: str
    url: str
    shown: str


def is_url(source: str) -> bool:
    """Return whether ``source`` is a URL and not a path."""
    return "://" in source


def connect(url: str) -> Remote:
    """Return what ``url`` names.

    Raises:
        IngestError: the protocol is unknown, needs a package that is absent, or fails.

    """
    import fsspec

    shown = bare_url(url)
    if "::" in url:
        raise IngestError(f"{shown} is a chain of URLs; give the archive or folder itself")
    try:
        fs, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        what = f"{shown} needs a package that is not installed ({reading.first_line(error)})"
        raise IngestError(f"{what}; for S3 run: {installing('exchange')}; for others install that package") from error
    except Exception as error:
        raise _refused(shown, error) from None
    return Remote(fs, path, url, shown)


def _refused(shown: str, error: Exception) -> IngestError:
    # messages of file systems repeat the URL, which may hold secrets: only the kind of error is shown
    if isinstance(error, NoAnswerError):
        return IngestError(f"{shown} does not answer ({error.strerror}); try again later, or copy the data here")
    kind = "it does not exist" if isinstance(error, FileNotFoundError) else type(error).__name__
    return IngestError(f"{shown} cannot be read ({kind}); check the address and your access to it")


@contextlib.contextmanager
def refusals(shown: str) -> Iterator[None]:
    """Turn whatever a file system raises (each has its own errors) into one sentence without secrets."""
    try:
        yield
    except IngestError:
        raise
    except Exception as error:
        raise _refused(shown, error) from None


def require_no_secrets(place: Remote) -> None:
    """Refuse a URL with secrets, which would be stored with every image.

    Raises:
        IngestError: it has a user name, a password or a query.

    """
    if place.shown != place.url:
        raise IngestError(
            f"{place.shown} was given with credentials or a query, which would be stored with every image; "
            "put them into fsspec's configuration or the environment"
        )


def is_folder(place: Remote) -> bool:
    """Return whether there is a folder at ``place``."""
    return bool(answered(lambda: place.fs.isdir(place.path), ANSWER_S))


def head(place: Remote, size: int) -> bytes:
    """Return the first bytes of the file at ``place``."""
    return bytes(answered(lambda: place.fs.cat_file(place.path, start=0, end=size), ANSWER_S))


def data(place: Remote) -> bytes:
    """Return the bytes of the list at ``place``."""
    return bytes(answered(lambda: place.fs.cat_file(place.path), LISTING_S))


def scan(place: Remote, cache: Path) -> Tree:
    """Return what is below a remote folder."""
    found = answered(lambda: place.fs.find(place.path, detail=True), LISTING_S)
    tree = Tree(cache, opener=lambda name: io.BytesIO(data(place._replace(path=name))))
    for name, info in sorted(found.items()):
        path = _relative(name, place.path)
        fault = OUTSIDE if path is None else _fault_of(place.fs, name, path, info)
        if path is not None and not fault:
            tree.images.append(_found_file(place.url, path, info))
        elif path is not None and fault == NOT_AN_IMAGE and not kinds.has_archive_extension(path):
            tree.add(path, name)
        else:
            shown = names.escaped(path or name).encode("utf-8", "replace").decode("utf-8")
            tree.contents.leave_out(shown, fault)
    return tree


def finder(parent: Remote, cache: Path) -> Finder:
    """Return a finder of the files below the remote folder of a list."""
    return among(scan(parent, cache).images)


def parent_of(place: Remote) -> Remote:
    """Return the folder that holds ``place``."""
    url = place.url.rpartition("/")[0]
    return Remote(place.fs, place.fs._parent(place.path), url, bare_url(url))


def single(place: Remote) -> FoundFile:
    """Return the file at ``place`` itself."""
    info = answered(lambda: place.fs.info(place.path), ANSWER_S)
    return _found_file(parent_of(place).url, place.url.rpartition("/")[2], info)


@contextlib.contextmanager
def downloaded(place: Remote, cache: Path) -> Iterator[Path]:
    """Yield a copy of a remote file in the cache, which is removed when the context ends."""
    cache.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".download-", dir=cache) as folder:
        target = Path(folder) / "archive"
        with refusals(place.shown):
            _download(place, target)
        yield target


def _download(place: Remote, target: Path) -> None:
    """Copy a remote file piece by piece, within limits of time and size.

    Raises:
        IngestError: it is too large for this disk, or larger than any archive may be.

    """
    room = min(shutil.disk_usage(target.parent).free, MOST_DOWNLOADED_BYTES)
    done = 0
    source = answered(lambda: place.fs.open(place.path, "rb", block_size=_CHUNK), ANSWER_S)
    with target.open("wb") as file:
        while piece := answered(lambda: source.read(_CHUNK), DOWNLOAD_STALLED_S):
            done += len(piece)
            if done > room:
                raise IngestError(
                    f"{place.shown} is larger than the {room:,} bytes that may be downloaded here; unpack it on the "
                    "server and give the folder"
                )
            file.write(piece)


def _relative(name: str, root: str) -> str | None:
    below = name.removeprefix(root.rstrip("/")).lstrip("/")
    path = names.inside(below)
    return path if path is not None and path == below and is_text(path) else None


def _fault_of(fs: Any, name: str, path: str, info: dict[str, Any]) -> str:
    if names.is_system_path(path):
        return SYSTEM_FILE
    if info.get("type") != "file":
        return NOT_REGULAR
    if kinds.has_image_extension(path):
        return ""
    try:
        first = answered(lambda: fs.cat_file(name, start=0, end=kinds.HEAD_BYTES), ANSWER_S)
        return "" if kinds.looks_like_image(first) else NOT_AN_IMAGE
    except NoAnswerError:
        raise
    except Exception as error:  # every file system raises its own errors
        return f"cannot be read: {type(error).__name__}"


def _found_file(root_url: str, path: str, info: dict[str, Any]) -> FoundFile:
    return FoundFile(path, f"{root_url.rstrip('/')}/{path}", int(info.get("size") or 0), _modified_ns(info))


def _modified_ns(info: dict[str, Any]) -> int:
    """Return when a file was written, in nanoseconds since 1970; 0 if the file system does not say."""
    for key in _MODIFIED_KEYS:
        value = info.get(key)
        if isinstance(value, datetime):
            aware = value if value.tzinfo else value.replace(tzinfo=UTC)
            return int(aware.timestamp()) * 10**9 + aware.microsecond * 1000
        if isinstance(value, int | float):
            return int(value * 10**9)
    return 0
