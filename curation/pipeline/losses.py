"""Losses in plain sentences: many copies in one class, exclusions held back, decisions that no longer apply."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from curation.base.frames import is_in
from curation.base.settings import BrakeSettings
from curation.decisions.brake import Loss
from curation.decisions.log import Entry
from curation.decisions.manifest import Version
from curation.decisions.replay import HELD, PERSON_PREFIX, POLICY_PREFIX

_COPIES = ("exact_duplicate", "near_duplicate", "label_conflict")
"""Checks that exclude an image as a copy."""

_NAMED = 5
"""Most parts or decisions that a sentence names; the rest are counted."""


def headline(raw: pd.DataFrame, rows: pd.DataFrame, entries: Sequence[Entry], limits: BrakeSettings) -> list[str]:
    """Return a sentence on the class and split that lost the largest share as copies, if that share is large.

    Args:
        raw: the manifest before cleaning.
        rows: the manifest after it.
        entries: the decisions in force.
        limits: least share and number.

    """
    as_copies = {entry.path for entry in entries if entry.action == "exclude" and _check(entry) in _COPIES}
    gone = rows.loc[(rows["status"] == "excluded") & is_in(rows["path"], as_copies), "path"]
    counts = raw.assign(gone=is_in(raw["path"], gone)).groupby(["split", "label"])["gone"].agg(["sum", "size", "mean"])
    large = counts[(counts["sum"] >= limits.min_images) & (counts["mean"] > limits.headline_share)]
    if large.empty:
        return []
    split, label, number, size, _ = large.nlargest(1, "mean").reset_index().iloc[0]
    of = " ".join(filter(None, [f"{split}'s" if split else "", label or "the unlabelled images"]))
    return [f"{number / size:.0%} of {of} are copies: {number:,} of {size:,} images were left out as such."]


def _check(entry: Entry) -> str:
    return entry.issue.partition("#")[0]


def held(version: Version, entries: Sequence[Entry], option: str) -> tuple[list[str], dict[str, Any]]:
    """Return what the brake held back and how to proceed, as sentences and as a record.

    Args:
        version: its lineage names the losses.
        entries: the decisions in force.
        option: command-line option for the workspace.

    """
    stated = [record for record in version.lineage.get("brake", []) if set(record) == set(Loss.__dataclass_fields__)]
    beyond = [Loss(**record) for record in stated]
    decided = {entry.path for entry in entries if entry.actor.startswith(PERSON_PREFIX)}
    waiting = {e.path for e in entries if e.actor.startswith(POLICY_PREFIX) and e.value == HELD} - decided
    record = {"held": len(waiting), "losses": [loss.record() for loss in beyond]}
    if not beyond:
        return [], record
    checks = sorted({_check(entry) for entry in entries if entry.path in waiting and entry.value == HELD})
    look = f"curate issues --check {checks[0]}{option}" if checks else f"curate issues{option}"
    policy = version.lineage.get("policy", {}).get("name", "")
    return [
        f"Stopped short: the policy {policy} would leave out {_named([loss.sentence() for loss in beyond])}. "
        f"{len(waiting):,} images stay kept and wait for a person.",
        f"To go on, look at them: {look}; decide on some, or accept the loss: curate apply --accept-loss{option}; the "
        "limits are settings: [brake] in curate.toml.",
    ], record


def no_longer_applying(lost: pd.DataFrame) -> tuple[list[str], dict[str, Any]]:
    """Return people's decisions on images that are gone or changed, as sentences and as a record.

    Args:
        lost: see ``curation.decisions.follow.Followed``.

    """
    record = {"no_longer_applying": lost.drop(columns="content").to_dict("records")}
    if lost.empty:
        return [], record
    said = [
        f"{row['path']} ({row['action']} by {row['actor'].removeprefix(PERSON_PREFIX)}, no. {row['seq']}): {row['why']}"
        for row in lost.to_dict("records")
    ]
    plural = "decision of a person no longer applies" if len(said) == 1 else "decisions of people no longer apply"
    return [f"{len(said):,} {plural}: {_named(said)}."], record


def _named(texts: Sequence[str]) -> str:
    more = f"; and {len(texts) - _NAMED:,} more" if len(texts) > _NAMED else ""
    return "; ".join(texts[:_NAMED]) + more
