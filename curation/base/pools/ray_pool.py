"""A pool of tasks on Ray: on a cluster, or on a local Ray that nobody else can reach.

Ray retries a task whose process or node died; one that fails again is returned, and the caller divides it, as with the
local pool. Tasks are Ray's plain ones: a data set of Ray Data costs 0.1 CPU s, and a process that loads it 0.6.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from importlib import metadata
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from curation.base import threads
from curation.base.errors import CurationError, installing
from curation.base.pools import EngineError, usable_cores

if TYPE_CHECKING:
    from curation.base.settings import EngineSettings

Task = TypeVar("Task")
Item = TypeVar("Item")
Result = TypeVar("Result")

Work = Callable[[Any], Any]
"""Runs one task; must be pure, because Ray may retry a task in the same process."""

Report = Callable[[int, int], None]

_RETRIES = 2
"""Retries of a task whose process or node died."""

_AHEAD = 2
"""Tasks given to Ray for each process, so that none waits for the next one."""

_ANSWER_S = 10.0
"""Seconds within which a cluster must accept a connection."""

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_task_oom_retries": str(_RETRIES),  # of a task that Ray ends because memory is short; by default forever
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # no notice about accelerators that no task needs
    "RAY_worker_niceness": "0",  # Ray's workers would let everything else go first, and starve on a busy machine
}
_OWN = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # listens on 127.0.0.1 only, as on systems without cluster support
    "RAY_worker_niceness": "0",  # by default 15: workers would starve beside any other program
}
"""For a Ray that this command starts; read when ray is imported."""

_THIS_PACKAGE = "face-curation"


class RayPool(Generic[Task, Result]):
    """Work that processes of Ray do. Ray itself runs until the program ends, so that the next pool starts at once."""

    def __init__(self, engine: EngineSettings, make_work: Callable[..., Work], *arguments: Any) -> None:
        """Start or join Ray, and store the work that ``make_work(*arguments)`` returns; each process calls it once.

        ``make_work`` and its arguments must be picklable; large arrays among them are shared on a node.

        Raises:
            EngineError: Ray is not installed or does not answer, or a node has other packages than this machine.

        """
        connect(engine)
        import ray

        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        cores = int(resources.get("CPU", 1))
        self.workers = engine.workers or cores
        """Number of tasks that run at a time."""
        # Ray itself runs no more tasks than it has processors
        self._most = self.workers if self.workers < cores else _AHEAD * cores
        # in a list, because Ray resolves a reference that is itself an argument, every time anew
        self._setup = [ray.put((make_work, arguments))]

    def results(self, queue: deque[Task]) -> Iterator[tuple[Task, Result | None]]:
        """Yield each task with its result when it is done, None if processes died on it.

        Tasks that the caller adds to ``queue`` meanwhile are run too. Arrays of a result may be read-only.

        Raises:
            EngineError: the work raised an error.

        """
        return self._results(queue, lambda task: task)

    def _results(self, queue: deque[Item], task_of: Callable[[Item], Task]) -> Iterator[tuple[Item, Result | None]]:
        import ray

        sent: dict[Any, Item] = {}
        try:
            while queue or sent:
                while queue and len(sent) < self._most:
                    item = queue.popleft()
                    sent[_remote().remote(self._setup, task_of(item))] = item
                for answer in ray.wait(list(sent), num_returns=1)[0]:
                    yield sent.pop(answer), _result(answer)
        finally:
            for answer in sent:
                ray.cancel(answer, force=True)

    def in_order(self, tasks: Sequence[Task], report: Report | None = None) -> Iterator[Result]:
        """Yield the results of all tasks, in their order.

        Args:
            tasks: to run
            report: called with (tasks done, tasks)

        Raises:
            EngineError: the work raised an error, or every process died on a task.

        """
        waiting: dict[int, Result] = {}
        given = 0
        numbered = deque(enumerate(tasks))
        for done, ((number, _), result) in enumerate(self._results(numbered, lambda item: item[1]), 1):
            if result is None:
                raise EngineError(
                    f"{_RETRIES + 1} processes of Ray died on one task, most likely out of memory; "
                    "use fewer workers per node, or --engine local"
                )
            waiting[number] = result
            if report is not None:
                report(done, len(tasks))
            while given in waiting:
                yield waiting.pop(given)
                given += 1


def stored_on_ray(engine: EngineSettings, parts: Sequence[Any]) -> list[Any]:
    """Return references to objects, stored for all processes of Ray until the references are gone.

    Raises:
        EngineError: as ``connect``.

    """
    connect(engine)
    import ray

    return [ray.put(part) for part in parts]


def fetched(parts: Sequence[Any]) -> list[Any]:
    """Return objects, those among them that are references to stored ones resolved."""
    import ray

    return [ray.get(part) if isinstance(part, ray.ObjectRef) else part for part in parts]


@lru_cache(maxsize=1)
def _remote() -> Any:
    import ray

    return ray.remote(num_cpus=1, max_retries=_RETRIES)(_do)


def _result(answer: Any) -> Any:
    """Return a task's result, None if processes died on it.

    Raises:
        EngineError: the task ended with an error.

    """
    import ray

    try:
        result, error = ray.get(answer)
    except (ray.exceptions.RayTaskError, ray.exceptions.RuntimeEnvSetupError) as failed:
        raise EngineError(f"a Ray task failed: {failed!r}") from failed
    except ray.exceptions.RayError:  # its process or node is gone, or what it read or wrote is gone with one
        return None
    if error:
        raise EngineError(error)
    return result


def _do(setup: list[Any], task: Any) -> tuple[Any, str]:
    """Run a task in a process of Ray; return its result and "", or what went wrong."""
    try:
        return _work(setup[0])(task), ""
    except Exception as error:
        return None, str(error) if isinstance(error, CurationError) else f"a Ray task failed: {error!r}"


@lru_cache(maxsize=1)
def _work(setup: Any) -> Work:
    """Return the work of a pool, made once per process."""
    import ray

    make_work, arguments = ray.get(setup)
    work: Work = make_work(*arguments)
    return work


def connect(engine: EngineSettings) -> None:
    """Join the cluster at ``engine.address``, or start a local Ray, unless that was done before.

    Raises:
        EngineError: Ray is not installed or does not answer, or a node has other packages than this machine.

    """
    if importlib.util.find_spec("ray") is None:
        raise EngineError(f"the engine ray needs the package ray, which is missing; run: {installing('ray')}")
    for name, value in (_QUIET if engine.address else _QUIET | _OWN).items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        return
    _require_answer(engine.address)
    own: dict[str, Any] = {"num_cpus": engine.workers or usable_cores(), "include_dashboard": False}
    try:
        with threads.one_each():
            ray.init(
                address=engine.address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                **({} if engine.address else own),
            )
    except (OSError, ValueError, RuntimeError) as error:
        if not engine.address:
            raise EngineError(f"Ray does not start here ({error}); use --engine local") from error
        raise EngineError(
            f"the Ray cluster at {engine.address} cannot be joined ({error}); if it asks for a token, set "
            "RAY_AUTH_MODE=token as on its nodes (docs/ray.md), or use --engine local"
        ) from error
    if engine.address:
        require_same_packages()


def _require_answer(address: str) -> None:
    """Connect to a cluster's HOST:PORT, because Ray itself would wait for ten minutes.

    Raises:
        EngineError: there is no answer, or the address is invalid.

    """
    if address in ("", "auto"):
        return
    import ray

    host, _, port = address.rpartition(":")
    if host in ("127.0.0.1", "localhost", "[::1]"):
        # Ray replaces it by this machine's own address
        host = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_S).close()
    except (OSError, ValueError) as error:
        raise EngineError(
            f"no Ray cluster answers at {address} ({error}); start one with: ray start --head, or use --engine local"
        ) from error


def installed() -> dict[str, str]:
    """Return package -> version of this package and its requirements, "" for an absent one."""
    needed = [each for each in metadata.requires(_THIS_PACKAGE) or () if "extra ==" not in each]
    found: dict[str, str] = {}
    for name in (_THIS_PACKAGE, *(re.split(r"[^\w.-]", each)[0] for each in needed)):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = ""
    return found


def require_same_packages() -> None:
    """Refuse a cluster whose nodes have other versions of packages: their results might differ.

    Raises:
        EngineError: names the node, the package and both versions.

    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ask = ray.remote(num_cpus=0)(installed)
    asked = [
        (
            node["NodeManagerAddress"],
            ask.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(),
        )
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"]
    ]
    here = installed()
    for address, answer in asked:
        try:
            there = ray.get(answer)
        except ray.exceptions.RayError as error:
            raise EngineError(f"the node {address} cannot load {_THIS_PACKAGE}; install it there as here") from error
        for name, version in here.items():
            if there[name] != version:
                found = there[name] or "not at all"
                raise EngineError(
                    f"the node {address} has {name} {found}, this machine {version}; install the same there"
                )
