"""The result of reading a source: its listing, and notes on how names of splits, classes and persons were read."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from curation.base import programs, reading, splits
from curation.base.classes import alike, in_order
from curation.base.errors import CurationError
from curation.base.files import parsed
from curation.formats import layout

if TYPE_CHECKING:
    from curation.base.settings import SourceSettings


class IngestError(CurationError):
    """A source as a whole cannot be read; a problem of a single file is a row of ``Listing.problems`` instead."""


class FoundFile(NamedTuple):
    """One image: its key, where its bytes are, and what the source states about it ("" if nothing).

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
    """What the reader of one kind of source collects; splits have the names that the source gives them."""

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
    frame    -- one row per image, sorted by path. path: str, POSIX, relative to the root, unique, valid Unicode;
                url: str, absolute local path or fsspec URL to read from; bytes: int64; mtime_ns: int64, 0 where
                unknown; split: str, train, validation, test, another name, or ""; label, subject: str or "";
                soft_label: JSON object class -> probability, or "".
    problems -- path, reason: files that were left out on purpose, sorted.
    warnings -- sentences about the source as a whole, for the screen.
    """

    root: str
    frame: pd.DataFrame
    problems: pd.DataFrame
    warnings: tuple[str, ...]


_ADVICE = {
    "leads outside": "give the folder that holds all of it, or --follow-links if you trust this data",
    "not an image": "give the folder that holds the images, or a list with a column 'path'",
    "no such file": "paths are looked for below the list's folder: give the folder that holds both list and images",
    "fits several": "write more of each path into the list",
    "hidden": "rename them, or give the folder itself",
    "encrypted": "unpack it and give the folder",
    "link to a folder": "give the folder that it leads to",
    "cannot be": "check its permissions",
}
"""Words in the reason for leaving a file out -> what to do about it."""


def by_folders(contents: SourceContents) -> SourceContents:
    """Return ``contents`` with the split, label and person that each file's folders state."""
    folders = Counter(_folders(file.path) for file in contents.files)
    places, warnings = layout.assign(folders)
    placed = [file._replace(**places[_folders(file.path)]._asdict()) for file in contents.files]
    return SourceContents(placed, contents.problems, [*contents.warnings, *warnings])


def _folders(path: str) -> tuple[str, ...]:
    return tuple(path.split("/")[:-1])


def finished(root: str, contents: SourceContents, settings: SourceSettings) -> Listing:
    """Return the listing of a source, with names of splits, classes and persons normalised.

    Raises:
        IngestError: ``settings.subject_from`` is not a regular expression, or matches no path.

    """
    files = sorted(contents.files)
    for before, again in pairwise(files):
        if before.path == again.path:
            contents.leave_out(again.path, "the same name again")
    files = [file for place, file in enumerate(files) if not place or file.path != files[place - 1].path]
    files, notes = _with_splits(files)
    files, about_shares = _with_shares(files)
    files, about_persons = _with_subjects(files, settings.subject_from)
    files, about_labels = _with_labels(files, merge=settings.merge_labels)
    texts = {name: "str" for name in ("path", "url", "split", "label", "subject", "soft_label")}
    frame = pd.DataFrame(files, columns=list(FoundFile._fields))
    frame = frame.astype(texts | {"bytes": "int64", "mtime_ns": "int64"})
    problems = pd.DataFrame(sorted(set(contents.problems)), columns=["path", "reason"]).astype("str")
    warnings = dict.fromkeys([*contents.warnings, *notes, *about_shares, *about_persons, *about_labels])
    return Listing(root, frame, problems, tuple(warnings))


def _with_splits(files: list[FoundFile]) -> tuple[list[FoundFile], list[str]]:
    """Return files with normalised splits, and notes on names of splits that are not plain."""
    meant = splits.assign({file.split for file in files})
    renamed = sorted(name for name, split in meant.items() if split != name.strip() and not splits.is_plain(name))
    notes = []
    if renamed:
        notes.append("splits: " + ", ".join(f"{name!r} is read as {meant[name]}" for name in renamed))
    if own := sorted({split for split in meant.values() if split and split not in splits.STANDARD}):
        notes.append(f"splits whose names are not known are kept as they are: {', '.join(map(repr, own[:8]))}")
    return [file._replace(split=meant[file.split]) for file in files], notes


def _with_shares(files: list[FoundFile]) -> tuple[list[FoundFile], list[str]]:
    """Return files without invalid soft labels, and a note on those: a sidecar may hold any text."""
    odd = [place for place, file in enumerate(files) if file.soft_label and not _is_distribution(file.soft_label)]
    for place in odd:
        files[place] = files[place]._replace(soft_label="")
    if not odd:
        return files, []
    example = files[odd[0]].path
    return files, [
        f"{len(odd):,} soft labels are not a JSON object of shares, such as that of {example!r}, and are left out"
    ]


def _is_distribution(text: str) -> bool:
    try:
        return are_shares(parsed(text))
    except ValueError:
        return False


def are_shares(found: Any) -> bool:
    """Return whether a JSON value is an object of shares, or votes, not all 0."""
    values = list(found.values()) if isinstance(found, dict) else []
    return all(isinstance(value, int | float) and 0 <= value < float("inf") for value in values) and any(values)


_PATTERN_S = 10.0
"""Time limit in seconds of a regular expression on few paths."""

_PATHS_A_SECOND = 20_000
"""Paths that must be searched per second: a hundredth of what ordinary expressions reach."""


def _with_subjects(files: list[FoundFile], pattern: str) -> tuple[list[FoundFile], list[str]]:
    """Return files with the persons that a regular expression finds in their paths, and notes."""
    if not pattern or not files:
        return files, []
    try:
        re.compile(pattern)
        limit_s = _PATTERN_S + len(files) / _PATHS_A_SECOND
        subjects = programs.searched(pattern, [file.path for file in files], limit_s)
    except (re.error, OverflowError, RecursionError) as error:
        reason = reading.first_line(error)
        raise IngestError(f"--subject-from {pattern!r} is not a regular expression: {reason}") from error
    except TimeoutError as error:
        raise IngestError(
            f"--subject-from {pattern!r} was stopped ({error}); write it without nested repetitions"
        ) from error
    unknown = subjects.count("")
    if unknown == len(files):
        raise IngestError(f"--subject-from {pattern!r} matches no path; the first one is {files[0].path!r}")
    notes = [f"--subject-from matches {len(files) - unknown:,} of {len(files):,} paths"] if unknown else []
    return [file._replace(subject=subject) for file, subject in zip(files, subjects, strict=True)], notes


def _with_labels(files: list[FoundFile], *, merge: bool) -> tuple[list[FoundFile], list[str]]:
    """Return files with the spellings of one class merged if asked for, and notes on the classes."""
    counts = Counter(file.label for file in files if file.label)
    groups: dict[str, list[str]] = {}
    for label in sorted(counts):
        groups.setdefault(alike(label), []).append(label)
    same = [group for group in groups.values() if len(group) > 1]
    if not merge:
        notes = [
            f"the labels {', '.join(map(repr, group))} may be one class and are kept apart; --merge-labels joins them"
            for group in same
        ]
        return files, [*notes, *_about_classes(counts, len(files))]
    chosen = {
        label: max(group, key=lambda name: (name == name.strip().lower(), counts[name], name)).strip()
        for group in same
        for label in group
    }
    files = [
        file._replace(label=chosen.get(file.label, file.label), soft_label=_renamed(file.soft_label, chosen))
        for file in files
    ]
    merged = Counter(file.label for file in files if file.label)
    notes = [f"the labels {', '.join(map(repr, group))} are read as {chosen[group[0]]!r}" for group in same]
    return files, [*notes, *_about_classes(merged, len(files))]


def _renamed(soft: str, chosen: Mapping[str, str]) -> str:
    if not soft or not chosen:
        return soft
    shares: dict[str, float] = {}
    for name, share in json.loads(soft).items():
        shares[chosen.get(name, name)] = shares.get(chosen.get(name, name), 0.0) + share
    return json.dumps(shares, sort_keys=True, ensure_ascii=False)


def _about_classes(counts: Counter[str], images: int) -> list[str]:
    """Return notes on labels that are missing or do not look like classes of expressions."""
    labels, labelled = in_order(counts), counts.total()
    list_of = "give class folders, or a list (CSV) with columns path and label"
    if not labels:
        return [f"no image has a label: only checks that need none are run; {list_of}"] if images else []
    notes = []
    if labelled < images:
        notes.append(f"{images - labelled:,} of {images:,} images have no label: checked, but never trained on")
    if len(labels) == 1 and labelled > 1:
        notes.append(f"all labelled images are of one class, {labels[0]!r}; where that is not their label, {list_of}")
    if len(labels) > 1 and all(re.fullmatch(r"-?\d+", label) for label in labels):
        shown = ", ".join(labels[:8])
        notes.append(f"the classes are numbers ({shown}); to name them, give a list whose column of labels has names")
    if as_splits := [label for label in labels if splits.standard(label)]:
        shown = ", ".join(map(repr, as_splits[:5]))
        notes.append(f"the classes {shown} are named like splits; if they are not classes, {list_of}")
    return notes


def why_nothing(problems: pd.DataFrame) -> str:
    """Return the continuation of "no images in ...": the main reason why files were left out, and what to do."""
    if problems.empty:
        return ": it is empty; give the folder that holds the images"
    reasons = problems["reason"].str.partition(": ")[0].where(problems["reason"].str.contains(": "), problems["reason"])
    counts = reasons.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    reason, number = str(counts.index[0]), int(counts.iloc[0])
    example = problems.loc[reasons == reason].iloc[0]
    advice = next((words for sign, words in _ADVICE.items() if sign in reason), "")
    total = "" if number == len(problems) else f" of {len(problems):,}"
    what = f": {number:,}{total} files were left out for one reason, such as {example['path']!r}: {example['reason']}"
    return what + (f"; {advice}" if advice else "")
