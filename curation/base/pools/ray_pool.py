"""A pool of tasks on Ray Data: on a cluster, or on a small Ray of this machine that nobody else can reach.

One task is one block of a Ray dataset, so blocks are as few and large as the caller's tasks. Ray runs a task again
whose process or node died; a task that dies again is handed back, and the caller divides it, as with the local pool.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import pickle
import socket
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from importlib import metadata
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import pyarrow as pa

from curation.base import threads
from curation.base.errors import CurationError, installing
from curation.base.pools import EngineError, usable_cores

if TYPE_CHECKING:
    from curation.base.settings import EngineSettings

Task = TypeVar("Task")
Result = TypeVar("Result")

Work = Callable[[Any], Any]
"""Does one task; must be pure, because Ray may run a task again in the same process."""

Report = Callable[[int, int], None]

_RETRIES = 2
"""Times that Ray runs a task again after its process or node died."""

_ANSWER_S = 10.0
"""Seconds that a cluster has to accept a connection."""

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # no notice about accelerators that no task asks for
    "RAY_worker_niceness": "0",  # Ray's workers would let everything else go first, and starve on a busy machine
}
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Ray listens on 127.0.0.1 alone where it believes that this system forms no clusters; read when ray is imported."""

_THIS_PACKAGE = "face-curation"


class RayPool(Generic[Task, Result]):
    """Use as a context manager. Ray itself goes on until the program ends, so that the next pool starts at once."""

    def __init__(self, engine: EngineSettings, make_work: Callable[..., Work], *arguments: Any) -> None:
        """Prepare for work that ``make_work(*arguments)`` returns; each process calls it once.

        ``make_work`` and its arguments must be picklable; they are stored once, and nodes share large arrays in them.
        """
        self._engine = engine
        self._make_work = make_work
        self._arguments = arguments
        self._setup: list[Any] = []

    def __enter__(self) -> Self:
        """Start or join Ray.

        Raises:
            EngineError: Ray is not installed, does not answer, or a node has other packages than this machine.

        """
        connect(self._engine)
        import ray

        # in a list, because Ray replaces a reference that is an argument by the object itself, each time anew
        self._setup = [ray.put((self._make_work, self._arguments))]
        return self

    def __exit__(self, *_: object) -> None:
        self._setup = []

    @property
    def workers(self) -> int:
        """How many tasks run at a time."""
        return slots(self._engine)

    def results(self, queue: deque[Task]) -> Iterator[tuple[Task, Result | None]]:
        """Yield each task with its result as it is done, None where processes died on it.

        Tasks that the caller adds to ``queue`` are done when all that were in it before are.

        Raises:
            EngineError: the work cannot be made, or raised.

        """
        while queue:
            tasks = list(queue)
            queue.clear()
            done: set[int] = set()
            for row in self._dataset(tasks).iter_rows():
                done.add(row["number"])
                yield tasks[row["number"]], _opened(row)
            for number, task in enumerate(tasks):
                if number not in done:
                    yield task, None

    def _dataset(self, tasks: list[Task]) -> Any:
        import ray.data

        rows = [{"number": number, "task": pickle.dumps(task)} for number, task in enumerate(tasks)]
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
        # a block on which processes die is left out, and the caller told, instead of the whole run being lost
        dataset.context.max_errored_blocks = -1
        dataset.context.enable_progress_bars = False
        with warnings.catch_warnings():
            # Ray Data would try for ever; up to 2.63 this is the only way to bound it, and it is announced to go
            warnings.simplefilter("ignore", ray.util.annotations.RayDeprecationWarning)
            return dataset.map_batches(
                partial(_do, setup=self._setup),
                batch_size=None,
                batch_format="pyarrow",
                num_cpus=1,
                concurrency=min(self._engine.workers, len(rows)) or None,
                max_retries=_RETRIES,
            )


def _opened(row: dict[str, Any]) -> Any:
    """Return the result in a row.

    Raises:
        EngineError: it is the text of an error.

    """
    if row["error"]:
        raise EngineError(row["error"])
    return pickle.loads(row["result"])  # noqa: S301 -- written by our own worker a moment ago


def _do(block: pa.Table, setup: list[Any]) -> pa.Table:
    """Do the tasks of a block, in a process of Ray. An error that is raised is a row: Ray would only log it."""
    rows = []
    for row in block.to_pylist():
        outcome = {"number": row["number"], "result": b"", "error": ""}
        try:
            outcome["result"] = pickle.dumps(_work(setup[0])(pickle.loads(row["task"])))  # noqa: S301 -- our own task
        except Exception as error:
            outcome["error"] = str(error) if isinstance(error, CurationError) else f"a Ray task failed: {error!r}"
        rows.append(outcome)
    schema = pa.schema([("number", pa.int64()), ("result", pa.large_binary()), ("error", pa.string())])
    return pa.Table.from_pylist(rows, schema)


@lru_cache(maxsize=1)
def _work(setup: Any) -> Work:
    """Return the work of a pool, made once a process."""
    import ray

    make_work, arguments = ray.get(setup)
    work: Work = make_work(*arguments)
    return work


def do_all(
    engine: EngineSettings,
    make_work: Callable[..., Work],
    arguments: tuple[Any, ...],
    tasks: Sequence[Any],
    report: Report | None = None,
) -> list[Any]:
    """Return the results of all tasks, in their order; see ``RayPool`` for the arguments.

    Args:
        engine: which Ray
        make_work: makes the work, once a process
        arguments: of ``make_work``
        tasks: what is to be done
        report: called with (tasks done, tasks)

    Raises:
        EngineError: Ray cannot be used, the work raised, or every process died on a task.

    """
    results: dict[int, Any] = {}
    with RayPool[tuple[int, Any], Any](engine, _make_numbered, make_work, arguments) as pool:
        for (number, _), result in pool.results(deque(enumerate(tasks))):
            if result is None:
                raise EngineError(
                    f"{_RETRIES + 1} processes of Ray died on one task, most likely for want of memory; "
                    "use fewer workers per node, or --engine local"
                )
            results[number] = result
            if report is not None:
                report(len(results), len(tasks))
    return [results[number] for number in range(len(tasks))]


def _make_numbered(make_work: Callable[..., Work], arguments: tuple[Any, ...]) -> Work:
    work = make_work(*arguments)
    return lambda numbered: work(numbered[1])


def slots(engine: EngineSettings) -> int:
    """Return how many tasks run at a time; joins or starts Ray.

    Raises:
        EngineError: as ``connect``.

    """
    connect(engine)
    import ray

    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return engine.workers or int(resources.get("CPU", 1))


def connect(engine: EngineSettings) -> None:
    """Join the cluster at ``engine.address``, or start a Ray of this machine; nothing where that is done already.

    Raises:
        EngineError: Ray is not installed, does not answer, or a node has other packages than this machine.

    """
    if importlib.util.find_spec("ray") is None:
        raise EngineError(f"the engine ray needs the package ray, which is missing; run: {installing('ray')}")
    for name, value in (_QUIET if engine.address else _QUIET | _LOOPBACK).items():
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
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what it logs as errors are outcomes that callers handle
    if engine.address:
        _require_same_packages()


def _require_answer(address: str) -> None:
    """Knock at a cluster's HOST:PORT, as Ray understands it; Ray itself would wait for ten minutes.

    Raises:
        EngineError: nobody answers, or the address is none.

    """
    if address in ("", "auto"):
        return
    import ray

    host, _, port = address.rpartition(":")
    if host in ("127.0.0.1", "localhost", "[::1]"):
        # Ray puts this machine's own address in its place
        host = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_S).close()
    except (OSError, ValueError) as error:
        raise EngineError(
            f"no Ray cluster answers at {address} ({error}); start one with: ray start --head, or use --engine local"
        ) from error


def installed() -> dict[str, str]:
    """Return the versions of this package and of those it needs; "" where one is absent."""
    names = [_THIS_PACKAGE]
    for requirement in metadata.requires(_THIS_PACKAGE) or ():
        if "extra ==" not in requirement:
            names.append(_name_of(requirement))
    return {name: _version(name) for name in names}


def _name_of(requirement: str) -> str:
    for end, letter in enumerate(requirement):
        if not (letter.isalnum() or letter in "-_."):
            return requirement[:end]
    return requirement


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _require_same_packages() -> None:
    """Refuse a cluster whose nodes would measure with other packages: the results would differ.

    Raises:
        EngineError: names the node, the package and both versions.

    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ask = ray.remote(num_cpus=0)(installed)
    asked = {
        node["NodeManagerAddress"]: ask.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote()
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"]
    }
    here = installed()
    for address, answer in asked.items():
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
