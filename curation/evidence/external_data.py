"""How much must the model generalise? Other people's pictures, corruption, and what explains the gap."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from curation.base import files
from curation.base.classes import in_order
from curation.base.progress import Display, Report
from curation.base.workspace import Workspace
from curation.evidence.alignment import Faces, aligned_files
from curation.evidence.evaluated_model import EvaluatedModel, joined_covariates, open_evaluated_model, places
from curation.evidence.store import Tables
from curation.formats.source import read_source
from curation.labels.votes import match_classes
from curation.models.runs import ModelError, translate_errors

if TYPE_CHECKING:
    from curation.base.settings import Settings

OTHERS = 24
"""Wrong images of the other data that a page shows."""


@dataclass(frozen=True)
class Other:
    """Labelled faces of another source.

    name    -- of the source: the last part of where it lies
    root    -- where it lies: an absolute path, or a URL without its secrets
    frame   -- path, label (the model's class), url
    faces   -- aligned, row by row
    """

    name: str
    root: str
    frame: pd.DataFrame
    faces: Faces


def read_other(evaluated: EvaluatedModel, source: str, display: Display) -> Other:
    """Return the labelled faces of a folder, archive or list, cropped and aligned as the data that the model knows.

    Raises:
        ModelError: no image has a label that is a class of the model.

    """
    read = read_source(source, evaluated.workspace.sources)
    listing = read.frame
    mine = match_classes(in_order(listing["label"]), evaluated.classes)
    names = {theirs: ours for ours, theirs in mine.items()}
    known = listing[listing["label"].isin(names)].reset_index(drop=True)
    if known.empty:
        raise ModelError(
            f"no image of {source} is labelled {', '.join(evaluated.classes)}; make it a folder with a folder per class"
        )
    frame = known[["path", "url"]].assign(label=known["label"].map(names))
    name = read.root.rstrip("/").rpartition("/")[2]
    with display.step(f"Aligning {name}") as report:
        faces = aligned_files(frame["url"].tolist(), evaluated.reference, evaluated.settings, report)
    return Other(name, read.root, frame, faces)


def evaluate_external(
    workspace: Workspace, settings: Settings, name: str, source: str, display: Display
) -> tuple[pd.DataFrame, Path]:
    """Evaluate a model on any labelled source, each face cropped and aligned as in the training data.

    Returns:
        The metrics (view, images, metric, class, estimate, low, high), and the file of the predictions (path, label,
        found, one probability per class).

    Raises:
        ModelError: no such model, or nothing in the source that it knows.

    """
    from training.evaluate import side_by_side

    evaluated = open_evaluated_model(workspace, settings, name, "cleaned", 1, 0, display)
    other = read_other(evaluated, source, display)
    with display.step("Predicting"):
        probabilities = evaluated.model.probabilities(other.faces.images)
    labels, found = places(other.frame["label"], evaluated.classes), other.faces.facts["found"].to_numpy(bool)
    views = {other.name: np.ones(len(labels), bool)}
    if not found.all():
        views |= {f"{other.name}, face found": found}
    table = translate_errors(lambda: side_by_side(labels, probabilities, evaluated.classes, views))
    predictions = other.frame[["path", "label"]].assign(found=found)
    for place, one in enumerate(evaluated.classes):
        predictions[one] = probabilities[:, place].astype(np.float64)
    file = workspace.predictions / predictions_name(evaluated.run_dir.name, other.root)
    files.write_table(file, predictions)
    return table, file


def predictions_name(run: str, root: str) -> str:
    """Return the name of the file of a run's predictions on another source; sources of one name have a file each."""
    stem = re.sub(r"[^\w.-]", "_", PurePosixPath(root).stem)[:_MOST_OF_A_NAME]
    return f"{run}_on_{stem}-{hashlib.sha256(os.fsencode(root)).hexdigest()[:8]}.parquet"


_MOST_OF_A_NAME = 40
"""Characters of a source's name in a file's name."""


def robustness(evaluated: EvaluatedModel, report: Report) -> Tables:
    """Return accuracy under graded corruption, by covariate, and with and without each challenge."""
    from training.robustness import by_challenge, by_covariate, curves

    right = evaluated.predicted == evaluated.labels
    return {
        "curves": curves(
            evaluated.model.probabilities, evaluated.images, evaluated.labels, seed=evaluated.seed, report=report
        ),
        "covariates": by_covariate(right, evaluated.covariates(), evaluated.seed),
        "challenges": by_challenge(right, evaluated.challenges),
    }


def new_people(evaluated: EvaluatedModel) -> Tables:
    """Return the accuracy on held-out images of people in the training images, and of other people.

    Empty where nothing is known of who is in the images.
    """
    from training.evaluate import metrics

    if "subject" not in evaluated.frame or not (evaluated.frame["subject"] != "").any():
        return {}
    met = evaluated.frame["subject"].isin(set(evaluated.trained["subject"]) - {""}).to_numpy()
    parts = [
        metrics(evaluated.labels[mask], evaluated.probabilities[mask], evaluated.classes).assign(
            data=name, images=number
        )
        for name, mask in (("people in train", met), ("new people", ~met))
        if (number := int(mask.sum()))
    ]
    table = pd.concat(parts, ignore_index=True)
    return {"new_people": table[table["metric"] == "accuracy"].reset_index(drop=True)}


def external_data(evaluated: EvaluatedModel, source: str, display: Display) -> Tables:
    """Return the metrics on other data and on the held-out images, what explains the gap, and the wrong images."""
    from training.evaluate import metrics
    from training.robustness import covariates, explained_gap

    other = read_other(evaluated, source, display)
    with display.step(f"Predicting {other.name}"):
        theirs = evaluated.model.probabilities(other.faces.images)
    labels = places(other.frame["label"], evaluated.classes)
    sides = {"held out": (evaluated.labels, evaluated.probabilities), other.name: (labels, theirs)}
    both = [
        metrics(given, scores, evaluated.classes).assign(data=data, images=len(given))
        for data, (given, scores) in sides.items()
    ]
    right, other_right = evaluated.predicted == evaluated.labels, theirs.argmax(axis=1) == labels
    values = evaluated.covariates()
    others = joined_covariates(covariates(other.faces.images), other.faces.facts)
    named = [
        frame.assign(**{"mix of classes": labelled})
        for frame, labelled in [
            (values, evaluated.frame["label"].reset_index(drop=True)),
            (others, other.frame["label"]),
        ]
    ]
    return {
        "metrics": pd.concat(both, ignore_index=True),
        "gap": explained_gap(right, other_right, named[0], named[1], seed=evaluated.seed),
        "facts": pd.DataFrame(
            {"data": [other.name], "images": [len(labels)], "found": [int(other.faces.facts["found"].sum())]}
        ),
        "wrong": _wrong(evaluated, other, labels, theirs),
    }


def _wrong(evaluated: EvaluatedModel, other: Other, labels: np.ndarray, theirs: np.ndarray) -> pd.DataFrame:
    """Return the most confident mistakes, with their pictures."""
    called, sure = theirs.argmax(axis=1), theirs.max(axis=1)
    order = [int(place) for place in np.argsort(-sure, kind="stable") if called[place] != labels[place]][:OTHERS]
    return pd.DataFrame(
        {
            "path": other.frame["path"].iloc[order].to_numpy(),
            "label": other.frame["label"].iloc[order].to_numpy(),
            "predicted": [evaluated.classes[called[place]] for place in order],
            "probability": [float(sure[place]) for place in order],
            "thumbnail": pd.Series([other.faces.images[place].tobytes() for place in order], dtype=object),
        }
    )
