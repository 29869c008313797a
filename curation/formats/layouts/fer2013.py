"""FER-2013 as one CSV: columns emotion (0 to 6), pixels (grey levels, row by row, separated by spaces) and Usage.

Source: the files of Kaggle's "Challenges in Representation Learning: Facial Expression Recognition Challenge" (2013):
fer2013.csv, icml_face_data.csv (the same with spaces in the header), train.csv (no Usage), test.csv (pixels only).
Its description: 0 angry, 1 disgust, 2 fear, 3 happy, 4 sad, 5 surprise, 6 neutral. CK+ is distributed in the same form
with 7 contempt. Images are named as in FER+: ``fer`` and the number of the row.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from curation.base import splits
from curation.formats.columns import NAMES, plain_name
from curation.formats.layouts.by_name import class_of
from curation.formats.listing import SourceContents
from curation.formats.stored import Contents, grey_png, once
from curation.formats.tree import Tree

CLASSES = dict(enumerate(("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral", "contempt")))

_REVISION = "fer2013-1"
"""To be raised whenever the images or labels read from the same file may change."""

HEADER_BYTES = 4096
"""Enough to recognise such a CSV by its header."""
_MOST_CELL_BYTES = 2**24
_FEWEST_PIXELS = 64
_LABELS = ("emotion", "label", "expression", "class")


def header(first: bytes) -> list[str]:
    """Return the columns of a CSV with pixels, in one column or one column each, from its first bytes; else []."""
    line = first.decode("utf-8-sig", errors="replace").partition("\n")[0]
    columns = _columns(line, _delimiter(line))
    return columns if "pixels" in columns or sum(map(_is_pixel, columns)) >= _FEWEST_PIXELS else []


def _delimiter(line: str) -> str:
    return max(",;\t|", key=line.count)


def _columns(line: str, delimiter: str) -> list[str]:
    names = [plain_name(name.strip().strip('"')) for name in line.split(delimiter)]
    return ["pixels" if name == "pixel" else name for name in names]


def _is_pixel(name: str) -> bool:
    return re.fullmatch(r"(?:pixel|px|p)_?\d+", name) is not None


def recognise(tree: Tree) -> SourceContents | None:
    """Return the images in the CSV files of a tree without images; of several complete files only the first is read."""
    if tree.images:
        return None
    columns = {path: header(tree.head(path, HEADER_BYTES)) for path in tree.named("*.csv", "*.tsv", "*.txt")}
    with_pixels = {path: names for path, names in columns.items() if names}
    whole = [path for path, names in with_pixels.items() if set(names) & set(NAMES["split"])]
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
    if others := [path for path in with_pixels if path not in chosen]:
        told = ", ".join(map(repr, others[:3]))
        contents.warnings.append(f"of several CSV files with pixels, {chosen[0]!r} is read, and {told} not")
    if votes := tree.named("fer2013new.csv"):
        tree.used.update(votes)
        contents.warnings.append(f"{votes[0]!r} holds FER+'s votes: curate votes import FILE takes them in")
    return contents if with_pixels else None


def _decoded(file: BinaryIO, cache: Path) -> SourceContents:
    contents = Contents(cache)
    for number, row in enumerate(_rows(file)):
        key = f"fer{number:07d}.png"
        picture = as_picture(row.get("pixels") or "")
        if picture is None:
            contents.contents.leave_out(key, "its pixels are no square of numbers from 0 to 255")
        else:
            label = class_of(next((row[name] for name in _LABELS if name in row), ""), CLASSES)
            contents.add(key, picture, next((row[name] for name in NAMES["split"] if name in row), ""), label)
    return contents.contents


def _rows(file: BinaryIO) -> Iterator[dict[str, str]]:
    """Yield rows as plain column name -> cell; cells of pixels may be long."""
    before = csv.field_size_limit(_MOST_CELL_BYTES)
    try:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline="")
        line = text.readline()
        delimiter = _delimiter(line)
        columns = _columns(line.strip(), delimiter)
        pixels = [place for place, name in enumerate(columns) if _is_pixel(name)]
        for row in csv.reader(text, delimiter=delimiter):
            if row:
                cells = dict(zip(columns, (cell.strip() for cell in row), strict=False))
                yield cells if "pixels" in cells else cells | {"pixels": " ".join(row[place] for place in pixels)}
    finally:
        csv.field_size_limit(before)


def as_picture(text: str) -> bytes | None:
    """Return a square of grey levels as PNG, or None where the text is not one."""
    try:
        levels = np.array(re.split(r"[\s,;]+", text.strip("[] ")), dtype=np.int64)
    except (ValueError, OverflowError):
        return None
    side = math.isqrt(len(levels))
    if side == 0 or side * side != len(levels) or levels.min() < 0 or levels.max() > 255:
        return None
    return grey_png(levels.astype(np.uint8).tobytes(), side, side)
