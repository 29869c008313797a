"""Layouts of published data sets: a recogniser takes a tree and returns its images, or None.

A recogniser looks at file names and at its own label files only; it returns splits as the layout names them. The first
one that recognises a tree wins; any other tree is read by the names of its folders. Layouts of other packages (entry
points of the group
``face_curation.layouts``) are tried before the toolkit's own.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable

from curation.base import plugins
from curation.formats.listing import SourceContents
from curation.formats.tree import Tree

Recognise = Callable[[Tree], SourceContents | None]

LAYOUTS: dict[str, str] = {
    "FER-2013's CSV": "fer2013:recognise",
    "FER+": "ferplus:recognise",
    "AffectNet": "affectnet:recognise",
    "CK+": "ckplus:recognise",
    "RAF-DB": "rafdb:recognise",
    "YOLO": "yolo:recognise",
    "JAFFE": "by_name:jaffe",
    "KDEF": "by_name:kdef",
    "RAVDESS": "by_name:ravdess",
    "images in Parquet": "parquet:recognise",
    "a list beside the images": "listed:recognise",
}
"""Common name of a layout -> its recogniser; the more specific layouts come first."""


def recognisers() -> dict[str, Recognise]:
    """Return layout -> recogniser, in the order in which they are tried.

    Raises:
        PluginError: another package's layout cannot be loaded.

    """
    added = plugins.installed("layouts", LAYOUTS)
    theirs = {name: plugin.guarded(plugin.load()) for name, plugin in added.items()}
    return theirs | {name: pkgutil.resolve_name(f"{__name__}.{place}") for name, place in LAYOUTS.items()}


def recognised(tree: Tree) -> tuple[str, SourceContents] | None:
    """Return the first layout that recognises ``tree``, and the images that it finds there, or None."""
    for name, recognise in recognisers().items():
        contents = recognise(tree)
        if contents is not None and contents.files:
            return name, contents
    return None
