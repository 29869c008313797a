"""Curate face-expression data: measure, find issues, decide, keep versions.

>>> import curation
>>> curation.Workspace("workspace")  # doctest: +SKIP

Public names are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from importlib import metadata
from typing import TYPE_CHECKING, Any

from curation.base.memory import choose_arrow_pool
from curation.base.telemetry import switch_off
from curation.base.threads import choose as choose_threads

if TYPE_CHECKING:
    from curation.api import Explanation, Gallery, Outcome, Version, Workspace
    from curation.audit.synthetic import make_sample
    from curation.base.errors import CurationError
    from curation.base.settings import Settings
    from curation.formats.export import export_version
    from curation.formats.source import read_source
    from curation.formats.torch import CuratedFaces

switch_off()
choose_threads()
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
    "CuratedFaces": "curation.formats.torch",
    "CurationError": "curation.base.errors",
    "Explanation": "curation.api",
    "Gallery": "curation.api",
    "Outcome": "curation.api",
    "Settings": "curation.base.settings",
    "Version": "curation.api",
    "Workspace": "curation.api",
    "export_version": "curation.formats.export",
    "make_sample": "curation.audit.synthetic",
    "read_source": "curation.formats.source",
}


def __getattr__(name: str) -> Any:
    """Return a public name from the module that it lives in; ``__version__`` is that of the installed package."""
    if name == "__version__":
        return metadata.version("face-curation")
    if name not in _HOMES:
        raise AttributeError(f"module 'curation' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """Return the public names, so that completion knows them."""
    return __all__
