"""One reviewer's session: the queue, the keys and the answers. Independent of FiftyOne.

The session file is written by the command and read by the App's server, which is another process.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from curation.base import files, reading
from curation.base.workspace import Workspace, read_images
from curation.review import journal
from curation.review.journal import Journal, ReviewAnswer, ReviewError
from curation.review.learning import Learning, ranking_of

BLIND_OTHER = {"unsure": "unknown", "exclude": "unusable"}
"""How a blind "unsure" and "exclude" count as votes."""

_CLASS_KEYS = "1234567890bcfghijlrtwxy"
"""Keys of the classes in alphabetical order: digits first, then letters that no command uses."""

PAGE = 24
"""Images of the queue shown at once in the grid: they fit a laptop's screen."""

WALK = 400
"""Images or groups of the queue that are sent to the opened view at once."""


@dataclass(frozen=True)
class Key:
    """One key: the key, the operator that it runs, its parameters, and its description in the App."""

    key: str
    operator: str
    words: str
    params: Mapping[str, str] = field(default_factory=dict)


def keys_of(classes: Sequence[str], *, blind: bool, people: bool = False) -> list[Key]:
    """Return the keys of a session; classes get keys in alphabetical order, as far as there are keys."""
    of_people = [Key("p", "same", "same person"), Key("o", "not_same", "not the same person")] if people else []
    of_classes = [Key(key, "relabel", name, {"label": name}) for key, name in zip(_CLASS_KEYS, classes, strict=False)]
    common = [Key("u", "unsure", "unsure"), Key("n", "next", "next in queue"), Key("z", "undo", "undo")]
    if blind:
        return [*of_classes, Key("e", "exclude", "not usable"), *common]
    return [
        *of_classes,
        Key("a", "accept", "accept the suggestion"),
        Key("k", "keep", "keep as imported"),
        Key("e", "exclude", "exclude"),
        Key("s", "soften", "between two classes"),
        *of_people,
        *common,
        Key("q", "queue", "queue what is shown"),
        Key("m", "map", "map"),
        Key("d", "difference", "difference on or off"),
        Key("v", "view", "FiftyOne's own view"),
    ]


@dataclass(frozen=True)
class Session:
    """One ``curate review``.

    items are (path, group) in the order of the queue. names maps the App's name of an image to its path where the App
    must not know the path (blind); empty otherwise. people says whether people are known; learns, whether answers
    change the order of the open images.
    """

    workspace: str
    reviewer: str
    dataset: str
    queue: str
    classes: tuple[str, ...]
    items: tuple[tuple[str, str], ...]
    blind: bool = False
    names: Mapping[str, str] = field(default_factory=dict)
    people: bool = False
    learns: bool = False

    def save(self, file: Path) -> None:
        """Write the session file."""
        files.write_json(file, asdict(self))


def load_session(file: Path) -> Session:
    """Read a session file."""
    to_do = "open the App with: curate review"
    with reading.refusing(file, to_do, ReviewError):
        record = reading.json_object(reading.contents(file))
        record["classes"] = tuple(record["classes"])
        record["items"] = tuple((path, group) for path, group in record["items"])
        return reading.built(Session, record)


@dataclass(frozen=True)
class Image:
    """What the App knows about an image when a key is pressed on it."""

    name: str
    label: str = ""
    original_label: str = ""
    status: str = "kept"
    suggestion: str = ""


@dataclass(frozen=True)
class Progress:
    """One reviewer's progress in the queue, and the agreement on images that several people answered."""

    total: int
    left: int
    kept_label: int
    answered: int
    shared: int
    agreed: int


class ReviewSession:
    """Takes the answers of one reviewer in one session."""

    def __init__(self, session: Session) -> None:
        self.session = session
        workspace = Workspace(Path(session.workspace))
        self.folder = workspace.review / "journal"
        self.journal = Journal(self.folder, session.reviewer, workspace.decisions)
        self.learning = Learning(workspace)
        self._path_of = dict(session.names)
        self._name_of = {path: name for name, path in self._path_of.items()}

    def path(self, name: str) -> str:
        """Return the path of the image that the App calls ``name``."""
        return self._path_of.get(name, name)

    def name(self, path: str) -> str:
        """Return the App's name of an image."""
        return self._name_of.get(path, path)

    def lines(self) -> list[journal.Line]:
        """Return every line of every journal: other reviewers may be working too."""
        return journal.read(self.folder)

    def answers(self) -> dict[tuple[str, str], ReviewAnswer]:
        """Return (path, reviewer) -> answer: blind labels in a blind session, else all others."""
        read = journal.blind_labels if self.session.blind else journal.last_answers
        return read(self.lines())

    def answer(self, action: str, images: Sequence[Image], value: str = "", reason: str = "") -> None:
        """Write one press to the journal.

        Raises:
            ReviewError: there is no image, a class is unknown, or the press cannot be written.

        """
        if not images:
            raise ReviewError("select images first, or open one")
        if action == "accept":
            images = [image for image in images if image.suggestion]
            if not images:
                raise ReviewError("there is no suggestion for the chosen images")
        if action == "relabel" and value not in self.session.classes:
            raise ReviewError(f"no class {value!r}; there are: {', '.join(self.session.classes)}")
        if action == "soften":
            value = self._softened(value)
        if action in journal.IDENTITY:
            value = self._others(action, images, value)
        presses = []
        for (said, about), mine in self._sorted_out(action, value, images).items():
            paths = [self.path(image.name) for image in mine]
            known = [self._about.get(path, ("", "")) for path in paths]
            press = {"action": said, "paths": paths, "value": about, "queue": self.session.queue, "reason": reason}
            press |= {"contents": [content for content, _ in known], "labels": [label for _, label in known]}
            presses.append(press)
        self.journal.write_all(presses)

    @cached_property
    def _about(self) -> dict[str, tuple[str, str]]:
        """Path -> content and given label at the start of the session: what a person's answer is about."""
        workspace = Workspace(Path(self.session.workspace))
        if not workspace.images.exists():
            return {}
        images = read_images(workspace)
        return dict(zip(images["path"], zip(images["sha256"], images["label"], strict=True), strict=True))

    def _sorted_out(self, action: str, value: str, images: Sequence[Image]) -> dict[tuple[str, str], list[Image]]:
        """Return (action, value) -> images: a blind answer is a label; relabelling with the current label is keeping.

        Only if the image was imported with that label and is kept, because ``keep`` also undoes earlier changes.
        """
        if self.session.blind:
            return {("label", BLIND_OTHER.get(action, value)): list(images)}
        result: dict[tuple[str, str], list[Image]] = {}
        for image in images:
            said = ("relabel", image.suggestion) if action == "accept" else (action, value)
            as_it_is = image.label == image.original_label and image.status == "kept"
            result.setdefault(("keep", "") if said == ("relabel", image.label) and as_it_is else said, []).append(image)
        return result

    def _others(self, action: str, images: Sequence[Image], value: str) -> str:
        """Return, for ``not_same``, the contents of the images named in ``value``; "" for ``same``."""
        names = journal.others_of(value) if action == "not_same" else []
        if self.session.blind or len(images) + len(names) < 2:
            raise ReviewError("choose at least two pictures: the question is whether they show one person")
        contents = {self._about.get(self.path(name), ("", ""))[0] for name in names} - {""}
        return json.dumps(sorted(contents)) if action == "not_same" else ""

    def _softened(self, value: str) -> str:
        shares = journal.shares_of(value)
        unknown = [name for name in shares if name not in self.session.classes]
        if unknown or len(shares) < 2:
            raise ReviewError("soften takes two different classes")
        total = sum(shares.values())
        return json.dumps({name: share / total for name, share in sorted(shares.items())}, ensure_ascii=False)

    def undo(self) -> list[str]:
        """Undo this reviewer's last press and return the names of its images; [] if there is none."""
        mine = [line for line in journal.active_presses(self.lines()) if line.reviewer == self.session.reviewer]
        mine = [line for line in mine if (line.action == "label") == self.session.blind]
        if not mine:
            return []
        self.journal.undo(mine[-1])
        return [self.name(path) for path in mine[-1].paths]

    def open_items(self) -> list[tuple[str, str]]:
        """Return (path, group) of the queue's images that this reviewer has not answered, in order."""
        answers = self.answers()
        items = self.learning.ordered(self.session.items, answers) if self.session.learns else self.session.items
        return [item for item in items if (item[0], self.session.reviewer) not in answers]

    @property
    def ranking(self) -> int:
        """Number of the queue's current ranking: it changes when answers have changed the order."""
        return ranking_of(self.answers()) if self.session.learns else 0

    def upcoming(self, limit: int) -> list[list[str]]:
        """Return the names of the next open images, one list per group, at most ``limit`` lists."""
        found: dict[str, list[str]] = {}
        for path, group in self.open_items():
            if (group or path) not in found and len(found) == limit:
                break
            found.setdefault(group or path, []).append(self.name(path))
        return list(found.values())

    def requeue(self, names: Sequence[str], title: str) -> None:
        """Replace the queue by other images, in their order; answers are kept."""
        items = tuple((self.path(name), "") for name in names)
        self.session = replace(self.session, items=items, queue=title)

    def progress(self) -> Progress:
        """Return this reviewer's progress."""
        answers = self.answers()
        me = self.session.reviewer
        mine = {path: answer for (path, who), answer in answers.items() if who == me}
        shared = agreed = 0
        for (path, who), answer in answers.items():
            if who != me and path in mine and "unsure" not in (answer.action, mine[path].action):
                shared += 1
                agreed += answer.says == mine[path].says
        return Progress(
            total=len(self.session.items),
            left=sum(path not in mine for path, _ in self.session.items),
            kept_label=sum(answer.action == "keep" for answer in mine.values()),
            answered=len(mine),
            shared=shared,
            agreed=agreed,
        )


def record(keys: Sequence[Key]) -> list[dict[str, Any]]:
    """Return keys in the format of the App's JavaScript."""
    return [asdict(key) for key in keys]
