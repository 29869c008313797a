"""Dividing groups among splits: even shares and classes, no group in two, few moves."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.decisions.division import divide, together

SHARES = {"train": 0.75, "validation": 0.2, "test": 0.05}


def people(number: int, seed: int) -> pd.DataFrame:
    """Draw people with 1 to 20 pictures of classes that they prefer."""
    rng = np.random.default_rng(seed)
    rows = []
    for person in range(number):
        tastes = rng.dirichlet(np.ones(4))
        rows += [(f"p{person}", "abcd"[rng.choice(4, p=tastes)]) for _ in range(rng.integers(1, 21))]
    return pd.DataFrame(rows, columns=["person", "label"])


@pytest.mark.parametrize("seed", range(4))
def test_shares_and_classes_come_out_even_and_no_person_is_in_two_splits(seed: int) -> None:
    frame = people(150, seed)
    split = divide(frame["label"], frame["person"], pd.Series("", index=frame.index), SHARES)
    assert (split.groupby(frame["person"]).nunique() == 1).all()
    share = split.value_counts(normalize=True)
    assert all(abs(share[name] - asked) <= 0.02 for name, asked in SHARES.items())
    by_class = pd.crosstab(frame["label"], split, normalize="index")
    assert (by_class - pd.Series(SHARES)).abs().to_numpy().max() <= 0.03


def test_what_fits_stays_where_it_is() -> None:
    frame = people(150, 9)
    first = divide(frame["label"], frame["person"], pd.Series("", index=frame.index), SHARES)
    assert (divide(frame["label"], frame["person"], first, SHARES) != first).mean() < 0.1


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), min_size=1, max_size=60))
def test_whatever_comes_no_group_is_divided(rows: list[tuple[str, int]]) -> None:
    frame = pd.DataFrame(rows, columns=["label", "person"])
    split = divide(frame["label"], frame["person"].astype(str), pd.Series("", index=frame.index), SHARES)
    assert set(split) <= set(SHARES)
    assert (split.groupby(frame["person"]).nunique() == 1).all()


def test_groups_that_share_an_image_are_one() -> None:
    paths = pd.Series(list("abcde"))
    people = pd.DataFrame({"path": ["a", "b"], "group": ["p", "p"]})
    copies = pd.DataFrame({"path": ["b", "c", "x"], "group": ["g", "g", "g"]})
    number = together(paths, [people, copies])
    assert len({*number[:3]}) == 1 and len(set(number)) == 3
