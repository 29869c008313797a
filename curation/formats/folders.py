"""A local folder, walked once; links and special files cannot lead out of it or hang the walk."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from pathlib import Path

from curation.base import reading
from curation.base.workspace import MARKER, is_workspace
from curation.formats import kinds, names
from curation.formats.listing import FoundFile, IngestError, SourceContents

NOT_AN_IMAGE = "not an image, neither by its ending nor by its content"
OUTSIDE = "leads outside the data set"
SYSTEM_FILE = "a hidden or system file"
NOT_REGULAR = "not a regular file"


def scan(root: str, cache: Path) -> SourceContents:
    """Return the images below the folder ``root`` (absolute, without links in it).

    Links to files inside the folder are taken; links to folders are not followed, so that every image has one path.
    Names that are not UTF-8 are escaped, and such files are reached by a link in ``cache``. What this tool itself wrote
    below it, a workspace or an export, is left out.

    Raises:
        IngestError: ``root`` itself cannot be listed, or is a workspace.

    """
    if is_workspace(Path(root)):
        raise IngestError(f"{root} is a workspace and no data set; give the data, or an export of one of its versions")
    contents = SourceContents()
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(f"{root}/{folder}") as listed:
                entries = list(listed)
            if own := _own_output(f"{root}/{folder}", {entry.name for entry in entries}) if folder else "":
                contents.leave_out(names.escaped(folder.rstrip("/")), own)
                contents.warnings.append(f"{names.escaped(folder.rstrip('/'))} was left out: it is {own}")
            else:
                for entry in entries:
                    _take(entry, folder + entry.name, root, contents, pending, cache)
        except OSError as error:
            if not folder:
                raise IngestError(f"{root} cannot be listed: {error.strerror}; check its permissions") from error
            contents.leave_out(names.escaped(folder.rstrip("/")), f"folder cannot be listed: {error.strerror}")
    return contents


def _own_output(full: str, inside: set[str]) -> str:
    """Return what this tool wrote into the folder ``full`` with these entries, or "" for anybody else's folder."""
    if MARKER in inside and is_workspace(Path(full)):
        return "a workspace of this tool"
    if names.PROVENANCE in inside:
        with contextlib.suppress(OSError, ValueError):
            record = reading.json_object(reading.contents(f"{full}/{names.PROVENANCE}"))
            if {"format", "version", "manifest_hash"} <= record.keys():
                return f"an export of this tool ({record['format']})"
    return ""


def _take(
    entry: os.DirEntry[str], path: str, root: str, contents: SourceContents, pending: list[str], cache: Path
) -> None:
    if names.is_system(entry.name):
        contents.leave_out(names.escaped(path), SYSTEM_FILE)
    elif entry.is_dir(follow_symlinks=False):
        pending.append(path + "/")
    else:
        linked = entry.is_symlink()
        fault = fault_of_link(entry.path, root) if linked else ""
        _take_file(entry, path, f"{root}/{path}", fault, contents, cache)


def _take_file(
    entry: os.DirEntry[str], path: str, full: str, fault: str, contents: SourceContents, cache: Path
) -> None:
    try:
        status = entry.stat(follow_symlinks=not fault)
        fault = fault or fault_of_file(full, status)
    except OSError as error:
        fault = f"cannot be read: {error.strerror}"
    if fault:
        contents.leave_out(names.escaped(path), fault)
    else:
        contents.files.append(FoundFile(names.escaped(path), openable(full, cache), status.st_size, status.st_mtime_ns))


def fault_of_link(full: str, root: str) -> str:
    """Return why the link at ``full`` is left out (it leads outside ``root``, to a folder or nowhere), or ""."""
    try:
        target = os.path.realpath(full, strict=True)
    except OSError as error:
        return f"a link that leads nowhere: {error.strerror}"
    if not is_within(target, root):
        return f"a link that {OUTSIDE}"
    return "a link to a folder, which is not followed" if Path(target).is_dir() else ""


def is_within(target: str, root: str) -> bool:
    """Return whether ``target`` is the folder ``root`` or lies below it; both absolute and without links."""
    return f"{target}/".startswith(root.rstrip("/") + "/")


def fault_of_file(full: str, status: os.stat_result) -> str:
    """Return why the file at ``full`` with this status is left out, or "" where it is taken.

    Only a regular file without an image's ending is opened: opening a device or a pipe may hang or do harm.

    Raises:
        OSError: it cannot be opened.

    """
    if not stat.S_ISREG(status.st_mode):
        return NOT_REGULAR
    if kinds.has_image_ending(full.rpartition("/")[2]):
        return ""
    with open(full, "rb") as file:  # noqa: PTH123 - a path with escapes of PEP 383 need not become an object
        return "" if kinds.looks_like_image(file.read(kinds.HEAD_BYTES)) else NOT_AN_IMAGE


def openable(full: str, cache: Path) -> str:
    """Return a path in valid Unicode (tables hold nothing else) by which the file at ``full`` can be opened."""
    if names.is_valid_unicode(full):
        return full
    link = cache / "links" / hashlib.sha256(os.fsencode(full)).hexdigest()
    if not link.is_symlink():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(full)
    return str(link.absolute())
