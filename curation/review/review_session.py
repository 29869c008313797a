"""A reviewer's desk: what lies in the queue, what a key means, what was answered. Knows nothing of FiftyOne.

The session file is written by the command and read by the App's server, which is another process.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from curation.base import files
from curation.base.workspace import Workspace
from curation.review import journal
from curation.review.journal import Journal, ReviewAnswer, ReviewError
from curation.review.learning import Learning

BLIND_OTHER = {"unsure": "unknown", "exclude": "unusable"}
"""What a blind "unsure" and "exclude" count as among the votes."""

_MOST_DIGITS = 9

PAGE = 24
"""Images of the queue put up at once in the grid: they fit a laptop's screen."""


@dataclass(frozen=True)
class Key:
    """One key: what is pressed, which operator it runs with which parameters, and what the App says it does."""

    key: str
    operator: str
    words: str
    params: Mapping[str, str] = field(default_factory=dict)


def keys_of(classes: Sequence[str], *, blind: bool) -> list[Key]:
    """Return the keys of a session; the digits are the classes in alphabetical order, as far as there are digits."""
    digits = [
        Key(str(place), "relabel", name, {"label": name}) for place, name in enumerate(classes[:_MOST_DIGITS], start=1)
    ]
    common = [Key("u", "unsure", "unsure"), Key("n", "next", "next in queue"), Key("z", "undo", "undo")]
    if blind:
        return [*digits, Key("e", "exclude", "not usable"), *common]
    return [
        *digits,
        Key("k", "keep", "keep as it came"),
        Key("e", "exclude", "exclude"),
        Key("s", "soften", "between two: s, then two digits"),
        *common,
    ]


@dataclass(frozen=True)
class Session:
    """What one ``curate review`` is about.

    items are (path, group) in the queue's order. names maps what the App calls an image to its path where the App must
    not know the path (blind); empty otherwise. Where a session learns, answers change the order of what is open.
    """

    workspace: str
    reviewer: str
    dataset: str
    queue: str
    classes: tuple[str, ...]
    items: tuple[tuple[str, str], ...]
    blind: bool = False
    names: Mapping[str, str] = field(default_factory=dict)
    learns: bool = False

    def save(self, file: Path) -> None:
        """Write the session file."""
        files.write_json(file, asdict(self))


def load_session(file: Path) -> Session:
    """Read a session file."""
    record = files.read_json(file)
    if record is None:
        raise ReviewError(f"{file} is absent; open the App with: curate review")
    record["classes"] = tuple(record["classes"])
    record["items"] = tuple((path, group) for path, group in record["items"])
    return Session(**record)


@dataclass(frozen=True)
class Image:
    """What the App knows of an image when a key is pressed on it."""

    name: str
    label: str = ""
    original_label: str = ""
    status: str = "kept"


@dataclass(frozen=True)
class Progress:
    """How far the queue is done by this reviewer, and how far people agree where they answered the same images."""

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
        self.folder = Workspace(Path(session.workspace)).review / "journal"
        self.journal = Journal(self.folder, session.reviewer)
        self.current_selection: frozenset[str] = (
            frozenset()
        )  # what the queue brought up last: answering it brings up the next
        self.reselect = False  # whether the App is about to drop the selection, because the view changes
        self.learning = Learning(Workspace(Path(session.workspace)))
        self._path_of = dict(session.names)
        self._name_of = {path: name for name, path in self._path_of.items()}

    def path(self, name: str) -> str:
        """Return the path of what the App calls ``name``."""
        return self._path_of.get(name, name)

    def name(self, path: str) -> str:
        """Return what the App calls an image."""
        return self._name_of.get(path, path)

    def lines(self) -> list[journal.Line]:
        """Return every line of every journal: other reviewers may be at work."""
        return journal.read(self.folder)

    def answers(self) -> dict[tuple[str, str], ReviewAnswer]:
        """Return (path, reviewer) -> answer, of the kind that this session is about."""
        read = journal.blind_labels if self.session.blind else journal.latest_answers
        return read(self.lines())

    def answer(self, action: str, images: Sequence[Image], value: str = "", reason: str = "") -> None:
        """Write one press down.

        Raises:
            ReviewError: there is no image, or a class is unknown.

        """
        if not images:
            raise ReviewError("select images first, or open one")
        if action == "relabel" and value not in self.session.classes:
            raise ReviewError(f"no class {value!r}; there are: {', '.join(self.session.classes)}")
        if action == "soften":
            value = self._softened(value)
        for said, mine in self._sorted_out(action, value, images).items():
            paths = [self.path(image.name) for image in mine]
            self.journal.write(said[0], paths, said[1], queue=self.session.queue, reason=reason)

    def _sorted_out(self, action: str, value: str, images: Sequence[Image]) -> dict[tuple[str, str], list[Image]]:
        """Return (action, value) -> images: a blind answer is a label; naming an image's own label is keeping it.

        Only where it came with that label and is kept: ``keep`` also takes earlier changes back.
        """
        if self.session.blind:
            return {("label", BLIND_OTHER.get(action, value)): list(images)}
        result: dict[tuple[str, str], list[Image]] = {}
        for image in images:
            confirms = action == "relabel" and value == image.label == image.original_label and image.status == "kept"
            result.setdefault(("keep", "") if confirms else (action, value), []).append(image)
        return result

    def _softened(self, value: str) -> str:
        shares = json.loads(value)
        unknown = [name for name in shares if name not in self.session.classes]
        if unknown or len(shares) < 2:
            raise ReviewError("soften takes two different classes")
        total = sum(shares.values())
        return json.dumps({name: share / total for name, share in sorted(shares.items())}, ensure_ascii=False)

    def undo(self) -> list[str]:
        """Take this reviewer's last press back and return the names of its images; [] where there is none."""
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

    def upcoming(self, limit: int) -> tuple[list[str], list[str]]:
        """Return the names of the next page of open images, groups whole, and of its first image or group."""
        items = self.open_items()
        if not items:
            return [], []
        end = min(limit, len(items))
        while end < len(items) and items[end][1] and items[end][1] == items[end - 1][1]:
            end += 1
        group = items[0][1]
        first = [path for path, other in items[:end] if other == group] if group else [items[0][0]]
        return [self.name(path) for path, _ in items[:end]], [self.name(path) for path in first]

    def progress(self) -> Progress:
        """Return how far this reviewer is."""
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
    """Return keys as the App's JavaScript takes them."""
    return [asdict(key) for key in keys]
