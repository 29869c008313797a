"""People's answers in the App, written at once: one JSON object per line, one file per person and session.

The App's database may be wiped and the App may crash at any time; an answer counts from the moment its line is on disk.
A line is one key press on any number of images. Lines are never rewritten: undoing adds a line too.
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any

from curation.base import files, reading
from curation.base.errors import CurationError
from curation.decisions.log import through as log_through

ANSWERS = ("keep", "exclude", "relabel", "soften", "unsure", "label", "same", "not_same")
"""What a person may answer; ``label`` is a blind label: a vote, never a decision. ``unsure`` decides nothing."""

IDENTITY = frozenset({"same", "not_same"})
"""Answers on who is in the images; they are independent of the same person's answers on image and label."""

DECISIONS = frozenset({"keep", "exclude", "relabel", "soften"})
"""Answers that become decisions of the log."""

_UNDO = "undo"

_MEND = "restore it from a copy, or move it out of the folder: its answers are then not imported"
"""What to do about a journal that cannot be read."""

_NAME = re.compile(r"[^\W_][\w.@ -]{0,63}")


class ReviewError(CurationError):
    """A review cannot be opened, answered or pulled."""


@dataclass(frozen=True)
class Line:
    """One key press.

    id is unique over all journals; time is ISO 8601 UTC with microseconds; queue is what the person was working
    through; value is a class, for soften a JSON object class -> probability, for not_same a JSON list of the contents
    whose person these are not ([]: no two of these are one person); undo lines hold the id of the undone line in
    ``value`` and no paths.

    order grows with every line of every journal, whatever the clock says, and after is the last decision that the log
    held; 0 and -1 in lines of older versions. contents (SHA-256 of the files) and labels (that they came with) are what
    the answer is about, one per path; () in lines of older versions.
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
    order: int = 0
    after: int = -1
    contents: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReviewAnswer:
    """One person's last answer on one image; place is the number of its press among all, from 0."""

    path: str
    reviewer: str
    action: str
    value: str
    time: str
    queue: str
    reason: str
    issue: str
    place: int = 0
    after: int = -1
    content: str = ""
    label: str = ""

    @property
    def says(self) -> tuple[str, str]:
        """What two answers must have in common to agree."""
        return self.action, "" if self.action in IDENTITY else self.value


def checked_name(name: str) -> str:
    """Return a reviewer's name.

    Raises:
        ReviewError: it cannot be used in a file name and in the log.

    """
    if not _NAME.fullmatch(name):
        raise ReviewError(f"{name!r} cannot be a reviewer's name; use letters, digits and . _ @ - (at most 64)")
    return name


class Journal:
    """The file that one session writes; safe to use from several threads of one process."""

    def __init__(self, folder: Path, reviewer: str, log: Path | None = None) -> None:
        """Take the folder of the journals, the reviewer, and the log of decisions that precede the answers."""
        self.reviewer = checked_name(reviewer)
        self._log = log
        self._order = 0
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        slug = re.sub(r"[^\w.-]", "_", reviewer)
        self.path = folder / f"{slug}-{stamp}-{uuid.uuid4().hex[:8]}.jsonl"
        self._lock = threading.Lock()

    def write(self, action: str, paths: Sequence[str], value: str = "", **more: Any) -> Line:
        """Append one press durably and return it; ``more`` are other fields of a :class:`Line`."""
        return self.write_all([{"action": action, "paths": paths, "value": value, **more}])[0]

    def write_all(self, presses: Sequence[Mapping[str, Any]]) -> list[Line]:
        """Append the lines of one press durably, all of them or none, and return them.

        Args:
            presses: fields of a :class:`Line`: action, paths, value, and what else is known

        Raises:
            ReviewError: there is no such answer, or the lines cannot be written, for example on a full disk.

        """
        odd = next((each["action"] for each in presses if each["action"] not in (*ANSWERS, _UNDO)), None)
        if odd is not None:
            raise ReviewError(f"no answer {odd!r}; there are: {', '.join(ANSWERS)}")
        with self._lock:
            # journals only ever grow, so their size is a clock that all sessions share and nobody can set back
            order = max(self._order, sum(path.stat().st_size for path in self.path.parent.glob("*.jsonl")))
            about = {
                "time": datetime.now(UTC).isoformat(timespec="microseconds"),
                "reviewer": self.reviewer,
                "queue": "",
                "after": -1 if self._log is None else log_through(self._log),
            }
            lines = [
                Line(**{**about, **press, **_tuples(press)}, id=uuid.uuid4().hex, order=place)
                for place, press in enumerate(presses, start=order + 1)
            ]
            texts = [json.dumps(asdict(line), ensure_ascii=False) + "\n" for line in lines]
            try:
                files.append(self.path, "".join(texts).encode("utf-8"))
            except OSError as error:
                reason = error.strerror or reading.first_line(error)
                raise ReviewError(f"not written to {self.path} ({reason}); correct that and answer again") from error
            self._order = order + len(lines)
        return lines

    def undo(self, line: Line) -> Line:
        """Undo one press."""
        return self.write(_UNDO, (), line.id)


def _tuples(press: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(press.get(name, ())) for name in ("paths", "contents", "labels")}


def read(folder: Path) -> list[Line]:
    """Return the lines of all journals in a folder, oldest first; a torn last line of a killed App is left out.

    They are sorted by their order, not by the clock; lines of older versions, which have no order, by the clock between
    files and by their place within a file.

    Raises:
        ReviewError: a line before the last of a file is damaged.

    """
    lines: list[tuple[int, str, str, int, Line]] = []
    for path in sorted(folder.glob("*.jsonl")):
        with reading.refusing(path, _MEND, ReviewError):
            texts = reading.contents(path).split(b"\n")
        latest = ""
        for number, text in enumerate(texts[:-1], start=1):
            with reading.refusing(f"{path}, line {number}", _MEND, ReviewError):
                line = _line(reading.json_object(text))
            latest = max(latest, line.time)
            lines.append((line.order, latest, path.name, number, line))
    return [line for *_, line in sorted(lines, key=lambda each: each[:4])]


def _line(record: dict[str, Any]) -> Line:
    """Return a line whose fields are all valid: journals may have been edited by hand.

    Raises:
        ValueError: one is not.

    """
    lists = {name: record.get(name, []) for name in ("paths", "contents", "labels")}
    for name, texts in lists.items():
        if not (isinstance(texts, list) and all(isinstance(text, str) for text in texts)):
            raise ValueError(f"its {name} are no list of texts")
    if "paths" not in record:
        raise ValueError("it lacks the field 'paths'")
    line = reading.built(Line, {**record, **{name: tuple(texts) for name, texts in lists.items()}})
    for name, value in asdict(line).items():
        wanted = tuple if name in lists else int if name in ("order", "after") else str
        if not isinstance(value, wanted):
            raise ValueError(f"its {name} is {value!r}")
    if line.action not in (*ANSWERS, _UNDO):
        raise reading.NewerError(f"it has the answer {line.action!r}")
    if not _NAME.fullmatch(line.reviewer):
        raise ValueError(f"its reviewer {line.reviewer!r} is no name")
    if datetime.fromisoformat(line.time).tzinfo is None:
        raise ValueError(f"its time {line.time!r} has no zone")
    read_value = {"soften": shares_of, "not_same": others_of}.get(line.action)
    if read_value is not None:
        read_value(line.value)
    return line


def others_of(value: str) -> list[str]:
    """Return the contents whose person the images of a ``not_same`` line are not.

    Raises:
        ValueError: it is no JSON list of texts.

    """
    others = files.parsed(value)
    if not (isinstance(others, list) and all(isinstance(other, str) for other in others)):
        raise ValueError("its others are no list of contents")
    return others


def shares_of(value: str) -> dict[str, float]:
    """Return the shares of a soft label, class -> share.

    Raises:
        ValueError: it is no JSON object of at least one share above 0.

    """
    shares = reading.json_object(value)
    if not all(isinstance(share, int | float) and 0 <= share < float("inf") for share in shares.values()):
        raise ValueError("its soft label holds something other than shares")
    if not sum(shares.values()):
        raise ValueError("its soft label has no share above 0")
    return shares


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
    """Return (path, reviewer) -> that person's last answer on that image and its label.

    Blind labels and answers on who is in the images are not among them.
    """
    return _last(lines, lambda line: line.action != "label" and line.action not in IDENTITY)


def identity_answers(lines: Iterable[Line]) -> dict[tuple[str, str], ReviewAnswer]:
    """Return (path, reviewer) -> that person's last answer on who is in the image."""
    return _last(lines, lambda line: line.action in IDENTITY)


def identity_presses(lines: Iterable[Line]) -> list[list[ReviewAnswer]]:
    """Return the answers on who is in the images, one list per active press, which is about its images together."""
    lines = list(lines)
    place = {line.id: number for number, line in enumerate(lines)}
    return [_answers(line, place[line.id]) for line in active_presses(lines) if line.action in IDENTITY]


def last_answers(lines: Iterable[Line]) -> dict[tuple[str, str], ReviewAnswer]:
    """Return (path, reviewer) -> that person's last answer of any kind except blind labels."""
    return _last(lines, lambda line: line.action != "label")


def blind_labels(lines: Iterable[Line]) -> dict[tuple[str, str], ReviewAnswer]:
    """Return (path, reviewer) -> that person's last blind label of that image."""
    return _last(lines, lambda line: line.action == "label")


def _last(lines: Iterable[Line], wanted: Callable[[Line], bool]) -> dict[tuple[str, str], ReviewAnswer]:
    lines = list(lines)
    place = {line.id: number for number, line in enumerate(lines)}
    found: dict[tuple[str, str], ReviewAnswer] = {}
    for line in filter(wanted, active_presses(lines)):
        found |= {(answer.path, line.reviewer): answer for answer in _answers(line, place[line.id])}
    return found


def _answers(line: Line, place: int) -> list[ReviewAnswer]:
    about = (line.reviewer, line.action, line.value, line.time, line.queue, line.reason, line.issue, place, line.after)
    padded = zip_longest(line.paths, line.contents[: len(line.paths)], line.labels[: len(line.paths)], fillvalue="")
    return [ReviewAnswer(path, *about, content, label) for path, content, label in padded]
