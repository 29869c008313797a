"""The search as a whole, on drawn pictures and, where present, on the real faces."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from curation.audit.synthetic import plant
from curation.base import scratch
from curation.base.pools.threads import Threads
from curation.base.settings import DuplicateSettings
from curation.checks.duplicates import candidates, find_near_duplicates, local_engine, looks
from curation.checks.duplicates.candidates import Candidates
from curation.checks.duplicates.find import missing_pairs
from tests.benchmarks import bench_near_duplicates as bench
from tests.faults.long_run import Noted
from tests.unit.test_duplicates_candidates import features_of
from tests.unit.test_plant import drawn_face


def find(thumbnails: np.ndarray) -> object:
    return find_near_duplicates(*features_of(thumbnails), DuplicateSettings())


@pytest.fixture(scope="module")
def crowd() -> tuple[np.ndarray, list[str]]:
    """200 drawn faces and after them a copy of each of the first 57, kinds in turn."""
    faces = np.stack([drawn_face(seed) for seed in range(200)])
    kinds = list(plant.KINDS) * 3
    copies = [plant.make_copy(faces[n], kind, n) for n, kind in enumerate(kinds)]
    return np.concatenate([faces, np.stack(copies)]), kinds


def test_planted_copies_are_found_and_nothing_else(crowd: tuple[np.ndarray, list[str]]) -> None:
    thumbnails, kinds = crowd
    found = find(thumbnails)
    found = found[found["relation"] == "near_duplicate"]
    reported = set(zip(found["i"], found["j"], strict=True))
    truth = {(n, 200 + n) for n in range(len(kinds))}
    assert len(reported & truth) >= 0.85 * len(truth)
    assert len(reported - truth) <= 1
    mirrored = {n: "mirror" in kind for n, kind in enumerate(kinds)}
    assert all(
        mirrored[i] == flag
        for i, j, flag in zip(found["i"], found["j"], found["mirrored"], strict=True)
        if (i, j) in truth
    )


def test_the_search_is_repeatable(crowd: tuple[np.ndarray, list[str]]) -> None:
    assert find(crowd[0]).equals(find(crowd[0]))


class Elsewhere(candidates.Elsewhere):
    """A search that is here after all."""

    def __call__(self, queries: np.ndarray) -> candidates.Neighbours:
        return candidates.searcher(*self.arguments)(queries)


@pytest.mark.parametrize("at_once", [100, candidates.AT_ONCE])
def test_workers_that_search_elsewhere_look_through_windows_themselves(
    at_once: int, crowd: tuple[np.ndarray, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, made = find(crowd[0]), []

    def make(database: np.ndarray, count: int) -> object:
        made.append(count)
        return candidates.searcher(database, count)

    engine = local_engine()._replace(searcher=partial(Elsewhere, make), workers=Threads(2, rows=37))
    monkeypatch.setattr(candidates, "AT_ONCE", at_once)
    found = find_near_duplicates(*features_of(crowd[0]), DuplicateSettings(), engine=engine)
    assert found.equals(expected) and made == [candidates.FEW] * -(-len(crowd[0]) // at_once)


def test_blocks_and_threads_leave_the_result_as_it_is(
    crowd: tuple[np.ndarray, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = find(crowd[0])
    for module, name in ((candidates, "AT_ONCE"), (candidates, "_QUERIES"), (looks, "AT_ONCE")):
        monkeypatch.setattr(module, name, 50)
    for threads in (1, 3):
        engine = local_engine(threads)
        found = find_near_duplicates(*features_of(crowd[0]), DuplicateSettings(), engine=engine)
        assert len(found) > 40 and found.equals(expected)


def test_progress_ends_where_it_said(crowd: tuple[np.ndarray, list[str]]) -> None:
    shown = Noted()
    find_near_duplicates(*features_of(crowd[0]), DuplicateSettings(), shown)
    searched, compared = (step["told"] for step in shown.steps)
    for told in (searched, compared):
        assert told == sorted(told)
        assert told[-1][1] == told[-1][2]
    assert len(searched) == 55


def test_what_lies_in_files_gives_the_same_and_leaves_nothing_behind(
    crowd: tuple[np.ndarray, list[str]], tmp_path: Path
) -> None:
    thumbnails = scratch.mapped_zeros(tmp_path, crowd[0].shape, np.uint8)
    thumbnails[:] = crowd[0]
    _, *hashes = features_of(crowd[0])
    found = find_near_duplicates(thumbnails, *hashes, DuplicateSettings(), folder=tmp_path)
    assert found.equals(find(crowd[0]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_images_are_no_trouble(count: int) -> None:
    thumbnails = np.stack([drawn_face(1), 200 - drawn_face(1) // 2])[:count].reshape(count, 48, 48)
    found = find_near_duplicates(thumbnails, *[np.arange(count, dtype=np.int64)] * 2, DuplicateSettings())
    assert len(found) <= count // 2
    assert list(found.columns[:4]) == ["i", "j", "probability", "score"]


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match="thumbnails must be"):
        find_near_duplicates(
            np.zeros((2, 48, 48), np.uint8), np.zeros(2, np.int64), np.zeros(3, np.int64), DuplicateSettings()
        )


@pytest.mark.data
@pytest.mark.slow
def test_copies_planted_among_real_faces_are_found(faces: Path) -> None:
    """A small form of the benchmark: 1,000 faces of one folder without reported look-alikes, 190 copies."""
    _, clean = bench.natural(bench.read_distinct(faces / "validation" / "happy")[:1200])
    chosen = clean[:1000]
    copies, sources = bench.plant_copies(chosen, list(plant.KINDS), 190, seed=5)
    found = bench.copies_in(bench.find(np.concatenate([chosen, copies])))
    figures = bench.judge(found, len(chosen), sources, list(plant.KINDS))
    assert figures["recall"] >= 0.97
    assert figures["precision"] >= 0.98


def test_pairs_of_copies_of_a_third_are_missing_where_no_source_named_them() -> None:
    found = pd.DataFrame({"i": [0, 1, 3], "j": [1, 2, 4], "relation": 0})
    looked = Candidates.of(np.array([[0, 1], [0, 7], [1, 2], [3, 4]]), np.zeros(4, dtype=np.bool_))
    missing = missing_pairs(found, looked, 5)
    assert missing.pairs.tolist() == [[0, 2], [0, 2]]
    assert missing.mirrored.tolist() == [False, True]
    named = Candidates.of(np.array([[0, 1], [0, 2], [1, 2], [3, 4]]), np.zeros(4, dtype=np.bool_))
    assert not len(missing_pairs(found, named, 5))
    nothing = Candidates.of(np.empty((0, 2), np.int64), np.empty(0, np.bool_))
    assert not len(missing_pairs(found.head(0), nothing, 5))
