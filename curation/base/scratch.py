"""Arrays in mapped, unnamed files, of which only the parts in use need memory."""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path
from typing import IO, Any
from weakref import WeakSet

import numpy as np
from numpy.typing import DTypeLike, NDArray

_LARGE = 2**28
"""Bytes from which a file is filled by small pages, as Linux does without reading ahead: of large pages a glance at one
row maps 2 MiB, and soon all of the file, but a glance costs 2 microseconds less."""

_MAPS: WeakSet[mmap.mmap] = WeakSet()
"""Files that this process has mapped to read them."""


def mapped_zeros(folder: Path | None, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return an array of zeros in an unnamed file that is deleted with the array, or in memory.

    Args:
        folder: on a disk with space for it; None: in memory
        shape: of the array
        dtype: of its entries

    Raises:
        OSError: the disk is full; if a mapped file found that out later, the process would be killed.

    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if folder is None or size == 0:
        return np.zeros(shape, dtype=dtype)
    with tempfile.TemporaryFile(dir=folder) as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)
        # a plain array over the map, because compiled code accepts no others
        array = np.memmap(file, dtype=dtype, mode="r+", shape=shape).view(np.ndarray)
    if size >= _LARGE:
        _advise("MADV_RANDOM", array)
    return array


def mapped(file: IO[bytes]) -> mmap.mmap | bytes:
    """Return what was written into an open file, which may be closed then; its pages are read when they are used."""
    file.flush()
    if file.seek(0, os.SEEK_END) == 0:
        return b""
    found = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    _MAPS.add(found)
    return found


def release_all() -> None:
    """Release the memory of everything that :func:`mapped` returned."""
    if hasattr(mmap, "MADV_DONTNEED"):
        for found in list(_MAPS):
            found.madvise(mmap.MADV_DONTNEED)


def filled(*arrays: NDArray[Any]) -> None:
    """Say that arrays are complete: from now on they are read ahead where their file has left the memory."""
    _advise("MADV_NORMAL", *arrays)


def release(*arrays: NDArray[Any]) -> None:
    """Release the memory of mapped arrays, whose files keep the contents; other arrays are left alone."""
    _advise("MADV_DONTNEED", *arrays)


def _advise(advice: str, *arrays: NDArray[Any]) -> None:
    for array in arrays:
        owner: Any = array
        while isinstance(owner, np.ndarray):
            owner = owner.base
        if isinstance(owner, mmap.mmap) and hasattr(mmap, advice):
            owner.madvise(getattr(mmap, advice))
