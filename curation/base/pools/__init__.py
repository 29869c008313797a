"""Where work runs: local processes (``local``) or Ray (``ray_pool``), with the same results.

Both pools distribute tasks of any kind and return those on which a process died.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from typing import Protocol, TypeVar

from curation.base.errors import CurationError

Task = TypeVar("Task")
Result = TypeVar("Result", covariant=True)


class EngineError(CurationError):
    """The engine cannot start, or one of its nodes cannot do the work."""


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class TaskPool(Protocol[Task, Result]):
    """Runs tasks."""

    def results(self, queue: deque[Task]) -> Iterator[tuple[Task, Result | None]]:
        """Yield each task with its result, None if a process died on it; ``queue`` may grow meanwhile."""
