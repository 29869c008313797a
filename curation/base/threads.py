"""How many threads libraries use, and how these wait for each other; set here, before any of them is loaded.

OpenMP's threads (torch, faiss) and those of OpenBLAS (numpy) spin while they wait. Where the machine is busy with
anything else, they keep each other from working: on two busy cores a network of torch took 1,550 ms a batch so, and
130 ms where its threads sleep; ranking 20,000 labels by numpy took 4.5 CPU s on two threads, and 0.1 on one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

from curation.base.pools import usable_cores

WAITING: Mapping[str, str] = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "OPENBLAS_NUM_THREADS": "1",  # numpy's products are small, and its threads always spin
    "OPENCV_FOR_THREADS_NUM": "1",  # pictures are many and small: processes are the parallelism
}
"""Environment variables that the libraries read when they are loaded; those that are set already stay."""

COUNTS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def choose() -> None:
    """Set the variables of this process, and how many threads where it may use fewer processors than it sees."""
    cores = usable_cores()
    counts = dict.fromkeys(COUNTS, str(cores)) if cores < (os.cpu_count() or 1) else {}
    for name, value in {**counts, **WAITING}.items():
        os.environ.setdefault(name, value)


@contextlib.contextmanager
def one_each() -> Iterator[None]:
    """Have processes that are started in the block use one thread: they are the parallelism."""
    before = {name: os.environ.get(name) for name in COUNTS}
    os.environ.update(dict.fromkeys(COUNTS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
