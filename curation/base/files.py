"""Files and folders that appear complete or not at all: atomic, durable writes that follow no links; locks, appends.

While being written, a file is called ``.NAME.TOKEN.tmp`` beside its place and is locked by its writer: whoever can lock
it knows that the writer is gone, also across containers, whose process numbers mean nothing to each other.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from curation.base import reading, tables
from curation.base.errors import WorkspaceError

try:
    import fcntl
except ImportError:  # Windows: no file counts as abandoned there
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    import pandas as pd


_SECRETS = re.compile(
    r"(?<=://)(?:[^/?#]{0,4096}@|[^/:@]{1,4096}:(?!\d{1,5}(?:[/?#]|$))[^?#]{0,4096}@)|\?.*", re.DOTALL
)
"""Secrets in a URL: user and password before the host (a key of S3 has slashes), and the query with its tokens.

Lengths are limited here and below, as a text of many URLs in a row would otherwise take quadratic time."""

_URL = re.compile(r"[A-Za-z][\w+.-]{0,31}://[^\s'\"]+")

_SAFE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
"""Flags for opening a file to write: a link in its place is refused, a pipe is not waited for."""

_NAME_BYTES = 200
"""Bytes of a file's name in that of its unfinished copy, which keep both short enough for any disk."""

parsed = reading.json_value


@contextlib.contextmanager
def locked_folder(folder: Path, advice: str, timeout_s: float = 0.0, written: Iterable[Path] = ()) -> Iterator[None]:
    """Hold the writer lock of one folder; the operating system releases it if the process dies.

    Args:
        folder: created if it is absent
        advice: what to do if another process holds it
        timeout_s: seconds to wait for it
        written: folders that must be writable, if they exist, before anything is changed

    Raises:
        WorkspaceError: another process, which is named, holds it; or the folder cannot be written.

    """
    from filelock import FileLock, Timeout

    owner_path = folder / ".lock-owner"
    lock = FileLock(folder / ".lock")
    is_new = not folder.exists()
    try:
        make_folder(folder)
        for each in (folder, *written):
            if each.exists() and not os.access(each, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, "it is read-only", str(each))
        lock.acquire(timeout=timeout_s)
    except Timeout as error:
        raise WorkspaceError(f"{folder} is being written by {_owner(owner_path)}; {advice}") from error
    except (OSError, NotImplementedError) as error:
        raise WorkspaceError(
            f"{folder} cannot be written ({getattr(error, 'strerror', None) or error}); free space, mend its "
            "permissions or name another with -w"
        ) from error
    try:
        with contextlib.suppress(OSError):  # a full disk: a command that only frees space may still go on
            descriptor = os.open(owner_path, os.O_WRONLY | os.O_CREAT | _SAFE, 0o666)
            with os.fdopen(descriptor, "wb") as file:
                reading.require_regular(os.fstat(descriptor), owner_path)
                file.truncate(0)
                file.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        yield
    finally:
        if is_new and folder.is_dir() and {path.name for path in folder.iterdir()} <= {".lock", ".lock-owner"}:
            shutil.rmtree(folder, ignore_errors=True)  # nothing was created
        lock.release()


def _owner(path: Path) -> str:
    """Return the holder of a lock, which it writes down right after taking the lock."""
    try:
        return reading.text_of(reading.contents(path, 1000)).strip() or "another process"
    except (OSError, ValueError):
        return "another process"


def remove_abandoned(path: Path) -> None:
    """Delete what killed processes left while writing the file or folder ``path``."""
    for unfinished in path.parent.glob(f".{glob.escape(_short(path.name))}.*.tmp"):
        if is_abandoned(unfinished):
            shutil.rmtree(unfinished, ignore_errors=True) if unfinished.is_dir() else unfinished.unlink(missing_ok=True)


def is_abandoned(unfinished: Path) -> bool:
    """Return whether the writer of ``.NAME.TOKEN.tmp`` is known to be gone; False where locks do not work."""
    try:
        descriptor = os.open(unfinished, os.O_RDONLY | _SAFE)
    except OSError:
        return False
    try:
        return _lock(descriptor) is True
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Lock an open file or folder for this process; return False if another has it, None where locks do not work."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _short(name: str) -> str:
    return os.fsdecode(os.fsencode(name)[:_NAME_BYTES])


def _unfinished(path: Path) -> Path:
    return path.parent / f".{_short(path.name)}.{secrets.token_hex(6)}.tmp"


def bare_url(url: str) -> str:
    """Return ``url`` without user, password and query."""
    return _SECRETS.sub("", url)


def without_secrets(text: str) -> str:
    """Return ``text`` with every URL in it bare of user, password and query."""
    return _URL.sub(lambda url: bare_url(url.group()), text)


def write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Replace ``path`` atomically and durably: after return, a power cut leaves the new bytes.

    If ``path`` is a link, the link is replaced, not its target. Without ``durable`` a power cut may leave less, which
    the next reader notices by the content's hash.
    """
    with _written(path, lambda file: file.write(data), durable) as temporary:
        temporary.replace(path)
    if durable:
        sync_folder(path.parent)


def write_by_content(folder: Path, suffix: str, write: Callable[[IO[bytes]], object]) -> Path:
    """Create the file that ``write`` fills, named by the SHA-256 of its bytes, which are never in memory as a whole."""
    with _written(folder / f"new{suffix}", write) as temporary:
        path = folder / f"{reading.sha256(temporary)}{suffix}"
        if not _has_digest(path, path.stem):
            temporary.replace(path)
    sync_folder(folder)
    return path


def holds(path: Path, data: bytes) -> bool:
    """Return whether ``path`` is a file, not a link, with exactly these bytes."""
    return _has_digest(path, hashlib.sha256(data).hexdigest())


def _has_digest(path: Path, digest: str) -> bool:
    try:
        return not path.is_symlink() and reading.sha256(path) == digest
    except (OSError, ValueError):
        return False


def write_new(path: Path, data: bytes) -> None:
    """Create ``path`` atomically and durably; a committed file is never replaced.

    Raises:
        FileExistsError: ``path`` exists.

    """
    with _written(path, lambda file: file.write(data)) as temporary:
        os.link(temporary, path)
    sync_folder(path.parent)


@contextlib.contextmanager
def _written(path: Path, write: Callable[[IO[bytes]], object], durable: bool = True) -> Iterator[Path]:
    """Yield a file beside ``path`` that ``write`` fills; it is deleted when the block ends, unless it was renamed."""
    make_folder(path.parent)
    temporary = _unfinished(path)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _lock(descriptor)
            write(file)
            file.flush()
            if durable:
                os.fsync(descriptor)
            yield temporary  # still locked
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def unfinished_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside ``path`` to fill and rename; it is deleted when the block ends, unless renamed."""
    make_folder(path.parent)
    building = _unfinished(path)
    building.mkdir()
    descriptor = os.open(building, os.O_RDONLY | _SAFE)
    try:
        _lock(descriptor)
        yield building
    finally:
        os.close(descriptor)
        shutil.rmtree(building, ignore_errors=True)


def append(path: Path, data: bytes, keep: int | None = None) -> None:
    """Append whole lines to a file durably; on failure, such as a full disk, the file is as before.

    Args:
        path: created if it is absent; a link is refused
        data: lines, each with its line end
        keep: bytes of the file that stay, the rest is cut off; None cuts off an unfinished last line

    Raises:
        OSError: the lines cannot be written.

    """
    make_folder(path.parent)
    is_new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _SAFE, 0o644)
    try:
        status = os.fstat(descriptor)
        reading.require_regular(status, path)
        end = _whole_lines(descriptor, status.st_size) if keep is None else keep
        try:
            os.ftruncate(descriptor, end)
            os.lseek(descriptor, end, os.SEEK_SET)
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, end)
            raise
    finally:
        os.close(descriptor)
    if is_new or keep is not None:
        sync_folder(path.parent)


def _whole_lines(descriptor: int, size: int) -> int:
    """Return the length of the file up to the end of its last whole line."""
    block = 2**16
    while size:
        start = max(0, size - block)
        end = os.pread(descriptor, size - start, start).rfind(b"\n")
        if end >= 0:
            return start + end + 1
        size = start
    return 0


def make_folder(folder: Path) -> None:
    """Create ``folder`` and its parents durably, so that a power cut does not lose what is written into it."""
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
    """Return ``value`` as readable JSON; the same value gives the same bytes."""
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file atomically."""
    write_bytes(path, json_bytes(value))


def read_json(path: Path, to_do: str = "", shape: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
    """Return the object in a JSON file, or None if there is no file.

    Args:
        path: of the file
        to_do: what to do if it is damaged; "" for a file that a run makes again
        shape: of the object, see ``reading.require_shape``

    Raises:
        WorkspaceError: it is damaged, or cannot be read.

    """
    with reading.refusing(path, to_do or _to_do(path)):
        try:
            found = reading.json_object(reading.contents(path))
        except FileNotFoundError:
            return None
        reading.require_shape(found, shape or {})
        return found


_KEPT_FOLDER = "manifests"
"""Folder of what is committed once; all else in a workspace, except its log and answers, can be made again."""


def _to_do(path: Path) -> str:
    if path.parent.name == _KEPT_FOLDER:
        return "restore it from a copy: a version cannot be made again"
    return "delete it and repeat the command that makes it; curate run DATA makes all of them"


def parquet_bytes(frame: pd.DataFrame) -> bytes:
    """Return ``frame`` as Parquet (zstd), without pandas' index."""
    buffer = io.BytesIO()
    _write_parquet(frame, buffer)
    return buffer.getvalue()


def _write_parquet(frame: pd.DataFrame, file: IO[bytes]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), file, compression="zstd")


def write_table(path: Path, frame: pd.DataFrame) -> None:
    """Replace a Parquet file atomically and durably; its bytes are never in memory as a whole."""
    write_stream(path, lambda file: _write_parquet(frame, file))


def write_stream(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Replace ``path`` by the file that ``write`` fills, atomically and durably; see ``write_bytes``."""
    with _written(path, write) as temporary:
        temporary.replace(path)
    sync_folder(path.parent)


def _require_columns(frame: pd.DataFrame, texts: Iterable[str], numbers: Iterable[str]) -> None:
    """Refuse a table without these columns: somebody may have written another one in its place.

    Raises:
        ValueError: one is absent, or holds other values.

    """
    import numpy as np

    for name in (*texts, *numbers):
        if name not in frame:
            raise ValueError(f"it has no column {name!r}")
    for name in numbers:
        if frame[name].dtype.kind not in "iufb" or not np.isfinite(frame[name].to_numpy(np.float64)).all():
            raise ValueError(f"its column {name!r} holds something other than numbers")
    for name in texts:
        kinds = {type(value) for value in frame[name].head(1000)}
        if not kinds <= {str}:
            raise ValueError(f"its column {name!r} holds something other than texts")


def read_checked(name: tables.TableName, path: Path) -> pd.DataFrame:
    """Read the table ``name`` from a Parquet file, checked against its schema.

    Raises:
        WorkspaceError: it is absent or damaged, or cannot be read.

    """
    try:
        return tables.checked(name, read_table(path))
    except tables.TableError as error:
        raise WorkspaceError(f"{path} is damaged ({error}); {_to_do(path)}") from error


def read_table(path: Path, to_do: str = "", *, texts: Iterable[str] = (), numbers: Iterable[str] = ()) -> pd.DataFrame:
    """Read a Parquet file.

    Args:
        path: of the file
        to_do: as of ``read_json``
        texts: columns of texts that it must have
        numbers: columns of finite numbers that it must have

    Raises:
        WorkspaceError: it is absent or damaged, or cannot be read.

    """
    with reading.refusing(path, to_do or _to_do(path)):
        try:
            frame = reading.parquet_frame(path)
        except FileNotFoundError as error:
            lost = path.parent.name == _KEPT_FOLDER
            raise WorkspaceError(f"{path} is absent; {_to_do(path) if lost else 'run: curate run DATA'}") from error
        _require_columns(frame, texts, numbers)
    tables.join_pieces(frame)
    return frame
