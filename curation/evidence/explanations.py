"""What has it learned? Grad-CAM of single images and averages of aligned faces, and occlusion by region."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from curation.base.progress import Report
from curation.evidence.evaluated_model import EvaluatedModel
from curation.evidence.store import Tables

SHOWN_PER_CLASS = 2
"""Single images shown for each class: the surest right one, and the surest wrong one."""

PICTURE_SIDE = 112
"""Pixels."""

AVERAGE_OVER = 240
"""Images behind the averages and the occlusion: a backward pass costs three forward ones."""


def explanations(evaluated: EvaluatedModel, report: Report) -> Tables:
    """Return average maps per class and confusion, occlusion by region, single images, and suspected shortcuts."""
    from training.explain import (
        face_regions,
        grad_cam,
        mass_by_region,
        mean_maps,
        occlusion_by_region,
        shortcut_suspects,
    )

    images, there = evaluated.aligned_images()
    chosen = np.flatnonzero(there)
    if len(chosen) > AVERAGE_OVER:
        chosen = np.sort(np.random.default_rng(evaluated.seed).choice(chosen, AVERAGE_OVER, replace=False))
    images, labels = images[chosen], evaluated.labels[chosen]
    called = evaluated.model.probabilities(images).argmax(axis=1).astype(np.int64)
    report(1, 5)
    regions = face_regions(evaluated.reference.flat)
    maps = grad_cam(evaluated.model, images, called)
    report(2, 5)
    falls = occlusion_by_region(evaluated.model, images, labels, regions, evaluated.seed)
    report(3, 5)
    mass = mass_by_region(maps, regions).assign(given=[evaluated.classes[place] for place in labels])
    looked = mass.groupby("given", sort=False).mean().reset_index().melt("given", var_name="region", value_name="mass")
    averages = mean_maps(maps, labels, called, evaluated.classes)
    faces = [_mean_face(images, labels, called, evaluated.classes, row) for row in averages.itertuples()]
    pictures = _singles(evaluated, images, labels, called, maps)
    report(5, 5)
    return {
        "averages": averages.assign(face=pd.Series(faces, index=averages.index, dtype=object)),
        "falls": falls,
        "mass": looked,
        "singles": pictures,
        "suspects": shortcut_suspects(falls),
    }


def _mean_face(images: np.ndarray, labels: np.ndarray, called: np.ndarray, classes: tuple[str, ...], row: Any) -> bytes:
    """Return the average face with the average map over it, RGB bytes."""
    from training.explain import overlay

    given, predicted = classes.index(row.given), classes.index(row.predicted)
    mask = (labels == given) & (called == predicted)
    side = images.shape[1]
    values = np.frombuffer(row.map, np.uint8).reshape(side, side).astype(np.float32)
    return overlay(images[mask].mean(axis=0).round().astype(np.uint8), values, PICTURE_SIDE)


def _singles(
    evaluated: EvaluatedModel, images: np.ndarray, labels: np.ndarray, called: np.ndarray, maps: np.ndarray
) -> pd.DataFrame:
    """Return, for each class, the surest right and the surest wrong images with Grad-CAM and the occlusion map."""
    from training.explain import occlusion_maps, overlay

    sure = evaluated.model.probabilities(images).max(axis=1)
    chosen = []
    for place in range(len(evaluated.classes)):
        for right in (True, False):
            mine = np.flatnonzero((labels == place) & ((called == labels) == right))
            chosen += mine[np.argsort(-sure[mine], kind="stable")][: SHOWN_PER_CLASS // 2].tolist()
    covered = occlusion_maps(evaluated.model, images[chosen], called[chosen])
    rows = []
    for number, place in enumerate(chosen):
        plain = overlay(images[place], np.zeros_like(maps[place]), PICTURE_SIDE)
        rows.append(
            {
                "label": evaluated.classes[labels[place]],
                "predicted": evaluated.classes[called[place]],
                "probability": float(sure[place]),
                "image": plain,
                "grad_cam": overlay(images[place], maps[place], PICTURE_SIDE),
                "occlusion": overlay(images[place], covered[number], PICTURE_SIDE),
            }
        )
    columns = ["label", "predicted", "probability", "image", "grad_cam", "occlusion"]
    return pd.DataFrame(rows, columns=columns)
