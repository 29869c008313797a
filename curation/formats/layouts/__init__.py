"""Layouts of published data sets, one recogniser per file: ``recognise(tree)`` returns their images, or None.

A recogniser looks at names and at its own label files only; it returns splits as the layout calls them. The first that
knows a tree wins; what none knows is read by its folders' names. Layouts of other packages (entry points of the group
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
    "FER-2013's CSV": "fer2013",
    "FER+": "ferplus",
    "AffectNet": "affectnet",
    "CK+": "ckplus",
    "RAF-DB": "rafdb",
    "YOLO": "yolo",
    "JAFFE": "jaffe",
    "KDEF": "kdef",
    "RAVDESS": "ravdess",
    "images in Parquet": "parquet",
    "a list beside the images": "listed",
}
"""What people call a layout -> its module here; the more specific come first."""


def recognisers() -> dict[str, Recognise]:
    """Return the recogniser of every layout by the layout's name, in the order in which they are tried.

    Raises:
        PluginError: another package's layout cannot be loaded.

    """
    added = plugins.installed("layouts", LAYOUTS)
    theirs = {name: plugin.guarded(plugin.load()) for name, plugin in added.items()}
    return theirs | {name: pkgutil.resolve_name(f"{__name__}.{module}:recognise") for name, module in LAYOUTS.items()}


def recognised(tree: Tree) -> tuple[str, SourceContents] | None:
    """Return the name of the first layout that knows ``tree`` and the images that it finds there, or None."""
    for name, recognise in recognisers().items():
        contents = recognise(tree)
        if contents is not None and contents.files:
            return name, contents
    return None
