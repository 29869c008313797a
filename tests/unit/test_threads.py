"""Threads are set on purpose: a plain Python program that imports curation gets one detector thread, none that spin."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from curation.base import pools, threads
from curation.base.pools.local import Pool
from tests import programs

ROOT = Path(__file__).parents[2]


def said_by(program: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a program in the environment of somebody who has never heard of these variables."""
    hidden = {*threads.WAITING, *threads.COUNTS}
    plain = {name: value for name, value in os.environ.items() if name not in hidden}
    environment = plain | {"PYTHONPATH": str(ROOT)} | more
    return subprocess.run(programs.command(program), env=environment, capture_output=True, text=True, check=True)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts threads in /proc")
def test_the_detector_takes_one_thread_and_milliseconds_in_a_plain_program() -> None:
    seen = json.loads(said_by("detector_threads").stdout)
    assert (seen["more"], seen["opencv"], seen["waiting"]) == (0, 1, "PASSIVE")
    # 181 ms without all this; a second thread would make it busier than the clock
    assert seen["median"] < 0.05 and seen["busy"] < 1.3


def test_torch_s_threads_do_not_spin_in_a_plain_program() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    done = said_by("multiply_with_torch", OMP_DISPLAY_ENV="TRUE")
    if "OMP_WAIT_POLICY" not in done.stderr:
        pytest.skip("this OpenMP does not say what it reads")
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in done.stderr


def test_what_somebody_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.delenv("OPENCV_FOR_THREADS_NUM", raising=False)
    threads.choose()
    assert (os.environ["OMP_WAIT_POLICY"], os.environ["OPENCV_FOR_THREADS_NUM"]) == ("ACTIVE", "1")


@pytest.mark.parametrize(("said", "cores"), [("max 100000", 8), ("150000 100000", 2), ("1000 100000", 1), ("", 8)])
def test_a_container_s_quota_counts(said: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpu.max").write_text(said)
    monkeypatch.setattr(pools, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    for name in threads.COUNTS:
        monkeypatch.setenv(name, "8")
        monkeypatch.delenv(name)
    assert pools.usable_cores() == cores
    threads.choose()
    assert os.environ.get("OMP_NUM_THREADS") == (str(cores) if cores < 8 else None)


def said_by_a_worker() -> object:
    return lambda _: [os.environ[name] for name in threads.COUNTS]


def test_workers_use_one_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    from collections import deque

    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with Pool(1, said_by_a_worker) as pool:
        assert list(pool.results(deque(["ask"]))) == [("ask", ["1"] * 4)]
    assert os.environ["OMP_NUM_THREADS"] == "7"
