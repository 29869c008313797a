"""The append-only log of decisions: one JSON object per line, grouped in batches.

A batch counts only once its closing ``commit`` line is on disk, so a killed writer leaves either all of it or nothing.
The lines of a committed batch are never rewritten; the next writer cuts off the rest of an uncommitted one, which was
never reported as done.

Every commit line holds the hash of its batch and of the commit before it (``chain``), so that any edited line is
noticed. Logs begun by an older version have a first part without hashes, which the chain covers from its first line on.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakValueDictionary

from curation.base.errors import CurationError
from curation.base.files import append as append_lines
from curation.base.files import parsed
from curation.base.reading import arrow_file, contents
from curation.base.text import is_text

if TYPE_CHECKING:
    import pandas as pd

LOG_ACTIONS = ("keep", "exclude", "relabel", "soften", "move", "subject", "policy", "undo", "not_copies", "not_same")
"""``policy`` opens a policy's batch and supersedes every earlier policy; ``undo`` takes back the lines in ``value``;
``not_copies`` separates the contents in ``value`` for good, ``not_same`` states that they show different people."""

_COMMIT = "commit"
_COMMIT_LINE = re.compile(rb'^\{"commit".*$', re.MULTILINE)
_TAIL = 2**12
"""Bytes at the end of a log that contain its last commit line."""

_PARSED_AT_ONCE = 2**24
"""Bytes of a block of lines; if a line is longer, the log is parsed line by line."""


class LogError(CurationError):
    """The log is damaged before its last batch, or was written by a newer version."""


class Entry(NamedTuple):
    """One line of the log.

    seq counts from 1 and is the order of decisions; time is informative, because clocks go wrong. actor is
    ``policy:NAME`` or ``person:NAME``. For ``policy`` lines value is the policy's fingerprint and path is empty; for
    ``undo`` lines value is a JSON list of sequence numbers, for ``not_copies`` a JSON object (contents: SHA-256 of
    files, paths), for ``not_same`` the same with one list per person in both. content is the SHA-256 of the file that a
    person's decision is about, and label its original one; both are "" in lines of policies, which judge again whenever
    the data change, and of older versions.
    """

    seq: int
    time: str
    actor: str
    path: str
    action: str
    value: str
    reason: str
    issue: str
    content: str = ""
    label: str = ""


_OPTIONAL = ("content", "label")


@dataclass(frozen=True)
class Draft:
    """A decision that is not yet in the log; time is when it was made, "" for now."""

    path: str
    action: str
    value: str = ""
    reason: str = ""
    issue: str = ""
    time: str = ""
    content: str = ""
    label: str = ""


def table_of(entries: Iterable[Entry]) -> pd.DataFrame:
    """Return entries as a table with their fields as columns, in their order."""
    import pandas as pd

    texts = dict.fromkeys(Entry._fields[1:], "str")
    return pd.DataFrame(list(entries), columns=list(Entry._fields)).astype({"seq": "int64", **texts})


def entries_of(table: pd.DataFrame) -> list[Entry]:
    """Return the rows of a table of entries, in their order."""
    return [Entry._make(row) for row in table[list(Entry._fields)].itertuples(index=False, name=None)]


class Log:
    """The log on disk; to append, the caller holds the workspace's lock."""

    def __init__(self, path: Path) -> None:
        """Read the log; it may be absent.

        Raises:
            LogError: names a line before the last committed batch that is damaged or out of order.

        """
        self.path = path
        self._read = _read(path)

    @property
    def table(self) -> pd.DataFrame:
        """The entries of all committed batches, oldest first (``table_of``)."""
        return self._read.table

    @property
    def chain(self) -> str:
        """The chain's value after the last batch."""
        return self._read.chain

    @property
    def through(self) -> int:
        """The number of the last entry, 0 if there is none."""
        return len(self.table)

    def append(self, actor: str, drafts: Sequence[Draft], *, now: datetime | None = None) -> list[Entry]:
        """Append one batch durably and return its entries.

        Raises:
            LogError: an action is unknown.

        """
        import pandas as pd

        if not drafts:
            return []
        unknown = {draft.action for draft in drafts} - set(LOG_ACTIONS)
        if unknown:
            raise LogError(f"unknown action {sorted(unknown)[0]!r}; known are {', '.join(LOG_ACTIONS)}")
        for draft in drafts:
            if not is_text("".join([actor, *map(str, vars(draft).values())])):
                raise LogError(f"the decision on {draft.path!r} holds text that is not UTF-8; give it in UTF-8")
        stamp = (now or datetime.now(UTC)).isoformat(timespec="seconds")
        entries = [
            Entry(n, d.time or stamp, actor, d.path, d.action, d.value, d.reason, d.issue, d.content, d.label)
            for n, d in enumerate(drafts, start=self.through + 1)
        ]
        # an empty optional field is left out, so that older versions can read the line
        stated = ({name: text for name, text in e._asdict().items() if text or name not in _OPTIONAL} for e in entries)
        data = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in stated).encode("utf-8")
        chain = _chained(self.chain, data, len(entries), entries[-1].seq)
        commit = {_COMMIT: len(entries), "through": entries[-1].seq, "chain": chain}
        data += f"{json.dumps(commit)}\n".encode()
        append_lines(self.path, data, self._read.committed_bytes)
        digest = self._read.digest.copy()
        digest.update(data)
        table = pd.concat([self.table, table_of(entries)], ignore_index=True)
        self._read = _Read(table, self._read.committed_bytes + len(data), chain, digest)
        _READ[self.path, digest.digest()] = self._read
        return entries


def through(path: Path) -> int:
    """Return the number of the last entry, read from the end of the log; 0 if there is none, or it is damaged."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - _TAIL))
            tail = file.read()
    except OSError:
        return 0
    commits = [match.group() for match in _COMMIT_LINE.finditer(tail[: tail.rfind(b"\n") + 1])]
    try:
        return int(parsed(commits[-1])["through"]) if commits else 0
    except (ValueError, TypeError, KeyError):
        return 0


def stated_chain(path: Path, through: int) -> str | None:
    """Return the chain's value in the commit line of the batch that ends at a decision.

    It is "" in lines of older versions, and None if no batch ends there.
    """
    data = contents(path) if path.exists() else b""
    found = re.search(rb'^\{"commit": \d+, "through": %d(?:, "chain": "(\w*)")?' % through, data, re.MULTILINE)
    return (found[1] or b"").decode() if found else None


def _chained(before: str, lines: bytes, number: int, through: int) -> str:
    """Return the chain's value after a batch of ``number`` lines, given the value before it."""
    return hashlib.sha256(before.encode() + lines + f"{number} {through}".encode()).hexdigest()


@dataclass(frozen=True)
class _Read:
    """The committed entries, the length in bytes and SHA-256 of the committed part, and the chain's value after it."""

    table: pd.DataFrame
    committed_bytes: int
    chain: str
    digest: hashlib._Hash


_READ: WeakValueDictionary[tuple[Path, bytes], _Read] = WeakValueDictionary()
"""The logs in use, by path and SHA-256: one that is read again meanwhile is neither parsed nor held twice."""


def _read(path: Path) -> _Read:
    try:
        data = contents(path)
    except FileNotFoundError:
        data = b""
    key = (path, hashlib.sha256(data).digest())
    found = _READ.get(key)
    if found is None:
        found = _READ[key] = _scan(path, data)
    return found


def _scan(path: Path, data: bytes) -> _Read:
    from curation.base import mapped

    table, committed_bytes, chain = _parsed_at_once(data) or _parsed_by_line(path, data)
    unknown = set(table["action"].unique()) - set(LOG_ACTIONS)
    if unknown:
        raise LogError(
            f"{path}: the action {sorted(unknown)[0]!r} is of a newer version of this tool; use that version"
        )
    digest = hashlib.sha256(memoryview(data)[:committed_bytes])
    return _Read(mapped.frame(table, path.parent), committed_bytes, chain or digest.hexdigest(), digest)


def _parsed_at_once(data: bytes) -> tuple[pd.DataFrame, int, str] | None:
    """Parse a log in one fast pass, as ``_Read``; None if it must be parsed line by line."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.json

    last = data.rfind(b'\n{"commit"') + 1
    end = data.find(b"\n", last) + 1
    if not last or not end or b'"commit"' in data[end:]:
        return None
    texts = dict.fromkeys(Entry._fields[1:], "str")
    options = pa.json.ReadOptions(block_size=_PARSED_AT_ONCE, use_threads=False)
    kinds = dict.fromkeys(("seq", _COMMIT, "through"), pa.int64()) | dict.fromkeys((*texts, "chain"), pa.string())
    shape = pa.json.ParseOptions(explicit_schema=pa.schema(kinds), unexpected_field_behavior="error")
    try:
        lines = pa.json.read_json(arrow_file(data[:end]), read_options=options, parse_options=shape)
    except pa.ArrowException:
        return None
    number, through, seq = (lines[name].to_numpy() for name in (_COMMIT, "through", "seq"))
    commits = np.flatnonzero(~np.isnan(number))
    sizes = np.diff(commits, prepend=-1) - 1
    entries = lines.filter(pa.array(np.isnan(number)))
    if any(entries[name].null_count for name in Entry._fields if name not in _OPTIONAL):
        return None
    in_order = np.array_equal(entries["seq"].to_numpy(), np.arange(1, len(entries) + 1))
    closed = (sizes > 0).all() and np.array_equal(number[commits], sizes)
    if not (in_order and closed and np.array_equal(through[commits], seq[commits - 1])):
        return None
    table: pd.DataFrame = entries.select(list(Entry._fields)).to_pandas()
    chain = lines["chain"][-1].as_py() or ""
    return table.fillna(dict.fromkeys(_OPTIONAL, "")).astype({"seq": "int64", **texts}), end, chain


def _parsed_by_line(path: Path, data: bytes) -> tuple[pd.DataFrame, int, str]:
    """Parse a log line by line, as ``_Read``: slower, but errors name the line."""
    entries: list[Entry] = []
    pending: list[Entry] = []
    committed_bytes = position = 0
    chain = ""
    for number, line in enumerate(data.split(b"\n"), start=1):
        end = position + len(line) + 1
        if end > len(data):  # no newline: a torn last line
            break
        try:
            record = parsed(line)
            if _COMMIT in record:
                entries += _closed(pending, record)
                pending, committed_bytes, chain = [], end, str(record.get("chain", ""))
            else:
                pending.append(_entry(record))
        except (ValueError, TypeError) as error:
            if b'"commit"' in data[end:]:
                raise LogError(f"{path}, line {number} {_wrong_with(line, error)}") from error
            break
        position = end
    for expected, entry in enumerate(entries, start=1):
        if entry.seq != expected:
            raise LogError(f"{path}: decision {expected} is missing (found {entry.seq}); restore the file from a copy")
    return table_of(entries), committed_bytes, chain


def _entry(record: Any) -> Entry:
    entry = Entry(**record)
    if not isinstance(entry.seq, int) or not all(isinstance(text, str) for text in entry[1:]):
        raise ValueError("a field is of another type")
    return entry


def _wrong_with(line: bytes, error: Exception) -> str:
    """Return what is wrong with a line, and what to do about it."""
    try:
        fields = set(parsed(line))
    except (ValueError, TypeError):
        fields = set()
    if fields > set(Entry._fields[:8]) and not fields <= set(Entry._fields):
        return f"has a field of a newer version of this tool ({error}); use that version"
    return f"is damaged ({error}); restore the file from a copy"


def _closed(pending: list[Entry], record: dict[str, Any]) -> list[Entry]:
    if record[_COMMIT] != len(pending) or not pending or record.get("through") != pending[-1].seq:
        raise ValueError("a batch does not have the lines that its commit states")
    return pending


@dataclass(frozen=True)
class Chain:
    """The chain of a log: its value after the last decision of each batch, and what is wrong with it ("" if nothing).

    begins is the first decision of the first chained batch, 0 if there is none.
    """

    values: dict[int, str]
    begins: int
    broken: str


def chain_of(path: Path) -> Chain:
    """Return the recomputed chain of a readable log."""
    data = contents(path)[: _read(path).committed_bytes] if path.exists() else b""  # the rest is not a complete batch
    values, begins, position = {0: hashlib.sha256(b"").hexdigest()}, 0, 0
    value = values[0]
    for match in _COMMIT_LINE.finditer(data):
        record = parsed(match.group())
        number, through = int(record[_COMMIT]), int(record["through"])
        computed = _chained(value, data[position : match.start()], number, through)
        position = match.end() + 1
        stated = record.get("chain")
        if stated is None:
            value = hashlib.sha256(data[:position]).hexdigest() if not begins else computed
            broken = f"decisions {through - number + 1} to {through} have left the chain" if begins else ""
        else:
            begins = begins or through - number + 1
            value, broken = computed, ""
            if stated != computed:
                broken = f"decisions {through - number + 1} to {through} are not as they were logged"
        values[through] = value
        if broken:
            return Chain(values, begins, broken)
    return Chain(values, begins, "")


def undone(entries: Iterable[Entry]) -> set[int]:
    """Return :func:`undone_in` of a list of entries."""
    return undone_in(table_of(entries))


def undone_in(table: pd.DataFrame) -> set[int]:
    """Return the sequence numbers that are undone; undoing an ``undo`` restores its lines."""
    undos = table.loc[table["action"] == "undo", ["seq", "value"]]
    gone: set[int] = set()
    for seq, value in sorted(undos.itertuples(index=False, name=None), reverse=True):
        if seq not in gone:
            gone.update(targets_of(seq, value))
    return gone


def targets_of(seq: int, value: str) -> list[int]:
    """Return the numbers of the decisions that the ``undo`` line ``seq`` undoes.

    Raises:
        LogError: its value is not a list of numbers.

    """
    try:
        numbers = parsed(value)
        if not isinstance(numbers, list):
            raise ValueError("not a list")
        return [int(number) for number in numbers]
    except (ValueError, TypeError, OverflowError) as error:
        raise LogError(
            f"decision {seq} undoes {value!r}, which is not a list of decisions; restore the log from a copy"
        ) from error
