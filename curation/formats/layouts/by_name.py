"""Data sets whose file names hold person and expression in a code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from curation.formats.listing import SourceContents, by_folders
from curation.formats.tree import Tree

_MOST = 0.9
"""Share of the images that must be called so."""


@dataclass(frozen=True)
class NameCode:
    """How the files of one data set are called.

    pattern -- found in a path; its groups ``person`` and ``code``
    classes -- code -> class
    prefix  -- stands before the person's number in what the person is called
    """

    pattern: re.Pattern[str]
    classes: Mapping[str, str]
    prefix: str = ""

    def recognise(self, tree: Tree) -> SourceContents | None:
        """Return the images with the person and class in their names, and the split of their folders."""
        found = {image.path: self.pattern.search(image.path) for image in tree.images}
        fitting = sum(match is not None and match["code"].upper() in self.classes for match in found.values())
        if not fitting or fitting < _MOST * len(found):
            return None
        contents = by_folders(SourceContents(tree.images))
        for place, image in enumerate(contents.files):
            match = found[image.path]
            if match:
                label, person = self.classes.get(match["code"].upper(), ""), self.prefix + match["person"].upper()
                contents.files[place] = image._replace(label=label, subject=person)
        return SourceContents(contents.files)
