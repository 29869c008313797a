"""Images that come inside another file, each stored once in the cache, under the hash of its bytes.

A second reading finds them there and writes nothing; an interrupted one resumes; equal pictures are one file.
"""

from __future__ import annotations

import hashlib
import io
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from curation.base import files
from curation.formats import names
from curation.formats.gate import Gate
from curation.formats.listing import FoundFile, SourceContents

_FOLDER = "contents"
_READ = "read"
_BLOCK = 65_535
"""Most bytes of a stored block of deflate (RFC 1951, 3.2.4)."""


class Contents:
    """Stores images given as bytes, and collects them as files of a listing."""

    def __init__(self, cache: Path) -> None:
        self._folder = cache.absolute() / _FOLDER
        self._taken: set[str] = set()
        self.contents = SourceContents()

    def add(
        self, path: str, data: bytes, split: str = "", label: str = "", subject: str = "", soft_label: str = ""
    ) -> None:
        """Store one image; a number is added to a path that is taken."""
        place = _place(self._folder, hashlib.sha256(data).hexdigest())
        # the stored file may have been damaged, or edited by somebody who sent the workspace
        if not files.holds(place, data):
            files.write_bytes(place, data, durable=False)
        status = place.stat()
        found = FoundFile(self._key(path), str(place), status.st_size, status.st_mtime_ns)
        self._append(found, split, label, subject, soft_label)

    def add_file(
        self, path: str, full: str, gate: Gate, split: str = "", label: str = "", subject: str = "", soft: str = ""
    ) -> None:
        """Add an image that is a file already, if the gate allows; else it is left out."""
        found = gate.find(full)
        key = self._key(path)
        if isinstance(found, str):
            self.contents.leave_out(key, found)
        else:
            self._append(found._replace(path=key), split, label, subject, soft)

    def _append(self, found: FoundFile, split: str, label: str, subject: str, soft: str) -> None:
        self._taken.add(found.path)
        split, label, subject = (names.escaped(text) for text in (split, label, subject))
        self.contents.files.append(found._replace(split=split, label=label, subject=subject, soft_label=soft))

    def _key(self, path: str) -> str:
        """Return ``path`` as a key inside the data set, with a number if it is taken."""
        path = names.inside(names.escaped(path.replace("\\", "/"))) or "image"
        stem, dot, ending = path.rpartition(".")
        stem, ending = (stem, dot + ending) if stem and "/" not in ending else (path, "")
        number = 1
        free = path
        while free in self._taken:
            number += 1
            free = f"{stem} ({number}){ending}"
        return free


def _place(folder: Path, digest: str) -> Path:
    return folder / digest[:2] / digest


def class_name(value: Any, classes: Sequence[str] | None) -> str:
    """Return a label as text; a number is a place in ``classes`` if there are any, "" if it is none of them."""
    if value is None:
        return ""
    if classes and isinstance(value, int):
        return str(classes[value]) if 0 <= value < len(classes) else ""
    return str(value)


def once(file: BinaryIO, what: str, cache: Path, decode: Callable[[BinaryIO], SourceContents]) -> SourceContents:
    """Return the images that ``decode`` finds in a file, from the cache if the same file was decoded before.

    Args:
        file: open at its beginning; ``decode`` is given it there.
        what: the decoder and its revision.
        cache: where the images and their names are kept.
        decode: stores the images by ``Contents``.

    """
    digest = hashlib.file_digest(cast("io.BufferedReader", file), "sha256").hexdigest()
    record = cache / _READ / f"{what}-{digest}.json"
    known = _known(record, cache.absolute() / _FOLDER)
    if known is not None:
        return known
    file.seek(0)
    contents = decode(file)
    rows = [(found.path, Path(found.url).name, found.bytes, *found[4:]) for found in contents.files]
    files.write_json(record, {"files": rows, "problems": contents.problems, "warnings": contents.warnings})
    return contents


def _known(record: Path, folder: Path) -> SourceContents | None:
    """Return what a file held when it was decoded, or None where that is not there as it was left."""
    contents = SourceContents()
    try:
        found = files.parsed(record.read_text(encoding="utf-8"))
        for path, digest, size, *stated in found["files"]:
            place = _place(folder, digest)
            status = place.lstat()
            if not re.fullmatch("[0-9a-f]{64}", digest) or place.is_symlink() or status.st_size != size:
                return None
            contents.files.append(FoundFile(path, str(place), size, status.st_mtime_ns, *stated))
        contents.problems += [(path, reason) for path, reason in found["problems"]]
        contents.warnings += found["warnings"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return contents


def grey_png(pixels: bytes, width: int, height: int) -> bytes:
    """Return an 8-bit grey PNG of ``pixels`` (row by row), uncompressed: the bytes depend on no library."""
    rows = b"".join(b"\0" + pixels[start : start + width] for start in range(0, width * height, width))
    blocks = [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
    stored = b"".join(
        struct.pack("<BHH", number == len(blocks), len(block), len(block) ^ 0xFFFF) + block
        for number, block in enumerate(blocks, start=1)
    )
    data = b"\x78\x01" + stored + struct.pack(">I", zlib.adler32(rows))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )
