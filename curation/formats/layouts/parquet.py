"""Parquet files with the images inside, as on the Hugging Face hub and as this tool exports them.

Source: huggingface.co/docs/datasets, "Image": a column of {bytes, path}; the names of a class column are in the
schema's metadata under ``huggingface``. A plain column of bytes is also read.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from curation.base import files
from curation.base.reading import UNREADABLE, first_line
from curation.base.splits import standard
from curation.formats.columns import NAMES, plain_name
from curation.formats.kinds import HEAD_BYTES, looks_like_image
from curation.formats.listing import IngestError, SourceContents
from curation.formats.stored import Contents, once
from curation.formats.table import text_of
from curation.formats.tree import Tree

_REVISION = "parquet-1"
"""To be raised whenever the images or labels read from the same file may change."""

_BATCH_ROWS = 64
_UNSTATED = "\0"
"""The split of a row in a file without a column of splits."""

_NUMBERED = "row/"
"""Prefix of the number of a row that has no path."""


def recognise(tree: Tree) -> SourceContents | None:
    """Return the images in the Parquet files of a tree without image files."""
    if tree.images:
        return None
    contents, taken = SourceContents(), set[str]()
    for path in tree.named("*.parquet"):
        try:
            with tree.open(path) as file:
                found = once(file, _REVISION, tree.cache, partial(_decoded, cache=tree.cache))
        except OSError as error:
            raise IngestError(f"{path} cannot be read: {error.strerror or error}") from error
        stem = path.removesuffix(".parquet")
        split = next((name for name in reversed(stem.split("/")) if standard(name)), "")
        for image in found.files:
            numbered = image.path.removeprefix(_NUMBERED)
            key = image.path if numbered == image.path and numbered not in taken else f"{stem}/{numbered}"
            taken.add(key)
            contents.files.append(image._replace(path=key, split=split if image.split == _UNSTATED else image.split))
        contents.problems += [(f"{stem}/{row.removeprefix(_NUMBERED)}", reason) for row, reason in found.problems]
    return contents if contents.files else None


def holds_images(file: BinaryIO) -> bool:
    """Return whether a Parquet file has a column of images."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return bool(_image_column(pq.ParquetFile(file, pre_buffer=False)))
    except (pa.ArrowException, *UNREADABLE):
        return False


def _image_column(file: Any) -> str:
    """Return the first column of structs with bytes, or of bytes that begin like an image; "" for none."""
    import pyarrow as pa

    for field in file.schema_arrow:
        if pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0:
            return str(field.name)
        if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            first = next(file.iter_batches(1, columns=[field.name], use_threads=False), None)
            cell = first.column(0)[0].as_py() if first is not None and first.num_rows else None
            if cell and looks_like_image(cell[:HEAD_BYTES]):
                return str(field.name)
    return ""


def _decoded(file: BinaryIO, cache: Path) -> SourceContents:
    import pyarrow as pa
    import pyarrow.parquet as pq

    contents = Contents(cache)
    try:
        opened = pq.ParquetFile(file, pre_buffer=False)
        image = _image_column(opened)
        columns = {} if not image else _columns(opened.schema_arrow.names, image)
        names = _class_names(opened.schema_arrow.metadata or {}, columns.get("label", ""))
        wanted = list(dict.fromkeys([image, *columns.values()]))
        batches = opened.iter_batches(_BATCH_ROWS, columns=wanted, use_threads=False) if image else ()
        for number, row in enumerate(row for batch in batches for row in batch.to_pylist()):
            _take(contents, number, row, image, columns, names)
    except (pa.ArrowException, *UNREADABLE) as error:
        raise IngestError(f"a Parquet file cannot be read ({first_line(error)}); get it again") from error
    return contents.contents


def _columns(header: list[str], image: str) -> dict[str, str]:
    """Return meaning -> column."""
    plain = {plain_name(name): name for name in reversed(header) if name != image}
    found = {what: next((plain[name] for name in known if name in plain), "") for what, known in NAMES.items()}
    return {what: name for what, name in found.items() if name}


def _class_names(metadata: Mapping[bytes, bytes], label: str) -> list[str]:
    try:
        feature = files.parsed(metadata[b"huggingface"])["info"]["features"][label]
        return [str(name) for name in feature["names"]]
    except (KeyError, TypeError, ValueError):
        return []


def _take(
    contents: Contents, number: int, row: Mapping[str, Any], image: str, columns: Mapping[str, str], names: list[str]
) -> None:
    cell = row[image]
    data, inner = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, "")
    stated = {what: text_of(row[name]) for what, name in columns.items()}
    label = row.get(columns.get("label", ""))
    if isinstance(label, int) and 0 <= label < len(names):
        stated["label"] = names[label]
    elif isinstance(label, int) and label < 0:
        stated["label"] = ""  # Hugging Face's value for no label
    path = stated.get("path") or _NUMBERED + (f"{number:08d}_{Path(inner).name}" if inner else f"{number:08d}")
    if not data:
        contents.contents.leave_out(path, "the row has no image")
        return
    split = stated.get("split", "") if "split" in columns else _UNSTATED
    contents.add(path, data, split, stated.get("label", ""), stated.get("subject", ""), stated.get("soft", ""))
