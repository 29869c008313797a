"""Planted defects: copies of a picture, bad photographs, and files that are not pictures."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from curation.audit.synthetic.detail import Tones
from curation.audit.synthetic.face import Shot

SHARES = {
    "exact_duplicate:same_split": 8,
    "exact_duplicate:other_split": 8,
    "exact_duplicate:other_label": 6,
    **{f"near_duplicate:{kind}": 4 for kind in ("mirror", "crop_5", "shift_2", "jpeg", "text", "rotate")},
    "dark": 6,
    "bright": 6,
    "low_contrast": 6,
    "blurry": 6,
    "blank:black": 3,
    "blank:white": 3,
    "blank:grey": 2,
    "no_face:texture": 6,
    "no_face:object": 6,
    "off_centre": 5,
    "small_face": 5,
    "many_faces": 5,
    "mislabelled": 12,
    "ambiguous": 8,
    "unreadable:truncated": 4,
    "unreadable:empty": 3,
    "unreadable:text": 3,
    "watermark:text": 4,
    "watermark:sign": 4,
    "occluded_face:scarf": 4,
    "occluded_face:fan": 4,
    "non_human_face:cartoon": 4,
    "non_human_face:animal": 4,
    "rolled_face:sideways": 4,
    "rolled_face:upside_down": 2,
    "cropped_face": 4,
}
"""How many of 400 images have each defect; the part before the colon is the check that should find it, the kinds of
near duplicates are ``curation.audit.synthetic.plant``'s."""


BAD_LIGHT: dict[str, Callable[[Tones], Tones]] = {
    "dark": lambda tones: 0.2 * tones,
    "bright": lambda tones: 0.68 + 0.32 * tones,
    "low_contrast": lambda tones: 0.38 + 0.2 * tones,
    "blurry": lambda tones: np.asarray(cv2.GaussianBlur(tones, (0, 0), tones.shape[0] / 22), np.float32),
}
"""Changes of tones 0..1 after which a face can no longer be judged well."""

LAID = {
    "watermark:text": "written over",
    "watermark:sign": "sign over it",
    "occluded_face:scarf": "scarf",
    "occluded_face:fan": "fan",
}
"""What covers a face, by its name in ``curation.audit.challenges``: kinds that the tool does not train on."""


def rolled(kind: str, tones: Tones, rng: np.random.Generator) -> Tones:
    """Return a picture that is sideways or upside down, as when a converter drops the camera's orientation."""
    return np.ascontiguousarray(np.rot90(tones, 2 if kind == "upside_down" else rng.choice([1, 3])))


BLANK_TONES = {"black": (0.0, 0.05), "white": (0.95, 1.0), "grey": (0.3, 0.7)}
_BLANK_NOISE = 0.006
"""Standard deviation of a sensor's noise under a cap, tones: one or two grey levels."""


def blank(kind: str, side: int, rng: np.random.Generator) -> Tones:
    """Return (side, side) float32 tones of an empty picture, no two with equal pixels."""
    tones = rng.uniform(*BLANK_TONES[kind]) + rng.normal(0.0, _BLANK_NOISE, (side, side))
    return np.asarray(np.clip(tones, 0, 1), dtype=np.float32)


def badly_framed(kind: str, rng: np.random.Generator) -> list[dict[str, float]]:
    """Return, for every head in a badly framed image, the fields of its ``Shot`` that differ."""
    if kind == "off_centre":
        return [{"x": 0.5 + rng.choice([-1, 1]) * 0.27, "y": 0.5 + rng.choice([-1, 1]) * 0.24, "size": 0.5}]
    if kind == "small_face":
        return [{"x": rng.uniform(0.42, 0.58), "y": rng.uniform(0.42, 0.58), "size": rng.uniform(0.33, 0.38)}]
    if kind == "cropped_face":
        return [{"x": 0.5 + rng.choice([-1, 1]) * rng.uniform(0.3, 0.36), "size": rng.uniform(0.85, 0.95)}]
    left = {"x": rng.uniform(0.24, 0.27), "y": rng.uniform(0.4, 0.6), "size": rng.uniform(0.5, 0.54)}
    return [left, left | {"x": 1 - left["x"], "y": rng.uniform(0.4, 0.6)}]


def framed(shot: Shot, own: dict[str, float]) -> Shot:
    """Return ``shot`` with the head's place and size replaced."""
    return Shot(**(vars(shot) | own))


def broken(kind: str, image: bytes, rng: np.random.Generator) -> bytes:
    """Return the bytes of a file that ends in .jpg and cannot be decoded, made of a good one where it is truncated."""
    if kind == "truncated":
        return image[: round(len(image) * rng.uniform(0.3, 0.7))]
    return b"" if kind == "empty" else b"<html><body>404 Not Found</body></html>\n"
