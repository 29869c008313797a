"""Annotations made in Label Studio -> decisions in the log."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.base.errors import CurationError
from curation.base.progress import Display
from curation.base.settings import Settings
from curation.base.workspace import Workspace
from curation.decisions import log, manifest
from curation.decisions.replay import PERSON_PREFIX, effective
from curation.formats.labelstudio import EXCLUDE, LABEL, VERDICT
from curation.pipeline import steps


class AnnotationsError(CurationError):
    """A file of annotations cannot be read."""


@dataclass(frozen=True)
class LabelStudioAnnotation:
    """What one person said of one image: label ("" where none was chosen) and whether to leave it out."""

    path: str
    sha256: str
    person: str
    time: str
    label: str
    exclude: bool

    def decision(self, label_now: str) -> log.Draft | None:
        """Return the decision that follows, given the image's label now, or None where nothing was answered."""
        if self.exclude:
            return log.Draft(self.path, "exclude", reason="left out in Label Studio")
        if not self.label:
            return None
        if self.label == label_now:
            return log.Draft(self.path, "keep", reason="label confirmed in Label Studio")
        return log.Draft(self.path, "relabel", self.label, reason="relabelled in Label Studio")


@dataclass(frozen=True)
class Taken:
    """What came of a file: the version, how many decisions are new, and what was not taken and why."""

    version: str
    decided: int
    known: int
    unanswered: int
    unknown_paths: int
    disagreed: int

    def lines(self) -> list[str]:
        """Return it in sentences."""
        found = [f"{self.decided:,} decisions taken, version {self.version}."]
        for number, words in (
            (self.known, "say what was decided already"),
            (self.unanswered, "hold no answer"),
            (self.unknown_paths, "are about images that this data set does not have, or has no longer as they were"),
            (self.disagreed, "contradict those of another person on the same image; none of them was taken"),
        ):
            if number:
                found.append(f"{number:,} annotations {words}.")
        return found


def read(path: Path) -> list[LabelStudioAnnotation]:
    """Return the answers in a JSON export of Label Studio; of one person and image the last.

    Raises:
        AnnotationsError: the file is no such export.

    """
    try:
        tasks = json.loads(path.read_text(encoding="utf-8"))
        answers = [answer for task in tasks for answer in _answers(task)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AnnotationsError(
            f"{path} cannot be read as annotations ({type(error).__name__}: {error}); export the project as JSON"
        ) from error
    last: dict[tuple[str, str], LabelStudioAnnotation] = {}
    for answer in sorted(answers, key=lambda each: each.time):
        last[answer.path, answer.person] = answer
    return sorted(last.values(), key=lambda each: (each.path, each.person))


def _answers(task: Mapping[str, Any]) -> Iterator[LabelStudioAnnotation]:
    data = task["data"]
    for annotation in task["annotations"]:
        if annotation.get("was_cancelled"):
            continue
        chosen = {
            result["from_name"]: result["value"]["choices"]
            for result in annotation["result"]
            if result.get("type") == "choices"
        }
        label = next(iter(chosen.get(LABEL, [])), "")
        time = str(annotation.get("updated_at") or annotation.get("created_at") or "")
        person = _person(annotation.get("completed_by"))
        yield LabelStudioAnnotation(
            str(data["path"]), str(data["sha256"]), person, time, str(label), EXCLUDE in chosen.get(VERDICT, [])
        )


def _person(completed_by: Any) -> str:
    """Return who annotated: the name before the @ of an address, or Label Studio's number."""
    if isinstance(completed_by, Mapping):
        completed_by = completed_by.get("email") or completed_by.get("id")
    return str(completed_by).partition("@")[0] if completed_by is not None else "labelstudio"


def take(workspace: Workspace, answers: Sequence[LabelStudioAnnotation], settings: Settings, display: Display) -> Taken:
    """Log what people answered as their decisions, and commit; the caller holds the lock.

    Where people contradict each other on an image, nothing is taken; taking a file twice changes nothing.
    """
    entries = log.read(workspace.decisions)
    manifest.require_whole_log(workspace, entries)
    rows = manifest.rows(workspace, manifest.find(workspace, "cleaned"))
    # of the whole version: an image that the policy left out since may be annotated all the same
    labels = {(row.path, row.sha256): row.label for row in rows.itertuples(index=False)}
    now = {entry.path: entry for entry in effective(entries) if entry.actor.startswith(PERSON_PREFIX)}
    counts = dict.fromkeys(("known", "unanswered", "unknown_paths", "disagreed"), 0)
    wanted: dict[str, list[tuple[str, log.Draft]]] = {}
    for answer in answers:
        draft = answer.decision(labels.get((answer.path, answer.sha256), ""))
        if (answer.path, answer.sha256) not in labels:
            counts["unknown_paths"] += 1
        elif draft is None:
            counts["unanswered"] += 1
        else:
            wanted.setdefault(answer.path, []).append((answer.person, draft))
    label_of = dict(zip(rows["path"], rows["label"], strict=True))
    new: dict[str, list[log.Draft]] = {}
    for path, said in wanted.items():
        if len({(draft.action, draft.value) for _, draft in said}) > 1:
            counts["disagreed"] += len(said)
        elif _same(now.get(path), said[0][1], label_of[path]):
            counts["known"] += len(said)
        else:
            for person, draft in said:
                new.setdefault(person, []).append(draft)
    for person, drafts in sorted(new.items()):
        log.append(workspace.decisions, PERSON_PREFIX + person, drafts)
    version = steps.apply(workspace, settings, display) if new else manifest.find(workspace, "cleaned")
    return Taken(version.name, sum(map(len, new.values())), **counts)


def _same(before: log.Entry | None, draft: log.Draft, label_now: str) -> bool:
    """Return whether a person decided this before: a label that was given and is confirmed says nothing new."""
    if before is None:
        return False
    if draft.action == "keep":
        return before.action == "keep" or (before.action == "relabel" and before.value == label_now)
    return (before.action, before.value) == (draft.action, draft.value)
