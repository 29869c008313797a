"""Work of one process on several threads, for what runs without the interpreter's lock: kernels, OpenCV, NumPy."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from curation.base import scratch

if TYPE_CHECKING:
    import pandas as pd

Task = TypeVar("Task")
Result = TypeVar("Result")

Make = Callable[..., Callable[[Any], Any]]
"""Returns what is done with each task; see ``Workers``."""

Array = NDArray[Any]

Rows = TypeVar("Rows", Array, "pd.DataFrame")

_BLOCK = 1024
"""Pictures that are worked on together: what is made of them on the way stays small."""


class Workers(Protocol):
    """Who does the tasks of a step: threads of this process, or processes of a cluster."""

    @property
    def rows(self) -> int:
        """How many pictures make a task."""

    def doing(self, make: Make, *arguments: Any) -> Callable[[Sequence[Any]], Iterator[Any]]:
        """Return a function from tasks to the results, in their order, of what ``make(*arguments)`` returns.

        For a cluster, ``make`` must be importable by name, and arguments, tasks and results picklable.
        """

    def sent(self, rows: Rows, again: bool = False) -> list[Any]:
        """Return ``self.rows`` rows of an array or a frame at a time, as tasks of several parts may hold them.

        One that is sent ``again``, unchanged, is stored where the workers are as long as it exists.
        """


class Threads(NamedTuple):
    """So many threads of this process."""

    number: int = 1
    rows: int = _BLOCK

    def doing(self, make: Make, *arguments: Any) -> Callable[[Sequence[Any]], Iterator[Any]]:
        """See ``Workers``."""
        do = make(*arguments)
        return lambda tasks: in_order(do, tasks, self.number)

    def sent(self, rows: Rows, again: bool = False) -> list[Any]:
        """See ``Workers``."""
        return [rows[part] for part in blocks(len(rows), self.rows)]


def fill(
    workers: Workers,
    do: Callable[..., Sequence[Array]],
    given: Sequence[Array],
    results: Sequence[Array],
    again: bool = False,
) -> None:
    """Fill each row of ``results`` with what ``do`` makes of that row of ``given``, some rows at a time.

    The memory of arrays that lie in files is given back meanwhile. For ``again`` see ``Workers.sent``.
    """
    tasks = list(zip(*(workers.sent(array, again) for array in given), strict=True))
    made_of = workers.doing(_by_blocks, do)(tasks)
    for part, made in zip(blocks(len(given[0]), workers.rows), made_of, strict=True):
        for result, rows in zip(results, made, strict=True):
            result[part] = rows
        scratch.release(*given, *results)
    scratch.filled(*results)


def _by_blocks(do: Callable[..., Sequence[Array]]) -> Callable[[Sequence[Array]], list[Array]]:
    def done(task: Sequence[Array]) -> list[Array]:
        made = [do(*(array[part] for array in task)) for part in blocks(len(task[0]), _BLOCK)]
        return [np.concatenate(side) if len(side) > 1 else side[0] for side in zip(*made, strict=True)]

    return done


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
