"""Checks of the detected faces: none, many, small, off centre, cropped, turned.

Boxes are in fractions of the image's width and height. A check that needs more than the detector in use provides
(turned_face needs landmarks) has no rows for those images.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from curation.base.settings import Settings
from curation.checks.base import (
    CheckInputs,
    Flags,
    Floats,
    Ints,
    Limits,
    Measured,
    OneNumber,
    high_outliers,
    low_outliers,
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


_BOX = ("face_x", "face_y", "face_width", "face_height")


def _columns(inputs: CheckInputs, *names: str) -> list[Floats]:
    return [inputs.measurements[name].to_numpy(dtype=np.float64) for name in names]


def _has_face(inputs: CheckInputs) -> Flags:
    (score,) = _columns(inputs, "face_score")
    return inputs.readable & (score >= inputs.settings.checks.face_score)


def _of_faces(
    name: str,
    values: Callable[[CheckInputs], Floats],
    limits: Callable[[Floats, Settings], Limits],
    *reads: str,
) -> OneNumber:
    """Return a check on a measure of the images with a face, which is made of the columns ``reads``."""
    return OneNumber(
        lambda inputs: Measured(np.where(_has_face(inputs), values(inputs), np.nan), (name,)),
        limits,
        reads=("face_score", *reads),
    )


def _best_score(inputs: CheckInputs) -> Measured:
    (best,) = _columns(inputs, "face_score")
    return Measured(np.where(inputs.readable, best, np.nan), ("face_score",))


no_face = OneNumber(
    _best_score, lambda _, settings: Limits(0.0, settings.checks.face_score, 1.0), reads=("face_score",)
)
"""Images in which no face is certain; value is the detector's best score."""


def _second_score(inputs: CheckInputs) -> Measured:
    (second,) = _columns(inputs, "second_face_score")
    return Measured(np.where(inputs.readable, np.nan_to_num(second), np.nan), ("second_face_score",))


many_faces = OneNumber(
    _second_score,
    lambda _, settings: Limits(1.0, settings.checks.second_face_score, 0.0, high_is_bad=True),
    reads=("second_face_score",),
)
"""Images with a second face; value is the second best score."""


def _face_size(inputs: CheckInputs) -> Floats:
    width, height = _columns(inputs, "face_width", "face_height")
    return np.sqrt(np.clip(width * height, 0.0, None))


small_face = _of_faces("face_size", _face_size, low_outliers(_SMALL_BOUNDS), "face_width", "face_height")
"""Faces that fill less of the image than usual in the data set."""


def _distance(inputs: CheckInputs) -> Floats:
    x, y, width, height = _columns(inputs, *_BOX)
    return np.hypot(x + width / 2 - 0.5, y + height / 2 - 0.5)


off_centre = _of_faces("distance_from_centre", _distance, high_outliers(_OFF_CENTRE_BOUNDS, worst=0.7), *_BOX)
"""Faces far from the image's centre."""


def _share_missing(inputs: CheckInputs) -> Floats:
    x, y, width, height = _columns(inputs, *_BOX)
    inside_x = np.clip(np.minimum(x + width, 1.0) - np.maximum(x, 0.0), 0.0, None)
    inside_y = np.clip(np.minimum(y + height, 1.0) - np.maximum(y, 0.0), 0.0, None)
    with np.errstate(divide="ignore", invalid="ignore"):
        outside = 1.0 - inside_x * inside_y / (width * height)
    (distance,) = _columns(inputs, "face_edge_distance")
    near = np.clip((_MARGIN - np.nan_to_num(distance, nan=1.0)) / _MARGIN, 0.0, 1.0) * _FEATURE
    missing = np.where(near > 0, np.maximum(near, _CROPPED_BOUNDS[1] + 0.01), 0.0)
    return np.asarray(np.maximum(outside, missing))


cropped_face = _of_faces("share_missing", _share_missing, high_outliers(_CROPPED_BOUNDS), *_BOX, "face_edge_distance")
"""Faces that are partly outside the image."""


def _turn(inputs: CheckInputs) -> Floats:
    yaw, roll = _columns(inputs, "face_yaw", "face_roll")
    checks = inputs.settings.checks
    return np.maximum(np.abs(yaw) / checks.turned_yaw_degrees, np.abs(roll) / checks.turned_roll_degrees)


turned_face = _of_faces(
    "angle_relative_to_limit",
    _turn,
    lambda _, settings: Limits(2.0, 1.0, 0.0, high_is_bad=True),
    "face_yaw",
    "face_roll",
)
"""Faces turned sideways or tilted; value is the larger of the two angles, each relative to its limit."""


def _gained(inputs: CheckInputs) -> Measured:
    own, other = _columns(inputs, "face_score", "turned_score")
    sure = other >= inputs.settings.checks.face_score
    gained = np.where(sure, other - own, 0.0)
    return Measured(np.where(inputs.readable, gained, np.nan), ("score_gained_by_turning",))


def _turn_by(inputs: CheckInputs, at: Ints) -> list[str]:
    return [f'"turn_by": {way}' for way in inputs.measurements["turned_degrees"].iloc[at]]


rolled_face = OneNumber(
    _gained,
    lambda _, settings: Limits(0.5, _GAIN, 0.0, high_is_bad=True),
    _turn_by,
    reads=("face_score", "turned_score"),
)
"""Faces that are sideways or upside down; the evidence states by how many degrees to turn the picture."""
