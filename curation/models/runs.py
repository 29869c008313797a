"""Models on versions: the frames that training takes, and where its runs, predictions and figures are kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd

from curation.base import memory
from curation.base.errors import CurationError
from curation.base.files import locked_folder, write_bytes, write_table
from curation.base.progress import Display
from curation.base.workspace import Workspace, read_issues, read_listing
from curation.decisions import manifest
from curation.decisions.division import together

if TYPE_CHECKING:
    from training.recipes import Recipe

T = TypeVar("T")

EVALUATION = "evaluation.csv"
"""In a run's folder: what ``curate evaluate`` found, one row a figure."""

_HASH_DIGITS = 8
"""Digits of a manifest's hash in a run's name."""

_SHEET_IMAGES_A_CLASS = 2
"""Rows of the augmentation sheet."""

_SHEET_SIDE = 96
"""Largest side of its tiles, pixels."""

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
    device: str | None = None


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
        return translate_errors(
            lambda: metrics(labels, self.table[self.classes].to_numpy(dtype=np.float64), self.classes)
        )


def training_frame(workspace: Workspace, version: manifest.Version) -> pd.DataFrame:
    """Return a version's kept rows as training takes them; unreadable files of a raw version are left out.

    Returns:
        columns key (the manifest's path), path (absolute, of the file), label, split, weight, soft_label, group (of
        copies; "" for none), subject (the person, given or found; "" where unknown).

    Raises:
        ModelError: the images are not files on this machine.

    """
    rows = manifest.rows(workspace, version)
    issues = read_issues(workspace)
    unreadable = issues.loc[(issues["check"] == "unreadable") & issues["is_issue"], "path"]
    rows = rows[~rows["path"].isin(unreadable)]
    urls = read_listing(workspace).set_index("path")["url"]
    frame = rows[rows["status"] == "kept"].rename(columns={"path": "key"})
    frame["path"] = frame["key"].map(urls)
    lost = frame["path"].isna() | frame["path"].fillna("").str.contains("://", regex=False)
    if lost.any():
        key = frame.loc[lost, "key"].iloc[0]
        raise ModelError(f"{key} is no file on this machine; export the version as a folder and curate that")
    groups = _copy_groups(issues)
    frame["group"] = frame["key"].map(lambda key: groups.get(key, ""))
    people = issues[(issues["check"] == "subject_leak") & (issues["group"] != "")].set_index("path")["group"]
    frame["subject"] = frame["key"].map(people).fillna(frame["subject"])
    return frame[["key", "path", "label", "split", "weight", "soft_label", "group", "subject"]].reset_index(drop=True)


def _copy_groups(issues: pd.DataFrame) -> dict[str, str]:
    """Return path -> group of exact and near copies, as the checks found them."""
    copies = issues[issues["is_issue"] & (issues["group"] != "")]
    groups: dict[str, str] = {}
    # a near group holds all exact copies of its members, so it comes last and wins
    for check in ("exact_duplicate", "near_duplicate"):
        mine = copies[copies["check"] == check]
        groups |= dict(zip(mine["path"], mine["group"], strict=True))
    return groups


def train(workspace: Workspace, recipe_name: str, version_name: str, options: FitOptions, display: Display) -> Path:
    """Fit a recipe on a version's train split, watching its validation split; return the run's folder.

    A finished run of the same data and settings is returned as it is, an unfinished one resumed.
    """
    from training.fit import fit
    from training.ladder import budgeted
    from training.recipes import recipe, within_budget

    version = manifest.find(workspace, version_name)
    chosen = within_budget(translate_errors(lambda: recipe(recipe_name)), options.epochs, options.image_size)
    frame = training_frame(workspace, version)
    used = budgeted(frame[frame["split"].isin(["train", "validation"])], options.images, options.seed)
    run_dir = workspace.models / _run_name(chosen, version, options)
    provenance = {"data": version.name, "manifest_hash": version.hash}
    alone = locked_folder(run_dir, "it is training this very run: wait for it")
    with alone, display.step(f"Training {recipe_name}", "steps") as report:
        translate_errors(
            lambda: fit(
                used,
                Path(),
                chosen,
                run_dir,
                seed=options.seed,
                weights=options.weights,
                threads=options.threads,
                device=options.device,
                provenance=provenance,
                report=report,
            )
        )
    return run_dir


def out_of_fold(
    workspace: Workspace,
    recipe_name: str,
    version_name: str,
    options: FitOptions,
    display: Display,
    *,
    folds: int | None = None,
    workers: int = 1,
    by_subject: bool = False,
) -> OutOfFold:
    """Judge each kept image of a version by a model that has seen neither it nor a copy of it.

    Exact and near copies, as the checks found them, stay in one fold; with ``by_subject`` the images of one person
    do. Finished folds of the same data and settings are read, an unfinished one goes on where it stopped. The table is
    kept in the workspace.

    Args:
        workspace: with a curated data set.
        recipe_name: fitted once a fold; ``fast`` and ``thorough`` are made for this.
        version_name: ``raw`` for every readable image.
        options: of each fit; ``images`` draws so many by split and class.
        display: shows an estimate of the time before the first fit, and progress.
        folds: number of models, at least 2; None for the default.
        workers: folds fitted at once, each in a process of its own.
        by_subject: whether all images of a person are judged by a model that has seen none of them.

    Raises:
        ModelError: no such recipe, its weights cannot be had, a class has fewer images than there are folds, or
            people are asked for and nobody is known.

    """
    from training.crossval import DEFAULT_FOLDS, out_of_fold
    from training.ladder import budgeted
    from training.recipes import recipe, within_budget

    version = manifest.find(workspace, version_name)
    chosen = within_budget(translate_errors(lambda: recipe(recipe_name)), options.epochs, options.image_size)
    frame = budgeted(training_frame(workspace, version), options.images, options.seed).reset_index(drop=True)
    if frame.empty:
        raise ModelError(f"the version {version.name} has no kept image to judge")
    if by_subject:
        frame["group"] = _with_people(frame)
    number = folds or DEFAULT_FOLDS
    alone = locked_folder(workspace.folds, "it is cross-validating: wait for it")
    with alone, display.step(f"Cross-validating {recipe_name}", "steps") as report:
        table = translate_errors(
            lambda: out_of_fold(
                frame,
                Path(),
                chosen,
                workspace.folds,
                key=version.hash,
                folds=number,
                seed=options.seed,
                weights=options.weights,
                threads=options.threads,
                device=options.device,
                workers=workers,
                report=report,
                expect=lambda seconds: display.note(f"About {_duration(seconds)} of fitting on this machine."),
            )
        )
    classes = [column for column in table.columns if column not in ("path", "fold", "model")]
    table["path"] = frame["key"]
    parts = ["oof", _run_name(chosen, version, options), f"k{number}", *(["people"] if by_subject else [])]
    name = "_".join(parts)
    path = workspace.predictions / f"{name}.parquet"
    write_table(path, table)
    return OutOfFold(path, classes, table.assign(label=frame["label"], split=frame["split"]))


def _with_people(frame: pd.DataFrame) -> pd.Series:
    """Return groups in which copies and the images of one person are together.

    Raises:
        ModelError: nobody is known.

    """
    if not (frame["subject"] != "").any():
        raise ModelError("nobody's person is known; run: curate check subject_leak --identity dlib")
    named = [frame.loc[frame[name] != "", ["key", name]].set_axis(["path", "group"], axis=1) for name in _GROUPED]
    return together(frame["key"], named).astype(str)


_GROUPED = ("group", "subject")


def _duration(seconds: float) -> str:
    """Return a length of time as people say it."""
    return f"{seconds:.0f} s" if seconds < _SAID_IN_SECONDS else f"{seconds / 60:.0f} minutes"


def _run_name(chosen: Recipe, version: manifest.Version, options: FitOptions) -> str:
    cuts = [
        f"{name}{value}"
        for name, value in (("e", options.epochs), ("px", options.image_size), ("n", options.images))
        if value is not None
    ]
    parts = [chosen.folder_name(), version.hash[:_HASH_DIGITS], f"seed{options.seed}", *cuts]
    return "_".join([*parts, *_start(options)])


def _start(options: FitOptions) -> list[str]:
    """Return the part of a run's name that says where its weights start, where it is not the backbone's own."""
    if options.weights is None:
        return []
    from training.backbones import weights_identity

    name, _, digest = translate_errors(lambda: weights_identity(str(options.weights))).partition(" sha256:")
    return [f"{Path(name).stem}-{digest[:_HASH_DIGITS]}" if digest else name]


def translate_errors(call: Callable[[], T]) -> T:
    """Run a call into training, whose own errors are sentences for the user too."""
    memory.require(memory.Needed.training)
    from training.backbones import WeightsError
    from training.data import DataError
    from training.devices import DeviceError
    from training.evaluate import EvaluationError
    from training.fit import FitError
    from training.model import ExportError
    from training.recipes import UnknownRecipeError

    try:
        return call()
    except (WeightsError, DataError, DeviceError, EvaluationError, ExportError, FitError, UnknownRecipeError) as error:
        raise ModelError(str(error)) from error


def find_run(workspace: Workspace, name: str) -> Path:
    """Return the folder of a finished run, by name, by the beginning of its name, or by path.

    Runs of a ladder are named with the ladder's folder before them.

    Raises:
        ModelError: there is none, or several.

    """
    direct = Path(name)
    if (direct / "config.json").exists():
        return direct
    files = [*workspace.models.glob("*/model.safetensors"), *workspace.models.glob("ladder_*/*/model.safetensors")]
    runs = {path.parent.relative_to(workspace.models).as_posix(): path.parent for path in sorted(files)}
    fitting = [run for run in runs if run == name] or [run for run in runs if run.startswith(name)]
    if len(fitting) == 1:
        return runs[fitting[0]]
    offered = ", ".join(fitting or runs) or "none yet: run curate train RECIPE"
    raise ModelError(f"{'several models begin' if fitting else 'no model begins'} with {name!r}; there are: {offered}")


@dataclass(frozen=True)
class Ladder:
    """What a ladder found (``training.ladder.run_ladder``), its budget in words, and the page with its charts."""

    result: pd.DataFrame
    budget: str
    page: Path

    def summary(self) -> pd.DataFrame:
        """Return the columns that fit a terminal, of what was run; ``ladder.csv`` has all of them."""
        columns = ["recipe", "train_images", "epochs", "seconds", "train_accuracy", "validation_accuracy", "macro_f1"]
        shown = self.result.loc[self.result["note"] == ""].reindex(columns=columns)
        return shown.astype({"epochs": "int64"}).reset_index(drop=True)

    def lines(self) -> list[str]:
        """Say under which budget it ran, what was not run and why, and where the charts are."""
        notes = self.result[self.result["note"] != ""].groupby("note", sort=False)["recipe"].agg(", ".join)
        return [
            f"Budget: {self.budget}.",
            *(f"Not run: {recipes}: {note}." for note, recipes in notes.items()),
            f"Charts: {self.page}",
        ]


def ladder(
    workspace: Workspace, names: Sequence[str], version_name: str, options: FitOptions, display: Display
) -> Ladder:
    """Fit several recipes under one budget and chart them; finished ones are not run again.

    Args:
        workspace: with a curated data set.
        names: recipes; a backbone alone means its twelve versions.
        version_name: the data.
        options: the budget (images, epochs, image_size), seed, weights and threads.
        display: progress.

    """
    from training.ladder import Budget, run_ladder

    version = manifest.find(workspace, version_name)
    recipes = translate_errors(lambda: _rungs(names))
    budget = Budget(images=options.images, epochs=options.epochs, image_size=options.image_size)
    out_dir = workspace.models / "_".join(
        ["ladder", version.hash[:_HASH_DIGITS], f"seed{options.seed}", *_start(options)]
    )
    with display.step("Climbing the ladder", "steps") as report:
        result = translate_errors(
            lambda: run_ladder(
                training_frame(workspace, version),
                Path(),
                recipes,
                out_dir,
                budget=budget,
                seed=options.seed,
                weights=options.weights,
                threads=options.threads,
                device=options.device,
                announce=lambda _name, done, total: report(done, total),
            )
        )
    write_bytes(out_dir / "ladder.csv", result.to_csv(index=False).encode("utf-8"))
    page = workspace.reports / "ladder.html"
    write_bytes(page, _ladder_page(result, str(budget), version, options).encode("utf-8"))
    return Ladder(result, str(budget), page)


def _rungs(names: Sequence[str]) -> list[Recipe]:
    """Return the recipes of names: a backbone alone stands for its twelve versions, a file for all that it holds."""
    from training.recipes import rungs

    return [each for name in names for each in rungs(name)]


def _ladder_page(result: pd.DataFrame, budget: str, version: manifest.Version, options: FitOptions) -> str:
    from reports import LadderTables, ladder_page

    facts = [
        ("Version", f"{version.name} ({version.hash})"),
        ("Budget", budget),
        ("Seed", str(options.seed)),
        ("Starting weights", options.weights or "each backbone's own"),
    ]
    return ladder_page(LadderTables(result, budget, facts))


def augmentation_sheet(workspace: Workspace, version_name: str, seed: int = 0) -> Path:
    """Draw a contact sheet of every level of augmentation on some of a version's train images; return its file.

    Each row is an image, as it is on the left and augmented beside it.
    """
    from reports import captioned_png
    from training.augment import LEVELS, contact_sheet
    from training.data import load_images
    from training.recipes import own_recipes

    version = manifest.find(workspace, version_name)
    frame = training_frame(workspace, version)
    train = frame[frame["split"] == "train"]
    if train.empty:
        raise ModelError(f"the version {version.name} has no train split to draw from")
    shown = train.sample(frac=1, random_state=seed).groupby("label", sort=True).head(_SHEET_IMAGES_A_CLASS)
    files = [Path(path) for path in shown.sort_values("label", kind="stable")["path"]]
    images = translate_errors(lambda: load_images(files, _SHEET_SIDE))
    users = {level: sorted({each.name for each in own_recipes() if level == each.augmentation}) for level in LEVELS}
    sheets = {
        f"{level}" + (f" (recipes {', '.join(users[level])})" if users[level] else ""): contact_sheet(
            images, level, seed=seed
        )
        for level in LEVELS
    }
    path = workspace.reports / "augmentation.png"
    write_bytes(path, captioned_png(sheets))
    return path


def recipe_table() -> pd.DataFrame:
    """Return every recipe, one row each, for ``curate ladder --list``."""
    from training.recipes import all_recipes

    columns = (
        "name",
        "backbone",
        "augmentation",
        "learning_rate",
        "blocks_trained",
        "batch_size",
        "extra_dense",
        "class_weights",
    )
    rows: list[dict[str, Any]] = []
    for chosen in all_recipes():
        plain = chosen.as_dict()
        shown = {column: plain[column] for column in (*columns, "image_size", "epochs")}
        rows.append({**shown, "learning_rate": f"{shown['learning_rate']:g}"})
    return pd.DataFrame(rows)


def predict(workspace: Workspace, model_name: str, images: Sequence[str]) -> pd.DataFrame:
    """Return a model's probabilities for image files, with the likeliest class.

    Raises:
        ModelError: no such model, or an image cannot be read.

    """
    from training.devices import find_device
    from training.model import load_model, predict_files

    run_dir = find_run(workspace, model_name)
    model = translate_errors(lambda: load_model(run_dir).on(find_device()))
    table = translate_errors(lambda: predict_files(model, [Path(image) for image in images], run_dir.name))
    likeliest = table[list(model.classes)].to_numpy().argmax(axis=1)
    table.insert(1, "predicted", [model.classes[place] for place in likeliest])
    return table.drop(columns=["fold", "model"])


def evaluated(run_dir: Path) -> pd.DataFrame:
    """Return the figures of ``curate evaluate`` as cards show them: view is the split and the images judged."""
    figures = pd.read_csv(run_dir / EVALUATION)
    # an empty class means all of them; readers of CSV take it for a missing value
    return figures.assign(
        view=figures["split"] + ", " + figures["view"], **{"class": figures["class"].astype(object).fillna("")}
    )


def hand_over(workspace: Workspace, model_name: str, destination: Path) -> list[str]:
    """Export a model to ONNX, checked against torch, with its card beside it, and say what was written."""
    from training.model import export_onnx, load_model, model_card

    run_dir = find_run(workspace, model_name)
    if not (run_dir / EVALUATION).exists():
        raise ModelError(f"{run_dir.name} has not been evaluated; run: curate evaluate {run_dir.name}")
    destination.parent.mkdir(parents=True, exist_ok=True)
    difference = translate_errors(lambda: export_onnx(load_model(run_dir), destination))
    card = destination.with_suffix(".md")
    write_bytes(card, model_card(run_dir, evaluated(run_dir)).encode("utf-8"))
    classes = json.loads((run_dir / "config.json").read_text(encoding="utf-8"))["classes"]
    return [
        f"{destination}: classes {', '.join(classes)}; largest difference of a logit from torch {difference:.1e}.",
        f"{card}: its card.",
    ]
