"""Export as a Hugging Face dataset: typed Parquet shards and a card, for ``datasets.load_dataset(FOLDER)``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from curation.export.files import new_folder, write_provenance
from curation.export.handover import Handover
from curation.export.shards import features, write_shards


def write(handover: Handover, destination: Path) -> int:
    """Write the kept images with their rows, and return how many."""
    with new_folder(destination) as building:
        shards = write_shards(handover, building)
        files = {split: [path.as_posix() for path in paths] for split, paths in shards.items()}
        (building / "README.md").write_text(dataset_card(handover, files), encoding="utf-8")
        write_provenance(handover, "huggingface", building)
    return len(handover.kept)


def dataset_card(
    handover: Handover,
    files: Mapping[str, Sequence[str]],
    fields: Mapping[str, Any] | None = None,
    sections: Sequence[str] = (),
) -> str:
    """Return the dataset card: YAML for the hub, and what the set is, for people.

    Args:
        handover: the version.
        files: split -> its data files; none for a card without data.
        fields: more of the YAML.
        sections: more lines of the text.

    """
    kept = handover.kept
    since = f", only what changed since {handover.since.name}" if handover.since else ""
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
        "dataset_info": {"features": features(handover)._to_yaml_list()},
        "task_categories": ["image-classification"],
        "pretty_name": handover.title,
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
            f"# {handover.title}, curated",
            "",
            f"Version {handover.version.name}{since}; {len(kept):,} images kept. The licence is that of the source.",
            f"Content hash of the manifest: `{handover.version.hash}`.",
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
