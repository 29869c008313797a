"""Groups of copies: what a pair joins, what no pair may join, and what a picture composed of two joins."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curation.checks.duplicates.groups import components, star_groups


def grouped(size: int, *pairs: tuple[int, int, float], composed: tuple[int, ...] = ()) -> list[int]:
    """Return the group numbers of images whose rank is their row."""
    ends = np.array([pair[:2] for pair in pairs], dtype=np.int64).reshape(-1, 2)
    likely = np.array([pair[2] for pair in pairs], dtype=np.float64)
    return star_groups(size, ends, likely, np.arange(size), np.isin(np.arange(size), composed)).tolist()


def test_copies_of_one_picture_are_one_group() -> None:
    assert grouped(5, (0, 1, 0.95), (0, 2, 0.95), (1, 2, 0.99)) == [0, 0, 0, 1, 2]


def test_without_pairs_every_image_is_alone() -> None:
    assert grouped(3) == [0, 1, 2]


def test_a_chain_joins_only_what_is_a_copy_of_the_best() -> None:
    assert grouped(3, (0, 1, 1.0), (1, 2, 1.0)) == [0, 0, 1]


def test_a_cross_fade_does_not_join_two_people() -> None:
    # 4 is a little of 0 and a little of 2; copies of each stay with each
    assert grouped(5, (0, 1, 1.0), (2, 3, 1.0), (0, 4, 0.92), (2, 4, 0.95)) == [0, 0, 1, 1, 0]


def test_two_pictures_in_one_join_the_likelier_of_theirs_only() -> None:
    assert grouped(3, (0, 2, 0.95), (1, 2, 0.99), composed=(2,)) == [0, 1, 1]


def test_two_pictures_in_one_are_never_the_best_copy() -> None:
    # were 0 the centre of a group, 1 and 2 would be copies of each other
    assert grouped(3, (0, 1, 0.99), (0, 2, 0.98), composed=(0,)) == [0, 0, 1]


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)).filter(lambda pair: pair[0] != pair[1]), max_size=20))
def test_every_member_is_proven_against_the_best_of_its_group(ends: list[tuple[int, int]]) -> None:
    pairs = {(min(pair), max(pair)) for pair in ends}
    groups = grouped(8, *((a, b, 0.95) for a, b in sorted(pairs)))
    for image, group in enumerate(groups):
        best = groups.index(group)
        assert image == best or (best, image) in pairs


def test_components_follow_chains() -> None:
    assert components(5, np.array([[3, 4], [1, 3]])).tolist() == [0, 1, 2, 1, 1]
