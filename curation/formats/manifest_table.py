"""Export as one table: the manifest's columns of every row, kept or not; partial exports also have ``change``."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from curation.base import files, tables
from curation.formats.export_data import ExportData

if TYPE_CHECKING:
    import pandas as pd


_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""First characters of a cell that a spreadsheet may compute; it may drop a tab or line end before a formula."""


def write_csv(export_data: ExportData, destination: Path) -> int:
    """Write a CSV file and return its number of rows."""
    return _write_csv(_columns(export_data), destination)


def write_spreadsheet(export_data: ExportData, destination: Path) -> int:
    """Write a CSV file for people who open it in a spreadsheet, and return its number of rows.

    Texts that begin like a formula get a leading ', so they are not read back unchanged.
    """
    rows = _columns(export_data)
    for name in _texts(rows):
        rows = rows.assign(**{name: rows[name].mask(rows[name].str.startswith(_FORMULA), "'" + rows[name])})
    return _write_csv(rows, destination)


def _write_csv(rows: pd.DataFrame, destination: Path) -> int:
    # by default a "\r" in a name is left unquoted, which readers take for the end of a line
    odd = any("\r" in cell for name in _texts(rows) for cell in rows[name])
    quoting: Literal[0, 2] = csv.QUOTE_NONNUMERIC if odd else csv.QUOTE_MINIMAL
    files.write_bytes(destination, rows.to_csv(index=False, lineterminator="\n", quoting=quoting).encode("utf-8"))
    return len(rows)


def _texts(rows: pd.DataFrame) -> list[str]:
    return list(rows.select_dtypes(exclude="number").columns)


def write_parquet(export_data: ExportData, destination: Path) -> int:
    """Write a Parquet file and return its number of rows."""
    rows = _columns(export_data)
    files.write_table(destination, rows)
    return len(rows)


def _columns(export_data: ExportData) -> pd.DataFrame:
    extra = [] if export_data.since is None else ["change"]
    return export_data.rows[[*tables.columns("manifest"), *extra]]
