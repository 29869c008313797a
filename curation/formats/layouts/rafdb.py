"""RAF-DB, basic: numbered classes in a list, or in the names of folders, as on Kaggle.

Source: Li, Deng and Du, "Reliable Crowdsourcing and Deep Locality-Preserving Learning" (2017), and the data set's
README: basic/Image/aligned/train_00001_aligned.jpg (and Image/original/train_00001.jpg) with rows
"train_00001.jpg 5" in basic/EmoLabel/list_patition_label.txt. On Kaggle: DATASET/train/5/train_00001_aligned.jpg with
train_labels.csv. Classes below.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from curation.formats.layouts import listed
from curation.formats.layouts.by_name import class_of
from curation.formats.listing import Files, FoundFile, SourceContents
from curation.formats.tree import Tree

CLASSES = dict(enumerate(("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"), start=1))

_NAME = re.compile(r"((?:train|test)_\d+)(?:_aligned)?\.\w+", re.IGNORECASE | re.ASCII)
_MOST = 0.9


def recognise(tree: Tree) -> SourceContents | None:
    """Return images named like RAF-DB's whose labels are among its seven numbers."""
    if tree.share_named(_NAME) < _MOST:
        return None
    names = {path: _NAME.fullmatch(path.rpartition("/")[2]) for path in tree.images.paths()}
    numbers = _listed_numbers(tree)
    if numbers:
        return _by_list(tree, names, numbers)
    if not all(is_aligned(image) for image in tree.images if names[image.path]):
        return None
    found = listed.recognise(tree)
    files = found.files if found else tree.images
    labelled = Files(
        image._replace(
            label=class_of(image.label or PurePosixPath(image.path).parent.name, CLASSES), split=_split(image)
        )
        for image in files
    )
    return SourceContents(labelled, *((found.problems, found.warnings) if found else ())) if _known(labelled) else None


def _listed_numbers(tree: Tree) -> dict[str, str]:
    """Return name of an image without its extension -> number, from the data set's own list."""
    numbers = {}
    for path in tree.named("list_pa*tition_label.txt"):
        for line in tree.text(path).splitlines():
            name, _, number = line.strip().rpartition(" ")
            numbers[name.rpartition(".")[0]] = number
    return numbers


def _by_list(tree: Tree, names: dict[str, re.Match[str] | None], numbers: dict[str, str]) -> SourceContents | None:
    aligned = any("_aligned." in path for path in names)
    contents = SourceContents()
    for image in tree.images:
        name = names[image.path]
        if aligned and "_aligned." not in image.path:
            contents.leave_out(image.path, "the original of an aligned image; the aligned one is taken")
            continue
        label = class_of(numbers.get(name[1], ""), CLASSES) if name else ""
        contents.files.append(image._replace(label=label, split=_split(image)))
    return contents if _known(contents.files) else None


def is_aligned(image: FoundFile) -> bool:
    """Return whether an image is named like RAF-DB's aligned ones."""
    return "_aligned." in image.path and _NAME.fullmatch(image.path.rpartition("/")[2]) is not None


def _known(files: Files) -> bool:
    """Return whether the labels are the basic set's: its compound set numbers eleven other classes."""
    labels = {image.label for image in files} - {""}
    return bool(labels) and labels <= set(CLASSES.values())


def _split(image: FoundFile) -> str:
    return image.split or image.path.rpartition("/")[2].partition("_")[0]
