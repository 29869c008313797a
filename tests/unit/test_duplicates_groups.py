"""Groups: components, a guard against chains, and names that do not depend on the order of pairs."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curation.checks.duplicates.groups import connected_groups


def clique(first: int, size: int) -> list[tuple[int, int]]:
    return list(itertools.combinations(range(first, first + size), 2))


def groups(size: int, sure: list[tuple[int, int]], unsure: list[tuple[int, int]]) -> list[int]:
    pairs = np.array([*sure, *unsure], dtype=np.int64).reshape(-1, 2)
    probability = np.array([1.0] * len(sure) + [0.92] * len(unsure))
    return connected_groups(size, pairs, probability).tolist()


def test_a_sure_pair_joins_two_groups() -> None:
    assert groups(8, [*clique(0, 4), *clique(4, 4), (3, 4)], []) == [0] * 8


def test_one_doubtful_pair_does_not_chain_two_dense_groups() -> None:
    assert groups(8, [*clique(0, 4), *clique(4, 4)], [(3, 4)]) == [0] * 4 + [1] * 4


def test_doubtful_pairs_join_when_there_are_as_many_as_members() -> None:
    assert groups(8, [*clique(0, 4), *clique(4, 4)], [(0, 4), (1, 5), (2, 6), (3, 7)]) == [0] * 8


def test_a_doubtful_pair_takes_a_single_image_in() -> None:
    assert groups(5, clique(0, 4), [(4, 2)]) == [0] * 5
    assert groups(2, [], [(0, 1)]) == [0, 0]


def test_without_pairs_everyone_is_alone() -> None:
    assert groups(4, [], []) == [0, 1, 2, 3]


PAIRS = st.lists(st.tuples(st.integers(0, 14), st.integers(0, 14), st.sampled_from([0.91, 0.95, 1.0])), max_size=25)


@given(pairs=PAIRS, order=st.randoms(use_true_random=False))
def test_neither_the_order_nor_the_direction_of_pairs_matters(
    pairs: list[tuple[int, int, float]], order: object
) -> None:
    pairs = sorted({(min(a, b), max(a, b)): p for a, b, p in pairs if a != b}.items())
    shuffled = [((b, a), p) for (a, b), p in pairs]
    order.shuffle(shuffled)
    results = [
        connected_groups(
            15,
            np.array([pair for pair, _ in given_pairs], dtype=np.int64).reshape(-1, 2),
            np.array([p for _, p in given_pairs]),
        ).tolist()
        for given_pairs in (pairs, shuffled)
    ]
    assert results[0] == results[1]
    assert [results[0].index(n) for n in range(max(results[0]) + 1)] == sorted(
        results[0].index(n) for n in range(max(results[0]) + 1)
    )
