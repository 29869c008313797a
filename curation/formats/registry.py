"""The formats a version can be handed on as; each is one module, loaded when it is used."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from curation.base.errors import CurationError

if TYPE_CHECKING:
    from curation.formats.export_data import ExportData, Write


class UnknownFormatError(CurationError):
    """No format has that name, or the library that it needs is not installed."""


@dataclass(frozen=True)
class Format:
    """One format.

    name   -- as in ``--format``
    what   -- what it writes, in a few words
    writer -- "module:function" of a ``Write``, below ``curation.formats``
    unit   -- what it counts: rows or images
    """

    name: str
    what: str
    writer: str
    unit: str = "images"

    def write(self, export_data: ExportData, destination: Path) -> int:
        """Write ``export_data`` to ``destination`` and return how many rows or images were written."""
        module, _, function = self.writer.partition(":")
        writer = cast("Write", getattr(importlib.import_module(f"curation.formats.{module}"), function))
        return writer(export_data, destination)


FORMATS: tuple[Format, ...] = (
    Format("csv", "the manifest as one CSV file, every row", "manifest_table:write_csv", "rows"),
    Format(
        "spreadsheet",
        "csv with a ' before what would be a formula",
        "manifest_table:write_spreadsheet",
        "rows",
    ),
    Format(
        "parquet",
        "the manifest as one Parquet file, every row",
        "manifest_table:write_parquet",
        "rows",
    ),
    Format("folder", "split/label/file, for any ImageFolder reader", "image_folder:write"),
    Format("huggingface", "Parquet shards with features, splits and a card", "huggingface:write"),
    Format("fiftyone", "a FiftyOne dataset on disk", "fiftyone:write"),
    Format("coco", "COCO classification: images and one JSON a split", "coco:write"),
    Format("webdataset", "tar shards of image, class and row", "webdataset:write"),
    Format("croissant", "Parquet shards described by croissant.json", "croissant:write"),
    Format("labelstudio", "tasks and interface for Label Studio", "labelstudio:write"),
    Format("dvc", "a DVC stage that makes the image folder", "dvc:write"),
)
"""Every format, in the order in which help lists them."""


def names() -> list[str]:
    """Return the names of all formats."""
    return [known.name for known in FORMATS]


def find(name: str) -> Format:
    """Return the format called ``name``.

    Raises:
        UnknownFormatError: there is none.

    """
    for known in FORMATS:
        if known.name == name:
            return known
    raise UnknownFormatError(f"no export format {name!r}; there are: {', '.join(names())}")
