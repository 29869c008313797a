"""The jury on opinions whose truth is known: what labels mean, what opinions are worth, that bad ones do no harm."""

from __future__ import annotations

import numpy as np
import pytest

from curation.labels import jury, neighbours, ranking
from curation.labels.judge import judgement
from curation.labels.jury import Consensus

CLASSES = 3
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)


def world(n: int = 4000, rate: tuple[float, ...] = (0.05, 0.1, 0.3), opinions: int = 2, seed: int = 0) -> Arrays:
    """True classes, given labels of which a share is wrong, opinions that never saw them, and what neighbours say."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, CLASSES, n)
    wrong = rng.random(n) < np.asarray(rate)[true]
    labels = np.where(wrong, (true + rng.integers(1, CLASSES, n)) % CLASSES, true)
    hard = rng.normal(0, 1, (n, 1))  # what is hard is hard for all opinions
    logits = rng.normal(0, 1, (opinions + 1, n, CLASSES)) + (2.5 + hard) * np.eye(CLASSES)[true]
    said = softmax(logits)
    return true, labels, said[:-1], 0.5 * said[-1] + 0.5 / CLASSES


def heard(labels: np.ndarray, said: np.ndarray, neighbours: np.ndarray, groups: object = None) -> Consensus:
    names = [f"opinion {place}" for place in range(len(said))]
    return jury.deliberate(names, said, labels, neighbours, [""] * len(labels) if groups is None else groups)


def doubt(found: Consensus, labels: np.ndarray) -> np.ndarray:
    return 1.0 - found.posterior[np.arange(len(labels)), labels]


def precision_and_accuracy(true: np.ndarray, labels: np.ndarray, found: Consensus) -> tuple[float, float]:
    right = float((found.posterior.argmax(axis=1) == true).mean())
    return ranking.average_precision(true != labels, doubt(found, labels)), right


def test_the_meaning_of_labels_finds_the_noisy_class_without_any_truth() -> None:
    true, labels, said, neighbours = world()
    found = heard(labels, said, neighbours)
    actual = np.array([(true != labels)[labels == place].mean() for place in range(CLASSES)])
    assert found.rates == pytest.approx(actual, abs=0.08)
    assert found.meaning.sum(axis=1) == pytest.approx(1)


def test_a_class_that_no_label_names_is_found_by_opinions_that_can_say_none() -> None:
    _, labels, said, neighbours = world(rate=(0.0, 0.0, 0.0))
    stranger = np.random.default_rng(1).random(len(labels)) < 0.25 * (labels == 2)
    said[:, stranger] = 0.05
    found = heard(labels, said, neighbours)
    assert found.rates[2] == pytest.approx(stranger[labels == 2].mean(), abs=0.1)
    assert found.rates[2] > 3 * max(found.rates[0], found.rates[1])
    assert found.posterior[stranger, -1].mean() > 10 * found.posterior[~stranger, -1].mean()


def test_the_consensus_beats_everybody_and_expects_as_many_wrong_labels_as_there_are() -> None:
    true, labels, said, neighbours = world(n=6000)
    found = heard(labels, said, neighbours)
    precision, right = precision_and_accuracy(true, labels, found)
    alone = [ranking.average_precision(true != labels, 1.0 - one[np.arange(6000), labels]) for one in said]
    assert precision > max(alone) + 0.02
    assert right > max([(one.argmax(axis=1) == true).mean() for one in said] + [(labels == true).mean()])
    assert doubt(found, labels).sum() == pytest.approx((true != labels).sum(), rel=0.3)
    sure = found.posterior.max(axis=1) > 0.9
    assert sure.sum() > 1000 and (found.posterior.argmax(axis=1) == true)[sure].mean() > 0.93


def bad_opinion(kind: str, labels: np.ndarray, said: np.ndarray) -> np.ndarray:
    rng, memory = np.random.default_rng(7), 0.9 * np.eye(CLASSES)[labels] + 0.1 / CLASSES
    return {
        "noise": softmax(rng.normal(0, 3, said[0].shape)),
        "permuted classes": said[1][:, [1, 2, 0]],
        "memorised": memory,
        "half memorised": np.where(rng.random((len(labels), 1)) < 0.5, memory, said[1]),
        "flat": np.full(said[0].shape, 1.0 / CLASSES),
        "a copy of another": 0.9 * said[0] + 0.1 / CLASSES,
        "none of these, always": np.full(said[0].shape, 0.01),
    }[kind]


@pytest.mark.parametrize(
    "kind",
    ["noise", "permuted classes", "memorised", "half memorised", "flat", "a copy of another", "none of these, always"],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_bad_opinion_does_no_harm(kind: str, seed: int) -> None:
    true, labels, said, neighbours = world(seed=seed)
    before = precision_and_accuracy(true, labels, heard(labels, said, neighbours))
    worse = np.concatenate([said, bad_opinion(kind, labels, said)[None]])
    after = precision_and_accuracy(true, labels, heard(labels, worse, neighbours))
    assert after[0] > before[0] - 0.02
    assert after[1] > before[1] - 0.006


@pytest.mark.parametrize("kind", ["noise", "memorised", "flat"])
def test_a_bad_opinion_beside_the_models_alone_does_no_harm(kind: str) -> None:
    true, labels, said, neighbours = world(n=3000, seed=5)
    before = precision_and_accuracy(true, labels, heard(labels, said[:1], neighbours))
    worse = np.stack([said[0], bad_opinion(kind, labels, said)])
    assert precision_and_accuracy(true, labels, heard(labels, worse, neighbours)) == pytest.approx(before, abs=0.01)


def test_an_opinion_that_has_seen_the_labels_is_called_out_and_one_that_is_merely_good_is_not() -> None:
    true, labels, said, neighbours = world()
    expert = softmax(np.random.default_rng(2).normal(0, 1, said[0].shape) + 6.0 * np.eye(CLASSES)[true])
    memorised = bad_opinion("memorised", labels, said)
    found = heard(labels, np.concatenate([said, expert[None], memorised[None]]), neighbours)
    *honest, last = found.jurors
    assert last.seen > 0.5 and "repeat given labels that it has seen" in last.sentence()
    assert last.weight < 0.2
    for juror in honest:
        assert juror.seen < jury.CALLED_OUT and "seen" not in juror.sentence()


def test_opinions_that_err_alike_share_one_seat_and_useless_ones_have_no_weight() -> None:
    _, labels, said, neighbours = world()
    more = np.concatenate([said, bad_opinion("a copy of another", labels, said)[None]])
    weights = [juror.weight for juror in heard(labels, more, neighbours).jurors]
    assert weights[0] + weights[2] == pytest.approx(weights[1], rel=0.35)
    noise = np.concatenate([said, bad_opinion("noise", labels, said)[None]])
    assert heard(labels, noise, neighbours).jurors[2].weight < 0.02


def test_probabilities_are_probabilities_and_the_same_seed_gives_the_same() -> None:
    _, labels, said, neighbours = world(n=500)
    found, again = (heard(labels, said, neighbours) for _ in range(2))
    assert found.posterior.sum(axis=1) == pytest.approx(1)
    assert np.array_equal(found.posterior, again.posterior)
    made = judgement(labels, found.posterior, found.sharpness)
    for values in (made.wrong, made.ambiguous, made.suggestion_right):
        assert ((values >= 0) & (values <= 1)).all()
    assert (made.suggestion != labels).all()
    assert (made.suggestion_right <= made.wrong + 1e-12).all()
    assert (made.wrong + made.ambiguous <= 1 + 1e-9).all()


def test_ambiguous_is_what_is_torn_between_its_label_and_another_and_wrong_what_is_not() -> None:
    _, labels, said, neighbours = world(n=2000)
    labels[:2] = 0
    said[:, 0], said[:, 1] = [0.52, 0.46, 0.02], [0.01, 0.98, 0.01]
    found = heard(labels, said, neighbours)
    made = judgement(labels, found.posterior, found.sharpness)
    assert made.wrong[0] < 0.5 < made.wrong[1]
    assert made.ambiguous[0] > max(0.3, 1.5 * made.ambiguous[1])


def test_copies_are_judged_alike_and_a_copy_with_another_label_is_evidence() -> None:
    _, labels, said, neighbours = world(n=2000)
    labels[:4] = [0, 0, 0, 1]
    said[:, :4] = [0.6, 0.38, 0.02]
    found = heard(labels, said, neighbours, ["a", "a", "b", "b", *[""] * 1996])
    wrong = doubt(found, labels)
    assert wrong[0] == pytest.approx(wrong[1])
    assert wrong[2] > wrong[0] + 0.02


def test_a_false_group_of_copies_does_not_overrule_the_pictures() -> None:
    true, labels, said, neighbours = world(n=3000, rate=(0.0, 0.0, 0.0))
    sequence = np.arange(3000) // 3
    true = true[sequence * 3]
    rng = np.random.default_rng(3)
    said = softmax(rng.normal(0, 1, said.shape) + 2.0 * np.eye(CLASSES)[true])
    flipped = rng.random(1000) < 0.15
    labels = np.where(flipped[sequence], (true + 1) % CLASSES, true)
    # "copies" that are six shots of one person: two sequences, often of two expressions
    groups = np.array([f"person {place}" for place in sequence // 2], dtype=object)
    alone = ranking.average_precision(labels != true, 1.0 - said[0][np.arange(3000), labels])
    grouped = ranking.average_precision(labels != true, doubt(heard(labels, said, neighbours, groups), labels))
    apart = ranking.average_precision(labels != true, doubt(heard(labels, said, neighbours), labels))
    assert grouped > alone + 0.03
    assert grouped > apart - 0.05


def test_one_opinion_alone_is_judged_with_its_neighbours_as_a_second_witness() -> None:
    true, labels, said, neighbours = world()
    found = heard(labels, said[:1], neighbours)
    precision, right = precision_and_accuracy(true, labels, found)
    assert precision > ranking.average_precision(true != labels, 1.0 - said[0][np.arange(len(labels)), labels]) - 0.002
    assert right > (labels == true).mean() + 0.01
    assert found.meaning[:, -1].max() < 0.01  # nobody says "none of these"


def test_an_opinion_alone_keeps_its_sureness_though_labels_are_wrong() -> None:
    true, labels, said, neighbours = world(rate=(0.05, 0.1, 0.3), opinions=1)
    found = heard(labels, said, neighbours)
    assert found.jurors[0].slope == pytest.approx(1.0)
    assert (found.posterior.argmax(axis=1) == true).mean() > max(
        (said[0].argmax(axis=1) == true).mean(), (labels == true).mean()
    )
    noise = softmax(np.random.default_rng(3).normal(0, 3, said.shape))
    assert heard(labels, noise, neighbours).jurors[0].slope < 0.2


def test_rates_drawn_again_spread_around_the_estimate() -> None:
    _, labels, said, neighbours = world()
    found = heard(labels, said, neighbours)
    draws = jury.rate_draws(found.patterns, 40, 0)
    assert draws.mean(axis=0) == pytest.approx(found.rates, abs=0.02)
    assert (draws.std(axis=0) > 0.001).all()


def network_of_sessions(seed: int, classes: int = 7, sessions: int = 320, shots: int = 3) -> tuple[np.ndarray, ...]:
    """True classes, given labels, one network's probabilities, its neighbours' and names of sessions.

    Whole sessions are mislabelled alike; the network knows some classes poorly, confuses some always, and has learned
    from the labels as they are.
    """
    rng = np.random.default_rng(seed)
    true = rng.choice(classes, sessions, p=rng.dirichlet(4 * np.ones(classes)))
    labels = np.where(rng.random(sessions) < 0.12, (true + rng.integers(1, classes, sessions)) % classes, true)
    means = np.full((classes, classes), 0.3 / classes)
    np.add.at(means, (true, labels), 1.0)
    true, labels, session = (np.repeat(part, shots) for part in (true, labels, np.arange(sessions)))
    signal = rng.uniform(0.6, 3.2, classes)[true][:, None] * np.eye(classes)[true]
    always = rng.normal(0, 0.5, (classes, classes))[true]
    shared = np.repeat(rng.normal(0, 0.9, (sessions, classes)), shots, axis=0)
    logits = shared + signal + always + rng.normal(0, 0.4, shared.shape)
    kin = np.array([f"session {number}" for number in session], dtype=object)
    around = neighbours.votes(neighbours.nearest(logits, kin, session * 7919 % 3), labels, classes)
    said = softmax(logits) @ (means / means.sum(axis=1, keepdims=True))
    return true, labels, said, neighbours.share(around), kin


def test_weak_classes_of_the_only_network_are_not_taken_for_wrong_labels_where_sessions_are_mislabelled_whole() -> None:
    mine, alone, expected = [], [], []
    for seed in range(6):
        true, labels, said, near, kin = network_of_sessions(seed)
        found = jury.deliberate(["models"], said[None], labels, near, [""] * len(labels), kin=kin)
        wrong, rows = true != labels, np.arange(len(labels))
        mine.append(ranking.average_precision(wrong, doubt(found, labels)))
        alone.append(ranking.average_precision(wrong, 1.0 - said[rows, labels]))
        expected.append(doubt(found, labels).sum() / wrong.sum())
    assert np.mean(mine) > np.mean(alone) + 0.03
    assert 0.7 < np.mean(expected) < 1.3


def test_a_mistake_in_many_copies_is_one_mistake_where_it_is_learned_what_labels_mean() -> None:
    true, labels, said, near = world(rate=(0.1, 0.1, 0.1))
    once = heard(labels, said, near).rates
    rows = np.flatnonzero((true != labels) & (labels == 0))
    many = np.concatenate([np.arange(len(labels)), np.repeat(rows, 9)])
    names = np.full(len(labels), "", dtype=object)
    names[rows] = [f"copy of {row}" for row in rows]
    copied = heard(labels[many], said[:, many], near[many], names[many]).rates
    assert copied == pytest.approx(once, abs=0.05)
    assert heard(labels[many], said[:, many], near[many]).rates[0] > once[0] + 0.2
