"""Evaluate a trained model on a workspace's images: several views, another model, and confused images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from curation.base import files
from curation.base.arrays import Flags, Floats, Ints
from curation.base.destinations import Destinations
from curation.base.progress import Display
from curation.base.workspace import Workspace
from curation.decisions import manifest
from curation.models import verdict
from curation.models.runs import EVALUATION, ModelError, find_run, training_frame, translate_errors

_SPLITS = ("validation", "test")

_DECK_QUESTIONED = ("sad", "neutral")
"""Classes of the deck's four headings, "Actual sad?", "Actual neutral?", "Predicted sad?", "Predicted neutral?"."""

_GALLERY_IMAGES = 24
"""Most images under a heading."""

_THUMBNAIL_SIDE = 96
"""Side of the gallery's pictures, in pixels."""

_COLUMNS = ["split", "view", "images", "metric", "class"]


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of a model.

    Attributes:
        verdict: the main sentences: accuracy as given and on unseen faces, warnings, comparison with the other model.
        table: split, view, images, metric, class, estimate, low, high (95 % intervals).
        pairs: split, view, images, metric, class, other, model, difference, low, high, p_value (McNemar's test of
            accuracy); no rows without another model.
        predictions: file of the predictions table in the workspace.
        page: file of the report.

    """

    verdict: list[str]
    table: pd.DataFrame
    pairs: pd.DataFrame
    predictions: Path
    page: Path


@dataclass(frozen=True)
class _Scene:
    """The evaluated images (path, label, cleaned_label, split, file, sha256), and a mask per split and view."""

    frame: pd.DataFrame
    views: dict[str, dict[str, Flags]]
    version: manifest.Version

    def label_column(self, view: str) -> str:
        """Return the column of a view's labels: the cleaned version has its own."""
        return "cleaned_label" if view == "cleaned" else "label"


@dataclass(frozen=True)
class _Answers:
    """One model's probabilities, (n, classes), of the images of a scene."""

    name: str
    run_dir: Path
    classes: tuple[str, ...]
    probabilities: Floats


def evaluate(
    workspace: Workspace, model_name: str, version_name: str, display: Display, against: str = ""
) -> Evaluation:
    """Evaluate a model on validation and test: as given, without copies of train images, and on a cleaned version.

    If people are known, also without the people in train. Writes the predictions table, the figures in the model's
    run folder, and a page with galleries of confused images.

    Args:
        workspace: with a curated data set.
        model_name: as ``find_run`` takes it.
        version_name: the cleaned version of the third view, with its labels.
        display: progress.
        against: another model to compare with on the same images; "" for none.

    Raises:
        ModelError: no such model, no validation or test split, or models or data of other classes.

    """
    scene = _scene(workspace, version_name)
    answers = _answers(workspace, scene, model_name, display)
    other = _answers(workspace, scene, against, display) if against else None
    if other is not None and other.classes != answers.classes:
        raise ModelError(f"{other.name} knows {', '.join(other.classes)}, not {', '.join(answers.classes)}; retrain it")
    predictions = workspace.predictions / f"{answers.name}.parquet"
    files.write_table(predictions, _predictions(scene, answers))
    with display.step("Judging"):
        table = _each_view(scene, answers.classes, _metrics(answers))
        pairs = _each_view(scene, answers.classes, _paired(answers, other)) if other else pd.DataFrame(columns=_COLUMNS)
    figures, data = answers.run_dir / EVALUATION, table.to_csv(index=False).encode("utf-8")
    if figures.resolve().is_relative_to(workspace.models.resolve()):
        files.write_bytes(figures, data)
    else:  # a run outside the workspace
        Destinations(workspace).write({figures: data})
    sentences = verdict.accuracy_sentences(table, _leaks(scene, answers)) + verdict.warnings(table, _largest(scene))
    if other:
        sentences += verdict.pair_sentences(pairs, answers.name, other.name)
    page = workspace.reports / f"evaluation-{answers.name}.html"
    with display.step("Writing the page"):
        html = _page(scene, answers, sentences, table, pairs, other.name if other else "")
        files.write_bytes(page, html.encode("utf-8"))
    return Evaluation(sentences, table, pairs, predictions, page)


def _leaks(scene: _Scene, answers: _Answers) -> pd.DataFrame:
    """Return accuracy as given minus that of each view without images like those in train, with intervals."""
    from training.evaluate import view_difference

    called = np.asarray(answers.classes, dtype=object)[answers.probabilities.argmax(axis=1)]
    right = (scene.frame["label"].to_numpy() == called).astype(bool)
    rows = [
        (split, view, *view_difference(right, masks["as given"], mask))
        for split, masks in scene.views.items()
        for view, mask in masks.items()
        if view.startswith("without") and mask.any() and (mask != masks["as given"]).any()
    ]
    return pd.DataFrame(rows, columns=["split", "view", "difference", "low", "high"])


def _largest(scene: _Scene) -> dict[str, tuple[str, float]]:
    """Return each split's commonest class as given, and its share."""
    shares = {
        split: scene.frame.loc[masks["as given"], "label"].value_counts(normalize=True)
        for split, masks in scene.views.items()
    }
    return {split: (str(share.index[0]), float(share.iloc[0])) for split, share in shares.items() if len(share)}


def headline(evaluation: pd.DataFrame, number_format: str = ".3f") -> pd.DataFrame:
    """Return accuracy with its interval (in ``number_format``), macro F1 and F1 by class, a row per split and view."""
    keys = ["split", "view", "images"]
    chosen = evaluation[evaluation["metric"].isin(["accuracy", "macro_f1", "f1"])].copy()
    chosen["what"] = (chosen["metric"] + " " + chosen["class"]).str.strip()
    table = chosen.pivot_table(index=keys, columns="what", values="estimate", sort=False).reset_index()
    accuracy = chosen[chosen["metric"] == "accuracy"].set_index(keys)
    interval = [
        f"{low:{number_format}} to {high:{number_format}}" for low, high in accuracy[["low", "high"]].to_numpy()
    ]
    table.insert(list(table.columns).index("accuracy") + 1, "95 %", interval)
    return table.rename_axis(columns=None)


def differences(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a comparison for a terminal: accuracy and macro F1; the page has all of them."""
    chosen = pairs[pairs["metric"].isin(["accuracy", "macro_f1"])].reset_index(drop=True)
    interval = [f"{low:.3f} to {high:.3f}" for low, high in chosen[["low", "high"]].to_numpy()]
    p_value = ["" if np.isnan(value) else f"{value:.3g}" for value in chosen["p_value"]]
    table = chosen[["split", "view", "metric", "other", "model", "difference"]]
    return table.assign(**{"95 %": interval, "McNemar's p": p_value})


def _scene(workspace: Workspace, version_name: str) -> _Scene:
    """Return the images of validation and test as given, with the labels of the cleaned version too."""
    from training.evaluate import standard_views

    version = manifest.find(workspace, version_name)
    given = training_frame(workspace, manifest.find(workspace, "raw"))
    cleaned = training_frame(workspace, version)
    moved = manifest.rows(workspace, version).set_index("path")["split"]
    given["split"] = given["key"].map(moved).fillna(given["split"])  # models were trained on the splits after moves
    judged = given["split"].isin(_SPLITS).to_numpy()
    if not judged.any():
        raise ModelError(f"{workspace.root} has no validation or test split to evaluate on")
    everything, kept = (frame.drop(columns="path").rename(columns={"key": "path"}) for frame in (given, cleaned))
    views = {}
    for split in _SPLITS:
        masks = {name: mask[judged] for name, mask in standard_views(everything, split, kept).items()}
        if any(mask.any() for mask in masks.values()):
            views[split] = masks
    frame = given.loc[judged, ["key", "path", "label", "split", "sha256"]].reset_index(drop=True)
    frame = frame.rename(columns={"path": "file", "key": "path"})
    new = frame["path"].map(kept.set_index("path")["label"])
    return _Scene(frame.assign(cleaned_label=frame["label"].mask(new.notna(), new)), views, version)


def _answers(workspace: Workspace, scene: _Scene, model_name: str, display: Display) -> _Answers:
    from training.data import digests_of
    from training.devices import find_device
    from training.model import load_model, predict_files

    run_dir = find_run(workspace, model_name)
    model = translate_errors(lambda: load_model(run_dir).on(find_device()))
    unknown_labels = sorted({*scene.frame["label"], *scene.frame["cleaned_label"]} - set(model.classes))
    if unknown_labels:
        raise ModelError(
            f"the model knows {', '.join(model.classes)}, not {unknown_labels[0]}; train one on these labels"
        )
    files = [Path(file) for file in scene.frame["file"]]
    with display.step(f"Predicting with {run_dir.name}"):
        table = translate_errors(lambda: predict_files(model, files, run_dir.name, digests_of(scene.frame)))
    return _Answers(run_dir.name, run_dir, model.classes, table[list(model.classes)].to_numpy(dtype=np.float64))


def _predictions(scene: _Scene, answers: _Answers) -> pd.DataFrame:
    from training.evaluate import predictions_table

    paths = scene.frame["path"].tolist()
    table = predictions_table(paths, answers.probabilities, answers.classes, -1, answers.name)
    return table.assign(sha256=scene.frame["sha256"])


_Measure = Callable[[Ints, Flags], pd.DataFrame]
"""Labels of the evaluated images and their mask -> a table with columns metric and class."""


def _metrics(answers: _Answers) -> _Measure:
    from training.evaluate import metrics

    return lambda labels, mask: metrics(labels, answers.probabilities[mask], answers.classes)


def _paired(answers: _Answers, other: _Answers) -> _Measure:
    from training.evaluate import compare_pairs

    def measured(labels: Ints, mask: Flags) -> pd.DataFrame:
        table = compare_pairs(labels, other.probabilities[mask], answers.probabilities[mask], answers.classes)
        return table.rename(columns={"first": "other", "second": "model"})

    return measured


def _each_view(scene: _Scene, classes: Sequence[str], measure: _Measure) -> pd.DataFrame:
    """Measure every split and view that has images; split, view and images come first."""
    place = {name: number for number, name in enumerate(classes)}
    parts = []
    for split, masks in scene.views.items():
        for view, mask in masks.items():
            if mask.any():
                labels = np.asarray(scene.frame.loc[mask, scene.label_column(view)].map(place), np.int64)
                table = translate_errors(partial(measure, labels, mask))
                parts.append(table.assign(split=split, view=view, images=int(mask.sum())))
    whole = pd.concat(parts, ignore_index=True)
    return whole[[*_COLUMNS, *(column for column in whole.columns if column not in _COLUMNS)]]


def _page(
    scene: _Scene, answers: _Answers, sentences: Sequence[str], table: pd.DataFrame, pairs: pd.DataFrame, other: str
) -> str:
    from reports import EvaluationTables, evaluation_page
    from training.model import read_config

    config = translate_errors(lambda: read_config(answers.run_dir))
    facts = [
        ("Recipe", config["recipe"]["name"]),
        *((name.replace("_", " ").capitalize(), value) for name, value in config["provenance"].items()),
        ("Trained on", f"{config['images']['train']:,} images, seed {config['seed']}"),
        ("Starting weights", f"{config['weights']}; licence: {config['weights_licence']}"),
        ("Judged on", f"the source as given, and version {scene.version.name} ({scene.version.hash})"),
        ("Do this again", f"curate evaluate {answers.name}" + (f" --against {other}" if other else "")),
    ]
    return evaluation_page(
        EvaluationTables(
            name=answers.name,
            other=other,
            verdict=sentences,
            classes=answers.classes,
            facts=facts,
            headline=headline(table, ".1%").rename(columns={"95 %": "interval"}),
            metrics=table,
            confusion=_confusion(scene, answers),
            gallery=_gallery(scene, answers, table),
            pairs=pairs,
        )
    )


def _confusion(scene: _Scene, answers: _Answers) -> pd.DataFrame:
    """Return the counts and shares of every split as given."""
    from training.evaluate import confusion

    place = {name: number for number, name in enumerate(answers.classes)}
    rows = []
    for split in scene.views:
        mask = (scene.frame["split"] == split).to_numpy()
        labels = np.asarray(scene.frame.loc[mask, "label"].map(place), np.int64)
        cells = confusion(labels, answers.probabilities[mask].argmax(axis=1), len(place))
        rows += [
            (split, given, predicted, int(count), count / max(1, cells[place[given]].sum()))
            for given in answers.classes
            for predicted, count in zip(answers.classes, cells[place[given]], strict=True)
        ]
    return pd.DataFrame(rows, columns=["split", "given", "predicted", "images", "share"])


def _gallery(scene: _Scene, answers: _Answers, table: pd.DataFrame) -> pd.DataFrame:
    """Return the surest confusions of every split as given, under the deck's four headings, with pictures."""
    from training.data import load_images
    from training.evaluate import confused

    predictions = _predictions(scene, answers).assign(label=scene.frame["label"], split=scene.frame["split"])
    parts = []
    for split in scene.views:
        mine = predictions[predictions["split"] == split]
        found = confused(mine, answers.classes, _questioned(answers.classes, table), limit=len(mine))
        totals = found.groupby("heading")["path"].transform("size")
        parts.append(found.assign(split=split, total=totals).groupby("heading", sort=False).head(_GALLERY_IMAGES))
    gallery = pd.concat(parts, ignore_index=True)
    shown = scene.frame.set_index("path").loc[gallery["path"], ["file", "sha256"]]
    pictures = translate_errors(
        lambda: [
            load_images([Path(file)], _THUMBNAIL_SIDE, [sha256])[0].tobytes()
            for file, sha256 in shown.itertuples(index=False, name=None)
        ]
    )
    return gallery.assign(thumbnail=pd.Series(pictures, dtype=object))


def _questioned(classes: Sequence[str], table: pd.DataFrame) -> list[str]:
    """Return the two classes of the headings: the deck's, or in other data those with the lowest F1."""
    if set(_DECK_QUESTIONED) <= set(classes):
        return list(_DECK_QUESTIONED)
    f1 = table[table["metric"] == "f1"].groupby("class")["estimate"].mean()
    return [str(name) for name in f1.sort_values().index[: len(_DECK_QUESTIONED)]]
