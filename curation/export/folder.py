"""Export as an image folder: split/label/file. Copies, so that editing the export never edits the source."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path, PurePosixPath

import fsspec
import pandas as pd

from curation import workspace
from curation.workspace import Workspace, WorkspaceError

_UNSAFE = {"", ".", ".."}
"""Labels that would not name a folder of their own."""


def write_folder(space: Workspace, rows: pd.DataFrame, destination: Path) -> int:
    """Write the kept images under ``destination``/split/label and return how many; a relabelled image moves.

    The folder appears whole: it is filled under a temporary name beside the destination and renamed.

    Raises:
        WorkspaceError: the destination exists and is not empty, or a label cannot be a folder's name.

    """
    if destination.exists() and any(destination.iterdir()):
        raise WorkspaceError(f"{destination} exists and is not empty; name a new folder")
    urls = workspace.read_table(space.listing).set_index("path")["url"]
    kept = rows[rows["status"] == "kept"]
    destination.parent.mkdir(parents=True, exist_ok=True)
    building = destination.parent / f".{destination.name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        for row in kept.itertuples(index=False):
            target = building / _folder(row.split) / _folder(row.label) / _file_name(row.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            _place(str(urls[row.path]), target)
        building.mkdir(exist_ok=True)
        if destination.exists():
            destination.rmdir()
        building.rename(destination)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return len(kept)


def _folder(name: str) -> str:
    """Return a split's or label's folder name; images without one lie one level higher."""
    if not name:
        return ""
    if name in _UNSAFE or "/" in name or "\\" in name or "\0" in name:
        raise WorkspaceError(f"the label {name!r} cannot be the name of a folder; relabel it or export as csv")
    return name


def _file_name(path: str) -> str:
    """Return a file name that is unique among all paths: the path's parts joined, as two folders may hold one name."""
    return "__".join(PurePosixPath(path).parts)


def _place(url: str, target: Path) -> None:
    if "://" in url:
        with fsspec.open(url, "rb") as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink)
        return
    shutil.copyfile(url, target)
