"""Atomic and durable writing of files, and reading with one-sentence errors."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

MOST_BYTES = 2**29
"""Largest image or file of numbers that is read; curation has the same limit."""


class DataError(ValueError):
    """A frame, an image or a file of a run cannot be read or used."""


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a regular file; a pipe or a device is refused without waiting for it.

    Raises:
        OSError: it is missing, may not be read, is not a regular file, or is too large.

    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is a folder, a pipe or a device", str(path))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(MOST_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(data) > MOST_BYTES:
        raise OSError(errno.EFBIG, f"it is larger than {MOST_BYTES:,} bytes", str(path))
    return data


@contextlib.contextmanager
def refusing(path: Path, to_do: str) -> Iterator[None]:
    """Turn errors of reading a file of a run into one sentence.

    Raises:
        DataError: it is missing, may not be read, or is damaged.

    """
    try:
        yield
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}); {to_do}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, EOFError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise DataError(f"{path} is damaged ({type(error).__name__}: {reason}); {to_do}") from error


def read_json(
    path: Path, names: Sequence[str] = (), to_do: str = "remove its folder to fit it again"
) -> dict[str, Any]:
    """Return the object in a JSON file, which must have these names.

    Raises:
        DataError: it is missing, may not be read, or is damaged.

    """
    with refusing(path, to_do):
        found = json.loads(read_bytes(path).decode("utf-8"))
        if not isinstance(found, dict):
            raise ValueError("it holds no object")
        lacking = [name for name in names if name not in found]
        if lacking:
            raise ValueError(f"it lacks {lacking[0]!r}")
        return found


def read_csv(
    path: Path, numbers: Sequence[str], texts: Sequence[str] = (), to_do: str = "remove its folder to fit it again"
) -> pd.DataFrame:
    """Return the table in a CSV file, which must have these columns of numbers and texts, and a row or more.

    Raises:
        DataError: it is missing, may not be read, or is damaged.

    """
    with refusing(path, to_do):
        data = read_bytes(path)
        if not data.endswith(b"\n"):
            raise ValueError("its last line has no end")
        found = pd.read_csv(io.BytesIO(data))
        as_text = pd.read_csv(io.BytesIO(data), dtype="str", keep_default_na=False)  # a class may be called null, or ""
        found = found.assign(**{name: as_text[name] for name in texts if name in as_text})
        lacking = [name for name in (*numbers, *texts) if name not in found]
        if lacking or found.empty:
            raise ValueError(f"it has no column {lacking[0]!r}" if lacking else "it has no row")
        return found.astype(dict.fromkeys(numbers, "float64"))


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file atomically."""
    with replacing(path) as unfinished:
        unfinished.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a file to write, which atomically and durably replaces ``path`` if the block succeeds.

    Raises:
        OSError: it cannot be written, whatever error a library raised.

    """
    unfinished = path.with_name(path.name + ".partial")
    try:
        unfinished.unlink(missing_ok=True)  # left by a killed fit; a link would be followed
        yield unfinished
        _sync(unfinished)
        unfinished.replace(path)
        _sync(path.parent)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
    except Exception as error:  # torch and safetensors have their own errors for a full disk
        unfinished.unlink(missing_ok=True)
        raise OSError(errno.EIO, "it cannot be written: is the disk full?", str(path)) from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
