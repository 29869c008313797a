"""Export as WebDataset shards: tar files whose members KEY.jpg, KEY.cls and KEY.json are one sample."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

from curation import tables
from curation.export.files import new_folder, write_provenance
from curation.export.handover import Handover, content, shards
from curation.export.shards import split_name

SHARD_BYTES = 3 * 10**9
SHARD_SAMPLES = 100_000
"""A shard ends at these many bytes or samples: the defaults of webdataset.ShardWriter."""


def write(handover: Handover, destination: Path) -> int:
    """Write SPLIT-NNNNNN.tar files and classes.json, and return how many images.

    The same version gives the same bytes: members carry no time and no owner.
    """
    kept = handover.kept
    classes = {label: place for place, label in enumerate(handover.classes)}
    with new_folder(destination) as building:
        done = 0
        for split, rows in kept.groupby(kept["split"].map(split_name), sort=True):
            for number, shard in enumerate(shards(rows, SHARD_BYTES, SHARD_SAMPLES)):
                with tarfile.open(building / f"{split}-{number:06d}.tar", "w", format=tarfile.PAX_FORMAT) as tar:
                    for row in shard:
                        _add(tar, row, f"{done:09d}", classes[row.label])
                        done += 1
                        handover.report(done, len(kept))
        (building / "classes.json").write_text(json.dumps(handover.classes, ensure_ascii=False) + "\n", "utf-8")
        write_provenance(handover, "webdataset", building)
    return len(kept)


def _add(tar: tarfile.TarFile, row: Any, key: str, label: int) -> None:
    record = {name: getattr(row, name) for name in tables.columns("manifest")}
    members = {
        PurePosixPath(row.path).suffix.lstrip(".").lower() or "img": content(row),
        "cls": str(label).encode(),
        "json": json.dumps(record, ensure_ascii=False).encode("utf-8"),
    }
    for ending, data in members.items():
        info = tarfile.TarInfo(f"{key}.{ending}")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
