"""Schemas of the tables that packages exchange as pandas frames, checked where a table enters or leaves a package."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from curation.base import reading
from curation.base.errors import CurationError

if TYPE_CHECKING:
    import pandas as pd
    from pandera.pandas import DataFrameSchema

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


@cache
def schema(name: TableName) -> DataFrameSchema:
    """Return the pandera schema of one table.

    images    -- key path: POSIX, relative to the data set's root. sha256 is "" and width, height are 0 if the
                 file could not be read. split, label, subject (the person) and soft_label are as the source
                 states them, or "".
    issues    -- key (path, check): score 0 worst .. 1 clean, group "" if the check has no groups, evidence a
                 JSON object (what was measured, which threshold).
    decisions -- key seq: time ISO 8601 UTC, actor "policy:NAME" or "person:NAME".
    manifest  -- key path: status kept or excluded, soft_label a JSON object class -> probability or "".
    """
    import pandera.pandas as pa

    text, whole, real, flag = (pa.Column(t, nullable=False) for t in ("str", "int64", "float64", "bool"))

    def are_check_names(column: pd.Series) -> bool:
        return bool(column.drop_duplicates().str.fullmatch(CHECK_NAME).all())

    def one_of(values: tuple[str, ...]) -> pa.Column:
        return pa.Column("str", pa.Check.isin(values), nullable=False)

    columns: dict[str, dict[str, pa.Column]] = {
        "images": {
            "path": pa.Column("str", unique=True),
            "sha256": text,
            "bytes": whole,
            "width": whole,
            "height": whole,
            "mode": text,
            "split": text,
            "label": text,
            "subject": text,
            "soft_label": text,
        },
        "issues": {
            "path": text,
            "check": pa.Column("str", pa.Check(are_check_names, error=f"names like {CHECK_NAME}"), nullable=False),
            "score": pa.Column("float64", pa.Check.in_range(0.0, 1.0), nullable=False),
            "is_issue": flag,
            "group": text,
            "evidence": text,
        },
        "decisions": {
            "seq": pa.Column("int64", unique=True),
            "time": text,
            "actor": text,
            "path": text,
            "action": one_of(ACTIONS),
            "value": text,
            "reason": text,
            "issue": text,
        },
        "manifest": {
            "path": pa.Column("str", unique=True),
            "sha256": text,
            "split": text,
            "label": text,
            "original_label": text,
            "status": one_of(STATUSES),
            "reason": text,
            "group": text,
            "weight": real,
            "soft_label": text,
            "subject": text,
        },
    }
    unique = ["path", "check"] if name == "issues" else None
    return pa.DataFrameSchema(columns[name], strict=True, coerce=True, ordered=True, unique=unique, name=name)


def columns(name: TableName) -> list[str]:
    """Return the column names of a table, in order."""
    return list(schema(name).columns)


def checked(name: TableName, frame: pd.DataFrame) -> pd.DataFrame:
    """Return ``frame`` with the schema's column order and dtypes; missing optional columns are "".

    Raises:
        TableError: a column is missing, of the wrong type, out of range, or a key occurs twice.

    """
    import pandera.errors

    absent = [column for column in OPTIONAL.get(name, ()) if column not in frame.columns]
    if absent:
        frame = frame.assign(**dict.fromkeys(absent, ""))
    try:
        ordered = frame[[column for column in columns(name) if column in frame.columns]]
        return schema(name).validate(ordered)
    except (pandera.errors.SchemaError, pandera.errors.SchemaErrors, ValueError, TypeError, KeyError) as error:
        # pandas' own errors pass through some checks of a schema
        raise TableError(f"the {name} table is not valid: {reading.first_line(error)}") from error


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
