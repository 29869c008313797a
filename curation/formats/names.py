"""File names: valid Unicode for every name a disk can hold, and nothing that leads out of the data set."""

from __future__ import annotations

import os
import re

from curation.base.text import is_text

PROVENANCE = "export.json"
"""File in an export that states where it comes from: version, hash, earlier version of a partial one."""

_SYSTEM_NAMES = frozenset(
    (
        *("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "$recycle.bin", "system volume information"),
        *("@eadir", "@recycle", "@tmp", "@recently-snapshot", "#recycle", "#snapshot", "lost+found", "recycler"),
        *("network trash folder", "temporary items", "_thumbs", "_thumbnails", "picasa.ini", "_gsdata_"),
    )
)
"""What file managers, network disks and file systems leave behind, in lower case; hidden names (a leading dot) are
left out as well."""

_UNFINISHED = ("~", ".tmp", ".part", ".partial", ".crdownload", ".download", ".bak", ".swp")
"""Endings, in lower case, of backups and unfinished downloads: copies of a file that is there."""

# a byte that is not UTF-8 (PEP 383), or a backslash that would read as one of these escapes
_TO_ESCAPE = re.compile(r"[\udc80-\udcff]|\\(?=x(?:5c|[89a-f][0-9a-f]))")
_ESCAPE = re.compile(r"\\x(5c|[89a-f][0-9a-f])")
_DRIVE = re.compile(r"[A-Za-z]:")


def escaped(name: str) -> str:
    r"""Return ``name`` (as ``os.fsdecode`` gives it) as valid Unicode: a byte 0xff that is not UTF-8 becomes ``\xff``.

    Other names stay as they are, except that a backslash which looks like such an escape becomes ``\x5c``; so
    different names stay different, and ``unescaped`` restores the name.
    """
    if name.isascii() and "\\" not in name:
        return name
    named = _TO_ESCAPE.sub(lambda match: f"\\x{ord(match[0]) & 0xFF:02x}", name)
    # no disk has a name with half a character (JSON can hold one): it is spelled out
    return named if is_text(named) else named.encode("utf-8", "backslashreplace").decode("utf-8")


def unescaped(name: str) -> str:
    """Return the name from which ``escaped`` made ``name``, as ``os.fsencode`` takes it."""
    return _ESCAPE.sub(lambda match: "\\" if match[1] == "5c" else chr(0xDC00 + int(match[1], 16)), name)


def inside(name: str) -> str | None:
    """Return a relative POSIX path without empty and ``.`` parts, or None where it is absolute, empty or has ``..``."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if not parts or name.startswith("/") or ".." in parts or _DRIVE.match(name) or "\0" in name:
        return None
    return "/".join(parts)


def as_windows(text: str) -> str:
    """Return text of a file as valid Unicode: bytes that are not UTF-8 are read as Windows code page 1252."""
    return text if is_text(text) else os.fsencode(text).decode("cp1252", errors="replace")


def is_system_path(path: str) -> bool:
    """Return whether a part of a path is hidden, a backup, unfinished, or left behind by a program."""
    return any(map(is_system, path.split("/")))


def is_system(name: str) -> bool:
    """Return whether the name of a file or folder is that of something hidden, unfinished or left by a program."""
    plain = name.lower()
    return name.startswith(".") or plain in _SYSTEM_NAMES or (plain.endswith(_UNFINISHED) and plain != "~")
