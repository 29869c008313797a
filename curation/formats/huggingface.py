"""Hugging Face datasets, in and out.

Read: one saved to disk, a folder that ``load_dataset`` reads, or a name on the hub. Written: typed Parquet shards and a
card.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from curation.base.errors import optional
from curation.formats import layout, names
from curation.formats.export_data import ExportData
from curation.formats.export_files import new_folder, write_provenance
from curation.formats.listing import IngestError, SourceContents
from curation.formats.lists import COLUMN_NAMES
from curation.formats.shards import features, write_shards
from curation.formats.stored import Contents

EXTRA = "exchange"


def is_saved(folder: Path) -> bool:
    """Return whether ``folder`` was written by ``Dataset.save_to_disk`` or ``DatasetDict.save_to_disk``."""
    alone = (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()
    return alone or (folder / "dataset_dict.json").is_file()


def read(name: str, cache: Path) -> tuple[str, SourceContents]:
    """Return the root and images of a saved dataset, a dataset folder, or a name on the hub (``OWNER/NAME[:CONFIG]``).

    The first column of images is taken, and the first that is a class or has the name of a label.

    Raises:
        IngestError: it cannot be loaded, or has no images.
        MissingPackageError: the package ``datasets`` is absent.

    """
    datasets = optional("datasets", EXTRA, f"hf:{name}")
    folder = Path(name)
    try:
        if folder.is_dir() and is_saved(folder):
            loaded = datasets.load_from_disk(str(folder))
        elif folder.is_dir():
            loaded = datasets.load_dataset(str(folder), cache_dir=str(cache / "huggingface"))
        else:
            owner, _, config = name.partition(":")
            loaded = datasets.load_dataset(owner, config or None)
    except Exception as error:
        # the library's own errors share no base
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise IngestError(
            f"hf:{name} cannot be loaded ({reason}); give a folder made by save_to_disk or a name on the hub, and for "
            "a name see that this machine has a network"
        ) from error
    parts = loaded if isinstance(loaded, dict) else {str(loaded.split or ""): loaded}
    return (str(folder.resolve()) if folder.is_dir() else f"hf:{name}"), _images(parts, datasets, name, cache)


def _images(parts: dict[str, Any], datasets: Any, name: str, cache: Path) -> SourceContents:
    contents = Contents(cache)
    for part_name, part in parts.items():
        pictures = [column for column, kind in part.features.items() if isinstance(kind, datasets.Image)]
        if not pictures:
            raise IngestError(f"hf:{name} has no column of images (it has {', '.join(part.features)})")
        label = _label_column(part.features, datasets)
        for number, row in enumerate(part.cast_column(pictures[0], datasets.Image(decode=False))):
            split = _split(row, part_name if len(parts) > 1 or layout.split_of(part_name) else "")
            _take(contents, row[pictures[0]], number, split, _label(row, label, part.features))
    return contents.contents


def _label_column(features: Any, datasets: Any) -> str:
    classes = [column for column, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    named = [column for column in COLUMN_NAMES["label"] if column in features]
    return next(iter([column for column in named if column in classes] + classes + named), "")


def _label(row: dict[str, Any], column: str, features: Any) -> str:
    value = row.get(column)
    if value is None:
        return ""
    names_of = getattr(features[column], "names", None)
    if names_of is not None and isinstance(value, int):
        return str(names_of[value]) if 0 <= value < len(names_of) else ""
    return str(value)


def _split(row: dict[str, Any], part_name: str) -> str:
    """Return the split: that of a column of this name, else that of the part."""
    stated = row.get("split")
    split = stated if isinstance(stated, str) else part_name
    return layout.split_of(split) or split


def _take(contents: Contents, picture: Any, number: int, split: str, label: str) -> None:
    stated = (picture or {}).get("path") or ""
    inside = names.inside(stated)
    path = inside or "/".join(part for part in (split, f"{number:08d}_{Path(stated).name}".rstrip("_")) if part)
    data = (picture or {}).get("bytes")
    if data is not None:
        contents.add(path, data, split, label)
    elif stated:
        contents.add_file(path, stated, split, label)
    else:
        contents.contents.leave_out(path, "the row has no image")


def write(export_data: ExportData, destination: Path) -> int:
    """Write the kept images with their rows, and return how many."""
    with new_folder(destination) as building:
        shards = write_shards(export_data, building)
        files = {split: [path.as_posix() for path in paths] for split, paths in shards.items()}
        (building / "README.md").write_text(dataset_card(export_data, files), encoding="utf-8")
        write_provenance(export_data, "huggingface", building)
    return len(export_data.kept)


def dataset_card(
    export_data: ExportData,
    files: Mapping[str, Sequence[str]],
    fields: Mapping[str, Any] | None = None,
    sections: Sequence[str] = (),
) -> str:
    """Return the dataset card: YAML for the hub, and what the set is, for people.

    Args:
        export_data: the version.
        files: split -> its data files; none for a card without data.
        fields: more of the YAML.
        sections: more lines of the text.

    """
    kept = export_data.kept
    since = f", only what changed since {export_data.since.name}" if export_data.since else ""
    counts = kept.groupby(["split", "label"]).size()
    rows = [f"| {split or '(none)'} | {label} | {number:,} |" for (split, label), number in counts.items()]
    # JSON is YAML, and quotes every name safely
    header = {
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": paths} for split, paths in files.items()],
            }
        ],
        "dataset_info": {"features": features(export_data)._to_yaml_list()},
        "task_categories": ["image-classification"],
        "pretty_name": export_data.title,
        **(fields or {}),
    }
    if not files:
        del header["configs"]
    yaml = "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in header.items())
    return "\n".join(
        [
            "---",
            yaml,
            "---",
            "",
            f"# {export_data.title}, curated",
            "",
            f"Version {export_data.version.name}{since}; {len(kept):,} images kept. The licence is that of the source.",
            f"Content hash of the manifest: `{export_data.version.hash}`.",
            "",
            "`label` is the label after cleaning, `original_label` the one it came with; `path` names the image in the "
            "source, `sha256` its bytes; `weight` and `soft_label` (JSON, class to probability, or empty) are for "
            "training; `group` names the copies that it belongs to, `reason` says why it was kept.",
            "",
            "| split | label | images |",
            "|---|---|---|",
            *rows,
            "",
            *sections,
        ]
    )
