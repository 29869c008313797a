"""How the App opens: saved views, the sidebar's groups, and a workspace of grid and panels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from curation.pipeline import summary
from curation.review.push import INFO, prediction_field
from curation.review.read_model import Shown

MAP_KEY = "map"
"""Brain key of the two-dimensional map."""

SIMILAR_KEY = "similar"
"""Brain key of the similarity search."""

PANEL = "face_review"
"""Name of the review panel."""

WORKSPACE = "Review"

_REVISION = 7
"""Raised whenever the views or the layout change for the same checks."""


def arrange(fo: Any, dataset: Any, shown: Shown) -> None:
    """Save the views, the sidebar and the workspace, unless they exist already."""
    state = json.dumps([_REVISION, sorted(shown.scores), sorted(shown.predictions)])
    fingerprint = hashlib.sha256(state.encode("utf-8")).hexdigest()
    if dataset.info.get("arranged") == fingerprint and dataset.has_workspace(WORKSPACE):
        return
    for name in dataset.list_saved_views():  # of models that are no longer shown, or have other names
        if name.startswith("Model "):
            dataset.delete_saved_view(name)
    for name, view, description in saved_views(fo, dataset, shown):
        dataset.save_view(name, view, description=description, overwrite=True)
    _sidebar(fo, dataset, shown)
    dataset.save_workspace(WORKSPACE, layout(fo), description="Grid, review and histogram", overwrite=True)
    dataset.info["arranged"] = fingerprint
    dataset.save()


def saved_views(fo: Any, dataset: Any, shown: Shown) -> list[tuple[str, Any, str]]:
    """Return (name, view, description): one per check, worst first, and those of people's answers."""
    field = fo.ViewField
    views = []
    for check in shown.scores:
        flagged = dataset.match(field("issues").contains(check)).sort_by(f"scores.{check}")
        title, explanation = summary.check_words(check)
        views.append((title, flagged, explanation))
    copies = dataset.match(field("copies") > 1)
    conflicts = copies.match(field("issues").contains("label_conflict"))
    views += [
        ("Copies, group by group", copies.group_by("copy_group"), "One tile per group of copies"),
        ("Label conflicts, group by group", conflicts.group_by("copy_group"), "Copies under different labels"),
        ("Excluded by this version", dataset.match(field("status") == "excluded"), "Images that the version excludes"),
        ("Relabelled by this version", dataset.match(field("label.label") != field("original_label.label")), ""),
        ("Answered by people", dataset.match(field("reviewers").length() > 0), "Images with an answer of anybody"),
        ("Unsure", dataset.match(field("decided.label") == "unsure"), "Waits for another person"),
        ("People disagree", dataset.match(field("disagree") == True), "Waits for a decision that settles it"),  # noqa: E712
    ]
    if "subject_leak" in shown.scores:
        people = dataset.match(field("person_images") > 1)
        leaks = people.match(field("scores.subject_leak") < 1)
        shift = people.match(field("issues").contains("subject_shift"))
        views += [
            ("People in several splits, person by person", leaks.group_by("person_group"), "Certain or possible"),
            ("People of one class, person by person", shift.group_by("person_group"), "All with one label"),
            ("People, person by person", people.group_by("person_group"), "One tile per person"),
        ]
    for model in shown.predictions:
        name = prediction_field(model)
        doubted = dataset.match(field(f"{name}.label") != field("label.label")).match(field(f"{name}.label") != None)  # noqa: E711
        title = f"{model.capitalize()}: another class"
        views.append((title, doubted.sort_by(f"{name}.confidence", reverse=True), "Most confident first"))
    return views


def _sidebar(fo: Any, dataset: Any, shown: Shown) -> None:
    group = fo.SidebarGroupDocument
    predictions = map(prediction_field, shown.predictions)
    scores = [f"scores.{check}" for check in shown.scores]
    dataset.app_config.sidebar_groups = [
        group(name="tags", paths=["tags"], expanded=False),
        group(name="review", paths=["decided", "evidence", "reviewers", "disagree"], expanded=True),
        group(name="labels", paths=["label", "suggestion", "original_label", *predictions], expanded=True),
        group(name="issues", paths=["issues", "worst_issue", *scores], expanded=True),
        group(name="faces", paths=["faces", "landmarks"], expanded=False),
        group(
            name="metadata",
            paths=[
                *("path", "split", "status", "reason", "copies", "copy_group", "person", "person_group"),
                *("weight", "soft_label"),
            ],
            expanded=False,
        ),
        group(
            name="other",
            paths=["id", "filepath", "metadata", "digest", "created_at", "last_modified_at"],
            expanded=False,
        ),
    ]
    dataset.app_config.active_fields = fo.ActiveFields(paths=["label", "suggestion", "decided"], exclude=False)
    dataset.save()


def layout(fo: Any, *, blind: bool = False) -> Any:
    """Return the panels: the grid at the left; review and histogram at the right. Blind: no histogram."""
    samples = fo.Panel(type="Samples", pinned=True)
    grid = fo.Space(children=[samples], active_child=samples.component_id)
    side = [fo.Panel(type=PANEL)]
    if not blind:
        side += [fo.Panel(type="Histograms", state={"path": "label.label"})]
    panels = fo.Space(children=side, active_child=side[0].component_id)
    return fo.Space(children=[grid, panels], orientation="horizontal", sizes=[0.58, 0.42])


def queue_view(dataset: Any, ids: Sequence[str]) -> Any:
    """Return the images of a queue, in its order."""
    return dataset.select(list(ids), ordered=True)


__all__ = ["INFO", "MAP_KEY", "PANEL", "SIMILAR_KEY", "WORKSPACE", "arrange", "layout", "queue_view", "saved_views"]
