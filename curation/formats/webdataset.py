"""WebDataset shards, in and out.

In a tar, the members that share a name up to its first dot are one sample; ours are KEY.jpg, KEY.cls and KEY.json.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from curation.base import files
from curation.base.reading import json_object, open_regular
from curation.base.splits import standard
from curation.formats import archives, kinds, names
from curation.formats.columns import NAMES
from curation.formats.export_data import ExportData, ExportRow, content, curated, shards
from curation.formats.export_files import export_folder
from curation.formats.gate import NOT_REGULAR, Gate
from curation.formats.listing import IngestError, SourceContents
from curation.formats.shards import split_names
from curation.formats.stored import Contents

SIDECARS = frozenset({"cls", "json", "txt"})
"""Extensions of members that may state a sample's label."""

_LOOKED_AT = 6
"""Members after which it is known whether a tar is a shard: a sample's images and its sidecars."""

_MOST_DIGITS = 9
"""Longest number of a class."""

_MOST_CLASS_BYTES = 2**24
_BOXES = re.compile(rb"\s*(\d+(\.\d*)?\s+){4}")
"""Beginning of a YOLO file of boxes beside an image: not a label."""


def is_shard(archive: Path) -> bool:
    """Return whether a tar begins with a sample: an image and a sidecar of one name."""
    keys: dict[str, set[str]] = {}
    try:
        for number, (member, stream) in enumerate(archives.tar_members(archive, archives.budget(archive))):
            key, ending = _split_name(member.name)
            if ending != "txt" or not _BOXES.match(stream.read(64)):
                keys.setdefault(key, set()).add(ending.rpartition(".")[2])
            if number + 1 == _LOOKED_AT:
                break
    except archives.DAMAGED:
        return False
    return any(found & SIDECARS and found & kinds.IMAGE_EXTENSIONS for found in keys.values())


def shards_in(folder: Path, gate: Gate) -> list[Path]:
    """Return the shards of a folder that holds only tars (and small files about them), else [].

    Raises:
        IngestError: a shard is a link that leads outside.

    """
    tars = sorted(path for path in folder.glob("*.tar") if not names.is_system(path.name))
    entries = [entry for entry in folder.iterdir() if not names.is_system(entry.name)]
    if not tars or any(entry.is_dir() or kinds.has_image_extension(entry.name) for entry in entries):
        return []
    for tar in tars:
        fault = gate.fault_of_link(str(tar)) if tar.is_symlink() else ""
        if fault or not tar.is_file():
            what = fault or NOT_REGULAR
            raise IngestError(f"{tar} is {what}; remove it, or give --follow-links if you trust this data")
    return tars if is_shard(tars[0]) else []


def read(shards: list[Path], cache: Path) -> SourceContents:
    """Return the images of shards, with label and split as sidecars or names state them.

    A .cls holds the number of a class, named by ``classes.json`` (a list) beside the shards where there is one; a .json
    may hold label, split, person and path under the names that lists may use; a .txt is a label. Of a sample with
    several images, each is read.

    Raises:
        IngestError: a shard is damaged.

    """
    contents = Contents(cache)
    classes = _classes(shards[0].parent / "classes.json")
    several = 0
    for shard in shards:
        split = shard.stem if standard(shard.stem) else ""
        try:
            for key, sample in _samples(shard):
                several += _take(contents, f"{shard.stem}/{key}", sample, split, classes) > 1
        except archives.DAMAGED as error:
            raise IngestError(f"{shard} is damaged ({error}); get it again") from error
    if several:
        contents.contents.warnings.append(f"{several:,} samples hold several images, and each is read")
    return contents.contents


def _classes(path: Path) -> list[str]:
    if path.is_symlink():
        return []
    try:
        with open_regular(str(path)) as file:
            found = files.parsed(file.read(_MOST_CLASS_BYTES))
    except (OSError, ValueError):
        return []
    return [str(name) for name in found] if isinstance(found, list) else []


def _split_name(name: str) -> tuple[str, str]:
    """Return key and extension of a member, split as WebDataset does: at the first dot of the last part."""
    folder, slash, last = name.rpartition("/")
    stem, _, ending = last.partition(".")
    return folder + slash + stem, ending.lower()


def _samples(shard: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield key, and extension -> content; members of one sample are consecutive."""
    last, sample = "", dict[str, bytes]()
    for member, stream in archives.tar_members(shard, archives.budget(shard)):
        if member.fault:
            continue
        key, ending = _split_name(member.name)
        if sample and (key != last or ending in sample):
            yield last, sample
            sample = {}
        last = key
        sample[ending] = stream.read()
    if sample:
        yield last, sample


def _take(contents: Contents, key: str, sample: Mapping[str, bytes], split: str, classes: list[str]) -> int:
    """Take the images of a sample and return their number."""
    images = [ending for ending, data in sample.items() if _is_image(ending, data)]
    if not images:
        contents.contents.leave_out(names.escaped(key), "the sample has no image")
        return 0
    stated: dict[str, Any] = {}
    with contextlib.suppress(ValueError):
        stated = json_object(sample.get("json", b""))
    label = _stated(stated, "label") or _label(sample, classes)
    own = stated.get("split")
    split = own if isinstance(own, str) else _stated(stated, "split") or split
    soft = stated.get("soft_label")
    for ending in images:
        path = (_stated(stated, "path") if len(images) == 1 else "") or f"{key}.{ending}"
        subject = _stated(stated, "subject")
        contents.add(path, sample[ending], split, label, subject, soft if isinstance(soft, str) else "")
    return len(images)


def _is_image(ending: str, data: bytes) -> bool:
    last = ending.rpartition(".")[2]
    return last in kinds.IMAGE_EXTENSIONS or (last not in SIDECARS and kinds.looks_like_image(data[: kinds.HEAD_BYTES]))


def _stated(record: Mapping[str, Any], column: str) -> str:
    values = [record[name] for name in NAMES[column] if isinstance(record.get(name), str | int)]
    return str(values[0]) if values else ""


def _label(sample: Mapping[str, bytes], classes: list[str]) -> str:
    text = sample.get("cls", sample.get("txt", b"")).decode("utf-8", errors="replace").strip()
    number = int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else -1
    return classes[number] if 0 <= number < len(classes) else text


SHARD_BYTES, SHARD_SAMPLES = 3 * 10**9, 100_000
"""A shard ends at this many bytes or samples: the defaults of webdataset.ShardWriter."""


def write(export_data: ExportData, destination: Path) -> int:
    """Write SPLIT-NNNNNN.tar files and classes.json, and return the number of images.

    The same version gives the same bytes: members have no time and no owner.
    """
    kept = export_data.kept
    classes = {label: place for place, label in enumerate(export_data.classes)}
    with export_folder(export_data, "webdataset", destination) as building:
        done = 0
        for split, rows in kept.groupby(split_names(kept["split"]), sort=True):
            for number, shard in enumerate(shards(rows, SHARD_BYTES, SHARD_SAMPLES)):
                with tarfile.open(building / f"{split}-{number:06d}.tar", "w", format=tarfile.PAX_FORMAT) as tar:
                    for row in shard:
                        _add(tar, row, f"{done:09d}", classes.get(row.label))
                        done += 1
                        export_data.report(done, len(kept))
        (building / "classes.json").write_text(json.dumps(export_data.classes, ensure_ascii=False) + "\n", "utf-8")
    return len(kept)


def _add(tar: tarfile.TarFile, row: ExportRow, key: str, label: int | None) -> None:
    data = content(row)
    members = {
        # by content: an odd or misleading name must not hide that it is an image
        kinds.extension_of(data[: kinds.HEAD_BYTES], row.path): data,
        **({} if label is None else {"cls": str(label).encode()}),
        "json": json.dumps(curated(row), ensure_ascii=False).encode("utf-8"),
    }
    for ending, member in members.items():
        info = tarfile.TarInfo(f"{key}.{ending}")
        info.size = len(member)
        tar.addfile(info, io.BytesIO(member))
