"""Replay: the raw manifest and the log's entries -> the manifest that they state.

Rank of decisions: a person's outranks any policy's; of one rank the later outranks the earlier. Only the last policy
that was not undone counts: applying a policy replaces the one before it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from curation.decisions.log import Entry, undone

if TYPE_CHECKING:
    import pandas as pd

POLICY_PREFIX = "policy:"
PERSON_PREFIX = "person:"

_IMAGE_ACTIONS = frozenset({"keep", "exclude", "relabel", "soften"})


def effective(entries: Sequence[Entry]) -> list[Entry]:
    """Return the decisions on images that count, weakest first."""
    gone = undone(entries)
    people = [
        entry for entry in entries if entry.seq not in gone and entry.action in _IMAGE_ACTIONS and not _is_policy(entry)
    ]
    return policy_batch(entries)[1] + people


def policy_batch(entries: Sequence[Entry]) -> tuple[Entry | None, list[Entry]]:
    """Return the line that opened the policy in force and its decisions that were not undone; (None, []) if none."""
    gone = undone(entries)
    openings = [entry for entry in entries if entry.action == "policy"]
    live = [entry for entry in openings if entry.seq not in gone]
    if not live:
        return None, []
    opening = live[-1]
    end = min((entry.seq for entry in openings if entry.seq > opening.seq), default=float("inf"))
    decisions = [
        entry
        for entry in entries
        if opening.seq < entry.seq < end
        and _is_policy(entry)
        and entry.action in _IMAGE_ACTIONS
        and entry.seq not in gone
    ]
    return opening, decisions


def overruled(entries: Sequence[Entry]) -> set[tuple[str, str]]:
    """Return the (path, action) of policies' decisions that a person took back one by one.

    A policy that is applied again does not repeat them; taking back a policy as a whole overrules nothing.
    """
    gone = undone(entries)
    by_seq = {entry.seq: entry for entry in entries}
    result: set[tuple[str, str]] = set()
    for undo in entries:
        if undo.action == "undo" and undo.seq not in gone:
            taken_back = [by_seq[int(seq)] for seq in json.loads(undo.value) if int(seq) in by_seq]
            if all(entry.action != "policy" for entry in taken_back):
                result |= {(entry.path, entry.action) for entry in taken_back if _is_policy(entry)}
    return result


def _is_policy(entry: Entry) -> bool:
    return entry.actor.startswith(POLICY_PREFIX)


_TAKEN_BACK = {"keep": ("label", "weight", "soft_label"), "relabel": ("weight", "soft_label")}
"""Manifest columns in which earlier decisions no longer hold after an action."""


def replay(raw: pd.DataFrame, entries: Sequence[Entry]) -> pd.DataFrame:
    """Return the manifest that ``entries`` make of the ``raw`` one (both of the manifest schema).

    exclude and keep set the status, relabel the label, soften the soft label and weight; relabel takes an earlier
    softening back, for training would prefer the soft label; keep also means "as it came": it takes earlier changes
    of label and weight back. Decisions on paths that the raw manifest does not hold (the file has gone) have no
    effect.
    """
    import pandas as pd

    states: dict[str, dict[str, object]] = {}
    for entry in effective(entries):
        state = states.setdefault(entry.path, {})
        for column in _TAKEN_BACK.get(entry.action, ()):
            state.pop(column, None)
        state.update(_effect(entry))
    result = raw.set_index("path")
    changes = pd.DataFrame.from_dict(states, orient="index")
    changes = changes[changes.index.isin(result.index)]
    for column in changes.columns:
        new = changes[column].dropna()
        result.loc[new.index, column] = new.astype(result[column].dtype)
    return result.reset_index()[list(raw.columns)]


def _effect(entry: Entry) -> dict[str, object]:
    """Return the manifest columns that one decision sets."""
    change: dict[str, object] = {"reason": entry.reason}
    if group_of(entry.issue):
        change["group"] = group_of(entry.issue)
    if entry.action == "relabel":
        # a soft label that the source gave is of the old label
        return {**change, "label": entry.value, "soft_label": ""}
    if entry.action == "soften":
        value = json.loads(entry.value)
        soft = value.get("soft_label")
        text = json.dumps(soft, sort_keys=True, ensure_ascii=False) if soft else ""
        return {**change, "weight": float(value.get("weight", 1.0)), "soft_label": text}
    return {**change, "status": "excluded" if entry.action == "exclude" else "kept"}


def issue_reference(check: str, group: str) -> str:
    """Return how a decision names the issue it rests on: ``check`` or ``check#group``."""
    return f"{check}#{group}" if group else check


def group_of(issue: str) -> str:
    """Return the group in an issue reference, or ""."""
    return issue.partition("#")[2]
