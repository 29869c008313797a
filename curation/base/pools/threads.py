"""Work of one process on several threads, for what runs without the interpreter's lock: kernels, OpenCV, NumPy."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_order(do: Callable[[Task], Result], tasks: Iterable[Task], threads: int) -> Iterator[Result]:
    """Yield what ``do`` returns for each task, in the tasks' order; few results wait at a time."""
    if threads < 2:
        yield from map(do, tasks)
        return
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for task in tasks:
            waiting.append(pool.submit(do, task))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def blocks(rows: int, size: int) -> list[slice]:
    """Return slices of ``size`` rows that cover ``rows``."""
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]
