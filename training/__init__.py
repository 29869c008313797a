"""Fit and evaluate expression models on frames of (path, label, split, weight).

Public names are loaded when they are first used, as torch takes seconds to import.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training.augment import contact_sheet
    from training.class_overlap import conformal_sets
    from training.compare import Comparison, compare_versions
    from training.crossval import assign_folds, out_of_fold
    from training.evaluate import compare_pairs, metrics, predictions_table, side_by_side, standard_views
    from training.explain import grad_cam, occlusion_maps
    from training.fairness import by_group, group_estimates
    from training.fit import FitResult, fit
    from training.ladder import Budget, run_ladder
    from training.model import Model, export_onnx, load_model, model_card, predict_files
    from training.outside import OutsideModel, open_model
    from training.recipes import Recipe, all_recipes, recipe
    from training.robustness import by_challenge, by_covariate, covariates, curves

__all__ = [
    "Budget",
    "Comparison",
    "FitResult",
    "Model",
    "OutsideModel",
    "Recipe",
    "all_recipes",
    "assign_folds",
    "by_challenge",
    "by_covariate",
    "by_group",
    "compare_pairs",
    "compare_versions",
    "conformal_sets",
    "contact_sheet",
    "covariates",
    "curves",
    "export_onnx",
    "fit",
    "grad_cam",
    "group_estimates",
    "load_model",
    "metrics",
    "model_card",
    "occlusion_maps",
    "open_model",
    "out_of_fold",
    "predict_files",
    "predictions_table",
    "recipe",
    "run_ladder",
    "side_by_side",
    "standard_views",
]

_HOMES = {
    "Budget": "ladder",
    "Comparison": "compare",
    "FitResult": "fit",
    "Model": "model",
    "OutsideModel": "outside",
    "Recipe": "recipes",
    "all_recipes": "recipes",
    "assign_folds": "crossval",
    "by_challenge": "robustness",
    "by_covariate": "robustness",
    "by_group": "fairness",
    "compare_pairs": "evaluate",
    "compare_versions": "compare",
    "conformal_sets": "class_overlap",
    "contact_sheet": "augment",
    "covariates": "robustness",
    "curves": "robustness",
    "export_onnx": "model",
    "fit": "fit",
    "grad_cam": "explain",
    "group_estimates": "fairness",
    "load_model": "model",
    "metrics": "evaluate",
    "model_card": "model",
    "occlusion_maps": "explain",
    "open_model": "outside",
    "out_of_fold": "crossval",
    "predict_files": "model",
    "predictions_table": "evaluate",
    "recipe": "recipes",
    "run_ladder": "ladder",
    "side_by_side": "evaluate",
    "standard_views": "evaluate",
}


def __getattr__(name: str) -> Any:
    """Return a public name from the module that it lives in."""
    if name not in _HOMES:
        raise AttributeError(f"module 'training' has no attribute {name!r}")
    return getattr(importlib.import_module(f"training.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """Return the public names, so that completion knows them."""
    return __all__
