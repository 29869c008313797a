"""What ingest hands on: the listing, and how it is put together from the files that were found."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from curation.base.errors import CurationError
from curation.formats import layout

if TYPE_CHECKING:
    from curation.base.settings import SourceSettings


class IngestError(CurationError):
    """A source as a whole cannot be read; what is wrong with single files is a row of ``Listing.problems``."""


class FoundFile(NamedTuple):
    """One image: its key, where its bytes are, and what the source states of it ("" otherwise).

    subject is the person, soft_label a JSON object class -> probability.
    """

    path: str
    url: str
    bytes: int
    mtime_ns: int
    split: str = ""
    label: str = ""
    subject: str = ""
    soft_label: str = ""


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
                unknown; split: str, train, validation, test, another name, or ""; label, subject: str or "";
                soft_label: JSON object class -> probability, or "".
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
    texts = {name: "str" for name in ("path", "url", "split", "label", "subject", "soft_label")}
    frame = frame.astype(texts | {"bytes": "int64", "mtime_ns": "int64"})
    problems = pd.DataFrame(sorted(set(contents.problems)), columns=["path", "reason"]).astype("str")
    warnings = (*contents.warnings, *_alike_labels({file.label for file in files}))
    return Listing(root, frame, problems, warnings)


def finished(listing: Listing, settings: SourceSettings) -> Listing:
    """Return ``listing`` with the persons that ``settings.subject_from`` finds in the paths.

    Raises:
        IngestError: it is no regular expression, or fits none of the paths.

    """
    if not settings.subject_from or listing.frame.empty:
        return listing
    try:
        found = [re.search(settings.subject_from, path) for path in listing.frame["path"]]
    except re.error as error:
        raise IngestError(f"--subject-from {settings.subject_from!r} is no regular expression: {error}") from error
    subjects = [(match[1] if match.re.groups else match[0]) or "" if match else "" for match in found]
    unknown = subjects.count("")
    if unknown == len(subjects):
        raise IngestError(
            f"--subject-from {settings.subject_from!r} fits no path; the first one is {listing.frame['path'].iloc[0]!r}"
        )
    said = [f"--subject-from fits {len(subjects) - unknown:,} of {len(subjects):,} paths"] if unknown else []
    frame = listing.frame.assign(subject=pd.Series(subjects, dtype="str"))
    return replace(listing, frame=frame, warnings=(*listing.warnings, *said))


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
