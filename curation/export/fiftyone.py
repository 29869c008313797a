"""Export as a FiftyOne dataset on disk, as ``fiftyone.Dataset.from_dir(FOLDER, FiftyOneDataset)`` reads it.

It is written by FiftyOne itself, in a process with a database of its own, so that the user's datasets stay untouched.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

from curation import programs, tables
from curation.errors import MissingPackageError
from curation.export.files import new_folder, place, tree_place, write_provenance
from curation.export.handover import ExportError, Handover

_PROGRAM = Path(__file__).with_name("program_fiftyone.py")


def write(handover: Handover, destination: Path) -> int:
    """Write data/, metadata.json and samples.json, and return how many images."""
    if importlib.util.find_spec("fiftyone") is None:
        raise MissingPackageError("the format fiftyone needs that package; run: pip install 'face-curation[review]'")
    kept = handover.kept
    with new_folder(destination) as building, programs.scratch_folder("curate-fiftyone-") as scratch:
        folder = Path(scratch)
        (folder / "database").mkdir()
        lines = []
        for number, row in enumerate(kept.itertuples(index=False), start=1):
            where = building / "data" / tree_place(row)
            place(row, where, handover.place)
            record = {name: getattr(row, name) for name in tables.columns("manifest")}
            lines.append(json.dumps({"file": str(where), **record}))
            handover.report(number, len(kept))
        order = {"rows": len(lines), "name": handover.title, "out": str(building), "info": handover.record()}
        (folder / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
        (folder / "order.json").write_text(json.dumps(order), encoding="utf-8")
        said = programs.run(sys.executable, _PROGRAM, folder, programs.PRIVATE_FIFTYONE)
        if said:
            raise ExportError(f"FiftyOne failed ({said}); export as folder or coco, which FiftyOne reads too")
        write_provenance(handover, "fiftyone", building)
    return len(kept)
