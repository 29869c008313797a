"""Head pose from five landmarks, in closed form: no camera has to be known, and no iteration can fail to converge.

The head is seen from far away (scaled orthography), so that image = scale * (first two rows of the rotation) * model.
The linear least-squares solution of that is made a rotation by orthogonalising its rows: the first step of POSIT
(DeMenthon and Davis, "Model-based object pose in 25 lines of code", IJCV 1995).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_MODEL = np.array(
    [
        [-0.500, 0.00, 0.00],
        [+0.500, 0.00, 0.00],
        [0.000, 0.56, 0.48],
        [-0.415, 1.03, 0.05],
        [+0.415, 1.03, 0.05],
    ]
)
"""A mean head in units of the distance between the pupils (63 mm, Dodgson 2004): eyes, nose tip, mouth corners; x to
the image's right, y down, z to the camera. The half width of the mouth is that of ArcFace's frontal template (Deng et
al. 2019); the heights are medians of where the detectors here place the points on mostly frontal photographs (nose 0.53
to 0.60, mouth 0.95 to 1.08; the template's mouth is lower); the nose tip is about 30 mm in front of the pupils, the
mouth corners about 3 mm."""

_CENTRED = _MODEL - _MODEL.mean(axis=0)
_SOLVE = np.linalg.pinv(_CENTRED)
"""(3, 5): maps centred image points to the two scaled rows of the rotation."""

_DECIMALS = 3
"""A thousandth of a degree; landmarks are good to a few degrees."""


class Pose(NamedTuple):
    """Angles in degrees, each -180..180; NaN where no head explains the landmarks.

    yaw   -- positive where the face looks to the right of the image
    pitch -- positive where it looks down
    roll  -- positive where the head leans clockwise in the image

    The head is first rolled, then nodded, then turned: rotation = yaw * pitch * roll.
    """

    yaw: float
    pitch: float
    roll: float


UNKNOWN_POSE = Pose(math.nan, math.nan, math.nan)


def pose_of(landmarks: tuple[float, ...] | None, aspect: float) -> Pose:
    """Return the pose of a face.

    Args:
        landmarks: x1, y1, .. x5, y5 in fractions of the image, as in ``Face``; None gives an unknown pose
        aspect: the image's width divided by its height

    """
    if landmarks is None:
        return UNKNOWN_POSE
    points = np.asarray(landmarks, dtype=np.float64).reshape(5, 2) * (aspect, 1.0)
    rotation = _rotation(points)
    if rotation is None:
        return UNKNOWN_POSE
    (_, _, x), (rolled, upright, y), (_, _, z) = rotation.tolist()
    yaw = math.degrees(math.atan2(x, z))  # x, y, z: where the model's z axis, the nose, points
    pitch = math.degrees(math.atan2(y, math.hypot(x, z)))
    roll = math.degrees(math.atan2(rolled, upright))
    return Pose(*(round(angle, _DECIMALS) + 0.0 for angle in (yaw, pitch, roll)))


def _rotation(points: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return the (3, 3) rotation of the model that explains (5, 2) image points best, None where there is none.

    The nearest rows of a rotation to M are (M M^T)^(-1/2) M, its polar factor; a 2 x 2 root has a closed form.
    """
    rows = (_SOLVE @ points).T  # the model is centred, so the points need not be
    (a, b), (_, d) = (rows @ rows.T).tolist()
    determinant = a * d - b * b
    if not determinant > 1e-12 * (a + d) ** 2:  # points on one line, at one place, or not finite
        return None
    root = math.sqrt(determinant)
    scale = root * math.sqrt(a + d + 2 * root)
    first, second = np.array([[d + root, -b], [-b, a + root]]) / scale @ rows
    (x1, y1, z1), (x2, y2, z2) = first.tolist(), second.tolist()
    return np.array([[x1, y1, z1], [x2, y2, z2], [y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2]])
