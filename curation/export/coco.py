"""Export as COCO classification: one annotation an image; its box is the whole image, so any COCO tool reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from curation import tables
from curation.export.files import new_folder, place, tree_place, write_provenance
from curation.export.handover import Handover
from curation.export.shards import split_name


def write(handover: Handover, destination: Path) -> int:
    """Write images/ and annotations/SPLIT.json, and return how many images."""
    kept = handover.kept
    with new_folder(destination) as building:
        (building / "annotations").mkdir()
        done = 0
        for split, rows in kept.groupby(kept["split"].map(split_name), sort=True):
            places = []
            for row in rows.itertuples(index=False):
                places.append(f"images/{tree_place(row)}")
                place(row, building / places[-1], handover.place)
                done += 1
                handover.report(done, len(kept))
            record = _coco(handover, rows, places)
            text = json.dumps(record, ensure_ascii=False) + "\n"
            (building / "annotations" / f"{split}.json").write_text(text, encoding="utf-8")
        write_provenance(handover, "coco", building)
    return len(kept)


def _coco(handover: Handover, rows: pd.DataFrame, places: list[str]) -> dict[str, Any]:
    """Return the JSON of one split; numbers of images and categories count from 1, as COCO's own do."""
    categories = {label: number for number, label in enumerate(handover.classes, start=1)}
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
        "info": handover.record(),
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": label} for label, number in categories.items()],
    }
