"""Registry of export formats; each is one module, loaded on demand.

Formats of other packages are entry points of the group ``face_curation.formats``.
"""

from __future__ import annotations

import pkgutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from curation.base import plugins
from curation.base.errors import CurationError

if TYPE_CHECKING:
    from curation.formats.export_data import ExportData, Write


class UnknownFormatError(CurationError):
    """No format has that name."""


@dataclass(frozen=True)
class Format:
    """One format.

    name   -- as in ``--format``
    what   -- what it writes, in a few words
    writer -- a ``Write``, or "package.module:function" of one
    unit   -- what it counts, rows or images
    """

    name: str
    what: str
    writer: str | Write
    unit: str = "images"

    def write(self, export_data: ExportData, destination: Path) -> int:
        """Write ``export_data`` to ``destination`` and return how many rows or images were written."""
        writer: Write = pkgutil.resolve_name(self.writer) if isinstance(self.writer, str) else self.writer
        return writer(export_data, destination)


FORMATS: dict[str, Format] = {
    known.name: known
    for known in (
        Format("csv", "the manifest as one CSV file, every row", "curation.formats.manifest_table:write_csv", "rows"),
        Format(
            "spreadsheet",
            "CSV in which formulas are escaped by a '",
            "curation.formats.manifest_table:write_spreadsheet",
            "rows",
        ),
        Format(
            "parquet",
            "the manifest as one Parquet file, every row",
            "curation.formats.manifest_table:write_parquet",
            "rows",
        ),
        Format("folder", "split/label/file, for any ImageFolder reader", "curation.formats.image_folder:write"),
        Format("huggingface", "Parquet shards with features, splits and a card", "curation.formats.huggingface:write"),
        Format("fiftyone", "a FiftyOne dataset on disk", "curation.formats.fiftyone:write"),
        Format("coco", "COCO classification: images and one JSON per split", "curation.formats.coco:write"),
        Format("webdataset", "tar shards of image, class and row", "curation.formats.webdataset:write"),
        Format("croissant", "Parquet shards described by croissant.json", "curation.formats.croissant:write"),
        Format("labelstudio", "tasks and interface for Label Studio", "curation.formats.labelstudio:write"),
        Format("dvc", "a DVC stage that makes the image folder", "curation.formats.dvc:write"),
    )
}
"""The toolkit's own formats, in the order of the help."""


def added() -> dict[str, plugins.Plugin]:
    """Return the formats that other packages add, by name, not loaded."""
    return plugins.installed("formats", FORMATS)


def names() -> list[str]:
    """Return the names of all formats."""
    return [*FORMATS, *added()]


def find(name: str) -> Format:
    """Return the format called ``name``.

    Raises:
        UnknownFormatError: there is none.
        PluginError: another package's format cannot be loaded, or is not a ``Format``.

    """
    if name in FORMATS:
        return FORMATS[name]
    plugin = added().get(name)
    if plugin is None:
        raise UnknownFormatError(f"no export format {name!r}; there are: {', '.join(names())}")
    found = plugin.load()
    if not isinstance(found, Format) or found.name != name:
        raise plugin.error("must be a curation.formats.registry.Format of that name")
    return replace(found, writer=plugin.guarded(found.write))
