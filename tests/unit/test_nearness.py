"""Subsets that stand for the whole, how lonely an image is, and how a number is divided."""

import itertools

import numpy as np
import pytest

from curation.base.arrays import Floats32
from curation.checks import nearness


def clusters(sizes: tuple[int, ...], seed: int = 0, width: float = 0.05) -> tuple[Floats32, np.ndarray]:
    """Unit vectors around as many middles as there are sizes, and whose each is."""
    rng = np.random.default_rng(seed)
    middles = np.eye(len(sizes), 16)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    points = middles[owner] + rng.normal(0, width, (len(owner), 16))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32), owner


def value(points: Floats32, merit: np.ndarray, rows: tuple[int, ...]) -> float:
    alike = np.clip(points @ points[list(rows)].T, 0, 1) * merit[list(rows)]
    return float(merit @ alike.max(axis=1))


@pytest.mark.parametrize("seed", range(5))
def test_the_choice_keeps_its_bound_against_the_best_of_all_choices(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points, _ = clusters((4, 4, 4), seed, 0.4)
    merit = rng.uniform(0.3, 1, len(points))
    rows, gains = nearness.chosen(points, merit, 3)
    best = max(value(points, merit, each) for each in itertools.combinations(range(len(points)), 3))
    mine = value(points, merit, tuple(rows))
    assert mine >= (1 - 1 / np.e) * best and mine == pytest.approx(gains.sum(), rel=1e-4)
    assert (np.diff(gains) <= 1e-4).all()


def test_small_groups_are_met_before_large_ones_are_met_twice_and_doubted_rows_are_avoided() -> None:
    points, owner = clusters((60, 25, 10, 5))
    merit = np.ones(len(points))
    merit[::2] = 0.2
    rows, _ = nearness.chosen(points, merit, 4)
    assert sorted(owner[rows]) == [0, 1, 2, 3] and (merit[rows] == 1).all()


def test_what_is_there_already_is_not_chosen_again() -> None:
    points, owner = clusters((30, 30, 30))
    there = nearness.nearest_alike(points, points[owner == 0])
    rows, _ = nearness.chosen(points, np.ones(len(points)), 2, there)
    assert sorted(owner[rows]) == [1, 2]
    assert (nearness.nearest_alike(points, points[:0]) == -1).all()


@pytest.mark.parametrize("count", [9, 300, 6000])
def test_the_loneliest_are_those_far_from_all_others_whatever_their_number(count: int) -> None:
    points, _ = clusters((count,))
    if count > nearness.NEIGHBOURS:
        points[:3] = np.eye(16, dtype=np.float32)[[5, 6, 7]]
        away = nearness.lonely(points)
        assert set(np.argsort(-away)[:3]) == {0, 1, 2} and away.max() < 2
    else:
        assert np.isnan(nearness.lonely(points)).all()


def test_partitions_hold_every_row_once_and_stay_small() -> None:
    points, _ = clusters((3000, 40, 2))
    parts = nearness.partitions(points, 0, 100)
    assert sorted(np.concatenate(parts)) == list(range(len(points)))
    assert max(map(len, parts)) <= 200
    assert nearness.partitions(points[:0], 0) == []


@pytest.mark.parametrize(
    ("even", "number", "given"),
    [
        (True, 9, [2, 4, 3]),
        (False, 9, [0, 6, 3]),
        (True, 500, [2, 60, 30]),
        (True, 2, [1, 1, 0]),
        (False, 0, [0, 0, 0]),
    ],
)
def test_a_number_is_divided_whole(even: bool, number: int, given: list[int]) -> None:
    assert nearness.shares(np.array([2, 60, 30]), number, even=even).tolist() == given


def test_embeddings_that_are_alike_lie_near_after_projection() -> None:
    rng = np.random.default_rng(0)
    embedding = np.abs(rng.normal(0, 1, (500, 40))).astype(np.float16)
    points = nearness.projection(embedding, 0)(embedding)
    again = nearness.projection(embedding, 0)(embedding[:5] * np.float16(1.01))
    assert np.linalg.norm(points, axis=1) == pytest.approx(1, abs=1e-4)
    assert (again @ points.T).argmax(axis=1).tolist() == [0, 1, 2, 3, 4]
