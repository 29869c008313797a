"""The engine ray: the same functions elsewhere, the same result; what is wrong is one sentence."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from curation.base.pools import EngineError, cluster, ray_pool
from curation.base.settings import EngineSettings
from curation.measure import engine as measuring
from curation.measure.tables import Batch
from tests.conftest import Curate, as_json

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")
TWO = EngineSettings(kind="ray", workers=2)


def make_multiplier(factor: int) -> Callable[[int], int]:
    def work(value: int) -> int:
        if value == 13:
            os.kill(os.getpid(), signal.SIGSEGV)
        if value < 0:
            raise ValueError("no negative values")
        return value * factor

    return work


def say_how_it_runs() -> Callable[[int], tuple[int, str | None]]:
    return lambda value: (os.nice(0), os.environ.get("OMP_NUM_THREADS"))


def near_hashes(number: int, seed: int) -> np.ndarray:
    """Hashes of which half differ from another one in up to seven bits."""
    rng = np.random.default_rng(seed)
    base = rng.integers(-(2**63), 2**63, number, dtype=np.int64)
    near = base.copy()
    for _ in range(7):
        near ^= np.int64(1) << rng.integers(0, 64, number)
    return np.unique(np.concatenate([base, near]))


def test_without_ray_the_user_is_told_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_pool.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r"pip install 'face-curation\[ray\]'"):
        ray_pool.connect(TWO)


def test_a_file_that_only_the_nodes_cannot_read_ends_the_run(tmp_path: Path) -> None:
    (tmp_path / "here.png").write_bytes(b"1")
    seen = {
        "path": "here.png",
        "url": str(tmp_path / "here.png"),
        "sha256": "",
        "error_kind": "unreadable",
        "error": "",
    }
    with pytest.raises(EngineError, match=r"here\.png can be read here but not where"):
        measuring.require_same_view(Batch([seen], [], []).tables()[0])
    measuring.require_same_view(Batch([seen | {"url": str(tmp_path / "gone.png")}], [], []).tables()[0])


@needs_ray
def test_ray_s_workers_use_one_thread_each_and_are_as_important_as_the_program() -> None:
    said = list(ray_pool.RayPool[int, tuple[int, str | None]](TWO, say_how_it_runs).in_order([1, 2]))
    assert said == [(os.nice(0), "1")] * 2


@needs_ray
@pytest.mark.slow
def test_every_task_is_done_once_and_those_that_kill_are_named() -> None:
    pool = ray_pool.RayPool[int, int](TWO, make_multiplier, 10)
    outcomes = list(pool.results(deque(range(10, 16))))
    again = dict(pool.results(deque([1, 2])))
    with pytest.raises(EngineError, match="no negative values"):
        list(pool.results(deque([-1])))
    assert sorted(outcomes) == [(10, 100), (11, 110), (12, 120), (13, None), (14, 140), (15, 150)]
    assert again == {1: 10, 2: 20}
    told: list[tuple[int, int]] = []
    assert list(pool.in_order([5, 3, 5], lambda *done: told.append(done))) == [50, 30, 50]
    assert told == [(1, 3), (2, 3), (3, 3)]
    with pytest.raises(EngineError, match="3 processes of Ray died on one task"):
        list(pool.in_order([13]))


@needs_ray
@pytest.mark.slow
def test_a_node_with_other_packages_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    ray_pool.connect(TWO)
    ray_pool.require_same_packages()
    true_version = ray_pool.metadata.version
    monkeypatch.setattr(ray_pool.metadata, "version", lambda name: "0.0" if name == "numpy" else true_version(name))
    with pytest.raises(EngineError, match=r"has numpy [\d.]+, this machine 0\.0; install the same there"):
        ray_pool.require_same_packages()


@needs_ray
@pytest.mark.slow
def test_searches_on_ray_find_what_searches_here_find(monkeypatch: pytest.MonkeyPatch) -> None:
    from curation.checks.duplicates import candidates, on_ray

    hashes = near_hashes(2000, 3)
    monkeypatch.setattr(on_ray, "_LEAST_QUERIES", 700)
    here, there = candidates.hamming_pairs(hashes, hashes, 6), on_ray.ray_engine(TWO).join(hashes, hashes, 6)
    assert len(here[0]) > len(hashes)
    assert all(np.array_equal(a, b) for a, b in zip(here, there, strict=True))

    rng = np.random.default_rng(4)
    vectors = rng.integers(-40, 40, (9000, 44)).astype(np.float32)
    for limit, count in ((candidates.FLAT_LIMIT, 5), (candidates.FLAT_LIMIT, candidates.FEW), (1000, 5)):
        monkeypatch.setattr(candidates, "FLAT_LIMIT", limit)
        assert candidates.is_flat(len(vectors), count) == (limit > 9000 and count > candidates.FEW)
        near, far = (make(vectors, count)(vectors) for make in (candidates.searcher, on_ray.ray_engine(TWO).searcher))
        assert all(np.array_equal(a, b) for a, b in zip(near, far, strict=True))


@needs_ray
@pytest.mark.slow
def test_what_is_made_of_pictures_on_ray_is_what_is_made_of_them_here() -> None:
    from curation.base.pools import ray_workers
    from curation.checks.duplicates import candidates, features, looks

    there = ray_workers.OnRay(TWO, 700)
    rng = np.random.default_rng(5)
    rough = rng.integers(0, 256, (1500, 6, 6)).astype(np.uint8)
    pictures = np.ascontiguousarray(rough.repeat(8, axis=1).repeat(8, axis=2))
    turn, views = partial(looks.turned, turn=1), (features.PLAIN, features.View(1.2, 1, 0))
    made: list[list[np.ndarray]] = []
    for workers in (features.ALONE, there):
        small = features.pictures(pictures, workers=workers)
        seen = [features.descriptors(pictures, view, workers, turn) for view in views]
        made.append([*small, *seen, *candidates.partitioned(seen[0], workers)])
    assert all(np.array_equal(here, far, equal_nan=here.dtype.kind == "f") for here, far in zip(*made, strict=True))
    stored = there.sent(pictures, again=True)
    assert there.sent(pictures, again=True) is stored and len(stored) == 3
    known = there.sent(other := pictures.copy(), again=True)
    del other
    assert there.sent(pictures.copy(), again=True) is not known


@needs_ray
@pytest.mark.slow
def test_folders_that_are_listed_on_ray_are_those_listed_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from curation.formats import folders
    from curation.formats.gate import Gate
    from tests.unit.sources import lay

    root = lay(tmp_path / "data", [f"{label}/part{n}/{n}.jpg" for n in range(5) for label in ("happy", "sad")])
    (root / "happy" / "back").symlink_to(root / "sad")
    monkeypatch.setattr(folders, "_FOLDERS_A_TASK", 1)
    gate = Gate(str(root), tmp_path / "cache")
    here, there = folders.scan(gate), folders.scan(gate, cluster(TWO))
    assert sorted(there.images) == sorted(here.images) and len(here.images) == 10
    assert there.contents.problems == here.contents.problems and len(here.contents.problems) == 1


@needs_ray
@pytest.mark.slow
def test_checks_by_blocks_on_ray_find_what_they_find_at_once() -> None:
    from curation.base.pools.ray_workers import OnRay
    from curation.checks import blocks, registry
    from tests.unit.test_issues import drawn, stored_exactly

    asked = drawn()
    assert stored_exactly(blocks.run(asked, OnRay(TWO, 7))) == stored_exactly(registry.run(asked))


@needs_ray
@pytest.mark.slow
def test_a_run_on_ray_gives_the_issues_and_the_manifest_of_a_local_run(
    curated: Path, sample: Path, curate: Curate, tmp_path: Path
) -> None:
    local = as_json(curate("show", "cleaned", "-w", curated, "--json"))["hash"]
    there = as_json(curate("run", sample, "-w", tmp_path / "ray", "--engine", "ray", "--workers", 2, "--json"))
    assert there["manifest_hash"] == local
    here, away = (pd.read_parquet(workspace / "pairs.parquet") for workspace in (curated, tmp_path / "ray"))
    pd.testing.assert_frame_equal(here, away)
    # whose metadata name the file of scores by its SHA-256
    assert (tmp_path / "ray" / "issues.parquet").read_bytes() == (curated / "issues.parquet").read_bytes()


@needs_ray
@pytest.mark.slow
def test_a_cluster_that_does_not_answer_is_one_sentence(sample: Path, curate: Curate, tmp_path: Path) -> None:
    done = curate("scan", sample, "-w", tmp_path / "space", "--engine", "ray", "--address", "127.0.0.1:9", check=False)
    assert done.returncode == 1
    assert "no Ray cluster answers at 127.0.0.1:9" in done.stderr.splitlines()[-1]
