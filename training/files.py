"""Files that appear whole or not at all, and stay after a power cut."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a file to write beside ``path``, which it replaces durably when the block ends well.

    Raises:
        OSError: it cannot be written; whatever a library's writer raised.

    """
    unfinished = path.with_name(path.name + ".partial")
    try:
        yield unfinished
        _sync(unfinished)
        unfinished.replace(path)
        _sync(path.parent)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
    except Exception as error:  # torch and safetensors raise their own kinds on a full disk
        unfinished.unlink(missing_ok=True)
        raise OSError(errno.EIO, "it cannot be written: is the disk full?", str(path)) from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
