"""Cost of whole processes: CPU seconds, wall seconds and peak memory of a command and all its children."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import psutil

_SAMPLE_S = 0.2
"""Seconds between two readings of the process tree's memory."""

_REST = 20
"""A reading is followed by a pause of so many times its own length: that of a process of some GiB takes long."""


@dataclass(frozen=True)
class Cost:
    """What a command cost.

    peak_mib is the largest sum of the tree's private (unshared) and shared memory (PSS), own_mib the largest of the
    command's own process, without those that it starts.
    """

    cpu_s: float
    wall_s: float
    peak_mib: float
    exit_status: int
    own_mib: float

    def record(self) -> dict[str, float]:
        """Return the figures, rounded for printing."""
        return {name: round(value, 2) for name, value in asdict(self).items()}


class Sample(NamedTuple):
    """A reading of a process and its descendants: time of day (s since 1970), CPU s so far, memory (PSS, MiB).

    Of the memory, own_mib is in no file: pages of mapped files the system takes back when others need them.
    """

    time: float
    cpu_s: float
    mib: float
    own_mib: float


def measured(
    command: list[str], environment: dict[str, str] | None = None, samples: list[Sample] | None = None
) -> tuple[Cost, str]:
    """Run ``command`` and return its cost and what it printed on standard output; readings are added to ``samples``."""
    before = os.times()
    started = time.monotonic()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=sys.stderr, env={**os.environ, **(environment or {})}, text=True
    ) as process:
        peak = [0.0, 0.0]
        done = threading.Event()
        watcher = threading.Thread(target=_watch, args=(process.pid, peak, done, samples))
        watcher.start()
        output = process.communicate()[0]
        done.set()
        watcher.join()
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Cost(cpu, time.monotonic() - started, peak[0], process.returncode, peak[1]), output


def _watch(pid: int, peak: list[float], done: threading.Event, samples: list[Sample] | None) -> None:
    pause = _SAMPLE_S
    while not done.wait(pause):
        started = time.thread_time()
        sizes, cpu_s, own_mib = _readings(pid)
        if samples is not None and sizes:
            samples.append(Sample(time.time(), cpu_s, sum(sizes), own_mib))
        peak[0], peak[1] = max(peak[0], sum(sizes)), max(peak[1], *sizes[:1], 0.0)
        pause = max(_SAMPLE_S, _REST * (time.thread_time() - started))


def _readings(pid: int) -> tuple[list[float], float, float]:
    """Return the memory of a process and of each of its descendants, in this order; CPU s, and what is in no file."""
    sizes, cpu_s, own = [], 0.0, 0.0
    try:
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            cpu_s += sum(process.cpu_times()[:4])  # user, system, and those of children that have ended
            rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii")
            kib = dict.fromkeys(("Pss", "Pss_Anon"), 0) | {
                line.partition(":")[0]: int(line.split()[1]) for line in rollup.splitlines() if line.endswith("kB")
            }
            sizes.append(kib["Pss"] / 1024)
            own += kib["Pss_Anon"] / 1024
    except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
        pass
    return sizes, cpu_s, own


def print_figures(name: str, figures: object) -> None:
    """Print one benchmark's figures as JSON."""
    print(json.dumps({"benchmark": name, "figures": figures}, indent=1), flush=True)
