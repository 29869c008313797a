"""The page on a model and its data: six questions, each with an answer, the evidence and its limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from reports import figures, page, thumbnails
from reports.page import CellKind, Chart, Column, Row, Table

Tables = Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class Finding:
    """One question.

    Attributes:
        identifier: people, elsewhere, outside, groups, learned or exclusive.
        short: for the navigation.
        question: in full.
        answers: sentences, the most important first.
        limits: what the evidence cannot say.
        missing: what is lacking and how to provide it; "" where the section is filled.
        tables: by name; see the functions below for their columns.

    """

    identifier: str
    short: str
    question: str
    answers: Sequence[str] = ()
    limits: Sequence[str] = ()
    missing: str = ""
    tables: Tables = field(default_factory=dict)


@dataclass(frozen=True)
class FindingsTables:
    """Everything that the page shows.

    facts     (name, value) of the model and the data
    tiles     title, figure (text), note: one per question
    findings  in the order of the page
    command   that makes the page again
    warnings  sentences on a weak model, above everything else
    """

    name: str
    data: str
    facts: Sequence[tuple[str, str]]
    tiles: pd.DataFrame
    findings: Sequence[Finding]
    command: str
    warnings: Sequence[str] = ()


def findings_page(tables: FindingsTables) -> str:
    """Return the page as one HTML document that needs no network; the same tables give the same page."""
    sections = [
        {"it": one, "blocks": [] if one.missing else _SECTIONS[one.identifier](one.tables)} for one in tables.findings
    ]
    return page.render(
        "findings.html.j2", {"origin": tables, "tiles": tables.tiles.to_dict("records"), "sections": sections}
    )


Block = dict[str, Any]


def _head(title: str, lead: str = "") -> Block:
    return {"kind": "head", "title": title, "lead": lead}


def _chart(identifier: str, figure: Any, alt: str, height: int, table: Table | None = None) -> Block:
    return {"kind": "chart", "chart": Chart(identifier, figure, alt, height, table)}


def _table(table: Table) -> Block:
    return {"kind": "table", "table": table}


def _pictures(title: str, lead: str, pictures: Sequence[Mapping[str, Any]], wide: bool = False) -> Block:
    return {"kind": "pictures", "title": title, "lead": lead, "pictures": list(pictures), "wide": wide}


def _interval_chart(
    identifier: str,
    points: pd.DataFrame,
    axis: str,
    alt: str,
    table: Table | None = None,
    *,
    number_format: str = ".0%",
    zero: bool = False,
    more_height: int = 0,
) -> Block:
    figure = figures.interval_chart(points, axis, number_format, zero)
    return _chart(identifier, figure, alt, figures.interval_height(points) + more_height, table)


def _face(row: Row, *lines: str) -> dict[str, Any]:
    return {"uri": thumbnails.data_uri(row["thumbnail"]), "path": row["path"], "lines": list(lines)}


_TITLES = {
    "low": "95 % from",
    "high": "to",
    "left": "from",
    "right": "to",
    "with_majority": "images with one",
    "mean_size": "mean size",
    "named": "metric",
    **{f"{name}_low": "95 % from" for name in ("change", "without", "cost")},
    **{f"{name}_high": "to" for name in ("change", "without", "cost")},
}
"""Headings of columns that have another than their name."""

_KINDS: Mapping[str, CellKind] = {
    **dict.fromkeys(("images", "with_majority", "classes", "yes"), "count"),
    **dict.fromkeys(("grade", "left", "right"), "number"),
    **dict.fromkeys(("kappa", "mean_size", "mass"), "decimal"),
    "p_value": "chance",
    **dict.fromkeys(
        (
            *("class", "who", "with", "corruption", "unit", "challenge", "covariate", "named", "model", "data"),
            *("seen", "licence", "verdict", "region", "given", "method", "set"),
        ),
        "text",
    ),
}
"""How the cells of a column are shown where they are no shares."""


def _columns(names: str, shown: CellKind = "share", /, **titles: str) -> list[Column]:
    """Return the columns of these names; cells of no kind of their own are ``shown`` so, titles replace headings."""
    return [
        Column(name, titles.get(name) or _TITLES.get(name, name), _KINDS.get(name, shown)) for name in names.split()
    ]


def _people(tables: Tables) -> list[Block]:
    accuracy, kappa, beside, disputed = (tables[name] for name in ("accuracy", "kappa", "beside", "disputed"))
    columns = [
        *_columns("class images"),
        Column("person", "one person", "share", "mean share of an image's votes that is for its label"),
        Column("crowd", "most frequent answer", "share", "share of images whose most frequent answer is the label"),
        *_columns("low high"),
        Column("majority", "strict majority", "share", "of the images on which six of ten agree"),
        *_columns("with_majority"),
    ]
    points = pd.concat(
        [accuracy.assign(series="most frequent answer", estimate=accuracy["crowd"])], ignore_index=True
    ).rename(columns={"class": "name"})
    chance = kappa.assign(series="kappa", estimate=kappa["kappa"]).rename(columns={"class": "name"})
    worst = accuracy[accuracy["class"] != "all"].sort_values("crowd").iloc[0]
    blocks = [
        _head("Do people give the label that the data set gives?"),
        _interval_chart(
            "chart-people",
            points,
            "images whose most frequent answer is the label",
            f"Agreement of the crowd with the label by class; lowest for {worst['class']}, {worst['crowd']:.0%}.",
            Table("people-accuracy", "People's accuracy by class", accuracy, columns),
        ),
        _head("Do people agree with each other?", "Fleiss' kappa: 0 is chance, 1 is full agreement."),
        _interval_chart(
            "chart-kappa",
            chance,
            "Fleiss' kappa",
            f"Fleiss' kappa over all answers {kappa['kappa'].iloc[0]:.2f}, and of each class against the rest.",
            Table("people-kappa", "Agreement among people", kappa, _columns("class images kappa low high", "decimal")),
            number_format=".2f",
        ),
    ]
    if len(beside):
        names = beside["who"].map(_SHORT) + " : " + beside["with"].map(_SHORT)
        named = beside.assign(name=names, series="agreement", estimate=beside["value"])
        columns = _columns("who with images value low high", **{"with": "agrees with", "value": "share"})
        blocks += [
            _head(
                "The model beside people",
                "How often two of them agree on the same images: the model, trained without the image; the data "
                "set's label; one person; and the crowd, where six of ten people agree.",
            ),
            _interval_chart(
                "chart-beside",
                named,
                "agreement",
                "Agreement of model, people and labels: "
                + "; ".join(f"{row['who']} with {row['with']} {row['value']:.0%}" for row in named.to_dict("records")),
                Table("people-beside", "Who agrees with whom", beside, columns),
            ),
        ]
    rows = [_face(row, f"labelled {row['label']}", row["votes"]) for row in disputed.to_dict("records")]
    return [*blocks, _pictures("Images that people disagree on most", "Votes of ten people.", rows)]


_SHORT = {"the model": "model", "the given label": "label", "the crowd's majority": "crowd", "one person": "person"}
"""Short names for the chart."""


def _external_data(tables: Tables) -> list[Block]:
    blocks: list[Block] = []
    if "metrics" in tables:
        blocks += _other_data(tables)
    curves, covariates = tables["curves"], tables["covariates"]
    strongest = curves[curves["severity"] == curves["severity"].max()].sort_values("accuracy").iloc[0]
    columns = _columns("corruption grade unit accuracy low high change change_low change_high")
    blocks += [
        _head("How robust is it?", "The same held-out images, corrupted on purpose, mild (1) to strong (4)."),
        _chart(
            "chart-curves",
            figures.grade_chart(curves),
            f"Accuracy under graded corruption; lowest under {strongest['corruption']}, {strongest['accuracy']:.0%}.",
            380,
            Table("curves", "Accuracy under corruption", curves[curves["severity"] > 0], columns),
        ),
        _head("Where is it weak?", "Held-out images in five equal shares, from low to high values."),
    ]
    cells = []
    for number, (name, rows) in enumerate(covariates.groupby("covariate", sort=False)):
        low, high = rows["accuracy"].min(), rows["accuracy"].max()
        alt = f"Accuracy by {name}: between {low:.0%} and {high:.0%}."
        cells.append(
            {"title": str(name), "chart": Chart(f"chart-covariate-{number}", figures.bins_chart(rows), alt, 210)}
        )
    columns = _columns("covariate left right images accuracy low high")
    table = Table("covariates", "Accuracy by covariate", covariates, columns)
    blocks += [{"kind": "grid", "cells": cells}, {"kind": "numbers", "table": table}]
    return blocks + _challenges(tables["challenges"]) if len(tables.get("challenges", ())) else blocks


def _challenges(challenges: pd.DataFrame) -> list[Block]:
    """Return what each challenge costs, as a chart and its numbers."""
    points = challenges.assign(name=challenges["challenge"], series="cost", estimate=challenges["cost"])
    points = points.assign(low=points["cost_low"], high=points["cost_high"])
    names = "challenge images accuracy low high without without_low without_high cost cost_low cost_high"
    columns = _columns(names, accuracy="accuracy with it")
    return [
        _head(
            "How much does each challenge cost?",
            "Accuracy on the held-out images that a check does not flag, less that on those it flags.",
        ),
        _interval_chart(
            "chart-challenges",
            points,
            "points of accuracy",
            "; ".join(f"{row['challenge']}: {row['cost']:.1%}" for row in challenges.to_dict("records")),
            Table("challenges", "Accuracy with and without each challenge", challenges, columns),
            zero=True,
        ),
    ]


def _other_data(tables: Tables) -> list[Block]:
    metrics, gap, facts, wrong = (tables[name] for name in ("metrics", "gap", "facts", "wrong"))
    chosen = metrics[metrics["metric"].isin(["accuracy", "recall"])]
    points = chosen.assign(name=chosen["class"].replace("", "all classes"), series=chosen["data"])
    name, gap_value = facts["data"].iloc[0], gap["gap"].iloc[0]
    explained = gap.assign(name=gap["covariate"], series="explained", estimate=gap["explained"])
    columns = [
        Column("covariate", "covariate"),
        Column("explained", "explains", "share", "points of accuracy"),
        *_columns("low high share", share="share of the gap"),
    ]
    rows = [
        _face(row, f"labelled {row['label']}, called {row['predicted']} ({row['probability']:.0%})")
        for row in wrong.to_dict("records")
    ]
    return [
        _head(
            f"On pictures of another source: {name}",
            "Faces cropped and aligned as in the training data. Recall by class.",
        ),
        _interval_chart(
            "chart-elsewhere",
            points,
            "share right",
            "Share right by class, on held-out images and on the others.",
            Table(
                "elsewhere-metrics",
                "Every metric on both",
                _named(metrics),
                _metric_columns("data"),
            ),
        ),
        _head(
            f"What explains the gap of {100 * gap_value:.1f} points?",
            "Points of accuracy that the held-out images lose when they are weighted to be distributed like the "
            "others in one respect, or in all together. The single contributions overlap and do not add up.",
        ),
        _interval_chart(
            "chart-gap",
            explained,
            "points of accuracy explained",
            "; ".join(f"{row['covariate']}: {row['explained']:.1%}" for row in gap.to_dict("records")),
            Table("gap", "What explains the gap", gap, columns),
            zero=True,
        ),
        _pictures(f"Most confident mistakes in {name}", "As the model sees them.", rows),
    ]


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with what a page calls its metrics; cells of confusion matrices are left out."""
    kept = frame[frame["metric"] != "confusion"].reset_index(drop=True)
    return kept.assign(named=page.metric_names(kept))


def _metric_columns(first: str) -> list[Column]:
    return _columns(f"{first} named estimate low high", "decimal", estimate="value")


def _outside(tables: Tables) -> list[Block]:
    metrics, pairs, facts = tables["metrics"], tables["pairs"], tables["facts"]
    chosen = metrics[metrics["metric"] == "accuracy"]
    points = chosen.assign(name=chosen["model"], series=chosen["data"])
    differences = pairs[pairs["metric"].isin(["accuracy", "macro_f1", "f1"])].reset_index(drop=True)
    titles = {"model": "other model", "first": "theirs", "second": "ours", "difference": "ours - theirs"}
    names = "model data named first second difference low high p_value"
    columns = _columns(names, "decimal", **titles, p_value="McNemar's p")
    known = [*_columns("model seen licence", seen="trained on this data?"), Column("classes", "its classes")]
    return [
        _table(Table("outside-facts", "The models", facts, known)),
        _head("Accuracy on the same images", "Their classes are matched to ours by meaning, the rest left out."),
        _interval_chart(
            "chart-outside",
            points,
            "accuracy",
            "; ".join(f"{row['model']}, {row['data']}: {row['estimate']:.0%}" for row in chosen.to_dict("records")),
            Table(
                "outside-metrics",
                "Every metric",
                _named(metrics),
                _metric_columns("model data"),
            ),
            more_height=30,
        ),
        _head("Paired differences", "Positive: ours is better. Bootstrap over the same images; exact McNemar test."),
        _table(Table("outside-pairs", "Ours against theirs", _named(differences), columns)),
    ]


def _groups(tables: Tables) -> list[Block]:
    model, cleaning = tables["model"], tables["cleaning"]
    blocks: list[Block] = []
    for number, (metric, title) in enumerate(
        (("accuracy", "Accuracy by group"), ("confidence", "Confidence by group"))
    ):
        rows = model[(model["metric"] == metric) & ~model["attribute"].str.contains(" and ")]
        if len(rows):
            points = rows.assign(name=rows["group"], series=rows["attribute"])
            alt = "; ".join(f"{row['group']}: {row['estimate']:.0%}" for row in rows.to_dict("records"))
            chart = _interval_chart(f"chart-groups-{number}", points, title.lower(), alt, more_height=20)
            blocks += [_head(title), chart]
    selection = model[(model["metric"] == "selection_rate") & ~model["attribute"].str.contains(" and ")]
    if len(selection):
        points = selection.assign(name=selection["group"], series=selection["class"])
        blocks += [
            _head("Predictions by group", "Selection rate: share of a group's faces that get the class."),
            _interval_chart(
                "chart-selection",
                points,
                "share of the group",
                "Share of every group that is called each class; the numbers are in the table below.",
            ),
        ]
    blocks += _by_group("groups-model", "The model by group", model)
    shown = cleaning[cleaning["metric"].isin(["removed", "relabelled"]) & ~cleaning["attribute"].str.contains(" and ")]
    blocks.append(
        _head("Does the cleaning treat groups alike?", "Share of a group that is removed, relabelled or flagged.")
    )
    if len(shown):
        points = shown.assign(name=shown["group"], series=shown["metric"])
        alt = "; ".join(f"{row['group']} {row['metric']}: {row['estimate']:.1%}" for row in shown.to_dict("records"))
        blocks.append(_interval_chart("chart-cleaning", points, "share of the group", alt, number_format=".1%"))
    return [*blocks, *_by_group("groups-cleaning", "The cleaning by group", cleaning)]


LARGEST_DIFFERENCES = 12
"""Rows shown; the rest is folded."""


def _by_group(identifier: str, caption: str, frame: pd.DataFrame) -> list[Block]:
    """Return the groups that differ most from the rest, and all rows folded, those that differ first."""
    words = frame["differs"].map({True: "yes", False: "no"})
    named = _named(frame).assign(verdict=words)
    ranked = named.sort_values(["differs", "p_adjusted"], ascending=[False, True], kind="stable")
    columns = [
        Column("group", "group", note="attribute"),
        *_columns("images named estimate low high rest difference", estimate="this group", rest="the rest"),
        Column("p_adjusted", "adjusted p", "chance", "Benjamini-Hochberg over this table"),
        *_columns("verdict", verdict="differs"),
    ]
    blocks: list[Block] = []
    if ranked["differs"].any():
        largest = ranked[ranked["differs"]].head(LARGEST_DIFFERENCES).reset_index(drop=True)
        blocks.append(_table(Table(f"{identifier}-differs", f"{caption}: where it differs", largest, columns[:-1])))
    return [*blocks, {"kind": "numbers", "table": Table(identifier, f"{caption}, all figures", ranked, columns)}]


def _explanations(tables: Tables) -> list[Block]:
    averages, falls, singles = tables["averages"], tables["falls"], tables["singles"]
    whole = falls.assign(name=falls["region"], series=falls["class"].replace("", "all"), estimate=falls["fall"])
    pictures = [
        {
            "uri": thumbnails.colour_uri(row["face"]),
            "path": "",
            "lines": [
                row["given"] if row["given"] == row["predicted"] else f"{row['given']} called {row['predicted']}",
                f"{row['images']:,} faces",
            ],
        }
        for row in averages.to_dict("records")
    ]
    titles = {"area": "of the image", "fall": "probability falls by", "accuracy_fall": "accuracy falls by"}
    columns = _columns("class region images area fall low high accuracy_fall", **titles)
    mass = _columns("given region mass", given="class", mass="Grad-CAM, 1 is even")
    triples = [
        {
            "uris": [thumbnails.colour_uri(row[name]) for name in ("image", "grad_cam", "occlusion")],
            "words": f"{row['label']} called {row['predicted']} ({row['probability']:.0%})",
        }
        for row in singles.to_dict("records")
    ]
    return [
        _pictures(
            "Where it looks, on average",
            "Grad-CAM over aligned faces: bright where the evidence for a class is. Correct predictions first, then "
            "confusions.",
            pictures,
            wide=True,
        ),
        _head(
            "Which part of the face does it need?",
            "Each region covered in turn; how far the answer's probability falls.",
        ),
        _interval_chart(
            "chart-falls",
            whole,
            "fall of the probability",
            "; ".join(f"{row['region']}: {row['fall']:.0%}" for row in falls[falls["class"] == ""].to_dict("records")),
            Table("falls", "Occlusion by region", falls.assign(**{"class": whole["series"]}), columns),
            zero=True,
        ),
        {"kind": "numbers", "table": Table("mass", "Grad-CAM by region, relative to its area", tables["mass"], mass)},
        {"kind": "triples", "title": "Single faces", "triples": triples},
    ]


def _class_overlap(tables: Tables) -> list[Block]:
    shared, coverage, sets, heads, answers = (tables[n] for n in ("shared", "coverage", "sets", "heads", "answers"))
    blocks = [
        _head(
            "Which classes share an image, by the model?",
            "Of the images called the row's class, the share where the column's comes second with at least 25 %.",
        ),
        _matrix("chart-shared", "shared", "Shared probability", shared, ("called", "second")),
    ]
    if "votes" in tables:
        blocks += [
            _head(
                "And by people?",
                "Of the images labelled as the row says, the share where at least two of ten votes are for each "
                "of both.",
            ),
            _matrix("chart-votes", "vote-overlap", "Shared votes", tables["votes"], ("labelled", "also voted")),
        ]
    chosen = heads[heads["metric"].isin(["accuracy", "macro_f1", "log_loss", "calibration_error"])]
    titles = {"coverage": "label inside", "single": "one class", "pair": "two", "larger": "more", "empty": "none"}
    cover_columns = _columns("class method images coverage low high mean_size single pair larger empty", **titles)
    head_columns = _columns("named first second difference low high", "decimal", first="softmax", second="sigmoids")
    named = coverage.assign(**{"class": coverage["class"].replace("", "all")})
    rows = [
        _face(
            row,
            f"{row['first']} {row['first_p']:.0%}, {row['second']} {row['second_p']:.0%}",
            f"labelled {row['label']}",
        )
        for row in tables["gallery"].to_dict("records")
    ]
    return [
        *blocks,
        _head(
            "Softmax or sigmoids?",
            "A softmax head (which of these?) against a sigmoid head a class (is it this?), same features and data.",
        ),
        _table(Table("heads", "Two kinds of head on the same held-out images", _named(chosen), head_columns)),
        _table(
            Table(
                "answers",
                "How many classes the sigmoid heads affirm",
                answers,
                _columns("yes images share", yes="classes"),
            )
        ),
        _head(
            "Sets that contain the label nine times out of ten",
            "Split conformal prediction (MAPIE): lac makes the smallest sets, aps fits them to each image's "
            "difficulty.",
        ),
        _table(Table("coverage", "Coverage and size of the sets", named, cover_columns)),
        _table(Table("sets", "Which sets occur (lac)", sets.head(12), _columns("set classes images share"))),
        _pictures("Faces with two expressions", "Their set holds two classes; the most balanced of each pair.", rows),
    ]


def _matrix(chart: str, name: str, title: str, frame: pd.DataFrame, axes: tuple[str, str]) -> Block:
    """Return the matrix of pairs of classes, with its numbers in a table."""
    worst = frame.sort_values("share", ascending=False).iloc[0]
    pair = f"{worst['first']} with {worst['second']}, {worst['share']:.0%}"
    alt = f"Shares of images with a second class; largest for {pair}."
    shares = _columns("images share probability", probability="mean share of the second")
    table = Table(name, title, frame, [Column("first", "class"), Column("second", "with"), *shares])
    return _chart(chart, figures.matrix_chart(frame, *axes), alt, 320, table)


_SECTIONS: Mapping[str, Callable[[Tables], list[Block]]] = {
    "people": _people,
    "elsewhere": _external_data,
    "outside": _outside,
    "groups": _groups,
    "learned": _explanations,
    "exclusive": _class_overlap,
}
