"""A pool of spawned processes that survives the death of any of them.

The standard library's executors end the run when a worker dies, without saying which task it held. Here every worker
has its own pipe and at most one task, so the task of a dead worker is known and returned. A worker whose parent dies
ends by itself, because its pipe closes.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import connection as pipes
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

from curation.base import threads
from curation.base.errors import CurationError

Task = TypeVar("Task")
Result = TypeVar("Result")

Work = Callable[[Any], Any]
"""Runs one task; made once in each process."""

_READY = "ready"

_OUT_OF_MEMORY = (
    "a measuring process is out of memory; free memory, take fewer --workers or lower measure.max_pixels, and give the "
    "same command again: what has been measured is kept"
)

LIMIT_S = 1800.0
"""Seconds for one task: a thousand photographs take two minutes; a decoder or disk may hang forever."""

_LOOK_S = 30.0
"""Seconds between checks of that limit."""

_STOP_S = 5.0
"""Seconds that a worker has to end by itself."""


class PoolError(CurationError):
    """A worker could not start."""


@dataclass
class _Worker(Generic[Task]):
    process: BaseProcess
    pipe: Connection
    task: Task | None = None
    ready: bool = False
    since: float = 0.0


class Pool(Generic[Task, Result]):
    """Use as a context manager; leaving it ends every worker."""

    def __init__(self, workers: int, make_work: Callable[..., Work], *arguments: Any) -> None:
        """Prepare ``workers`` processes, each of which calls ``make_work(*arguments)`` once.

        ``make_work`` must be importable by name, and its arguments picklable.
        """
        self._size = workers
        self._make_work = make_work
        self._arguments = arguments
        self._workers: list[_Worker[Task]] = []

    def __enter__(self) -> Pool[Task, Result]:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.pipe.close()
            if worker.task is not None:
                worker.process.kill()
        for worker in self._workers:
            worker.process.join(_STOP_S)
            worker.process.kill()
            worker.process.join()

    def results(self, queue: deque[Task]) -> Iterator[tuple[Task, Result | None]]:
        """Yield each task with its result when it is done, None if the worker died on it.

        Tasks that the caller adds to ``queue`` meanwhile are run too. No new task is sent out before the caller asks
        for the next result, so what it has committed by then stays committed.

        Raises:
            PoolError: a worker cannot start or runs out of memory.

        """
        while queue or any(worker.task is not None for worker in self._workers):
            self._give_out(queue)
            for worker in self._first_to_report():
                outcome = self._outcome(worker)
                if outcome is not None:
                    yield outcome

    def _give_out(self, queue: deque[Task]) -> None:
        for worker in self._workers:
            if queue and worker.task is None and worker.ready:
                self._send(worker, queue.popleft())
        starting = sum(not worker.ready for worker in self._workers)
        while len(self._workers) < self._size and starting < len(queue):
            self._workers.append(self._started())
            starting += 1

    def _send(self, worker: _Worker[Task], task: Task) -> None:
        worker.task, worker.since = task, time.monotonic()
        with contextlib.suppress(OSError):  # it died idle, which its closed pipe reports next
            worker.pipe.send(task)

    def _first_to_report(self) -> list[_Worker[Task]]:
        """Wait for workers with a message; one that exceeds the time limit is killed, which closes its pipe."""
        ready: list[Any] = []
        while self._workers and not ready:
            ready = pipes.wait([worker.pipe for worker in self._workers], _LOOK_S)
            for worker in self._workers:
                if worker.task is not None and time.monotonic() - worker.since > LIMIT_S:
                    worker.process.kill()
        return [worker for worker in self._workers if worker.pipe in ready]

    def _outcome(self, worker: _Worker[Task]) -> tuple[Task, Result | None] | None:
        """Return the task that a worker's message ends, and its result; None if it ends no task."""
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            self._bury(worker)
            return None if worker.task is None else (worker.task, None)
        if not worker.ready:
            if message != _READY:
                raise PoolError(message)
            worker.ready = True
            return None
        if isinstance(message, PoolError):
            raise message
        task, worker.task = worker.task, None
        return None if task is None else (task, message)

    def _bury(self, worker: _Worker[Task]) -> None:
        worker.pipe.close()
        worker.process.join()
        self._workers.remove(worker)
        if not worker.ready:
            raise PoolError(
                f"a measuring process ended while starting (exit status {worker.process.exitcode}); "
                "check the installation of OpenCV and of the face detector, and the free memory"
            )

    def _started(self) -> _Worker[Task]:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._make_work, self._arguments), daemon=True)
        with threads.one_each(), _interrupts_held_back():
            process.start()
        theirs.close()  # so that the pipe closes when the worker dies
        return _Worker(process, ours)


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Block Ctrl-C while starting processes, so that they never see it; the parent handles it a moment later."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # starting it would unblock interrupts again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: Connection, make_work: Callable[..., Work], arguments: tuple[Any, ...]) -> None:
    """Run in a worker: execute tasks until the parent closes the pipe or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and ends its workers
    try:
        work = make_work(*arguments)
    except Exception as error:
        pipe.send(str(error) if isinstance(error, CurationError) else f"measuring cannot start: {error!r}")
        return
    with contextlib.suppress(EOFError, OSError):
        pipe.send(_READY)
        while True:
            try:
                pipe.send(work(pipe.recv()))
            except MemoryError:
                # not the fault of the file: nothing about it may be committed
                pipe.send(PoolError(_OUT_OF_MEMORY))
