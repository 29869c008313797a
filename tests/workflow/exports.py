"""What the tests of the export formats share: the rows that must come back, and how they are compared."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from curation.base import tables
from curation.base.workspace import open_workspace
from curation.decisions import manifest

COLUMNS = tables.columns("manifest")


def kept_rows(workspace: Path, version: str = "cleaned") -> pd.DataFrame:
    """The kept rows of a version, as committed."""
    found = open_workspace(workspace)
    rows = manifest.rows(found, manifest.find(found, version))
    return rows[rows["status"] == "kept"].reset_index(drop=True)


def require_same(records: Iterable[Mapping[str, Any]], expected: pd.DataFrame) -> None:
    """Compare what a library read back with the manifest row by row, and each picture's bytes with its hash.

    records: the manifest's columns, and data: bytes.
    """
    read = pd.DataFrame(list(records)).sort_values("path", ignore_index=True)
    assert [hashlib.sha256(data).hexdigest() for data in read["data"]] == read["sha256"].tolist()
    pd.testing.assert_frame_equal(read[COLUMNS], expected[COLUMNS], check_dtype=False)
