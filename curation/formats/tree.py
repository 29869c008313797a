"""Contents of a folder, an archive or a remote folder, for the recognisers of layouts."""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from curation.base.reading import open_regular
from curation.formats import kinds
from curation.formats.gate import MOST_BYTES, NOT_AN_IMAGE
from curation.formats.listing import Files, IngestError, SourceContents

_WITH_LABELS = frozenset(
    ("csv", "tsv", "txt", "lst", "npy", "json", "jsonl", "ndjson", "parquet", "xml", "xlsx", "mat", "yaml", "yml")
)
"""Extensions, in lower case, of files that may hold labels."""

_ABOUT = (
    "readme*",
    "license*",
    "licence*",
    "requirements*",
    "citation*",
    "changes.csv",
    "export.json",
    "classes.*",
    "truth.csv",
)
"""Files about a data set, not part of it; the last states what ``curate sample`` planted."""


@dataclass
class Tree:
    """Images and other files of a source, by their POSIX paths relative to its root.

    cache    -- where images that come inside other files are stored
    contents -- the images by their paths, what is left out, warnings
    others   -- path -> where the bytes of a file that is not an image are
    archives -- path -> where an archive inside is
    links    -- path of a link -> path of the file inside that it leads to
    opener   -- opens one of ``others``; raises OSError
    used     -- paths among ``others`` that a layout has read
    """

    cache: Path
    contents: SourceContents = field(default_factory=SourceContents)
    others: dict[str, str] = field(default_factory=dict)
    archives: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    opener: Callable[[str], BinaryIO] = open_regular
    used: set[str] = field(default_factory=set)

    @property
    def images(self) -> Files:
        """The images, in the order in which they were found."""
        return self.contents.files

    def add(self, path: str, place: str) -> None:
        """Note a file that is not an image."""
        (self.archives if kinds.has_archive_extension(path) else self.others)[path] = place

    def share_named(self, pattern: re.Pattern[str]) -> float:
        """Return the share of the images whose name, without its folder, is of a pattern; 0 if there are none."""
        fitting = sum(pattern.fullmatch(path.rpartition("/")[2]) is not None for path in self.images.paths())
        return fitting / max(len(self.images), 1)

    def named(self, *patterns: str) -> list[str]:
        """Return the sorted paths of other files whose name matches one of the shell patterns, given in lower case."""
        return sorted(
            path
            for path in self.others
            if any(fnmatch.fnmatchcase(path.rpartition("/")[2].lower(), pattern) for pattern in patterns)
        )

    def open(self, path: str) -> BinaryIO:
        """Open one of the other files, which then counts as read.

        Raises:
            OSError: it cannot be opened.

        """
        self.used.add(path)
        return self.opener(self.others[path])

    def head(self, path: str, size: int) -> bytes:
        """Return the first bytes of one of the other files, b"" if it cannot be read; it still counts as unread."""
        try:
            with self.opener(self.others[path]) as file:
                return file.read(size)
        except OSError:
            return b""

    def data(self, path: str) -> bytes:
        """Return the bytes of one of the other files, which then counts as read.

        Raises:
            IngestError: it cannot be read, or is too large.

        """
        try:
            with self.open(path) as file:
                data = file.read(MOST_BYTES + 1)
        except OSError as error:
            raise IngestError(f"{path} cannot be read: {error.strerror or error}") from error
        if len(data) > MOST_BYTES:
            raise IngestError(f"{path} has more than {MOST_BYTES:,} bytes; split it, or give that file itself")
        return data

    def text(self, path: str) -> str:
        """Return one of the other files as text; bytes that are not UTF-8 become U+FFFD."""
        return self.data(path).decode("utf-8-sig", errors="replace")

    def merge(self, prefix: str, inner: Tree) -> None:
        """Add the contents of an archive at ``prefix`` (its path without the extension)."""

        def below(path: str) -> str:
            return f"{prefix}/{path}" if prefix else path

        self.contents.files.extend(file._replace(path=below(file.path)) for file in inner.images)
        self.contents.problems += [(below(path), reason) for path, reason in inner.contents.problems]
        self.others |= {below(path): place for path, place in inner.others.items()}
        self.archives |= {below(path): place for path, place in inner.archives.items()}

    def unread(self) -> list[str]:
        """Note the other files as left out, and return sentences about those among them that may hold labels."""
        left = [path for path in self.others if path not in self.used]
        for path in left:
            self.contents.leave_out(path, NOT_AN_IMAGE)
        for path in self.archives:
            self.contents.leave_out(path, "an archive inside the data set; unpack it, or give that archive itself")
        speaking = sorted(path for path in left if has_label_extension(path) and not is_about(path))
        notes = []
        if speaking and self.images:
            endings = Counter(path.rpartition(".")[2].lower() for path in speaking)
            counted = ", ".join(f"{number:,} .{ending}" for ending, number in endings.most_common())
            notes.append(
                f"files that may hold labels were not read: {counted} (such as {speaking[0]!r}); where one of them is "
                "a list with columns path and label, give that: curate run LIST"
            )
        if self.archives and self.images:
            notes.append(
                f"archives inside were not read: {', '.join(map(repr, sorted(self.archives)[:3]))}; unpack them"
            )
        return notes


def has_label_extension(path: str) -> bool:
    """Return whether a file, by its extension, may hold labels."""
    _, dot, ending = path.rpartition("/")[2].lower().rpartition(".")
    return bool(dot) and ending in _WITH_LABELS


def is_about(path: str) -> bool:
    """Return whether a file is about a data set (a readme, a licence), not part of it."""
    name = path.rpartition("/")[2].lower()
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in _ABOUT)
