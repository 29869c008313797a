"""The issues of a data set: whole rows where something was found, columns for all else that the checks say.

``issues.parquet`` has the flagged rows, and the few others whose evidence no number can rebuild. Its metadata name the
file in ``scores/`` that belongs to it by its SHA-256, so that both are replaced at once. That file has one row an
image: its path and, for each check, ``CHECK`` (the score, NaN where the check does not score the image), ``CHECK text``
(the number of the text of the evidence), ``CHECK:FIELD`` (a value in it) and ``CHECK group``; its metadata hold the
texts. In a workspace of an earlier version ``issues.parquet`` has every row, and there is no other file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from curation.base import files, reading, tables
from curation.base.arrays import Ints
from curation.base.errors import WorkspaceError
from curation.base.scored import KINDS, Column, Scored
from curation.base.workspace import Workspace

BLOCK = 65_536
"""Rows that are built at a time."""

_SCORES = b"face_curation.scores"
"""Metadata of issues.parquet: SHA-256 of the file of columns that belongs to it."""

_CHECKS = b"face_curation.checks"
"""Metadata of that file: JSON object, check -> texts, fields (name -> kind), scored (number of images)."""

_NAME = "[0-9a-f]{64}"

_MEND = "delete it and run: curate check"


class Issues:
    """What the checks found in a data set.

    Attributes:
        rows: issue rows that are stored whole: all flagged ones, and others with evidence of their own
        columns: check -> what it says of each image, without the checks of which every row is stored whole
        identity: fingerprint of the stored tables, "" if they are not stored

    """

    def __init__(
        self,
        rows: pd.DataFrame,
        paths: pd.Series | Callable[[], pd.Series] | None = None,
        columns: Mapping[str, Scored] | None = None,
        identity: str = "",
    ) -> None:
        self.rows = rows
        self.columns: Mapping[str, Scored] = {} if columns is None else columns
        self.identity = identity
        self._paths = pd.Series(dtype="str") if paths is None else paths

    @cached_property
    def paths(self) -> pd.Series:
        """The images that the rows of ``columns`` are about."""
        return self._paths() if callable(self._paths) else self._paths.reset_index(drop=True)

    @cached_property
    def flagged(self) -> pd.DataFrame:
        """The flagged rows."""
        return self.rows if self.rows["is_issue"].all() else self.rows[self.rows["is_issue"]]

    @cached_property
    def scored(self) -> dict[str, int]:
        """Check -> number of images that it scored, for every check that was run on any."""
        known = self.columns
        stored = known.scored if isinstance(known, _Stored) else {name: len(one.known) for name, one in known.items()}
        whole = self.rows["check"].value_counts(sort=False).items()
        return stored | {str(name): int(number) for name, number in whole if name not in self.columns}

    def of(self, check: str) -> pd.DataFrame:
        """Return the rows of a check that are stored whole."""
        return self.rows[self.rows["check"] == check]

    def scores(self, check: str) -> pd.Series:
        """Return the scores of a check, by path, of all images that it scored."""
        if check not in self.columns:
            return self.of(check).set_index("path")["score"]
        scored = self.columns[check]
        at = scored.known
        return pd.Series(scored.exact_scores()[at], index=pd.Index(self.paths.iloc[at]), name="score")

    def groups(self, check: str) -> pd.DataFrame:
        """Return path and group of the images that a check puts in a group, flagged or not."""
        own = self.of(check)
        scored = self.columns.get(check)
        if scored is None or scored.groups is None:
            return own.loc[own["group"] != "", ["path", "group"]]
        at = np.flatnonzero(scored.groups.codes >= 0)
        return pd.DataFrame({"path": self.paths.iloc[at].to_numpy(), "group": scored.group_names(at)}).astype("str")

    def values(self, check: str, name: str) -> pd.DataFrame:
        """Return path and text of one field of the evidence of all images that a check scored."""
        if check not in self.columns:
            own = self.of(check)
            said = [fact[name] for fact in tables.facts(own["evidence"], **{name: str})]
            return pd.DataFrame({"path": own["path"].to_numpy(), name: said})
        scored = self.columns[check]
        at = scored.known
        with reading.refusing(tables.EVIDENCE, tables.MEND_EVIDENCE, tables.TableError):
            return pd.DataFrame({"path": self.paths.iloc[at].to_numpy(), name: scored.fields[name].texts(at)})

    def whole(self, check: str) -> pd.DataFrame:
        """Return all rows of a check, flagged or not, with their evidence; in the order of the images."""
        scored = self.columns.get(check)
        return self.of(check) if scored is None else self._frame(check, scored, scored.known)

    def every(self) -> pd.DataFrame:
        """Return all rows of all checks, flagged or not, each check's by path: large."""
        parts = [self.whole(check).sort_values("path") for check in self.scored]
        return pd.concat(parts, ignore_index=True) if parts else tables.empty_issues()

    def blocks(self, check: str) -> Iterator[pd.DataFrame]:
        """Yield all rows of a check, worst first, at most ``BLOCK`` at a time."""
        if check not in self.columns:
            yield self.of(check).sort_values(["score", "group", "path"], ignore_index=True)
            return
        scored = self.columns[check]
        at = scored.known
        names = _group_names(scored, self._own(check, at), at)
        _, groups = np.unique(names.astype(str), return_inverse=True)
        order = at[np.lexsort((self._path_ranks[at], groups, scored.exact_scores()[at]))]
        for start in range(0, len(order), BLOCK):
            yield self._frame(check, scored, order[start : start + BLOCK])

    def replaced(self, fresh: Issues) -> Issues:
        """Return the issues with those of the checks in ``fresh``, of the same images, in the place of their own."""
        parts = {str(check): rows for check, rows in self.rows.groupby("check", sort=False)}
        parts |= {check: fresh.of(check) for check in fresh.scored}
        columns = {check: self.columns[check] for check in self.columns if check not in fresh.columns}
        known = columns | dict(fresh.columns)
        order = [check for check in {**self.scored, **fresh.scored} if check in known]
        return Issues(
            pd.concat(parts.values(), ignore_index=True), fresh.paths, {check: known[check] for check in order}
        )

    def only(self, path: str) -> Issues:
        """Return the issues of one image."""
        rows = self.rows[self.rows["path"] == path].reset_index(drop=True)
        if isinstance(self.columns, _Stored):
            return Issues(rows, *self.columns.only(path))
        at = np.flatnonzero(self.paths == path)
        return Issues(rows, self.paths.iloc[at], {name: one.take(at) for name, one in self.columns.items()})

    @cached_property
    def _path_ranks(self) -> Ints:
        ranks = np.empty(len(self.paths), dtype=np.int64)
        ranks[self.paths.argsort(kind="stable").to_numpy()] = np.arange(len(self.paths))
        return ranks

    def flags(self, check: str) -> pd.DataFrame:
        """Return path and is_issue of all images that a check scored."""
        own = self.of(check)
        if check not in self.columns:
            return own[["path", "is_issue"]]
        paths = self.paths.iloc[self.columns[check].known]
        return pd.DataFrame({"path": paths, "is_issue": paths.isin(own.loc[own["is_issue"], "path"])})

    def measured(self, check: str) -> pd.DataFrame:
        """Return value, threshold, measure and is_issue of the images whose evidence has them."""
        if check not in self.columns:
            return _parsed(self.of(check))
        scored = self.columns[check]
        if "value" not in scored.fields:
            return _parsed(self.rows.head(0))
        at = scored.known
        which = 0 if scored.which is None else scored.which[at].astype(np.int64)
        said = pd.DataFrame(scored.constants()).reindex(columns=["threshold", "measure"])
        with reading.refusing(tables.EVIDENCE, tables.MEND_EVIDENCE, tables.TableError):
            said = said.astype({"threshold": "float64", "measure": "category"})
        return pd.DataFrame(
            {
                "value": scored.fields["value"].numbers()[at],
                "threshold": said["threshold"].to_numpy()[which],
                "measure": said["measure"].array[which],
                "is_issue": self.flags(check)["is_issue"].to_numpy(),
            }
        ).dropna(subset=["value", "threshold"])

    def texts(self, checks: Sequence[str]) -> pd.DataFrame:
        """Return path and evidence of all images that the checks scored."""
        parts = [self.whole(check)[["path", "evidence"]] for check in checks if check in self.scored]
        return pd.concat(parts, ignore_index=True) if parts else tables.empty_issues()[["path", "evidence"]]

    def _own(self, check: str, at: Ints) -> pd.DataFrame:
        """Return for each place the row that is stored whole, missing values where there is none."""
        return self.of(check).set_index("path")[["is_issue", "group", "evidence"]].reindex(self.paths.iloc[at])

    def _frame(self, check: str, scored: Scored, at: Ints) -> pd.DataFrame:
        own = self._own(check, at)
        stored = own["evidence"].notna().to_numpy()
        evidence = own["evidence"].to_numpy(dtype=object, copy=True)
        evidence[~stored] = scored.evidence(at[~stored])
        frame = pd.DataFrame(
            {
                "path": self.paths.iloc[at].to_numpy(),
                "check": check,
                "score": scored.exact_scores()[at],
                "is_issue": own["is_issue"].fillna(False).to_numpy(dtype=np.bool_),
                "group": _group_names(scored, own, at),
                "evidence": evidence,
            }
        )
        return frame.astype({"path": "str", "check": "str", "group": "str", "evidence": "str"})


def _parsed(rows: pd.DataFrame) -> pd.DataFrame:
    """Return value, threshold, measure and is_issue of the rows whose evidence has them, parsed in blocks."""
    columns = ["value", "threshold", "measure"]
    parts = [pd.DataFrame({"value": [], "threshold": [], "measure": [], "is_issue": []})]
    for start in range(0, len(rows), BLOCK):
        block = rows.iloc[start : start + BLOCK]
        evidence = pd.DataFrame(tables.facts(block["evidence"])).reindex(columns=columns)
        kinds = {"value": "float64", "threshold": "float64", "measure": "category"}
        told = evidence.assign(is_issue=block["is_issue"].to_numpy()).dropna(subset=["value", "threshold"])
        with reading.refusing(tables.EVIDENCE, tables.MEND_EVIDENCE, tables.TableError):
            parts.append(told.astype(kinds))
    return pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)


def _group_names(scored: Scored, own: pd.DataFrame, at: Ints) -> npt.NDArray[np.object_]:
    stored = own["group"].to_numpy(dtype=object)
    return np.where(pd.isna(stored), scored.group_names(at), stored)


class _Stored(Mapping[str, Scored]):
    """The columns in a file, read when they are asked for.

    ``opened`` stays open, so that they can be read when another process has replaced the file; ``read`` returns some of
    them as an Arrow table.
    """

    def __init__(self, path: Path, opened: Any, read: Callable[[list[str]], Any], described: dict[str, Any]) -> None:
        self._path, self._opened, self._read_columns, self._described = path, opened, read, described

    def only(self, image: str) -> tuple[pd.Series, dict[str, Scored]]:
        """Return the path and the columns of one image, of the checks that score it."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        with reading.refusing(self._path, _MEND):
            try:
                here = pq.read_table(self._opened, filters=[("path", "==", image)])
            except (pa.ArrowException, OSError) as error:
                raise ValueError(reading.first_line(error)) from error
        found = _Stored(self._path, None, here.select, self._described)
        return found.paths(), {name: one for name, one in found.items() if len(one.known)}

    @property
    def scored(self) -> dict[str, int]:
        """Return check -> number of images that it scored."""
        return {name: int(said["scored"]) for name, said in self._described.items()}

    def paths(self) -> pd.Series:
        """Return the paths of the images."""
        with reading.refusing(self._path, _MEND):
            column = self._read(["path"])["path"]
            if column.type != "string" or column.null_count:
                raise ValueError(f"{column.type}, or nothing, in the place of a path")
            return pd.Series(column.to_numpy(), dtype="str")

    def __contains__(self, check: object) -> bool:
        return check in self._described

    def __iter__(self) -> Iterator[str]:
        return iter(self._described)

    def __len__(self) -> int:
        return len(self._described)

    def __getitem__(self, check: str) -> Scored:
        said = self._described[check]
        with reading.refusing(self._path, _MEND):
            names = [check, *(f"{check}:{name}" for name in said["fields"])]
            names += [f"{check} text"] * (len(said["texts"]) > 1) + [f"{check} group"] * said["groups"]
            table = self._read(names)
            scores = _numbers(table[check])
            if not (np.isnan(scores) | ((scores >= 0) & (scores <= 1))).all():
                raise ValueError(f"a score of {check} is not in 0..1")
            if self._opened is not None and np.count_nonzero(~np.isnan(scores)) != said["scored"]:
                raise ValueError(f"{check} scores another number of images than it states")
            which = table[f"{check} text"].to_numpy() if f"{check} text" in names else None
            if which is not None and (which.dtype.kind != "u" or (which >= len(said["texts"])).any()):
                raise ValueError(f"{check} has a text that is not there")
            fields = {name: _column(kind, table[f"{check}:{name}"]) for name, kind in said["fields"].items()}
            groups = _words(table[f"{check} group"]) if f"{check} group" in names else None
            return Scored(scores, tuple(map(tuple, said["texts"])), which, fields, groups)

    def _read(self, names: list[str]) -> Any:
        import pyarrow as pa

        try:
            return self._read_columns(names).select(names)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(reading.first_line(error)) from error


def _numbers(column: Any) -> Any:
    found = column.to_numpy()
    if found.dtype not in (np.float32, np.float64):
        raise ValueError(f"{found.dtype} in the place of numbers")
    return found


def _words(column: Any) -> pd.Categorical:
    import pyarrow as pa

    kind = column.type
    if not pa.types.is_dictionary(kind) or not pa.types.is_string(kind.value_type):
        raise ValueError(f"{kind} in the place of texts")
    joined = column.unify_dictionaries().combine_chunks()
    joined = joined.chunk(0) if isinstance(joined, pa.ChunkedArray) else joined
    codes = joined.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return pd.Categorical.from_codes(codes, joined.dictionary.to_pylist())


def _column(kind: Any, column: Any) -> Column:
    if kind == "word":
        return Column(kind, _words(column))
    values = column.to_numpy() if kind == "hex" else _numbers(column)
    if values.dtype != np.int64 and kind == "hex":
        raise ValueError(f"{values.dtype} in the place of whole numbers")
    return Column(kind, values)


def read_issues(workspace: Workspace) -> Issues:
    """Return the issues; their columns are read when they are asked for.

    Raises:
        WorkspaceError: a table is absent or damaged, or the columns are not those that the rows name.

    """
    identity = _digest(workspace.issues) if workspace.issues.exists() else ""
    rows = files.read_checked("issues", workspace.issues)
    with reading.refusing(workspace.issues, _MEND):
        path = _columns_of(workspace)
    if identity != _digest(workspace.issues):  # replaced in this moment
        return read_issues(workspace)
    if path is None and not _stored_columns(workspace):  # of an earlier version: all rows
        return Issues(rows, identity=identity)
    file = _opened(path)
    if path is None or file is None:
        if identity != _digest(workspace.issues):
            return read_issues(workspace)
        raise WorkspaceError(
            f"{workspace.scores} does not hold what belongs to {workspace.issues.name} (one of them was damaged or "
            "changed); to make both again: curate check"
        )
    with reading.refusing(path, _MEND):
        described = reading.json_object(_metadata(file)[_CHECKS])
        shape = {str: {"texts": [[str]], "fields": {str: str}, "scored": int, "groups": bool}}
        reading.require_shape(described, shape)
        for check, said in described.items():
            if not re.fullmatch(tables.CHECK_NAME, check):
                raise ValueError(f"{check!r} is no name of a check")
            _require_texts(said)
        import pyarrow.parquet as pq

        stored = _Stored(path, file, pq.ParquetFile(file).read, described)
    return Issues(rows, stored.paths, stored, identity)


def _columns_of(workspace: Workspace) -> Path | None:
    """Return the file of columns that the rows name, None if they name none."""
    name = _metadata(workspace.issues).get(_SCORES, b"").decode("ascii")
    if name and not re.fullmatch(_NAME, name):
        raise ValueError(f"{name!r} is no SHA-256")
    return workspace.scores / f"{name}.parquet" if name else None


def _stored_columns(workspace: Workspace) -> list[Path]:
    return [path for path in sorted(workspace.scores.glob("*.parquet")) if re.fullmatch(_NAME, path.stem)]


def _is_whole(path: Path | None) -> bool:
    """Return whether the file of columns is there with the content that its name states."""
    if path is None or not path.exists():
        return False
    return _digest(path) == path.stem


def _opened(path: Path | None) -> Any:
    """Return the file of columns, open, or None if it is not there as its name states."""
    import pyarrow as pa

    if path is None or not _is_whole(path):
        return None
    try:
        return pa.OSFile(str(path))
    except FileNotFoundError:  # another process has just replaced it
        return None


def _digest(path: Path) -> str:
    with reading.refusing(path, _MEND):
        return reading.sha256(path)


_SAMPLES = {"word": '"word"', "hex": "0a"}
"""A value as it is written, of the kinds that are no numbers."""


def _require_texts(said: Mapping[str, Any]) -> None:
    """Refuse texts whose values are not there, or that are no JSON."""
    if not said["texts"] or not set(said["fields"].values()) <= set(KINDS):
        raise ValueError("it has no texts, or values of an unknown kind")
    for text in said["texts"]:
        if len(text) % 2 == 0 or not set(text[1::2]) <= set(said["fields"]):
            raise ValueError("a text names a value that is not there")
        samples = {name: _SAMPLES.get(kind, "0") for name, kind in said["fields"].items()}
        reading.json_object("".join(samples[part] if place % 2 else part for place, part in enumerate(text)))


def faults(workspace: Workspace) -> list[str]:
    """Return what is wrong with the stored issues, a sentence; [] if nothing, or where there are none."""
    try:
        if not workspace.issues.exists():
            return []
        known = read_issues(workspace)
        wrong = [f"{name} has no value for some image" for name, one in known.columns.items() if not one.is_complete()]
        if known.paths.duplicated().any():
            wrong.append("an image occurs twice")
    except WorkspaceError as error:
        return [str(error)]
    return [f"{workspace.scores} is damaged ({fault}); {_MEND}" for fault in wrong]


def are_together(workspace: Workspace) -> bool:
    """Return whether the rows are there, and the columns that they name."""
    try:
        return _is_whole(_columns_of(workspace))
    except (OSError, ValueError, WorkspaceError):
        return False


def _metadata(path: Any) -> Mapping[bytes, bytes]:
    """Return the metadata of a table at a path, or in an open file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if isinstance(path, Path):
        reading.require_regular(path.stat(), path)
    try:
        return pq.read_schema(path).metadata or {}
    except pa.ArrowException as error:
        raise ValueError(reading.first_line(error)) from error


def write_issues(workspace: Workspace, issues: Issues) -> None:
    """Replace both tables at once: the new columns lie beside the old ones until the rows name them."""
    import pyarrow as pa

    arrays: dict[str, Any] = {"path": pa.array(issues.paths, pa.string())}
    described = {}
    for check, scored in issues.columns.items():
        arrays[check] = pa.array(scored.scores, from_pandas=False)
        if len(scored.pieces) > 1:
            arrays[f"{check} text"] = pa.array(scored.which)
        for name, column in scored.fields.items():
            arrays[f"{check}:{name}"] = pa.array(column.values, from_pandas=column.kind == "word")
        if scored.groups is not None:
            arrays[f"{check} group"] = pa.array(scored.groups)
        described[check] = {
            "texts": scored.pieces,
            "fields": {name: column.kind for name, column in scored.fields.items()},
            "scored": len(scored.known),
            "groups": scored.groups is not None,
        }
    said = {_CHECKS: json.dumps(described, ensure_ascii=False).encode("utf-8")}
    path = files.write_by_content(workspace.scores, ".parquet", _parquet(pa.table(arrays), said))
    rows = pa.Table.from_pandas(issues.rows, preserve_index=False)
    metadata = {**(rows.schema.metadata or {}), _SCORES: path.stem.encode()}
    files.write_stream(workspace.issues, _parquet(rows, metadata))
    for other in _stored_columns(workspace):
        if other != path:
            other.unlink(missing_ok=True)


def _parquet(table: Any, metadata: Mapping[bytes, bytes]) -> Callable[[IO[bytes]], None]:
    import pyarrow.parquet as pq

    stated = table.replace_schema_metadata(metadata)
    return lambda file: pq.write_table(stated, file, compression="zstd", row_group_size=BLOCK)
