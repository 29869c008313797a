"""Merge people's decisions from another workspace of the same data; contradictions are reported."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from curation.base.errors import WorkspaceError
from curation.base.progress import Display
from curation.base.settings import Settings
from curation.base.workspace import Workspace, open_workspace, read_images
from curation.decisions import manifest, replay
from curation.decisions.follow import UNKNOWN
from curation.decisions.log import Draft, Log, targets_of, undone_in
from curation.decisions.replay import PERSON_PREFIX
from curation.pipeline import decisions

_SAYS = ["path", "mine", "by", "theirs", "their_by"]

_Row = Mapping[Hashable, Any]
"""A line of a log, by column."""


@dataclass(frozen=True)
class MergeResult:
    """The result: the version, and how many decisions were taken, undone, known already, or about other images.

    conflicts (path, mine, by, theirs, their_by) are images that the two sides decided differently; the decision of this
    workspace stays in force.
    """

    version: manifest.Version
    taken: int
    taken_back: int
    known: int
    elsewhere: int
    conflicts: pd.DataFrame
    notes: list[str]

    def lines(self) -> list[str]:
        """Return the result in sentences."""
        lines = [
            f"{self.taken:,} decisions taken, {self.taken_back:,} undone, {self.known:,} were here already; "
            f"version {self.version.name} ({self.version.hash[:12]})."
        ]
        if self.elsewhere:
            lines.append(f"{self.elsewhere:,} are about images that this data set does not have.")
        if len(self.conflicts):
            lines.append(
                f"{len(self.conflicts):,} images were decided differently here; those decisions stay in force. Settle "
                "them with curate decide:"
            )
        return [*lines, *self.notes]


def merge(workspace: Workspace, other: Path, settings: Settings, display: Display) -> MergeResult:
    """Take people's decisions from the workspace ``other``, which is only read; the caller holds this one's lock.

    Decisions are identified by person, time and content, so that merging twice, or in both directions, changes nothing.

    Raises:
        WorkspaceError: there is no other workspace, or it is this one.

    """
    second = open_workspace(other)
    if second.root.resolve() == workspace.root.resolve():
        raise WorkspaceError(f"{other} is this workspace; name the other one")
    mine, theirs = (_Side(each, Log(each.decisions).table) for each in (workspace, second))
    images = read_images(workspace)
    there = set(images["sha256"]) | set(images["path"])
    by_person: dict[str, list[Draft]] = {}
    taken: list[_Row] = []
    conflicts, elsewhere, known = [], 0, 0
    for picture, rows in theirs.pictures.items():
        new = rows[[key not in mine.keys for key in rows["key"]]]
        known += len(rows) - len(new)
        if new.empty:
            continue
        if picture not in there:
            elsewhere += len(new)
            continue
        own = mine.pictures.get(picture, mine.people[:0])
        own = own[[key not in theirs.keys for key in own["key"]]]
        if len(own) and _last(own)[0] != _last(new)[0]:
            conflicts.append([new["path"].iloc[-1], *_last(own), *_last(new)])
            continue
        taken += new.to_dict("records")
    parted = [row for action in ("not_copies", "not_same") for row in theirs.acts(action, mine.keys)]
    for row in (*taken, *parted):
        by_person.setdefault(row["actor"].removeprefix(PERSON_PREFIX), []).append(_draft(row))
    taken_back = _undos(mine, theirs, {conflict[0] for conflict in conflicts}, by_person)
    recorded = decisions.record(workspace, by_person, settings, display, new_class=True)
    frame = pd.DataFrame(conflicts, columns=_SAYS)
    return MergeResult(recorded.version, len(taken) + len(parted), taken_back, known, elsewhere, frame, recorded.notes)


class _Side:
    """The log lines of people in one workspace, and the key of each."""

    def __init__(self, workspace: Workspace, table: pd.DataFrame) -> None:
        self.table = table
        self.gone = undone_in(table)
        everybody = table[table["actor"].str.startswith(PERSON_PREFIX)]
        self.keys = {_key(row): row["seq"] for row in everybody.to_dict("records")}
        people = manifest.identified(workspace, table)
        self.people = people.assign(key=pd.Series(map(_key, people.to_dict("records")), people.index, dtype=object))
        named = self.people["content"].where(~self.people["content"].isin(["", UNKNOWN]), self.people["path"])
        self.pictures = dict(iter(self.people.groupby(named, sort=False)))

    def acts(self, action: str, known: Mapping[tuple[str, ...], int]) -> list[_Row]:
        """Return people's lines of one action that are in force and not ``known``."""
        mine = self.table[self.table["actor"].str.startswith(PERSON_PREFIX) & (self.table["action"] == action)]
        return [row for row in mine[~mine["seq"].isin(self.gone)].to_dict("records") if _key(row) not in known]


def _key(row: _Row) -> tuple[str, ...]:
    """Return a line's identity across workspaces; the value of an undo is left out, as it numbers lines of one log."""
    return (row["actor"], row["time"], row["path"], row["action"], "" if row["action"] == "undo" else row["value"])


def _last(rows: pd.DataFrame) -> tuple[str, str]:
    """Return the last decision on an image, and who took it."""
    row = rows.iloc[-1]
    return f"{row['action']} {row['value']}".strip(), row["actor"].removeprefix(PERSON_PREFIX)


def _draft(row: _Row) -> Draft:
    fields = {name: row[name] for name in ("path", "action", "value", "reason", "issue", "time", "label")}
    return Draft(**fields, content="" if row["content"] == UNKNOWN else row["content"])


def _undos(mine: _Side, theirs: _Side, disputed: set[str], by_person: dict[str, list[Draft]]) -> int:
    """Add undos of the lines, people's or policies', that are undone there and in force here; return their number."""
    policy = replay.policy_rows(mine.table)
    ours = dict(zip(zip(policy["path"], policy["action"], strict=True), policy["seq"], strict=True))
    number = 0
    for row in theirs.acts("undo", mine.keys):
        targets = theirs.table[theirs.table["seq"].isin(targets_of(int(row["seq"]), row["value"]))]
        wanted = []
        for target in targets.to_dict("records"):
            person = target["actor"].startswith(PERSON_PREFIX)
            seq = mine.keys.get(_key(target)) if person else ours.get((target["path"], target["action"]))
            if seq is not None and seq not in mine.gone and target["path"] not in disputed:
                wanted.append(int(seq))
        if wanted:
            who = row["actor"].removeprefix(PERSON_PREFIX)
            draft = Draft("", "undo", json.dumps(sorted(wanted)), row["reason"], time=row["time"])
            by_person.setdefault(who, []).append(draft)
            number += len(wanted)
    return number
