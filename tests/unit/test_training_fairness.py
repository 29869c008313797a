"""Fairness: a group whose labels were flipped is found, equal groups are not, and the figures are fairlearn's."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("fairlearn", reason="the extra train is not installed")

from training.arrays import Ints, Probabilities
from training.fairness import FALSE_DISCOVERY_RATE, by_group, group_estimates, rates_by_group, with_intersections

CLASSES = ("happy", "neutral", "sad")


def drawn(count: int = 900, seed: int = 0) -> tuple[pd.DataFrame, Ints, Probabilities]:
    """Return people in two attributes, labels, and a model that is right for four of five of everybody."""
    rng = np.random.default_rng(seed)
    people = pd.DataFrame({"gender": rng.choice(["female", "male"], count), "age": rng.choice(["old", "young"], count)})
    labels = rng.integers(0, 3, count)
    answers = np.where(rng.random(count) < 0.8, labels, rng.integers(0, 3, count))
    probabilities = np.full((count, 3), 0.15)
    probabilities[np.arange(count), answers] = 0.7
    return people, labels, probabilities


def test_a_group_whose_labels_were_flipped_on_purpose_is_found() -> None:
    people, labels, probabilities = drawn()
    hit = (people["gender"] == "female").to_numpy() & (np.random.default_rng(1).random(len(labels)) < 0.3)
    flipped = np.where(hit, (labels + 1) % 3, labels)
    found = by_group(people, probabilities, CLASSES, flipped, replicates=300)
    accuracy = found[found["metric"] == "accuracy"].set_index("group")
    assert accuracy.loc["female", "differs"] and accuracy.loc["female", "difference_high"] < 0
    assert not accuracy.loc["old", "differs"]


def test_groups_that_are_treated_alike_are_not_called_different() -> None:
    people, labels, probabilities = drawn(seed=3)
    found = by_group(people, probabilities, CLASSES, labels, replicates=300)
    assert found["differs"].mean() <= FALSE_DISCOVERY_RATE


def test_relabelling_that_hits_one_group_is_found_in_the_cleaning() -> None:
    people, _, _ = drawn()
    rng = np.random.default_rng(2)
    relabelled = rng.random(len(people)) < np.where(people["age"] == "old", 0.2, 0.05)
    found = rates_by_group(people, pd.DataFrame({"relabelled": relabelled}), replicates=300).set_index("group")
    assert found.loc["old", "differs"] and found.loc["old", "difference_low"] > 0
    assert not found.loc["female", "differs"]


def test_accuracy_by_group_is_fairlearns() -> None:
    people, labels, probabilities = drawn()
    found = by_group(people, probabilities, CLASSES, labels, replicates=50)
    theirs = group_estimates(labels, probabilities.argmax(axis=1), people["gender"]).set_index("group")
    for group in ("female", "male"):
        mine = found[(found["metric"] == "accuracy") & (found["group"] == group)].iloc[0]
        assert mine["estimate"] == pytest.approx(theirs.loc[group, "accuracy"])
        assert mine["images"] == theirs.loc[group, "images"]


def test_small_groups_and_unknown_people_get_no_figures() -> None:
    people, labels, probabilities = drawn(100)
    people.loc[:9, "gender"] = "other"
    people.loc[10:19, "gender"] = ""
    groups = set(by_group(people, probabilities, CLASSES, labels, minimum=30, replicates=20)["group"])
    assert "other" not in groups and "" not in groups


def test_without_labels_only_answers_and_confidence_are_compared() -> None:
    people, _, probabilities = drawn()
    found = by_group(people, probabilities, CLASSES, replicates=20)
    assert set(found["metric"]) == {"selection_rate", "confidence"}
    rates = found[(found["group"] == "male") & (found["metric"] == "selection_rate")]["estimate"]
    assert rates.sum() == pytest.approx(1)


def test_an_intersection_is_unknown_where_a_part_is() -> None:
    joined = with_intersections(pd.DataFrame({"gender": ["female", ""], "age": ["old", "old"]}))
    assert list(joined["gender and age"]) == ["female and old", ""]
