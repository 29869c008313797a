"""What a version did about labels, counted and expected."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from curation.labels.outcome import LabelOutcome, outcome

RATES = {"happy": 0.1, "sad": 0.3}
STEADY = np.tile(list(RATES.values()), (100, 1))


def judged_images(wrong: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    other = {"happy": "sad", "sad": "happy"}
    posterior = [{label: 1 - p, other[label]: p} for label, p in zip(labels, wrong, strict=True)]
    paths = [f"{number}.jpg" for number in range(len(wrong))]
    return pd.DataFrame({"path": paths, "label": labels, "wrong": wrong, "posterior": posterior})


def untouched(judged: pd.DataFrame) -> pd.DataFrame:
    fixed = {"status": "kept", "weight": 1.0, "soft_label": "", "issue": "", "by_person": False}
    return judged[["path", "label"]].assign(**fixed)


def drawn(count: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    wrong = rng.beta(0.4, 2.0, count)
    return judged_images(wrong, rng.choice(["happy", "sad"], count)), rng.random(count) < wrong


def test_an_untouched_version_keeps_every_error_and_claims_no_precision() -> None:
    judged, _ = drawn(500, 1)
    found = outcome(untouched(judged), judged, STEADY, RATES)
    assert found.relabelled is None and found.excluded is None
    assert found.errors_left.value == pytest.approx(judged["wrong"].sum())
    assert (found.touched["share"] == 0).all() and found.kept == 500


def test_labels_of_other_images_or_of_no_known_class_count_nothing() -> None:
    judged, _ = drawn(20, 1)
    elsewhere = judged.assign(path="other/" + judged["path"])
    for known in (elsewhere, judged[:0], judged.assign(label="anger")):
        found = outcome(untouched(judged), known, STEADY, RATES)
        assert found.kept == 0 and found.errors_left.value == 0 and len(found.touched) == 0
    found = outcome(untouched(judged), judged.assign(label=["anger", *judged["label"][1:]]), STEADY, RATES)
    assert found.kept == 19


def test_the_interval_holds_the_errors_of_calibrated_probabilities() -> None:
    inside = 0
    for seed in range(100):
        judged, truth = drawn(300, seed)
        left = outcome(untouched(judged), judged, STEADY, RATES).errors_left
        inside += left.low <= truth.sum() <= left.high
    assert inside >= 88


def test_rates_that_are_poorly_known_widen_the_interval() -> None:
    judged, _ = drawn(500, 3)
    loose = STEADY * np.random.default_rng(0).uniform(0.5, 1.5, (100, 1))
    spans = [
        found.errors_left.high - found.errors_left.low
        for found in (outcome(untouched(judged), judged, draws, RATES) for draws in (STEADY, loose))
    ]
    assert spans[1] > 1.5 * spans[0]


def test_what_was_relabelled_left_out_softened_or_decided_by_a_person_is_counted_once() -> None:
    labels = np.array(["happy", "happy", "sad", "sad", "sad"])
    judged = judged_images(np.array([0.9, 0.8, 0.5, 0.7, 0.2]), labels)
    rows = untouched(judged)
    rows.loc[0, ["label", "issue"]] = ["sad", "mislabelled"]
    rows.loc[1, ["status", "issue"]] = ["excluded", "mislabelled"]
    rows.loc[2, "weight"] = 0.5
    rows.loc[3, ["label", "by_person"]] = ["happy", True]
    found = outcome(rows, judged, STEADY, RATES)
    counts = found.touched.set_index("label")
    assert counts.loc["happy", ["relabelled", "excluded", "softened", "share"]].tolist() == [1, 1, 0, 1.0]
    assert counts.loc["sad", ["relabelled", "excluded", "softened"]].tolist() == [1, 0, 1]
    assert found.relabelled is not None and found.excluded is not None
    assert found.relabelled.value == pytest.approx(0.9)  # the person's is no guess
    assert found.excluded.value == pytest.approx(0.8)
    assert found.errors_left.value == pytest.approx(0.1 + 0.5 + 0.2)


def test_copies_left_out_for_being_copies_are_no_decision_on_labels() -> None:
    judged, _ = drawn(50, 2)
    rows = untouched(judged).assign(status="excluded", issue="near_duplicate")
    found = outcome(rows, judged, STEADY, RATES)
    assert found.touched["excluded"].sum() == 0 and found.kept == 0
    assert found.lines() == []


def test_the_sentences_give_the_interval() -> None:
    judged, _ = drawn(500, 4)
    found: LabelOutcome = outcome(untouched(judged), judged, STEADY, RATES)
    assert "95 % interval" in found.lines()[0] and "among the 500 kept" in found.lines()[0]
