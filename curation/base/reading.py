"""The one reader of JSON, TOML, CSV and plain files, whether from people, other tools or this one.

Only regular files (a pipe or device would block) of limited size with complete, valid text are accepted; any problem is
a ``ValueError`` or ``OSError``, which ``refusing`` turns into a sentence.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import io
import json
import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from curation.base.errors import CurationError, WorkspaceError

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")

MOST_BYTES = 2**30
"""Most bytes of a text file; a list of ten million images has fewer."""

MOST_DEPTH = 64
"""Deepest nesting; deeper values are no record of this tool, and break whatever traverses them."""

_LOOKED_THROUGH = 2**24
"""Bytes of JSON up to which the depth is checked; in larger ones Python's own parser stops at about 1,000."""

_MOST_DIGITS = 18
"""Most digits of a whole number that fits into 64 bits."""

_DELIMITERS = ",;\t|"

_HALF = re.compile(r"\\u[dD][89abAB]|\\u[dD][c-fC-F]")
"""JSON escape of a lone surrogate, which can be neither printed nor stored."""

UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError)
"""What libraries raise on a table that they cannot interpret, such as one with an unknown time zone."""

_NO_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


class NewerError(ValueError):
    """A record has fields that this version does not know."""


def open_regular(path: str | Path) -> io.BufferedReader:
    """Open a file to read; a pipe, device, socket or folder is refused without waiting for it.

    Raises:
        OSError: it is absent, not readable, or not a regular file.

    """
    descriptor = os.open(path, os.O_RDONLY | _NO_WAIT)
    try:
        require_regular(os.fstat(descriptor), path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def require_regular(status: os.stat_result, path: str | Path) -> None:
    """Refuse anything but a regular file.

    Raises:
        OSError: EISDIR for a folder, else EINVAL.

    """
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is a pipe, a device or a socket, not a file", str(path))


def contents(path: str | Path, most_bytes: int = MOST_BYTES) -> bytes:
    """Return the bytes of a regular file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is larger than ``most_bytes``.

    """
    with open_regular(path) as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise ValueError(f"it is larger than {most_bytes:,} bytes")
    return data


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a regular file, as hexadecimal digits.

    Raises:
        OSError: it cannot be read.

    """
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_of(data: bytes) -> str:
    """Return UTF-8 (without its byte order mark), or UTF-16 with a byte order mark, as text.

    Raises:
        ValueError: it is neither.

    """
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16")
    return data.decode("utf-8-sig")


def json_value(data: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: it is invalid, nested too deeply, or holds NaN or half of a character.

    """

    def refuse(name: str) -> float:
        raise ValueError(f"{name} is not a JSON number")

    text = text_of(data) if isinstance(data, bytes) else data
    try:
        value = json.loads(text, parse_constant=refuse)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if len(text) <= _LOOKED_THROUGH and _is_deep(value):
        raise ValueError("it is nested too deeply")
    if _HALF.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError as error:
            raise ValueError("it holds half of a character (a lone surrogate)") from error
    return value


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MOST_DEPTH):
        parts = [part.values() if isinstance(part, dict) else part for part in level if isinstance(part, dict | list)]
        if not parts:
            return False
        level = [child for part in parts for child in part]
    return any(isinstance(part, dict | list) for part in level)


def json_object(data: str | bytes) -> dict[str, Any]:
    """Return the object in a JSON text.

    Raises:
        ValueError: it holds no object; see ``json_value``.

    """
    found = json_value(data)
    if not isinstance(found, dict):
        raise ValueError("it holds no object")
    return found


def toml_table(data: bytes) -> dict[str, Any]:
    """Return the table in a TOML text.

    Raises:
        ValueError: it is invalid, or nested too deeply.

    """
    try:
        found = tomllib.loads(text_of(data))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"it is not valid TOML: {error}") from error
    if _is_deep(found):
        raise ValueError("it is nested too deeply")
    return found


def csv_frame(data: bytes) -> pd.DataFrame:
    """Return a table of texts, "" for empty cells; separated by comma, semicolon, tab or bar.

    Raises:
        ValueError: it is empty, has two columns of one name, a row of another length than the header, or an open quote.

    """
    import pandas as pd

    text = text_of(data)
    delimiter = max(_DELIMITERS, key=text.lstrip("\r\n").partition("\n")[0].count)
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if row]
    except csv.Error as error:
        raise ValueError(str(error)) from error
    if not rows:
        raise ValueError("it is empty")
    header, *body = rows
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise ValueError(f"two columns are called {twice[0]!r}")
    for number, row in enumerate(body, start=2):
        if len(row) != len(header):
            raise ValueError(f"row {number} has {len(row)} cells and the header has {len(header)}")
    return pd.DataFrame(body, columns=header, dtype=object).astype("str")


def parquet_frame(path: Path) -> pd.DataFrame:
    """Return a Parquet file's table.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged.

    """
    import pyarrow as pa

    from curation.base import mapped

    require_regular(path.stat(), path)
    try:
        with pa.OSFile(str(path)) as file:  # a Python file would do for pandas, see arrow_file
            # of a small one, a column at a time is in memory twice
            frame: pd.DataFrame = mapped.parquet_table(file, path.parent).to_pandas(
                split_blocks=True, self_destruct=True
            )
        return frame
    except (pa.ArrowException, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(first_line(error)) from error
    except OSError as error:
        if error.errno is None:  # Arrow's, of a file that it cannot interpret
            raise ValueError(first_line(error)) from error
        raise


def arrow_file(data: bytes) -> Any:
    """Return bytes as a file in Arrow's own memory.

    Arrow's threads may let go of what they read after the call has returned. If that is a Python object and the
    interpreter is ending, the process aborts or hangs (https://github.com/apache/arrow/issues/33975, 34314, 50482).
    """
    import pyarrow as pa

    stream = pa.BufferOutputStream()
    stream.write(data)
    return pa.BufferReader(stream.getvalue())


def arrays(data: bytes) -> dict[str, Any]:
    """Return the arrays in the bytes of an npz archive, by name; pickled objects are refused.

    Raises:
        ValueError: it is damaged, or not an npz archive.

    """
    import zlib
    from zipfile import BadZipFile

    import numpy as np

    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (BadZipFile, zlib.error, EOFError, NotImplementedError, SyntaxError, *UNREADABLE) as error:
        raise ValueError(first_line(error)) from error


def table(path: Path) -> pd.DataFrame:
    """Return a table that a person gave, in Parquet (by its extension) or CSV.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not such a table.

    """
    return parquet_frame(path) if path.suffix == ".parquet" else csv_frame(contents(path))


def built(kind: type[T], record: Mapping[str, Any]) -> T:
    """Return a record as the dataclass ``kind``.

    Raises:
        NewerError: it has a field that ``kind`` does not have.
        ValueError: it lacks a field without a default.

    """
    if not isinstance(record, Mapping):
        raise ValueError("it holds no object")
    known = {each.name: each for each in fields(kind)}  # type: ignore[arg-type]
    for name in record:
        if name not in known:
            raise NewerError(f"it has the field {name!r}")
    for name, each in known.items():
        if name not in record and each.default is MISSING and each.default_factory is MISSING:
            raise ValueError(f"it lacks the field {name!r}")
    return kind(**record)


def require_shape(value: Any, shape: Any, name: str = "it") -> None:
    """Refuse a JSON value of another shape.

    Args:
        value: from JSON
        shape: a type (float: any number); ``[shape]``: a list of such values; ``{str: shape}``: an object of such
            values; any other object: one with these fields, and perhaps more; ``name?`` may be absent
        name: of the value, for the message

    Raises:
        ValueError: such as "its 'jury' is not a list".

    """
    kind: Any = type(shape) if isinstance(shape, list | dict) else shape
    fits = isinstance(value, int | float) if kind is float else isinstance(value, kind)
    if not fits or (isinstance(value, bool) and kind in (int, float)):
        words = {list: "a list", dict: "an object", str: "a text", int: "a whole number", float: "a number"}
        raise ValueError(f"{name} is not {words.get(kind, kind.__name__)}")
    if isinstance(shape, list):
        for part in value:
            require_shape(part, shape[0], f"a part of {name}")
    elif isinstance(shape, dict) and str in shape:
        for field, part in value.items():
            require_shape(part, shape[str], f"{name}, {field!r},")
    elif isinstance(shape, dict):
        for field, part in shape.items():
            key = field.removesuffix("?")
            if key in value:
                require_shape(value[key], part, f"its {key!r}")
            elif key == field:
                raise ValueError(f"{name} lacks the field {key!r}")


def whole_number(text: str) -> int | None:
    """Return the number of at least 0 that ``text`` states in at most 18 digits from 0 to 9, or None."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else None


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, at most 200 characters, without a full stop."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(". ")


@contextlib.contextmanager
def refusing(path: str | Path, to_do: str, error: type[CurationError] = WorkspaceError) -> Iterator[None]:
    """Turn errors of reading ``path`` in the block into one sentence.

    Args:
        path: what is read in the block
        to_do: what to do if it is absent or damaged
        error: the class to raise

    Raises:
        CurationError: of that class.

    """
    try:
        yield
    except OSError as caught:
        reason = caught.strerror or first_line(caught)
        absent = isinstance(caught, FileNotFoundError | NotADirectoryError)
        mend = to_do if absent or not isinstance(caught, PermissionError) else "mend its permissions"
        raise error(f"{path} cannot be read ({reason}); {mend}") from caught
    except NewerError as caught:
        raise error(f"{path} was written by a newer version of this tool ({caught}); use that version") from caught
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as caught:
        kind = f"{type(caught).__name__}: " if isinstance(caught, LookupError | TypeError | AttributeError) else ""
        raise error(f"{path} is damaged ({kind}{first_line(caught)}); {to_do}") from caught
