"""Annotations made in Label Studio -> decisions in the log."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from curation.base import reading
from curation.base.errors import CurationError
from curation.base.progress import Display
from curation.base.settings import Settings
from curation.base.workspace import Workspace, read_images
from curation.decisions import log, manifest, replay
from curation.formats.labelstudio import EXCLUDE, LABEL, VERDICT
from curation.pipeline import decisions


class AnnotationsError(CurationError):
    """A file of annotations cannot be read."""


@dataclass(frozen=True)
class LabelStudioAnnotation:
    """One person's answer on one image: the chosen labels (several: between these classes), or to exclude it."""

    path: str
    sha256: str
    person: str
    time: str
    labels: tuple[str, ...]
    exclude: bool

    def decision(self, path: str, given: str) -> log.Draft | None:
        """Return the decision on the image at ``path``, which came with the label ``given``; None where none was made.

        A label is confirmed if it is the imported one: ``keep`` means "as imported".
        """
        about = {"time": "", "content": self.sha256, "label": given}
        if self.exclude:
            return log.Draft(path, "exclude", reason="excluded in Label Studio", **about)
        if not self.labels:
            return None
        if len(self.labels) > 1:
            shares = {"soft_label": dict.fromkeys(self.labels, 1 / len(self.labels))}
            value = json.dumps(shares, sort_keys=True, ensure_ascii=False)
            return log.Draft(path, "soften", value, reason="several labels chosen in Label Studio", **about)
        if self.labels[0] == given:
            return log.Draft(path, "keep", reason="label confirmed in Label Studio", **about)
        return log.Draft(path, "relabel", self.labels[0], reason="relabelled in Label Studio", **about)


@dataclass(frozen=True)
class Taken:
    """Result of importing a file: the version, the number of new decisions, and what was not imported and why."""

    version: str
    decided: int
    known: int
    unanswered: int
    unknown_paths: int
    disagreed: int
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return the result in sentences."""
        found = [f"{self.decided:,} decisions imported, version {self.version}."]
        for number, words in (
            (self.known, "repeat decisions made already"),
            (self.unanswered, "contain no answer"),
            (self.unknown_paths, "are about pictures that this data set does not have"),
            (self.disagreed, "contradict those of another person on the same image; none of them was imported"),
        ):
            if number:
                found.append(f"{number:,} annotations {words}.")
        return [*found, *self.notes]


def read(path: Path) -> list[LabelStudioAnnotation]:
    """Return the answers in a JSON export of Label Studio; of one person and image the last.

    Raises:
        AnnotationsError: the file is no such export.

    """
    with reading.refusing(path, "export the project from Label Studio as JSON", AnnotationsError):
        tasks = reading.json_value(reading.contents(path))
        if not isinstance(tasks, list) or not all({"data", "annotations"} <= set(task) for task in tasks):
            raise ValueError("it holds no list of tasks with their annotations")
        answers = [answer for task in tasks for answer in _answers(task)]
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
        labels = tuple(sorted(set(map(str, chosen.get(LABEL, [])))))
        time = str(annotation.get("updated_at") or annotation.get("created_at") or "")
        person = _person(annotation.get("completed_by"))
        yield LabelStudioAnnotation(
            str(data["path"]), str(data["sha256"]), person, time, labels, EXCLUDE in chosen.get(VERDICT, [])
        )


def _person(completed_by: Any) -> str:
    """Return who annotated: the name before the @ of an address, or Label Studio's number."""
    if isinstance(completed_by, Mapping):
        completed_by = completed_by.get("email") or completed_by.get("id")
    return str(completed_by).partition("@")[0] if completed_by is not None else "labelstudio"


def take(
    workspace: Workspace,
    answers: Sequence[LabelStudioAnnotation],
    settings: Settings,
    display: Display,
    *,
    new_class: bool = False,
) -> Taken:
    """Log people's answers as their decisions, and commit; the caller holds the lock.

    An answer is about a picture, whatever its file is called now. Where people contradict each other on an image,
    nothing is imported; importing a file twice changes nothing. Classes that no image has need ``new_class``.
    """
    opened = log.Log(workspace.decisions)
    images = read_images(workspace)
    raw = manifest.raw_manifest(images)
    # of the whole data: an image that the policy has excluded since may still be annotated
    given = dict(zip(images["path"], images["label"], strict=True))
    now = replay.people_rows(manifest.followed(workspace, opened.table, raw).table)
    last = {entry.path: (entry.action, entry.value) for entry in log.entries_of(now)}
    places = _places(images)
    counts = dict.fromkeys(("known", "unanswered", "unknown_paths", "disagreed"), 0)
    wanted: dict[str, list[tuple[str, log.Draft]]] = {}
    for answer in answers:
        path = places.get((answer.path, answer.sha256)) or places.get(("", answer.sha256))
        draft = answer.decision(path, given[path]) if path else None
        if path is None:
            counts["unknown_paths"] += 1
        elif draft is None:
            counts["unanswered"] += 1
        else:
            wanted.setdefault(path, []).append((answer.person, draft))
    new: dict[str, list[log.Draft]] = {}
    for path, said in wanted.items():
        if len({(draft.action, draft.value) for _, draft in said}) > 1:
            counts["disagreed"] += len(said)
        elif last.get(path) == (said[0][1].action, said[0][1].value):
            counts["known"] += len(said)
        else:
            for person, draft in said:
                new.setdefault(person, []).append(draft)
    classes = set() if new_class else decisions.known_classes(images, opened.table)
    new, notes = decisions.without_new_classes(new, classes)
    version = manifest.find(workspace, "cleaned")
    if new:
        recorded = decisions.record(workspace, new, settings, display, new_class=new_class)
        version, notes = recorded.version, [*notes, *recorded.notes]
    return Taken(version.name, sum(map(len, new.values())), **counts, notes=tuple(notes))


def _places(images: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Return (path, content) -> path; and ("", content) -> path, where the content is that of one file only."""
    found = {(path, content): path for path, content in zip(images["path"], images["sha256"], strict=True)}
    alone = images[~images["sha256"].duplicated(keep=False) & (images["sha256"] != "")]
    return found | {("", content): path for path, content in zip(alone["path"], alone["sha256"], strict=True)}
