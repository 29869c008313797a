"""Head pose from five landmarks."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.measure.faces import pose
from curation.measure.faces.pose import pose_of

angles = st.floats(-75, 75)


def seen(yaw: float, pitch: float, roll: float, size: float = 0.3) -> tuple[float, ...]:
    """The model turned by these angles and seen from afar, as landmarks of a square image."""
    y, p, r = np.radians([yaw, pitch, roll])
    turn = np.array([[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]])
    nod = np.array([[1, 0, 0], [0, math.cos(p), math.sin(p)], [0, -math.sin(p), math.cos(p)]])
    spin = np.array([[math.cos(r), -math.sin(r), 0], [math.sin(r), math.cos(r), 0], [0, 0, 1]])
    points = (turn @ nod @ spin @ pose._MODEL.T)[:2].T * size + (0.5, 0.4)
    return tuple(points.ravel().tolist())


@settings(deadline=None)
@given(angles, angles, angles)
def test_the_angles_of_a_turned_model_are_recovered(yaw, pitch, roll):
    assert pose_of(seen(yaw, pitch, roll), 1.0) == pytest.approx((yaw, pitch, roll), abs=2e-3)


@settings(deadline=None)
@given(angles, angles, angles, st.floats(0.01, 0.9))
def test_mirroring_the_landmarks_negates_yaw_and_roll(yaw, pitch, roll, size):
    points = np.array(seen(yaw, pitch, roll, size)).reshape(5, 2)
    mirrored = (points * (-1, 1) + (1, 0))[[1, 0, 2, 4, 3]]
    found = pose_of(tuple(mirrored.ravel().tolist()), 1.0)
    assert found == pytest.approx((-yaw, pitch, -roll), abs=2e-3)


def test_the_aspect_ratio_of_the_image_is_undone():
    points = np.array(seen(20, 5, 10)).reshape(5, 2) / (2, 1)
    assert pose_of(tuple(points.ravel().tolist()), 2.0) == pytest.approx((20, 5, 10), abs=2e-3)


@pytest.mark.parametrize("landmarks", [None, (0.5,) * 10, (math.nan,) * 10, tuple(np.linspace(0, 1, 10).tolist())])
def test_landmarks_that_no_head_explains_give_an_unknown_pose(landmarks):
    assert all(math.isnan(angle) for angle in pose_of(landmarks, 1.0))


def test_signs_a_nose_to_the_right_is_positive_yaw_and_a_raised_right_eye_negative_roll():
    frontal = np.array(seen(0, 0, 0)).reshape(5, 2)
    to_the_right = frontal.copy()
    to_the_right[2, 0] += 0.05
    assert pose_of(tuple(to_the_right.ravel().tolist()), 1.0).yaw > 5
    assert pose_of(seen(0, 0, -15), 1.0).roll < 0
    assert seen(0, 0, -15)[3] < seen(0, 0, 0)[3]
