"""Fit and evaluate expression models on frames of (path, label, split, weight).

Public names are loaded when they are first used, as torch takes seconds to import.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training.compare import compare_versions
    from training.crossval import out_of_fold
    from training.evaluate import metrics, side_by_side
    from training.fit import fit
    from training.ladder import Budget, run_ladder
    from training.model import export_onnx, load_model, predict_files
    from training.recipes import all_recipes, recipe

__all__ = [
    "Budget",
    "all_recipes",
    "compare_versions",
    "export_onnx",
    "fit",
    "load_model",
    "metrics",
    "out_of_fold",
    "predict_files",
    "recipe",
    "run_ladder",
    "side_by_side",
]

_HOMES = {
    "Budget": "ladder",
    "all_recipes": "recipes",
    "compare_versions": "compare",
    "export_onnx": "model",
    "fit": "fit",
    "load_model": "model",
    "metrics": "evaluate",
    "out_of_fold": "crossval",
    "predict_files": "model",
    "recipe": "recipes",
    "run_ladder": "ladder",
    "side_by_side": "evaluate",
}


def __getattr__(name: str) -> Any:
    """Return a public name from the module that it lives in."""
    if name not in _HOMES:
        raise AttributeError(f"module 'training' has no attribute {name!r}")
    return getattr(importlib.import_module(f"training.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """Return the public names, so that completion knows them."""
    return __all__
