"""Policies: readable files that turn issues into decisions. A policy never edits anything; it only drafts."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from curation.base import tables
from curation.base.errors import CurationError
from curation.decisions.label_rules import Labels, label_drafts
from curation.decisions.log import Draft
from curation.decisions.replay import issue_reference


class PolicyError(CurationError):
    """A policy cannot be found or read."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ExcludeRule(_Part):
    """Exclude the images that ``check`` flags (in ``splits``, or in the policy's splits where empty)."""

    check: str
    reason: str
    splits: tuple[str, ...] = ()


class Review(_Part):
    """Checks whose issues this policy leaves to a person."""

    checks: tuple[str, ...] = ()


class Duplicates(_Part):
    """What counts as a copy and which copy stays."""

    identity: Literal["exact", "near", "equal_dhash"]
    conflicts: Literal["exclude", "ignore"]
    keep_split: Literal["short_of_class"] | tuple[str, ...]
    keep_copy: Literal["best", "first"]


class Policy(_Part):
    """One policy file."""

    name: str
    description: str
    splits: tuple[str, ...] = ()
    exclude: tuple[ExcludeRule, ...] = ()
    review: Review = Review()
    duplicates: Duplicates | None = None
    labels: Labels | None = None

    @property
    def fingerprint(self) -> str:
        """Sha256 of what the policy says; comments and layout do not count, nor does a part that it does not have."""
        absent: dict[str, bool | set[str]] = {}
        if self.labels is None:
            absent = {"labels": True}
        elif self.labels.believe_above is None:  # younger than logs that hold fingerprints
            absent = {"labels": {"believe_above"}}
        return hashlib.sha256(self.model_dump_json(exclude=absent).encode("utf-8")).hexdigest()


def names() -> list[str]:
    """Return the names of the policies that come with the toolkit."""
    folder = resources.files("curation.decisions") / "policies"
    return sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load(name_or_path: str) -> Policy:
    """Read a policy by name or from a file; several joined by ``+`` (``balanced+confident``) are one policy.

    Of joined policies all exclusions and reviews count; only one may say what to do with copies, one with labels.

    Raises:
        PolicyError: one sentence: what is wrong, where, what there is instead.

    """
    if "+" in name_or_path and not Path(name_or_path).exists():
        return joined([load(part) for part in name_or_path.split("+")])
    if name_or_path in names():
        text = (resources.files("curation.decisions") / "policies" / f"{name_or_path}.toml").read_text("utf-8")
    else:
        try:
            text = Path(name_or_path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            known = ", ".join(names())
            raise PolicyError(f"no policy {name_or_path!r}: not one of {known}, nor a readable file") from error
    try:
        policy = Policy.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"policy {name_or_path} is not valid TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise PolicyError(f"policy {name_or_path}, {where}: {first['msg']}") from error
    unknown = {rule.check for rule in policy.exclude} | set(policy.review.checks)
    for check in sorted(unknown - set(tables.CHECK_NAMES)):
        raise PolicyError(f"policy {name_or_path} names the check {check!r}, which does not exist")
    return policy


def joined(parts: Sequence[Policy]) -> Policy:
    """Return several policies as one.

    Raises:
        PolicyError: two of them say what to do with copies, or with labels, or they judge different splits.

    """
    for name in ("duplicates", "labels", "splits"):
        said = [part.name for part in parts if getattr(part, name)]
        if len(said) > 1:
            raise PolicyError(f"the policies {' and '.join(said)} cannot be joined: both have {name}")
    return Policy(
        name="+".join(part.name for part in parts),
        description=" ".join(part.description for part in parts),
        splits=next((part.splits for part in parts if part.splits), ()),
        exclude=tuple(rule for part in parts for rule in part.exclude),
        review=Review(checks=tuple(dict.fromkeys(check for part in parts for check in part.review.checks))),
        duplicates=next((part.duplicates for part in parts if part.duplicates), None),
        labels=next((part.labels for part in parts if part.labels), None),
    )


def decide(policy: Policy, images: pd.DataFrame, issues: pd.DataFrame) -> list[Draft]:
    """Return the decisions that ``policy`` draws from the issues, at most one an image, sorted by path.

    Exclusions by rule come first, then labels; copies are looked for among the images that are left, under the labels
    that they then have: a relabelled copy may end a conflict, and one that is surplus goes whatever its label.
    """
    frame = images[["path", "split", "label"]]
    if policy.splits:
        frame = frame[frame["split"].isin(policy.splits)]
    drafts = _by_rules(policy, frame, issues)
    if policy.labels is not None:
        left = frame[~frame["path"].isin(drafts)]
        drafts |= label_drafts(policy.labels, left, issues)
    if policy.duplicates is not None:
        gone = [path for path, draft in drafts.items() if draft.action == "exclude"]
        left = _as_relabelled(frame[~frame["path"].isin(gone)], drafts)
        copies = _by_copies(policy.duplicates, left, issues)
        # to keep a copy is no reason to take its new label back
        drafts |= {path: draft for path, draft in copies.items() if draft.action != "keep" or path not in drafts}
    return [drafts[path] for path in sorted(drafts)]


def _as_relabelled(frame: pd.DataFrame, drafts: Mapping[str, Draft]) -> pd.DataFrame:
    """Return the images with the labels that the drafts give them."""
    new = {path: draft.value for path, draft in drafts.items() if draft.action == "relabel"}
    return frame.assign(label=frame["label"].mask(frame["path"].isin(new), frame["path"].map(new)))


def _by_rules(policy: Policy, frame: pd.DataFrame, issues: pd.DataFrame) -> dict[str, Draft]:
    flagged = issues[issues["is_issue"]]
    split_of = frame.set_index("path")["split"].to_dict()
    drafts: dict[str, Draft] = {}
    for rule in policy.exclude:
        for path in flagged.loc[flagged["check"] == rule.check, "path"]:
            inside = path in split_of and (not rule.splits or split_of[path] in rule.splits)
            if inside and path not in drafts:
                drafts[path] = Draft(path, "exclude", reason=rule.reason, issue=rule.check)
    return drafts


def _by_copies(rule: Duplicates, left: pd.DataFrame, issues: pd.DataFrame) -> dict[str, Draft]:
    copies = _groups(rule, left, issues)
    priority = _split_priority(rule, left)
    drafts: dict[str, Draft] = {}
    for name, members in copies.groupby("group"):
        if len(members) > 1:
            for draft in _judged(rule, str(name), members, priority):
                drafts[draft.path] = draft
    return drafts


def _groups(rule: Duplicates, left: pd.DataFrame, issues: pd.DataFrame) -> pd.DataFrame:
    """Return the images of ``left`` that are in a group of copies: path, split, label, group, check, rank."""
    exact = _rows_of("exact_duplicate", issues)
    near = _rows_of("near_duplicate", issues)
    if rule.identity == "equal_dhash":
        found = near.assign(group=["dhash-" + json.loads(text)["dhash"] for text in near["evidence"]], rank=0)
    else:
        exact, near = exact[exact["is_issue"]], near[near["is_issue"]]
        # a near group holds all exact copies of its members, so it replaces their exact groups
        found = near if rule.identity == "near" else exact
        if rule.identity == "near":
            found = pd.concat([near, exact[~exact["path"].isin(near["path"])]])
        found = found.assign(rank=[json.loads(text)["rank"] for text in found["evidence"]])
    return left.merge(found[["path", "check", "group", "rank"]], on="path")


def _rows_of(check: str, issues: pd.DataFrame) -> pd.DataFrame:
    return issues[issues["check"] == check]


def _split_priority(rule: Duplicates, left: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Return (split, label) -> order in which copies are kept, lowest first."""
    pairs = left[["split", "label"]].drop_duplicates().itertuples(index=False, name=None)
    if rule.keep_split == "short_of_class":
        share = left.groupby("split")["label"].value_counts(normalize=True)
        return {(split, label): float(share[split, label]) for split, label in pairs}
    order = {split: float(place) for place, split in enumerate(rule.keep_split)}
    return {(split, label): order.get(split, float(len(order))) for split, label in pairs}


def _judged(rule: Duplicates, name: str, members: pd.DataFrame, priority: dict[tuple[str, str], float]) -> list[Draft]:
    """Return the decisions on one group: a conflict excludes every copy, otherwise one copy is kept."""
    records = members.to_dict("records")
    labels = sorted(set(members["label"]) - {""})
    if len(labels) > 1 and rule.conflicts == "exclude":
        reason = f"its {len(records)} copies carry different labels: {', '.join(labels)}"
        reference = issue_reference("label_conflict", name)
        return [Draft(record["path"], "exclude", reason=reason, issue=reference) for record in records]
    by_rank = rule.keep_copy == "best"
    records.sort(
        # of two copies the one that has a label is worth more
        key=lambda r: (priority[r["split"], r["label"]], not r["label"], r["rank"] if by_rank else 0, r["path"]),
    )
    kept, *surplus = records
    reference = issue_reference(kept["check"], name)
    drafts = [Draft(kept["path"], "keep", reason=f"the kept one of {len(records)} copies", issue=reference)]
    for record in surplus:
        reference = issue_reference(record["check"], name)
        drafts.append(Draft(record["path"], "exclude", reason=f"a copy of {kept['path']}", issue=reference))
    return drafts
