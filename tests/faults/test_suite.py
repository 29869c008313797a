"""The quick parts of the fault suite in short form (all: make faults): nothing lost, torn or hung."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults.suite import losses

REPOSITORY = Path(__file__).parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="forks, mounts and limits of Linux")]


def figures_of(part: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.faults.suite", part, "--short"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=850, check=False)
    assert done.stdout, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)["figures"]
    assert losses(found) == 0, found
    return found


def test_every_kill_is_survived() -> None:
    found = figures_of("kills")
    assert found["survived"] == found["kills"] >= 10


def test_an_interrupted_command_ends_within_two_seconds_and_goes_on() -> None:
    found = figures_of("interrupts")
    assert found["hit_while_running"] >= 1
    assert found["slowest_end_s"] <= 2


def test_nothing_is_overwritten_stale_let_in_or_hung() -> None:
    found = figures_of("trust")
    kinds = ("lost", "let_in", "hung", "tracebacks", "wrong")
    assert found["cases"] >= 60 and not any(found[kind] for kind in kinds)


def test_no_decision_is_lost_between_processes() -> None:
    found = figures_of("concurrency")
    rounds = found["interleavings"]
    assert rounds["rounds_with_both_decisions"] == rounds["rounds"] >= 100
    assert rounds["writers_failed"] == 0 and rounds["reads_meanwhile"] > 10
    assert found["locks"]["owner_named"] and found["locks"]["recovered_after_s"] < 1
