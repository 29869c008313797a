"""Processes of Ray are killed while they work, and the whole run is: the result is that of an undisturbed local run."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from tests.conftest import CURATE, Curate, as_json

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed"),
]

SMALL_SHARDS = {"CURATE_ENGINE__SHARD_SIZE": "4"}
"""Many checkpoints, so that a kill falls between two."""

PATIENCE_S = 240.0

AGENTS_END_S = 180.0
"""Ray's own helpers notice the death of their node by a time limit of their own, up to about two minutes."""


def started_on_ray(sample: Path, workspace: Path, log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as file:
        return subprocess.Popen(
            [str(CURATE), "run", str(sample), "-w", str(workspace), "--engine", "ray", "--workers", "2"],
            env={**os.environ, **SMALL_SHARDS},
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def family_of(run: subprocess.Popen[bytes]) -> list[psutil.Process]:
    try:
        return psutil.Process(run.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def working(run: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Processes of Ray that are doing a task of ours right now; Ray writes the task into their title."""
    found = []
    for process in family_of(run):
        try:
            if any("_do" in word for word in process.cmdline()[:1]):
                found.append(process)
        except psutil.Error:
            continue
    return found


def wait_for(what: Callable[[], bool], run: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert run.poll() is None, f"the run ended before it could be disturbed: {log.read_text()[-2000:]}"
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.002)


def kill_a_worker(run: subprocess.Popen[bytes], log: Path) -> None:
    while True:
        wait_for(lambda: bool(working(run)), run, log)
        victims = working(run)
        if victims:
            victims[0].send_signal(signal.SIGKILL)
            return


def listening_addresses(processes: list[psutil.Process]) -> set[str]:
    found = set()
    for process in processes:
        try:
            found |= {link.laddr.ip for link in process.net_connections("inet") if link.status == psutil.CONN_LISTEN}
        except psutil.Error:
            continue
    return found


def parts(workspace: Path) -> int:
    return len(list(workspace.glob("measurements/files-*/part-*")))


def test_a_worker_killed_half_way_through_each_step_changes_nothing(
    curated: Path, sample: Path, curate: Curate, tmp_path: Path
) -> None:
    undisturbed = as_json(curate("show", "cleaned", "-w", curated, "--json"))["hash"]
    workspace, log = tmp_path / "space", tmp_path / "log"
    run = started_on_ray(sample, workspace, log)
    wait_for(lambda: parts(workspace) >= 5, run, log)
    kill_a_worker(run, log)
    assert not (workspace / "images.parquet").exists(), "measuring was over before the kill"
    wait_for(lambda: (workspace / "images.parquet").exists(), run, log)
    kill_a_worker(run, log)
    assert not (workspace / "pairs.parquet").exists(), "the search was over before the kill"
    assert run.wait(PATIENCE_S) == 0, log.read_text()[-2000:]
    assert "A worker died or was killed" in log.read_text()
    assert as_json(curate("show", "cleaned", "-w", workspace, "--json"))["hash"] == undisturbed
    assert (workspace / "issues.parquet").read_bytes() == (curated / "issues.parquet").read_bytes()


def test_a_run_on_ray_listens_on_loopback_and_when_killed_leaves_no_process_and_goes_on_locally(
    curated: Path, sample: Path, curate: Curate, tmp_path: Path
) -> None:
    undisturbed = as_json(curate("show", "cleaned", "-w", curated, "--json"))["hash"]
    workspace, log = tmp_path / "space", tmp_path / "log"
    run = started_on_ray(sample, workspace, log)
    wait_for(lambda: parts(workspace) >= 5, run, log)
    family = family_of(run)
    assert listening_addresses(family) <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
    own = psutil.Process(run.pid).nice()
    assert {process.nice() for process in family if process.is_running() and "ray::" in process.name()} == {own}
    run.kill()
    run.wait()
    _, alive = psutil.wait_procs(family, timeout=AGENTS_END_S)
    assert alive == []
    resumed = as_json(curate("run", sample, "-w", workspace, "--json"))
    assert 0 < resumed["measured_now"] < resumed["images"]
    assert resumed["manifest_hash"] == undisturbed
