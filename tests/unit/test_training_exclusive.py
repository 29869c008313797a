"""Must classes exclude each other: shared probability, sets that hold the label as promised, two kinds of head."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra train is not installed")
pytest.importorskip("mapie", reason="the extra train is not installed")

from training.class_overlap import (
    CONFORMAL_CONFIDENCE,
    compare_heads,
    conformal_sets,
    coverage,
    set_counts,
    shared_probability,
)

CLASSES = ("happy", "neutral", "sad", "surprise")


def answers(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities that are calibrated, for labels are drawn from them."""
    rng = np.random.default_rng(seed)
    said = rng.dirichlet(np.full(4, 0.4), count).astype(np.float32)
    labels = np.array([rng.choice(4, p=row / row.sum()) for row in said.astype(np.float64)])
    return said, labels


def test_two_classes_share_the_images_in_which_both_are_likely() -> None:
    said = np.array([[0.6, 0.1, 0.3, 0.0], [0.9, 0.04, 0.06, 0.0], [0.0, 0.8, 0.2, 0.0]], np.float32)
    found = shared_probability(said, CLASSES).set_index(["first", "second"])
    assert found.loc[("happy", "sad"), ["images", "share"]].tolist() == [1, 0.5]
    assert found.loc[("neutral", "sad"), "images"] == 0  # a fifth is no second class
    assert found.loc[("happy", "sad"), "probability"] == pytest.approx(0.18)
    assert len(found) == 12


@pytest.mark.parametrize("method", ["lac", "aps"])
def test_sets_hold_the_label_nine_times_of_ten(method: str) -> None:
    (said, labels), (more, more_labels) = answers(500, 0), answers(500, 1)
    table = coverage(conformal_sets(said, labels, more, method), more_labels, CLASSES).set_index("class")
    assert table.loc["", "coverage"] >= CONFORMAL_CONFIDENCE - 0.04
    assert table.loc["", "low"] <= table.loc["", "coverage"] <= table.loc["", "high"]
    sizes = table[["single", "pair", "larger", "empty"]].sum(axis=1)
    assert sizes.to_numpy() == pytest.approx(1.0)


def test_a_sure_model_needs_sets_of_one_class() -> None:
    labels = np.arange(200) % 4
    said = np.full((200, 4), 0.01, np.float32)
    said[np.arange(200), labels] = 0.97
    sets = conformal_sets(said[:100], labels[:100], said[100:])
    assert (sets.sum(axis=1) == 1).all()
    counts = set_counts(sets, CLASSES)
    assert set(counts["set"]) == set(CLASSES) and counts["images"].sum() == 100 and counts["share"].sum() == 1


def test_sets_are_named_by_their_classes() -> None:
    sets = np.array([[1, 0, 1, 0], [1, 0, 1, 0], [0, 0, 0, 0]], bool)
    found = set_counts(sets, CLASSES)
    assert found["set"].tolist() == ["happy + sad", "none"]
    assert found["classes"].tolist() == [2, 0] and found["images"].tolist() == [2, 1]


def test_two_kinds_of_head_are_compared_on_the_same_images() -> None:
    """Three features say which of three classes a face shows; the fourth class never occurs."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 400)
    features = np.eye(3)[labels] * 4 + rng.normal(0, 1, (400, 3))
    heads = compare_heads(features[:300], labels[:300], features[300:], labels[300:], CLASSES)
    accuracy = heads.compared.set_index("metric").loc["accuracy"]
    assert accuracy["first"] > 0.9 and abs(accuracy["difference"]) < 0.1
    assert heads.answers["images"].sum() == 100 and heads.answers["share"].sum() == pytest.approx(1)


def test_heads_of_two_classes_are_compared_too() -> None:
    labels = np.arange(120) % 2
    features = labels[:, None] * 3 + np.random.default_rng(0).normal(0, 1, (120, 2))
    found = compare_heads(features[:80], labels[:80], features[80:], labels[80:], ("happy", "sad")).compared
    assert found.set_index("metric").loc["accuracy", "first"] > 0.9
