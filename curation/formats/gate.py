"""The single gate for local paths of every source: which files on the disk are read, and which are not.

Only regular files are opened, because a pipe or a device may hang or do harm. Nothing outside the source's root is read
unless the settings allow it, whatever a link, a list or an annotation names.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from curation.base.reading import open_regular
from curation.base.text import is_text
from curation.formats import kinds, names
from curation.formats.listing import FoundFile, IngestError

NOT_AN_IMAGE = "not an image, by its extension or content"
OUTSIDE = "leads outside the data set"
SYSTEM_FILE = "a hidden, system, backup or unfinished file"
NOT_REGULAR = "not a regular file"
LINKED_FOLDER = "a link to a folder, which is not followed"
ABSENT = "no such file"

MOST_BYTES = 2**30
"""A larger list or annotation file is not read."""


@dataclass
class Gate:
    """What one source may read of the disk.

    root    -- the source's folder: absolute, without links in it
    cache   -- where links to files are made whose names are not UTF-8
    outside -- whether links and lists may lead outside ``root``
    """

    root: str
    cache: Path
    outside: bool = False
    _folders: dict[str, str] = field(default_factory=dict, repr=False)

    def find(self, path: str) -> FoundFile | str:
        """Return the file at ``path`` (relative to the root, or absolute), or the reason why it is left out."""
        full = os.path.normpath(f"{self.root}/{path}" if not path.startswith("/") else path)
        if "\0" in full:
            return ABSENT
        inside = is_within(full, self.root)
        if not inside and not self.outside:
            # a path of another machine does not exist here, and may be matched by its end
            return OUTSIDE if os.path.lexists(full) else ABSENT
        key = full[len(self.root.rstrip("/")) + 1 :] if inside else full.lstrip("/")
        folder = full.rpartition("/")[0]
        try:
            if folder not in self._folders:
                self._folders[folder] = self._fault_within(folder)
            fault = self._folders[folder] or (self.fault_of_link(full) if Path(full).is_symlink() else "")
            return fault or self.taken(key, full, Path(full).stat())
        except (OSError, ValueError) as error:
            absent = isinstance(error, FileNotFoundError | NotADirectoryError)
            return ABSENT if absent else f"cannot be read: {getattr(error, 'strerror', None) or error}"

    def taken(self, key: str, full: str, status: os.stat_result) -> FoundFile | str:
        """Return the image file at ``full`` under the name ``key``, or the reason why it is left out."""
        try:
            fault = fault_of_file(full, status)
        except OSError as error:
            fault = f"cannot be read: {error.strerror}"
        if fault:
            return fault
        return self.named(key, full, status.st_size, status.st_mtime_ns)

    def named(self, key: str, full: str, size: int, mtime_ns: int) -> FoundFile:
        """Return the image file at ``full`` under the name ``key``, both escaped or linked where they are no UTF-8."""
        return FoundFile(names.escaped(key), openable(full, self.cache), size, mtime_ns)

    def read(self, path: str, most_bytes: int = MOST_BYTES) -> bytes:
        """Return the bytes of a file of the source that is not an image, at most ``most_bytes``.

        Raises:
            OSError: it cannot be read, leads outside, or is not a regular file.

        """
        full = f"{self.root}/{path}"
        fault = self._fault_within(full.rpartition("/")[0]) or (
            self.fault_of_link(full) if Path(full).is_symlink() else ""
        )
        if fault:
            raise OSError(0, fault)
        with open_regular(full) as file:
            return file.read(most_bytes)

    def fault_of_link(self, full: str) -> str:
        """Return why the link at ``full`` is left out (it leads outside, to a folder or nowhere), or ""."""
        try:
            target = os.path.realpath(full, strict=True)
        except OSError as error:
            return f"a link that leads nowhere: {error.strerror}"
        if not self.outside and not is_within(target, self.root):
            return f"a link that {OUTSIDE}"
        return LINKED_FOLDER if Path(target).is_dir() else ""

    def _fault_within(self, folder: str) -> str:
        return "" if self.outside or is_within(os.path.realpath(folder), self.root) else OUTSIDE

    def require_inside(self) -> None:
        """Refuse a folder that another library reads by itself, if that could lead it outside or to a device.

        Raises:
            IngestError: a link leads outside, or something is not a regular file.

        """
        for folder, below, here in os.walk(self.root):
            for name in (*below, *here):
                full = f"{folder}/{name}"
                fault = self.fault_of_link(full) if Path(full).is_symlink() else ""
                if not fault or fault == LINKED_FOLDER:
                    mode = Path(full).stat().st_mode
                    fault = "" if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else f"is {NOT_REGULAR}"
                if fault and not fault.startswith("a link that leads nowhere"):
                    raise IngestError(
                        f"{names.escaped(full)} {fault.replace('a link that ', '')}; remove it, or give --follow-links "
                        "if you trust this data"
                    )


def is_within(target: str, root: str) -> bool:
    """Return whether ``target`` is the folder ``root`` or is below it; both absolute and without links."""
    return f"{target}/".startswith(root.rstrip("/") + "/")


def fault_of_file(full: str, status: os.stat_result) -> str:
    """Return why the file at ``full`` with this status is not an image, or "" if it is one.

    Only a regular file without an image's extension is opened.

    Raises:
        OSError: it cannot be opened.

    """
    if not stat.S_ISREG(status.st_mode):
        return NOT_REGULAR
    if kinds.has_image_extension(full.rpartition("/")[2]):
        return ""
    with open_regular(full) as file:
        return "" if kinds.looks_like_image(file.read(kinds.HEAD_BYTES)) else NOT_AN_IMAGE


def openable(full: str, cache: Path) -> str:
    """Return a path in valid Unicode, as tables need it, by which the file at ``full`` can be opened."""
    if is_text(full):
        return full
    link = cache / "links" / hashlib.sha256(os.fsencode(full)).hexdigest()
    if not link.is_symlink():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(full)
    return str(link.absolute())
