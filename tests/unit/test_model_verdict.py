"""The sentences that stand first on an evaluation: what the intervals allow to say, and no more."""

import pandas as pd
import pytest

from curation.models import verdict


def judged(**views):
    rows = [
        ("validation", view.replace("_", " "), images, "accuracy", "", value, value - spread, value + spread)
        for view, (images, value, spread) in views.items()
    ]
    return pd.DataFrame(rows, columns=["split", "view", "images", "metric", "class", "estimate", "low", "high"])


def leaks(*bounds, view="without copies in train"):
    return pd.DataFrame([("validation", view, *bounds)], columns=["split", "view", "difference", "low", "high"])


TABLE = judged(as_given=(4977, 0.817, 0.01), without_copies_in_train=(4143, 0.799, 0.012), cleaned=(4831, 0.83, 0.01))


def test_the_first_line_says_as_given_unseen_cleaned_and_the_leak():
    (line,) = verdict.accuracy_sentences(TABLE, leaks(0.018, 0.009, 0.027))
    assert line == (
        "Validation: 81.7% as given; 79.9% on the 4,143 faces that it cannot have seen; 83.0% on the cleaned version. "
        "Faces that it has seen add +1.8 points, 95 % interval +0.9 to +2.7."
    )


def test_a_leak_whose_interval_holds_zero_is_not_claimed():
    (line,) = verdict.accuracy_sentences(TABLE, leaks(0.01, -0.002, 0.02))
    assert "No gain from faces that it has seen could be shown (+1.0 points" in line


def test_where_people_are_known_the_strictest_view_counts():
    table = judged(
        as_given=(100, 0.8, 0.05), without_copies_in_train=(90, 0.78, 0.05), without_people_in_train=(60, 0.7, 0.06)
    )
    (line,) = verdict.accuracy_sentences(table, leaks(0.1, 0.05, 0.15, view="without people in train"))
    assert "70.0% on the 60 faces of people that it has not seen" in line and "+10.0 points" in line


@pytest.mark.parametrize(
    ("accuracy", "spread", "said"),
    [(0.4, 0.05, "not shown to be better"), (0.6, 0.01, "a weak model"), (0.8, 0.01, "")],
)
def test_weak_models_are_warned_of(accuracy, spread, said):
    lines = verdict.warnings(judged(as_given=(4977, accuracy, spread)), {"validation": ("happy", 0.367)})
    assert (said in lines[0] and "always answering happy (36.7% of validation)" in lines[0]) if said else not lines


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ((0.01, -0.002, 0.02), "no difference between a and b"),
        ((0.02, 0.01, 0.03), "a is better"),
        ((-0.02, -0.03, -0.01), "a is worse"),
    ],
)
def test_a_difference_is_only_one_when_its_interval_says_so(bounds, said):
    names = ["split", "view", "metric", "difference", "low", "high"]
    pairs = pd.DataFrame([("test", "as given", "accuracy", *bounds)], columns=names)
    (line,) = verdict.pair_sentences(pairs, "a", "b")
    assert said in line
