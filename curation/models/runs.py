"""Models on versions: frames for training, and where runs, predictions and figures are stored."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd

from curation.base import files, memory
from curation.base.destinations import Destinations
from curation.base.errors import CurationError
from curation.base.files import locked_folder, write_bytes, write_table
from curation.base.issues import read_issues
from curation.base.progress import Display
from curation.base.tables import facts
from curation.base.workspace import Workspace, read_images, read_listing
from curation.decisions import manifest
from curation.decisions.division import together

if TYPE_CHECKING:
    from training.recipes import Recipe

T = TypeVar("T")

EVALUATION = "evaluation.csv"
"""File in a run's folder: the figures of ``curate evaluate``, one per row."""

_HASH_DIGITS = 8
"""Digits of a manifest's hash in a run's name."""

_SHEET_IMAGES_A_CLASS = 2
"""Images of each class on the augmentation sheet."""

_SHEET_SIDE = 96
"""Largest side of its tiles, in pixels."""

_SAID_IN_SECONDS = 120
"""Longer times are given in minutes."""


class ModelError(CurationError):
    """A model cannot be trained, found or used."""


@dataclass(frozen=True)
class FitOptions:
    """Options of a fit beyond its recipe; None keeps the recipe's value."""

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
        table: path (the manifest's), one probability per class, fold, model, label, split.

    """

    path: Path
    classes: list[str]
    table: pd.DataFrame

    def metrics(self) -> pd.DataFrame:
        """Return every metric against the version's labels, with 95 % intervals (``training.evaluate.metrics``)."""
        from training.evaluate import metrics

        place = {name: number for number, name in enumerate(self.classes)}
        labels = np.asarray(self.table["label"].map(place), np.int64)
        return translate_errors(
            lambda: metrics(labels, self.table[self.classes].to_numpy(dtype=np.float64), self.classes)
        )


def training_frame(workspace: Workspace, version: manifest.Version, copies: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return a version's kept, readable images with a label, as training takes them.

    Soft labels are restricted to the classes of these rows.

    Args:
        workspace: that was curated.
        version: of its manifest.
        copies: the readable images with their groups of copies (path, group, shot); None for those of the checks.

    Returns:
        columns key (the manifest's path), path (absolute, of the file), label, split, weight, soft_label, group (of
        copies; "" for none), kin (of copies and shots of one session; "" for none), subject ("" where unknown), sha256
        (of the file, verified when it is read).

    Raises:
        ModelError: the images are not files on this machine, or none has a label.

    """
    rows = manifest.rows(workspace, version)
    if copies is None:
        issues = read_issues(workspace)
        unreadable = issues.of("unreadable").query("is_issue")["path"]
        rows, groups = rows[~rows["path"].isin(unreadable)], copy_groups(issues.rows)
        people = issues.groups("subject_leak").set_index("path")["group"]
        people = people.str.removeprefix("subject-")
        found = rows["path"].isin(people.index)
        rows = rows.assign(subject=rows["subject"].mask(found, rows["path"].map(people.to_dict().get)))
        shots = session_pairs(issues.rows)
    else:
        rows = rows[rows["path"].isin(copies["path"])]
        groups = dict(zip(copies["path"], copies["group"], strict=True))
        shots = list(copies.loc[copies["shot"] != "", ["path", "shot"]].itertuples(index=False, name=None))
    urls = read_listing(workspace).set_index("path")["url"]
    kept = rows[rows["status"] == "kept"].rename(columns={"path": "key"})
    frame = kept[kept["label"] != ""].copy()
    if frame.empty and len(kept):
        raise ModelError(f"no kept image of the version {version.name} has a label; give labels and curate them again")
    frame["soft_label"] = _within(frame["soft_label"], set(frame["label"]))
    frame["path"] = frame["key"].map(urls)
    lost = frame["path"].isna() | frame["path"].fillna("").str.contains("://", regex=False)
    if lost.any():
        key = frame.loc[lost, "key"].iloc[0]
        raise ModelError(f"{key} is not a file on this machine; export the version as a folder and curate that")
    frame["group"] = frame["key"].map(lambda key: groups.get(key, ""))
    frame = frame.reset_index(drop=True)
    frame["kin"] = kin_groups(frame, shots)
    return frame[["key", "path", "label", "split", "weight", "soft_label", "group", "kin", "subject", "sha256"]]


def _within(soft_labels: pd.Series, classes: set[str]) -> list[str]:
    """Return soft labels without classes that no image is labelled with, as votes may name more classes."""
    kept = []
    for text in soft_labels:
        shares = {name: share for name, share in json.loads(text).items() if name in classes} if text else {}
        kept.append(json.dumps(shares, sort_keys=True, ensure_ascii=False) if sum(shares.values()) > 0 else "")
    return kept


def copy_groups(issues: pd.DataFrame) -> dict[str, str]:
    """Return path -> group of exact and near copies, as the checks found them."""
    copies = issues.loc[issues["is_issue"] & (issues["group"] != ""), ["path", "check", "group"]]
    groups: dict[str, str] = {}
    # a near group holds all exact copies of its members, so it takes precedence
    for check in ("exact_duplicate", "near_duplicate"):
        mine = copies[copies["check"] == check]
        groups |= dict(zip(mine["path"], mine["group"], strict=True))
    return groups


def session_pairs(issues: pd.DataFrame) -> list[tuple[str, str]]:
    """Return pairs of images of one session that are not copies, as the checks found them."""
    near = issues[
        (issues["check"] == "near_duplicate") & issues["evidence"].str.contains('"same_session"', regex=False)
    ]
    others = [fact.get("same_session") for fact in facts(near["evidence"])]
    named = [
        (path, other if isinstance(other, list) else [other]) for path, other in zip(near["path"], others, strict=True)
    ]
    return [(path, one) for path, several in named for one in several if isinstance(one, str)]


def kin_groups(frame: pd.DataFrame, shots: Sequence[tuple[str, str]]) -> list[str]:
    """Return a name for each set of images in one fold, copies and shots of one session; "" for an image alone.

    All shots of a session share a wrong label: a model that has learned it from one confirms it in the others. A set of
    more than a twentieth of the images is not taken for a session: there, only copies stay together.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    place = {key: row for row, key in enumerate(frame["key"])}
    first = frame[frame["group"] != ""].groupby("group", sort=False)["key"].transform("first")
    links = [*shots, *zip(frame.loc[first.index, "key"], first, strict=True)]
    edges = np.array([(place[a], place[b]) for a, b in links if a in place and b in place], np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(len(frame), len(frame)))
    number = connected_components(graph, directed=False)[1]
    size = np.bincount(number)[number]
    is_session = (size > 1) & (size <= max(len(frame) / _LARGEST_KIN, 2))
    names = np.where(is_session, [f"kin-{one}" for one in number], frame["group"].to_numpy(dtype=object))
    return [str(name) for name in names]


_LARGEST_KIN = 20
"""Shots of one session are at most one image in this many."""


def train(workspace: Workspace, recipe_name: str, version_name: str, options: FitOptions, display: Display) -> Path:
    """Fit a recipe on a version's train split, monitored on its validation split; return the run's folder.

    A finished run of the same data and settings is returned as it is, an unfinished one is resumed.
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


def require_recipe(name: str) -> None:
    """Raise ModelError if no recipe has this name, before any work."""
    from training.recipes import recipe

    translate_errors(lambda: recipe(name))


def out_of_fold(
    workspace: Workspace,
    recipe_name: str,
    version_name: str,
    options: FitOptions,
    display: Display,
    *,
    folds: int | None = None,
    workers: int = 1,
    frame: pd.DataFrame | None = None,
    by_subject: bool = False,
) -> OutOfFold:
    """Predict each kept image of a version by a model that has seen neither it nor a copy of it.

    Copies and shots of one session stay in one fold; with ``by_subject`` all images of a person do too. Finished folds
    of the same data and settings are reused, an unfinished one is resumed. The table is stored in the workspace.

    Args:
        workspace: with a curated data set.
        recipe_name: fitted once per fold; ``fast`` and ``thorough`` are made for this.
        version_name: ``raw`` for every readable image.
        options: of each fit; ``images`` limits their number, drawn by split and class.
        display: shows an estimate of the time, and progress.
        folds: number of models, at least 2; None for the default.
        workers: folds fitted in parallel, each in its own process.
        frame: rows of ``training_frame`` to predict; None for all of them.
        by_subject: whether the model that predicts a person's images has seen none of them.

    Raises:
        ModelError: no such recipe, its weights are not available, a class has fewer images than there are folds, or
            ``by_subject`` is set and no person is known.

    """
    from training.crossval import DEFAULT_FOLDS, out_of_fold
    from training.ladder import budgeted
    from training.recipes import recipe, within_budget

    version = manifest.find(workspace, version_name)
    chosen = within_budget(translate_errors(lambda: recipe(recipe_name)), options.epochs, options.image_size)
    frame = training_frame(workspace, version) if frame is None else frame
    frame = budgeted(frame, options.images, options.seed).reset_index(drop=True)
    if frame.empty:
        raise ModelError(f"the version {version.name} has no kept image with a label")
    frame["group"] = _with_people(frame) if by_subject else frame["kin"]
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
    table = table.assign(path=frame["key"], sha256=frame["sha256"])
    parts = ["oof", _run_name(chosen, version, options), f"k{number}", *(["people"] if by_subject else [])]
    name = "_".join(parts)
    path = workspace.predictions / f"{name}.parquet"
    write_table(path, table)
    return OutOfFold(path, classes, table.assign(label=frame["label"], split=frame["split"]))


def of_present_contents(workspace: Workspace, predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a predictions table whose images have not changed since."""
    if not {"path", "sha256"} <= set(predictions.columns):
        return predictions.head(0)
    now = predictions["path"].map(read_images(workspace).set_index("path")["sha256"])
    return predictions[(predictions["sha256"] == now).to_numpy()]


def _with_people(frame: pd.DataFrame) -> pd.Series:
    """Return groups that join copies and the images of one person; ModelError if no person is known."""
    if not (frame["subject"] != "").any():
        raise ModelError("no person is known; run: curate check subject_leak --identity dlib")
    named = [frame.loc[frame[name] != "", ["key", name]].set_axis(["path", "group"], axis=1) for name in _GROUPED]
    return together(frame["key"], named).astype(str)


_GROUPED = ("kin", "subject")


def _duration(seconds: float) -> str:
    """Return a duration in words."""
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
    """Return the part of a run's name for its starting weights, [] for the backbone's default."""
    if options.weights is None:
        return []
    from training.backbones import weights_identity

    name, _, digest = translate_errors(lambda: weights_identity(str(options.weights))).partition(" sha256:")
    return [f"{Path(name).stem}-{digest[:_HASH_DIGITS]}" if digest else name]


def translate_errors(call: Callable[[], T]) -> T:
    """Run a call into training and turn its errors, which are sentences for the user, into ModelError."""
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
    """Return the folder of a finished run, by name, by a prefix of its name, or by path.

    Names of a ladder's runs begin with the ladder's folder.

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
    """The result of a ladder (``training.ladder.run_ladder``), its budget in words, and the page with charts."""

    result: pd.DataFrame
    budget: str
    page: Path

    def summary(self) -> pd.DataFrame:
        """Return the recipes that were run, with columns for a terminal; ``ladder.csv`` has all of them."""
        columns = ["recipe", "train_images", "epochs", "seconds", "train_accuracy", "validation_accuracy", "macro_f1"]
        shown = self.result.loc[self.result["note"] == ""].reindex(columns=columns)
        return shown.astype({"epochs": "int64"}).reset_index(drop=True)

    def lines(self) -> list[str]:
        """Return the budget, what was not run and why, and the path of the charts."""
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
        names: of recipes; a backbone alone stands for its twelve versions.
        version_name: the data.
        options: the budget (images, epochs, image_size), seed, weights and threads.
        display: progress.

    """
    from training.ladder import Budget, run_ladder
    from training.recipes import rungs

    version = manifest.find(workspace, version_name)
    recipes = translate_errors(lambda: [each for name in names for each in rungs(name)])
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

    Each row shows an image on the left and its augmented versions beside it.
    """
    from reports import captioned_png
    from training.augment import LEVELS, contact_sheet
    from training.data import digests_of, load_images
    from training.recipes import own_recipes

    version = manifest.find(workspace, version_name)
    frame = training_frame(workspace, version)
    train = frame[frame["split"] == "train"]
    if train.empty:
        raise ModelError(f"the version {version.name} has no train split to draw from")
    shown = train.sample(frac=1, random_state=seed).groupby("label", sort=True).head(_SHEET_IMAGES_A_CLASS)
    shown = shown.sort_values("label", kind="stable")
    images = translate_errors(lambda: load_images([*map(Path, shown["path"])], _SHEET_SIDE, digests_of(shown)))
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

    columns = ("learning_rate", "blocks_trained", "batch_size", "extra_dense", "class_weights", "image_size", "epochs")
    rows: list[dict[str, Any]] = []
    for chosen in all_recipes():
        backbones = " + ".join(part.backbone for part in chosen.parts())
        shown = {"name": chosen.name, "backbone": backbones, "augmentation": chosen.augmentation}
        shown |= {column: getattr(chosen, column) for column in columns}
        rows.append({**shown, "learning_rate": f"{chosen.learning_rate:g}"})
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
    """Return the figures of ``curate evaluate`` for a card; ``view`` combines split and view.

    Raises:
        ModelError: the file is absent or damaged.

    """
    from training.files import read_csv

    path, to_do = run_dir / EVALUATION, f"run: curate evaluate {run_dir.name}"
    numbers, texts = ("images", "estimate", "low", "high"), ("split", "view", "metric", "class")
    figures = translate_errors(lambda: read_csv(path, numbers, texts, to_do))
    return figures.assign(view=figures["split"] + ", " + figures["view"], images=figures["images"].astype("int64"))


def export_model(workspace: Workspace, model_name: str, destination: Path, *, force: bool = False) -> list[str]:
    """Export a model to ONNX, verified against torch, with its card; return sentences on what was written.

    Raises:
        ModelError: no such model, or it has not been evaluated.
        DestinationError: one of the two files may not be written there.

    """
    from training.model import export_onnx, load_model, model_card, read_config

    run_dir, card = find_run(workspace, model_name), destination.with_suffix(".md")
    if not (run_dir / EVALUATION).exists():
        raise ModelError(f"{run_dir.name} has not been evaluated; run: curate evaluate {run_dir.name}")
    if card == destination:
        raise ModelError(f"{destination} is the file of the model's card; name a file that ends in .onnx")
    gate = Destinations(workspace, force)
    text = translate_errors(lambda: model_card(run_dir, evaluated(run_dir)))
    for path in (destination, card):
        gate.allow(path)
    with files.unfinished_folder(destination) as building:
        difference = translate_errors(lambda: export_onnx(load_model(run_dir), building / destination.name))
        parts = sorted(building.iterdir())  # a large model has its weights in a second file
        for made in parts:
            gate.allow(destination.with_name(made.name))
        for made in parts:
            gate.put(made, destination.with_name(made.name))
    gate.write({card: text.encode("utf-8")})
    classes = translate_errors(lambda: read_config(run_dir))["classes"]
    return [
        f"{destination}: classes {', '.join(classes)}; largest difference of a logit from torch {difference:.1e}.",
        f"{card}: its card.",
    ]
