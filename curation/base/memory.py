"""Memory: given back between steps, and a sentence instead of a crash where ``ulimit -v`` is below what is mapped.

Numerical libraries end the process where they cannot map memory that they reserve, so it is looked at before they are
loaded. A limit on memory that is *used* (a cgroup, a container) is another matter: there a run takes a fourth of this.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from enum import IntEnum

from curation.base.errors import CurationError

MIB = 2**20

ARROW_POOL = "system"
"""Of Arrow's allocators the one that gives back at once what was freed."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt(3)."""

_BLOCK_MIB, _TRAINING_BLOCK_MIB = 1, 32
"""Blocks from this size get memory of their own, which goes back when they are freed; smaller ones come from the heap,
where what is freed in the middle stays. Networks ask for some MiB again and again, which the heap serves faster."""


class Needed(IntEnum):
    """MiB of address space, the measured peak (VmPeak) on two cores and a little more.

    reading 1,050 (show, apply, report; of 20,214 images); curating 1,780; training 5,650, and 6,710 to judge labels.
    """

    reading = 1_200
    curating = 2_000
    training = 7_000


class AddressSpaceError(CurationError):
    """The process may map less than the command does."""


def require(needed: Needed) -> None:
    """Return if the process may map so much, and have the allocator give back what such work frees.

    Raises:
        AddressSpaceError: it may not.

    """
    limit = _limit_mib()
    if limit is not None and limit < needed:
        raise AddressSpaceError(
            f"the address space is limited to {limit:,} MiB and {needed.name} maps {needed:,}, most of it never used: "
            f"give ulimit -v {needed * 1024} or more; to limit the memory that is used take a cgroup or container"
        )

    _set_blocks(_TRAINING_BLOCK_MIB if needed is Needed.training else _BLOCK_MIB)


def _set_blocks(size_mib: int) -> None:
    if libc := _glibc():
        libc.mallopt(_M_MMAP_THRESHOLD, size_mib * MIB)
        libc.mallopt(_M_TRIM_THRESHOLD, 2 * size_mib * MIB)


def _glibc() -> ctypes.CDLL | None:
    """Return glibc, None on other systems and with other C libraries."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") else None


def _limit_mib() -> int | None:
    """Return the limit of this process, None where there is none (or the system knows none)."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit // MIB


def choose_arrow_pool() -> None:
    """Name the allocator for Arrow, which looks for it when it is loaded; a user's own choice stands."""
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", ARROW_POOL)


def give_back() -> None:
    """Return to the system what the steps so far have freed: allocators keep it, and every later step comes on top."""
    gc.collect()
    if arrow := sys.modules.get("pyarrow"):
        arrow.default_memory_pool().release_unused()
    if libc := _glibc():
        libc.malloc_trim(0)


def ran_out(error: BaseException) -> bool:
    """Tell whether an error is want of memory under another name, as libraries and threads report it."""
    said = str(error)
    return isinstance(error, MemoryError) or any(
        words in said for words in ("failed to map segment", "can't start new thread", "Cannot allocate memory")
    )
