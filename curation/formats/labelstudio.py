"""Export as Label Studio tasks: ``tasks.json`` to import and ``config.xml`` for the labelling interface.

What people answer there comes back by ``curate annotations FILE``.
"""

from __future__ import annotations

import base64
import json
import mimetypes
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from curation.formats.export_data import ExportData, ExportRow, content, each_row
from curation.formats.export_files import new_folder, place, tree_place, write_provenance

LABEL, VERDICT = "label", "verdict"
"""Names of the two questions."""

EXCLUDE = "exclude"
"""The answer to the second: leave the image out."""

MOST_EMBEDDED_BYTES = 100_000
"""Larger images lie as files beside the tasks: a task with a picture inside is read whole by the browser."""

_SETUP = """Label Studio
============
1. Create a project, paste config.xml under Settings > Labelling interface > Code, import tasks.json.
2. Images over 100 kB lie in images/ and are served by Label Studio itself: start it with
   LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT=<the folder that holds
   this one>, and add this folder as local storage.
3. When people are done: Export > JSON, then: curate annotations FILE
"""


def write(export_data: ExportData, destination: Path) -> int:
    """Write tasks.json, config.xml and images too large to embed; return how many tasks."""
    kept = export_data.kept
    with new_folder(destination) as building:
        tasks = []
        for number, row in enumerate(each_row(kept), start=1):
            tasks.append(_task(export_data, row, building, destination.name))
            export_data.report(number, len(kept))
        (building / "tasks.json").write_text(json.dumps(tasks, ensure_ascii=False), encoding="utf-8")
        (building / "config.xml").write_text(config(export_data.classes), encoding="utf-8")
        (building / "README.txt").write_text(_SETUP, encoding="utf-8")
        write_provenance(export_data, "labelstudio", building)
    return len(kept)


def config(classes: list[str]) -> str:
    """Return the labelling interface: the image, its label with number keys, and whether to leave it out (key x)."""
    keys = [f' hotkey="{number}"' if number < 10 else "" for number in range(1, len(classes) + 1)]
    choices = [f"    <Choice value={quoteattr(label)}{key}/>" for label, key in zip(classes, keys, strict=True)]
    return "\n".join(
        [
            "<View>",
            '  <Image name="image" value="$image" zoom="true"/>',
            f'  <Choices name="{LABEL}" toName="image" choice="single-radio" showInline="true">',
            *choices,
            "  </Choices>",
            f'  <Choices name="{VERDICT}" toName="image" choice="multiple" showInline="true">',
            f'    <Choice value="{EXCLUDE}" hotkey="x"/>',
            "  </Choices>",
            "</View>",
            "",
        ]
    )


def _task(export_data: ExportData, row: ExportRow, building: Path, name: str) -> dict[str, Any]:
    """Return one task; its present label is a prediction, so that a person only confirms or changes it."""
    if row.bytes <= MOST_EMBEDDED_BYTES:
        kind = mimetypes.guess_type(row.path)[0] or "image/jpeg"
        image = f"data:{kind};base64,{base64.b64encode(content(row)).decode('ascii')}"
    else:
        where = f"images/{tree_place(row)}"
        place(row, building / where, export_data.place)
        image = f"/data/local-files/?d={name}/{where}"
    answer = {"from_name": LABEL, "to_name": "image", "type": "choices", "value": {"choices": [row.label]}}
    data = {"image": image, "path": row.path, "split": row.split, "label": row.label, "sha256": row.sha256}
    said = [{"model_version": export_data.version.name, "result": [answer]}] if row.label else []
    return {"data": data, "predictions": said}
