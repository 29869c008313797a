"""Export as an image folder: split/label/file, as torchvision's and Hugging Face's ImageFolder read it."""

from __future__ import annotations

import json
from pathlib import Path

from curation.base import tables
from curation.formats.export_data import ExportData, each_row
from curation.formats.export_files import METADATA, new_folder, place, tree_place, write_provenance


def write(export_data: ExportData, destination: Path) -> int:
    """Write the kept images under ``destination``/split/label and return how many; a relabelled image moves."""
    kept = export_data.kept
    with new_folder(destination) as building:
        lines: dict[str, list[str]] = {}
        for number, row in enumerate(each_row(kept), start=1):
            where = tree_place(row)
            place(row, building / where, export_data.place)
            record = {"file_name": where.removeprefix(f"{row.split}/")} | {
                name: getattr(row, name) for name in tables.columns("manifest")
            }
            lines.setdefault(row.split, []).append(json.dumps(record, ensure_ascii=False))
            export_data.report(number, len(kept))
        for split, records in lines.items():
            (building / split / METADATA).write_text("\n".join(records) + "\n", encoding="utf-8")
        write_provenance(export_data, "folder", building)
    return len(kept)
