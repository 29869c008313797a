"""A judgement of labels that costs a second: what the ten most alike pictures say, in the place of trained models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from curation.base import files, settings
from curation.base.workspace import open_workspace
from curation.measure import load_measurements, load_thumbnails
from curation.pipeline import label_judgement

ASKED = 10
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
    share, votes = _asked(thumbnails, labels, len(classes))
    rows = np.arange(len(labels))
    others = share.copy()
    others[rows, labels] = 0.0
    first, second = np.sort(share, axis=1)[:, :-3:-1].T
    table = pd.DataFrame(
        {
            "path": readable["path"],
            "label": readable["label"],
            "group": "",
            "wrong": others.max(axis=1) * (1 - share[rows, labels]),
            "ambiguous": 1 - (first - second) / 0.2,  # two classes within a fifth of each other
            "suggestion": classes[others.argmax(axis=1)],
            "suggestion_right": others.max(axis=1),
            "believed": [json.dumps(dict(zip(classes, map(float, row), strict=True))) for row in share],
            "model_for": classes[share.argmax(axis=1)],
            "model_probability": first,
            "neighbours_for": classes[votes.argmax(axis=1)],
            "neighbours_votes": votes.max(axis=1),
            "neighbours_asked": ASKED,
            "voter_for": "",
            "voter_probability": 0.0,
            "copies_say": "",
        }
    )
    files.write_table(workspace.labels, table.assign(ambiguous=table["ambiguous"].clip(0, 1)))
    record = {"key": "neighbours", "data": label_judgement.data_digest(images)}
    files.write_json(workspace.labels.with_suffix(".json"), record)


def _asked(thumbnails: np.ndarray, labels: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each image's share of its neighbours' weight for each class, and their number."""
    pixels = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    pixels -= pixels.mean(axis=1, keepdims=True)
    pixels /= np.linalg.norm(pixels, axis=1, keepdims=True) + 1e-6
    alike = pixels @ pixels.T
    np.fill_diagonal(alike, -1)
    nearest = np.argpartition(-alike, ASKED, axis=1)[:, :ASKED]
    named = np.eye(classes)[labels[nearest]]
    weights = np.exp(5 * np.take_along_axis(alike, nearest, axis=1))[:, :, None]
    return (named * weights).sum(axis=1) / weights.sum(axis=1), named.sum(axis=1).astype(np.int64)
