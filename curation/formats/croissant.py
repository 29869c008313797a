"""Export as Croissant: Parquet shards with the images inside, described by ``croissant.json`` (MLCommons, 1.1)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.base import tables
from curation.base.errors import optional
from curation.formats.export_data import ExportData
from curation.formats.export_files import export_folder
from curation.formats.shards import EXTRA, write_shards

_SHARDS = "shards"
_RECORDS = "images"

_MEANING = {
    "path": "name of the image in the source",
    "sha256": "SHA-256 of the image's bytes",
    "split": "train, validation, test, another name, or empty",
    "label": "label after cleaning: its place in the record set of labels",
    "original_label": "label that the image came with",
    "status": "kept: other images are not exported",
    "reason": "why it was kept or changed",
    "group": "copies that it belongs to",
    "weight": "weight in training",
    "soft_label": "JSON object, class to probability, or empty",
    "subject": "the person in the picture, or empty where unknown",
}


def write(export_data: ExportData, destination: Path) -> int:
    """Write the kept images with their rows and description, and return the number of images."""
    optional("mlcroissant", EXTRA, "the format croissant")
    with export_folder(export_data, "croissant", destination) as building:
        write_shards(export_data, building)
        (building / "croissant.json").write_text(description(export_data), encoding="utf-8")
    return len(export_data.kept)


@dataclass(frozen=True)
class Remarks:
    """What a card adds to the description; "" and () are left out.

    licence  -- of images and labels
    history  -- how the data was cleaned, a sentence each
    biases   -- what is known to be skewed, a sentence each
    """

    licence: str = ""
    history: Sequence[str] = ()
    biases: Sequence[str] = ()


def description(export_data: ExportData, remarks: Remarks = Remarks()) -> str:
    """Return the Croissant JSON-LD of a version in this layout, validated by mlcroissant itself."""
    mlc = optional("mlcroissant", EXTRA, "Croissant metadata")
    described = _metadata(mlc, export_data, remarks).to_json()
    return json.dumps(described, indent=1, ensure_ascii=False, default=str) + "\n"


def _metadata(mlc: Any, export_data: ExportData, remarks: Remarks) -> Any:
    text, number, whole = mlc.DataType.TEXT, mlc.DataType.FLOAT, mlc.DataType.INTEGER
    types = dict.fromkeys(tables.columns("manifest"), text) | {"weight": number, "label": whole}
    fields = [
        _field(mlc, "image", mlc.DataType.IMAGE_OBJECT, "the picture", transforms=[mlc.Transform(json_path="bytes")])
    ]
    fields += [_field(mlc, name, kind, _MEANING[name]) for name, kind in types.items()]
    shards = mlc.FileSet(
        id=_SHARDS, name=_SHARDS, includes=["data/*.parquet"], encoding_formats=["application/x-parquet"]
    )
    labels = mlc.RecordSet(
        id="labels",
        name="labels",
        data_types=["sc:Enumeration"],
        key="labels/name",
        fields=[mlc.Field(id="labels/name", name="name", data_types=[text])],
        data=[{"labels/name": name} for name in export_data.classes],
    )
    records = mlc.RecordSet(id=_RECORDS, name=_RECORDS, description="one row per image", fields=fields)
    return mlc.Metadata(
        name=f"{export_data.title} curated",
        description=f"{len(export_data.kept):,} face images, version {export_data.version.name} of a curated data set.",
        version=f"{export_data.version.number}.0.0",
        date_published=export_data.version.created,
        cite_as=f"manifest {export_data.version.hash}",
        license=remarks.licence or None,
        data_preprocessing_protocol=list(remarks.history) or None,
        data_biases=list(remarks.biases) or None,
        distribution=[shards],
        record_sets=[labels, records],
    )


def _field(mlc: Any, name: str, kind: Any, description: str, transforms: list[Any] | None = None) -> Any:
    source = mlc.Source(file_set=_SHARDS, extract=mlc.Extract(column=name), transforms=transforms or [])
    return mlc.Field(id=f"{_RECORDS}/{name}", name=name, description=description, data_types=[kind], source=source)
