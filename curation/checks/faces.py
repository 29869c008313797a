"""Checks of the detected faces: none, many, small, off centre, cropped, turned.

Boxes are in fractions of the image's width and height. A check that needs more than the detector in use provides
(turned_face needs landmarks) has no rows for those images.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from curation.checks.base import (
    CheckInputs,
    Flags,
    Floats,
    high_is_bad,
    high_outliers,
    low_is_bad,
    low_outliers,
    one_number_rows,
)

_SMALL_BOUNDS = (0.10, 0.40)
"""Square root of the face's share of the image's area."""

_OFF_CENTRE_BOUNDS = (0.15, 0.35)
"""Distance between the face's and the image's centre, in sides of the image."""

_CROPPED_BOUNDS = (0.10, 0.35)
"""Share of the face box's area outside the image; detectors extend the boxes of tight crops a little."""

_MARGIN = 0.06
_FEATURE = 0.5
"""A feature (eye, nose, mouth corner) nearer to the edge than ``_MARGIN``, in widths of the face, means that part of
the face is missing, half of it if the feature is on the edge, where the detector can only guess it. Of 500 complete
faces two are so near."""

_GAIN = 0.03
"""A face is sideways or upside down, not just tilted, if turning the picture raises its score by this much; see
``curation.measure.faces.turned``."""


def _columns(inputs: CheckInputs, *names: str) -> list[Floats]:
    return [inputs.measurements[name].to_numpy(dtype=np.float64) for name in names]


def _has_face(inputs: CheckInputs) -> Flags:
    (score,) = _columns(inputs, "face_score")
    return inputs.readable & (score >= inputs.settings.checks.face_score)


def no_face(inputs: CheckInputs) -> pd.DataFrame:
    """Images in which no face is certain; value is the detector's best score."""
    (best,) = _columns(inputs, "face_score")
    values = np.where(inputs.readable, best, np.nan)
    threshold = inputs.settings.checks.face_score
    scores = low_is_bad(values, threshold, 0.0, 1.0)
    return one_number_rows("no_face", inputs.images["path"], values, scores, measure="face_score", threshold=threshold)


def many_faces(inputs: CheckInputs) -> pd.DataFrame:
    """Images with a second face; value is the second best score."""
    (second,) = _columns(inputs, "second_face_score")
    values = np.where(inputs.readable, np.nan_to_num(second), np.nan)
    threshold = inputs.settings.checks.second_face_score
    scores = high_is_bad(values, threshold, 1.0, 0.0)
    return one_number_rows(
        "many_faces", inputs.images["path"], values, scores, measure="second_face_score", threshold=threshold
    )


def small_face(inputs: CheckInputs) -> pd.DataFrame:
    """Faces that fill less of the image than usual in the data set."""
    width, height = _columns(inputs, "face_width", "face_height")
    values = np.where(_has_face(inputs), np.sqrt(np.clip(width * height, 0.0, None)), np.nan)
    return low_outliers(inputs, "small_face", values, _SMALL_BOUNDS, "face_size")


def off_centre(inputs: CheckInputs) -> pd.DataFrame:
    """Faces far from the image's centre."""
    x, y, width, height = _columns(inputs, "face_x", "face_y", "face_width", "face_height")
    distance = np.where(_has_face(inputs), np.hypot(x + width / 2 - 0.5, y + height / 2 - 0.5), np.nan)
    return high_outliers(inputs, "off_centre", distance, _OFF_CENTRE_BOUNDS, "distance_from_centre", worst=0.7)


def cropped_face(inputs: CheckInputs) -> pd.DataFrame:
    """Faces that are partly outside the image."""
    x, y, width, height = _columns(inputs, "face_x", "face_y", "face_width", "face_height")
    inside_x = np.clip(np.minimum(x + width, 1.0) - np.maximum(x, 0.0), 0.0, None)
    inside_y = np.clip(np.minimum(y + height, 1.0) - np.maximum(y, 0.0), 0.0, None)
    with np.errstate(divide="ignore", invalid="ignore"):
        outside = 1.0 - inside_x * inside_y / (width * height)
    (distance,) = _columns(inputs, "face_edge_distance")
    near = np.clip((_MARGIN - np.nan_to_num(distance, nan=1.0)) / _MARGIN, 0.0, 1.0) * _FEATURE
    missing = np.where(near > 0, np.maximum(near, _CROPPED_BOUNDS[1] + 0.01), 0.0)
    values = np.where(_has_face(inputs), np.maximum(outside, missing), np.nan)
    return high_outliers(inputs, "cropped_face", values, _CROPPED_BOUNDS, "share_missing")


def turned_face(inputs: CheckInputs) -> pd.DataFrame:
    """Faces turned sideways or tilted; value is the larger of the two angles, each relative to its limit."""
    yaw, roll = _columns(inputs, "face_yaw", "face_roll")
    checks = inputs.settings.checks
    turn = np.maximum(np.abs(yaw) / checks.turned_yaw_degrees, np.abs(roll) / checks.turned_roll_degrees)
    values = np.where(_has_face(inputs), turn, np.nan)
    scores = high_is_bad(values, 1.0, 2.0, 0.0)
    return one_number_rows(
        "turned_face", inputs.images["path"], values, scores, measure="angle_relative_to_limit", threshold=1.0
    )


def rolled_face(inputs: CheckInputs) -> pd.DataFrame:
    """Faces that are sideways or upside down; the evidence states by how many degrees to turn the picture."""
    own, other = _columns(inputs, "face_score", "turned_score")
    sure = other >= inputs.settings.checks.face_score
    gained = np.where(sure, other - own, 0.0)
    values = np.where(inputs.readable, gained, np.nan)
    scores = high_is_bad(values, _GAIN, 0.5, 0.0)
    found = one_number_rows(
        "rolled_face", inputs.images["path"], values, scores, measure="score_gained_by_turning", threshold=_GAIN
    )
    degrees = inputs.measurements["turned_degrees"].to_numpy()[inputs.readable]
    turned = [f'{text[:-1]}, "turn_by": {way}}}' for text, way in zip(found["evidence"], degrees, strict=True)]
    return found.assign(evidence=np.where(found["is_issue"], turned, found["evidence"]))
