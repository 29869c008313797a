"""Schemas of the tables that packages exchange as pandas frames, checked where a table enters or leaves a package."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from curation.base import reading
from curation.base.errors import CurationError
from curation.base.frames import are_distinct

if TYPE_CHECKING:
    import pandas as pd

TableName = Literal["images", "issues", "decisions", "manifest"]

WHOLE, FRAMED, HALF, WINDOW = 0, 1, 2, 3
"""Which part of a picture is meant: all of it; what its margins surround; one of two pictures in it; a crop."""

CHECK_NAME = r"[a-z][a-z0-9_]{0,63}"
"""Pattern of the names of checks (``curation.checks.registry``); a table may hold rows of a check that is not
installed here."""

ACTIONS: tuple[str, ...] = ("keep", "exclude", "relabel", "soften", "move", "subject")
"""What a decision may do to an image."""

STATUSES: tuple[str, ...] = ("kept", "excluded")

OPTIONAL: dict[str, tuple[str, ...]] = {"images": ("subject", "soft_label"), "manifest": ("subject",)}
"""Text columns that older tables lack; they are "" there."""


class TableError(CurationError):
    """A table does not match its schema."""


_Kind = Literal["str", "int64", "float64", "bool"]

_TEXT: _Kind = "str"
_WHOLE: _Kind = "int64"

_COLUMNS: dict[TableName, dict[str, _Kind]] = {
    "images": {
        **dict.fromkeys(("path", "sha256"), _TEXT),
        **dict.fromkeys(("bytes", "width", "height"), _WHOLE),
        **dict.fromkeys(("mode", "split", "label", "subject", "soft_label"), _TEXT),
    },
    "issues": {
        **{"path": _TEXT, "check": _TEXT, "score": "float64", "is_issue": "bool"},
        **dict.fromkeys(("group", "evidence"), _TEXT),
    },
    "decisions": {
        "seq": _WHOLE,
        **dict.fromkeys(("time", "actor", "path", "action", "value", "reason", "issue"), _TEXT),
    },
    "manifest": {
        **dict.fromkeys(("path", "sha256", "split", "label", "original_label", "status", "reason", "group"), _TEXT),
        **{"weight": "float64", "soft_label": _TEXT, "subject": _TEXT},
    },
}
"""Columns of each table, in order, and their dtypes.

images    -- path: POSIX, relative to the data set's root. sha256 is "" and width, height are 0 if the file could not be
             read. split, label, subject (the person) and soft_label are as the source states them, or "".
issues    -- score 0 worst .. 1 clean, group "" if the check has no groups, evidence a JSON object (what was measured,
             which threshold).
decisions -- time ISO 8601 UTC, actor "policy:NAME" or "person:NAME".
manifest  -- status kept or excluded, soft_label a JSON object class -> probability or "".
"""

_KEYS: dict[TableName, list[str]] = {
    "images": ["path"],
    "issues": ["path", "check"],
    "decisions": ["seq"],
    "manifest": ["path"],
}

_ALLOWED = {"status": STATUSES, "action": ACTIONS}
"""Columns that hold nothing but these values."""


def columns(name: TableName) -> list[str]:
    """Return the column names of a table, in order."""
    return list(_COLUMNS[name])


def checked(name: TableName, frame: pd.DataFrame) -> pd.DataFrame:
    """Return ``frame`` with the table's columns in their order and dtypes; missing optional columns are "".

    Raises:
        TableError: a column is missing, of the wrong type, out of range, or a key occurs twice.

    """
    silent = dict.fromkeys((column for column in OPTIONAL.get(name, ()) if column not in frame.columns), "")
    absent = [column for column in _COLUMNS[name] if column not in frame.columns and column not in silent]
    if absent:
        raise TableError(f"the {name} table is not valid: it has no column {absent[0]!r}")
    found = frame.assign(**silent)[columns(name)]
    for column, kind in _COLUMNS[name].items():
        fault = "has empty cells" if found[column].isna().any() else ""
        if not fault and found[column].dtype != kind:
            given = found[column]
            try:
                found[column] = given.astype(kind)
            except (ValueError, TypeError, OverflowError) as error:
                fault = f"cannot be {kind}: {reading.first_line(error)}"
            if not fault and kind in ("int64", "bool") and not (found[column] == given).all():
                fault = f"cannot be {kind}: it holds other values"  # a cast cuts 1.5 to 1 and makes "False" true
        if fault := fault or _fault_of(column, found[column]):
            raise TableError(f"the {name} table is not valid: its column {column!r} {fault}")
    key = _KEYS[name]
    if found["seq"].duplicated().any() if "seq" in key else not are_distinct(*(found[column] for column in key)):
        raise TableError(f"the {name} table is not valid: {' and '.join(key)} occur twice")
    return found


def _fault_of(name: str, column: pd.Series) -> str:
    """Return what is wrong with the values of a column of its dtype, "" if nothing."""
    if name == "score" and not column.between(0.0, 1.0).all():
        return "is not within 0 and 1"
    if name == "check" and not all(re.fullmatch(CHECK_NAME, value) for value in column.unique()):
        return f"holds other names than {CHECK_NAME}"
    if name in _ALLOWED and not set(column.unique()) <= set(_ALLOWED[name]):
        return f"holds other values than {', '.join(_ALLOWED[name])}"
    return ""


EVIDENCE = "the evidence in issues.parquet"
MEND_EVIDENCE = "delete that file and run: curate check"


def facts(evidence: Iterable[str], **needed: Any) -> list[dict[str, Any]]:
    """Return the objects in a column of evidence, parsed at once, which is several times as fast as one by one.

    Args:
        evidence: of issues
        needed: fields that each object must have, and their shapes (``curation.base.reading.require_shape``)

    Raises:
        TableError: one has another shape, as in a table that somebody edited.

    """
    texts = list(evidence)
    with reading.refusing(EVIDENCE, MEND_EVIDENCE, TableError):
        found: list[dict[str, Any]] = json.loads(f"[{','.join(texts)}]")
        if len(found) != len(texts) or not all(isinstance(one, dict) for one in found):
            raise ValueError("it is not one object a row")
        for one in found if needed else ():
            reading.require_shape(one, needed)
    return found


def join_pieces(frame: pd.DataFrame) -> None:
    """Merge the Arrow chunks of each text column in place, one column at a time to save memory.

    Columns from files and from concatenation come in chunks, and Arrow copies all of such a column on every selection
    of rows.
    """
    import pandas as pd
    import pyarrow as pa

    for name in frame.columns:
        kind = frame[name].dtype
        if isinstance(kind, pd.StringDtype) and kind.storage == "pyarrow":
            pieces = pa.array(frame[name].array)
            if isinstance(pieces, pa.ChunkedArray) and pieces.num_chunks > 1:
                frame[name] = pd.array(pieces.combine_chunks(), dtype=kind)
                del pieces


def empty_issues() -> pd.DataFrame:
    """Return an issues table without rows."""
    import pandas as pd

    kinds = {"score": "float64", "is_issue": "bool"}
    return pd.DataFrame({name: pd.Series(dtype=kinds.get(name, "str")) for name in columns("issues")})
