"""What ingest hands on: the listing, and how it is put together from the files that were found."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import pandas as pd

from curation.base.errors import CurationError
from curation.formats import layout


class IngestError(CurationError):
    """A source as a whole cannot be read; what is wrong with single files is a row of ``Listing.problems``."""


class FoundFile(NamedTuple):
    """One image: its key, where its bytes are, and the split and label that a list states ("" otherwise)."""

    path: str
    url: str
    bytes: int
    mtime_ns: int
    split: str = ""
    label: str = ""


@dataclass
class SourceContents:
    """What a reader of one kind of source collects while it goes through it."""

    files: list[FoundFile] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def leave_out(self, path: str, reason: str) -> None:
        """Note that the file at ``path`` is left out on purpose, and why."""
        self.problems.append((path, reason))


@dataclass(frozen=True)
class Listing:
    """All images of one source.

    root     -- where it came from: an absolute path or a URL without its secrets.
    frame    -- one row an image, sorted by path. path: str, POSIX, relative to the root, unique, valid Unicode;
                url: str, absolute local path or fsspec URL to read from; bytes: int64; mtime_ns: int64, 0 where
                unknown; split: str, train, validation, test, another name of a list, or ""; label: str or "".
    problems -- path, reason: files that were left out on purpose, sorted.
    warnings -- sentences about the source as a whole.
    """

    root: str
    frame: pd.DataFrame
    problems: pd.DataFrame
    warnings: tuple[str, ...]


def from_folders(root: str, contents: SourceContents) -> Listing:
    """Return the listing of files whose folders state their split and label."""
    folders = Counter(_folders(file.path) for file in contents.files)
    places, warnings = layout.assign(folders)
    labelled = [file._replace(**places[_folders(file.path)]._asdict()) for file in contents.files]
    return from_rows(root, SourceContents(labelled, contents.problems, [*contents.warnings, *warnings]))


def from_rows(root: str, contents: SourceContents) -> Listing:
    """Return the listing of files whose split and label are known."""
    files = sorted(contents.files)
    frame = pd.DataFrame(files, columns=list(FoundFile._fields))
    texts = {name: "str" for name in ("path", "url", "split", "label")}
    frame = frame.astype(texts | {"bytes": "int64", "mtime_ns": "int64"})
    problems = pd.DataFrame(sorted(set(contents.problems)), columns=["path", "reason"]).astype("str")
    warnings = (*contents.warnings, *_alike_labels({file.label for file in files}))
    return Listing(root, frame, problems, warnings)


def _folders(path: str) -> tuple[str, ...]:
    return tuple(path.split("/")[:-1])


def _alike_labels(labels: Iterable[str]) -> list[str]:
    """Return a sentence for every set of labels that differ only by case, surrounding space or Unicode form."""
    alike: dict[str, list[str]] = {}
    for label in sorted(labels):
        alike.setdefault(unicodedata.normalize("NFKC", label).strip().casefold(), []).append(label)
    return [
        f"the labels {', '.join(map(repr, same))} differ only by case, space or Unicode form and are kept apart"
        for same in alike.values()
        if len(same) > 1
    ]
