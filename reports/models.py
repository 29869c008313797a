"""The pages of trained models: one model's evaluation, and a ladder of versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from reports import figures, page, thumbnails
from reports.page import Chart, Column, Row, Table


@dataclass(frozen=True)
class EvaluationTables:
    """Everything that the page of one model shows; nothing on it is computed beyond these tables.

    verdict     sentences that are read first
    facts       (name, value) of the model: recipe, data, weights
    headline    split, view, images, accuracy, interval (text), macro_f1, one column "f1 CLASS" a class (0..1)
    metrics     split, view, images, metric, class, estimate, low, high
    confusion   split, given, predicted, images, share (of the given class, 0..1)
    gallery     split, heading, total, path, label, predicted, probability (0..1), thumbnail
    pairs       split, view, images, metric, class, other, model, difference, low, high, p_value; empty without another

    other is the name of the model that pairs compares with, or ""; thumbnail the bytes of a square grey picture.
    """

    name: str
    other: str
    verdict: Sequence[str]
    classes: Sequence[str]
    facts: Sequence[tuple[str, str]]
    headline: pd.DataFrame
    metrics: pd.DataFrame
    confusion: pd.DataFrame
    gallery: pd.DataFrame
    pairs: pd.DataFrame


@dataclass(frozen=True)
class LadderTables:
    """What the page of a ladder shows.

    result      a row per recipe: recipe, backbone, version, train_images, validation_images, epochs, best_epoch,
                seconds, train_accuracy, validation_accuracy, low, high, macro_f1, f1_CLASS for each class, note
    budget      what was cut, or "full"
    """

    result: pd.DataFrame
    budget: str
    facts: Sequence[tuple[str, str]]


def evaluation_page(tables: EvaluationTables) -> str:
    """Return a model's evaluation as one HTML document that needs no network; the same tables give the same page."""
    splits = list(dict.fromkeys(tables.metrics["split"]))
    context = {
        "name": tables.name,
        "other": tables.other,
        "verdict": tables.verdict,
        "facts": tables.facts,
        "headline": _headline(tables),
        "splits": [
            {
                "name": split,
                "overall": _overall(tables.metrics, split),
                "classes": _by_class(tables.metrics, split),
                "confusion": _confusion(tables, split),
            }
            for split in splits
        ],
        "galleries": _galleries(tables.gallery),
        "pairs": _pairs(tables),
    }
    return page.render("evaluation.html.j2", context)


def _headline(tables: EvaluationTables) -> Table:
    columns = [
        Column("split", "split"),
        Column("view", "images judged"),
        Column("images", "images", "count"),
        Column("accuracy", "accuracy", "share", note="interval"),
        Column("macro_f1", "macro F1", "share"),
        *(Column(f"f1 {name}", f"F1 {name}", "share") for name in tables.classes),
    ]
    return Table("headline", "Accuracy with its 95 % interval, and F1", tables.headline, columns)


def _with_intervals(frame: pd.DataFrame, number_format: str = ".3f") -> pd.DataFrame:
    """Return the frame with the text ``interval`` of its columns low and high, or "" where there is none."""
    known = frame["low"].notna()
    texts = [
        f"{low:{number_format}} to {high:{number_format}}"
        for low, high in zip(frame["low"], frame["high"], strict=True)
    ]
    return frame.assign(interval=pd.Series(texts, index=frame.index, dtype=object).where(known, ""))


def _overall(metrics: pd.DataFrame, split: str) -> Table:
    """Return the metrics over all classes, a row per metric and view."""
    rows = _with_intervals(metrics[(metrics["split"] == split) & (metrics["class"] == "")])
    rows = rows.assign(metric=page.metric_names(rows)).reset_index(drop=True)
    columns = [
        Column("metric", "metric"),
        Column("view", "images judged"),
        Column("estimate", "value", "decimal", "calibration error and log loss: lower is better"),
        Column("interval", "95 % interval"),
    ]
    return Table(f"overall-{split}", f"All classes, {split}", rows, columns)


def _by_class(metrics: pd.DataFrame, split: str) -> Table:
    """Return precision, recall and F1 of each class, a row per class and view."""
    chosen = metrics[(metrics["split"] == split) & metrics["metric"].isin(["f1", "precision", "recall"])]
    order = pd.MultiIndex.from_frame(chosen.sort_values("class", kind="stable")[["class", "view"]]).unique()
    chosen = _with_intervals(chosen, ".1%").assign(
        estimate=lambda rows: rows["estimate"].map(lambda value: page.shown(value, "share"))
    )
    wide = chosen.pivot(index=["class", "view"], columns="metric", values=["estimate", "interval"])
    kinds, names = (wide.columns.get_level_values(level) for level in (0, 1))
    wide.columns = [name if kind == "estimate" else f"{name} interval" for kind, name in zip(kinds, names, strict=True)]
    wide = wide.loc[order]
    titles = {"precision": "precision", "recall": "recall", "f1": "F1"}
    columns = [
        Column("class", "class"),
        Column("view", "images judged"),
        *(Column(name, title, note=f"{name} interval") for name, title in titles.items()),
    ]
    return Table(f"classes-{split}", f"Each class, {split}, with 95 % intervals", wide.reset_index(), columns)


def _confusion(tables: EvaluationTables, split: str) -> Chart:
    """Return the confusion matrix of a split as given, as a heat map over its numbers."""
    rows = tables.confusion[tables.confusion["split"] == split].reset_index(drop=True)
    columns = [
        Column("given", "label"),
        Column("predicted", "predicted"),
        Column("images", "images", "count"),
        Column("share", "share", "share", "of the images with that label"),
    ]
    table = Table(f"confusion-{split}", f"Labels and predictions, {split} as given", rows, columns)
    worst = rows[rows["given"] != rows["predicted"]].sort_values("images", ascending=False, kind="stable").iloc[0]
    alt = (
        f"Confusion matrix of {split}; the largest confusion: {worst['images']:,} images labelled {worst['given']} "
        f"predicted {worst['predicted']}."
    )
    height = 110 + 56 * len(tables.classes)
    return Chart(f"chart-confusion-{split}", figures.confusion_chart(rows, tables.classes), alt, height, table)


def _galleries(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return split -> heading -> pictures, in their order."""
    result = []
    uris = thumbnails.data_uris(frame["path"], frame["thumbnail"])

    def picture(row: Row) -> dict[str, Any]:
        evidence = f"predicted {row['predicted']}, {row['probability']:.0%} sure"
        return {"path": row["path"], "label": row["label"], "evidence": evidence, "uri": uris.get(row["path"], "")}

    for split, of_split in frame.groupby("split", sort=False):
        headings = [
            {
                "heading": heading,
                "total": int(rows["total"].iloc[0]),
                "pictures": [picture(row) for row in rows.drop(columns="thumbnail").to_dict("records")],
            }
            for heading, rows in of_split.groupby("heading", sort=False)
        ]
        result.append({"split": split, "headings": headings})
    return result


def _pairs(tables: EvaluationTables) -> Table | None:
    if tables.pairs.empty:
        return None
    kept = tables.pairs[tables.pairs["metric"] != "confusion"].reset_index(drop=True)
    texts = ["" if pd.isna(value) else f"{value:.3g}" for value in kept["p_value"]]
    rows = _with_intervals(kept).assign(p_value=texts, metric=page.metric_names(kept))
    columns = [
        Column("metric", "metric"),
        Column("split", "split"),
        Column("view", "images judged"),
        Column("other", "other", "decimal", tables.other),
        Column("model", "this", "decimal", tables.name),
        Column("difference", "difference", "decimal"),
        Column("interval", "95 % interval", hint="paired bootstrap over images"),
        Column("p_value", "McNemar's p", hint="that both are right equally often"),
    ]
    return Table("pairs", "The same images, both models", rows, columns)


def ladder_page(tables: LadderTables) -> str:
    """Return a ladder's charts and numbers as one HTML document that needs no network."""
    result = tables.result
    climbed = result[result["validation_accuracy"].notna()] if "validation_accuracy" in result else result.iloc[:0]
    context = {
        "budget": tables.budget,
        "facts": tables.facts,
        "climbed": len(climbed),
        "accuracy": _accuracy_chart(climbed) if len(climbed) else None,
        "f1": [_f1_chart(rows, str(backbone)) for backbone, rows in climbed.groupby("backbone", sort=False)],
        "table_of_versions": _ladder_table(climbed),
        "notes": result.loc[result["note"] != "", ["recipe", "note"]].to_dict("records"),
    }
    return page.render("ladder.html.j2", context)


def _accuracy_chart(climbed: pd.DataFrame) -> Chart:
    best = climbed.iloc[climbed["validation_accuracy"].argmax()]
    alt = (
        f"Lines: accuracy on train and validation by version and backbone; best {best['recipe']}, "
        f"{best['validation_accuracy']:.1%} on validation."
    )
    return Chart("chart-accuracy", figures.ladder_chart(climbed), alt, 400)


def _f1_chart(rows: pd.DataFrame, backbone: str) -> Chart:
    best = rows.iloc[rows["macro_f1"].argmax()]
    alt = f"Lines: F1 of each class by version of {backbone}; best macro F1 {best['macro_f1']:.1%}, {best['recipe']}."
    return Chart(f"chart-f1-{backbone}", figures.f1_chart(rows), alt, 320)


def _ladder_table(climbed: pd.DataFrame) -> Table | None:
    if climbed.empty:
        return None
    rows = _with_intervals(climbed, ".1%").reset_index(drop=True)
    classes = [name for name in rows.columns if name.startswith("f1_")]
    columns = [
        Column("recipe", "recipe", "code"),
        Column("train_images", "trained on", "count"),
        Column("epochs", "epochs", "count", "run before stopping"),
        Column("best_epoch", "best", "count", "the epoch whose weights are kept"),
        Column("seconds", "s", "count"),
        Column("train_accuracy", "train", "share", "while training, augmented, at the best epoch"),
        Column("validation_accuracy", "validation", "share", note="interval"),
        Column("macro_f1", "macro F1", "share"),
        *(Column(name, f"F1 {name.removeprefix('f1_')}", "share") for name in classes),
    ]
    return Table("ladder", "Every version, with 95 % intervals on validation", rows, columns)
