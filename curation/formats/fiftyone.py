"""FiftyOne datasets, in and out: one on disk (``FiftyOneDataset``), or one of the user's by name.

Written by FiftyOne itself, in a process with a database of its own, so that the user's datasets stay untouched.
"""

from __future__ import annotations

import importlib.util
import json
import posixpath
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curation.base import files, programs
from curation.base.errors import MissingPackageError, installing
from curation.base.splits import standard
from curation.formats import kinds, lists
from curation.formats.export_data import ExportData, ExportError, content, curated
from curation.formats.export_files import export_folder, place, tree_place
from curation.formats.gate import Gate
from curation.formats.listing import IngestError, SourceContents
from curation.formats.stored import Contents

_READER = Path(__file__).with_name("program_read_fiftyone.py")
_WRITER = Path(__file__).with_name("program_write_fiftyone.py")
_USUAL_FIELDS = ("ground_truth", "label", "labels")


def is_dataset(folder: Path) -> bool:
    """Return whether ``folder`` was exported as a ``FiftyOneDataset``."""
    return (folder / "metadata.json").is_file() and (folder / "samples.json").is_file()


def read_folder(folder: Path, gate: Gate) -> SourceContents:
    """Return the images of a dataset on disk, through the gate of its folder.

    Raises:
        IngestError: it is damaged.

    """
    try:
        samples = files.parsed(gate.read("samples.json"))["samples"]
        entries = [_entry(number, sample, "") for number, sample in enumerate(samples, start=1)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise IngestError(f"{folder / 'samples.json'} cannot be read ({error}); export the dataset again") from error
    return lists.resolve(entries, lists.local(gate))


def read_named(name: str, cache: Path) -> tuple[str, SourceContents]:
    """Return the images of the user's dataset ``NAME[:FIELD]``; FIELD holds the labels.

    Raises:
        IngestError: there is no such dataset, or its database does not answer.
        MissingPackageError: FiftyOne is absent.

    """
    if importlib.util.find_spec("fiftyone") is None:
        raise MissingPackageError(f"fiftyone:{name} needs that package; run: {installing('review')}")
    dataset, _, field = name.partition(":")
    with tempfile.TemporaryDirectory(prefix="curate-fiftyone-") as scratch:
        folder = Path(scratch)
        (folder / "order.json").write_text(json.dumps({"name": dataset}), encoding="utf-8")
        problem = programs.run(sys.executable, _READER, folder, {"FIFTYONE_DO_NOT_TRACK": "true"})
        if problem:
            raise IngestError(
                f"fiftyone:{name} cannot be read ({problem}); fiftyone.list_datasets() lists those there are"
            )
        with (folder / "samples.jsonl").open(encoding="utf-8") as lines:
            samples = [json.loads(line) for line in lines]
    contents = Contents(cache)
    gate = Gate("/", cache, outside=True)  # the user's own database names the user's own files
    shared = posixpath.commonprefix([sample["filepath"] for sample in samples])
    start = shared[: shared.rfind("/") + 1]
    for number, sample in enumerate(samples, start=1):
        entry = _entry(number, sample, field)
        contents.add_file(entry.path.removeprefix(start), entry.path, gate, entry.split, entry.label, entry.subject)
    return f"fiftyone:{name}", contents.contents


def _entry(number: int, sample: Mapping[str, Any], field: str) -> lists.Entry:
    tags = [tag for tag in sample.get("tags", []) if isinstance(tag, str) and standard(tag)]
    split, subject, soft = (
        value if isinstance(value := sample.get(name), str) else "" for name in ("split", "subject", "soft_label")
    )
    split = split if isinstance(sample.get("split"), str) else next(iter(tags), "")
    return lists.Entry(number, str(sample["filepath"]), _label(sample, field), split, subject, soft)


def _label(sample: Mapping[str, Any], field: str) -> str:
    """Return the label of the named field, else of a common one, else of the only classification."""
    nested = {name: value for name, value in sample.items() if isinstance(value, Mapping)}
    classified = {name: value for name, value in nested.items() if isinstance(value.get("label"), str)}
    if field:
        value = classified.get(field, {}).get("label", sample.get(field))
        return value if isinstance(value, str) else ""
    usual = [name for name in _USUAL_FIELDS if name in classified]
    chosen = usual or (list(classified) if len(classified) == 1 else [])
    return str(classified[chosen[0]]["label"]) if chosen else ""


def write(export_data: ExportData, destination: Path) -> int:
    """Write data/, metadata.json and samples.json, and return the number of images."""
    if importlib.util.find_spec("fiftyone") is None:
        raise MissingPackageError(f"the format fiftyone needs that package; run: {installing('review')}")
    with (
        export_folder(export_data, "fiftyone", destination) as building,
        programs.scratch_folder("curate-fiftyone-") as scratch,
    ):
        folder = Path(scratch)
        (folder / "database").mkdir()
        lines = []
        for row in export_data.each():
            where = building / "data" / tree_place(row)
            if not kinds.has_image_extension(where.name):  # FiftyOne recognises images by their extensions
                where = where.with_name(
                    f"{where.name}.{kinds.extension_of(content(row)[: kinds.HEAD_BYTES], where.name)}"
                )
            place(row, where, export_data.place)
            lines.append(json.dumps({"file": str(where), **curated(row)}))
        order = {"rows": len(lines), "name": export_data.title, "out": str(building), "info": export_data.record()}
        (folder / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
        (folder / "order.json").write_text(json.dumps(order), encoding="utf-8")
        problem = programs.run(sys.executable, _WRITER, folder, programs.PRIVATE_FIFTYONE)
        if problem:
            raise ExportError(f"FiftyOne failed ({problem}); export as folder or coco, which FiftyOne reads too")
    return len(lines)
