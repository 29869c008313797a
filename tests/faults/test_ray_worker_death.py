"""Processes of Ray are killed while they work, and the whole run is: the result is that of an undisturbed local run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import CURATE, Curate, as_json

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed"),
]

PATIENCE_S = 240.0

AGENTS_END_S = 180.0
"""Ray's own helpers notice the death of their node by a time limit of their own, up to about two minutes."""


def started_on_ray(
    sample: Path, workspace: Path, log: Path, *where: str, shard_size: int = 4
) -> subprocess.Popen[bytes]:
    """Start a run with many checkpoints, so that a kill falls between two."""
    with log.open("wb") as file:
        return subprocess.Popen(
            [str(CURATE), "run", str(sample), "-w", str(workspace), "--engine", "ray", *where],
            env={**os.environ, "CURATE_ENGINE__SHARD_SIZE": str(shard_size)},
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def family_of(run: subprocess.Popen[bytes]) -> list[psutil.Process]:
    try:
        return psutil.Process(run.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def working(family: list[psutil.Process]) -> list[psutil.Process]:
    """Processes of Ray that are doing a task of ours right now; Ray writes the task into their title."""
    found = []
    for process in family:
        try:
            if any("_do" in word for word in process.cmdline()[:1]):
                found.append(process)
        except psutil.Error:
            continue
    return found


def workers_of(node: Any) -> list[psutil.Process]:
    """The processes that a simulated node has started."""
    return psutil.Process(node.all_processes["raylet"][0].process.pid).children(recursive=True)


def wait_for(what: Callable[[], bool], run: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert run.poll() is None, f"the run ended before it could be disturbed: {log.read_text()[-2000:]}"
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.002)


def kill_a_worker(run: subprocess.Popen[bytes], log: Path) -> None:
    while True:
        wait_for(lambda: bool(working(family_of(run))), run, log)
        victims = working(family_of(run))
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
    run = started_on_ray(sample, workspace, log, "--workers", "2")
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
    run = started_on_ray(sample, workspace, log, "--workers", "2")
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


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Three nodes of Ray, simulated on this machine, with a processor each."""
    from ray.cluster_utils import Cluster

    for name, value in {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_worker_niceness": "0"}.items():
        monkeypatch.setenv(name, value)  # on loopback, and not behind every other program
    node = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "include_dashboard": False}
    nodes = Cluster(initialize_head=True, head_node_args=node)
    for _ in range(2):
        nodes.add_node(**node)
    yield nodes
    nodes.shutdown()


def test_a_node_of_three_that_is_gone_half_way_changes_nothing(
    sample: Path, curate: Curate, tmp_path: Path, cluster: Any
) -> None:
    for copy in range(6):  # of other content, though of the same pixels: enough work for all nodes
        for file in sample.rglob("*.jpg"):
            place = tmp_path / "data" / str(copy) / file.relative_to(sample)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.read_bytes() + bytes([copy]))
    here, workspace, log = tmp_path / "here", tmp_path / "space", tmp_path / "log"
    run = started_on_ray(tmp_path / "data", workspace, log, "--address", cluster.address, shard_size=24)
    lost = min(cluster.worker_nodes, key=str)
    others = [node for node in (cluster.head_node, *cluster.worker_nodes) if node is not lost]
    held: list[psutil.Process] = []

    def lost_node_works() -> bool:
        """Let the others wait meanwhile: a node may need longer to start its worker than they for all the work."""
        if parts(workspace) >= 5:
            for process in [process for node in others for process in working(workers_of(node))]:
                process.suspend()
                held.append(process)
        return bool(held) and bool(working(workers_of(lost)))

    wait_for(lost_node_works, run, log)
    cluster.remove_node(lost, allow_graceful=False)
    assert not (workspace / "images.parquet").exists(), "measuring was over before the node was gone"
    for process in held:
        process.resume()
    undisturbed = as_json(curate("run", tmp_path / "data", "-w", here, "--json"))
    assert undisturbed["measured_now"] > 1000
    assert run.wait(PATIENCE_S) == 0, log.read_text()[-2000:]
    assert as_json(curate("show", "cleaned", "-w", workspace, "--json"))["hash"] == undisturbed["manifest_hash"]
    for table in ("issues", "pairs"):
        assert (workspace / f"{table}.parquet").read_bytes() == (here / f"{table}.parquet").read_bytes()


ALL_ELSEWHERE = """
from curation.__main__ import main
from curation.checks import blocks
from curation.checks.base import OneNumber

def refuse(*_):
    raise SystemExit("a block is measured by curate itself")

def whole(self, inputs, run=OneNumber.__call__):
    return refuse() if self.reads else run(self, inputs)

blocks._block, OneNumber.__call__ = refuse, whole
main()
"""
"""A command that ends where it runs a check that processes of Ray should run; these load the package unchanged."""


def test_checks_on_one_number_are_run_by_the_nodes(
    curated: Path, sample: Path, curate: Curate, tmp_path: Path, cluster: Any
) -> None:
    command = [sys.executable, "-c", ALL_ELSEWHERE, "run", str(sample), "-w"]
    there, here = tmp_path / "there", tmp_path / "here"
    on_ray = [*command, str(there), "--engine", "ray", "--address", cluster.address]
    subprocess.run(on_ray, check=True, timeout=PATIENCE_S)
    refused = subprocess.run([*command, str(here)], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert "by curate itself" in refused.stderr
    hashes = [as_json(curate("show", "cleaned", "-w", space, "--json"))["hash"] for space in (there, curated)]
    assert hashes[0] == hashes[1]
    assert (there / "issues.parquet").read_bytes() == (curated / "issues.parquet").read_bytes()
