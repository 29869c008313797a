"""COCO annotations, in and out.

Read: an image's label is the category that all its annotations name. Written: one annotation an image, whose box is the
whole image, so that any COCO tool reads it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from curation.base import files, tables
from curation.formats import layout, lists
from curation.formats.export_data import ExportData
from curation.formats.export_files import new_folder, place, tree_place, write_provenance
from curation.formats.listing import IngestError, SourceContents
from curation.formats.shards import split_name

_PARTS = ("images", "annotations", "categories")


def is_coco(path: Path) -> bool:
    """Return whether a JSON file holds images, annotations and categories."""
    try:
        found = files.parsed(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and all(isinstance(found.get(part), list) for part in _PARTS)


def annotations_in(folder: Path) -> list[Path]:
    """Return the COCO files of a folder's ``annotations`` subfolder."""
    return [path for path in sorted((folder / "annotations").glob("*.json")) if is_coco(path)]


def read(files: list[Path], root: Path, cache: Path) -> SourceContents:
    """Return the images that COCO files name, below ``root`` (absolute, without links in it).

    Raises:
        IngestError: a file is damaged.

    """
    entries = [entry for path in files for entry in _entries(path, root)]
    return lists.resolve(entries, str(root), lists.local_locator(str(root), cache))


def _entries(path: Path, root: Path) -> list[lists.Entry]:
    try:
        found = files.parsed(path.read_text(encoding="utf-8"))
        categories = {each["id"]: str(each["name"]) for each in found["categories"]}
        labels: dict[Any, set[str]] = {}
        for each in found["annotations"]:
            labels.setdefault(each["image_id"], set()).add(categories[each["category_id"]])
        split = _split_of_name(path.stem)
        folder = _folder(found["images"], path, root)
        return [
            lists.Entry(
                number,
                folder + str(image["file_name"]),
                _only(labels.get(image["id"], set())),
                str(image.get("split", split)),
            )
            for number, image in enumerate(found["images"], start=1)
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IngestError(f"{path} cannot be read as COCO ({type(error).__name__}: {error}); write it again") from error


def _only(labels: set[str]) -> str:
    """Return the one label, or "" where there is none or annotations name several."""
    return next(iter(labels)) if len(labels) == 1 else ""


def _split_of_name(stem: str) -> str:
    """Return the split in a name such as ``train`` or ``instances_val2017``."""
    return next((layout.split_of(word) for word in re.findall("[A-Za-z]+", stem) if layout.split_of(word)), "")


def _folder(images: list[Mapping[str, Any]], path: Path, root: Path) -> str:
    """Return where below ``root`` the file names begin: at the root, in images or data, or in the split's folder."""
    if not images:
        return ""
    split = path.stem.removeprefix("instances_")
    for folder in ("", "images/", "data/", f"{split}/", f"images/{split}/"):
        if (root / folder / str(images[0]["file_name"])).is_file():
            return folder
    return ""


def write(export_data: ExportData, destination: Path) -> int:
    """Write images/ and annotations/SPLIT.json, and return how many images."""
    kept = export_data.kept
    with new_folder(destination) as building:
        (building / "annotations").mkdir()
        done = 0
        for split, rows in kept.groupby(kept["split"].map(split_name), sort=True):
            places = []
            for row in rows.itertuples(index=False):
                places.append(f"images/{tree_place(row)}")
                place(row, building / places[-1], export_data.place)
                done += 1
                export_data.report(done, len(kept))
            record = _coco(export_data, rows, places)
            text = json.dumps(record, ensure_ascii=False) + "\n"
            (building / "annotations" / f"{split}.json").write_text(text, encoding="utf-8")
        write_provenance(export_data, "coco", building)
    return len(kept)


def _coco(export_data: ExportData, rows: pd.DataFrame, places: list[str]) -> dict[str, Any]:
    """Return the JSON of one split; numbers of images and categories count from 1, as COCO's own do."""
    categories = {label: number for number, label in enumerate(export_data.classes, start=1)}
    images, annotations = [], []
    for number, (row, where) in enumerate(zip(rows.itertuples(index=False), places, strict=True), start=1):
        curated = {name: getattr(row, name) for name in tables.columns("manifest") if name != "label"}
        images.append({"id": number, "file_name": where, "width": row.width, "height": row.height, **curated})
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
