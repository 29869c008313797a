"""Metrics against scikit-learn, intervals against their definition, comparisons in pairs."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluate import (
    EvaluationError,
    compare_pairs,
    confused,
    confusion,
    mcnemar,
    metrics,
    predictions_table,
    side_by_side,
    standard_views,
    view_difference,
)

CLASSES = ("a", "b", "c")


def guesses(count, seed, skill=1.5):
    """Return labels and probabilities of a model that is right more often the greater its skill."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    logits = rng.normal(size=(count, 3)) + skill * np.eye(3)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return labels, probabilities


def value(table, metric, name="", column="estimate"):
    return table.loc[(table["metric"] == metric) & (table["class"] == name), column].item()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(30, 200))
def test_metrics_agree_with_scikit_learn(seed, count):
    learn = pytest.importorskip("sklearn.metrics")
    labels, probabilities = guesses(count, seed)
    predicted = probabilities.argmax(axis=1)
    table = metrics(labels, probabilities, CLASSES, replicates=5)
    assert value(table, "accuracy") == pytest.approx(learn.accuracy_score(labels, predicted))
    assert value(table, "balanced_accuracy") == pytest.approx(learn.balanced_accuracy_score(labels, predicted))
    assert value(table, "macro_f1") == pytest.approx(learn.f1_score(labels, predicted, average="macro"))
    assert value(table, "log_loss") == pytest.approx(learn.log_loss(labels, probabilities, labels=[0, 1, 2]))
    for index, name in enumerate(CLASSES):
        assert value(table, "f1", name) == pytest.approx(learn.f1_score(labels, predicted, average=None)[index])
    assert confusion(labels, predicted, 3).tolist() == learn.confusion_matrix(labels, predicted).tolist()


def test_calibration_error_is_the_gap_between_confidence_and_accuracy():
    probabilities = np.tile([0.9, 0.1], (100, 1))
    labels = (np.arange(100) >= 60).astype(np.int64)
    assert value(metrics(labels, probabilities, ("a", "b")), "calibration_error") == pytest.approx(0.3)


def test_the_interval_of_accuracy_is_the_binomial_one_and_narrows_with_images():
    widths = []
    for count in (200, 3200):
        labels, probabilities = guesses(count, 1)
        table = metrics(labels, probabilities, CLASSES)
        share = value(table, "accuracy")
        low, high = (value(table, "accuracy", column=column) for column in ("low", "high"))
        assert low < share < high
        assert high - low == pytest.approx(2 * 1.96 * np.sqrt(share * (1 - share) / count), rel=0.12)
        widths.append(high - low)
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.15)


def test_intervals_repeat_with_the_seed():
    labels, probabilities = guesses(50, 0)
    pd.testing.assert_frame_equal(metrics(labels, probabilities, CLASSES), metrics(labels, probabilities, CLASSES))
    other = metrics(labels, probabilities, CLASSES, seed=1)
    assert value(other, "log_loss", column="low") != value(
        metrics(labels, probabilities, CLASSES), "log_loss", column="low"
    )


def test_a_class_without_images_has_no_recall_and_does_not_spoil_the_means():
    labels, probabilities = np.array([0, 1, 0, 1]), np.eye(3)[[0, 1, 0, 1]]
    table = metrics(labels, probabilities, CLASSES, replicates=20)
    assert np.isnan(value(table, "recall", "c")) and np.isnan(value(table, "f1", "c"))
    assert value(table, "balanced_accuracy") == 1 and value(table, "macro_f1") == 1


@pytest.mark.parametrize(
    ("labels", "probabilities"),
    [
        (np.zeros(0, np.int64), np.zeros((0, 3))),
        (np.array([0]), np.array([[0.5, 0.5]])),
        (np.array([3]), np.array([[1.0, 0, 0]])),
        (np.array([0]), np.array([[0.9, 0.9, 0.9]])),
        (np.array([0]), np.array([[1.5, -0.5, 0]])),
        (np.array([0]), np.array([[np.nan, 0.5, 0.5]])),
    ],
)
def test_what_has_no_meaning_is_refused(labels, probabilities):
    with pytest.raises(EvaluationError):
        metrics(labels, probabilities, CLASSES)


def test_a_model_against_itself_differs_by_nothing():
    labels, probabilities = guesses(100, 0)
    table = compare_pairs(labels, probabilities, probabilities, CLASSES)
    assert (table[["difference", "low", "high"]].dropna() == 0).all(axis=None)
    assert value(table, "accuracy", column="p_value") == 1


def test_pairs_make_a_sharper_interval_than_two_separate_ones():
    labels, weak = guesses(2000, 0)
    strong = 0.8 * weak + 0.2 * np.eye(3)[labels]
    table = compare_pairs(labels, weak, strong, CLASSES)
    low, high = (value(table, "accuracy", column=column) for column in ("low", "high"))
    assert 0 < low < value(table, "accuracy", column="difference") < high
    alone = metrics(labels, weak, CLASSES)
    assert high - low < 0.8 * (value(alone, "accuracy", column="high") - value(alone, "accuracy", column="low"))
    assert value(table, "accuracy", column="p_value") < 1e-6


def test_swapping_the_models_turns_the_difference_round():
    labels, one = guesses(300, 0)
    other = guesses(300, 5)[1]
    there, back = compare_pairs(labels, one, other, CLASSES), compare_pairs(labels, other, one, CLASSES)
    assert there["difference"].to_numpy() == pytest.approx(-back["difference"].to_numpy(), nan_ok=True)
    assert there["low"].to_numpy() == pytest.approx(-back["high"].to_numpy(), nan_ok=True)
    assert value(there, "accuracy", column="p_value") == value(back, "accuracy", column="p_value")


def test_mcnemar_is_the_exact_sign_test_of_the_disagreements():
    first = np.array([True] * 8 + [False] * 2 + [True] * 90)
    second = np.array([False] * 8 + [True] * 2 + [True] * 90)
    assert mcnemar(first, second) == pytest.approx(2 * 56 / 1024)
    assert mcnemar(first, first) == 1


def test_the_three_views_leave_out_copies_and_what_cleaning_excluded():
    frame = pd.DataFrame(
        {
            "path": list("abcdef"),
            "split": ["train", "train", "test", "test", "test", "validation"],
            "group": ["g", "", "g", "", "h", "h"],
        }
    )
    cleaned = pd.DataFrame(
        {"path": list("abcde"), "split": ["train"] * 2 + ["test"] * 3, "status": ["kept"] * 4 + ["excluded"]}
    )
    views = standard_views(frame, "test", cleaned)
    chosen = {name: "".join(frame["path"][mask]) for name, mask in views.items()}
    assert chosen == {"as given": "cde", "without copies in train": "de", "cleaned": "cd"}


def test_views_are_reported_side_by_side_with_their_sizes():
    labels, probabilities = guesses(60, 0)
    half = np.arange(60) < 20
    views = {"all": np.ones(60, bool), "some": half, "none": np.zeros(60, bool)}
    table = side_by_side(labels, probabilities, CLASSES, views, replicates=10)
    assert table.groupby("view")["images"].first().to_dict() == {"all": 60, "some": 20}
    alone = metrics(labels[half], probabilities[half], CLASSES, replicates=10)
    assert table.loc[table["view"] == "some", "estimate"].to_numpy() == pytest.approx(
        alone["estimate"].to_numpy(), nan_ok=True
    )
    with pytest.raises(EvaluationError, match="no view"):
        side_by_side(labels, probabilities, CLASSES, {"none": views["none"]})


def test_confused_images_stand_under_the_four_headings_surest_first():
    probabilities = np.array([[0.9, 0.1, 0], [0.6, 0.4, 0], [0.2, 0.8, 0], [0, 1, 0], [0.1, 0.2, 0.7]])
    frame = predictions_table(list("vwxyz"), probabilities, CLASSES, 0, "m").assign(label=["b", "b", "a", "b", "a"])
    sheet = confused(frame, CLASSES, ["a", "b"])
    headings = {name: "".join(part["path"]) for name, part in sheet.groupby("heading")}
    assert headings == {"Actual a?": "xz", "Actual b?": "vw", "Predicted a?": "vw", "Predicted b?": "x"}
    assert "".join(confused(frame, CLASSES, ["b"], limit=1)["path"]) == "vx"


def test_the_predictions_table_has_the_columns_of_the_house():
    table = predictions_table(["p"], np.array([[0.2, 0.3, 0.5]]), CLASSES, [2], "m")
    assert list(table) == ["path", *CLASSES, "fold", "model"]
    assert table.iloc[0].tolist() == ["p", 0.2, 0.3, 0.5, 2, "m"]


def test_the_difference_of_views_is_of_the_same_draws():
    rng = np.random.default_rng(0)
    seen = rng.random(4000) < 0.3
    right = rng.random(4000) < np.where(seen, 0.95, 0.7)
    whole = np.ones(4000, bool)
    difference, low, high = view_difference(right, whole, ~seen)
    assert difference == pytest.approx(right.mean() - right[~seen].mean())
    assert 0 < low < difference < high < 0.11
    assert view_difference(right, whole, whole) == (0, 0, 0)
    fair = rng.random(4000) < 0.8
    _, low, high = view_difference(fair, whole, ~seen)
    assert low < 0 < high
