"""Files and folders that appear whole or not at all: atomic, durable writes, and readers that say what is damaged."""

from __future__ import annotations

import contextlib
import glob
import io
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.base import tables
from curation.base.errors import WorkspaceError

if TYPE_CHECKING:
    import pandas as pd


_SECRETS = re.compile(r"(?<=://)(?:[^/?#]*@|[^/:@]+:(?!\d+(?:[/?#]|$))[^?#]*@)|\?.*", re.DOTALL)
"""What a URL may hide: user and password before the host (a key of S3 has slashes), and the query with its tokens."""

_URL = re.compile(r"[A-Za-z][\w+.-]*://[^\s'\"]+")


@contextlib.contextmanager
def locked_folder(folder: Path, advice: str, timeout_s: float = 0.0) -> Iterator[None]:
    """Hold the writer lock of one folder; the operating system frees it when its holder dies.

    Args:
        folder: made if it is absent
        advice: what a person may do where another process holds it
        timeout_s: seconds to wait for it

    Raises:
        WorkspaceError: another process holds it, which is named; or the folder cannot be written.

    """
    from filelock import FileLock, Timeout

    owner_path = folder / ".lock-owner"
    lock = FileLock(folder / ".lock")
    try:
        make_folder(folder)
        lock.acquire(timeout=timeout_s)
    except Timeout as error:
        raise WorkspaceError(f"{folder} is being written by {_owner(owner_path)}; {advice}") from error
    except (OSError, NotImplementedError) as error:
        raise WorkspaceError(
            f"{folder} cannot be written ({getattr(error, 'strerror', None) or error}); free space, mend its "
            "permissions or name another with -w"
        ) from error
    try:
        with contextlib.suppress(OSError):  # a full disk: whoever only frees space may still go on
            owner_path.write_text(f"process {os.getpid()} on {socket.gethostname()}\n", encoding="utf-8")
        yield
    finally:
        lock.release()


def _owner(path: Path) -> str:
    """Return the holder's name, as it is written a moment after the lock is taken."""
    try:
        return path.read_text(encoding="utf-8").strip() or "another process"
    except (OSError, UnicodeDecodeError):
        return "another process"


def remove_abandoned(path: Path) -> None:
    """Delete what killed processes left of their attempts to write the file or folder ``path``."""
    for unfinished in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        if is_abandoned(unfinished):
            shutil.rmtree(unfinished, ignore_errors=True) if unfinished.is_dir() else unfinished.unlink(missing_ok=True)


def is_abandoned(unfinished: Path) -> bool:
    """Tell whether the process in the name of ``.NAME.PROCESS.tmp`` is gone; one with our number was before us."""
    number = unfinished.name.split(".")[-2]
    try:
        if number.isdigit() and int(number) != os.getpid():
            os.kill(int(number), 0)
            return False
    except PermissionError:
        return False  # somebody else's
    except (OverflowError, ProcessLookupError):
        return True
    return number.isdigit()


def bare_url(url: str) -> str:
    """Return ``url`` without user, password and query."""
    return _SECRETS.sub("", url)


def without_secrets(text: str) -> str:
    """Return ``text`` with every URL in it bare of user, password and query."""
    return _URL.sub(lambda url: bare_url(url.group()), text)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace ``path`` atomically and durably: after return, a power cut leaves the new bytes."""
    temporary = _written_temporary(path, data)
    temporary.replace(path)
    sync_folder(path.parent)


def write_new(path: Path, data: bytes) -> None:
    """Create ``path`` atomically and durably; a committed file is never replaced.

    Raises:
        FileExistsError: ``path`` exists.

    """
    temporary = _written_temporary(path, data)
    try:
        os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def _written_temporary(path: Path, data: bytes) -> Path:
    make_folder(path.parent)
    temporary = path.parent / f".{path.name}.{os.getpid()}.tmp"
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def make_folder(folder: Path) -> None:
    """Make ``folder`` and its parents, durably: what is written into it must not vanish with it."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync_folder(made.parent)


def sync_folder(folder: Path) -> None:
    """Make renames and links inside ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def json_bytes(value: Any) -> bytes:
    """Return ``value`` as readable JSON, the same bytes for the same value."""
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode("utf-8")


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file atomically."""
    write_bytes(path, json_bytes(value))


def parsed(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: it is none, or is nested too deeply to be read.

    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the object in a JSON file, or None where there is no file.

    Raises:
        WorkspaceError: it is damaged.

    """
    try:
        found = parsed(path.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
        reason = "it holds no object"
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        reason = str(error)
    raise WorkspaceError(f"{path} is damaged ({reason}); restore it from a copy, or delete it and run again")


def parquet_bytes(frame: pd.DataFrame) -> bytes:
    """Return ``frame`` as Parquet (zstd), without pandas' index."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), buffer, compression="zstd")
    return buffer.getvalue()


def write_table(path: Path, frame: pd.DataFrame) -> None:
    """Replace a Parquet file atomically."""
    write_bytes(path, parquet_bytes(frame))


def read_table(path: Path) -> pd.DataFrame:
    """Read a Parquet file.

    Raises:
        WorkspaceError: it is absent or damaged.

    """
    import pandas as pd
    import pyarrow as pa

    try:
        frame = pd.read_parquet(path)
    except FileNotFoundError as error:
        raise WorkspaceError(f"{path} is absent; run: curate run DATA") from error
    except (OSError, pa.ArrowException, ValueError) as error:
        raise WorkspaceError(f"{path} is damaged ({error}); delete it and run again, it is made anew") from error
    tables.join_pieces(frame)
    return frame
