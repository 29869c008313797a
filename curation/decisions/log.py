"""The append-only log of decisions: one JSON object a line, grouped in batches.

A batch counts only once its closing ``commit`` line is on disk, so that a killed writer leaves either all of it or
nothing. The lines of a committed batch are never rewritten; the tail of an uncommitted one, which nobody was ever
told of, is cut off by the next writer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from curation.base.errors import CurationError
from curation.base.files import make_folder, parsed, sync_folder

LOG_ACTIONS = ("keep", "exclude", "relabel", "soften", "move", "subject", "policy", "undo")
"""``policy`` opens a policy's batch and supersedes every earlier policy; ``undo`` takes back the lines in ``value``."""

_COMMIT = "commit"


class LogError(CurationError):
    """The log is damaged before its last batch."""


@dataclass(frozen=True)
class Entry:
    """One line of the log.

    seq counts from 1. actor is ``policy:NAME`` or ``person:NAME``. For ``policy`` lines value is the policy's
    fingerprint and path is empty; for ``undo`` lines value is a JSON list of sequence numbers.
    """

    seq: int
    time: str
    actor: str
    path: str
    action: str
    value: str
    reason: str
    issue: str


@dataclass(frozen=True)
class Draft:
    """A decision before the log has numbered it; time is "" where it is made now, else when it was made."""

    path: str
    action: str
    value: str = ""
    reason: str = ""
    issue: str = ""
    time: str = ""


def read(path: Path) -> list[Entry]:
    """Return the entries of all committed batches, oldest first.

    Raises:
        LogError: a line before the last committed batch is damaged or out of order; it is named.

    """
    return _scan(path)[0]


def append(path: Path, actor: str, drafts: Sequence[Draft], *, now: datetime | None = None) -> list[Entry]:
    """Append one batch durably and return its entries; the caller holds the workspace's lock.

    Raises:
        LogError: the log is damaged, or an action is unknown.

    """
    if not drafts:
        return []
    unknown = {draft.action for draft in drafts} - set(LOG_ACTIONS)
    if unknown:
        raise LogError(f"unknown action {sorted(unknown)[0]!r}; known are {', '.join(LOG_ACTIONS)}")
    known, committed_bytes = _scan(path)
    stamp = (now or datetime.now(UTC)).isoformat(timespec="seconds")
    first = known[-1].seq + 1 if known else 1
    entries = [
        Entry(first + n, draft.time or stamp, actor, draft.path, draft.action, draft.value, draft.reason, draft.issue)
        for n, draft in enumerate(drafts)
    ]
    lines = [*(asdict(entry) for entry in entries), {_COMMIT: len(entries), "through": entries[-1].seq}]
    _write_batch(path, committed_bytes, lines)
    return entries


def _write_batch(path: Path, committed_bytes: int, lines: Iterable[dict[str, Any]]) -> None:
    make_folder(path.parent)
    data = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode("utf-8")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.ftruncate(descriptor, committed_bytes)
        os.lseek(descriptor, committed_bytes, os.SEEK_SET)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, committed_bytes)
            raise
    finally:
        os.close(descriptor)
    sync_folder(path.parent)


def _scan(path: Path) -> tuple[list[Entry], int]:
    """Return the committed entries and the length in bytes of the committed part."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return [], 0
    entries: list[Entry] = []
    pending: list[Entry] = []
    committed_bytes = position = 0
    for number, line in enumerate(data.split(b"\n"), start=1):
        end = position + len(line) + 1
        if end > len(data):  # no newline: a torn last line
            break
        try:
            record = parsed(line)
            if _COMMIT in record:
                entries += _closed(pending, record)
                pending, committed_bytes = [], end
            else:
                pending.append(Entry(**record))
        except (ValueError, TypeError) as error:
            if b'"commit"' in data[end:]:
                raise LogError(f"{path}, line {number} is damaged ({error}); restore the file from a copy") from error
            break
        position = end
    _require_order(path, entries)
    return entries, committed_bytes


def _closed(pending: list[Entry], record: dict[str, Any]) -> list[Entry]:
    if record[_COMMIT] != len(pending) or not pending or record.get("through") != pending[-1].seq:
        raise ValueError("a batch does not have the lines that its commit states")
    return pending


def _require_order(path: Path, entries: list[Entry]) -> None:
    for expected, entry in enumerate(entries, start=1):
        if entry.seq != expected:
            raise LogError(f"{path}: decision {expected} is missing (found {entry.seq}); restore the file from a copy")


def undone(entries: Iterable[Entry]) -> set[int]:
    """Return the sequence numbers that are taken back; an undone ``undo`` brings its lines back."""
    gone: set[int] = set()
    for entry in sorted(entries, key=lambda entry: entry.seq, reverse=True):
        if entry.action == "undo" and entry.seq not in gone:
            gone.update(int(seq) for seq in json.loads(entry.value))
    return gone
