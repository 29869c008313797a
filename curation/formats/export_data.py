"""What every export format is given: the rows to write, where their bytes are, and how files are placed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from curation.base import tables
from curation.base.classes import in_order
from curation.base.errors import CurationError
from curation.base.progress import Report
from curation.base.workspace import Workspace, read_images, read_listing, source_of
from curation.decisions import manifest
from curation.decisions.manifest import Version
from curation.measure.batch import measured_bytes

if TYPE_CHECKING:
    import pandas as pd

Placement = Literal["copy", "hardlink", "symlink"]
"""How image files are placed in an export."""

_MOST_BYTES = 512 * 2**20
"""The default of ``measure.max_bytes``: no larger file has been measured."""


class ExportRow(Protocol):
    """A row of ``ExportData.kept``, as far as formats read it by name."""

    path: str
    sha256: str
    split: str
    label: str
    url: str
    bytes: int
    width: int
    height: int


class ExportError(CurationError):
    """A version cannot be exported as asked."""


def _no_report(done: int, total: int) -> None:
    """Show no progress."""


@dataclass(frozen=True)
class ExportData:
    """One version, or what changed in it since another, to be exported.

    rows    -- the manifest's columns, then change ("" in a whole export; else added, removed, excluded, restored,
               relabelled, reweighted or other), url, bytes, width, height, mode; sorted by path. Removed images are
               as they were before, without a url.
    version -- what is exported
    since   -- the earlier version that a partial export starts from, or None
    workspace -- the workspace's folder
    source  -- where the data set was read from
    place   -- how image files are placed
    report  -- called with (done, total) as the work advances
    """

    rows: pd.DataFrame
    version: Version
    workspace: Path
    since: Version | None = None
    source: str = ""
    place: Placement = "copy"
    report: Report = field(default=_no_report)

    @property
    def kept(self) -> pd.DataFrame:
        """The rows whose images are exported, numbered from 0."""
        there = (self.rows["status"] == "kept") & (self.rows["change"] != "removed")
        return self.rows[there].reset_index(drop=True)

    @property
    def classes(self) -> list[str]:
        """The labels of the whole version, in order, so that partial exports number them the same way."""
        return in_order({label for labels in self.version.counts.values() for label in labels} - {""})

    @property
    def title(self) -> str:
        """Name of the data set: the last part of its source."""
        return self.source.rstrip("/").rpartition("/")[2] or "faces"

    def each(self) -> Iterator[ExportRow]:
        """Yield the rows of ``kept`` one by one, and report each as done when the next one is asked for."""
        kept = self.kept
        for number, row in enumerate(each_row(kept), start=1):
            yield row
            self.report(number, len(kept))

    def record(self) -> dict[str, Any]:
        """Return where an export comes from, for the file ``export.json`` in it."""
        return {
            "data_set": self.title,
            "version": self.version.name,
            "manifest_hash": self.version.hash,
            "since": self.since.name if self.since else None,
            "since_hash": self.since.hash if self.since else None,
            "images": len(self.kept),
        }


def load_export_data(
    workspace: Workspace,
    version_name: str,
    since_name: str = "",
    place: Placement = "copy",
    report: Report = _no_report,
) -> ExportData:
    """Return a version, or what changed in it since ``since_name``, ready for a format.

    Raises:
        WorkspaceError: a version is unknown.

    """
    version = manifest.find(workspace, version_name)
    rows = manifest.rows(workspace, version).assign(change="")
    since = manifest.find(workspace, since_name) if since_name else None
    if since is not None:
        rows = _changed(manifest.rows(workspace, since), rows)
    urls = read_listing(workspace)[["path", "url"]]
    images = read_images(workspace)
    measured = images[["path", "bytes", "width", "height", "mode"]]
    rows = rows.merge(urls, on="path", how="left").merge(measured, on="path", how="left")
    whole = {"bytes": 0, "width": 0, "height": 0}
    rows = rows.fillna({"url": "", "mode": "", **whole}).astype(dict.fromkeys(whole, "int64"))
    ordered = rows.sort_values("path", ignore_index=True)
    return ExportData(ordered, version, workspace.root, since, source_of(workspace), place, report)


def _changed(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that two versions judge differently, with what changed; removed ones as they were."""
    import pandas as pd

    change = manifest.diff(before, after.drop(columns="change")).set_index("path")["change"]
    now = after[after["path"].isin(change.index)].assign(change=lambda frame: frame["path"].map(change))
    gone = before[before["path"].isin(change.index[change == "removed"])].assign(change="removed")
    return pd.concat([now, gone], ignore_index=True)


def content(row: ExportRow) -> bytes:
    """Return the bytes of an image, verified to be those that were curated.

    Raises:
        ChangedError: the file is gone, cannot be read, or has changed.

    """
    return measured_bytes(row.url, row.sha256, _MOST_BYTES, row.path)


def curated(row: ExportRow) -> dict[str, Any]:
    """Return the manifest's columns of a row."""
    return {name: getattr(row, name) for name in tables.columns("manifest")}


def shards(rows: pd.DataFrame, most_bytes: int, most_rows: int) -> Iterator[list[ExportRow]]:
    """Yield ``rows`` (of ``ExportData.kept``) in order, in lists of at most so many image bytes and rows each."""
    shard: list[ExportRow] = []
    size = 0
    for row in each_row(rows):
        if shard and (len(shard) == most_rows or size + row.bytes > most_bytes):
            yield shard
            shard, size = [], 0
        shard.append(row)
        size += row.bytes
    if shard:
        yield shard


def each_row(rows: pd.DataFrame) -> Iterator[ExportRow]:
    """Yield the rows of ``ExportData.kept`` one by one."""
    return cast("Iterator[ExportRow]", rows.itertuples(index=False))


Write = Callable[[ExportData, Path], int]
"""Writes export data to a destination and returns the number of rows or images written."""
