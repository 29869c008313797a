"""Layouts of published data sets, one recogniser a file: ``recognise(tree)`` returns their images, or None.

A recogniser looks at names and at its own label files only; it returns splits as the layout calls them. The first that
knows a tree wins; what none knows is read by its folders' names.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from curation.formats.listing import SourceContents
from curation.formats.tree import Tree

Recognise = Callable[[Tree], SourceContents | None]


@dataclass(frozen=True)
class Layout:
    """One layout.

    name       -- what people call it, for the screen
    recogniser -- "module:function" of a ``Recognise``
    """

    name: str
    recogniser: str

    def load(self) -> Recognise:
        """Return its function."""
        module, _, function = self.recogniser.partition(":")
        return cast("Recognise", getattr(importlib.import_module(module), function))


@dataclass
class Registry:
    """The layouts that are tried, in order."""

    layouts: list[Layout] = field(default_factory=list)

    def register(self, layout: Layout) -> None:
        """Add a layout; it is tried before those that are there."""
        self.layouts.insert(0, layout)

    def recognised(self, tree: Tree) -> tuple[Layout, SourceContents] | None:
        """Return the first layout that knows ``tree`` and the images that it finds there, or None."""
        for layout in self.layouts:
            contents = layout.load()(tree)
            if contents is not None and contents.files:
                return layout, contents
        return None


def _ours(name: str, module: str) -> Layout:
    return Layout(name, f"{__name__}.{module}:recognise")


REGISTRY = Registry(
    [
        _ours("FER-2013's CSV", "fer2013"),
        _ours("FER+", "ferplus"),
        _ours("AffectNet", "affectnet"),
        _ours("CK+", "ckplus"),
        _ours("RAF-DB", "rafdb"),
        _ours("YOLO", "yolo"),
        _ours("JAFFE", "jaffe"),
        _ours("KDEF", "kdef"),
        _ours("RAVDESS", "ravdess"),
        _ours("images in Parquet", "parquet"),
        _ours("a list beside the images", "listed"),
    ]
)
"""Every layout; the more specific come first."""
