"""Image files in an export: their names, how they are placed, and folders that appear complete or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from curation.base import files
from curation.formats import names
from curation.formats.export_data import ExportData, ExportError, ExportRow, content
from curation.formats.names import PROVENANCE

CHANGES = "changes.csv"
"""In a partial export: every image that changed and how, including those that left the version."""

METADATA = "metadata.jsonl"
"""In an image folder, beside the class folders of a split: its rows, under the name that Hugging Face reads."""

_UNSAFE = {"", ".", "..", METADATA, PROVENANCE, CHANGES}
"""Labels that cannot name a folder of their own."""

_MOST_NAME_BYTES = 255
"""The longest file name on ext4, XFS, APFS and NTFS."""

_HASH_DIGITS = 10


@contextlib.contextmanager
def new_folder(destination: Path) -> Iterator[Path]:
    """Yield a folder to fill, which becomes ``destination`` when the block succeeds.

    Raises:
        ExportError: the destination exists and is not an empty folder.

    """
    taken = destination.is_symlink() or (destination.exists() and not destination.is_dir())
    if taken or (destination.exists() and any(destination.iterdir())):
        raise ExportError(f"{destination} exists and is not empty; name a new folder")
    with files.unfinished_folder(destination) as building:
        yield building
        # one flush of the whole disk costs less than one of every small file; then the rename commits
        os.sync()
        if destination.exists():
            destination.rmdir()
        building.rename(destination)
        files.sync_folder(destination.parent)


@contextlib.contextmanager
def export_folder(export_data: ExportData, format_name: str, destination: Path) -> Iterator[Path]:
    """Yield a folder to fill with an export; beside it goes where it comes from and, in a partial one, what changed.

    Raises:
        ExportError: see ``new_folder``.

    """
    with new_folder(destination) as building:
        yield building
        (building / PROVENANCE).write_bytes(files.json_bytes({"format": format_name, **export_data.record()}))
        if export_data.since is not None:
            columns = ["path", "change", "status", "split", "label", "reason"]
            text = export_data.rows[columns].to_csv(index=False, lineterminator="\n")
            (building / CHANGES).write_text(text, encoding="utf-8")


def tree_place(row: ExportRow) -> str:
    """Return split/label/name, the POSIX path of a row's image in an image folder, unique among all images.

    Raises:
        ExportError: its label or split cannot name a folder.

    """
    return str(PurePosixPath(_folder(row.split, "split"), _folder(row.label, "label"), flat_name(row.path)))


def _folder(name: str, what: str) -> str:
    """Return a split's or label's folder name; images without one lie one level higher."""
    if not name:
        return ""
    if name in _UNSAFE or "/" in name or "\\" in name or "\0" in name or names.is_system(name):
        raise ExportError(
            f"the {what} {name!r} cannot be the name of a folder that is read again; relabel it, or export as csv, "
            "parquet, huggingface or webdataset"
        )
    return name


def flat_name(path: str) -> str:
    """Return one file name for a path: its parts joined by two underscores, as two folders may hold the same name.

    Where that would be ambiguous or too long for a disk, a part of the path's hash makes the name unique.
    """
    parts = PurePosixPath(path).parts
    name = "__".join(parts)
    plain = not any("__" in part or part.startswith("_") or part.endswith("_") for part in parts)
    if plain and len(name.encode("utf-8")) <= _MOST_NAME_BYTES:
        return name
    stem, dot, ending = name.rpartition(".")
    stem, ending = (stem, dot + ending) if dot and len(ending) <= 5 else (name, "")
    mark = "~" + hashlib.sha256(path.encode("utf-8")).hexdigest()[:_HASH_DIGITS]
    room = _MOST_NAME_BYTES - len((mark + ending).encode("utf-8"))
    return stem.encode("utf-8")[:room].decode("utf-8", errors="ignore") + mark + ending


def place(row: ExportRow, target: Path, how: str) -> None:
    """Place the image of a row at ``target`` as a copy, a hard link or a symbolic link.

    Images that are not local files are copied.

    Raises:
        ExportError: it cannot be linked.
        ChangedError: it cannot be read, or is not what was measured.

    """
    data = content(row)
    target.parent.mkdir(parents=True, exist_ok=True)
    if how == "copy" or "://" in row.url:
        target.write_bytes(data)
        return
    original = Path(row.url).resolve()
    try:
        target.symlink_to(original) if how == "symlink" else os.link(original, target)
    except OSError as error:
        raise ExportError(
            f"{target} cannot be a {how} of {original} ({error.strerror}); links need one disk that allows them: "
            "use --place copy"
        ) from error
