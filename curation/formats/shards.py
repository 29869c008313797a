"""Parquet shards with the images inside, typed as Hugging Face's features; used by two export formats."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.base import tables
from curation.base.errors import optional
from curation.formats.export_data import ExportData, ExportRow, content, shards

if TYPE_CHECKING:
    import pandas as pd

SHARD_BYTES = 500 * 10**6
"""Image bytes after which a new shard begins: the target of Hugging Face's own writer."""

SHARD_ROWS = 1_000_000
"""Rows after which a new shard begins, however small the images are."""

_BATCH_ROWS = 256
"""Rows written, and held in memory, at a time."""

EXTRA = "exchange"


def split_names(splits: pd.Series) -> pd.Series:
    """Return the name of each row's shards, from its split: Hugging Face allows letters, digits, underscores and dots.

    ``all`` is reserved. If no image has a split, the name is train, as readers expect; else those without one are in
    ``unsplit``, and their column ``split`` stays empty.
    """
    none = "unsplit" if splits.ne("").any() else "train"
    taken = {split: re.sub(r"[^\w.]", "_", split) or none for split in set(splits)}
    return splits.map({split: f"{name}_" if name == "all" else name for split, name in taken.items()})


def features(export_data: ExportData) -> Any:
    """Return the columns as ``datasets.Features``: image, label (a class) and the manifest's columns."""
    datasets = optional("datasets", EXTRA, "this format")
    plain = {
        name: datasets.Value("float64" if name == "weight" else "string")
        for name in tables.columns("manifest")
        if name != "label"
    }
    return datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=export_data.classes), **plain}
    )


def write_shards(export_data: ExportData, folder: Path) -> dict[str, list[Path]]:
    """Write ``data/SPLIT-i-of-n.parquet`` below ``folder`` and return split name -> files relative to it.

    Only a batch of images is in memory at a time.
    """
    typed = features(export_data)
    kept = export_data.kept
    done = 0
    written: dict[str, list[Path]] = {}
    (folder / "data").mkdir()
    for split, rows in kept.groupby(split_names(kept["split"]), sort=True):
        parts: list[Path] = []
        for shard in shards(rows, SHARD_BYTES, SHARD_ROWS):
            part = folder / "data" / f"{split}-{len(parts):05d}.part"
            done = _write_shard(part, typed.arrow_schema, shard, export_data, done)
            parts.append(part)
        names = [f"{split}-{n:05d}-of-{len(parts):05d}.parquet" for n in range(len(parts))]
        written[str(split)] = [part.rename(part.with_name(name)) for part, name in zip(parts, names, strict=True)]
    return {split: [file.relative_to(folder) for file in files] for split, files in written.items()}


def _write_shard(path: Path, schema: Any, rows: list[ExportRow], export_data: ExportData, done: int) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    classes = {label: place for place, label in enumerate(export_data.classes)}
    total = len(export_data.kept)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, len(rows), _BATCH_ROWS):
            batch = rows[start : start + _BATCH_ROWS]
            columns: dict[str, list[Any]] = {name: [getattr(row, name, None) for row in batch] for name in schema.names}
            columns["image"] = [{"bytes": content(row), "path": row.path} for row in batch]
            columns["label"] = [classes.get(row.label) for row in batch]
            writer.write_table(pa.table(columns, schema=schema))
            done += len(batch)
            export_data.report(done, total)
    return done
