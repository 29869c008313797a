"""Tables of a section, computed once for the same inputs and kept in the workspace."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeGuard

import pandas as pd

from curation.base import files

Tables = dict[str, pd.DataFrame]

REVISION = 1
"""Raised whenever a section's tables may change for the same inputs."""

_DONE = "done.json"


def fingerprint(*parts: Any) -> str:
    """Return what names a section's inputs."""
    text = json.dumps([REVISION, *parts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """Return the beginning of a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def remembered(folder: Path, key: str, compute: Callable[[], Tables]) -> Tables:
    """Return a section's tables from ``folder`` if they were computed for the inputs that ``key`` names, else anew."""
    done = files.read_json(folder / _DONE)
    if _is_whole(done) and done.get("key") == key:
        return read(folder)
    tables = compute()
    shutil.rmtree(folder, ignore_errors=True)
    for name, table in tables.items():
        files.write_table(folder / f"{name}.parquet", table.reset_index(drop=True))
    # last: a section without it is computed anew
    files.write_json(folder / _DONE, {"key": key, "tables": list(tables)})
    return tables


def read(folder: Path) -> Tables:
    """Return the tables of a section as they were last computed; {} where it was not."""
    done = files.read_json(folder / _DONE)
    if not _is_whole(done):
        return {}
    return {name: files.read_table(folder / f"{name}.parquet") for name in done["tables"]}


def _is_whole(done: dict[str, Any] | None) -> TypeGuard[dict[str, Any]]:
    """Return whether a record names tables of its own folder: it may have been edited."""
    names = (done or {}).get("tables")
    return isinstance(names, list) and all(re.fullmatch(r"\w+", str(name)) for name in names)
