"""Replay: apply the log's entries to the raw manifest.

A person's decision outranks any policy's; among equals the later outranks the earlier. Only the last policy that was
not undone counts: applying a policy replaces the one before it. A policy that judges again logs only what changed: it
undoes its own lines and adds others.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from curation.base.files import parsed
from curation.base.frames import rows_of
from curation.decisions.log import Entry, LogError, entries_of, table_of, targets_of, undone_in

if TYPE_CHECKING:
    import pandas as pd

POLICY_PREFIX = "policy:"
PERSON_PREFIX = "person:"

HELD = "held"
"""Value of a policy's ``keep`` for an image that only the brake keeps from exclusion, until a person decides."""

BY_PATH, BY_CONTENT = 1, 2
"""Rules of replay: in older versions of manifests decisions followed paths; now they follow the picture."""

COLUMN_SET = {"move": "split", "subject": "subject"}
"""Actions that set one column and do not affect whether the image is kept, or why."""

_IMAGE_ACTIONS = ("keep", "exclude", "relabel", "soften", *COLUMN_SET)


def effective(table: pd.DataFrame) -> pd.DataFrame:
    """Return the effective decisions on images among a table of entries, the lowest rank first."""
    import pandas as pd

    return pd.concat([policy_rows(table), people_rows(table)])


def people_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return people's decisions on images that were not undone, oldest first."""
    mine = ~_by_policy(table) & table["action"].isin(_IMAGE_ACTIONS) & ~table["seq"].isin(undone_in(table))
    return table[mine]


def policy_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return the decisions of the policy in force that were not undone, oldest first."""
    opening, end = _in_force(table)
    inside = _by_policy(table) & table["action"].isin(_IMAGE_ACTIONS) & table["seq"].between(opening + 1, end - 1)
    return table[inside & ~table["seq"].isin(undone_in(table))]


def opening_of(table: pd.DataFrame) -> Entry | None:
    """Return the line that opened the policy in force, or None."""
    found = table[table["seq"] == _in_force(table)[0]]
    return entries_of(found)[0] if len(found) else None


def _in_force(table: pd.DataFrame) -> tuple[int, int]:
    """Return the numbers of the line that opened the policy in force and of the next policy's, or of the log's end."""
    openings = table.loc[table["action"] == "policy", "seq"]
    active = openings[~openings.isin(undone_in(table))]
    end = _end(table)
    if active.empty:
        return end, end
    opening = int(active.iloc[-1])
    return opening, int(openings[openings > opening].min()) if (openings > opening).any() else end


def may_grow(table: pd.DataFrame) -> bool:
    """Return whether lines appended now would belong to the policy in force."""
    opening, end = _in_force(table)
    return opening < end == _end(table)


def _end(table: pd.DataFrame) -> int:
    return int(table["seq"].max()) + 1 if len(table) else 1


def overruled(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of policies' decisions that a person undid one by one.

    A policy that is applied again does not repeat them. Undoing a policy or a version as a whole overrules nothing.
    """
    gone = undone_in(table)
    undos = table[(table["action"] == "undo") & ~_by_policy(table) & ~table["seq"].isin(gone)]
    found: set[int] = set()
    for seq, value in undos[["seq", "value"]].itertuples(index=False, name=None):
        targets = table[table["seq"].isin(targets_of(seq, value))]
        if (_by_policy(targets) & targets["action"].isin(_IMAGE_ACTIONS)).all():
            found.update(targets["seq"])
    return table[table["seq"].isin(found)]


def _by_policy(table: pd.DataFrame) -> pd.Series:
    return table["actor"].str.startswith(POLICY_PREFIX)


def replay(raw: pd.DataFrame, entries: Sequence[Entry] | pd.DataFrame, rules: int = BY_CONTENT) -> pd.DataFrame:
    """Return the manifest that results from applying entries to the ``raw`` one (both of the manifest schema).

    exclude and keep set the status, relabel the label, soften the soft label and weight, move the split, subject the
    person. relabel reverts an earlier softening, because training would prefer the soft label; keep also reverts
    earlier changes of label and weight. Decisions on paths that the raw manifest does not hold have no effect.

    Args:
        raw: the manifest before any decision.
        entries: of the log, as a list or a table; people's must be about the paths of ``raw``
            (``curation.decisions.follow``).
        rules: ``BY_PATH`` for versions up to 0.1 (the last reason counts, whatever was decided), else ``BY_CONTENT``:
            an excluded image has the reason for its exclusion.

    """
    import numpy as np

    table: pd.DataFrame = table_of(entries) if isinstance(entries, Sequence) else entries
    result = raw.reset_index(drop=True)
    rows = effective(table[["seq", "actor", "path", "action", "value", "reason", "issue"]])
    rows["row"] = rows_of(rows["path"], result["path"])
    rows = rows[rows["row"] >= 0].reset_index(drop=True)
    rows["place"] = rows.index
    columns = {column: _last(rows[rows["action"] == action])["value"] for action, column in COLUMN_SET.items()}
    rows = rows[~rows["action"].isin(list(COLUMN_SET))]
    kept_at = _last(rows[rows["action"] == "keep"])["place"]
    status = _last(rows[rows["action"].isin(list(_STATUS))])["action"].map(_STATUS)
    label = _after(rows[rows["action"] == "relabel"], kept_at)
    soft = _after(rows[rows["action"] == "soften"], kept_at, label["place"])
    reasons = _last(rows)["reason"]
    if rules != BY_PATH:
        last = _last(rows[rows["action"].isin(list(_STATUS))])
        excluded = last.loc[last["action"] == "exclude", "reason"]
        reasons[excluded.index] = excluded
    weights, soft_labels = _softened(soft)
    grouped = rows["issue"].str.contains("#", regex=False) & ~rows["issue"].str.endswith("#")
    changes: dict[str, pd.Series] = {
        **{column: new for column, new in columns.items() if column in result},
        "status": status,
        "label": label["value"],
        "reason": reasons,
        "group": _last(rows[grouped])["issue"].map(group_of),
        "weight": weights,
        # a soft label from the source belongs to the old label
        "soft_label": soft_labels.combine_first(label["value"].str.slice(0, 0)),
    }
    for column, new in changes.items():
        if new.empty:
            continue
        there = np.zeros(len(result), dtype=np.bool_)
        there[new.index] = True
        result.loc[there, column] = new.sort_index().astype(result[column].dtype).array
    return result


_STATUS = {"keep": "kept", "exclude": "excluded"}


def _last(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the last of the rows on each image, by the image's row in the raw manifest."""
    return rows.drop_duplicates("row", keep="last").set_index("row")


def _after(rows: pd.DataFrame, *taken_back_at: pd.Series) -> pd.DataFrame:
    """Return the last of the rows on each image, if it came after the rows that revert it."""
    last = _last(rows)
    for places in taken_back_at:
        last = last[last["place"] > places.reindex(last.index, fill_value=-1)]
    return last


def _softened(rows: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Return the weight and the soft label of each image."""
    import pandas as pd

    weights, soft_labels = [], []
    for seq, text in rows[["seq", "value"]].itertuples(index=False, name=None):
        try:
            value = parsed(text)
            soft = dict(value.get("soft_label") or {})
            weight = float(value.get("weight", 1.0))
            if not weight >= 0:
                raise ValueError("a weight is not a number of at least 0")
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            raise LogError(f"decision {seq} softens by {text!r} ({error}); restore the log from a copy") from error
        weights.append(weight)
        soft_labels.append(json.dumps(soft, sort_keys=True, ensure_ascii=False) if soft else "")
    return pd.Series(weights, rows.index, dtype="float64"), pd.Series(soft_labels, rows.index, dtype="str")


def issue_reference(check: str, group: str) -> str:
    """Return the reference to the issue that a decision rests on: ``check`` or ``check#group``."""
    return f"{check}#{group}" if group else check


def group_of(issue: str) -> str:
    """Return the group in an issue reference, or ""."""
    return issue.partition("#")[2]
