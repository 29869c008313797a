"""Agreement: the kappas are those of the libraries where these have them, and behave where they have not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.labels import agreement

answers = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=60)


@given(answers)
def test_cohen_s_kappa_is_that_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    from sklearn.metrics import cohen_kappa_score

    first, second = np.array(pairs).T
    ours = agreement.cohen_kappa(first, second, 4, seed=0).value
    if len(set(first)) == 1 and set(first) == set(second):
        assert np.isnan(ours)
    else:
        assert ours == pytest.approx(cohen_kappa_score(first, second))


@given(st.lists(st.lists(st.integers(0, 3), min_size=5, max_size=5), min_size=2, max_size=40))
def test_fleiss_kappa_is_that_of_statsmodels_where_all_images_have_as_many_votes(votes: list[list[int]]) -> None:
    from statsmodels.stats.inter_rater import fleiss_kappa

    counts = np.array([np.bincount(image, minlength=4) for image in votes])
    ours = agreement.fleiss_kappa(counts, seed=0).value
    if (counts.sum(axis=0) > 0).sum() == 1:
        assert np.isnan(ours)
    else:
        assert ours == pytest.approx(fleiss_kappa(counts))


def test_people_who_always_agree_have_kappa_one_and_people_who_guess_have_about_none() -> None:
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 4, 400)
    same = agreement.fleiss_kappa(np.eye(4)[truth] * 3, seed=0)
    assert (same.value, same.low, same.high, same.images) == (1.0, 1.0, 1.0, 400)
    guess = agreement.cohen_kappa(truth, rng.integers(0, 4, 400), 4, seed=0)
    assert guess.low < 0 < guess.high


def test_images_with_one_vote_say_nothing_of_agreement() -> None:
    votes = np.array([[2, 0], [1, 1], [0, 2]])
    alone = np.vstack([votes, [[1, 0]] * 50])
    assert agreement.fleiss_kappa(alone, seed=1) == agreement.fleiss_kappa(votes, seed=1)


def test_an_interval_holds_the_value_of_the_whole_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(11)
    truth = rng.integers(0, 4, 20_000)
    other = np.where(rng.random(20_000) < 0.7, truth, rng.integers(0, 4, 20_000))
    whole = agreement.cohen_kappa(truth, other, 4, seed=0).value
    inside = 0
    for trial in range(60):
        rows = rng.choice(20_000, 150, replace=False)
        found = agreement.cohen_kappa(truth[rows], other[rows], 4, seed=trial)
        inside += found.low <= whole <= found.high
    assert 52 <= inside <= 60


def test_accuracy_of_a_stratified_sample_is_weighted_by_the_sizes_of_the_strata() -> None:
    hits = [True] * 50 + [True] * 25 + [False] * 25
    strata = ["happy"] * 50 + ["sad"] * 50
    found = agreement.stratified_accuracy(hits, strata, {"happy": 3000, "sad": 1000, "surprise": 500}, seed=0)
    assert found.value == pytest.approx(0.875)
    assert found.low < 0.875 < found.high and found.images == 100


def test_nothing_answered_gives_no_figure() -> None:
    assert np.isnan(agreement.accuracy([]).value)
    assert np.isnan(agreement.stratified_accuracy([], [], {"happy": 3}, seed=0).value)
    assert np.isnan(agreement.fleiss_kappa(np.zeros((0, 4)), seed=0).value)
