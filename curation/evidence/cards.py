"""Cards: what a data set and a model are, where they come from, how they were made, and their known faults."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from curation.base.destinations import Destinations
from curation.base.files import bare_url
from curation.base.workspace import Workspace
from curation.decisions import manifest
from curation.evidence import words
from curation.evidence.evaluated_model import newest_run
from curation.evidence.report import QUESTIONS
from curation.evidence.store import read
from curation.formats import croissant, huggingface
from curation.formats.export_data import ExportData, load_export_data
from curation.models.runs import EVALUATION, ModelError, evaluated, find_run, translate_errors
from curation.pipeline import curating

if TYPE_CHECKING:
    from curation.evidence.store import Tables

TO_FILL_IN = "TO FILL IN"
"""Placeholder where only the owner knows the answer."""

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
"""The hub's size categories: fewer images than, name."""


def write_cards(
    workspace: Workspace, version_name: str, model: str, destination: Path, *, force: bool = False
) -> list[Path]:
    """Write the dataset card, its Croissant metadata and, where there is a model, its card; return the files.

    Args:
        workspace: with a curated data set.
        version_name: the version that the dataset card describes.
        model: a run; "" for the newest, if there is any.
        destination: a folder.
        force: whether files there that a person filled in, or another program wrote, may be replaced.

    Raises:
        DestinationError: the folder is inside the data or a workspace, or holds such a file.

    """
    export_data = load_export_data(workspace, version_name)
    answers = _answers(workspace, model)
    biases = [sentence for name in ("people", "groups") if name in answers for sentence in answers[name].sentences]
    history = _history(workspace, export_data.version)
    kinds = [f"{action}, {cause}, by {actor}: {number:,} images" for action, cause, actor, number in history]
    texts = {
        "dataset-card.md": _dataset_card(export_data, history, biases),
        "croissant.json": croissant.description(export_data, croissant.Remarks(TO_FILL_IN, kinds, biases)),
    }
    run = _run(workspace, model)
    if run is not None:
        texts["model-card.md"] = _model_card(run, answers)
    made = {destination / name: text.encode("utf-8") for name, text in texts.items()}
    Destinations(workspace, force).write(made)
    return list(made)


def _run(workspace: Workspace, model: str) -> Path | None:
    if model:
        return find_run(workspace, model)
    try:
        return find_run(workspace, newest_run(workspace))
    except ModelError:
        return None


def _answers(workspace: Workspace, model: str) -> dict[str, words.SectionSummary]:
    """Return what ``curate report --models`` found out about the model, by question."""
    run = _run(workspace, model)
    if run is None:
        return {}
    folder = workspace.findings / run.name
    found: dict[str, Tables] = {name: read(folder / name) for name in QUESTIONS}
    robust = read(folder / "robustness")
    found["elsewhere"] = robust | found["elsewhere"] if robust else {}
    return {name: words.ANSWERS[name](tables) for name, tables in found.items() if tables}


def _dataset_card(export_data: ExportData, history: list[tuple[str, str, str, int]], biases: list[str]) -> str:
    kept = len(export_data.kept)
    size = next((name for limit, name in SIZES if kept < limit), "n>1M")
    fields = {
        "license": "other",
        "license_name": TO_FILL_IN,
        "size_categories": [size],
        "tags": ["faces", "expressions"],
    }
    excluded = export_data.rows[export_data.rows["status"] == "excluded"]
    relabelled = int((export_data.kept["label"] != export_data.kept["original_label"]).sum())
    lines = [
        "## Provenance",
        "",
        f"- Source: {_public(export_data.source) or TO_FILL_IN}",
        f"- Collected by, how, with whose consent: {TO_FILL_IN}",
        f"- Licence of the images, and of the labels: {TO_FILL_IN}",
        f"- Made {export_data.version.created}; manifest `{export_data.version.hash}`.",
        "",
        "## Cleaning history",
        "",
        f"{len(export_data.rows):,} images were imported; {len(excluded):,} were excluded, {relabelled:,} relabelled.",
        "",
        "| decision | reason | by | images |",
        "|---|---|---|---|",
        *(f"| {action} | {cause} | {actor} | {number:,} |" for action, cause, actor, number in history),
        "",
        "## Known biases",
        "",
        *(
            f"- {sentence}"
            for sentence in biases or ["Not measured; run: curate report --models --votes, --attributes."]
        ),
        "",
        "## Intended use",
        "",
        f"{TO_FILL_IN}. Expressions in photographs are not what people feel, and some of the labels are wrong.",
        "",
    ]
    return huggingface.dataset_card(export_data, {}, fields, lines)


def _public(source: str) -> str:
    """Return a source without private parts: of a path on this machine only the last part."""
    is_path = source.startswith(("/", ".", "~")) or Path(source).is_absolute()
    return Path(source).name if is_path else bare_url(source)


def _history(workspace: Workspace, version: manifest.Version) -> list[tuple[str, str, str, int]]:
    """Return action, check that it rests on, actor and number of each kind of decision in force in the version."""
    counts = Counter(
        (entry.action, entry.issue.partition("#")[0] or "a person's own", entry.actor)
        for entry in curating.entries_of(workspace, version)
    )
    return [(*kind, number) for kind, number in counts.most_common()]


_FIGURES = ["view", "images", "metric", "class", "estimate", "low", "high"]
"""Columns of an evaluation that a card shows."""


def _model_card(run: Path, answers: dict[str, words.SectionSummary]) -> str:
    """Return the model's card: the hub's YAML, recipe and metrics, and what was found out about it."""
    from training.model import model_card

    judged = (run / EVALUATION).exists()
    figures = evaluated(run) if judged else pd.DataFrame(columns=_FIGURES)
    lines = [""] if judged else ["", f"Not evaluated yet; run: curate evaluate {run.name}", ""]
    header = {"license": "other", "license_name": TO_FILL_IN, "pipeline_tag": "image-classification", "tags": ["faces"]}
    yaml = "\n".join(f"{name}: {json.dumps(value)}" for name, value in header.items())
    lines += ["## What was found about it", ""]
    for name, answer in answers.items():
        lines += [f"### {QUESTIONS[name][1]}", "", *(f"- {sentence}" for sentence in answer.sentences), ""]
        lines += ["It cannot say:", "", *(f"- {limit}" for limit in answer.limits), ""]
    if not answers:
        lines += ["Nothing yet; run: curate report --models", ""]
    lines += ["## Intended use, and use that is out of scope", "", TO_FILL_IN, ""]
    card = translate_errors(lambda: model_card(run, figures))
    return f"---\n{yaml}\n---\n\n{card}" + "\n".join(lines)
