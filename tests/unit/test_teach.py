"""Answers teach the judge: they are never lost on it, never fool it, and are asked for where they pay."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from curation.labels import plan as planning
from curation.labels.gain import BATCH, rank_queue, value_of_answer
from curation.labels.teach import RELIABILITY, Answers, JudgeInputs, answered, teach

CLASSES = 3
NOBODY = Answers(*(np.zeros(0, np.int64),) * 3, np.zeros(0))


def world(n: int = 3000, seed: int = 0, groups: np.ndarray | None = None) -> tuple[np.ndarray, JudgeInputs]:
    """True classes, and a judge that is wrong in a systematic way: class 2 is taken for class 0 too often."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, CLASSES, n)
    labels = np.where(rng.random(n) < 0.2, rng.integers(0, CLASSES, n), true)
    logits = rng.normal(0, 1, (2, n, CLASSES + 1)) + 1.5 * np.eye(CLASSES + 1)[true]
    logits[:, :, 0] += 2.0 * (true == 2)
    logits[:, :, -1] -= 4.0
    calibrated = log_softmax(logits, axis=2)
    prior = softmax(calibrated.mean(axis=0) + 1.0 * np.eye(CLASSES + 1)[labels], axis=1)
    names = np.full(n, "", dtype=object) if groups is None else groups
    neighbours = np.full((n, CLASSES), 1.0 / CLASSES)
    return true, JudgeInputs(labels, prior, calibrated, neighbours, rng.normal(size=(n, 2)), names)


def told(true: np.ndarray, rows: np.ndarray, seed: int = 0, reliability: float = RELIABILITY) -> Answers:
    """One person's answers: the true class as often as the person is reliable, else another one."""
    rng = np.random.default_rng(seed)
    right = rng.random(len(rows)) < reliability
    kinds = np.where(right, true[rows], (true[rows] + rng.integers(1, CLASSES, len(rows))) % CLASSES)
    return Answers(rows, kinds.astype(np.int64), np.zeros(len(rows), np.int64), np.ones(len(rows)))


def together(*parts: Answers) -> Answers:
    people = [np.full(len(part), place) for place, part in enumerate(parts)]
    rows, kinds, weights = (np.concatenate([getattr(p, name) for p in parts]) for name in ("rows", "kinds", "weights"))
    return Answers(rows, kinds, np.concatenate(people).astype(np.int64), weights)


def test_without_answers_the_judge_stays_as_it_was() -> None:
    _, known = world(n=200)
    taught = teach(known, NOBODY)
    assert taught.posterior == pytest.approx(known.posterior) and taught.moved == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_few_answers_do_no_harm_and_many_mend_images_that_nobody_was_asked_about(seed: int) -> None:
    true, known = world(seed=seed)
    order = np.random.default_rng(seed).permutation(len(true))
    rest = order[600:]
    right = {}
    for number in (0, 50, 600):
        learned = teach(known, told(true, order[:number], seed)).learned[rest]
        surprise = np.log(learned[np.arange(len(rest)), true[rest]]).mean()
        right[number] = (learned.argmax(axis=1) == true[rest]).mean(), surprise
    assert right[50][0] > right[0][0] - 0.003 and right[50][1] > right[0][1] - 0.005
    assert right[600][0] > right[0][0] + 0.02 and right[600][1] > right[0][1] + 0.02


def test_who_answers_at_random_is_found_out_and_does_little_harm() -> None:
    true, known = world()
    order = np.random.default_rng(1).permutation(len(true))
    honest, careless = told(true, order[:400]), told(true, order[400:800], seed=1, reliability=1 / CLASSES)
    taught = teach(known, together(honest, careless))
    assert taught.reliability[0] > taught.reliability[1] + 0.15
    rest = order[800:]
    alone = (teach(known, honest).learned[rest].argmax(axis=1) == true[rest]).mean()
    assert (taught.learned[rest].argmax(axis=1) == true[rest]).mean() > alone - 0.015


@pytest.mark.parametrize("kind", ["always one class", "always none of these", "at random"])
def test_who_answers_without_looking_teaches_next_to_nothing_and_takes_nothing_from_others(kind: str) -> None:
    true, known = world()
    order = np.random.default_rng(1).permutation(len(true))
    rows, rest = order[:500], order[500:]
    kinds = {
        "always one class": np.zeros(500, np.int64),
        "always none of these": np.full(500, CLASSES),
        "at random": np.random.default_rng(2).integers(0, CLASSES, 500),
    }[kind]
    careless, honest = Answers(rows, kinds, np.zeros(500, np.int64), np.ones(500)), told(true, rows)
    alone = teach(known, careless)
    assert alone.guesses.tolist() == [True] and alone.moved < 0.01
    both = teach(known, together(honest, careless))
    assert both.guesses.tolist() == [False, True]
    assert both.learned[rest] == pytest.approx(teach(known, honest).learned[rest], abs=0.02)


def test_who_finds_one_class_only_where_it_is_likely_is_no_guesser() -> None:
    true, known = world()
    rows = np.flatnonzero((true == 1) & (known.posterior.argmax(axis=1) == 1))[:50]
    assert not teach(known, told(true, rows, reliability=1.0)).guesses.any()


def test_a_person_s_reliability_is_measured_by_the_others_answers_too() -> None:
    true, known = world(n=400)
    rows = np.arange(300)
    good = [told(true, rows, seed=seed, reliability=0.95) for seed in (0, 1)]
    found = teach(known, together(*good, told(true, rows, seed=2, reliability=0.5))).reliability
    assert min(found[0], found[1]) > found[2] + 0.1


def test_an_answer_counts_for_the_copies_of_its_image_and_several_to_one_picture_are_not_independent() -> None:
    groups = np.full(300, "", dtype=object)
    groups[:2] = "a"
    _, known = world(n=300, groups=groups)
    one = Answers(np.array([0]), np.array([1]), np.array([0]), np.ones(1))
    reliable = np.array([0.8])
    after = answered(known, known.posterior, one, reliable)
    assert after[0, 1] > known.posterior[0, 1] and after[1, 1] > known.posterior[1, 1]
    assert after[2:] == pytest.approx(known.posterior[2:])
    again = Answers(np.array([0, 1]), np.array([1, 1]), np.array([0, 0]), np.ones(2))
    twice = answered(known, known.posterior, again, reliable)
    odds = [np.log(p[0, 1] / (1 - p[0, 1])) for p in (known.posterior, after, twice)]
    assert odds[1] < odds[2] < odds[1] + 0.9 * (odds[1] - odds[0])


def test_an_answer_shared_between_two_classes_speaks_for_both() -> None:
    _, known = world(n=100)
    shared = Answers(np.array([5, 5]), np.array([0, 1]), np.zeros(2, np.int64), np.array([0.5, 0.5]))
    after = answered(known, known.posterior, shared, np.array([0.9]))[5]
    assert after[2] < known.posterior[5, 2]


def grouped(n: int = 400) -> tuple[np.ndarray, JudgeInputs]:
    groups = np.full(n, "", dtype=object)
    for start in range(0, n // 2, 4):
        groups[[start, start + 1, start + 2]] = f"g{start}"
    return world(n=n, groups=groups)


def test_the_queue_asks_of_every_picture_once_groups_whole_and_no_class_takes_more_than_its_share() -> None:
    true, known = grouped()
    done = told(true, np.array([0, 399]))
    queue = rank_queue(known, done)
    assert len(set(queue.rows)) == len(queue.rows) == 400 - 4  # row 0 and its two copies are done, and row 399
    names = known.groups[queue.rows]
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        if name:
            places.setdefault(name, []).append(place)
    assert all(max(mine) - min(mine) == len(mine) - 1 for mine in places.values())
    starts = [n == 0 or not name or name != names[n - 1] for n, name in enumerate(names)]
    heads = queue.rows[starts]
    for start in range(0, 100, BATCH):
        counts = np.bincount(known.labels[heads[start : start + BATCH]], minlength=CLASSES)
        assert counts.max() <= BATCH // 2 + 1


def test_only_open_images_are_asked_about() -> None:
    _, known = grouped()
    open_ = np.zeros(400, dtype=bool)
    open_[100:120] = True
    assert set(rank_queue(known, NOBODY, open_).rows) == set(range(100, 120))


def test_a_copy_that_an_answer_mends_too_raises_the_gain_of_its_group() -> None:
    _, known = world(n=300)
    torn = int(np.argsort(-value_of_answer(known.posterior))[0])
    groups = np.full(300, "", dtype=object)
    before = rank_queue(known, NOBODY)
    other = (torn + 1) % 300
    groups[[torn, other]] = "twins"
    posterior = known.posterior.copy()
    posterior[other] = posterior[torn]
    twins = JudgeInputs(known.labels, posterior, known.calibrated, known.neighbours, known.dynamics, groups)
    after = rank_queue(twins, NOBODY)
    assert after.gain[list(after.rows).index(torn)] > before.gain[list(before.rows).index(torn)] + 0.1


def test_asking_by_gain_mends_more_labels_than_asking_at_random_and_answers_change_the_order() -> None:
    true, known = world(n=2000)
    said = told(true, np.arange(2000), seed=3)

    def given(rows: np.ndarray) -> Answers:
        return said.take(np.isin(said.rows, rows))

    asked = np.zeros(0, np.int64)
    first = rank_queue(known, NOBODY).rows
    for _ in range(8):
        asked = np.append(asked, rank_queue(known, given(asked)).rows[:BATCH])
    later = [row for row in first if row not in set(asked)][:50]
    assert later != rank_queue(known, given(asked)).rows[:50].tolist()
    by_gain = (teach(known, given(asked)).posterior.argmax(axis=1) == true).mean()
    random = np.random.default_rng(0).permutation(2000)[: len(asked)]
    at_random = (teach(known, given(random)).posterior.argmax(axis=1) == true).mean()
    before = (known.posterior.argmax(axis=1) == true).mean()
    assert by_gain - before > 1.3 * (at_random - before) > 0


def test_twenty_thousand_images_are_ranked_anew_within_two_seconds() -> None:
    true, known = world(n=20_000)
    started = time.process_time()
    rank_queue(known, told(true, np.arange(0, 20_000, 20)))
    assert time.process_time() - started < 2.0


def test_a_plan_rises_with_the_answers_and_its_intervals_hold_what_comes() -> None:
    _, known = world(n=2000)
    taught = teach(known, NOBODY)
    orders = {"gain": rank_queue(known, NOBODY).rows, "random": np.random.default_rng(0).permutation(2000)}
    table = planning.plan(known, taught, orders, (0, 100, 400)).set_index(["order", "answers"])
    assert table.loc[("gain", 0), "expected"] == table.loc[("random", 0), "expected"]
    expected = table["expected"]
    assert expected[("gain", 400)] > expected[("random", 400)] > expected[("gain", 0)]
    assert (table["low"] < table["expected"]).all() and (table["expected"] < table["high"]).all()
    # where the judge's own probabilities are the truth, what it expects comes
    rng = np.random.default_rng(5)
    truth = (rng.random(2000)[:, None] < known.posterior.cumsum(axis=1)).argmax(axis=1)
    hits = (known.posterior.argmax(axis=1) == truth).mean()
    assert table.loc[("gain", 0), "low"] - 0.02 < hits < table.loc[("gain", 0), "high"] + 0.02
