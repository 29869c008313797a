"""Curate face-expression data: measure, find issues, decide, keep versions.

>>> import curation
>>> curation.Workspace("workspace")  # doctest: +SKIP

Public names are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from curation.memory import choose_arrow_pool
from curation.telemetry import switch_off

if TYPE_CHECKING:
    from curation.api import Explanation, Gallery, Outcome, Version, Workspace
    from curation.errors import CurationError
    from curation.export import export_version
    from curation.export.torch import CuratedFaces
    from curation.ingest import read_source
    from curation.sample import make_sample
    from curation.settings import Settings

switch_off()
choose_arrow_pool()

__all__ = [
    "CuratedFaces",
    "CurationError",
    "Explanation",
    "Gallery",
    "Outcome",
    "Settings",
    "Version",
    "Workspace",
    "export_version",
    "make_sample",
    "read_source",
]

_HOMES = {
    "CuratedFaces": "curation.export.torch",
    "CurationError": "curation.errors",
    "Explanation": "curation.api",
    "Gallery": "curation.api",
    "Outcome": "curation.api",
    "Settings": "curation.settings",
    "Version": "curation.api",
    "Workspace": "curation.api",
    "export_version": "curation.export",
    "make_sample": "curation.sample",
    "read_source": "curation.ingest",
}


def __getattr__(name: str) -> Any:
    """Return a public name from the module that it lives in."""
    if name not in _HOMES:
        raise AttributeError(f"module 'curation' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """Return the public names, so that completion knows them."""
    return __all__
