"""Label scores, neighbours, planted noise, annotators and rankings, on data whose truth is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

pytest.importorskip("cleanlab")

from curation.labels import crowds, neighbours, noise, ranking, scores

CLASSES = 3


def world(n: int = 3000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Given labels, and an opinion that never saw them."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, n)
    logits = rng.normal(0, 1, (n, CLASSES)) + 3.0 * np.eye(CLASSES)[labels]
    return labels, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


distributions = st.integers(1, 30).flatmap(
    lambda n: st.lists(st.lists(st.floats(0.01, 1.0), min_size=CLASSES, max_size=CLASSES), min_size=n, max_size=n).map(
        lambda rows: np.array(rows) / np.array(rows).sum(axis=1, keepdims=True)
    )
)


@given(distributions, st.integers(0, 2**32 - 1))
def test_baseline_scores_stay_in_their_ranges_and_agree_on_the_surest(said: np.ndarray, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, CLASSES, len(said))
    for score in (scores.self_confidence, scores.normalised_margin):
        values = score(labels, said)
        assert ((values >= 0) & (values <= 1)).all()
    assert ((scores.entropy(said) >= 0) & (scores.entropy(said) <= 1)).all()
    ahead = scores.normalised_margin(labels, said) > 0.5
    assert (said.argmax(axis=1)[ahead] == labels[ahead]).all()


@given(distributions)
def test_models_that_say_the_same_do_not_disagree(said: np.ndarray) -> None:
    assert scores.mutual_information(np.stack([said, said, said])) == pytest.approx(0, abs=1e-9)


def test_models_that_contradict_each_other_disagree_more_than_models_in_common_doubt() -> None:
    sure = np.array([[0.98, 0.01, 0.01]])
    contradiction = scores.mutual_information(np.stack([sure, sure[:, [1, 0, 2]]]))
    common_doubt = scores.mutual_information(np.stack([np.array([[0.5, 0.49, 0.01]])] * 2))
    assert contradiction[0] > 0.3 > common_doubt[0]


def test_margins_and_forgetting_follow_the_epochs() -> None:
    learned = [[0.0, 1.0], [2.0, 0.0], [3.0, 0.0]]
    forgotten = [[2.0, 0.0], [0.0, 1.0], [2.0, 0.0]]
    never = [[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]
    logits = np.array([learned, forgotten, never]).swapaxes(0, 1)
    labels = np.zeros(3, np.int64)
    assert scores.area_under_margin(labels, logits) == pytest.approx([4 / 3, 1, -1])
    assert scores.forgetting(labels, logits).tolist() == [0, 1, 3]


def test_an_epoch_in_which_an_image_was_not_seen_does_not_count() -> None:
    logits = np.array([[[1.0, 0.0]], [[np.nan, np.nan]]])
    assert scores.area_under_margin(np.zeros(1, np.int64), logits) == pytest.approx([1.0])


def test_neighbours_are_other_pictures_of_the_same_space() -> None:
    angles = np.deg2rad([0, 1, 2, 3, 90, 0.5])
    embedding = np.column_stack([np.cos(angles), np.sin(angles)])
    groups = ["g", "g", "", "", "", ""]
    around = neighbours.nearest(embedding, groups, [0, 0, 0, 0, 0, 1], k=2)
    assert around.rows[0].tolist() == [2, 3]  # not its copy 1, and not 5, which is in another space
    assert around.rows[5].tolist() == [-1, -1]
    counted = neighbours.votes(around, np.array([0, 0, 1, 1, 2, 0]), CLASSES)
    assert counted[0].tolist() == [0, 2, 0]
    assert neighbours.share(counted)[0] == pytest.approx([0.2, 0.6, 0.2])


def test_copies_vote_for_their_labels_but_not_for_themselves() -> None:
    counted = neighbours.copies_votes(np.array([0, 1, 1, 2]), ["a", "a", "a", ""], CLASSES)
    assert counted.tolist() == [[0, 2, 0], [1, 1, 0], [1, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize("kind", noise.KINDS)
def test_a_planted_flip_is_another_class_and_the_share_is_met(kind: noise.Kind) -> None:
    labels, said = world()
    weights = noise.flip_weights(labels, kind, said, scores.joint(labels, said))
    assert weights.sum(axis=1) == pytest.approx(1)
    assert (weights[np.arange(len(labels)), labels] == 0).all()
    candidates = labels != 2
    planted = noise.plant(labels, weights, 0.1, candidates, seed=3)
    assert (planted != labels).sum() == round(0.1 * candidates.sum())
    assert (planted[~candidates] == labels[~candidates]).all()


def test_dawid_and_skene_agree_with_the_majority_of_good_annotators() -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 2, 400)
    answers = [np.where(rng.random(400) < 0.8, true, 1 - true) for _ in range(5)]
    start = np.mean([np.eye(2)[answer] for answer in answers], axis=0)
    patterns = crowds.Patterns.of(answers, 2, start)
    posterior = patterns.posterior(patterns.counts)[patterns.of_image]
    assert (posterior.argmax(axis=1) == true).mean() > 0.92
    assert posterior.sum(axis=1) == pytest.approx(1)


def test_an_estimate_lies_in_its_interval() -> None:
    wrong = np.array([True, False, True, False])
    suspicion = np.array([0.9, 0.8, 0.7, 0.1])
    table = ranking.evaluate(wrong, {"one": suspicion}, first=(2,), replicates=50)
    assert table.set_index("metric")["estimate"]["precision of first 2"] == 0.5
    assert (table["low"] <= table["estimate"]).all() and (table["estimate"] <= table["high"]).all()


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 3)), min_size=2, max_size=40).filter(
        lambda rows: any(w and n for w, _, n in rows) and any(not w and n for w, _, n in rows)
    )
)
def test_the_quick_measures_of_a_draw_are_those_of_scikit_learn(rows: list[tuple[bool, int, int]]) -> None:
    wrong, suspicion, times = (np.array(column) for column in zip(*rows, strict=True))
    found = ranking._Order.of(wrong, suspicion.astype(float)).measures(times, (3,))
    assert found["AP"] == pytest.approx(average_precision_score(wrong, suspicion, sample_weight=times))
    assert found["AUROC"] == pytest.approx(roc_auc_score(wrong, suspicion, sample_weight=times))
    order = np.argsort(-suspicion, kind="stable")
    assert found["precision of first 3"] == pytest.approx(np.repeat(wrong[order], times[order])[:3].mean())
