"""The cleaning report: what was found, what was decided and why, as one self-contained page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from reports import page, thumbnails
from reports.page import Column, Row, Table, interval_columns
from reports.people import people_tables

KIND_WORDS: Mapping[str, tuple[str, str]] = {
    "label_conflict": ("Label conflicts", "Copies of one picture under different labels."),
    "split_leak": ("Split leaks", "Copies of one picture in several splits, under one label."),
    "subject_leak": (
        "One person in several splits",
        "A model that has seen a person in training is judged too favourably on that person.",
    ),
    "near_duplicate": ("Near copies", "The same picture, changed a little, within one split and class."),
    "exact_duplicate": ("Exact copies", "The same pixels several times, within one split and class."),
    "same_session": (
        "Shots of one session",
        "The same person and scene, another expression or moment: alike, but not copies. They are kept.",
    ),
}
"""Kinds of groups of copies, most serious first: title and explanation."""


_CELLS = 40
"""Cells of coverage shown in the table of the largest losses."""


@dataclass(frozen=True)
class Provenance:
    """Where a report's figures come from and how to reproduce them.

    left_out holds (path, reason) of the source's files that were not taken; settings is a nested mapping; option names
    the workspace in commands, and app is the address of the version's images in the App.
    """

    source: str
    version: str
    manifest_hash: str
    created: str
    policy: str
    policy_description: str
    review_checks: tuple[str, ...]
    commands: tuple[str, ...]
    tools: Mapping[str, str]
    detector: str
    settings: Mapping[str, Any]
    left_out: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    option: str = ""
    app: str = ""

    @property
    def name(self) -> str:
        """The last part of the source: the name of the data set."""
        return self.source.rstrip("/").rpartition("/")[2] or self.source


@dataclass(frozen=True)
class CleaningTables:
    """Everything that the page shows; nothing on it is computed beyond these tables.

    first             sentences at the top of the page
    anomalies         text, command, view: what a person should know and do first
    headline          figure (NaN: not run), title, note, command, view
    before_after      version (before, after), split (last: all), one column per class, all, share (0..1)
    left_out          split, label, before, left_out, share (0..1)
    checks            check, title, explanation, scored, issues, groups, share (0..1), left_out, command, view; NaN
                      where a check was not run
    check_classes     check, label, issues
    flow              found, cause, outcome, images
    distributions     check, title, measure, threshold, left, right, passed, flagged: one row per bin
    gallery           check, label, total, path, score, evidence, split, outcome, becomes (label), waits, reason,
                      sha256, thumbnail
    groups            kind, total, group, copies, path, score, evidence, label, split, outcome, becomes, waits, reason,
                      sha256, thumbnail; copies is the group's size, of which not all members need have a row
    decision_counts   actor, action, cause, images, example, command
    opinions          check, title, peer, both, ours_only, peer_only (images): what peers flag beside our checks
    peer_gallery      check, peer, path, score, label, evidence, split, outcome, waits, reason, sha256, thumbnail
    peer_pages        pages that peers made themselves, relative to this one
    jury              name, weight, skill, seen (0..1), sentence: who judged the labels and what each is worth
    plan              order, answers, expected, low, high: share of labels right after so many answers
    reached           what, expected, reached, low, high: what answers were expected to show, and what they showed
    changes_page      the page of what changed since the version before, relative to this one
    people            source, figure, class, value, low, high, images: how people answered, if they were asked
    decisions         seq, actor, path, action, value, reason, issue: the first of decisions_total
    coverage          axis, split, label, value, images_before, images: copies counted once
    gaps              sentences on cells of coverage that were emptied, are empty or have few images

    outcome is one of kept, left out, relabelled, softened; thumbnail the bytes of a square grey picture, or None. A
    command is without the workspace; view is the name of a saved view in the App, or "".
    """

    provenance: Provenance
    first: Sequence[str]
    anomalies: pd.DataFrame
    sentences: Sequence[str]
    headline: pd.DataFrame
    before_after: pd.DataFrame
    left_out: pd.DataFrame
    checks: pd.DataFrame
    check_classes: pd.DataFrame
    flow: pd.DataFrame
    distributions: pd.DataFrame
    gallery: pd.DataFrame
    groups: pd.DataFrame
    decision_counts: pd.DataFrame
    decisions: pd.DataFrame
    decisions_total: int
    opinions: pd.DataFrame | None = None
    peer_gallery: pd.DataFrame | None = None
    peer_pages: Sequence[str] = ()
    changes_page: str = ""
    people: pd.DataFrame | None = None
    jury: pd.DataFrame | None = None
    plan: pd.DataFrame | None = None
    reached: pd.DataFrame | None = None
    coverage: pd.DataFrame | None = None
    gaps: Sequence[str] = ()


def cleaning_page(tables: CleaningTables) -> str:
    """Return the cleaning report as one HTML document that needs no network.

    The same tables give the same page, byte for byte.
    """
    shown = [frame for frame in (tables.gallery, tables.groups, tables.peer_gallery) if frame is not None]
    uris = thumbnails.data_uris(
        [key for frame in shown for key in frame["sha256"]],
        [picture for frame in shown for picture in frame["thumbnail"]],
    )
    context = {
        "title": "Cleaning report",
        "origin": tables.provenance,
        "first": tables.first,
        "anomalies": tables.anomalies.to_dict("records"),
        "sentences": tables.sentences,
        "headline": tables.headline.to_dict("records"),
        "before_after": _before_after(tables.before_after),
        "left_out": _left_out(tables.left_out),
        "coverage": _coverage(tables.coverage),
        "gaps": tables.gaps,
        "flow": _flow(tables.flow),
        "checks": _checks(tables),
        "choices": {
            name: sorted({value for frame in shown for value in frame[name]} - {""}) for name in ("label", "split")
        },
        "distributions": _distributions(tables.distributions),
        "uniform": _uniform(tables.distributions),
        "gallery": _gallery(tables, uris),
        "copies": _copies(tables.groups, uris),
        "opinions": _opinions(tables),
        "peer_gallery": _peer_gallery(tables, uris),
        "peer_pages": tables.peer_pages,
        "jury": _jury(tables.jury),
        "plan": _plan(tables.plan),
        "reached": _reached(tables.reached),
        "changes_page": tables.changes_page,
        "people": [] if tables.people is None else people_tables(tables.people),
        "decision_counts": _decision_counts(tables.decision_counts),
        "decisions": _decisions(tables.decisions),
        "decisions_total": tables.decisions_total,
        "left_out_files": _left_out_files(tables.provenance),
        "tools": sorted(tables.provenance.tools.items()),
        "settings": _flat(tables.provenance.settings),
    }
    return page.render("cleaning.html.j2", context)


def _before_after(frame: pd.DataFrame) -> list[Table]:
    classes = [name for name in frame.columns if name not in ("version", "split", "all", "share")]
    columns = [
        Column("split", "split"),
        *(Column(name, name, "count") for name in classes),
        Column("all", "all", "count"),
        Column("share", "share", "share"),
    ]
    result = []
    for version in ("before", "after"):
        rows = frame[frame["version"] == version].drop(columns="version").reset_index(drop=True)
        last = frozenset({len(rows) - 1})
        result.append(Table(f"images-{version}", f"Images {version} cleaning", rows, columns, last))
    return result


def _left_out(frame: pd.DataFrame) -> dict[str, Any]:
    """Return a row per class with a bar per split, as wide as the share that was left out, and its numbers."""
    columns = [
        Column("split", "split"),
        Column("label", "class"),
        Column("before", "before", "count"),
        Column("left_out", "left out", "count"),
        Column("share", "share", "share"),
    ]
    table = Table("left-out", "Share left out by split and class", frame, columns)
    top = max(float(frame["share"].max()), _LEAST_SHARE)
    rows = [
        {"label": label, "bars": [bar | {"width": 100 * bar["share"] / top} for bar in of_class.to_dict("records")]}
        for label, of_class in frame.groupby("label", sort=False)
    ]
    return {"rows": rows, "splits": list(dict.fromkeys(frame["split"])), "table": table}


def _coverage(frame: pd.DataFrame | None) -> dict[str, Any] | None:
    """Return a row per class with a cell per axis and value over all splits, and the cells that lost most."""
    if frame is None or frame.empty:
        return None
    columns = [
        Column("axis", "axis"),
        Column("split", "split"),
        Column("label", "class"),
        Column("value", "value"),
        Column("images_before", "before", "count"),
        Column("images", "after", "count"),
    ]
    numbers = frame.groupby(["axis", "value", "label"], sort=False)[["images_before", "images"]].sum()
    values = list(dict.fromkeys(zip(frame["axis"], frame["value"], strict=True)))
    labels = list(dict.fromkeys(frame["label"]))
    # a class none of whose images has a value of an axis has no cell there
    every = pd.MultiIndex.from_tuples([(*value, label) for label in labels for value in values])
    numbers = numbers.reindex(every, fill_value=0)
    before, after = (numbers[name].to_dict() for name in ("images_before", "images"))
    rows = []
    for label in labels:
        cells = [(before[(*value, label)], after[(*value, label)]) for value in values]
        kept = [{"before": was, "after": is_, "share": is_ / (was or 1)} for was, is_ in cells]
        rows.append({"label": label, "cells": kept})
    axes = {axis: sum(axis == one for one, _ in values) for axis, _ in values}
    lost = frame[frame["images"] < frame["images_before"]]
    lost = lost.iloc[(lost["images"] / lost["images_before"]).argsort(kind="stable")]
    return {
        "axes": axes,
        "values": [value for _, value in values],
        "rows": rows,
        "table": Table("coverage-cells", "Cells that lost most", lost.head(_CELLS).reset_index(drop=True), columns),
    }


def _jury(frame: pd.DataFrame | None) -> Table | None:
    if frame is None or frame.empty:
        return None
    columns = [
        Column("name", "opinion"),
        Column("weight", "weight", "decimal", "in the consensus, relative to the heaviest"),
        Column("skill", "explains", "share", "of what the other opinions agree on"),
        Column("seen", "memory", "share", "of its answers only repeat given labels: discounted"),
        Column("sentence", "in words"),
    ]
    return Table("jury", "Who judged the labels", frame[["name", "weight", "skill", "seen", "sentence"]], columns)


def _plan(frame: pd.DataFrame | None) -> dict[str, Any] | None:
    """Return a bar for each number of answers and order of asking, as long as the share of labels that stay wrong."""
    if frame is None or frame.empty:
        return None
    columns = [
        Column("order", "order of asking"),
        Column("answers", "answers", "count"),
        Column("expected", "labels right", "share", "each label taken as its likeliest class"),
        *interval_columns(),
    ]
    table = Table("plan", "Labels expected to be right after so many answers", frame, columns)
    orders = list(dict.fromkeys(frame["order"]))
    wrong = 1.0 - frame["expected"]
    top = max(float(wrong.max()), _LEAST_SHARE)
    bars = frame.assign(
        wrong=wrong, width=100 * wrong / top, series=[orders.index(name) + 1 for name in frame["order"]]
    )
    return {"rows": bars.sort_values(["answers", "series"]).to_dict("records"), "table": table}


def _reached(frame: pd.DataFrame | None) -> Table | None:
    if frame is None or frame.empty:
        return None
    columns = [
        Column("what", "what"),
        Column("expected", "expected", "share"),
        Column("reached", "reached", "share"),
        *interval_columns(),
    ]
    return Table("reached", "What answers were expected to show, and what they showed", frame, columns)


_LEAST_SHARE = 0.01
"""Smallest full width of the bars of shares, so that a tiny share does not look large."""

_STATES = {"kept": "kept", "left out": "out", "relabelled": "changed", "softened": "changed"}
"""Outcome -> class of the style sheet."""


def _flow(frame: pd.DataFrame) -> dict[str, Any] | None:
    """Return a row for each kind of issue, with a part for each decision, as wide as its share of the largest kind."""
    if frame.empty:
        return None
    columns = [Column("found", "found"), Column("outcome", "decided"), Column("images", "images", "count")]
    table = Table("flow", "Images by what was found and what was decided", frame, columns)
    totals = frame.groupby("found", sort=False)["images"].sum().sort_values(ascending=False)
    rows = []
    for found, total in totals.items():
        mine = frame[frame["found"] == found]
        parts = [
            {
                "outcome": outcome,
                "images": int(images),
                "width": 100 * images / totals.max(),
                "state": "waits" if "," in outcome else _STATES[outcome],
            }
            for outcome, images in mine[["outcome", "images"]].itertuples(index=False, name=None)
        ]
        rows.append({"found": found, "total": int(total), "cause": str(mine["cause"].iloc[0]), "parts": parts})
    return {"rows": rows, "table": table}


def _checks(tables: CleaningTables) -> Table:
    by_class = tables.check_classes.pivot(index="check", columns="label", values="issues")
    by_class = by_class.reindex(tables.checks["check"]).fillna(0).reset_index(drop=True)
    by_class[tables.checks["issues"].isna().to_numpy()] = float("nan")
    classes = {label: f"class {n}" for n, label in enumerate(by_class.columns)}
    checks = tables.checks.reset_index(drop=True)
    # a check that was not run excludes nothing, which is not a count of 0
    checks["left_out"] = checks["left_out"].where(checks["issues"].notna() | (checks["left_out"] > 0))
    frame = pd.concat([checks, by_class.rename(columns=classes)], axis=1)
    columns = [
        Column("title", "check", note="explanation", command="command", view="view"),
        Column("issues", "flagged", "found", "images that the check flags"),
        Column("share", "share", "share", "of the images that it could score"),
        *(Column(name, label, "count", f"flagged images labelled {label}") for label, name in classes.items()),
        Column("left_out", "left out", "count", "images left out because of it"),
    ]
    return Table("checks", "Checks and what they found", frame, columns)


_PLOT_WIDTH, _PLOT_HEIGHT = 300, 110
"""Of a histogram, in the units of its drawing."""


def _distributions(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a histogram a measure: bars on a logarithmic scale, so that the few at the edges can be seen."""
    result = []
    for (title, measure), rows in frame.groupby(["title", "measure"], sort=False):
        if len(rows) > 1:
            low, high = float(rows["left"].min()), float(rows["right"].max())
            digits = 1 - math.floor(math.log10(high - low))
            limit, most = float(rows["threshold"].iloc[0]), int((rows["passed"] + rows["flagged"]).max())
            bars = [_bar(row, low, high, most) for row in rows.to_dict("records")]
            flagged = int(rows["flagged"].sum())
            alt = f"Histogram of {measure}, limit {limit:.3g}: {flagged:,} images beyond it."
            result.append(
                {"title": title, "measure": measure, "flagged": flagged, "bars": bars, "alt": alt, "most": most}
                | {"low": round(low, digits) + 0.0, "high": round(high, digits) + 0.0, "limit": limit}
                # where no image comes near the limit, its line would be in the next drawing
                | {"limit_x": _PLOT_WIDTH * (limit - low) / (high - low) if low <= limit <= high else None}
            )
    return result


def _bar(row: Row, low: float, high: float, most: int) -> dict[str, Any]:
    scale, tallest = _PLOT_WIDTH / (high - low), math.log10(1 + most)
    number = row["passed"] + row["flagged"]
    return {
        "x": (row["left"] - low) * scale,
        "width": (row["right"] - row["left"]) * scale,
        "height": _PLOT_HEIGHT * math.log10(1 + number) / tallest,
        "state": "out" if row["flagged"] else "passed",
        "words": f"{row['left']:.3g} to {row['right']:.3g}: {number:,} images",
    }


def _uniform(frame: pd.DataFrame) -> list[str]:
    """Return a sentence per measure that is equal in all images, which has no distribution to draw."""
    sizes = frame.groupby(["title", "measure"], sort=False)["left"].agg(["size", "first"])
    alike = sizes[sizes["size"] == 1].reset_index()
    named = zip(alike["title"], alike["measure"], alike["first"], strict=True)
    return [f"{title}: {measure} is {value:.3g} in every image" for title, measure, value in named]


def _gallery(tables: CleaningTables, uris: Mapping[str, str]) -> list[dict[str, Any]]:
    checks = tables.checks.set_index("check")
    result = []
    for check, of_check in tables.gallery.groupby("check", sort=False):
        classes = [
            {"label": label, "total": int(rows["total"].iloc[0]), "pictures": _pictures(rows, uris)}
            for label, rows in of_check.groupby("label", sort=False)
        ]
        words = {name: checks[name].to_dict()[check] for name in ("title", "explanation", "issues")}
        result.append({"check": check, "classes": classes, **words})
    return result


def _opinions(tables: CleaningTables) -> Table | None:
    if tables.opinions is None or tables.opinions.empty:
        return None
    columns = [
        Column("title", "check"),
        Column("peer", "peer"),
        Column("both", "both flag", "count"),
        Column("ours_only", "only ours flags", "count"),
        Column("peer_only", "only the peer flags", "count"),
    ]
    return Table("opinions", "Images flagged by our checks and by peers", tables.opinions, columns)


def _peer_gallery(tables: CleaningTables, uris: Mapping[str, str]) -> list[dict[str, Any]]:
    if tables.opinions is None or tables.peer_gallery is None:
        return []
    titles = dict(zip(tables.opinions["check"], tables.opinions["title"], strict=True))
    return [
        {"title": titles[check], "peer": peer, "pictures": _pictures(rows, uris)}
        for (check, peer), rows in tables.peer_gallery.groupby(["check", "peer"], sort=False)
    ]


def _pictures(rows: pd.DataFrame, uris: Mapping[str, str]) -> list[Row]:
    records = rows.drop(columns="thumbnail", errors="ignore").to_dict("records")
    return [{**record, "uri": uris.get(record["sha256"], "")} for record in records]


def _copies(frame: pd.DataFrame, uris: Mapping[str, str]) -> list[dict[str, Any]]:
    result = []
    for kind, (title, explanation) in KIND_WORDS.items():
        rows = frame[frame["kind"] == kind]
        if len(rows):
            plain = rows.drop(columns="thumbnail")  # costs as much for two rows as for many
            groups = [_copy_group(members, uris) for _, members in plain.groupby("group", sort=False)]
            words = {"kind": kind, "title": title, "view": title, "explanation": explanation}
            longest = max(len(group["contents"]) for group in groups)
            result.append(words | {"total": int(rows["total"].iloc[0]), "groups": groups, "longest": longest})
    return result


def _copy_group(members: pd.DataFrame, uris: Mapping[str, str]) -> dict[str, Any]:
    """Gather a group's members by content, so that equal files share one picture."""
    contents = [_pictures(same, uris) for _, same in members.groupby("sha256", sort=False)]
    labels, splits = sorted(set(members["label"])), sorted(set(members["split"]) - {""})
    copies = int(members["copies"].iloc[0])
    more = copies - len(members)
    text = " ".join([*members["path"], *members["evidence"]])
    found = {"outcomes": sorted(set(members["outcome"])), "score": float(members["score"].min()), "text": text}
    return {"copies": copies, "labels": labels, "splits": splits, "contents": contents, "more": more, **found}


def _decision_counts(frame: pd.DataFrame) -> Table:
    columns = [
        Column("cause", "because of", command="command"),
        Column("action", "decision"),
        Column("images", "images", "count"),
        Column("example", "reason, for example"),
        Column("actor", "who"),
    ]
    return Table("decision-counts", "Decisions by cause", frame, columns)


def _decisions(frame: pd.DataFrame) -> Table:
    columns = [
        Column("seq", "no.", "count"),
        Column("path", "image", "code"),
        Column("action", "decision"),
        Column("value", "value"),
        Column("reason", "reason"),
        Column("actor", "who"),
    ]
    used = [column for column in columns if column.name != "value" or frame["value"].astype(bool).any()]
    return Table("decisions", "Decisions on single images", frame, used)


def _left_out_files(origin: Provenance) -> Table | None:
    if not origin.left_out:
        return None
    frame = pd.DataFrame(origin.left_out, columns=["path", "reason"])
    columns = [Column("path", "file", "code"), Column("reason", "reason")]
    return Table("left-out-files", "Files of the source that are not part of the data set", frame, columns)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested settings as dotted names and values, in the order in which they came."""
    rows: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{name}.")
        else:
            rows.append((prefix + name, str(value)))
    return rows
