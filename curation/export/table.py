"""Export as one table: the manifest's columns, every row, kept or not; what changed is one column more."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from curation import tables, workspace
from curation.export.handover import Handover

if TYPE_CHECKING:
    import pandas as pd


def write_csv(handover: Handover, destination: Path) -> int:
    """Write a CSV file and return its number of rows."""
    rows = _columns(handover)
    workspace.write_bytes(destination, rows.to_csv(index=False, lineterminator="\n").encode("utf-8"))
    return len(rows)


def write_parquet(handover: Handover, destination: Path) -> int:
    """Write a Parquet file and return its number of rows."""
    rows = _columns(handover)
    workspace.write_table(destination, rows)
    return len(rows)


def _columns(handover: Handover) -> pd.DataFrame:
    extra = [] if handover.since is None else ["change"]
    return handover.rows[[*tables.columns("manifest"), *extra]]
