"""What the command prints: tables for people, JSON for machines. No other module prints results."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.base.files import json_bytes, unfinished_folder
from curation.base.text import json_printable, printable

if TYPE_CHECKING:
    import pandas as pd

    from curation.base.destinations import Destinations
    from curation.cli.doctor import Finding

_MOST_ROWS = 40
"""Rows of a table shown on a terminal before the rest is only counted."""

_PIPED_WIDTH = 120
"""Characters a line of a table that is not printed on a terminal."""

_BESIDE_PATHS = 70
"""Characters that the other columns have beside the longest path; a narrower terminal breaks the lines itself."""

_BETWEEN_COLUMNS = 2
"""Blanks that separate two columns."""


def print_json(value: Any) -> None:
    """Print ``value`` as JSON; dataclasses become objects. Nothing in it steers a terminal, whatever its encoding."""

    def plain(one: Any) -> Any:
        return asdict(one) if is_dataclass(one) and not isinstance(one, type) else str(one)

    print(json_printable(json.dumps(value, indent=1, ensure_ascii=not _prints_utf8(), default=plain)))


def _prints_utf8() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def records(frame: pd.DataFrame) -> list[dict[Hashable, Any]]:
    """Return a table's rows for JSON, which has no NaN: missing values are null."""
    rows: list[dict[Hashable, Any]] = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return rows


def print_lines(lines: Sequence[str]) -> None:
    """Print plain sentences, one per line, with names as a terminal may show them."""
    for line in lines:
        print(printable(line))


def print_frame(
    frame: pd.DataFrame, format_name: str, *, hint: str = "", limit: int = _MOST_ROWS, total: int | None = None
) -> None:
    """Print a table as ``table`` (at most ``limit`` rows, 0: all), ``csv`` or ``json``.

    Of ``total`` rows the table may hold only the first.
    """
    if format_name == "table":
        _print_table(frame, hint, limit or len(frame), len(frame) if total is None else total)
    else:
        print_blocks([frame], format_name)


def print_blocks(blocks: Iterable[pd.DataFrame], format_name: str) -> None:
    """Print a table that comes in blocks as ``csv`` or ``json``."""
    if format_name == "json":
        ascii_only = not _prints_utf8()
        for text in _json_texts(blocks, lambda rows: json.dumps(rows, indent=1, ensure_ascii=ascii_only, default=str)):
            sys.stdout.write(json_printable(text))
        return
    for number, frame in enumerate(blocks):
        # to a program every character counts; a terminal would obey some
        shown = (
            frame.map(lambda cell: printable(cell) if isinstance(cell, str) else cell) if sys.stdout.isatty() else frame
        )
        sys.stdout.write(_csv(shown, number))


def _csv(frame: pd.DataFrame, number: int) -> str:
    """Return one block of a table, with the header if it is the first."""
    return frame.to_csv(index=False, header=number == 0, lineterminator="\n")


def _json_texts(blocks: Iterable[pd.DataFrame], dumped: Callable[[list[Any]], str]) -> Iterator[str]:
    """Yield the text of a JSON array of all rows; ``dumped`` writes one of some rows, which ends in a line end."""
    before = "["
    for frame in blocks:
        if len(frame):
            yield before + dumped(records(frame)).strip().removeprefix("[").removesuffix("\n]")
            before = ","
    yield "[]\n" if before == "[" else "\n]\n"


def write_blocks(blocks: Iterable[pd.DataFrame], format_name: str, destination: str, gate: Destinations) -> None:
    """Write a table that comes in blocks to a file as JSON, or else as CSV, and say so.

    Raises:
        DestinationError: nothing may be written there.

    """
    path, counts = Path(destination), [0]

    def counted() -> Iterator[pd.DataFrame]:
        for frame in blocks:
            counts.append(len(frame))
            yield frame

    texts: Iterator[str] = (_csv(frame, number) for number, frame in enumerate(counted()))
    if format_name == "json":
        texts = _json_texts(counted(), lambda rows: json_bytes(rows).decode("utf-8"))
    gate.allow_place(path)
    with unfinished_folder(path) as building:
        made = building / path.name
        with made.open("w", encoding="utf-8", newline="") as file:
            file.writelines(texts)
        gate.replace(made, path)
    print_lines([f"{sum(counts):,} rows written to {destination}"])


def _print_table(frame: pd.DataFrame, hint: str, limit: int, total: int) -> None:
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    screen = Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH)
    needed = 0
    shown = frame.head(limit)
    for column in frame.columns:
        # a path that is broken into lines cannot be copied, in a column of its own or amid a sentence
        cells = [_cell(value) for value in shown[column]]
        parts = cells if column == "path" else [word for cell in cells for word in cell.split()]
        longest = max(map(cell_len, parts), default=0)
        right = frame[column].dtype.kind in "if"
        table.add_column(
            Text(printable(str(column))),
            justify="right" if right else "left",
            overflow="fold",
            no_wrap=column == "path",
            min_width=longest,
        )
        needed += max(longest, len(str(column))) + _BETWEEN_COLUMNS
        if column == "path":
            needed = max(needed, longest + _BESIDE_PATHS)
    for row in shown.itertuples(index=False, name=None):
        # Text, not markup: names from the file system must not be read as styles
        table.add_row(*(Text(_cell(value)) for value in row))
    if needed > screen.width:
        screen = Console(width=needed)
    screen.print(table)
    if total > len(shown):
        print(f"... {total - len(shown):,} more rows{hint}")


def print_findings(findings: Sequence[Finding]) -> None:
    """Print what the doctor found, a line each, and below it what to do."""
    from rich.console import Console
    from rich.text import Text

    marks = {"ok": ("ok    ", "green"), "absent": ("-     ", "dim"), "wrong": ("WRONG ", "bold red")}
    screen = Console(soft_wrap=True)
    for finding in findings:
        mark, style = marks[finding.state]
        screen.print(Text(mark, style) + Text(printable(f"{finding.what:<22} {finding.facts}")))
        if finding.to_do:
            screen.print(Text(printable(f"{'':<29}{finding.to_do}"), "dim"))


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return printable(str(value))
