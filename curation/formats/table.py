"""Lists in any form (CSV of any dialect, JSON, JSON lines, Parquet) as a plain table of texts."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from curation.base.files import parsed
from curation.base.reading import UNREADABLE, arrow_file, first_line
from curation.formats import kinds, names
from curation.formats.listing import IngestError

_DELIMITERS = ",;\t|"
_SEPARATOR_LINE = re.compile(r"sep=(.)$")
"""The line before the header that tells Excel the separator."""

_SURROGATE = re.compile("[\ud800-\udbff\udc00-\udc7f\udd00-\udfff]")
"""Lone surrogates that do not stand for a byte of a name (PEP 383 uses U+DC80 to U+DCFF)."""


@dataclass(frozen=True)
class Table:
    """A list: its name in messages, its header ("" for a column without one) and its rows of texts.

    nested -- places of columns whose cells are lists or objects (JSON in ``rows``)
    """

    shown: str
    header: list[str]
    rows: list[list[str]]
    nested: frozenset[int] = frozenset()

    def column(self, place: int) -> list[str]:
        """Return the cells of a column, "" where a row is too short."""
        return [row[place] if place < len(row) else "" for row in self.rows]


def read(data: bytes, name: str, shown: str) -> Table:
    """Return the table in a file called ``name``; ``shown`` is its name in messages.

    Raises:
        IngestError: it cannot be read, or only in another way than intended.

    """
    kind = kinds.source_kind(data[:512], name)
    if kind == "parquet":
        return _parquet(data, shown)
    if kind == "workbook":
        raise IngestError(f"{shown} is a spreadsheet; save it as CSV in UTF-8 and give that")
    return _json(data, name, shown) if kind == "json" else _csv(data, shown)


def _csv(data: bytes, shown: str) -> Table:
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        # bytes that are not UTF-8 are kept, as in names on disk
        text = data.decode(encoding, errors="strict" if encoding == "utf-16" else "surrogateescape")
    except UnicodeError as error:
        raise IngestError(f"{shown} cannot be read as CSV ({error}); save it as CSV in UTF-8") from error
    text, delimiter = _body(text)
    rows = _spaced(text) if delimiter == " " else _separated(text, delimiter, shown)
    if rows and not any(kinds.has_image_extension(cell.strip()) for cell in rows[0]):  # names of columns
        header, rows = [names.as_windows(cell.strip()) for cell in rows[0]], rows[1:]
        _require_distinct(header, shown)
    else:
        header = [""] * max(map(len, rows), default=0)
    return Table(shown, header, rows)


def _body(text: str) -> tuple[str, str]:
    """Return the text from the header on, without what precedes it, and the delimiter."""
    while True:
        first, _, rest = text.partition("\n")
        line = first.strip("\r\n")
        stated = _SEPARATOR_LINE.match(line)
        if stated:
            return rest, stated[1]
        if line and not line.startswith("#"):
            break
        if not rest:
            return "", ","
        text = rest
    delimiter = max(_DELIMITERS, key=line.count)
    if delimiter in line:
        return text, delimiter
    return text, " " if re.search(r"\S +\S+\s*$", line) and kinds.has_image_extension(line.split()[0]) else ","


def _spaced(text: str) -> list[list[str]]:
    """Return the rows of a list separated by spaces, whose first cell is a path with the extension of an image."""
    rows = []
    for line in filter(str.strip, text.splitlines()):
        words = line.split()
        ends = [place for place, word in enumerate(words, 1) if kinds.has_image_extension(word)]
        start = ends[0] if ends else 1
        rows.append([" ".join(words[:start]), *words[start:]])
    return rows


def _separated(text: str, delimiter: str, shown: str) -> list[list[str]]:
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if row]
    except csv.Error as error:
        if "unexpected end" in str(error):
            raise IngestError(f"{shown} ends inside a quoted cell; close the quote {_last_quote(text)}") from error
        try:
            rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row]
        except csv.Error as again:
            raise IngestError(f"{shown} cannot be read as CSV ({again}); save it as CSV in UTF-8") from again
    width = max(len(rows[0]) if rows else 0, 2)
    for number, row in enumerate(rows, start=1):
        cell = next((cell for cell in row if "\n" in cell and _holds_rows(cell, delimiter, width)), None)
        if cell is not None:
            raise IngestError(
                f"{shown}: a quoted cell of row {number} swallows the rows after it (it begins {cell[:40]!r}); close "
                "its quote"
            )
    return rows


def _holds_rows(cell: str, delimiter: str, width: int) -> bool:
    lines = cell.splitlines()
    paths = sum(kinds.has_image_extension(line.strip()) for line in lines)
    return paths > 1 or any(line.count(delimiter) >= width - 1 for line in lines)


def _last_quote(text: str) -> str:
    """Return in words where a quote was opened that is never closed."""
    open_since = 0
    for number, line in enumerate(text.splitlines(), start=1):
        if line.count('"') % 2:
            open_since = 0 if open_since else number
    return f"that is opened in line {open_since}" if open_since else "of its last row"


def _require_distinct(header: Sequence[str], shown: str) -> None:
    plain = [name.casefold() for name in header if name]
    twice = next((name for name in plain if plain.count(name) > 1), None) if len(set(plain)) < len(plain) else None
    if twice is not None:
        raise IngestError(f"{shown} has two columns called {twice!r}; rename or remove one of them")


def _json(data: bytes, name: str, shown: str) -> Table:
    try:
        text = data.decode("utf-8-sig")
        lines = name.lower().endswith(("jsonl", "ndjson"))
        found = [parsed(line) for line in text.splitlines() if line.strip()] if lines else parsed(text)
    except ValueError as error:
        raise IngestError(f"{shown} cannot be read as JSON ({error}); write it again") from error
    records = _records(found)
    if not records:
        raise IngestError(
            f"{shown} holds no list of images; give JSON such as "
            '[{"path": "faces/1.jpg", "label": "happy"}], or a CSV with columns path and label'
        )
    header = list(dict.fromkeys(str(key) for record in records for key in record))
    rows = [[text_of(record.get(key)) for key in header] for record in records]
    return Table(shown, [_valid(key) for key in header], rows)


def _records(found: Any) -> list[Mapping[str, Any]]:
    """Return the rows of a JSON table in any of the common shapes, pandas' among them."""
    if isinstance(found, list):
        return [each for each in found if isinstance(each, dict)]
    if not isinstance(found, dict) or not found:
        return []
    values = list(found.values())
    plain_lists = all(isinstance(v, list) and not any(isinstance(e, dict | list) for e in v) for v in values)
    if plain_lists and len(set(map(len, values))) == 1:
        return [dict(zip(found, row, strict=True)) for row in zip(*values, strict=True)]
    if all(isinstance(value, dict) for value in values):
        if kinds.has_image_extension(next(iter(found))):
            return [{"path": key, **value} for key, value in found.items()]
        places = dict.fromkeys(key for value in values for key in value)
        return [{name: found[name].get(place) for name in found} for place in places]
    inner = [value for value in values if isinstance(value, list) and value and isinstance(value[0], dict)]
    if len(inner) == 1:
        return _records(inner[0])
    plain = all(isinstance(value, str | int | float) for value in values)
    return [{"path": key, "label": value} for key, value in found.items()] if plain else []


def _parquet(data: bytes, shown: str) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(arrow_file(data)).read()
        header = [str(name) for name in table.schema.names]
        nested = frozenset(place for place, kind in enumerate(table.schema.types) if pa.types.is_nested(kind))
        columns = [table.column(place).to_pylist() for place in range(table.num_columns)]
    except (pa.ArrowException, *UNREADABLE) as error:
        raise IngestError(f"{shown} cannot be read as Parquet ({first_line(error)}); write it again") from error
    _require_distinct(header, shown)
    texts = [[text_of(cell) for cell in cells] for cells in columns]
    return Table(shown, header, [list(row) for row in zip(*texts, strict=True)], nested)


def text_of(value: Any) -> str:
    """Return a cell as text: "" for a missing value, whole numbers without a point, nested values as JSON."""
    if value is None or value != value:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="surrogateescape")
    if isinstance(value, dict | list):
        return _valid(json.dumps(value, ensure_ascii=False, default=str))
    # whole numbers become floats in tables with gaps: 3.0 is the label 3
    return str(int(value)) if isinstance(value, float) and value.is_integer() else _valid(str(value))


def _valid(text: str) -> str:
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


_TRUTH = {"": "0", "false": "0", "true": "1"}


def numbers(cells: Iterable[str]) -> list[float] | None:
    """Return cells as numbers (empty: 0; true and false: 1 and 0); None if one is not a finite number from 0 on."""
    found = []
    for cell in cells:
        try:
            value = float(_TRUTH.get(cell.strip().casefold(), cell))
        except ValueError:
            return None
        if not 0 <= value < float("inf"):
            return None
        found.append(value)
    return found
