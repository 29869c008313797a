"""Names of files: valid Unicode for every name a disk can hold, and nothing that leads out of the data set."""

from __future__ import annotations

import os
import re

PROVENANCE = "export.json"
"""Where an export comes from: version, hash, earlier version of a partial one."""

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
"""Endings, in lower case, of backups and of what was not written to its end: copies of a file that is there."""

# a byte that is not UTF-8 (PEP 383), or a backslash that would read as one of our own escapes
_TO_ESCAPE = re.compile(r"[\udc80-\udcff]|\\(?=x(?:5c|[89a-f][0-9a-f]))")
_ESCAPE = re.compile(r"\\x(5c|[89a-f][0-9a-f])")
_DRIVE = re.compile(r"[A-Za-z]:")


def escaped(name: str) -> str:
    r"""Return ``name`` (as ``os.fsdecode`` gives it) as valid Unicode: a byte 0xff that is not UTF-8 becomes ``\xff``.

    Other names stay as they are, except that a backslash which looks like such an escape becomes ``\x5c``; so
    different names stay different, and ``unescaped`` gives the name back.
    """
    if name.isascii() and "\\" not in name:
        return name
    named = _TO_ESCAPE.sub(lambda match: f"\\x{ord(match[0]) & 0xFF:02x}", name)
    # half a character, as JSON can hold it, is no name that any disk has: it is spelled
    return named if is_valid_unicode(named) else named.encode("utf-8", "backslashreplace").decode("utf-8")


def unescaped(name: str) -> str:
    """Return the name of which ``escaped`` made ``name``, as ``os.fsencode`` takes it."""
    return _ESCAPE.sub(lambda match: "\\" if match[1] == "5c" else chr(0xDC00 + int(match[1], 16)), name)


def inside(name: str) -> str | None:
    """Return a relative POSIX path without empty and ``.`` parts, or None where it is absolute, empty or has ``..``."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if not parts or name.startswith("/") or ".." in parts or _DRIVE.match(name) or "\0" in name:
        return None
    return "/".join(parts)


def is_valid_unicode(text: str) -> bool:
    """Return whether ``text`` can be written as UTF-8 (it holds no lone surrogate)."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def as_windows(text: str) -> str:
    """Return text of a file as valid Unicode: bytes that are not UTF-8 are taken for Windows' code page 1252."""
    return text if is_valid_unicode(text) else os.fsencode(text).decode("cp1252", errors="replace")


def is_system(name: str) -> bool:
    """Return whether a file or folder of this name is hidden, a backup, unfinished, or left behind by a program."""
    plain = name.lower()
    return name.startswith(".") or plain in _SYSTEM_NAMES or (plain.endswith(_UNFINISHED) and plain != "~")
