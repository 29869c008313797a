"""Folders -> split and label, as a pure function of the folders' names.

The split level is the one at which most images lie in folders named as splits. The label is the first folder below the
split (train/happy/...), or the last above it where nothing is below (happy/train/...). Without splits it is the first
folder. Folders that all images share (images/happy, images/sad) say nothing and are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
"""Names of splits, in lower case, and the split each stands for."""

Folders = tuple[str, ...]


class Place(NamedTuple):
    """What an image's folders say about it; "" where they say nothing."""

    split: str
    label: str


def split_of(name: str) -> str:
    """Return the split that ``name`` stands for: train, validation or test, or "" for any other name."""
    return SPLIT_NAMES.get(name.strip().lower(), "")


def assign(images_in: Mapping[Folders, int]) -> tuple[dict[Folders, Place], list[str]]:
    """Return the split and label of every folder, and warnings about what can be read in two ways.

    Args:
        images_in: for each folder, as the names from the root down to it, how many images it holds.

    """
    level = _split_level(images_in)
    split = {folders: _split_at(folders, level) for folders in images_in}
    outside = [folders for folders in images_in if not split[folders]]
    within = [folders for folders in images_in if split[folders]]
    label = _first_labels({folders: folders for folders in outside}) | _labels_around(within, level, images_in)
    places = {folders: Place(split[folders], label[folders]) for folders in images_in}
    return places, _warnings(places, level)


def _split_at(folders: Folders, level: int) -> str:
    return split_of(folders[level]) if 0 <= level < len(folders) else ""


def _split_level(images_in: Mapping[Folders, int]) -> int:
    """Return the level whose split-named folders hold the most images and over half of all, or -1."""
    named: dict[int, int] = {}
    for folders, images in images_in.items():
        for level, name in enumerate(folders):
            if split_of(name):
                named[level] = named.get(level, 0) + images
    best = max(named, key=lambda level: (named[level], -level), default=-1)
    return best if best >= 0 and 2 * named[best] > sum(images_in.values()) else -1


def _labels_around(within: Sequence[Folders], level: int, images_in: Mapping[Folders, int]) -> dict[Folders, str]:
    below = {folders: folders[level + 1 :] for folders in within}
    images_below = sum(images_in[folders] for folders in within if below[folders])
    if 2 * images_below > sum(images_in[folders] for folders in within):
        return _first_labels(below)
    return {folders: folders[level - 1] if level > 0 else "" for folders in within}


def _first_labels(parts: Mapping[Folders, Folders]) -> dict[Folders, str]:
    """Return for each folder the first of its ``parts`` after those that all share, or "" where none is left."""
    skip = _shared(list(parts.values()))
    return {folders: part[skip] if len(part) > skip else "" for folders, part in parts.items()}


def _shared(parts: Sequence[Folders]) -> int:
    """Return how many first names all ``parts`` share, leaving the last name where all are equal."""
    if not parts:
        return 0
    first, last = min(parts), max(parts)
    same = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return max(same - 1, 0) if first == last else same


def _warnings(places: Mapping[Folders, Place], level: int) -> list[str]:
    found = []
    if level >= 0:
        beside = sorted({"/".join(folders) or "the top folder" for folders, place in places.items() if not place.split})
        if beside:
            found.append(f"images outside the splits' folders belong to no split: {', '.join(map(repr, beside[:5]))}")
    as_class = sorted({place.label for place in places.values() if split_of(place.label)})
    if as_class:
        found.append(f"folders named like a split are read as classes: {', '.join(map(repr, as_class))}")
    return found
