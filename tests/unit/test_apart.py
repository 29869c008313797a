"""Separated pictures: no pair, and no chain of pairs, brings two of them into one group; all else stays joined."""

from __future__ import annotations

import itertools

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from curation.checks.apart import without_separated

NAMES = "abcdef"
FILES = pd.DataFrame({"sha256": [f"file {name}" for name in NAMES], "pixel_sha256": list(NAMES)})


def pairs(*rows: tuple[str, str, float]) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows), columns=["pixel_sha256_a", "pixel_sha256_b", "probability"])
    return frame.assign(transform="", relation="near_duplicate")


def groups(frame: pd.DataFrame) -> list[set[str]]:
    found: list[set[str]] = []
    for a, b in frame[["pixel_sha256_a", "pixel_sha256_b"]].itertuples(index=False):
        joined = [group for group in found if group & {a, b}]
        found = [group for group in found if group not in joined] + [set().union({a, b}, *joined)]
    return found


def test_the_weaker_link_to_a_common_copy_goes() -> None:
    left = without_separated(pairs(("a", "b", 0.99), ("a", "c", 0.97), ("b", "c", 0.95)), FILES, [("file a", "file b")])
    assert left[["pixel_sha256_a", "pixel_sha256_b"]].to_numpy().tolist() == [["a", "c"]]


def test_shots_of_one_session_join_nobody() -> None:
    frame = pairs(("a", "c", 0.5), ("b", "c", 0.99)).assign(relation=["same_session", "near_duplicate"])
    assert len(without_separated(frame, FILES, [("file a", "file b")])) == 2


some_pairs = st.lists(
    st.tuples(st.sampled_from(list(itertools.combinations(NAMES, 2))), st.floats(0.9, 1.0)), max_size=12
)


@given(some_pairs, st.lists(st.sets(st.sampled_from(NAMES), min_size=2, max_size=3), max_size=3))
def test_no_two_parted_ones_meet_and_what_is_far_from_them_keeps_its_pairs(
    drawn: list[tuple[tuple[str, str], float]], apart: list[set[str]]
) -> None:
    frame = pairs(*((a, b, p) for (a, b), p in drawn))
    left = without_separated(frame, FILES, [[f"file {name}" for name in names] for names in apart])
    for group in groups(left):
        assert all(len(group & names) <= 1 for names in apart)
    untouched = [group for group in groups(frame) if all(len(group & names) <= 1 for names in apart)]
    assert all(group in groups(left) for group in untouched)
