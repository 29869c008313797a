"""CSV, TSV and Parquet lists: which file has which label and split."""

from __future__ import annotations

import csv
import io
import os
import posixpath
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from curation.formats import folders, layout, names
from curation.formats.listing import FoundFile, IngestError, SourceContents

COLUMN_NAMES = {
    "path": ("path", "file", "file_path", "filepath", "file_name", "filename", "image", "image_path", "img", "name"),
    "label": ("label", "class", "class_name", "category", "emotion", "expression", "target", "cls", "y"),
    "split": ("split", "subset", "partition", "set", "usage"),
    "subject": ("subject", "subject_id", "person", "person_id", "identity", "actor", "speaker"),
}
"""For each column, the names that are taken for it, best first; case, spaces and hyphens do not matter."""

_DELIMITERS = ",;\t|"


class Entry(NamedTuple):
    """One row of a list as text; row counts from 1 without the header."""

    row: int
    path: str
    label: str
    split: str
    subject: str = ""


Locate = Callable[[str], FoundFile | str]
"""Takes a path relative to the list's folder; returns the file, or the reason why it is left out."""


def read_csv(data: bytes, shown: str) -> Iterable[Entry]:
    """Return the rows of a CSV file: UTF-8 or UTF-16, separated by comma, semicolon, tab or bar.

    Raises:
        IngestError: it has no column of paths, or cannot be read as CSV.

    """
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        # bytes that are not UTF-8 are kept, as they are in names on disk
        text = data.decode(encoding, errors="strict" if encoding == "utf-16" else "surrogateescape")
        header = text.lstrip("\r\n").partition("\n")[0]
        delimiter = max(_DELIMITERS, key=header.count)
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row]
    except (UnicodeError, csv.Error) as error:
        raise IngestError(f"{shown} cannot be read as CSV ({error}); save it as CSV in UTF-8") from error
    columns = _columns(rows[0] if rows else [], shown)
    return [_entry(number, columns, dict(enumerate(row))) for number, row in enumerate(rows[1:], start=1)]


def read_parquet(data: bytes, shown: str) -> Iterable[Entry]:
    """Return the rows of a Parquet file.

    Raises:
        IngestError: it is damaged, has no column of paths, or a column holds neither text nor numbers.

    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        columns = _columns(file.schema_arrow.names, shown)
        nested = [
            file.schema_arrow.names[n] for n in columns.values() if pa.types.is_nested(file.schema_arrow.types[n])
        ]
        if nested:
            raise IngestError(f"{shown}: column {nested[0]!r} is nested; it must hold text or numbers")
        table = file.read()
        values = {number: table.column(number).to_pylist() for number in columns.values()}
    except (pa.ArrowException, OSError, ValueError) as error:
        raise IngestError(f"{shown} cannot be read as Parquet ({_first_line(error)}); write it again") from error
    return [
        _entry(row + 1, columns, {number: column[row] for number, column in values.items()})
        for row in range(table.num_rows)
    ]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _columns(header: Sequence[str], shown: str) -> dict[str, int]:
    """Return the place of each known column in ``header``."""
    plain = [name.strip().lower().replace(" ", "_").replace("-", "_") for name in header]
    found = {}
    for column, accepted in COLUMN_NAMES.items():
        places = [plain.index(name) for name in accepted if name in plain]
        if places:
            found[column] = places[0]
    if "path" not in found:
        have = ", ".join(repr(name) for name in header[:10]) or "none"
        raise IngestError(f"{shown} has no column 'path' (it has {have}); name the column of file paths 'path'")
    return found


def _entry(number: int, columns: dict[str, int], cells: dict[int, Any]) -> Entry:
    return Entry(number, *(_text(cells.get(columns.get(name, -1))) for name in COLUMN_NAMES))


def _text(value: Any) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="surrogateescape")
    # whole numbers become floats in tables with gaps: 3.0 is the label 3
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def resolve(entries: Iterable[Entry], root: str, locate: Locate) -> SourceContents:
    """Return the files that a list names; what is absent, outside or named twice is left out.

    Args:
        entries: the list's rows.
        root: the list's folder; absolute paths in the list must lie below it.
        locate: finds one file.

    """
    contents = SourceContents()
    first: dict[str, Entry] = {}
    for entry in entries:
        shown = names.escaped(entry.path) or f"row {entry.row}"
        found = _found(entry, root, locate)
        if isinstance(found, str):
            contents.leave_out(shown, found)
        elif found.path in first:
            same = first[found.path][2:] == entry[2:]
            contents.leave_out(
                shown, "listed again" if same else "listed again with another label or split; first kept"
            )
        else:
            first[found.path] = entry
            split = layout.split_of(entry.split) or names.escaped(entry.split.strip())
            subject = names.escaped(entry.subject.strip())
            contents.files.append(found._replace(label=names.escaped(entry.label), split=split, subject=subject))
    return contents


def _found(entry: Entry, root: str, locate: Locate) -> FoundFile | str:
    """Return the file that a row names, under the first reading of its path that leads to one, or why there is none."""
    if not entry.path:
        return f"row {entry.row} of the list has no path"
    faults = []
    for reading in _readings(entry.path):
        path = _relative(reading, root)
        found = folders.OUTSIDE if path is None else locate(path)
        if isinstance(found, FoundFile):
            return found
        faults.append(found)
    return faults[0]


def _readings(path: str) -> list[str]:
    """Return ``path`` as it is and, where it holds backslashes, as escaped by us and as written on Windows."""
    return list(dict.fromkeys([path, names.unescaped(path), path.replace("\\", "/")])) if "\\" in path else [path]


def _relative(path: str, root: str) -> str | None:
    """Return ``path`` relative to ``root``, or None where it leads outside."""
    if posixpath.isabs(path) and folders.is_within(posixpath.normpath(path), root):
        return posixpath.relpath(path, root)
    return names.inside(path)


def local_locator(root: str, cache: Path) -> Locate:
    """Return a function that finds files below the local folder ``root`` (absolute, without links in it)."""
    faults: dict[str, str] = {}

    def locate(path: str) -> FoundFile | str:
        full = f"{root}/{path}"
        folder = full.rpartition("/")[0]
        try:
            if folder not in faults:
                real = os.path.realpath(folder)
                faults[folder] = "" if folders.is_within(real, root) else folders.OUTSIDE
            fault = faults[folder] or (folders.fault_of_link(full, root) if Path(full).is_symlink() else "")
            status = Path(full).stat()
            fault = fault or folders.fault_of_file(full, status)
        except (OSError, ValueError) as error:
            return f"cannot be read: {getattr(error, 'strerror', None) or error}"
        return fault or FoundFile(
            names.escaped(path), folders.openable(full, cache), status.st_size, status.st_mtime_ns
        )

    return locate
