"""Models on versions: the frames that training takes, and where its runs, predictions and figures are kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from curation import manifest, tables, workspace
from curation.errors import CurationError
from curation.progress import Display
from curation.workspace import Workspace

T = TypeVar("T")

_HASH_DIGITS = 8
"""Digits of a manifest's hash in a run's name."""

_SPLITS = ("validation", "test")

_SAID_IN_SECONDS = 120
"""Longer times are said in minutes."""


class ModelError(CurationError):
    """A model cannot be trained, found or used."""


@dataclass(frozen=True)
class FitOptions:
    """What a fit may be told beyond its recipe; None leaves the recipe's own."""

    seed: int = 0
    weights: str | None = None
    threads: int | None = None
    epochs: int | None = None
    image_size: int | None = None
    images: int | None = None


@dataclass(frozen=True)
class OutOfFold:
    """Out-of-fold probabilities of a version's kept images.

    Attributes:
        path: of the predictions table in the workspace.
        classes: names of the probability columns.
        table: path (the manifest's), one probability a class, fold, model, label, split.

    """

    path: Path
    classes: list[str]
    table: pd.DataFrame

    def metrics(self) -> pd.DataFrame:
        """Return every metric against the version's labels, with 95 % intervals (``training.evaluate.metrics``)."""
        from training.evaluate import metrics

        place = {name: number for number, name in enumerate(self.classes)}
        labels = self.table["label"].map(place).to_numpy(dtype=np.int64)
        return _asked(lambda: metrics(labels, self.table[self.classes].to_numpy(dtype=np.float64), self.classes))


def training_frame(space: Workspace, version: manifest.Version) -> pd.DataFrame:
    """Return a version's kept rows as training takes them; unreadable files of a raw version are left out.

    Returns:
        columns key (the manifest's path), path (absolute, of the file), label, split, weight, soft_label, group (of
        copies; "" for none).

    Raises:
        ModelError: the images are not files on this machine.

    """
    rows = manifest.rows(space, version)
    issues = tables.checked("issues", workspace.read_table(space.issues))
    unreadable = issues.loc[(issues["check"] == "unreadable") & issues["is_issue"], "path"]
    rows = rows[~rows["path"].isin(unreadable)]
    urls = workspace.read_table(space.listing).set_index("path")["url"]
    frame = rows[rows["status"] == "kept"].rename(columns={"path": "key"})
    frame["path"] = frame["key"].map(urls)
    lost = frame["path"].isna() | frame["path"].fillna("").str.contains("://", regex=False)
    if lost.any():
        key = frame.loc[lost, "key"].iloc[0]
        raise ModelError(f"{key} is no file on this machine; export the version as a folder and curate that")
    frame["group"] = frame["key"].map(_copy_groups(issues)).fillna("")
    return frame[["key", "path", "label", "split", "weight", "soft_label", "group"]].reset_index(drop=True)


def _copy_groups(issues: pd.DataFrame) -> dict[str, str]:
    """Return path -> group of exact and near copies, as the checks found them."""
    copies = issues[issues["is_issue"] & (issues["group"] != "")]
    groups: dict[str, str] = {}
    # a near group holds all exact copies of its members, so it comes last and wins
    for check in ("exact_duplicate", "near_duplicate"):
        mine = copies[copies["check"] == check]
        groups |= dict(zip(mine["path"], mine["group"], strict=True))
    return groups


def train(space: Workspace, recipe_name: str, version_name: str, options: FitOptions, display: Display) -> Path:
    """Fit a recipe on a version's train split, watching its validation split; return the run's folder.

    A finished run of the same data and settings is returned as it is, an unfinished one resumed.
    """
    from training.fit import fit
    from training.ladder import budgeted
    from training.recipes import recipe, within_budget

    version = manifest.find(space, version_name)
    chosen = within_budget(_asked(lambda: recipe(recipe_name)), options.epochs, options.image_size)
    frame = training_frame(space, version)
    used = budgeted(frame[frame["split"].isin(["train", "validation"])], options.images, options.seed)
    run_dir = space.models / _run_name(recipe_name, version, options)
    provenance = {"data": version.name, "manifest_hash": version.hash}
    alone = workspace.locked_folder(run_dir, "it is training this very run: wait for it")
    with alone, display.step(f"Training {recipe_name}", "steps") as report:
        _asked(
            lambda: fit(
                used,
                Path(),
                chosen,
                run_dir,
                seed=options.seed,
                weights=options.weights,
                threads=options.threads,
                provenance=provenance,
                report=report,
            )
        )
    return run_dir


def out_of_fold(
    space: Workspace,
    recipe_name: str,
    version_name: str,
    options: FitOptions,
    display: Display,
    *,
    folds: int | None = None,
    workers: int = 1,
) -> OutOfFold:
    """Judge each kept image of a version by a model that has seen neither it nor a copy of it.

    Exact and near copies, as the checks found them, stay in one fold. Finished folds of the same data and settings
    are read, an unfinished one goes on where it stopped. The table is kept in the workspace.

    Args:
        space: with a curated data set.
        recipe_name: fitted once a fold; ``fast`` and ``thorough`` are made for this.
        version_name: ``raw`` for every readable image.
        options: of each fit; ``images`` draws so many by split and class.
        display: shows an estimate of the time before the first fit, and progress.
        folds: number of models, at least 2; None for the default.
        workers: folds fitted at once, each in a process of its own.

    Raises:
        ModelError: no such recipe, its weights cannot be had, or a class has fewer images than there are folds.

    """
    from training.crossval import DEFAULT_FOLDS, out_of_fold
    from training.ladder import budgeted
    from training.recipes import recipe, within_budget

    version = manifest.find(space, version_name)
    chosen = within_budget(_asked(lambda: recipe(recipe_name)), options.epochs, options.image_size)
    frame = budgeted(training_frame(space, version), options.images, options.seed).reset_index(drop=True)
    if frame.empty:
        raise ModelError(f"the version {version.name} has no kept image to judge")
    number = folds or DEFAULT_FOLDS
    alone = workspace.locked_folder(space.folds, "it is cross-validating: wait for it")
    with alone, display.step(f"Cross-validating {recipe_name}", "steps") as report:
        table = _asked(
            lambda: out_of_fold(
                frame,
                Path(),
                chosen,
                space.folds,
                key=version.hash,
                folds=number,
                seed=options.seed,
                weights=options.weights,
                threads=options.threads,
                workers=workers,
                report=report,
                expect=lambda seconds: display.note(f"About {_duration(seconds)} of fitting on this machine."),
            )
        )
    classes = [column for column in table.columns if column not in ("path", "fold", "model")]
    table["path"] = frame["key"]
    name = "_".join(["oof", _run_name(recipe_name, version, options), f"k{number}"])
    path = space.predictions / f"{name}.parquet"
    workspace.write_table(path, table)
    return OutOfFold(path, classes, table.assign(label=frame["label"], split=frame["split"]))


def _duration(seconds: float) -> str:
    """Return a length of time as people say it."""
    return f"{seconds:.0f} s" if seconds < _SAID_IN_SECONDS else f"{seconds / 60:.0f} minutes"


def _run_name(recipe_name: str, version: manifest.Version, options: FitOptions) -> str:
    cuts = [
        f"{name}{value}"
        for name, value in (("e", options.epochs), ("px", options.image_size), ("n", options.images))
        if value is not None
    ]
    parts = [recipe_name.replace("/", "-"), version.hash[:_HASH_DIGITS], f"seed{options.seed}", *cuts]
    return "_".join(parts)


def _asked(call: Callable[[], T]) -> T:
    """Run a call into training, whose own errors are sentences for the user too."""
    from training.backbones import WeightsError
    from training.data import DataError
    from training.evaluate import EvaluationError
    from training.fit import FitError
    from training.model import ExportError
    from training.recipes import UnknownRecipeError

    try:
        return call()
    except (WeightsError, DataError, EvaluationError, ExportError, FitError, UnknownRecipeError) as error:
        raise ModelError(str(error)) from error


def find_run(space: Workspace, name: str) -> Path:
    """Return the folder of a finished run, by name, by the beginning of its name, or by path.

    Raises:
        ModelError: there is none, or several.

    """
    direct = Path(name)
    if (direct / "config.json").exists():
        return direct
    runs = sorted(path.parent for path in space.models.glob("*/model.safetensors"))
    fitting = [run for run in runs if run.name == name] or [run for run in runs if run.name.startswith(name)]
    if len(fitting) == 1:
        return fitting[0]
    offered = ", ".join(run.name for run in (fitting or runs)) or "none yet: run curate train RECIPE"
    raise ModelError(f"{'several models begin' if fitting else 'no model begins'} with {name!r}; there are: {offered}")


def evaluate(space: Workspace, model_name: str, version_name: str, display: Display) -> pd.DataFrame:
    """Evaluate a model on validation and test: as given, without copies of train images, and on a cleaned version.

    Writes the predictions table and the figures beside the model's run.

    Returns:
        columns split, view, images, metric, class, estimate, low, high (95 % intervals).

    """
    from training.evaluate import side_by_side, standard_views
    from training.model import load_model, predict_files

    run_dir = find_run(space, model_name)
    model = load_model(run_dir)
    frame = training_frame(space, manifest.find(space, "raw"))
    cleaned = training_frame(space, manifest.find(space, version_name)).assign(path=lambda f: f["key"])
    judged = frame[frame["split"].isin(_SPLITS)].reset_index(drop=True)
    if judged.empty:
        raise ModelError(f"{space.root} has no validation or test split to evaluate on")
    with display.step("Predicting"):
        predicted = _asked(lambda: predict_files(model, [Path(path) for path in judged["path"]], run_dir.name))
    probabilities = predicted[list(model.classes)].to_numpy(dtype=np.float64)
    _write_predictions(space, run_dir.name, judged, predicted)
    labels = judged["label"].map({name: place for place, name in enumerate(model.classes)})
    if labels.isna().any():
        raise ModelError(
            f"the model knows {', '.join(model.classes)}, not {judged.loc[labels.isna(), 'label'].iloc[0]}"
        )
    everything = frame.assign(path=frame["key"])
    parts = []
    for split in _SPLITS:
        views = standard_views(everything, split, cleaned)
        masks = {name: mask[frame["split"].isin(_SPLITS).to_numpy()] for name, mask in views.items()}
        if any(mask.any() for mask in masks.values()):
            table = side_by_side(labels.to_numpy(dtype=np.int64), probabilities, model.classes, masks)
            parts.append(table.assign(split=split))
    result = pd.concat(parts, ignore_index=True)
    result = result[["split", "view", "images", "metric", "class", "estimate", "low", "high"]]
    workspace.write_bytes(run_dir / "evaluation.csv", result.to_csv(index=False).encode("utf-8"))
    return result


def _write_predictions(space: Workspace, name: str, judged: pd.DataFrame, predicted: pd.DataFrame) -> None:
    workspace.write_table(space.predictions / f"{name}.parquet", predicted.assign(path=judged["key"].to_numpy()))


def headline(evaluation: pd.DataFrame) -> pd.DataFrame:
    """Return an evaluation's accuracy with its interval, macro F1 and F1 by class, one row a split and view."""
    keys = ["split", "view", "images"]
    chosen = evaluation[evaluation["metric"].isin(["accuracy", "macro_f1", "f1"])].copy()
    chosen["what"] = (chosen["metric"] + " " + chosen["class"]).str.strip()
    table = chosen.pivot_table(index=keys, columns="what", values="estimate", sort=False).reset_index()
    accuracy = chosen[chosen["metric"] == "accuracy"].set_index(keys)
    interval = [f"{low:.3f} to {high:.3f}" for low, high in accuracy[["low", "high"]].to_numpy()]
    table.insert(table.columns.get_loc("accuracy") + 1, "95 %", interval)
    return table.rename_axis(columns=None)


def ladder_summary(result: pd.DataFrame) -> pd.DataFrame:
    """Return a ladder's columns that fit a terminal; ``ladder.csv`` has all of them."""
    columns = [
        "recipe",
        "train_images",
        "epochs",
        "seconds",
        "train_accuracy",
        "validation_accuracy",
        "macro_f1",
        "note",
    ]
    shown = result.reindex(columns=columns)
    return shown if shown["note"].any() else shown.drop(columns="note")


def ladder(
    space: Workspace, names: Sequence[str], version_name: str, options: FitOptions, display: Display
) -> pd.DataFrame:
    """Fit several recipes under one budget and return what the deck's charts show; finished ones are not run again."""
    from training.ladder import Budget, run_ladder
    from training.recipes import recipe

    version = manifest.find(space, version_name)
    recipes = _asked(lambda: [recipe(name) for name in names])
    budget = Budget(images=options.images, epochs=options.epochs, image_size=options.image_size)
    out_dir = space.models / f"ladder_{version.hash[:_HASH_DIGITS]}_seed{options.seed}"
    with display.step("Climbing the ladder", "steps") as report:
        result = _asked(
            lambda: run_ladder(
                training_frame(space, version),
                Path(),
                recipes,
                out_dir,
                budget=budget,
                seed=options.seed,
                weights=options.weights,
                threads=options.threads,
                announce=lambda _name, done, total: report(done, total),
            )
        )
    workspace.write_bytes(out_dir / "ladder.csv", result.to_csv(index=False).encode("utf-8"))
    return result


def recipe_table() -> pd.DataFrame:
    """Return every recipe, one row each, for ``curate ladder --list``."""
    from training.recipes import all_recipes

    columns = ("name", "augmentation", "learning_rate", "blocks_trained", "batch_size", "extra_dense", "class_weights")
    rows: list[dict[str, Any]] = []
    for chosen in all_recipes():
        plain = chosen.as_dict()
        shown = {column: plain[column] for column in (*columns, "image_size", "epochs")}
        rows.append({**shown, "learning_rate": f"{shown['learning_rate']:g}"})
    return pd.DataFrame(rows)


def predict(space: Workspace, model_name: str, images: Sequence[str]) -> pd.DataFrame:
    """Return a model's probabilities for image files, with the likeliest class.

    Raises:
        ModelError: no such model, or an image cannot be read.

    """
    from training.model import load_model, predict_files

    run_dir = find_run(space, model_name)
    model = load_model(run_dir)
    table = _asked(lambda: predict_files(model, [Path(image) for image in images], run_dir.name))
    likeliest = table[list(model.classes)].to_numpy().argmax(axis=1)
    table.insert(1, "predicted", [model.classes[place] for place in likeliest])
    return table.drop(columns=["fold", "model"])


def hand_over(space: Workspace, model_name: str, destination: Path) -> list[str]:
    """Export a model to ONNX, checked against torch, with its card beside it, and say what was written."""
    from training.model import export_onnx, load_model, model_card

    run_dir = find_run(space, model_name)
    evaluation = run_dir / "evaluation.csv"
    if not evaluation.exists():
        raise ModelError(f"{run_dir.name} has not been evaluated; run: curate evaluate {run_dir.name}")
    destination.parent.mkdir(parents=True, exist_ok=True)
    difference = _asked(lambda: export_onnx(load_model(run_dir), destination))
    card = destination.with_suffix(".md")
    figures = pd.read_csv(evaluation, converters={"class": str}).assign(view=lambda f: f["split"] + ", " + f["view"])
    workspace.write_bytes(card, model_card(run_dir, figures).encode("utf-8"))
    classes = json.loads((run_dir / "config.json").read_text(encoding="utf-8"))["classes"]
    return [
        f"{destination}: classes {', '.join(classes)}; largest difference of a logit from torch {difference:.1e}.",
        f"{card}: its card.",
    ]
