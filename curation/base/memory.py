"""Memory: released between steps, and a sentence instead of a crash if ``ulimit -v`` is too low.

Numerical libraries end the process if they cannot map the memory that they reserve, so the limit is checked before they
are loaded. A limit on memory in *use* (a cgroup, a container) is another matter: a run uses a fourth of what it maps.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from enum import IntEnum

from curation.base.errors import CurationError
from curation.base.pools import usable_cores

MIB = 2**20

ARROW_POOL = "system"
"""The one of Arrow's allocators that returns freed memory at once."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Parameters of glibc's mallopt(3)."""

_BLOCK_MIB, _SEARCH_BLOCK_MIB, _TRAINING_BLOCK_MIB = 1, 8, 32
"""Blocks from this size on are mapped by themselves and returned when freed; smaller ones come from the heap, where
freed gaps stay. Networks and searches allocate some MiB again and again, which the heap serves faster: 320,000 pictures
took 233 CPU s of the system to be searched with blocks of 1 MiB."""


class Needed(IntEnum):
    """MiB of address space: a little more than the measured peak (VmPeak) on two cores.

    Measured were 1,050 for reading (show, apply, report; of 20,214 images), 2,080 for curating, 5,650 for training and
    6,710 for judging labels.
    """

    reading = 1_200
    curating = 2_300
    training = 7_000


class AddressSpaceError(CurationError):
    """The process may map less memory than the command needs."""


def require(needed: Needed) -> None:
    """Refuse to start without enough address space, and set up the allocator for such work.

    Raises:
        AddressSpaceError: the limit is too low.

    """
    limit = _limit_mib()
    if limit is not None and limit < needed:
        raise AddressSpaceError(
            f"the address space is limited to {limit:,} MiB and {needed.name} maps {needed:,}, most of it never used: "
            f"give ulimit -v {needed * 1024} or more; to limit the memory that is used take a cgroup or container"
        )
    _map_from(_TRAINING_BLOCK_MIB if needed is Needed.training else _BLOCK_MIB)


@contextlib.contextmanager
def searching() -> Iterator[None]:
    """Have the heap serve larger blocks in this process for a while, and give its memory back then."""
    _map_from(_SEARCH_BLOCK_MIB)
    try:
        yield
    finally:
        _map_from(_BLOCK_MIB)
        give_back()


def _map_from(size_mib: int) -> None:
    if libc := _glibc():
        libc.mallopt(_M_MMAP_THRESHOLD, size_mib * MIB)
        libc.mallopt(_M_TRIM_THRESHOLD, 2 * size_mib * MIB)
        libc.mallopt(_M_ARENA_MAX, usable_cores())  # heaps, each of which keeps gaps and address space of its own


def _glibc() -> ctypes.CDLL | None:
    """Return glibc, or None with any other C library."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") else None


def _limit_mib() -> int | None:
    """Return the address space limit of this process, None if there is none."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit // MIB


def choose_arrow_pool() -> None:
    """Set Arrow's allocator, which it reads when loaded; a user's own choice is kept."""
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", ARROW_POOL)


def give_back() -> None:
    """Return freed memory, and that of mapped files, to the system: later steps would add to it."""
    gc.collect()
    if scratch := sys.modules.get("curation.base.scratch"):
        scratch.release_all()
    if arrow := sys.modules.get("pyarrow"):
        arrow.default_memory_pool().release_unused()
    if libc := _glibc():
        libc.malloc_trim(0)


def ran_out(error: BaseException) -> bool:
    """Return whether an error means out of memory, in any of the ways in which libraries and threads report it."""
    said = str(error)
    return isinstance(error, MemoryError) or any(
        words in said for words in ("failed to map segment", "can't start new thread", "Cannot allocate memory")
    )
