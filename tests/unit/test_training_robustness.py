"""Robustness: corruption is graded and repeatable, weak covariates show, and a gap is explained by what makes it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("sklearn", reason="the extra train is not installed")

from training.arrays import Probabilities
from training.robustness import SEVERITIES, by_covariate, corrupted, covariates, curves, explained_gap


def pictures(count: int = 12, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 8, 8)).astype(np.uint8)
    return np.kron(coarse, np.ones((1, 6, 6), np.uint8))


@pytest.mark.parametrize("name", SEVERITIES)
def test_each_grade_changes_more_and_is_the_same_again(name: str) -> None:
    images = pictures()
    changes = []
    for grade in SEVERITIES[name]:
        worse = corrupted(images, name, grade, seed=1)
        assert worse.dtype == np.uint8 and worse.shape == images.shape
        assert np.array_equal(worse, corrupted(images, name, grade, seed=1))
        changes.append(np.abs(worse.astype(float) - images).mean())
    assert changes[0] > 0 and changes[-1] > changes[0]


def by_brightness(images: np.ndarray) -> Probabilities:
    """Call bright images 1 and dark images 0."""
    bright = images.reshape(len(images), -1).mean(axis=1) > 100
    return np.column_stack([1.0 - bright, bright * 1.0])


def test_a_model_that_reads_brightness_bears_blur_but_not_darkness() -> None:
    images = np.repeat(np.array([[[60]], [[140]]], np.uint8), 20, axis=0) * np.ones((1, 24, 24), np.uint8)
    labels = np.repeat([0, 1], 20)
    found = curves(by_brightness, images, labels).set_index(["corruption", "severity"])
    assert found.loc[("blur", 4), "accuracy"] == 1.0
    assert found.loc[("darker", 4), "accuracy"] == 0.5
    assert found.loc[("darker", 4), "change_high"] < 0


def test_the_covariate_that_makes_mistakes_is_the_one_that_shows() -> None:
    rng = np.random.default_rng(0)
    light, size = rng.random(1000), rng.random(1000)
    right = rng.random(1000) < np.where(light < 0.2, 0.4, 0.9)
    found = by_covariate(right, pd.DataFrame({"light": light, "size": size, "same": 1.0}))
    assert set(found["covariate"]) == {"light", "size"}
    spread = found.groupby("covariate")["accuracy"].agg(lambda a: a.max() - a.min())
    assert spread["light"] > 0.3 > 2 * spread["size"]


def test_a_gap_that_is_all_darkness_is_explained_by_darkness_and_not_by_size() -> None:
    rng = np.random.default_rng(0)

    def drawn(count: int, darkness: float) -> tuple[np.ndarray, pd.DataFrame]:
        dark = rng.random(count) < darkness
        light = np.where(dark, 0.2, 0.8) + 0.05 * rng.random(count)
        return rng.random(count) < np.where(dark, 0.5, 0.9), pd.DataFrame({"light": light, "size": rng.random(count)})

    (right, values), (other, others) = drawn(3000, 0.2), drawn(3000, 0.8)
    found = explained_gap(right, other, values, others, replicates=200).set_index("covariate")
    assert found.loc["light", "share"] == pytest.approx(1, abs=0.25)
    assert found.loc["all together", "share"] == pytest.approx(1, abs=0.3)
    assert abs(found.loc["size", "share"]) < 0.1


def test_sharpness_does_not_confuse_dark_with_blurred() -> None:
    images = pictures()
    measured = covariates(np.concatenate([images, images // 4, corrupted(images, "blur", 0.08)]))
    sharp = measured["sharpness"].to_numpy().reshape(3, -1).mean(axis=1)
    assert abs(sharp[0] - sharp[1]) < 0.2 and sharp[2] < sharp[0] - 0.5
