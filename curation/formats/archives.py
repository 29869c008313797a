"""Zip and tar archives, unpacked once into the cache.

A member is stored under its number; its name only becomes the key in the listing. So no name can lead out of the cache,
collide with another or be too long for the disk.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from curation.base import reading
from curation.formats import kinds, names
from curation.formats.gate import NOT_AN_IMAGE, NOT_REGULAR, OUTSIDE, SYSTEM_FILE
from curation.formats.listing import FoundFile, IngestError
from curation.formats.tree import Tree, has_label_extension

MAX_MEMBERS = 2_000_000
"""An archive with more members is refused."""

MAX_RATIO = 200
"""An archive that unpacks to more than this many times its size is refused as a bomb; photographs unpack to less than
twice, uncompressed images of flat colour to less than 100 times their size."""

ALWAYS_ALLOWED_BYTES = 64 * 2**20
"""Unpacked bytes that are accepted at any ratio."""

MAX_MEMBER_BYTES = 512 * 2**20
"""A larger member is left out; the default of ``measure.max_bytes``, above which no image is read."""

_INDEX = "contents.json"
_CHUNK = 1 << 20
DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError, struct.error),
    *(NotImplementedError, RuntimeError, ValueError),
)
"""What the readers of the standard library raise for damaged, unknown and encrypted archives."""


class Member(NamedTuple):
    """One member of an archive: its stated name, unpacked size in bytes, and why it is left out ("" if it is not)."""

    name: str
    size: int
    fault: str


class Budget:
    """Counts members and unpacked bytes, and raises if an archive turns out to be a bomb."""

    def __init__(self, shown: str, archive_bytes: int) -> None:
        self._shown = shown
        self._bytes_left = max(MAX_RATIO * archive_bytes, ALWAYS_ALLOWED_BYTES)
        self._members_left = MAX_MEMBERS

    def take(self, size: int, members: int = 0) -> None:
        """Count unpacked bytes and members.

        Raises:
            IngestError: it is a bomb.

        """
        self._bytes_left -= size
        self._members_left -= members
        if self._bytes_left < 0 or self._members_left < 0:
            raise IngestError(
                f"{self._shown} unpacks to over {MAX_RATIO} times its size or {MAX_MEMBERS:,} files, as a bomb would; "
                "unpack it yourself if you trust it, and give the folder"
            )


class _Counted:
    """A stream of unpacked bytes that charges a budget for what is read from it."""

    def __init__(self, stream: IO[bytes], budget: Budget) -> None:
        self._stream = stream
        self._budget = budget

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._budget.take(len(data))
        return data


def unpack(archive: Path, kind: str, cache: Path, shown: str, budget: Budget | None = None) -> Tree:
    """Return what a zip or tar archive holds, unpacking it into ``cache`` unless that was done before.

    The folder is named by the archive's SHA-256 and appears only when complete; what an interrupted call unpacked is
    reused.

    Args:
        archive: a local file.
        kind: "zip" or "tar" (plain or compressed by gzip, bzip2 or xz).
        cache: the folder of unpacked archives.
        shown: the archive's name for messages.
        budget: what it may unpack to; None for a budget by its own size.

    Raises:
        IngestError: it is damaged as a whole, it is a bomb, or the cache cannot be written.

    """
    try:
        target = cache / reading.sha256(archive)
        known = _read_index(target)
        if known is not None:
            return known
        shutil.rmtree(target, ignore_errors=True)
        _unpack_whole(target, archive, kind, budget or Budget(shown, archive.stat().st_size))
    except DAMAGED as error:
        raise IngestError(f"{shown} is damaged ({error}); get it again or unpack what can be saved") from error
    except OSError as error:
        raise IngestError(f"{shown} cannot be unpacked into {cache}: {error.strerror or error}") from error
    found = _read_index(target)
    if found is None:
        raise IngestError(f"{target} changed while it was read; run the same command again")
    return found


def expand(tree: Tree, cache: Path, budget: Budget) -> None:
    """Unpack the archives inside ``tree`` and add their contents, each below its own name without the extension.

    Raises:
        IngestError: one is damaged as a whole, together they are a bomb, or the cache cannot be written.

    """
    inside, tree.archives = tree.archives, {}
    for path, place in sorted(inside.items()):
        try:
            with reading.open_regular(place) as file:
                kind = kinds.source_kind(file.read(512), path)
        except OSError as error:
            tree.contents.leave_out(path, f"cannot be read: {error.strerror}")
            continue
        if kind in ("zip", "tar"):
            tree.merge(kinds.without_archive_extension(path), unpack(Path(place), kind, cache, path, budget))
        else:
            tree.contents.leave_out(path, "an archive of a kind that cannot be unpacked here; unpack it yourself")


def _unpack_whole(target: Path, archive: Path, kind: str, budget: Budget) -> None:
    """Make the folder ``target``, complete or not at all."""
    partial = target.with_suffix(".partial")
    try:
        _write_index(partial, _unpack_into(partial, archive, kind, budget))
    except Exception:
        # what a killed or interrupted call leaves is worth keeping, what a bomb or a full disk leaves is not
        shutil.rmtree(partial, ignore_errors=True)
        raise
    # one flush of the whole disk is cheaper than one of each small file; then the rename commits
    os.sync()
    partial.rename(target)


def _unpack_into(partial: Path, archive: Path, kind: str, budget: Budget) -> Tree:
    """Store every image, list, annotation and inner archive under ``partial``; return their places relative to it."""
    members = _zip_members(archive, budget) if kind == "zip" else tar_members(archive, budget)
    tree = Tree(partial.parent)
    taken: set[str] = set()
    for number, (member, stream) in enumerate(members):
        path = names.inside(member.name.replace("\\", "/"))
        fault = member.fault
        if not fault and path is not None and names.is_system_path(path):
            fault = SYSTEM_FILE
        if path is None or fault or path in taken:
            why = fault or (OUTSIDE if path is None else "the same name again")
            tree.contents.leave_out(names.escaped(member.name), why)
            continue
        path = names.escaped(path)
        taken.add(path)
        place = f"{number // 1000:05d}/{number:08d}"
        try:
            fault, is_image = _store(stream, member.size, partial / place, path)
        except DAMAGED as error:
            if kind == "tar":
                raise  # a tar is one stream: nothing after the damage can be found
            fault = f"cannot be unpacked: {error}"
        if fault:
            tree.contents.leave_out(path, fault)
        elif is_image:
            tree.images.append(FoundFile(path, place, (partial / place).stat().st_size, 0))
        else:
            tree.add(path, place)
    return tree


def _store(stream: IO[bytes], size: int, place: Path, name: str) -> tuple[str, bool]:
    """Write a member unless an earlier call did; return why it is left out ("" if not) and whether it is an image."""
    written = place.exists() and place.stat().st_size == size
    head = place.read_bytes()[: kinds.HEAD_BYTES] if written else stream.read(kinds.HEAD_BYTES)
    is_image = kinds.has_image_extension(name) or kinds.looks_like_image(head)
    if not (is_image or kinds.has_archive_extension(name) or has_label_extension(name)):
        return NOT_AN_IMAGE, False
    if written:
        return "", is_image
    place.parent.mkdir(parents=True, exist_ok=True)
    unfinished = place.with_suffix(".part")
    with unfinished.open("wb") as file:
        file.write(head)
        shutil.copyfileobj(stream, file, _CHUNK)
    unfinished.replace(place)
    return "", is_image


def _zip_members(archive: Path, budget: Budget) -> Iterator[tuple[Member, IO[bytes]]]:
    with zipfile.ZipFile(archive) as opened:
        budget.take(0, members=len(opened.infolist()))
        for info in opened.infolist():
            if info.filename.endswith("/"):  # a folder; is_dir() fails on an empty name
                continue
            fault = _zip_fault(info)
            member = Member(_zip_name(info), info.file_size, fault)
            if not fault:
                budget.take(info.file_size)
            yield member, cast("IO[bytes]", _ZipStream(opened, info))


class _ZipStream:
    """A zip member that is opened when first read, so that damage affects only that member."""

    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        self._archive, self._info = archive, info
        self._opened: IO[bytes] | None = None

    def read(self, size: int = -1) -> bytes:
        if self._opened is None:
            self._opened = self._archive.open(self._info)
        return self._opened.read(size)


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Return the member's name; most tools write UTF-8 even without its flag (bit 11, APPNOTE 4.4.4)."""
    if info.flag_bits & 0x800:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _zip_fault(info: zipfile.ZipInfo) -> str:
    if not info.filename:
        return "without a name"
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        return NOT_REGULAR
    if info.flag_bits & 0x1:
        return "encrypted"
    return _fault_of_size(info.file_size)


def _fault_of_size(size: int) -> str:
    return f"larger than {MAX_MEMBER_BYTES:,} bytes" if size > MAX_MEMBER_BYTES else ""


def budget(archive: Path) -> Budget:
    """Return the members and unpacked bytes that an archive may have before it counts as a bomb."""
    return Budget(str(archive), archive.stat().st_size)


def tar_members(archive: Path, budget: Budget) -> Iterator[tuple[Member, IO[bytes]]]:
    """Yield a tar's members in order, each with its content, which must be read before the next one.

    Raises:
        IngestError: it is a bomb.
        DAMAGED: the rest cannot be read.

    """
    with _unpacked_stream(archive) as stream:
        counted = cast("IO[bytes]", _Counted(stream, budget))
        with tarfile.open(fileobj=counted, mode="r|") as opened:
            for info in opened:
                budget.take(0, members=1)
                opened.members.clear()  # type: ignore[attr-defined] # else millions of members are kept in memory
                if info.isdir():
                    continue
                fault = _fault_of_size(info.size) if info.isreg() and not info.issparse() else NOT_REGULAR
                content = None if fault else opened.extractfile(info)
                yield Member(info.name, info.size, fault), content or io.BytesIO()


def _unpacked_stream(archive: Path) -> IO[bytes]:
    with archive.open("rb") as file:
        head = file.read(6)
    if head.startswith(b"\x1f\x8b"):
        return cast("IO[bytes]", gzip.open(archive, "rb"))
    if head.startswith(b"BZh"):
        return bz2.open(archive, "rb")
    if head.startswith(b"\xfd7zXZ\0"):
        return lzma.open(archive, "rb")
    return archive.open("rb")


def _write_index(partial: Path, tree: Tree) -> None:
    partial.mkdir(parents=True, exist_ok=True)
    record: dict[str, Any] = {
        "files": [[file.path, file.url, file.bytes] for file in tree.images],
        "others": {**tree.others, **tree.archives},
        "problems": tree.contents.problems,
    }
    places = [*(file.url for file in tree.images), *record["others"].values()]
    record["sha256"] = {place: reading.sha256(partial / place) for place in places}
    (partial / _INDEX).write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")


def _is_ours(target: Path, place: str, digest: str) -> bool:
    """Return whether a place in an index is a file as unpacked: index and file may have been edited."""
    full = target / place
    return names.inside(place) == place and not full.is_symlink() and reading.sha256(full) == digest


def _read_index(target: Path) -> Tree | None:
    """Return what an unpacked archive holds, or None if it is absent or has changed."""
    try:
        record = reading.json_object(reading.contents(target / _INDEX))
        tree = Tree(target.parent)
        for path, place, size in record["files"]:
            full = target.absolute() / place
            status = full.lstat()
            if status.st_size != size or not _is_ours(target, place, record["sha256"][place]):
                return None
            tree.images.append(FoundFile(path, str(full), size, status.st_mtime_ns))
        for path, place in record["others"].items():
            if not _is_ours(target, place, record["sha256"][place]):
                return None
            tree.add(path, str(target.absolute() / place))
        tree.contents.problems += [(path, reason) for path, reason in record["problems"]]
        return tree
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
