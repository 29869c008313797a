"""Data sets whose file names encode person and expression: JAFFE, KDEF, RAVDESS; and classes that lists number.

Sources:
    JAFFE: Lyons, Kamachi and Gyoba, "The Japanese Female Facial Expression (JAFFE) Dataset" (1998), README_FIRST.txt:
    one folder of KA.AN1.39.tiff (person, expression, number of the shot, number of the picture).
    KDEF: Lundqvist, Flykt and Öhman, "The Karolinska Directed Emotional Faces" (1998), kdef.se, "Using and publishing":
    AF01/AF01ANS.JPG (session A or B, F or M and a number, expression, angle); the person is F01 in both sessions.
    RAVDESS, as frames: Livingstone and Russo, "The Ryerson Audio-Visual Database of Emotional Speech and Song" (2018),
    zenodo.org/record/1188976: seven numbers in the name of a file or its folder, below Actor_05
    (modality-channel-emotion-intensity-statement-repetition-actor), as in 01-01-06-01-02-01-12.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from curation.formats.listing import FoundFile, SourceContents, by_folders
from curation.formats.tree import Tree

_MOST = 0.9
"""Share of the images whose names must fit."""


@dataclass(frozen=True)
class NameCode:
    """How the files of one data set are named.

    pattern -- found in a path; its groups ``person`` and ``code``
    classes -- code -> class
    prefix  -- precedes the person's number in the person's name
    """

    pattern: re.Pattern[str]
    classes: Mapping[str, str]
    prefix: str = ""

    def recognise(self, tree: Tree) -> SourceContents | None:
        """Return the images with the person and class in their names, and the split of their folders."""
        found = (self.pattern.search(path) for path in tree.images.paths())
        fitting = sum(match is not None and match["code"].upper() in self.classes for match in found)
        if not fitting or fitting < _MOST * len(tree.images):
            return None
        return SourceContents(map(self._named, by_folders(SourceContents(tree.images)).files))

    def _named(self, image: FoundFile) -> FoundFile:
        match = self.pattern.search(image.path)
        if not match:
            return image
        label, person = self.classes.get(match["code"].upper(), ""), self.prefix + match["person"].upper()
        return image._replace(label=label, subject=person)


jaffe = NameCode(
    re.compile(r"(?:^|/)(?P<person>[A-Z]{2})\.(?P<code>[A-Z]{2})-?\d\.\d+(?:\.\w+)+$", re.IGNORECASE),
    dict(AN="anger", DI="disgust", FE="fear", HA="happiness", NE="neutral", SA="sadness", SU="surprise"),
).recognise

kdef = NameCode(
    re.compile(r"(?:^|/)[AB](?P<person>[FM]\d{2})(?P<code>AF|AN|DI|HA|NE|SA|SU)(?:FL|HL|S|HR|FR)\.\w+$", re.IGNORECASE),
    dict(AF="afraid", AN="angry", DI="disgusted", HA="happy", NE="neutral", SA="sad", SU="surprised"),
).recognise

_RAVDESS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")

ravdess = NameCode(
    re.compile(r"(?:^|[/_])0[123]-0[12]-(?P<code>0[1-8])-0[12]-0[12]-0[12]-(?P<person>[012]\d)(?![\d-])", re.ASCII),
    {f"{number:02d}": label for number, label in enumerate(_RAVDESS, start=1)},
    "Actor_",
).recognise


def class_of(number: str, classes: Mapping[int, str]) -> str:
    """Return the class that a number stands for, also when written as 3.0 or 3e0; any other text stays as it is."""
    try:
        value = float(number)
    except ValueError:
        return number
    return classes[int(value)] if value in classes else number
