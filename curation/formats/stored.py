"""Images that come inside another file, laid down once each in the cache, under the hash of their bytes.

A second reading finds them there and writes nothing; a killed one goes on; equal pictures are one file.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from curation.base import files
from curation.formats import folders, names
from curation.formats.listing import FoundFile, SourceContents

_FOLDER = "contents"


class Contents:
    """Takes images as bytes and collects them as files of a listing."""

    def __init__(self, cache: Path) -> None:
        self._folder = cache.absolute() / _FOLDER
        self._taken: set[str] = set()
        self.contents = SourceContents()

    def add(self, path: str, data: bytes, split: str = "", label: str = "") -> None:
        """Take one image; a path that is taken already is told apart by a number."""
        digest = hashlib.sha256(data).hexdigest()
        place = self._folder / digest[:2] / digest
        if not files.holds(place, data):  # a damaged copy is made anew
            files.write_bytes(place, data, durable=False)
        self.add_file(path, str(place), split, label)

    def add_file(self, path: str, url: str, split: str = "", label: str = "") -> None:
        """Take one image that is a file already, at the absolute local path ``url``; what is no image is left out."""
        key = self._free(names.inside(names.escaped(path.replace("\\", "/"))) or "image")
        try:
            status = Path(url).stat()
            fault = "" if url.startswith(f"{self._folder}/") else folders.fault_of_file(url, status)
        except OSError as error:
            fault = f"cannot be read: {error.strerror}"
        if fault:
            self.contents.leave_out(key, fault)
            return
        self._taken.add(key)
        label, split = names.escaped(label), names.escaped(split)
        self.contents.files.append(FoundFile(key, url, status.st_size, status.st_mtime_ns, split, label))

    def _free(self, path: str) -> str:
        """Return ``path``, or the first like it with a number that is not taken."""
        stem, dot, ending = path.rpartition(".")
        stem, ending = (stem, dot + ending) if stem and "/" not in ending else (path, "")
        number = 1
        free = path
        while free in self._taken:
            number += 1
            free = f"{stem} ({number}){ending}"
        return free
