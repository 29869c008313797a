"""A judgement of labels that costs a second: what the twenty most alike pictures say, instead of trained models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from curation.base import files, settings
from curation.base.workspace import open_workspace
from curation.labels import jury
from curation.labels.judge import judgement
from curation.measure import load_measurements, load_thumbnails
from curation.pipeline import label_judgement, label_store

ASKED = 20
"""Neighbours of each image."""


def judge_by_neighbours(folder: Path) -> None:
    """Write the judgement into a workspace, from where ``curate check mislabelled ambiguous`` takes it."""
    workspace = open_workspace(folder)
    images = files.read_table(workspace.images)
    asked = settings.load().measure
    measured = load_measurements(files.read_table(workspace.listing), workspace.measurements, asked)
    readable = measured[measured["error"] == ""].merge(images[["path", "label"]], on="path")
    classes, labels = np.unique(readable["label"], return_inverse=True)
    thumbnails = load_thumbnails(readable["sha256"].tolist(), workspace.measurements, asked)
    share = _asked(thumbnails, labels, len(classes))
    groups = [""] * len(labels)
    consensus = jury.deliberate([label_judgement.MODELS], share[None], labels, share, groups)
    found = judgement(labels, consensus.posterior, consensus.sharpness)
    said = classes[share.argmax(axis=1)]
    table = pd.DataFrame(
        {
            "path": readable["path"],
            "label": readable["label"],
            "group": "",
            "answers": 0.0,
            "self_confidence": 1.0 - share[np.arange(len(labels)), labels],
            "says": [f"{ASKED} nearest say {name}" for name in said],
        }
    )
    files.write_table(workspace.labels, label_judgement.with_judgement(table, classes.tolist(), found))
    label_store.write_memory(workspace, "neighbours", labels, consensus, share, np.zeros((len(labels), 2)))
    record = {
        "key": "neighbours",
        "data": label_store.data_digest(images),
        "revision": label_store.REVISION,
        "classes": classes.tolist(),
        "sharpness": consensus.sharpness,
        "jury": [label_judgement.juror_record(juror) for juror in consensus.jurors],
        "rates": dict(zip(classes.tolist(), consensus.rates.tolist(), strict=True)),
        "rate_draws": [consensus.rates.tolist()] * 2,
    }
    files.write_json(workspace.labels.with_suffix(".json"), record)


def _asked(thumbnails: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Return each image's share of its neighbours' weight for each class, (n, classes)."""
    pixels = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    pixels -= pixels.mean(axis=1, keepdims=True)
    pixels /= np.linalg.norm(pixels, axis=1, keepdims=True) + 1e-6
    alike = pixels @ pixels.T
    np.fill_diagonal(alike, -1)
    nearest = np.argpartition(-alike, ASKED, axis=1)[:, :ASKED]
    named = np.eye(classes)[labels[nearest]]
    weights = np.exp(12 * np.take_along_axis(alike, nearest, axis=1))[:, :, None]
    shares: np.ndarray = (named * weights).sum(axis=1) / weights.sum(axis=1)
    return shares
