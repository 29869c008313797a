"""Split, label and person from folder names alone.

The split level is the one whose folders are named like splits (``curation.base.splits``) and hold most images. The
label is the first folder below the split (train/happy/...), or the last above it if nothing is below (happy/train/...);
without splits it is the first folder. Folders that all images share (images/happy, images/sad) carry no
information and are skipped. Where only another level holds words for expressions (S001/happy, train/session1/sad), that
level is the label: folders above it are persons (S001, actor_05) or, if there are few of them, splits of unknown name.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from curation.base.classes import is_expression
from curation.base.splits import standard

Folders = tuple[str, ...]

_CONTAINERS = {"images", "image", "img", "imgs", "data", "dataset", "faces", "pictures", "photos", "jpg", "png"}
"""Names of folders, in lower case, that only mean that pictures are inside."""

_PERSON = re.compile(r"(?:s|subj?|subject|p|person|participant|actor|id|user|speaker)[\s_-]?\d+", re.IGNORECASE)
_MOST_UNKNOWN_SPLITS = 12


class Place(NamedTuple):
    """What an image's folders state, "" where they state nothing; split is the folder's own name."""

    split: str
    label: str
    subject: str = ""


def assign(images_in: Mapping[Folders, int]) -> tuple[dict[Folders, Place], list[str]]:
    """Return the split, label and person of every folder, and warnings about ambiguous ones.

    Args:
        images_in: folder, as the names from the root down to it -> number of images in it.

    """
    level = _split_level(images_in)
    split = {
        folders: folders[level] if 0 <= level < len(folders) and standard(folders[level]) else ""
        for folders in images_in
    }
    within = {folders: images for folders, images in images_in.items() if split[folders]}
    outside = {folders: images for folders, images in images_in.items() if not split[folders]}
    label = _labels_around(within, level)
    beside = _first_labels({folders: folders for folders in outside})
    if level >= 0:
        beside |= _unknown_splits(outside, level, set(label.values()), split)
    label |= beside
    above = _level_of_words(images_in, label, level)
    subject = dict.fromkeys(images_in, "")
    notes: list[str] = []
    named = set(label.values()) - {""}
    if above < 0 and len(named) > 1 and all(map(_PERSON.fullmatch, named)):
        subject = dict(label)
        notes.append(f"the folders ({_some(set(label.values()))}) are read as persons, not as classes")
        label = dict.fromkeys(label, "")
    if above >= 0:
        label = {folders: folders[above] if len(folders) > above else "" for folders in images_in}
        notes += _read_above(images_in, above, level, split, subject)
    places = {folders: Place(split[folders], label[folders], subject[folders]) for folders in images_in}
    notes += _numbers_below(places)
    without = sorted({"/".join(folders) or "the top folder" for folders, place in places.items() if not place.split})
    if level >= 0 and without:
        notes.append(f"images outside the splits' folders belong to no split: {', '.join(map(repr, without[:5]))}")
    return places, notes


def _numbers_below(places: Mapping[Folders, Place]) -> list[str]:
    """Return a warning if the folders below each class are the same numbers, and so may be the classes."""
    below: dict[str, set[str]] = {}
    for folders, place in places.items():
        if place.label in folders[:-1]:
            below.setdefault(place.label, set()).add(folders[folders.index(place.label) + 1])
    sets = list(below.values())
    same = len(sets) > 1 and all(names == sets[0] for names in sets) and len(sets[0]) > 1
    if not same or not all(name.isdecimal() for name in sets[0]) or all(map(is_expression, below)):
        return []
    return [f"below {_some(set(below))} are folders of the same numbers; where those are the classes, give a list"]


def _split_level(images_in: Mapping[Folders, int]) -> int:
    """Return the level whose folders named like splits hold most of the images, most kinds of splits first; or -1."""
    named: dict[int, int] = {}
    kinds: dict[int, set[str]] = {}
    for folders, images in images_in.items():
        for level, name in enumerate(folders):
            if split := standard(name):
                named[level] = named.get(level, 0) + images
                kinds.setdefault(level, set()).add(split)
    total = sum(images_in.values())
    wide = [level for level in named if 2 * named[level] > total]
    return max(wide, key=lambda level: (len(kinds[level]), named[level], -level), default=-1)


def _labels_around(within: Mapping[Folders, int], level: int) -> dict[Folders, str]:
    below = {folders: folders[level + 1 :] for folders in within}
    images_below = sum(within[folders] for folders in within if below[folders])
    if 2 * images_below > sum(within.values()):
        return _first_labels(below)
    return {folders: folders[level - 1] if level > 0 else "" for folders in within}


def _unknown_splits(
    outside: Mapping[Folders, int], level: int, classes: set[str], split: dict[Folders, str]
) -> dict[Folders, str]:
    """Treat folders beside the splits with the same classes as splits of unknown name; return their labels."""
    labels: dict[Folders, str] = {}
    for name in {folders[level] for folders in outside if len(folders) > level + 1}:
        mine = [folders for folders in outside if len(folders) > level + 1 and folders[level] == name]
        below = {folders: next((part for part in folders[level + 1 :] if part in classes), "") for folders in mine}
        if all(below.values()):
            labels |= below
            split.update(dict.fromkeys(mine, name))
    return labels


def _first_labels(parts: Mapping[Folders, Folders]) -> dict[Folders, str]:
    """Return folder -> the first of its ``parts`` after those that all share, "" if none is left."""
    skip = _shared(list(parts.values()))
    labels = {folders: part[skip] if len(part) > skip else "" for folders, part in parts.items()}
    only = set(labels.values())
    return dict.fromkeys(labels, "") if len(only) == 1 and next(iter(only)).lower() in _CONTAINERS else labels


def _shared(parts: Sequence[Folders]) -> int:
    """Return how many leading names all ``parts`` share, leaving the last name if all are equal."""
    if not parts:
        return 0
    same = len(posixpath.commonprefix(list(parts)))  # of tuples, element by element
    return max(same - 1, 0) if min(parts) == max(parts) else same


def _level_of_words(images_in: Mapping[Folders, int], label: Mapping[Folders, str], level: int) -> int:
    """Return the level whose names are words for expressions if the labels so far are not, or -1."""
    half = sum(images_in.values()) / 2
    if sum(images for folders, images in images_in.items() if is_expression(label[folders])) > half:
        return -1
    depth = max(map(len, images_in), default=0)
    words = {
        n: sum(images for folders, images in images_in.items() if len(folders) > n and is_expression(folders[n]))
        for n in range(depth)
        if n != level
    }
    best = max(words, key=lambda n: (words[n], -n), default=-1)
    return best if best >= 0 and words[best] > half else -1


def _read_above(
    images_in: Mapping[Folders, int], above: int, level: int, split: dict[Folders, str], subject: dict[Folders, str]
) -> list[str]:
    """Read the folders above the classes as persons or as splits of unknown name, in place; return notes."""
    notes = []
    for n in (n for n in range(above) if n != level):
        named = {folders: folders[n] for folders in images_in if len(folders) > above}
        distinct = set(named.values())
        if len(distinct) < 2:
            continue
        if all(map(_PERSON.fullmatch, distinct)):
            subject.update(named)
            notes.append(f"the {len(distinct):,} folders above the classes ({_some(distinct)}) are read as persons")
        elif level < 0 and len(distinct) <= _MOST_UNKNOWN_SPLITS and not any(split.values()):
            split.update(named)
        else:
            notes.append(f"the folders above the classes ({_some(distinct)}) are read neither as splits nor as persons")
    return notes


def _some(distinct: set[str]) -> str:
    shown = ", ".join(map(repr, sorted(distinct)[:3]))
    return shown if len(distinct) <= 3 else f"{shown}, ..."
