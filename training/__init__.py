"""Fit and evaluate expression models on frames of (path, label, split, weight).

Public names are loaded when they are first used, as torch takes seconds to import.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training.augment import contact_sheet as contact_sheet
    from training.class_overlap import conformal_sets as conformal_sets
    from training.compare import Comparison as Comparison
    from training.compare import compare_versions as compare_versions
    from training.crossval import assign_folds as assign_folds
    from training.crossval import out_of_fold as out_of_fold
    from training.evaluate import compare_pairs as compare_pairs
    from training.evaluate import metrics as metrics
    from training.evaluate import predictions_table as predictions_table
    from training.evaluate import side_by_side as side_by_side
    from training.evaluate import standard_views as standard_views
    from training.explain import grad_cam as grad_cam
    from training.explain import occlusion_maps as occlusion_maps
    from training.fairness import by_group as by_group
    from training.fairness import group_estimates as group_estimates
    from training.fit import FitResult as FitResult
    from training.fit import fit as fit
    from training.ladder import Budget as Budget
    from training.ladder import run_ladder as run_ladder
    from training.model import Model as Model
    from training.model import export_onnx as export_onnx
    from training.model import load_model as load_model
    from training.model import model_card as model_card
    from training.model import predict_files as predict_files
    from training.outside import OutsideModel as OutsideModel
    from training.outside import open_model as open_model
    from training.recipes import Recipe as Recipe
    from training.recipes import all_recipes as all_recipes
    from training.recipes import recipe as recipe
    from training.robustness import by_challenge as by_challenge
    from training.robustness import by_covariate as by_covariate
    from training.robustness import covariates as covariates
    from training.robustness import curves as curves

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
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Return a public name from the module that it lives in."""
    if name not in _HOMES:
        raise AttributeError(f"module 'training' has no attribute {name!r}")
    return getattr(importlib.import_module(f"training.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """Return the public names, so that completion knows them."""
    return __all__
