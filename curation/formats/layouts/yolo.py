"""YOLO detection folders: a text file per image, with a row for each box, starting with the number of its class.

Source: docs.ultralytics.com/datasets/detect: images/train/1.jpg with labels/train/1.txt, or train/images/1.jpg with
train/labels/1.txt (as Roboflow writes them), or 1.txt beside 1.jpg (Darknet); names of the classes in data.yaml,
classes.txt or obj.names. An image's label is the class that all its boxes name.
"""

from __future__ import annotations

import re
from typing import Any

from curation.formats.listing import FoundFile, SourceContents, by_folders
from curation.formats.lists import among
from curation.formats.tree import Tree

_ROW = re.compile(rb"\s*(\d+)(?:\.0*)?(?:\s+-?[\d.]+(?:[eE][+-]?\d+)?){4,}\s*")
_NUMBER = re.compile(r"\d{1,9}", re.ASCII)
_PLAIN = (str, int, float)
_LOOKED_AT = 20


def recognise(tree: Tree) -> SourceContents | None:
    """Return the images of a tree, if most have a text file of boxes."""
    if not tree.named("*.txt"):
        return None
    beside = {path: _labels_of(path, tree) for path in tree.images.paths()}
    annotated = [path for path in beside.values() if path]
    if not annotated or 2 * len(annotated) < len(beside):
        return None
    if not all(_numbers(tree.head(path, 4096)) is not None for path in annotated[:_LOOKED_AT]):
        return None
    names, paths = _names(tree)
    splits = _listed_splits(tree, paths)
    contents, several = SourceContents(), 0
    for image in by_folders(SourceContents(tree.images)).files:
        numbers = _numbers(tree.data(beside[image.path])) if beside[image.path] else []
        classes = {names.get(number, str(number)) for number in numbers or []}
        several += len(classes) > 1
        label = next(iter(classes)) if len(classes) == 1 else ""
        contents.files.append(image._replace(label=label, split=splits.get(image.path, image.split), subject=""))
    if several:
        contents.warnings.append(f"{several:,} images have boxes of several classes, and so no label")
    return contents


def _labels_of(path: str, tree: Tree) -> str:
    """Return where the boxes of an image are, or ""."""
    stem = path.rpartition(".")[0]
    head, found, tail = f"/{stem}".rpartition("/images/")
    for candidate in (f"{head}/labels/{tail}.txt".lstrip("/") if found else "", f"{stem}.txt"):
        if candidate in tree.others:
            return candidate
    return ""


def _numbers(data: bytes) -> list[int] | None:
    """Return the class numbers in a file of boxes, None for another file; a truncated last row is skipped."""
    rows = [_ROW.fullmatch(line) for line in data.splitlines()[:1000] if line.strip()]
    if any(row is None for row in rows[:-1]) or (len(rows) == 1 and rows[0] is None):
        return None
    return [int(row[1][:9]) for row in rows if row]


def _names(tree: Tree) -> tuple[dict[int, str], dict[str, Any]]:
    """Return number -> name of the classes, and the plain entries of the description."""
    import yaml

    for path in tree.named("*.yaml", "*.yml"):
        try:
            found = yaml.safe_load(tree.text(path))
        except (yaml.YAMLError, RecursionError, ValueError):
            continue
        names = found.get("names") if isinstance(found, dict) else None
        if isinstance(names, list):
            names = dict(enumerate(names))
        if isinstance(names, dict):
            # aliases of YAML may expand a small file to a huge text, so only plain values are read
            plain = {number: name for number, name in names.items() if isinstance(name, _PLAIN)}
            known = {int(number): str(name) for number, name in plain.items() if _NUMBER.fullmatch(str(number))}
            return known, {key: value for key, value in found.items() if isinstance(value, _PLAIN)}
    for path in tree.named("classes.txt", "*.names", "_darknet.labels"):
        lines = [line.strip() for line in tree.text(path).splitlines()]
        return dict(enumerate(filter(None, lines))), {}
    return {}, {}


def _listed_splits(tree: Tree, description: dict[str, Any]) -> dict[str, str]:
    """Return image -> split from the lists of images that the description names for its splits."""
    finder = among(tree.images)
    splits = {}
    for split in ("train", "val", "test"):
        named = str(description.get(split) or "").rpartition("/")[2]
        for path in tree.named(named.lower()) if named.endswith(".txt") else []:
            for line in tree.text(path).splitlines():
                found = finder.find(line.strip().removeprefix("./"))
                if isinstance(found, FoundFile):
                    splits[found.path] = split
    return splits
