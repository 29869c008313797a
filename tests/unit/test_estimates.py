"""The audit's intervals hold what they claim: the truth lies inside in at least 90 of 100 seeded simulations."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.audit.estimates import Stratum, remainder
from curation.base.statistics import share


@given(st.integers(1, 500).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_a_share_lies_within_its_interval_and_within_zero_and_one(counts: tuple[int, int]) -> None:
    hits, total = counts
    found = share(hits, total)
    assert 0.0 <= found.low <= found.value + 1e-12 and found.value - 1e-12 <= found.high <= 1.0
    assert found.low < found.high


def test_nothing_counted_means_nothing_known() -> None:
    found = share(0, 0)
    assert math.isnan(found.value) and (found.low, found.high) == (0.0, 1.0)


@pytest.mark.parametrize("recall", [0.5, 0.9, 0.98])
def test_the_interval_of_a_planted_recall_covers_the_truth(recall: float) -> None:
    covered = 0
    for seed in range(100):
        hits = int(np.random.default_rng(seed).binomial(300, recall))
        found = share(hits, 300)
        covered += found.low <= recall <= found.high
    assert covered >= 90


@pytest.mark.parametrize(("bad_flagged", "bad_unflagged"), [(900, 60), (500, 400), (950, 950)])
def test_the_interval_of_a_reviewed_recall_covers_the_truth(bad_flagged: int, bad_unflagged: int) -> None:
    flagged, unflagged, looked_at = 1_000, 19_000, 300
    truth = bad_flagged / (bad_flagged + bad_unflagged)
    covered = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        seen_flagged = int(rng.hypergeometric(bad_flagged, flagged - bad_flagged, looked_at))
        seen_unflagged = int(rng.hypergeometric(bad_unflagged, unflagged - bad_unflagged, looked_at))
        found = remainder(
            Stratum(flagged, looked_at, seen_flagged), Stratum(unflagged, looked_at, seen_unflagged), seed
        )
        covered += found.recall.low <= truth <= found.recall.high
    assert covered >= 90


def test_a_full_review_leaves_no_doubt() -> None:
    found = remainder(Stratum(50, 50, 40), Stratum(950, 950, 10), seed=0)
    assert found.recall.value == found.recall.low == found.recall.high == 0.8
    assert found.missed.low == found.missed.high == 10
