"""Extended Cohn-Kanade (CK+): frames of sequences, and a label for the last frame of some of them.

Source: Lucey et al., "The Extended Cohn-Kanade Dataset (CK+)" (2010), and its ReadMe: cohn-kanade-images/S005/001/
S005_001_00000001.png ..., Emotion/S005/001/S005_001_00000011_emotion.txt with one number as below, for the last frame
of the sequence, its peak. The others have no label: the first is neutral by design, and those between are in
transition. S005 is the person. Sets cropped from it (CK+48) keep the names of the frames.
"""

from __future__ import annotations

import re

from curation.formats.layouts.by_name import class_of
from curation.formats.listing import FoundFile, IngestError, SourceContents, by_folders
from curation.formats.tree import Tree

CLASSES = dict(enumerate(("neutral", "anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise")))

_FRAME = re.compile(r"(S\d{3})_(\d{3})_(\d{8})\.\w+", re.ASCII)
_MOST = 0.9


def recognise(tree: Tree) -> SourceContents | None:
    """Return the frames with the labels that emotion files state; of frames in class folders, only add the person."""
    if tree.share_named(_FRAME) < _MOST:
        return None
    frames = {path: _FRAME.fullmatch(path.rpartition("/")[2]) for path in tree.images.paths()}
    emotions = {_sequence(path.rpartition("/")[2]): path for path in tree.named("*_emotion.txt")}
    if not emotions:
        contents = by_folders(SourceContents(tree.images))
        return SourceContents(
            (_with_person(image, frames[image.path]) for image in contents.files), (), contents.warnings
        )
    last: dict[str, str] = {}
    for path, frame in frames.items():
        if frame:
            last[_sequence(frame[0])] = max(last.get(_sequence(frame[0]), ""), path)
    label = {last[sequence]: _label(tree, path) for sequence, path in emotions.items() if sequence in last}
    files = (_with_person(image._replace(label=label.get(image.path, "")), frames[image.path]) for image in tree.images)
    notes = "CK+: only the last frame of an annotated sequence has a label; the first frames are neutral by design"
    return SourceContents(files, warnings=[notes])


def _sequence(name: str) -> str:
    return "_".join(name.split("_")[:2])


def _with_person(image: FoundFile, frame: re.Match[str] | None) -> FoundFile:
    return image._replace(subject=frame[1]) if frame else image


def _label(tree: Tree, path: str) -> str:
    try:
        label = class_of(tree.text(path).strip(), CLASSES)
    except IngestError:
        return ""
    return label if label in CLASSES.values() else ""
