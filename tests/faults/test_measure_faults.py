"""Measuring survives dying workers, kills at any moment and damaged caches."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from curation.base.pools import local
from curation.base.pools.local import Pool, PoolError
from curation.base.settings import EngineSettings, MeasureSettings
from curation.measure import engine, load_measurements
from tests.unit.test_measure_engine import InlinePool, drawn, listing_of, measure

SETTINGS = MeasureSettings()
REPOSITORY = Path(__file__).parents[2]
make_true_work = engine.make_work


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    root = tmp_path / "pictures"
    root.mkdir()
    for number in range(30):
        (root / f"{number:03d}.png").write_bytes(drawn(number))
    return root


def make_deadly_work(*arguments: Any) -> Callable[[Any], Any]:
    """Work whose process dies, as in a segmentation fault, on every file that has "deadly" in its name."""
    work = make_true_work(*arguments)

    def deadly(shard: Any) -> Any:
        if any("deadly" in path for path in shard.paths):
            os.kill(os.getpid(), signal.SIGSEGV)
        return work(shard)

    return deadly


def make_once_deadly_work(*arguments: Any) -> Callable[[Any], Any]:
    """Work whose process is killed once, by whoever finds the file "strike" first."""
    work = make_true_work(*arguments)

    def once_deadly(shard: Any) -> Any:
        strike = Path(shard.urls[0]).parents[1] / "strike"
        if strike.exists():
            strike.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return work(shard)

    return once_deadly


def make_endless_work(*arguments: Any) -> Callable[[Any], Any]:
    """Work that never ends on a file that has "endless" in its name, as a decoder or a dead disk may not."""
    work = make_true_work(*arguments)

    def endless(shard: Any) -> Any:
        while any("endless" in path for path in shard.paths):
            time.sleep(60)
        return work(shard)

    return endless


def make_no_work(*_: Any) -> Callable[[Any], Any]:
    os._exit(3)


@pytest.mark.slow
def test_a_worker_that_dies_costs_one_row_and_nothing_else(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "make_work", make_deadly_work)
    monkeypatch.setattr(engine, "_WORTH_A_PROCESS", 1)
    for name in ("deadly-a.png", "deadly-b.png"):
        (pictures / name).write_bytes(drawn(1000 + len(name) + ord(name[7])))
    listing = listing_of(pictures)
    done = measure(listing, tmp_path / "store", SETTINGS, EngineSettings(workers=2))
    frame = load_measurements(listing, tmp_path / "store", SETTINGS).set_index("path")
    assert done.crashed == 2
    assert frame[frame["error_kind"] == "crashed"].index.tolist() == ["deadly-a.png", "deadly-b.png"]
    assert (frame["error"] != "").sum() == 2
    assert frame.loc["deadly-a.png", "sha256"] != ""
    monkeypatch.setattr(engine, "Pool", None)
    assert measure(listing, tmp_path / "store", SETTINGS, EngineSettings()).read == 0


def test_a_worker_that_is_killed_from_outside_leaves_no_trace(pictures, tmp_path, monkeypatch):
    listing = listing_of(pictures)
    measure(listing, tmp_path / "quiet", SETTINGS, EngineSettings())
    monkeypatch.setattr(engine, "make_work", make_once_deadly_work)
    (tmp_path / "strike").touch()
    done = measure(listing, tmp_path / "store", SETTINGS, EngineSettings(shard_size=1))
    assert done.crashed == 0 and not (tmp_path / "strike").exists()
    pd.testing.assert_frame_equal(
        load_measurements(listing, tmp_path / "store", SETTINGS),
        load_measurements(listing, tmp_path / "quiet", SETTINGS),
    )


@pytest.mark.slow
def test_a_file_that_no_decoder_ends_on_costs_one_row_and_nothing_else(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "make_work", make_endless_work)
    monkeypatch.setattr(local, "LIMIT_S", 4.0)
    monkeypatch.setattr(local, "_LOOK_S", 0.2)
    (pictures / "endless.png").write_bytes(drawn(5000))
    listing = listing_of(pictures)
    done = measure(listing, tmp_path / "store", SETTINGS, EngineSettings(workers=1, shard_size=1))
    frame = load_measurements(listing, tmp_path / "store", SETTINGS).set_index("path")
    assert done.crashed == 1 and frame[frame["error_kind"] == "crashed"].index.tolist() == ["endless.png"]


def test_a_worker_that_cannot_start_ends_the_run_with_one_sentence(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "make_work", make_no_work)
    with pytest.raises(PoolError, match=r"ended while starting \(exit status 3\)"):
        measure(listing_of(pictures), tmp_path / "store", SETTINGS, EngineSettings())
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"no network")
    monkeypatch.setattr(engine, "make_work", make_true_work)
    unusable = MeasureSettings(detector="yunet", detector_weights=str(bad))
    with pytest.raises(PoolError, match="yunet cannot use"):
        measure(listing_of(pictures), tmp_path / "store", unusable, EngineSettings())


def children_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def test_a_killed_run_leaves_no_process_behind_and_resumes(pictures, tmp_path):
    store, kept = tmp_path / "store", tmp_path / "quiet"
    listing = listing_of(pictures)
    measure(listing, kept, SETTINGS, EngineSettings())
    listing.to_pickle(tmp_path / "listing.pkl")
    code = (
        "import sys, pandas as pd\n"
        "from pathlib import Path\n"
        "from curation.measure import measure\n"
        "from curation.base.settings import EngineSettings, MeasureSettings\n"
        "if __name__ == '__main__':\n"
        f"    listing = pd.read_pickle({str(tmp_path / 'listing.pkl')!r})\n"
        f"    measure(listing, Path({str(store)!r}), MeasureSettings(), EngineSettings(shard_size=1))\n"
    )
    script = tmp_path / "run.py"
    script.write_text(code)
    process = subprocess.Popen([sys.executable, str(script)], env={**os.environ, "PYTHONPATH": str(REPOSITORY)})
    deadline = time.monotonic() + 60
    while not list(store.glob("files-*/part-*")) and time.monotonic() < deadline:
        time.sleep(0.005)
    orphans = children_of(process)
    process.kill()
    process.wait()
    committed = len(list(store.glob("files-*/part-*")))
    assert 0 < committed < len(listing), "the kill came too late to prove anything"
    gone, alive = psutil.wait_procs(orphans, timeout=20)
    assert alive == [] and len(gone) == len(orphans) > 0
    (store / "files-2" / ".part-000001.123.tmp").write_bytes(b"half")
    done = measure(listing, store, SETTINGS, EngineSettings())
    assert len(listing) - committed - 1 <= done.read <= len(listing) - committed
    assert list(store.rglob("*.tmp")) == []
    pd.testing.assert_frame_equal(
        load_measurements(listing, store, SETTINGS), load_measurements(listing, kept, SETTINGS)
    )


@pytest.mark.parametrize("table", ["files", "pixels", "faces"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied"])
def test_a_damaged_part_is_dropped_with_a_warning_and_measured_again(
    pictures, tmp_path, caplog, monkeypatch, table, damage
):
    monkeypatch.setattr(engine, "Pool", InlinePool)
    store, listing = tmp_path / "store", listing_of(pictures)
    measure(listing, store, SETTINGS, EngineSettings(shard_size=5))
    before = load_measurements(listing, store, SETTINGS)
    part = sorted(store.glob(f"{table}-*/part-*"))[1]
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 4
    part.write_bytes({"cut": bytes(data[: len(data) // 2]), "flipped": bytes(data), "emptied": b""}[damage])
    with caplog.at_level(logging.WARNING):
        done = measure(listing, store, SETTINGS, EngineSettings())
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert part.name in caplog.text
    assert (done.read, done.measured) == (5, 0 if table == "files" else 5)
    pd.testing.assert_frame_equal(load_measurements(listing, store, SETTINGS), before)


def double(value: int) -> int:
    if value < 0:
        os._exit(1)
    return 2 * value


def make_double() -> Callable[[int], int]:
    return double


def test_the_pool_returns_every_task_once_and_names_those_that_kill():
    from collections import deque

    queue = deque([*range(20), -1, *range(20, 30), -2])
    with Pool[int, int](3, make_double) as pool:
        outcomes = dict(pool.results(queue))
        workers = [worker.process for worker in pool._workers]
    assert outcomes == {**{value: 2 * value for value in range(30)}, -1: None, -2: None}
    assert not any(worker.is_alive() for worker in workers)
