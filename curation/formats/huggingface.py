"""Hugging Face datasets, in and out.

Read: a dataset saved to disk, a folder that ``load_dataset`` reads, or a name on the hub. Written: typed Parquet shards
and a card.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from curation.base.errors import optional
from curation.base.reading import first_line, open_regular
from curation.base.splits import standard
from curation.formats import names
from curation.formats.columns import NAMES
from curation.formats.export_data import ExportData
from curation.formats.export_files import export_folder
from curation.formats.gate import Gate
from curation.formats.listing import IngestError, SourceContents
from curation.formats.shards import features, write_shards
from curation.formats.stored import Contents, class_name

EXTRA = "exchange"

_MOST_CARD_BYTES = 2**22


def is_saved(folder: Path) -> bool:
    """Return whether ``folder`` was written by ``Dataset.save_to_disk`` or ``DatasetDict.save_to_disk``."""
    alone = (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()
    return alone or (folder / "dataset_dict.json").is_file()


def read(name: str, cache: Path, *, outside: bool = False) -> tuple[str, SourceContents]:
    """Return the root and images of a saved dataset, a dataset folder, or a name on the hub (``OWNER/NAME[:CONFIG]``).

    The first column of images is read, and the first that is a class or is named like a label. The library opens
    files by itself, so nothing in a folder may lead out of it unless ``outside`` is set.

    Raises:
        IngestError: it cannot be loaded, has no images, or a folder leads outside itself.
        MissingPackageError: the package ``datasets`` is absent.

    """
    datasets = optional("datasets", EXTRA, f"hf:{name}")
    datasets.disable_progress_bars()
    folder = Path(name)
    root = os.path.realpath(folder) if folder.is_dir() else os.path.realpath(datasets.config.HF_CACHE_HOME)
    gate = Gate(root, cache, outside)
    if folder.is_dir():
        gate.require_inside()
        if not outside:
            _require_own_files(folder)
    try:
        if folder.is_dir() and is_saved(folder):
            loaded = datasets.load_from_disk(str(folder))
        elif folder.is_dir():
            loaded = datasets.load_dataset(str(folder), cache_dir=str(cache / "huggingface"))
        else:
            owner, _, config = name.partition(":")
            loaded = datasets.load_dataset(owner, config or None)
    except Exception as error:
        # the library's errors have no common base class
        reason = first_line(error)
        raise IngestError(
            f"hf:{name} cannot be loaded ({reason}); give a folder made by save_to_disk or a name on the hub, and for "
            "a name check this machine's network"
        ) from error
    parts = loaded if isinstance(loaded, dict) else {str(loaded.split or ""): loaded}
    return (names.escaped(root) if folder.is_dir() else f"hf:{name}"), _images(parts, datasets, name, gate)


def _require_own_files(folder: Path) -> None:
    """Refuse a folder whose card names data outside it: the library would read that.

    Raises:
        IngestError: a path in ``data_files`` or ``data_dir`` is absolute, leads upwards, or is a URL.

    """
    import yaml

    card = folder / "README.md"
    if not card.is_file():
        return
    with open_regular(str(card)) as file:
        text = file.read(_MOST_CARD_BYTES).decode("utf-8", errors="replace")
    parts = re.split(r"^---\s*$", text, maxsplit=2, flags=re.MULTILINE)
    try:
        header = yaml.safe_load(parts[1]) if len(parts) == 3 else None
    except (yaml.YAMLError, RecursionError, ValueError):
        return  # the library cannot read it either
    configs = header.get("configs") if isinstance(header, dict) else None
    for config in configs if isinstance(configs, list) else []:
        named = [config.get("data_files"), config.get("data_dir")] if isinstance(config, dict) else []
        for path in _texts(named, set()):
            if "://" in path or path.startswith(("/", "~", "hf:")) or ".." in re.split(r"[/\\]", path):
                raise IngestError(
                    f"{card} names data outside its folder ({path!r}); remove that, or give --follow-links if you "
                    "trust this data"
                )


def _texts(value: Any, seen: set[int]) -> Iterator[str]:
    """Yield every text in nested lists and objects except the values of ``split``; aliases are followed once."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict) and id(value) not in seen:
        seen.add(id(value))
        inner = value if isinstance(value, list) else [each for key, each in value.items() if key != "split"]
        for each in inner:
            yield from _texts(each, seen)


def _images(parts: dict[str, Any], datasets: Any, name: str, gate: Gate) -> SourceContents:
    contents = Contents(gate.cache)
    for part_name, part in parts.items():
        pictures = [column for column, kind in part.features.items() if isinstance(kind, datasets.Image)]
        if not pictures:
            raise IngestError(f"hf:{name} has no column of images (it has {', '.join(part.features)})")
        label = _label_column(part.features, datasets)
        classes = getattr(part.features.get(label), "names", None)
        for number, row in enumerate(part.cast_column(pictures[0], datasets.Image(decode=False))):
            split = row.get("split")
            if not isinstance(split, str):
                split = part_name if len(parts) > 1 or standard(part_name) else ""
            _take(contents, gate, row, pictures[0], number, split, class_name(row.get(label), classes))
    return contents.contents


def _label_column(features: Any, datasets: Any) -> str:
    classes = [column for column, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    named = [column for column in NAMES["label"] if column in features]
    return next(iter([column for column in named if column in classes] + classes + named), "")


def _take(
    contents: Contents, gate: Gate, row: dict[str, Any], column: str, number: int, split: str, label: str
) -> None:
    picture = row[column]
    subject, soft = (value if isinstance(value := row.get(name), str) else "" for name in ("subject", "soft_label"))
    stated = (picture or {}).get("path") or ""
    inside = names.inside(stated)
    path = inside or "/".join(part for part in (split, f"{number:08d}_{Path(stated).name}".rstrip("_")) if part)
    data = (picture or {}).get("bytes")
    if data is not None:
        contents.add(path, data, split, label, subject, soft)
    elif stated:
        full = os.path.abspath(stated)  # noqa: PTH100 -- without following links, which is up to the gate
        contents.add_file(path, full, gate, split, label, subject, soft)
    else:
        contents.contents.leave_out(path, "the row has no image")


def write(export_data: ExportData, destination: Path) -> int:
    """Write the kept images with their rows, and return the number of images."""
    with export_folder(export_data, "huggingface", destination) as building:
        shards = write_shards(export_data, building)
        files = {split: [path.as_posix() for path in paths] for split, paths in shards.items()}
        (building / "README.md").write_text(dataset_card(export_data, files), encoding="utf-8")
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
    counts = kept.groupby(["split", "label"]).size().reset_index(name="images")
    rows = [
        f"| {split or '(none)'} | {label} | {number:,} |"
        for split, label, number in counts.itertuples(index=False, name=None)
    ]
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
            "`label` is the label after cleaning, `original_label` the one it came with; `path` is the image's path in "
            "the source, `sha256` the hash of its bytes; `weight` and `soft_label` (JSON, class to probability, or "
            "empty) are for training; `group` names its group of copies, `reason` says why it was kept.",
            "",
            "| split | label | images |",
            "|---|---|---|",
            *rows,
            "",
            *sections,
        ]
    )
