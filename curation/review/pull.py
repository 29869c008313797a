"""Pull: what people answered becomes logged decisions, votes and, where they disagree, rows that wait for a word.

The log is the truth and is compared with the journals each time, so a pull can be repeated: an entry with the moment,
person and image of an answer is that answer. Nothing of the App's database is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from curation.base import files
from curation.base.progress import Display
from curation.base.settings import Settings
from curation.base.workspace import Workspace
from curation.decisions import log, manifest
from curation.decisions.replay import PERSON_PREFIX
from curation.pipeline import label_judgement, steps
from curation.review import journal, queues
from curation.review.journal import DECISIONS, Line, ReviewAnswer
from curation.review.push import answers_frame

CONFLICTS = "conflicts.parquet"

_Mark = tuple[str, str, str]
"""(time, actor, path): what tells an entry of the log that came from a journal."""


@dataclass(frozen=True)
class Plan:
    """What the journals ask of the log: drafts by person, entries to take back by person, and what contradicts."""

    drafts: dict[str, list[log.Draft]]
    undo: dict[str, list[int]]
    conflicts: pd.DataFrame


@dataclass(frozen=True)
class Pulled:
    """What a pull did."""

    version: manifest.Version | None
    decided: int
    undone: int
    conflicts: int
    unsure: int
    blind_labels: int

    def lines(self) -> list[str]:
        """Return it in sentences."""
        lines = [f"{self.decided:,} decisions pulled, {self.undone:,} taken back."]
        if self.version is not None:
            lines.append(f"Version {self.version.name} ({self.version.hash[:12]}) has them.")
        if self.conflicts:
            lines.append(
                f"{self.conflicts:,} images on which people disagree wait: curate review conflicts; settle them with "
                "curate decide, or by answering them again."
            )
        if self.unsure:
            lines.append(f"{self.unsure:,} images are left as unsure: curate review --queue unsure.")
        if self.blind_labels:
            lines.append(f"{self.blind_labels:,} blind labels: curate votes.")
        return lines


def plan(lines: Sequence[Line], entries: Sequence[log.Entry], known: Iterable[str]) -> Plan:
    """Return what to add to the log so that it says what the journals say.

    A person's last answer on an image counts. An answer that was pulled before is not pulled again, also where its
    decision was undone in the log since. A pulled answer that was taken back in the App is undone. Where people's last
    answers differ, none of them that is new is pulled, and each is a row. A decision that a person logged later than an
    answer, by any way, settles it.

    Args:
        lines: of all journals.
        entries: of the log.
        known: paths of the data set; answers on others are left out.

    """
    paths = set(known)
    gone = log.undone(entries)
    logged = {_mark_of(entry): entry for entry in entries if entry.actor.startswith(PERSON_PREFIX) and entry.path}
    last_word = _last_words(entries, gone)
    answers = [a for a in journal.latest_answers(lines).values() if a.action in DECISIONS and a.path in paths]
    unsettled = [a for a in answers if _moment(a.time) >= last_word.get(a.path, _moment(a.time))]
    conflicts = queues.disagreements(answers_frame(unsettled))
    disputed = set(conflicts["path"])
    drafts: dict[str, list[log.Draft]] = {}
    for answer in sorted(unsettled, key=lambda a: (a.time, a.path)):
        if answer.path not in disputed and _mark(answer) not in logged:
            drafts.setdefault(answer.reviewer, []).append(_draft(answer))
    return Plan(drafts, _taken_back(lines, logged, gone), conflicts)


def _mark(answer: ReviewAnswer) -> _Mark:
    return answer.time, PERSON_PREFIX + answer.reviewer, answer.path


def _mark_of(entry: log.Entry) -> _Mark:
    return entry.time, entry.actor, entry.path


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _last_words(entries: Sequence[log.Entry], gone: set[int]) -> dict[str, datetime]:
    """Return path -> when a person's decision that stands was made last."""
    found: dict[str, datetime] = {}
    for entry in entries:
        if entry.actor.startswith(PERSON_PREFIX) and entry.path and entry.seq not in gone:
            found[entry.path] = max(_moment(entry.time), found.get(entry.path, _moment(entry.time)))
    return found


def _draft(answer: ReviewAnswer) -> log.Draft:
    value = answer.value
    if answer.action == "soften":
        value = json.dumps({"soft_label": json.loads(value)}, sort_keys=True, ensure_ascii=False)
    reason = answer.reason or f"seen in the App, {answer.queue}"
    return log.Draft(answer.path, answer.action, value, reason, answer.issue, time=answer.time)


def _taken_back(lines: Sequence[Line], logged: Mapping[_Mark, log.Entry], gone: set[int]) -> dict[str, list[int]]:
    """Return reviewer -> numbers of the entries whose press was taken back in the App and that still stand."""
    found: dict[str, list[int]] = {}
    for line in journal.taken_back(lines):
        for path in line.paths:
            entry = logged.get((line.time, PERSON_PREFIX + line.reviewer, path))
            if entry is not None and entry.seq not in gone:
                found.setdefault(line.reviewer, []).append(entry.seq)
    return found


def pull(workspace: Workspace, settings: Settings, display: Display) -> Pulled:
    """Bring the journals into the log and commit the version that follows; the caller holds the lock."""
    lines = journal.read(workspace.review / "journal")
    entries = log.read(workspace.decisions)
    manifest.require_whole_log(workspace, entries)
    known = files.read_table(workspace.images)["path"]
    found = plan(lines, entries, known)
    for reviewer, numbers in sorted(found.undo.items()):
        draft = log.Draft("", "undo", value=json.dumps(sorted(numbers)), reason="taken back in the App")
        log.append(workspace.decisions, PERSON_PREFIX + reviewer, [draft])
    for reviewer, drafts in sorted(found.drafts.items()):
        log.append(workspace.decisions, PERSON_PREFIX + reviewer, drafts)
    decided = sum(map(len, found.drafts.values()))
    undone = sum(map(len, found.undo.values()))
    _write(workspace, CONFLICTS, found.conflicts)
    labels = _blind_labels(lines, known)
    if len(labels):
        files.write_table(workspace.blind_labels, labels)
    # also where the log had them already: a pull that was killed before its version is finished here
    behind = bool(lines) and manifest.find(workspace, "cleaned").log_through < log.read(workspace.decisions)[-1].seq
    teaches = bool(len(labels)) and label_judgement.is_judged(workspace)
    version = steps.judge_again(workspace, settings, display) if decided or undone or behind or teaches else None
    unsure = sum(answer.action == "unsure" for answer in journal.latest_answers(lines).values())
    return Pulled(version, decided, undone, found.conflicts["path"].nunique(), unsure, len(labels))


def _write(workspace: Workspace, name: str, table: pd.DataFrame) -> None:
    workspace.review.mkdir(parents=True, exist_ok=True)
    files.write_table(workspace.review / name, table)


def _blind_labels(lines: Sequence[Line], known: Iterable[str]) -> pd.DataFrame:
    """Return people's last blind labels: path, label, person, time."""
    paths = set(known)
    rows = [
        (answer.path, answer.value, answer.reviewer, answer.time)
        for answer in journal.blind_labels(lines).values()
        if answer.path in paths
    ]
    return pd.DataFrame(sorted(rows), columns=["path", "label", "person", "time"])


def conflicts(workspace: Workspace) -> pd.DataFrame:
    """Return the images on which people disagree, as of the last pull, one row an answer."""
    file = workspace.review / CONFLICTS
    if not file.exists():
        return answers_frame([])
    return files.read_table(file)
