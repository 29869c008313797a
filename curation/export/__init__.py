"""Hand a version on: as a table, or as folders of the kept images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from curation import manifest, workspace
from curation.export.folder import write_folder
from curation.workspace import Workspace, WorkspaceError

__all__ = ["export_version"]


def export_version(space: Workspace, version: str, form: str, destination: Path) -> int:
    """Write a version to ``destination`` and return the number of rows or images written.

    form csv and parquet write the manifest's columns, every row; folder writes the kept images as split/label/name.

    Raises:
        WorkspaceError: the version is unknown, or the destination exists and holds something.

    """
    rows = manifest.rows(space, manifest.find(space, version))
    writers: dict[str, Callable[[Workspace, pd.DataFrame, Path], int]] = {
        "csv": _write_csv,
        "parquet": _write_parquet,
        "folder": write_folder,
    }
    if form not in writers:
        raise WorkspaceError(f"no export format {form!r}; there are: {', '.join(writers)}")
    return writers[form](space, rows, destination)


def _write_csv(space: Workspace, rows: pd.DataFrame, destination: Path) -> int:
    workspace.write_bytes(destination, rows.to_csv(index=False, lineterminator="\n").encode("utf-8"))
    return len(rows)


def _write_parquet(space: Workspace, rows: pd.DataFrame, destination: Path) -> int:
    workspace.write_table(destination, rows)
    return len(rows)
