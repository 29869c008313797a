"""Extended Cohn-Kanade (CK+): frames of sequences, and a label for the last frame of some of them.

Source: Lucey et al., "The Extended Cohn-Kanade Dataset (CK+)" (2010), and its ReadMe: cohn-kanade-images/S005/001/
S005_001_00000001.png ..., Emotion/S005/001/S005_001_00000011_emotion.txt with one number as below. "The image sequences
incorporate the onset (which is also neutral frame) to peak formation": the first frame is neutral, the last shows the
expression; those between have no label. S005 is the person. Sets cut from it (CK+48) keep the names of the frames.
"""

from __future__ import annotations

import re

from curation.formats.listing import FoundFile, IngestError, SourceContents, by_folders
from curation.formats.tree import Tree

CLASSES = ("neutral", "anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise")

_FRAME = re.compile(r"(S\d{3})_(\d{3})_(\d{8})\.\w+", re.ASCII)
_MOST = 0.9


def recognise(tree: Tree) -> SourceContents | None:
    """Return the frames with the labels that emotion files state, or, in class folders, with their persons only."""
    frames = {image.path: _FRAME.fullmatch(image.path.rpartition("/")[2]) for image in tree.images}
    if not frames or sum(match is not None for match in frames.values()) < _MOST * len(frames):
        return None
    emotions = {path.rpartition("/")[2].removesuffix("_emotion.txt"): path for path in tree.named("*_emotion.txt")}
    if not emotions:
        contents = by_folders(SourceContents(tree.images))
        contents.files = [_with_person(image, frames[image.path]) for image in contents.files]
        return contents
    first = _first_frames(frames)
    contents = SourceContents()
    for image in tree.images:
        stem = image.path.rpartition("/")[2].rpartition(".")[0]
        label = _label(tree, emotions[stem]) if stem in emotions else "neutral" if image.path in first else ""
        contents.files.append(_with_person(image._replace(label=label), frames[image.path]))
    contents.warnings.append("CK+: a sequence's first frame is neutral, its last as annotated; others have no label")
    return contents


def _with_person(image: FoundFile, frame: re.Match[str] | None) -> FoundFile:
    return image._replace(subject=frame[1]) if frame else image


def _first_frames(frames: dict[str, re.Match[str] | None]) -> set[str]:
    first: dict[tuple[str, str], tuple[str, str]] = {}
    for path, frame in frames.items():
        if frame:
            sequence = (frame[1], frame[2])
            first[sequence] = min(first.get(sequence, (frame[3], path)), (frame[3], path))
    return {path for _, path in first.values()}


def _label(tree: Tree, path: str) -> str:
    try:
        number = float(tree.text(path).strip() or "nan")
    except (ValueError, IngestError):
        return ""
    return CLASSES[int(number)] if number in range(len(CLASSES)) else ""
