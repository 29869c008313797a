"""The map and the search for similar images: FiftyOne Brain on our own features, without any download."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from curation.base.arrays import Floats
from curation.base.settings import Settings
from curation.base.workspace import Workspace, read_listing
from curation.checks.challenges.distance import stretched
from curation.checks.duplicates.features import View, descriptors
from curation.measure import load_measurements, load_thumbnails
from curation.pipeline.challenges import StoredEmbeddings, embeddings
from curation.review.read_model import sample_id
from curation.review.views import MAP_KEY, SIMILAR_KEY

_REVISION = "2"

_AXES = 128
"""Principal components of embeddings that the search compares."""


def embed(workspace: Workspace, dataset: Any, records: pd.DataFrame, settings: Settings) -> Callable[[], None]:
    """Give the dataset a map, unless it already has one of the same images; return a function that adds the index.

    The features are the embeddings where every image has one, else the low cosine coefficients of each picture, which
    are close for pictures that look alike as a whole. The similarity index takes longer than the map and is not needed
    in the first seconds.
    """
    given = embeddings(workspace, settings)
    parts = [_REVISION, "" if given is None else given.digest, *records["sha256"]]
    identity = hashlib.sha256("".join(parts).encode("ascii")).hexdigest()
    if dataset.info.get("embedded") == identity:
        return lambda: None
    import fiftyone.brain as fob

    features, ids = _features(workspace, records, settings, given)
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


def _features(
    workspace: Workspace, records: pd.DataFrame, settings: Settings, given: StoredEmbeddings | None
) -> tuple[Floats, list[str]]:
    measured = load_measurements(read_listing(workspace), workspace.measurements, settings.measure)
    measured = measured[(measured["error"] == "") & measured["path"].isin(records["path"])]
    contents = measured["sha256"].tolist()
    seen = given.of(contents) if given is not None else None
    if seen is None:
        thumbnails = load_thumbnails(contents, workspace.measurements, settings.measure)
        found = descriptors(thumbnails, View(1.0, 0.0, 0.0)).astype(np.float64)
    else:
        found = _centred(stretched(seen).astype(np.float64))
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


def _centred(features: Floats) -> Floats:
    """Return the features on their first principal components; uncentred, all cosines would be about 1."""
    centred = features - features.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    reduced: Floats = centred @ axes[:, : -_AXES - 1 : -1]
    return reduced
