"""Memory: given back between steps, and a sentence instead of a crash where ``ulimit -v`` is below what is mapped.

Numerical libraries end the process where they cannot map memory that they reserve, so it is looked at before they are
loaded. A limit on memory that is *used* (a cgroup, a container) is another matter: there a run takes a fourth of this.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from enum import IntEnum

from curation.errors import CurationError

MIB = 2**20


class Needed(IntEnum):
    """MiB of address space, the measured peak (VmPeak) on two cores and a little more.

    reading 1,830 (show, apply, report); curating 3,050, and 3,180 with 20,214 images; training 5,870.
    """

    reading = 2_000
    curating = 3_300
    training = 6_200


class AddressSpaceError(CurationError):
    """The process may map less than the command does."""


def require(needed: Needed) -> None:
    """Return if the process may map so much.

    Raises:
        AddressSpaceError: it may not.

    """
    limit = _limit_mib()
    if limit is not None and limit < needed:
        raise AddressSpaceError(
            f"the address space is limited to {limit:,} MiB and {needed.name} maps {needed:,}, most of it never used: "
            f"give ulimit -v {needed * 1024} or more; to limit the memory that is used take a cgroup or container"
        )


def _limit_mib() -> int | None:
    """Return the limit of this process, None where there is none (or the system knows none)."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit // MIB


def give_back() -> None:
    """Return to the system what the steps so far have freed: allocators keep it, and every later step comes on top."""
    gc.collect()
    if arrow := sys.modules.get("pyarrow"):
        arrow.default_memory_pool().release_unused()
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):  # glibc; musl keeps nothing
        libc.malloc_trim(0)


def ran_out(error: BaseException) -> bool:
    """Tell whether an error is want of memory under another name, as libraries and threads report it."""
    said = str(error)
    return isinstance(error, MemoryError) or any(
        words in said for words in ("failed to map segment", "can't start new thread", "Cannot allocate memory")
    )
