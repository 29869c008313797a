"""FER-2013 as one CSV: columns emotion (0 to 6), pixels (grey levels, row by row, parted by spaces) and Usage.

Source: the files of Kaggle's "Challenges in Representation Learning: Facial Expression Recognition Challenge" (2013):
fer2013.csv, icml_face_data.csv (the same with spaces in the header), train.csv (no Usage), test.csv (pixels only).
Its description: 0 angry, 1 disgust, 2 fear, 3 happy, 4 sad, 5 surprise, 6 neutral. CK+ is handed round in the same form
with 7 contempt. Images are called as FER+ calls them, ``fer`` and the number of the row.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from curation.base import splits
from curation.formats.columns import plain_name
from curation.formats.listing import SourceContents
from curation.formats.stored import Contents, grey_png, once
from curation.formats.tree import Tree

CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral", "contempt")

_REVISION = "fer2013-1"
"""Raised whenever the images or labels of the same file may change."""

HEADER_BYTES = 4096
"""Enough to tell such a CSV by its header."""
_MOST_CELL_BYTES = 2**24


def header(first: bytes) -> list[str]:
    """Return the columns of a CSV whose header names one ``pixels``, by its first bytes; [] for any other file."""
    line = first.decode("utf-8-sig", errors="replace").partition("\n")[0]
    columns = [plain_name(name) for name in line.split(",")]
    return columns if "pixels" in columns else []


def recognise(tree: Tree) -> SourceContents | None:
    """Return the images in the CSV files of a tree without images; of several whole files the first is taken."""
    if tree.images:
        return None
    columns = {path: header(tree.head(path, HEADER_BYTES)) for path in tree.named("*.csv")}
    with_pixels = {path: names for path, names in columns.items() if names}
    whole = [path for path, names in with_pixels.items() if "usage" in names]
    chosen = whole[:1] or list(with_pixels)
    contents = SourceContents()
    for path in chosen:
        folder = f"{path.rpartition('.')[0]}/" if len(chosen) > 1 else ""
        with tree.open(path) as file:
            found = once(file, _REVISION, tree.cache, partial(_decoded, cache=tree.cache))
        stem = path.rpartition("/")[2].rpartition(".")[0]
        split = stem if splits.standard(stem) else ""
        for image in found.files:
            contents.files.append(image._replace(path=folder + image.path, split=image.split or split))
        contents.problems += [(folder + row, reason) for row, reason in found.problems]
    if len(whole) > 1:
        contents.warnings.append(f"of several CSV files with pixels, {chosen[0]!r} is read")
    if votes := tree.named("fer2013new.csv"):
        tree.used.update(votes)
        contents.warnings.append(f"{votes[0]!r} holds FER+'s votes: curate votes import FILE takes them in")
    return contents if with_pixels else None


def _decoded(file: BinaryIO, cache: Path) -> SourceContents:
    contents = Contents(cache)
    for number, row in enumerate(_rows(file)):
        key = f"fer{number:07d}.png"
        picture = _picture(row.get("pixels") or "")
        if picture is None:
            contents.contents.leave_out(key, "its pixels are no square of numbers from 0 to 255")
        else:
            contents.add(key, picture, row.get("usage", ""), _label(row.get("emotion", "")))
    return contents.contents


def _rows(file: BinaryIO) -> Iterator[dict[str, str]]:
    """Yield the rows by the plain names of their columns; cells of pixels may be long."""
    before = csv.field_size_limit(_MOST_CELL_BYTES)
    try:
        reader = csv.reader(io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline=""))
        columns = [plain_name(name) for name in next(reader, [])]
        for row in reader:
            if row:
                yield dict(zip(columns, (cell.strip() for cell in row), strict=False))
    finally:
        csv.field_size_limit(before)


def _label(emotion: str) -> str:
    number = emotion.partition(".")[0]
    known = number.isascii() and number.isdigit() and len(number) < 3 and int(number) < len(CLASSES)
    return CLASSES[int(number)] if known else emotion


def _picture(text: str) -> bytes | None:
    """Return a square of grey levels as PNG, or None where the text is none."""
    try:
        levels = np.array(text.split(), dtype=np.int64)
    except (ValueError, OverflowError):
        return None
    side = math.isqrt(len(levels))
    if side == 0 or side * side != len(levels) or levels.min() < 0 or levels.max() > 255:
        return None
    return grey_png(levels.astype(np.uint8).tobytes(), side, side)
