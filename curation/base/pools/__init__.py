"""Where work runs: local processes (``local``) or Ray (``ray_pool``), with the same results.

Both pools distribute tasks of any kind and return those on which a process died.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from curation.base.errors import CurationError

if TYPE_CHECKING:
    from curation.base.pools.threads import Workers
    from curation.base.settings import EngineSettings

Task = TypeVar("Task")
Result = TypeVar("Result", covariant=True)


class EngineError(CurationError):
    """The engine cannot start, or one of its nodes cannot do the work."""


def usable_cores() -> int:
    """Return how many cores this process may use: those it is bound to, fewer where a container has a quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = QUOTA.read_text(encoding="ascii").split()
        return max(1, min(cores, -(-int(quota) // int(period))))
    except (OSError, ValueError):  # no control group, or "max"
        return cores


QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Microseconds of processor time in so many of a clock (cgroup v2)."""


def cluster(engine: EngineSettings, rows: int = 8192) -> Workers | None:
    """Return the processes of a cluster, if the engine is one; nothing is started before the first task.

    So many rows of a table or an array make a task.
    """
    if engine.kind != "ray":
        return None
    from curation.base.pools.ray_workers import OnRay

    return OnRay(engine, rows)


class TaskPool(Protocol[Task, Result]):
    """Runs tasks."""

    def results(self, queue: deque[Task]) -> Iterator[tuple[Task, Result | None]]:
        """Yield each task with its result, None if a process died on it; ``queue`` may grow meanwhile."""
