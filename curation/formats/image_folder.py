"""Export as an image folder: split/label/file, as torchvision's and Hugging Face's ImageFolder read it."""

from __future__ import annotations

import json
from pathlib import Path

from curation.formats.export_data import ExportData, curated
from curation.formats.export_files import METADATA, export_folder, place, tree_place


def write(export_data: ExportData, destination: Path) -> int:
    """Write the kept images under ``destination``/split/label and return their number; a relabelled image moves."""
    with export_folder(export_data, "folder", destination) as building:
        lines: dict[str, list[str]] = {}
        for row in export_data.each():
            where = tree_place(row)
            place(row, building / where, export_data.place)
            record = {"file_name": where.removeprefix(f"{row.split}/"), **curated(row)}
            lines.setdefault(row.split, []).append(json.dumps(record, ensure_ascii=False))
        for split, records in lines.items():
            (building / split / METADATA).write_text("\n".join(records) + "\n", encoding="utf-8")
    return sum(map(len, lines.values()))
