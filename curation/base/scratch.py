"""Arrays that memory need not hold: nameless files, mapped, of which a process keeps only what it looks at."""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


def mapped_zeros(folder: Path | None, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return an array of zeros in a file that has no name and goes with the array, or in memory.

    Args:
        folder: where there is space for it; None: in memory
        shape: of the array
        dtype: of its entries

    Raises:
        OSError: the disk is full. It is said here: a mapped file that grew later would end the process.

    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if folder is None or size == 0:
        return np.zeros(shape, dtype=dtype)
    with tempfile.TemporaryFile(dir=folder) as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)
        # plain arrays over the map, because compiled code knows no others
        return np.memmap(file, dtype=dtype, mode="r+", shape=shape).view(np.ndarray)


def release(*arrays: NDArray[Any]) -> None:
    """Give back the memory in which parts of mapped arrays lie; their files keep them. Others are left alone."""
    for array in arrays:
        owner: Any = array
        while isinstance(owner, np.ndarray):
            owner = owner.base
        if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            owner.madvise(mmap.MADV_DONTNEED)
