"""A pool of tasks on Ray Data: on a cluster, or on a local Ray that nobody else can reach.

One task is one block of a Ray dataset, so blocks are as few and large as the caller's tasks. Ray retries a task whose
process or node died; one that fails again is returned, and the caller divides it, as with the local pool.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import pickle
import re
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
"""Runs one task; must be pure, because Ray may retry a task in the same process."""

Report = Callable[[int, int], None]

_RETRIES = 2
"""Retries of a task whose process or node died."""

_ANSWER_S = 10.0
"""Seconds within which a cluster must accept a connection."""

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
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
    """Use as a context manager. Ray itself runs until the program ends, so that the next pool starts at once."""

    def __init__(self, engine: EngineSettings, make_work: Callable[..., Work], *arguments: Any) -> None:
        """Prepare the work that ``make_work(*arguments)`` returns; each process calls it once.

        ``make_work`` and its arguments must be picklable; they are stored once, and large arrays are shared on a node.
        """
        self._engine = engine
        self._make_work = make_work
        self._arguments = arguments
        self._setup: list[Any] = []

    def __enter__(self) -> Self:
        """Start or join Ray.

        Raises:
            EngineError: Ray is not installed or does not answer, or a node has other packages than this machine.

        """
        connect(self._engine)
        import ray

        # in a list, because Ray resolves a reference that is itself an argument, every time anew
        self._setup = [ray.put((self._make_work, self._arguments))]
        return self

    def __exit__(self, *_: object) -> None:
        self._setup = []

    @property
    def workers(self) -> int:
        """Number of tasks that run at a time."""
        return slots(self._engine)

    def results(self, queue: deque[Task]) -> Iterator[tuple[Task, Result | None]]:
        """Yield each task with its result when it is done, None if processes died on it.

        Tasks that the caller adds to ``queue`` are run after all that were in it before.

        Raises:
            EngineError: the work raised an error.

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
        # a block on which processes die is dropped, and the caller informed, instead of losing the whole run
        dataset.context.max_errored_blocks = -1
        dataset.context.enable_progress_bars = False
        with warnings.catch_warnings():
            # Ray Data would retry forever; up to 2.63 this deprecated argument is the only limit
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
        EngineError: the row holds an error message.

    """
    if row["error"]:
        raise EngineError(row["error"])
    return pickle.loads(row["result"])  # noqa: S301 -- written by our own worker a moment ago


def _do(block: pa.Table, setup: list[Any]) -> pa.Table:
    """Run the tasks of a block in a process of Ray; errors are returned in rows, because Ray would only log them."""
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
    """Return the work of a pool, made once per process."""
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
    """Return the results of all tasks, in their order; see ``RayPool``.

    Args:
        engine: which Ray
        make_work: makes the work, once per process
        arguments: of ``make_work``
        tasks: to run
        report: called with (tasks done, tasks)

    Raises:
        EngineError: Ray cannot be used, the work raised, or every process died on a task.

    """
    results: dict[int, Any] = {}
    with RayPool[tuple[int, Any], Any](engine, _make_numbered, make_work, arguments) as pool:
        for (number, _), result in pool.results(deque(enumerate(tasks))):
            if result is None:
                raise EngineError(
                    f"{_RETRIES + 1} processes of Ray died on one task, most likely out of memory; "
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
    """Return the number of tasks that run at a time; joins or starts Ray.

    Raises:
        EngineError: as ``connect``.

    """
    connect(engine)
    import ray

    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return engine.workers or int(resources.get("CPU", 1))


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
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # callers handle what it logs as errors
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
