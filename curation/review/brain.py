"""The map and the search for similar images: FiftyOne Brain on our own features, so that nothing is downloaded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from curation.base.arrays import Floats
from curation.base.settings import Settings
from curation.base.workspace import Workspace, read_listing
from curation.checks.duplicates.features import View, descriptors
from curation.measure import load_measurements, load_thumbnails
from curation.review.read_model import sample_id
from curation.review.views import MAP_KEY, SIMILAR_KEY

_REVISION = "1"


def embed(workspace: Workspace, dataset: Any, records: pd.DataFrame, settings: Settings) -> Callable[[], None]:
    """Give the dataset a map, unless it has that of the same images; return what gives it the similarity index.

    The features are the low cosine coefficients of each picture: pictures are near that look alike as a whole. The
    index takes longer than the map, and nobody needs it in the first seconds.
    """
    identity = hashlib.sha256((_REVISION + "".join(records["sha256"])).encode("ascii")).hexdigest()
    if dataset.info.get("embedded") == identity:
        return lambda: None
    import fiftyone.brain as fob

    features, ids = _features(workspace, records, settings)
    of = dataset.select(ids, ordered=True)
    if dataset.has_brain_run(MAP_KEY):
        dataset.delete_brain_run(MAP_KEY)
    fob.compute_visualization(of, points=_plane(features), brain_key=MAP_KEY, progress=False)

    def index() -> None:
        if dataset.has_brain_run(SIMILAR_KEY):
            dataset.delete_brain_run(SIMILAR_KEY)
        fob.compute_similarity(of, embeddings=features.astype(np.float32), brain_key=SIMILAR_KEY, progress=False)
        dataset.info["embedded"] = identity
        dataset.save()

    return index


def _features(workspace: Workspace, records: pd.DataFrame, settings: Settings) -> tuple[Floats, list[str]]:
    measured = load_measurements(read_listing(workspace), workspace.measurements, settings.measure)
    measured = measured[(measured["error"] == "") & measured["path"].isin(records["path"])]
    thumbnails = load_thumbnails(measured["sha256"].tolist(), workspace.measurements, settings.measure)
    found = descriptors(thumbnails, View(1.0, 0.0, 0.0)).astype(np.float64)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    return found / np.maximum(lengths, 1e-12), [sample_id(path) for path in measured["path"]]


def _plane(features: Floats) -> Floats:
    """Return each image's place on the first two principal components, -1..1."""
    centred = features - features.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    points = centred @ axes[:, :-3:-1]
    largest = np.abs(points).max(initial=1e-12)
    plane: Floats = points / largest
    return plane
