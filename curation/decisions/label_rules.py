"""Rules of a policy for labels: relabel, exclude, soften or downweight by the probabilities of the judgement.

The most certain come first, and a class loses no more than its share. Copies of a picture under one label are judged
equally, and are decided on together or not at all.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from curation.base import splits
from curation.base.frames import records
from curation.base.issues import Issues
from curation.base.tables import EVIDENCE, MEND_EVIDENCE, TableError, facts
from curation.decisions.log import Draft

DIGITS = 4
"""Decimal places of the probabilities in a soft label."""


class Labels(BaseModel):
    """What is done about labels that the check ``mislabelled`` or ``ambiguous`` has judged; see the module.

    Thresholds are calibrated probabilities; a missing one has no effect.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    relabel_above: float | None = Field(None, ge=0, le=1, description="P(the suggestion is right)")
    relabel_likelier: bool = Field(False, description="relabel wherever the suggestion is likelier than the label")
    exclude_above: float | None = Field(None, ge=0, le=1, description="P(the label is wrong)")
    soften_above: float | None = Field(None, ge=0, le=1, description="P(the label is ambiguous)")
    downweight_above: float | None = Field(
        None, ge=0, le=1, description="P(the label is wrong): its weight becomes 1 - P"
    )
    believe_above: float | None = Field(None, ge=0, le=1, description="P(the label is wrong): a soft label instead")
    max_share_per_class: float = Field(
        0.5, ge=0, le=1, description="largest share of a class, as labelled, that may change"
    )
    protect_splits: tuple[str, ...] = Field(("test",), description="splits whose labels are left to a person")


@dataclass(frozen=True)
class _Choice:
    """What a threshold would do to one image, and its certainty."""

    path: str
    label: str
    sureness: float
    draft: Draft


def label_drafts(rule: Labels, left: pd.DataFrame, issues: Issues) -> dict[str, Draft]:
    """Return the decisions on labels, by path; at most one per image.

    Args:
        rule: the policy's thresholds.
        left: images that may be decided on: path, split, label.
        issues: whose rows of ``mislabelled`` and ``ambiguous`` hold the probabilities as evidence. An image whose
            label has changed since is left alone.

    """
    # a split of another name is protected as the split that its name stands for
    protected = [s for s in left["split"].unique() if {s, splits.standard(s)} & set(rule.protect_splits)]
    open_ = left[~left["split"].isin(protected)]
    wrong = _judged(open_, issues, "mislabelled")
    changed = _capped([_changed(rule, row) for row in wrong], rule, open_)
    softened = {}
    for row in [*wrong, *_judged(open_, issues, "ambiguous")]:
        draft = _softened(rule, row)
        if draft is not None and row["path"] not in changed:
            softened[row["path"]] = draft
    return {**softened, **changed}


_POSTERIOR = {"given": str, "posterior?": {str: float}, "believed?": {str: float}}

_SAID: dict[str, dict[str, Any]] = {
    "mislabelled": {**_POSTERIOR, "suggestion": str, "wrong": float, "probability": float},
    "ambiguous": {**_POSTERIOR, "ambiguous": float},
}
"""Check -> fields of its evidence and their shapes, see ``curation.base.tables.facts``."""


def _judged(left: pd.DataFrame, issues: Issues, check: str) -> list[dict[str, Any]]:
    """Return the evidence and path of each image that a check judged under its current label."""
    mine = left.merge(issues.texts([check]), on="path")
    said = facts(mine["evidence"], **_SAID[check])
    rows = [{**fact, **row} for fact, row in zip(said, records(mine), strict=True)]
    for row in rows:
        row.setdefault("posterior", row.get("believed", {}))  # its name in issues of earlier versions
    return [row for row in rows if row["given"] == row["label"]]


def _changed(rule: Labels, row: dict[str, Any]) -> _Choice | None:
    """Return the relabelling or exclusion that the thresholds demand."""
    path, given, wrong, right = row["path"], row["given"], row["wrong"], row["probability"]
    is_likelier = rule.relabel_likelier and right > row["posterior"].get(given, 0.0)
    if is_likelier or (rule.relabel_above is not None and right >= rule.relabel_above):
        reason = f"labelled {given}, {row['suggestion']} is right with probability {right:.2f}"
        return _Choice(path, given, right, Draft(path, "relabel", row["suggestion"], reason, "mislabelled"))
    if rule.exclude_above is not None and wrong >= rule.exclude_above:
        reason = f"labelled {given}, wrong with probability {wrong:.2f}"
        return _Choice(path, given, wrong, Draft(path, "exclude", "", reason, "mislabelled"))
    return None


def _capped(choices: list[_Choice | None], rule: Labels, left: pd.DataFrame) -> dict[str, Draft]:
    """Return the most certain choices within each class' share; equally certain ones (copies) all or none."""
    wanted = [choice for choice in choices if choice is not None]
    allowed = (left["label"].value_counts() * rule.max_share_per_class).to_dict()
    drafts: dict[str, Draft] = {}
    for label in sorted({choice.label for choice in wanted}):
        mine = sorted((c for c in wanted if c.label == label), key=lambda c: (-c.sureness, c.path))
        room = int(allowed.get(label, 0))
        while room < len(mine) and room and mine[room - 1].sureness == mine[room].sureness:
            room -= 1
        drafts |= {choice.path: choice.draft for choice in mine[:room]}
    return drafts


def _softened(rule: Labels, row: dict[str, Any]) -> Draft | None:
    """Return the soft label or lower weight that the thresholds demand.

    A soft label is the posterior of the classes: training on it is the maximisation step of a model in which the
    true class is hidden (Dempster, Laird & Rubin, 1977). A weight is the probability that the given label is right.
    """
    path, given = row["path"], row["given"]
    if "wrong" in row:
        reason = f"labelled {given}, wrong with probability {row['wrong']:.2f}"
        if rule.downweight_above is not None and row["wrong"] >= rule.downweight_above:
            value = json.dumps({"weight": round(1.0 - row["wrong"], DIGITS)})
            return Draft(path, "soften", value, reason, "mislabelled")
        if rule.believe_above is not None and row["wrong"] >= rule.believe_above:
            return Draft(path, "soften", _soft_label(row), reason, "mislabelled")
    elif rule.soften_above is not None and row["ambiguous"] >= rule.soften_above:
        reason = f"labelled {given}, ambiguous with probability {row['ambiguous']:.2f}"
        return Draft(path, "soften", _soft_label(row), reason, "ambiguous")
    return None


def _soft_label(row: dict[str, Any]) -> str:
    """Return the posterior of the classes as a decision's value; the probabilities sum to 1."""
    total = sum(row["posterior"].values())
    if not total > 0:
        raise TableError(f"{EVIDENCE} says of {row['path']!r} that no class is likely; {MEND_EVIDENCE}")
    soft = {name: round(share / total, DIGITS) for name, share in row["posterior"].items()}
    return json.dumps({"soft_label": soft}, sort_keys=True)
