"""The files that the rows of a list name, also if the list was written on another machine.

A path is read as given, relative to the list's folder or absolute. If there is no such file, the end of the path is
matched to the images below that folder, if exactly one fits: letter case, Unicode form and a missing or different image
extension do not matter, and only leading folders that all rows share may be dropped, so that a row is never matched
across classes or splits.
"""

from __future__ import annotations

import posixpath
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from curation.base.text import is_text
from curation.formats import columns as meanings
from curation.formats import folders, kinds, names
from curation.formats.gate import ABSENT, OUTSIDE, Gate
from curation.formats.listing import Files, FoundFile, SourceContents
from curation.formats.table import Table

LISTED_AGAIN = "listed again"
OTHER_LABEL = "listed again with another label or split; first kept"


class Entry(NamedTuple):
    """One row of a list as text; ``row`` counts from 1 after the header, soft_label is a JSON object or ""."""

    row: int
    path: str
    label: str = ""
    split: str = ""
    subject: str = ""
    soft_label: str = ""


@dataclass(frozen=True)
class Finder:
    """Where the files of a list are looked up.

    find       -- takes a path as a row states it; returns the file, or the reason why it is left out
    everything -- yields the paths of all images, for rows whose path does not exist as given
    """

    find: Callable[[str], FoundFile | str]
    everything: Callable[[], Iterable[str]]


def local(gate: Gate) -> Finder:
    """Return a finder of files below a local folder, through its gate."""
    return Finder(gate.find, lambda: folders.image_names(gate.root))


def among(images: Files, base: str = "") -> Finder:
    """Return a finder among known images; paths are relative to the folder ``base``, else to the root."""
    known = {image.path: image for image in images}

    def find(path: str) -> FoundFile | str:
        if path in known:
            return known[path]
        for folder in dict.fromkeys((base, "")):
            full = posixpath.normpath(posixpath.join(folder, names.escaped(path)))
            if full in known:
                return known[full]
        return OUTSIDE if full.startswith("../") else ABSENT

    return Finder(find, lambda: known)


def read(given: Table, finder: Finder, prefer: str = "", *, strict: bool = False) -> SourceContents:
    """Return the images that a list names, with what it states about them.

    Args:
        given: the list.
        finder: finds its files.
        prefer: a column of paths that takes precedence over others, if the list has it.
        strict: whether only a column with a common name is the label.

    Raises:
        IngestError: no column holds paths.

    """
    columns, entries, notes = _understood(given, finder, prefer, strict)
    contents = resolve(entries, finder)
    if columns.label < 0 and not columns.distribution and columns.soft < 0 and contents.files:
        have = ", ".join(repr(name) for name in given.header[:10] if name)
        notes.append(f"{given.shown} has no column of labels (it has {have}); name it 'label'")
    contents.warnings += notes
    return contents


def _understood(
    given: Table, finder: Finder, prefer: str, strict: bool
) -> tuple[meanings.Columns, list[Entry], list[str]]:
    """Return the meaning of a list's columns, its rows, and notes on how they were read."""

    def exists(cell: str) -> bool:
        return any(isinstance(finder.find(reading), FoundFile) for reading in _readings(cell))

    columns = meanings.understood(given, exists, prefer, strict=strict)
    labels, softs, notes = meanings.labels_of(given, columns)
    paths, splits, subjects = (
        given.column(place) if place >= 0 else [""] * len(given.rows)
        for place in (columns.path, columns.split, columns.subject)
    )
    numbered = zip(paths, labels, splits, subjects, softs, strict=True)
    return columns, [Entry(row, *cells) for row, cells in enumerate(numbered, start=1)], [*columns.notes, *notes]


def resolve(entries: Iterable[Entry], finder: Finder) -> SourceContents:
    """Return the files that rows name; files that are absent, outside or named twice are left out."""
    rows = list(entries)
    found = [_found(entry, finder) for entry in rows]
    matched = _matched_by_end(rows, found, finder)
    contents = SourceContents()
    first: dict[str, Entry] = {}
    for entry, file in zip(rows, found, strict=True):
        shown = names.escaped(entry.path) or f"row {entry.row}"
        if isinstance(file, str):
            contents.leave_out(shown, file)
        elif file.path in first:
            contents.leave_out(shown, LISTED_AGAIN if first[file.path][2:] == entry[2:] else OTHER_LABEL)
        else:
            first[file.path] = entry
            stated = (entry.label, entry.split.strip(), entry.subject.strip())
            label, split, subject = map(names.as_windows, stated)
            contents.files.append(file._replace(label=label, split=split, subject=subject, soft_label=entry.soft_label))
    contents.warnings += matched + _said_of(rows, contents)
    return contents


def _said_of(rows: Sequence[Entry], contents: SourceContents) -> list[str]:
    """Return a note on rows that give no image, and one on rows that contradict each other."""
    reasons = Counter(reason for _, reason in contents.problems if reason not in (LISTED_AGAIN, OTHER_LABEL))
    notes = []
    if reasons and contents.files:
        reason, number = reasons.most_common(1)[0]
        example = next(path for path, why in contents.problems if why == reason)
        total = sum(reasons.values())
        notes.append(
            f"{total:,} of {len(rows):,} rows give no image; of {number:,} the reason is: {example!r} {reason}"
        )
    if other := sum(reason == OTHER_LABEL for _, reason in contents.problems):
        notes.append(f"an image is named again with another label or split in {other:,} rows: its first row counts")
    return notes


def _found(entry: Entry, finder: Finder) -> FoundFile | str:
    """Return the file under the first reading of a row's path that leads to one, or why there is none."""
    if not entry.path.strip():
        return f"row {entry.row} of the list has no path"
    faults = []
    for reading in _readings(entry.path):
        found = finder.find(reading)
        if isinstance(found, FoundFile):
            return found
        faults.append(found)
    return next((fault for fault in faults if fault != ABSENT), ABSENT)


def _readings(path: str) -> list[str]:
    """Return a path as given, and as other programs, systems and code pages may have written it."""
    bare = path.strip()
    readings = [path, bare]
    if "\\" in bare:
        readings += [names.unescaped(bare), bare.replace("\\", "/")]
    if "://" in bare:
        url = urlsplit(bare)
        readings += [unquote(url.netloc + url.path)] if url.scheme == "file" else []
    elif "%" in bare:
        readings.append(unquote(bare))
    if not is_text(bare):
        readings.append(names.as_windows(bare))
    return list(dict.fromkeys(readings))


def _parts(path: str) -> list[str]:
    """Return the folders and the name in a path of any system, without drive, root and parent references."""
    plain = _readings(path)[-1].replace("\\", "/")
    return [part for part in plain.split("/") if part not in ("", ".", "..") and not part.endswith(":")]


def _key(part: str) -> str:
    return unicodedata.normalize("NFC", part).casefold()


def _name_key(name: str) -> str:
    return _key(name.rpartition(".")[0] if kinds.has_image_extension(name) else name)


def _matched_by_end(rows: Sequence[Entry], found: list[FoundFile | str], finder: Finder) -> list[str]:
    """Match rows whose path does not exist by the end of the path, in place; return a note on them."""
    absent = [place for place, file in enumerate(found) if file == ABSENT]
    if not absent:
        return []
    index: dict[str, list[list[str]]] = {}
    for path in finder.everything():
        parts = path.split("/")
        index.setdefault(_name_key(parts[-1]), []).append(parts)
    paths = [_parts(entry.path) for entry in rows if entry.path.strip()]
    shared = posixpath.commonprefix([parts[:-1] for parts in paths])  # of lists, element by element
    matched = []
    for place in absent:
        fitting = _by_end(_parts(rows[place].path), len(shared), index)
        if len(fitting) > 1:
            some = " and ".join(repr(names.escaped("/".join(parts))) for parts in fitting[:2])
            found[place] = f"fits several images, such as {some}"
        elif fitting:
            file = found[place] = finder.find("/".join(fitting[0]))
            if isinstance(file, FoundFile):
                matched.append(f"{names.escaped(rows[place].path)!r} to {file.path!r}")
    if not matched:
        return []
    text = f"{len(matched):,} rows name no file as given and were matched by the end of their path, such as"
    return [f"{text} {matched[0]}"]


def _by_end(parts: list[str], droppable: int, index: dict[str, list[list[str]]]) -> list[list[str]]:
    """Return the paths, split into parts, that end in ``parts``, without up to ``droppable`` leading ones."""
    same_name = index.get(_name_key(parts[-1]), []) if parts else []
    for dropped in range(droppable + 1):
        end = parts[dropped:]
        keys = [_key(part) for part in end[:-1]]
        fitting = [
            its
            for its in same_name
            if len(its) >= len(end) and [_key(part) for part in its[len(its) - len(end) : -1]] == keys
        ]
        if len(fitting) > 1:
            exact = [its for its in fitting if its[-len(end) :] == end]
            fitting = exact if len(exact) == 1 else fitting
        if fitting:
            return fitting
    return []
