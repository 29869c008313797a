"""What people answer in the App, written down at once: one JSON object a line, one file a person and session.

The App's database may be wiped and the App may crash at any time; an answer counts from the moment its line is on disk.
A line is one key press on any number of images. Lines are never rewritten: taking back is a line too.
"""

from __future__ import annotations

import json
import os
import re
import threading
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from curation.base.errors import CurationError
from curation.base.files import make_folder, sync_folder

ANSWERS = ("keep", "exclude", "relabel", "soften", "unsure", "label")
"""What a person may answer; ``label`` is a blind label: a vote, never a decision. ``unsure`` decides nothing."""

DECISIONS = frozenset({"keep", "exclude", "relabel", "soften"})
"""Answers that become decisions of the log."""

_UNDO = "undo"

_NAME = re.compile(r"[^\W_][\w.@ -]{0,63}")


class ReviewError(CurationError):
    """A review cannot be opened, answered or pulled."""


@dataclass(frozen=True)
class Line:
    """One key press.

    id is unique over all journals; time is ISO 8601 UTC with microseconds; queue is what the person was working
    through; value is a class, for soften a JSON object class -> probability; undo lines hold the id that they take back
    in ``value`` and no paths.
    """

    id: str
    time: str
    reviewer: str
    action: str
    value: str
    paths: tuple[str, ...]
    queue: str
    reason: str = ""
    issue: str = ""


@dataclass(frozen=True)
class ReviewAnswer:
    """What one person says of one image, as of their last press."""

    path: str
    reviewer: str
    action: str
    value: str
    time: str
    queue: str
    reason: str
    issue: str

    @property
    def says(self) -> tuple[str, str]:
        """What two people must have in common to agree."""
        return self.action, self.value


def checked_name(name: str) -> str:
    """Return a reviewer's name.

    Raises:
        ReviewError: it cannot stand in a file name and in the log.

    """
    if not _NAME.fullmatch(name):
        raise ReviewError(f"{name!r} cannot be a reviewer's name; use letters, digits and . _ @ - (at most 64)")
    return name


class Journal:
    """The file that one session writes; safe to use from several threads of one process."""

    def __init__(self, folder: Path, reviewer: str) -> None:
        self.reviewer = checked_name(reviewer)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        slug = re.sub(r"[^\w.-]", "_", reviewer)
        self.path = folder / f"{slug}-{stamp}-{uuid.uuid4().hex[:8]}.jsonl"
        self._lock = threading.Lock()

    def write(
        self, action: str, paths: Sequence[str], value: str = "", *, queue: str = "", reason: str = "", issue: str = ""
    ) -> Line:
        """Append one press durably and return it."""
        if action not in (*ANSWERS, _UNDO):
            raise ReviewError(f"no answer {action!r}; there are: {', '.join(ANSWERS)}")
        with self._lock:
            now = datetime.now(UTC).isoformat(timespec="microseconds")
            line = Line(uuid.uuid4().hex, now, self.reviewer, action, value, tuple(paths), queue, reason, issue)
            self._append(json.dumps(asdict(line), ensure_ascii=False) + "\n")
        return line

    def _append(self, text: str) -> None:
        make_folder(self.path.parent)
        is_new = not self.path.exists()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.write(descriptor, text.encode("utf-8"))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if is_new:
            sync_folder(self.path.parent)

    def undo(self, line: Line) -> Line:
        """Take one press back."""
        return self.write(_UNDO, (), line.id)


def read(folder: Path) -> list[Line]:
    """Return the lines of all journals in a folder, oldest first; a torn last line of a killed App is left out.

    Raises:
        ReviewError: a line before the last of a file is damaged.

    """
    lines: list[Line] = []
    for path in sorted(folder.glob("*.jsonl")):
        texts = path.read_bytes().split(b"\n")
        for number, text in enumerate(texts[:-1], start=1):
            try:
                record = json.loads(text)
                lines.append(Line(**{**record, "paths": tuple(record["paths"])}))
            except (ValueError, TypeError, KeyError) as error:
                raise ReviewError(
                    f"{path}, line {number} is damaged ({error}); restore the file from a copy"
                ) from error
    return sorted(lines, key=lambda line: (line.time, line.id))


def active_presses(lines: Iterable[Line]) -> list[Line]:
    """Return the presses that were not taken back, oldest first."""
    lines = list(lines)
    gone = {line.value for line in lines if line.action == _UNDO}
    return [line for line in lines if line.action != _UNDO and line.id not in gone]


def taken_back(lines: Iterable[Line]) -> list[Line]:
    """Return the presses that were taken back, oldest first."""
    lines = list(lines)
    gone = {line.value for line in lines if line.action == _UNDO}
    return [line for line in lines if line.action != _UNDO and line.id in gone]


def latest_answers(lines: Iterable[Line]) -> dict[tuple[str, str], ReviewAnswer]:
    """Return (path, reviewer) -> that person's last answer on that image; blind labels are not among them."""
    return _last(line for line in active_presses(lines) if line.action != "label")


def blind_labels(lines: Iterable[Line]) -> dict[tuple[str, str], ReviewAnswer]:
    """Return (path, reviewer) -> that person's last blind label of that image."""
    return _last(line for line in active_presses(lines) if line.action == "label")


def _last(lines: Iterable[Line]) -> dict[tuple[str, str], ReviewAnswer]:
    found: dict[tuple[str, str], ReviewAnswer] = {}
    for line in lines:
        for path in line.paths:
            found[path, line.reviewer] = ReviewAnswer(
                path, line.reviewer, line.action, line.value, line.time, line.queue, line.reason, line.issue
            )
    return found
