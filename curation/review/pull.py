"""Pull: people's answers become logged decisions, votes and, where people disagree, rows that wait to be settled.

The log is the truth and is compared with the journals each time, so a pull can be repeated: an entry with the time,
person and image of an answer is that answer. Nothing of the App's database is read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pandas as pd

from curation.base import files
from curation.base.progress import Display
from curation.base.settings import Settings
from curation.base.workspace import Workspace, read_images
from curation.decisions import log, manifest
from curation.decisions.replay import PERSON_PREFIX
from curation.pipeline import decisions, label_store, subjects
from curation.review import journal, queues
from curation.review.journal import DECISIONS, IDENTITY, Line, ReviewAnswer, ReviewError
from curation.review.push import answers_frame

CONFLICTS = "conflicts.parquet"

_Mark = tuple[str, str, str]
"""(time, actor, path or content): what tells an entry of the log that came from a journal."""


@dataclass(frozen=True)
class Plan:
    """What the log needs from the journals: drafts and entries to undo, by person, and contradictions."""

    drafts: dict[str, list[log.Draft]]
    undo: dict[str, list[int]]
    conflicts: pd.DataFrame
    people: list[list[ReviewAnswer]] = field(default_factory=list)
    """Answers on who is in the images, those of one press together."""


@dataclass(frozen=True)
class Pulled:
    """What a pull did."""

    version: manifest.Version | None
    decided: int
    undone: int
    conflicts: int
    unsure: int
    blind_labels: int
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return the result in sentences."""
        lines = [f"{self.decided:,} decisions pulled, {self.undone:,} undone."]
        if self.version is not None:
            lines.append(f"Version {self.version.name} ({self.version.hash[:12]}) contains them.")
        if self.conflicts:
            lines.append(
                f"{self.conflicts:,} images on which people disagree wait: curate review conflicts; settle them with "
                "curate decide, or by answering them again."
            )
        if self.unsure:
            lines.append(f"{self.unsure:,} images are marked as unsure: curate review --queue unsure.")
        if self.blind_labels:
            lines.append(f"{self.blind_labels:,} blind labels: curate votes.")
        return [*lines, *self.notes]


def plan(lines: Sequence[Line], entries: Sequence[log.Entry], known: Iterable[str]) -> Plan:
    """Return what to add to the log so that it agrees with the journals.

    A person's last answer on an image counts. An answer that was pulled before is not pulled again, even if its
    decision has been undone in the log since. A pulled answer that was undone in the App is undone. Where people's last
    answers differ, no new one is pulled, and each is a row. A decision that a person logged after an answer, in any
    way, settles it.

    Args:
        lines: of all journals, oldest first.
        entries: of the log.
        known: paths of the data set, and contents; answers on others are left out.

    """
    there = set(known)
    gone = log.undone(entries)
    logged: dict[_Mark, log.Entry] = {}
    for entry in entries:
        if entry.actor.startswith(PERSON_PREFIX) and (entry.path or entry.action == "not_same"):
            names = (entry.path, entry.content) if entry.path else (entry.action,)
            logged |= {(entry.time, entry.actor, name): entry for name in names if name}
    answers = [
        answer
        for answer in (*journal.latest_answers(lines).values(), *journal.identity_answers(lines).values())
        if answer.action in (DECISIONS | IDENTITY) and (answer.content or answer.path) in there
    ]
    settled = _settled(lines, entries, gone)
    unsettled = [answer for answer in answers if not settled(answer)]
    conflicts = queues.disagreements(answers_frame(unsettled))
    disputed = set(zip(conflicts["path"], conflicts["action"].isin(list(IDENTITY)), strict=True))
    drafts: dict[str, list[log.Draft]] = {}

    def is_new(answer: ReviewAnswer) -> bool:
        about = (answer.path, answer.action in IDENTITY)
        return about not in disputed and not any(mark in logged for mark in _marks(answer))

    for answer in sorted(unsettled, key=lambda a: (a.place, a.path)):
        if answer.action not in IDENTITY and is_new(answer):
            drafts.setdefault(answer.reviewer, []).append(_draft(answer))
    presses = [
        [a for a in press if (a.content or a.path) in there and is_new(a) and not settled(a)]
        for press in journal.identity_presses(lines)
    ]
    return Plan(drafts, _taken_back(lines, logged, gone), conflicts, [press for press in presses if press])


def _marks(answer: ReviewAnswer) -> list[_Mark]:
    actor = PERSON_PREFIX + answer.reviewer
    return [(answer.time, actor, name) for name in (answer.path, answer.content, answer.action) if name]


def _settled(lines: Sequence[Line], entries: Sequence[log.Entry], gone: set[int]) -> Callable[[ReviewAnswer], bool]:
    """Return a function that tells whether a person decided on an answer's picture after the answer.

    A decision from a journal has the place of its press there. Others are compared with the last decision that an
    answer records as preceding it; for answers of older versions, by the clock.
    """
    pressed = {(line.time, PERSON_PREFIX + line.reviewer): place for place, line in enumerate(lines)}
    people = [e for e in entries if e.actor.startswith(PERSON_PREFIX) and e.path and e.seq not in gone]
    by_image: dict[tuple[str, bool], list[log.Entry]] = {}
    for entry in people:
        for name in {entry.path, entry.content} - {""}:
            by_image.setdefault((name, entry.action == "subject"), []).append(entry)

    def later(entry: log.Entry, answer: ReviewAnswer) -> bool:
        place = pressed.get((entry.time, entry.actor))
        if place is not None:
            return place > answer.place
        if answer.after >= 0:
            return entry.seq > answer.after
        return datetime.fromisoformat(entry.time) > datetime.fromisoformat(answer.time)

    def settled(answer: ReviewAnswer) -> bool:
        about = (answer.content or answer.path, answer.action in IDENTITY)
        return any(later(entry, answer) for entry in by_image.get(about, []))

    return settled


def _draft(answer: ReviewAnswer) -> log.Draft:
    value = answer.value
    if answer.action == "soften":
        try:
            shares = {str(name): float(share) for name, share in dict(files.parsed(value)).items()}
        except (ValueError, TypeError) as error:
            raise ReviewError(
                f"{answer.reviewer}'s answer on {answer.path} softens by {value!r}, no JSON object of shares: "
                "correct it in review/journal"
            ) from error
        value = json.dumps({"soft_label": shares}, sort_keys=True, ensure_ascii=False)
    reason = answer.reason or f"seen in the App, {answer.queue}"
    return log.Draft(answer.path, answer.action, value, reason, answer.issue, answer.time, answer.content, answer.label)


def _taken_back(lines: Sequence[Line], logged: Mapping[_Mark, log.Entry], gone: set[int]) -> dict[str, list[int]]:
    """Return reviewer -> numbers of the entries still in force whose press was undone in the App."""
    found: dict[str, set[int]] = {}
    for line in journal.taken_back(lines):
        for name in (*line.paths, *line.contents, line.action):
            entry = logged.get((line.time, PERSON_PREFIX + line.reviewer, name))
            if entry is not None and entry.seq not in gone:
                found.setdefault(line.reviewer, set()).add(entry.seq)
    return {reviewer: sorted(numbers) for reviewer, numbers in found.items()}


def _on_people(names: pd.Series, images: pd.DataFrame, answers: Sequence[ReviewAnswer]) -> list[log.Draft]:
    """Return the decisions of one press on who is in the images; none where too few of them are left."""
    content_of = dict(zip(images["path"], images["sha256"], strict=True))
    path_of = dict(zip(images["sha256"], images["path"], strict=True))

    def now(answer: ReviewAnswer) -> str:
        as_it_was = not answer.content or content_of.get(answer.path) == answer.content
        return answer.path if as_it_was else path_of[answer.content]

    first = answers[0]
    reason = first.reason or f"seen in the App, {first.queue}"
    told = log.Draft("", "", reason=reason, issue=first.issue, time=first.time)
    paths = sorted({now(answer) for answer in answers})
    others = journal.others_of(first.value) if first.action == "not_same" else []
    there = sorted({path_of[content] for content in others if content in path_of} - set(paths))
    if len(paths) + len(there) < 2 or (others and not there):
        return []
    if first.action == "same":
        return subjects.same(names, images, paths, told)
    return subjects.not_same(names, images, paths, there, told)


def pull(workspace: Workspace, settings: Settings, display: Display, *, new_class: bool = False) -> Pulled:
    """Import the journals into the log and commit the resulting version; the caller holds the lock.

    Answers that name a class which no image has wait for a pull with ``new_class``.
    """
    lines = journal.read(workspace.review / "journal")
    opened = log.Log(workspace.decisions)
    images = read_images(workspace)
    found = plan(lines, log.entries_of(opened.table), [*images["path"], *images["sha256"]])
    classes = decisions.known_classes(images, opened.table)
    drafts, unknown = decisions.without_new_classes(found.drafts, set() if new_class else classes)
    by_person = {
        reviewer: [log.Draft("", "undo", value=json.dumps(sorted(numbers)), reason="undone in the App")]
        for reviewer, numbers in found.undo.items()
    }
    names = subjects.given_names(workspace, images)
    for press in found.people:
        said = _on_people(names, images, press)
        drafts.setdefault(press[0].reviewer, []).extend(said)
        names.update(pd.Series({draft.path: draft.value for draft in said if draft.path}, dtype="str"))
    for reviewer, new in drafts.items():
        by_person[reviewer] = [*by_person.get(reviewer, []), *new]
    workspace.review.mkdir(parents=True, exist_ok=True)
    files.write_table(workspace.review / CONFLICTS, found.conflicts)
    labels = _blind_labels(lines, images["path"])
    if len(labels):
        files.write_table(workspace.blind_labels, labels)
    # even if the log has them already: this completes a pull that was killed before its version was committed
    behind = bool(lines) and manifest.find(workspace, "cleaned").log_through < opened.through
    version, notes = None, [*unknown]
    # blind labels teach the judge even though they decide nothing
    teaches = bool(len(labels)) and label_store.is_judged(workspace)
    if by_person or behind or teaches:
        recorded = decisions.record(workspace, by_person, settings, display, new_class=new_class)
        version, notes = recorded.version, [*unknown, *recorded.notes]
    unsure = sum(answer.action == "unsure" for answer in journal.latest_answers(lines).values())
    return Pulled(
        version,
        sum(map(len, drafts.values())),
        sum(map(len, found.undo.values())),
        found.conflicts["path"].nunique(),
        unsure,
        len(labels),
        tuple(notes),
    )


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
    """Return the images on which people disagree, as of the last pull, one row per answer."""
    file = workspace.review / CONFLICTS
    if not file.exists():
        return answers_frame([])
    return files.read_table(file)
