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

_MODULES = {
    "augment": ("contact_sheet",),
    "class_overlap": ("conformal_sets",),
    "compare": ("Comparison", "compare_versions"),
    "crossval": ("assign_folds", "out_of_fold"),
    "evaluate": ("compare_pairs", "metrics", "predictions_table", "side_by_side", "standard_views"),
    "explain": ("grad_cam", "occlusion_maps"),
    "fairness": ("by_group", "group_estimates"),
    "fit": ("FitResult", "fit"),
    "ladder": ("Budget", "run_ladder"),
    "model": ("Model", "export_onnx", "load_model", "model_card", "predict_files"),
    "outside": ("OutsideModel", "open_model"),
    "recipes": ("Recipe", "all_recipes", "recipe"),
    "robustness": ("by_challenge", "by_covariate", "covariates", "curves"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Return a public name from the module that it lives in."""
    if name not in _HOMES:
        raise AttributeError(f"module 'training' has no attribute {name!r}")
    return getattr(importlib.import_module(f"training.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """Return the public names, so that completion knows them."""
    return __all__
