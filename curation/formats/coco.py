"""COCO annotations, in and out.

Read: an image's label is the category that all its annotations name. Written: one annotation an image, whose box is the
whole image, so that any COCO tool can read it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from curation.base import files
from curation.base.splits import standard
from curation.formats import lists
from curation.formats.export_data import ExportData, curated, each_row
from curation.formats.export_files import export_folder, place, tree_place
from curation.formats.gate import Gate
from curation.formats.listing import IngestError, SourceContents
from curation.formats.shards import split_names

_LOOKED_AT = 50

_PARTS = ("images", "annotations", "categories")


def is_coco(name: str, gate: Gate) -> bool:
    """Return whether a JSON file holds images, annotations and categories."""
    try:
        found = files.parsed(gate.read(name))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and all(isinstance(found.get(part), list) for part in _PARTS)


def annotations_in(gate: Gate) -> list[str]:
    """Return the COCO files in the ``annotations`` subfolder, relative to the gate's root."""
    found = sorted(path.name for path in (Path(gate.root) / "annotations").glob("*.json"))
    return [f"annotations/{name}" for name in found if is_coco(f"annotations/{name}", gate)]


def read(names: list[str], gate: Gate) -> SourceContents:
    """Return the images listed in COCO files; ``names`` are relative to the gate's root.

    Raises:
        IngestError: a file is damaged, or two images or categories have one id.

    """
    notes: list[str] = []
    entries = [entry for name in names for entry in _entries(Path(name), gate, notes)]
    contents = lists.resolve(entries, lists.local(gate))
    contents.warnings += notes
    return contents


def _entries(path: Path, gate: Gate, notes: list[str]) -> list[lists.Entry]:
    try:
        found = files.parsed(gate.read(path.as_posix()))
        categories = _by_id(found["categories"], "category", path)
        images = _by_id(found["images"], "image", path)
        names = {number: str(each["name"]) for number, each in categories.items()}
        labels: dict[Any, set[str]] = {}
        for each in found["annotations"]:
            labels.setdefault(each["image_id"], set()).add(names[each["category_id"]])
        split = path.stem if standard(path.stem) else ""
        folder = _folder(list(images.values()), path, gate)
        entries = [
            lists.Entry(
                row,
                folder + str(image["file_name"]),
                next(iter(named)) if len(named := labels.get(number, set())) == 1 else "",  # several: none
                str(image.get("split", split)),
                *(str(image.get(name) or "") for name in ("subject", "soft_label")),
            )
            for row, (number, image) in enumerate(images.items(), start=1)
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IngestError(f"{path} cannot be read as COCO ({type(error).__name__}: {error}); write it again") from error
    if twice := sorted(name for name in set(names.values()) if list(names.values()).count(name) > 1):
        notes.append(f"{path.name} has several categories named {twice[0]!r}: they are one class")
    return entries


def _by_id(records: list[Mapping[str, Any]], what: str, path: Path) -> dict[Any, Mapping[str, Any]]:
    """Return id -> record.

    Raises:
        IngestError: two records have the same id.

    """
    found: dict[Any, Mapping[str, Any]] = {}
    for each in records:
        if each["id"] in found and found[each["id"]] != each:
            raise IngestError(f"{path} has two {what} records with the id {each['id']}; give each its own id")
        found[each["id"]] = each
    return found


def _folder(images: list[Mapping[str, Any]], path: Path, gate: Gate) -> str:
    """Return the folder that file names are relative to: the root, images, data, or the split's folder.

    Some images may be missing, so a sample of names is looked up.
    """
    split = path.stem.removeprefix("instances_")
    looked_at = [str(image["file_name"]) for image in images[:: max(1, len(images) // _LOOKED_AT)]]
    folders = ("", "images/", "data/", f"{split}/", f"images/{split}/")
    found = {folder: sum(not isinstance(gate.find(folder + name), str) for name in looked_at) for folder in folders}
    return max(folders, key=lambda folder: found[folder])


def write(export_data: ExportData, destination: Path) -> int:
    """Write images/ and annotations/SPLIT.json, and return the number of images."""
    kept = export_data.kept
    with export_folder(export_data, "coco", destination) as building:
        (building / "annotations").mkdir()
        done = 0
        for split, rows in kept.groupby(split_names(kept["split"]), sort=True):
            places = []
            for row in each_row(rows):
                places.append(f"images/{tree_place(row)}")
                place(row, building / places[-1], export_data.place)
                done += 1
                export_data.report(done, len(kept))
            record = _coco(export_data, rows, places)
            text = json.dumps(record, ensure_ascii=False) + "\n"
            (building / "annotations" / f"{split}.json").write_text(text, encoding="utf-8")
    return len(kept)


def _coco(export_data: ExportData, rows: pd.DataFrame, places: list[str]) -> dict[str, Any]:
    """Return the JSON of one split; ids of images and categories count from 1, as COCO's own do."""
    categories = {label: number for number, label in enumerate(export_data.classes, start=1)}
    images, annotations = [], []
    for number, (row, where) in enumerate(zip(each_row(rows), places, strict=True), start=1):
        stated = {name: value for name, value in curated(row).items() if name != "label"}
        images.append({"id": number, "file_name": where, "width": row.width, "height": row.height, **stated})
        if not row.label:
            continue
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": categories[row.label],
                "bbox": [0, 0, row.width, row.height],
                "area": row.width * row.height,
                "iscrowd": 0,
            }
        )
    return {
        "info": export_data.record(),
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": label} for label, number in categories.items()],
    }
