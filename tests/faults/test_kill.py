"""kill -9 at any moment, then the same command again: the same manifest, nothing lost, nothing half written."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import CURATE, Curate, as_json

KILLS = 6
"""Kills of one test; they are spread evenly, with a seeded jitter, over the length of an undisturbed run."""


def kill_after(seconds: float, *arguments: object) -> None:
    process = subprocess.Popen(
        [str(CURATE), *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_with_the_same_hash(
    sample: Path, curated: Path, curate: Curate, tmp_path: Path
) -> None:
    undisturbed = as_json(curate("show", "cleaned", "-w", curated, "--json"))["hash"]
    started = time.monotonic()
    curate("run", sample, "-w", tmp_path / "timed")
    length = time.monotonic() - started
    rng = random.Random(5)
    workspace = tmp_path / "killed"
    for kill in range(KILLS):
        kill_after(length * (kill + rng.random()) / KILLS, "run", sample, "-w", workspace)
        if (workspace / "manifests").exists():
            assert as_json(curate("verify", "-w", workspace, "--json"))["ok"]
    assert as_json(curate("run", sample, "-w", workspace, "--json"))["manifest_hash"] == undisturbed
    assert as_json(curate("verify", "-w", workspace, "--json"))["ok"]
    left_over = [path for path in workspace.rglob("*.tmp") if path.is_file()]
    assert left_over == []
