"""The result of reading a source: its listing, and notes on how names of splits, classes and persons were read."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.base import mapped, programs, reading, splits
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


_BLOCK = 16_384
"""Files that are Python objects at a time."""

_COLUMNS = pa.schema(
    [(name, pa.int64() if name in ("bytes", "mtime_ns") else pa.large_string()) for name in FoundFile._fields]
)


class Files:
    """The images of a source in their order, kept as columns: a tenth of the memory of as many objects."""

    def __init__(self, files: Iterable[FoundFile] = ()) -> None:
        """Take ``files`` in, one after the other."""
        self._blocks: list[pa.Table] = []
        self._spooled = 0
        self._last: list[FoundFile] = []
        self.extend(files)

    def append(self, file: FoundFile) -> None:
        """Add one file."""
        self._last.append(file)
        if len(self._last) >= _BLOCK:
            self._close()

    def extend(self, files: Iterable[FoundFile]) -> None:
        """Add files."""
        for file in files:
            self.append(file)

    def __len__(self) -> int:
        """Return the number of files."""
        return sum(len(block) for block in self._blocks) + len(self._last)

    def __iter__(self) -> Iterator[FoundFile]:
        """Yield each file."""
        for block in self._each_block():
            yield from map(FoundFile._make, zip(*(column.to_pylist() for column in block.columns), strict=True))
        yield from list(self._last)

    def paths(self) -> Iterator[str]:
        """Yield the path of each file."""
        for block in self._each_block():
            yield from block["path"].to_pylist()
        yield from [file.path for file in self._last]

    def placed(self, place: Callable[[str], tuple[str, str, str]]) -> Files:
        """Return the files with the split, label and person that ``place`` gives for their paths."""
        self._close()
        result = Files()
        for block in self._each_block():
            stated = list(zip(*map(place, block["path"].to_pylist()), strict=True))
            for name, values in zip(("split", "label", "subject"), stated, strict=True):
                number = _COLUMNS.get_field_index(name)
                block = block.set_column(number, _COLUMNS.field(name), pa.array(values, pa.large_string()))
            result._add(block)
        return result

    def into_frame(self) -> pd.DataFrame:
        """Return the columns, sorted by them in their order, and forget the files."""
        self._close()
        table = pa.concat_tables([_COLUMNS.empty_table(), *self._blocks])
        self._blocks = []
        found = mapped.spooled(table, pc.sort_indices(table["path"]))
        if _repeated(found["path"]).any():
            found = mapped.spooled(table, pc.sort_indices(table, [(name, "ascending") for name in table.column_names]))
        del table
        frame: pd.DataFrame = found.to_pandas(split_blocks=True, self_destruct=True)
        return frame

    def _close(self) -> None:
        if self._last:
            columns = zip(*self._last, strict=True)
            arrays = [pa.array(values, kind.type) for values, kind in zip(columns, _COLUMNS, strict=True)]
            self._last = []
            self._add(pa.table(arrays, schema=_COLUMNS))

    def _add(self, block: pa.Table) -> None:
        """Add a block; large ones lie in files (``mapped.spooled``)."""
        self._blocks.append(block)
        fresh = self._blocks[self._spooled :]
        if sum(map(len, fresh)) >= mapped.FROM:
            self._blocks[self._spooled :] = [mapped.spooled(pa.concat_tables(fresh))]
            self._spooled += 1

    def _each_block(self) -> Iterator[pa.Table]:
        """Yield the closed blocks in parts of which all may be Python objects."""
        for block in self._blocks:
            yield from (block.slice(start, _BLOCK) for start in range(0, len(block), _BLOCK))


class SourceContents:
    """What the reader of one kind of source collects; splits have the names that the source gives them."""

    def __init__(
        self,
        files: Iterable[FoundFile] = (),
        problems: Iterable[tuple[str, str]] = (),
        warnings: Iterable[str] = (),
    ) -> None:
        """Begin with what is known: images, paths that are left out with the reasons, sentences for the screen."""
        self.files = files if isinstance(files, Files) else Files(files)
        self.problems = list(problems)
        self.warnings = list(warnings)

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
    counts = Counter(path.rpartition("/")[0] for path in contents.files.paths())
    folders = {folder: tuple(folder.split("/")) if folder else () for folder in counts}
    places, warnings = layout.assign({folders[folder]: number for folder, number in counts.items()})
    stated = {folder: places[parts] for folder, parts in folders.items()}
    placed = contents.files.placed(lambda path: stated[path.rpartition("/")[0]])
    return SourceContents(placed, contents.problems, [*contents.warnings, *warnings])


def finished(root: str, contents: SourceContents, settings: SourceSettings) -> Listing:
    """Return the listing of a source, with names of splits, classes and persons normalised.

    Raises:
        IngestError: ``settings.subject_from`` is not a regular expression, or matches no path.

    """
    frame = contents.files.into_frame()
    again = _repeated(pa.array(frame["path"]))
    if again.any():
        contents.problems += [(path, "the same name again") for path in frame["path"][again]]
        frame = frame[~again].reset_index(drop=True)
    notes = _name_splits(frame)
    about_shares = _check_shares(frame)
    about_persons = _name_subjects(frame, settings.subject_from)
    about_labels = _name_labels(frame, merge=settings.merge_labels)
    problems = pd.DataFrame(sorted(set(contents.problems)), columns=["path", "reason"]).astype("str")
    warnings = dict.fromkeys([*contents.warnings, *notes, *about_shares, *about_persons, *about_labels])
    return Listing(root, frame, problems, tuple(warnings))


def _repeated(texts: pa.Array | pa.ChunkedArray) -> NDArray[np.bool_]:
    """Return (N,) whether a text is that of the row before it."""
    found = np.zeros(len(texts), dtype=np.bool_)
    found[1:] = np.asarray(pc.equal(texts[1:], texts[:-1]))
    return found


def _renamed_each(texts: pd.Series, names: Mapping[str, str]) -> Any:
    """Return a column of texts, of which few are different, with another name for each."""
    encoded = pa.array(texts).dictionary_encode()
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    meant = pa.array([names[text] for text in encoded.dictionary.to_pylist()], pa.large_string())
    return pd.array(meant.take(encoded.indices), dtype="str")


def _name_splits(frame: pd.DataFrame) -> list[str]:
    """Normalise splits in place, and return notes on names of splits that are not plain."""
    meant = splits.assign(set(frame["split"].unique()))
    renamed = sorted(name for name, split in meant.items() if split != name.strip() and not splits.is_plain(name))
    notes = []
    if renamed:
        notes.append("splits: " + ", ".join(f"{name!r} is read as {meant[name]}" for name in renamed))
    if own := sorted({split for split in meant.values() if split and split not in splits.STANDARD}):
        notes.append(f"splits whose names are not known are kept as they are: {', '.join(map(repr, own[:8]))}")
    frame["split"] = _renamed_each(frame["split"], meant)
    return notes


def _check_shares(frame: pd.DataFrame) -> list[str]:
    """Remove invalid soft labels in place, and return a note on those: a sidecar may hold any text."""
    stated = frame.loc[frame["soft_label"] != "", "soft_label"]
    odd = stated.index[~np.fromiter(map(_is_distribution, stated), dtype=np.bool_, count=len(stated))]
    if not len(odd):
        return []
    frame.loc[odd, "soft_label"] = ""
    example = frame["path"][odd[0]]
    return [f"{len(odd):,} soft labels are not a JSON object of shares, such as that of {example!r}, and are left out"]


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


def _name_subjects(frame: pd.DataFrame, pattern: str) -> list[str]:
    """Set the persons that a regular expression finds in the paths, in place, and return notes."""
    if not pattern or frame.empty:
        return []
    try:
        re.compile(pattern)
        limit_s = _PATTERN_S + len(frame) / _PATHS_A_SECOND
        subjects = programs.searched(pattern, frame["path"].tolist(), limit_s)
    except (re.error, OverflowError, RecursionError) as error:
        reason = reading.first_line(error)
        raise IngestError(f"--subject-from {pattern!r} is not a regular expression: {reason}") from error
    except TimeoutError as error:
        raise IngestError(
            f"--subject-from {pattern!r} was stopped ({error}); write it without nested repetitions"
        ) from error
    unknown = subjects.count("")
    if unknown == len(frame):
        raise IngestError(f"--subject-from {pattern!r} matches no path; the first one is {frame['path'][0]!r}")
    frame["subject"] = pd.array(subjects, dtype="str")
    return [f"--subject-from matches {len(frame) - unknown:,} of {len(frame):,} paths"] if unknown else []


def _name_labels(frame: pd.DataFrame, *, merge: bool) -> list[str]:
    """Merge the spellings of one class in place if asked for, and return notes on the classes."""
    counts = _counted(frame)
    groups: dict[str, list[str]] = {}
    for label in sorted(counts):
        groups.setdefault(alike(label), []).append(label)
    same = [group for group in groups.values() if len(group) > 1]
    if not merge:
        notes = [
            f"the labels {', '.join(map(repr, group))} may be one class and are kept apart; --merge-labels joins them"
            for group in same
        ]
        return [*notes, *_about_classes(counts, len(frame))]
    chosen = {
        label: max(group, key=lambda name: (name == name.strip().lower(), counts[name], name)).strip()
        for group in same
        for label in group
    }
    frame["label"] = frame["label"].replace(chosen)
    frame["soft_label"] = frame["soft_label"].map(lambda soft: _renamed(soft, chosen)).astype("str")
    notes = [f"the labels {', '.join(map(repr, group))} are read as {chosen[group[0]]!r}" for group in same]
    return [*notes, *_about_classes(_counted(frame), len(frame))]


def _counted(frame: pd.DataFrame) -> Counter[str]:
    """Return class -> number of its images, without those that have no label."""
    counts = frame.loc[frame["label"] != "", "label"].value_counts()
    return Counter({str(label): int(number) for label, number in counts.items()})


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
