"""Policies: readable files that turn issues into decisions. A policy never edits anything; it only drafts."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Collection, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from curation.base import files, plugins, reading, splits
from curation.base.errors import CurationError, did_you_mean
from curation.base.frames import is_in
from curation.base.issues import Issues
from curation.base.tables import facts
from curation.decisions.label_rules import Labels, label_drafts
from curation.decisions.log import Draft
from curation.decisions.replay import issue_reference

RULE_ACTIONS = ("exclude", "relabel", "soften")
"""What a plug-in rule may decide."""


class PolicyError(CurationError):
    """A policy cannot be found or read."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ExcludeRule(_Part):
    """Exclude the images that ``check`` flags in ``splits``; if empty, in the policy's splits."""

    check: str
    reason: str
    splits: tuple[str, ...] = ()


class Review(_Part):
    """Checks whose issues the policy leaves to a person."""

    checks: tuple[str, ...] = ()


class Duplicates(_Part):
    """What counts as a copy, and which copy is kept."""

    identity: Literal["exact", "near", "equal_dhash"]
    conflicts: Literal["exclude", "ignore"]
    keep_split: Literal["short_of_class"] | tuple[str, ...]
    keep_copy: Literal["best", "first"]


class Subjects(_Part):
    """What is done with images of a person outside the split that keeps the person."""

    action: Literal["exclude", "move"]
    keep_split: tuple[str, ...]


class Policy(_Part):
    """One policy file."""

    name: str
    description: str
    splits: tuple[str, ...] = ()
    exclude: tuple[ExcludeRule, ...] = ()
    review: Review = Review()
    duplicates: Duplicates | None = None
    labels: Labels | None = None
    subjects: Subjects | None = None
    rules: dict[str, dict[str, Any]] = {}

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the policy's content, without comments, layout and absent parts."""
        # parts added after logs held fingerprints
        absent: dict[str, bool | set[str]] = {name: True for name in ("subjects", "rules") if not getattr(self, name)}
        if self.labels is None:
            absent |= {"labels": True}
        else:  # a default of a setting added later is left out
            younger = {"believe_above": None, "relabel_likelier": False}
            silent = {name for name, default in younger.items() if getattr(self.labels, name) == default}
            absent |= {"labels": silent} if silent else {}
        return hashlib.sha256(self.model_dump_json(exclude=absent).encode("utf-8")).hexdigest()


def names() -> list[str]:
    """Return the names of the policies that come with the toolkit."""
    folder = resources.files("curation.decisions") / "policies"
    return sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load(name_or_path: str) -> Policy:
    """Read a policy by name or from a file; several are joined by ``+`` (``balanced+confident``).

    Joined policies share all exclusions and reviews; at most one may decide on copies, and one on labels.

    Raises:
        PolicyError: it is absent or invalid.

    """
    if "+" in name_or_path and not Path(name_or_path).exists():
        return joined([load(part) for part in name_or_path.split("+")])
    if name_or_path in names():
        data = (resources.files("curation.decisions") / "policies" / f"{name_or_path}.toml").read_bytes()
    else:
        try:
            data = reading.contents(name_or_path)
        except (OSError, ValueError) as error:
            known = ", ".join(names())
            raise PolicyError(f"no policy {name_or_path!r}: not one of {known}, nor a readable file") from error
    try:
        table = reading.toml_table(data)
    except ValueError as error:
        raise PolicyError(f"policy {name_or_path}: {reading.first_line(error)}") from error
    return _validated(name_or_path, table)


def _validated(name: str, record: Any) -> Policy:
    try:
        return Policy.model_validate(record)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise PolicyError(f"policy {name}, {where}: {first['msg']}") from error


def store(folder: Path, policy: Policy, source: str) -> None:
    """Keep an applied policy in a workspace, so that it can judge again after its file (``source``) is gone."""
    path = _stored_at(folder, policy.fingerprint)
    if not path.exists():
        files.write_json(path, {"source": source, "policy": policy.model_dump(mode="json")})


def stored(folder: Path, fingerprint: str) -> tuple[Policy, str] | None:
    """Return the kept policy of that fingerprint and its source; None if there is none, or it was edited."""
    try:
        record = files.read_json(_stored_at(folder, fingerprint)) or {}
        policy = _validated(fingerprint, record.get("policy"))
    except CurationError:
        return None
    return (policy, str(record.get("source", ""))) if policy.fingerprint == fingerprint else None


def edited(folder: Path) -> list[str]:
    """Return which kept policies were edited after they were applied, a sentence each."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            kept = _validated(str(path), (files.read_json(path) or {}).get("policy"))
        except CurationError as error:
            found.append(str(error))
        else:
            if _stored_at(folder, kept.fingerprint) != path:
                found.append(f"{path}: the policy was edited after it was applied; restore it from a copy")
    return found


def _stored_at(folder: Path, fingerprint: str) -> Path:
    return folder / f"{hashlib.sha256(fingerprint.encode()).hexdigest()[:16]}.json"


def joined(parts: Sequence[Policy]) -> Policy:
    """Return several policies as one.

    Raises:
        PolicyError: two of them decide on copies, labels, people or splits.

    """
    for name in ("duplicates", "labels", "splits", "subjects"):
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
        subjects=next((part.subjects for part in parts if part.subjects), None),
        rules={name: options for part in parts for name, options in part.rules.items()},
    )


def require_checks(policy: Policy, known: Collection[str]) -> None:
    """Refuse a policy that names a check which is not among ``known``.

    Raises:
        PolicyError: names the first such check.

    """
    for check in sorted({rule.check for rule in policy.exclude} | set(policy.review.checks)):
        if check not in known:
            raise PolicyError(f"policy {policy.name} names the check {check!r}; {did_you_mean(check, known)}")


_SPLITS = frozenset({"", "train", "validation", "test"})
"""Splits that a policy may name even if the data lack them."""


def require_usable(policy: Policy, there: Collection[str]) -> None:
    """Refuse a policy with absent rules, or with splits that data with the splits ``there`` cannot have.

    Raises:
        PolicyError: a name is mistyped, or all splits that the policy judges are absent.

    """
    for name in policy.rules:
        if name not in plugins.installed("rules"):
            raise PolicyError(
                f"policy {policy.name} uses the rule {name!r}, which no installed package adds; install the package, "
                "or use another policy"
            )
    named = {*policy.splits, *(split for rule in policy.exclude for split in rule.splits)}
    if policy.duplicates is not None and policy.duplicates.keep_split != "short_of_class":
        named |= set(policy.duplicates.keep_split)
    if policy.labels is not None:
        named |= set(policy.labels.protect_splits)
    if policy.subjects is not None:
        named |= set(policy.subjects.keep_split)
    have = ", ".join(repr(split) for split in sorted(there) if split) or "none"
    for split in sorted(named - _SPLITS - set(there)):
        nearest = difflib.get_close_matches(split, [*there, *_SPLITS], 1)
        meant = f"; did you mean {nearest[0]!r}?" if nearest else ""
        raise PolicyError(f"policy {policy.name} names the split {split!r}; the splits of this data are: {have}{meant}")
    if policy.splits and not set(policy.splits) & set(there):
        raise PolicyError(
            f"policy {policy.name} judges only the splits {', '.join(policy.splits)}, and the splits of this data are: "
            f"{have}; use another policy, or a copy of it with splits = []"
        )


def decide(policy: Policy, images: pd.DataFrame, issues: Issues) -> list[Draft]:
    """Return the decisions that ``policy`` draws from the issues, sorted by path: one per image, and perhaps a move.

    Exclusions by rule come first, then labels; copies are judged among the remaining images, under their new labels: a
    relabelled copy may end a conflict, and a surplus one is excluded whatever its label.
    """
    frame = images[["path", "split", "label"]]
    if policy.splits:
        frame = frame[frame["split"].isin(policy.splits)]
    drafts = _by_rules(policy, frame, issues)
    for name, options in policy.rules.items():
        left = frame[~is_in(frame["path"], drafts)]
        drafts |= _by_plugin(plugins.installed("rules")[name], options, left, issues)
    if policy.labels is not None:
        left = frame[~is_in(frame["path"], drafts)]
        drafts |= label_drafts(policy.labels, left, issues)
    if policy.duplicates is not None:
        gone = [path for path, draft in drafts.items() if draft.action == "exclude"]
        left = frame[~is_in(frame["path"], gone)]
        new = {path: draft.value for path, draft in drafts.items() if draft.action == "relabel"}
        left = left.assign(label=left["label"].mask(is_in(left["path"], new), left["path"].map(new)))
        copies = _by_copies(policy.duplicates, left, issues)
        # keeping a copy is no reason to revert its new label
        drafts |= {path: draft for path, draft in copies.items() if draft.action != "keep" or path not in drafts}
    moves: list[Draft] = []
    if policy.subjects is not None:
        gone = [path for path, draft in drafts.items() if draft.action == "exclude"]
        apart = _by_subjects(policy.subjects, frame[~is_in(frame["path"], gone)], issues)
        drafts |= {draft.path: draft for draft in apart if draft.action == "exclude"}
        moves = [draft for draft in apart if draft.action == "move"]
    return sorted([*drafts.values(), *moves], key=lambda draft: (draft.path, draft.action))


def _by_rules(policy: Policy, frame: pd.DataFrame, issues: Issues) -> dict[str, Draft]:
    flagged = issues.flagged[issues.flagged["check"].isin([rule.check for rule in policy.exclude])]
    named = frame[is_in(frame["path"], flagged["path"])]
    split_of = dict(zip(named["path"], named["split"], strict=True))
    drafts: dict[str, Draft] = {}
    for rule in policy.exclude:
        for path in flagged.loc[flagged["check"] == rule.check, "path"]:
            inside = path in split_of and (not rule.splits or split_of[path] in rule.splits)
            if inside and path not in drafts:
                drafts[path] = Draft(path, "exclude", reason=rule.reason, issue=rule.check)
    return drafts


def _by_plugin(
    plugin: plugins.Plugin, options: Mapping[str, Any], left: pd.DataFrame, issues: Issues
) -> dict[str, Draft]:
    """Return the decisions of a plug-in rule on images that no earlier rule decides on, at most one per image.

    Raises:
        PluginError: it cannot be loaded, failed, or returned something else.

    """
    drafts = list(plugin.guarded(plugin.load())(dict(options), left.copy(), issues.every()))
    if not all(isinstance(draft, Draft) and draft.action in RULE_ACTIONS for draft in drafts):
        raise plugin.error(f"must return curation.decisions.log.Draft of {', '.join(RULE_ACTIONS)}")
    paths = [draft.path for draft in drafts]
    if len(set(paths)) < len(paths) or not set(paths) <= set(left["path"]):
        raise plugin.error("returned two decisions on one image, or one on an image that it was not given")
    return dict(zip(paths, drafts, strict=True))


def _by_subjects(rule: Subjects, left: pd.DataFrame, issues: Issues) -> list[Draft]:
    """Return the decisions on people who are left in several splits: one split keeps each person."""
    found = left.merge(issues.groups("subject_leak"), on="path")
    order = _split_places(rule.keep_split, found["split"])
    found = found[found.groupby("group")["split"].transform("nunique") > 1]
    drafts = []
    for name, members in found.groupby("group"):
        kept = min(set(members["split"]), key=lambda split: (order[split], split))
        reference = issue_reference("subject_leak", str(name))
        reason = f"the same person is in {kept}"
        for path in members.loc[members["split"] != kept, "path"]:
            drafts.append(Draft(path, rule.action, kept if rule.action == "move" else "", reason, reference))
    return drafts


def _by_copies(rule: Duplicates, left: pd.DataFrame, issues: Issues) -> dict[str, Draft]:
    """Return the decisions on groups: a conflict excludes every copy, otherwise one copy is kept."""
    copies = _groups(rule, left, issues)
    copies = copies[copies.duplicated("group", keep=False)]
    priority = _split_priority(rule, left)
    order = copies.assign(
        split=[priority[place] for place in zip(copies["split"], copies["label"], strict=True)],
        label=copies["label"] == "",  # a copy with a label comes before one without
        rank=copies["rank"] if rule.keep_copy == "best" else 0,
    )
    copies = copies.loc[order.sort_values(["group", "split", "label", "rank", "path"]).index]
    number = copies.groupby("group")["path"].transform("size")
    conflicts = _conflicts(copies) if rule.conflicts == "exclude" else {}
    drafts: dict[str, Draft] = {}
    kept = last = ""
    for path, check, group, size in zip(copies["path"], copies["check"], copies["group"], number, strict=True):
        if group in conflicts:
            reason = f"its {size} copies carry different labels: {', '.join(conflicts[group])}"
            drafts[path] = Draft(path, "exclude", "", reason, issue_reference("label_conflict", group))
        elif group != last:
            kept = path
            drafts[path] = Draft(path, "keep", "", f"the kept one of {size} copies", issue_reference(check, group))
        else:
            drafts[path] = Draft(path, "exclude", "", f"a copy of {kept}", issue_reference(check, group))
        last = group
    return drafts


def _conflicts(copies: pd.DataFrame) -> dict[str, list[str]]:
    """Return group -> its labels, sorted, of the groups that carry several; a missing label contradicts none."""
    pairs = copies.loc[copies["label"] != "", ["group", "label"]].drop_duplicates()
    pairs = pairs[pairs.duplicated("group", keep=False)]
    return {str(group): sorted(labels) for group, labels in pairs.groupby("group")["label"]}


def _groups(rule: Duplicates, left: pd.DataFrame, issues: Issues) -> pd.DataFrame:
    """Return the images of ``left`` that are in a group of copies: path, split, label, group, check, rank."""
    if rule.identity == "equal_dhash":
        found = issues.values("near_duplicate", "dhash").assign(check="near_duplicate", rank=0)
        found["group"] = [f"dhash-{dhash}" for dhash in found["dhash"]]
    else:
        exact, near = (issues.of(check).query("is_issue") for check in ("exact_duplicate", "near_duplicate"))
        # a near group holds all exact copies of its members, so it replaces their exact groups
        found = near if rule.identity == "near" else exact
        if rule.identity == "near":
            found = pd.concat([near, exact[~is_in(exact["path"], near["path"])]])
        found = found.assign(rank=[fact["rank"] for fact in facts(found["evidence"], rank=int)])
    return left.merge(found[["path", "check", "group", "rank"]], on="path")


def _split_priority(rule: Duplicates, left: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Return (split, label) -> priority of keeping a copy there, lowest first."""
    pairs = left[["split", "label"]].drop_duplicates().itertuples(index=False, name=None)
    if rule.keep_split == "short_of_class":
        share = left.groupby("split")["label"].value_counts(normalize=True)
        return {(split, label): float(share[split, label]) for split, label in pairs}
    places = _split_places(rule.keep_split, left["split"])
    return {(split, label): places[split] for split, label in pairs}


def _split_places(keep_split: Sequence[str], there: pd.Series) -> dict[str, float]:
    """Return split -> its place in an order of splits; the lowest is kept first.

    A split that the order does not name takes the place of the one that its name stands for. One of unknown use comes
    right before train, so that it is never emptied in favour of the training split.
    """
    order = {split: float(place) for place, split in enumerate(keep_split)}
    train = order.get("train", float(len(order)))
    return {
        split: order.get(split, order.get(splits.standard(split), train - 0.5 * (splits.role(split) != "train")))
        for split in there.unique()
    }
