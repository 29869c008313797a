"""Export as Label Studio tasks: ``tasks.json`` to import and ``config.xml`` for the labelling interface.

``curate annotations FILE`` takes in what people answer there.
"""

from __future__ import annotations

import base64
import json
import mimetypes
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from curation.formats.export_data import ExportData, ExportRow, content
from curation.formats.export_files import export_folder, place, tree_place

LABEL, VERDICT = "label", "verdict"
"""Names of the two questions."""

EXCLUDE = "exclude"
"""The answer to the second: exclude the image."""

MOST_EMBEDDED_BYTES = 100_000
"""Larger images are files beside the tasks, because the browser loads a task with its embedded picture whole."""

_SETUP = """Label Studio
============
1. Create a project, paste config.xml under Settings > Labelling interface > Code, import tasks.json.
2. Images over 100 kB are in images/ and are served by Label Studio itself: start it with
   LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT=<the folder that holds
   this one>, and add this folder as local storage.
3. When people are done: Export > JSON, then: curate annotations FILE
"""


def write(export_data: ExportData, destination: Path) -> int:
    """Write tasks.json, config.xml and images too large to embed; return the number of tasks."""
    with export_folder(export_data, "labelstudio", destination) as building:
        tasks = [_task(export_data, row, building, destination.name) for row in export_data.each()]
        (building / "tasks.json").write_text(json.dumps(tasks, ensure_ascii=False), encoding="utf-8")
        (building / "config.xml").write_text(config(export_data.classes), encoding="utf-8")
        (building / "README.txt").write_text(_SETUP, encoding="utf-8")
    return len(tasks)


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
    """Return one task; its current label is a prediction, for a person to confirm or change."""
    if row.bytes <= MOST_EMBEDDED_BYTES:
        kind = mimetypes.guess_type(row.path)[0] or "image/jpeg"
        image = f"data:{kind};base64,{base64.b64encode(content(row)).decode('ascii')}"
    else:
        where = f"images/{tree_place(row)}"
        place(row, building / where, export_data.place)
        image = f"/data/local-files/?d={name}/{where}"
    answer = {"from_name": LABEL, "to_name": "image", "type": "choices", "value": {"choices": [row.label]}}
    data = {"image": image, "path": row.path, "split": row.split, "label": row.label, "sha256": row.sha256}
    predictions = [{"model_version": export_data.version.name, "result": [answer]}] if row.label else []
    return {"data": data, "predictions": predictions}
