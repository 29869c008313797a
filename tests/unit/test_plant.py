"""Planted copies: deterministic, in shape, and really changed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.audit.synthetic import plant
from tests import hard_copies

ALL_KINDS = (*plant.KINDS, *hard_copies.FURTHER_KINDS)


def drawn_face(seed: int, side: int = 48) -> np.ndarray:
    """A random picture with coarse and fine details, two eyes and a mouth somewhere near their places."""
    rng = np.random.default_rng(seed)
    picture = np.full((side, side), 128.0)
    for share, strength in ((1 / 6, 300), (1 / 16, 100), (1 / 32, 35)):
        noise = cv2.resize(rng.normal(0, strength, (48, 48)), (side, side), interpolation=cv2.INTER_CUBIC)
        picture += cv2.GaussianBlur(noise, (0, 0), share * side)
    for x, y in np.array([(0.33, 0.4), (0.67, 0.4), (0.5, 0.72)]) + rng.uniform(-0.1, 0.1, (3, 2)):
        axes = (round(side * rng.uniform(0.06, 0.14)), round(side * rng.uniform(0.03, 0.08)))
        cv2.ellipse(
            picture, (round(x * side), round(y * side)), axes, rng.uniform(-30, 30), 0, 360, rng.uniform(0, 80), -1
        )
    return np.clip(cv2.GaussianBlur(picture, (0, 0), side / 64), 0, 255).astype(np.uint8)


def test_there_are_the_kinds_of_the_issue() -> None:
    assert len(plant.KINDS) >= 18
    assert not set(plant.KINDS) & set(hard_copies.FURTHER_KINDS)


@pytest.mark.parametrize("kind", ALL_KINDS)
@pytest.mark.parametrize("shape", [(48, 48), (200, 160), (96, 120, 3)])
def test_a_copy_keeps_shape_and_type_and_differs(kind: str, shape: tuple[int, ...]) -> None:
    face = cv2.resize(drawn_face(3, 96), shape[1::-1])
    image = face if len(shape) == 2 else np.stack([face, 255 - face, face // 2], axis=2)
    before = image.copy()
    copy = hard_copies.make_copy(image, kind, seed=5)
    assert copy.shape == shape
    assert copy.dtype == np.uint8
    assert not np.array_equal(copy, image)
    assert np.array_equal(image, before), "the original must not be written to"


@given(seed=st.integers(0, 2**31), kind=st.sampled_from(ALL_KINDS))
def test_equal_seeds_give_equal_copies(seed: int, kind: str) -> None:
    face = drawn_face(1)
    assert np.array_equal(hard_copies.make_copy(face, kind, seed), hard_copies.make_copy(face, kind, seed))


def test_a_mirrored_copy_mirrored_is_the_original() -> None:
    face = drawn_face(2)
    assert np.array_equal(plant.make_copy(face, "mirror", 0)[:, ::-1], face)


def test_lengths_grow_with_the_image() -> None:
    small = plant.make_copy(np.full((48, 48), 90, np.uint8), "block", 1) != 90
    large = plant.make_copy(np.full((480, 480), 90, np.uint8), "block", 1) != 90
    assert small.sum() == 12**2
    assert large.sum() == 120**2


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(KeyError):
        plant.make_copy(drawn_face(0), "nonsense", 0)
