"""Where decisions enter: people's by :func:`record`, policies' by :func:`apply`.

Whatever people decide, by command, in the App, in Label Studio or by undoing, is logged; then the policy in force
judges again, and the resulting version is committed.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curation.base import files, reading
from curation.base import settings as settings_of
from curation.base.errors import WorkspaceError
from curation.base.frames import is_in, rows_of
from curation.base.issues import Issues, read_issues
from curation.base.progress import Display
from curation.base.settings import Settings
from curation.base.workspace import Workspace, read_images
from curation.checks import registry
from curation.decisions import brake, manifest, policy, replay
from curation.decisions.follow import Image, not_copies_value
from curation.decisions.log import Draft, Log, undone_in
from curation.decisions.replay import PERSON_PREFIX, POLICY_PREFIX
from curation.models.runs import copy_groups
from curation.pipeline import basis, label_judgement, steps, subjects
from curation.pipeline.axes import axes, picture_numbers

_ACCEPTED = "accept-loss"
"""Prefix of ``issue`` in a policy's opening line if a person accepted its losses; their keys follow as JSON."""


class UnknownClassError(WorkspaceError):
    """A decision names a class or split that the data set does not have; the message names the nearest."""


@dataclass(frozen=True)
class Recorded:
    """The result of decisions: the version in force, the number of log lines that people's decisions added, notes."""

    version: manifest.Version
    logged: int
    notes: list[str] = field(default_factory=list)


def record(
    workspace: Workspace,
    by_person: Mapping[str, Sequence[Draft]],
    settings: Settings,
    display: Display,
    *,
    new_class: bool = False,
    new_split: bool = True,
    judge: bool = True,
) -> Recorded:
    """Log people's decisions, let the policy in force judge again, and commit; the caller holds the lock.

    This is the only way in for people's decisions. A decision is about an image's content and given label; a draft
    without content is about the file that is now at its path. A decision of the same person that is still in force is
    not logged again.

    Args:
        workspace: that was checked.
        by_person: drafts by the person's name; ``undo``, ``not_copies`` and ``not_same`` among them.
        settings: in force.
        display: shows steps and notes.
        new_class: whether labels that no image has yet are allowed.
        new_split: whether splits that no image is in yet are allowed.
        judge: whether the policy judges again; otherwise the log alone gives the version.

    Raises:
        WorkspaceError: a path is not in the data set, or the workspace has not been checked yet.
        UnknownClassError: a class or split is new, and ``new_class`` or ``new_split`` is false.

    """
    images = read_images(workspace)
    log = Log(workspace.decisions)
    _require_judgeable(workspace, log, images, settings)
    named = {draft.path for drafts in by_person.values() for draft in drafts}
    place = _images_by_path(images[is_in(images["path"], named)])
    whole = {who: [_complete(draft, place) for draft in drafts] for who, drafts in by_person.items()}
    classes, splits = known_classes(images, log.table), known_splits(images, log.table)
    for draft in (draft for drafts in whole.values() for draft in drafts):
        for label in [] if new_class else labels_of(draft):
            require_class(label, classes)
        if draft.action == "move" and not new_split:
            require_split(draft.value, splits)
    del images, place
    logged = 0
    for who, drafts in sorted(whole.items()):
        logged += len(log.append(PERSON_PREFIX + who, _not_logged_yet(log, PERSON_PREFIX + who, drafts)))
    if steps.decided_since(workspace, log.table):
        steps.check(workspace, steps.scanned_before(workspace, settings, display), settings, display)
    return replace(judge_again(workspace, log, settings, display, judge=judge), logged=logged)


def _require_judgeable(workspace: Workspace, log: Log, images: pd.DataFrame, settings: Settings) -> None:
    """Refuse decisions, before anything is logged, if the policy in force could not judge after them."""
    manifest.require_whole_log(workspace, log.through)
    if not workspace.issues.exists():
        raise WorkspaceError(f"{workspace.root} has not been checked yet; run: curate check")
    found = in_force(workspace, log.table, settings)
    if found is not None:
        policy.require_usable(found[0], set(images["split"]))


def _images_by_path(images: pd.DataFrame) -> dict[str, Image]:
    return dict(zip(images["path"], map(Image, images["sha256"], images["label"]), strict=True))


def _complete(draft: Draft, place: Mapping[str, Image]) -> Draft:
    """Return a draft with the content and the given label of its image."""
    if not draft.path or draft.content:
        return draft
    if draft.path not in place:
        raise WorkspaceError(f"{draft.path!r} is not in the data set; give paths as curate issues prints them")
    return replace(draft, content=place[draft.path].content, label=place[draft.path].label)


def _not_logged_yet(log: Log, actor: str, drafts: Sequence[Draft]) -> list[Draft]:
    """Return the drafts except those equal to the last decision of this person on the same image."""
    rows = replay.people_rows(log.table)
    rows = rows[rows["path"].isin([draft.path for draft in drafts])]
    columns = ["path", "content", "label", "actor", "action", "value", "reason"]
    last = {(row[0], row[1]): row for row in rows[columns].itertuples(index=False, name=None)}
    found = []
    for draft in drafts:
        before = (
            last.get((draft.path, draft.content)) if draft.action in ("keep", "exclude", "relabel", "soften") else None
        )
        said = (draft.path, draft.content, draft.label, actor, draft.action, draft.value)
        if before is None or before[:6] != said or draft.reason not in ("", before[6]):
            found.append(draft)
    return found


def known_classes(images: pd.DataFrame, table: pd.DataFrame) -> set[str]:
    """Return the classes of the data and those that people have assigned."""
    people = replay.people_rows(table)
    return {*images["label"], *people.loc[people["action"] == "relabel", "value"]} - {""}


def known_splits(images: pd.DataFrame, table: pd.DataFrame) -> set[str]:
    """Return the splits of the data and those that people have made."""
    people = replay.people_rows(table)
    return {*images["split"], *people.loc[people["action"] == "move", "value"]} - {""}


def labels_of(draft: Draft) -> list[str]:
    """Return the classes that a decision assigns.

    Raises:
        WorkspaceError: the soft label is not a JSON object.

    """
    if draft.action != "soften":
        return [draft.value] if draft.action == "relabel" else []
    try:
        return [str(name) for name in dict(files.parsed(draft.value).get("soft_label") or {})]
    except (ValueError, TypeError, AttributeError) as error:
        raise WorkspaceError(f"{draft.path!r} is softened by {draft.value!r}, no JSON object of classes") from error


def require_class(label: str, known: set[str]) -> None:
    """Refuse a class that no image has, unless the data set has no labels at all.

    Raises:
        UnknownClassError: with the nearest known class.

    """
    if known and label not in known:
        raise UnknownClassError(
            f"no image has the class {label!r}; {_meant(label, known)}? To make a new class, add --new-class"
        )


def require_split(split: str, known: set[str]) -> None:
    """Refuse a split that no image is in: a mistyped name would move images out of their split.

    Raises:
        UnknownClassError: with the nearest known split.

    """
    if split not in known:
        meant = f"{_meant(split, known)}? " if known else ""
        raise UnknownClassError(f"no image is in a split {split!r}; {meant}To make a new split, add --new-split")


def _meant(name: str, known: set[str]) -> str:
    folded = {" ".join(each.casefold().split()): each for each in sorted(known)}
    near = difflib.get_close_matches(" ".join(name.casefold().split()), list(folded), 1)
    return f"did you mean {folded[near[0]]!r}" if near else f"there are: {', '.join(sorted(known))}"


def without_new_classes(
    by_person: Mapping[str, Sequence[Draft]], known: set[str]
) -> tuple[dict[str, list[Draft]], list[str]]:
    """Return the drafts whose classes are known (all, if no class is known), and a sentence on each unknown class."""
    taken: dict[str, list[Draft]] = {}
    said: dict[str, int] = {}
    for who, drafts in by_person.items():
        for draft in drafts:
            try:
                for label in labels_of(draft):
                    require_class(label, known)
                taken.setdefault(who, []).append(draft)
            except UnknownClassError as error:
                said[str(error)] = said.get(str(error), 0) + 1
    return taken, [f"Not taken ({number:,}): {words}." for words, number in sorted(said.items())]


def decide(
    workspace: Workspace,
    paths: Sequence[str],
    action: str,
    value: str,
    reason: str,
    by: str,
    settings: Settings,
    *,
    new_class: bool = False,
    new_split: bool = False,
) -> Recorded:
    """Record a person's decision on images, see :func:`record`; the caller holds the lock.

    Args:
        workspace: that was curated.
        paths: of images; for ``not_copies`` and ``not_same`` also names of groups, as curate issues prints them.
        action: keep, exclude, relabel, soften, move, subject, not_copies, or not_same (no two show one person).
        value: the label of relabel, JSON of soften, the split of move, the person's name of subject.
        reason: for the log.
        by: the person's name.
        settings: in force.
        new_class: whether a label that no image has yet is allowed.
        new_split: whether a split that no image is in yet is allowed.

    Raises:
        WorkspaceError: as :func:`record`; or images said not to be copies have equal pixels.

    """
    if action == "not_copies":
        drafts = [_parting(workspace, paths, reason)]
    elif action == "not_same":
        images = read_images(workspace)
        members, told = sorted(_members(workspace, paths, images)), Draft("", action, reason=reason)
        drafts = subjects.not_same(subjects.given_names(workspace, images), images, members, [], told)
    else:
        drafts = [Draft(path, action, value, reason) for path in sorted(set(paths))]
    return record(workspace, {by: drafts}, settings, Display(quiet=True), new_class=new_class, new_split=new_split)


def _parting(workspace: Workspace, names: Sequence[str], reason: str) -> Draft:
    """Return the draft by which no two of the images, or of the members of the groups, are copies."""
    images = read_images(workspace)
    paths = _members(workspace, names, images)
    exact = read_issues(workspace).of("exact_duplicate").query("is_issue")
    exact = exact[exact["path"].isin(paths)]
    if exact["group"].duplicated().any():
        group = exact.loc[exact["group"].duplicated(keep=False), "path"].head(2)
        raise WorkspaceError(
            f"{' and '.join(group)} have the same pixels; to keep both: curate decide {' '.join(group)} --keep"
        )
    return Draft("", "not_copies", not_copies_value(_images_by_path(images), paths), reason)


def _members(workspace: Workspace, names: Sequence[str], images: pd.DataFrame) -> set[str]:
    """Return the named images and the members of the named groups, at least two."""
    issues = read_issues(workspace).flagged.query("group != ''")
    known, paths = set(images["path"]), set[str]()
    for name in names:
        members = {name} if name in known else set(issues.loc[issues["group"] == name, "path"])
        if not members:
            raise WorkspaceError(f"{name!r} is neither an image nor a group; give either as curate issues prints it")
        paths |= members
    if len(paths) < 2:
        raise WorkspaceError("name at least two images, or a group of them, that are to be kept apart")
    return paths


def undo(workspace: Workspace, target: str, by: str, settings: Settings, display: Display | None = None) -> Recorded:
    """Undo one decision (by sequence number) or all decisions behind a version (by name), as a new version.

    The policy then in force judges again, unless only its own decisions are undone.

    Raises:
        WorkspaceError: there is no such decision or version, or nothing is left to undo.

    """
    log = Log(workspace.decisions)
    manifest.require_whole_log(workspace, log.through)
    chosen = set(_targets(workspace, target, log.table)) - undone_in(log.table)
    shown = display or Display(quiet=True)
    cleaned = [version.log_through for version in manifest.versions(workspace) if version.kind == "cleaned"]
    if not chosen and max(cleaned, default=0) < log.through:  # killed between the log and the version
        return judge_again(workspace, log, settings, shown)
    if not chosen:
        raise WorkspaceError(f"{target}: nothing to undo; it is undone already or changed nothing")
    lines = log.table[log.table["seq"].isin(chosen)]
    of_people = lines["actor"].str.startswith(PERSON_PREFIX)
    judge = bool(target.isdigit() or of_people.any() or (lines["action"] == "policy").any())
    draft = Draft("", "undo", value=json.dumps(sorted(chosen)), reason=f"took back {target}")
    return record(workspace, {by: [draft]}, settings, shown, judge=judge)


def _targets(workspace: Workspace, target: str, table: pd.DataFrame) -> list[int]:
    if (number := reading.whole_number(target)) is not None:
        if not 1 <= number <= len(table):
            raise WorkspaceError(f"no decision {target}; the log has 1 to {len(table)}: see curate log")
        return [number]
    version = manifest.find(workspace, target)
    if version.kind == "raw":
        raise WorkspaceError(f"{version.name} is a raw version; it holds no decision to undo")
    start = max((v.log_through for v in manifest.versions(workspace) if v.number < version.number), default=0)
    mine = table.loc[(table["seq"] > start) & (table["seq"] <= version.log_through), "seq"].tolist()
    return [*mine, *_repeats(table, mine, version.log_through)]


def _repeats(table: pd.DataFrame, mine: Sequence[int], through: int) -> list[int]:
    """Return people's later decisions that only repeat ``mine`` and therefore made no version of their own."""
    people = replay.people_rows(table)
    said: dict[tuple[str, str], tuple[str, str]] = {}
    found = []
    for seq, *image, action, value in people[["seq", "path", "content", "action", "value"]].itertuples(index=False):
        key = (image[0], image[1])
        if seq in mine:
            said[key] = (action, value)
        elif seq > through and key in said:
            if said[key] == (action, value):
                found.append(seq)
            else:
                del said[key]
    return found


def judge_again(
    workspace: Workspace, log: Log, settings: Settings, display: Display, *, judge: bool = True
) -> Recorded:
    """Let the policy in force judge again after people's decisions, and commit; the caller holds the lock.

    The policy is the one that the log names, not that of the settings: a decision on one image must not change the
    policy for all. If that policy is no longer available, its decisions stay as they are, and a note says so.
    """
    if judge and label_judgement.learn(workspace, settings):
        steps.refresh_label_issues(workspace)
    opening = replay.opening_of(log.table)
    found = in_force(workspace, log.table, settings)
    if judge and found is not None:
        return _apply_policy(workspace, log, *found, settings, display)
    raw = commit_raw(workspace, read_images(workspace), settings)
    version = _committed(
        workspace, log, raw, basis.lineage_of(workspace, settings, None if found is None else found[0])
    )
    notes = []
    if judge and opening is not None:
        notes.append(
            f"The policy {opening.actor.removeprefix(POLICY_PREFIX)} could not judge again, as it was changed or "
            "removed; its decisions stay in force. To let a policy decide: curate apply --policy NAME"
        )
    return Recorded(version, 0, notes)


def in_force(workspace: Workspace, table: pd.DataFrame, settings: Settings) -> tuple[policy.Policy, str] | None:
    """Return the policy in force by the log, and the name or file under which it was requested.

    None where there is none, or it is no longer available.
    """
    opening = replay.opening_of(table)
    if opening is None:
        return None
    kept = policy.stored(workspace.policies, opening.value)
    if kept is not None:
        return kept
    for name in (opening.actor.removeprefix(POLICY_PREFIX), settings.policy):
        try:
            found = policy.load(name)
        except policy.PolicyError:
            continue
        if found.fingerprint == opening.value:
            return found, name
    return None


def requested_policy(workspace: Workspace, table: pd.DataFrame, settings: Settings) -> policy.Policy:
    """Return the policy of the settings; if its file is gone, the copy that was last applied.

    Raises:
        PolicyError: there is neither.

    """
    try:
        chosen = policy.load(settings.policy)
    except policy.PolicyError:
        for fingerprint in reversed(table.loc[table["action"] == "policy", "value"].tolist()):
            kept = policy.stored(workspace.policies, fingerprint)
            if kept is not None and settings.policy == kept[1] and not Path(settings.policy).exists():
                return kept[0]
        raise
    policy.require_checks(chosen, registry.names())
    return chosen


def apply(workspace: Workspace, settings: Settings, display: Display, *, accept_loss: bool = False) -> Recorded:
    """Let the policy of the settings decide on the current issues; the caller holds the lock.

    With ``accept_loss``, exclusions that the brake would hold back take effect, now and whenever the policy judges.
    """
    log = Log(workspace.decisions)
    manifest.require_whole_log(workspace, log.through)
    chosen = requested_policy(workspace, log.table, settings)
    return _apply_policy(workspace, log, chosen, settings.policy, settings, display, accept_loss=accept_loss)


def _apply_policy(
    workspace: Workspace,
    log: Log,
    chosen: policy.Policy,
    source: str,
    settings: Settings,
    display: Display,
    *,
    accept_loss: bool = False,
) -> Recorded:
    """Commit the raw version, let ``chosen`` decide, log its new decisions, and commit the cleaned version.

    The policy judges the data after people's decisions: an image that a person excluded is no longer a copy of any
    other, and one that a person relabelled has the new label. Nothing is judged if all of that is as it was.
    """
    if not accept_loss and basis.is_decided(workspace, basis.basis_of(workspace, chosen, source, settings)):
        policy.store(workspace.policies, chosen, source)
        steps.note_policy(workspace, source)
        return Recorded(manifest.find(workspace, "cleaned"), 0, _other_settings(workspace, settings))
    with display.step("Deciding"):
        images = read_images(workspace)
        policy.require_usable(chosen, set(images["split"]))
        raw = commit_raw(workspace, images, settings)
        del images  # here and below: tables of a million images are large
        rows, issues = manifest.rows(workspace, raw), read_issues(workspace)
        people = log.table[log.table["actor"].str.startswith(PERSON_PREFIX)]
        people = manifest.followed(workspace, people, rows).table
        judged = replay.replay(rows, people)
        judged = judged.loc[judged["status"] == "kept", ["path", "split", "label", "subject"]]
        overruled = manifest.overruled(workspace, log.table, rows)
        del rows
        drafts = policy.decide(chosen, judged, issues)
        stands = replay.people_rows(people)
        kept = set(stands.loc[stands["action"] == "keep", "path"])  # by people, whatever the policy says
        judged, notes = _with_axes(workspace, judged, issues, settings)
        del issues
        beyond = brake.losses(judged, [draft for draft in drafts if draft.path not in kept], settings.brake)
        accepted = _accepted(log.table, chosen) | ({loss.key for loss in beyond} if accept_loss else set())
        stopped = [loss for loss in beyond if loss.key not in accepted]
        drafts = brake.held_back(judged, drafts, stopped)
        del judged
        drafts = [draft for draft in drafts if (draft.path, draft.action) not in overruled]
        policy.store(workspace.policies, chosen, source)
        _log_what_is_new(log, chosen, drafts, accepted)
        lineage = basis.lineage_of(workspace, settings, chosen)
        if stopped:
            lineage["brake"] = [loss.record() for loss in stopped]
        version = _committed(workspace, log, raw, lineage)
    steps.note_policy(workspace, source)
    if not notes:
        basis.note_decided(workspace, chosen, source, settings)
    return Recorded(version, 0, [*_other_settings(workspace, settings), *notes])


def _with_axes(
    workspace: Workspace, judged: pd.DataFrame, issues: Issues, settings: Settings
) -> tuple[pd.DataFrame, list[str]]:
    """Return the images with their axes of coverage and group of copies; a note where there are no measurements."""
    from curation.measure.load import MeasurementsError

    try:
        known, _ = axes(workspace, settings, issues)
    except MeasurementsError as absent:
        return judged, [f"Whether a class loses all faces of one kind was not looked at: {absent}."]
    at = rows_of(judged["path"], known.index)  # -1 takes what is appended: the axes of an unknown image
    values = {str(axis): np.append(column.to_numpy(dtype=object), "")[at] for axis, column in known.items()}
    return judged.assign(**values, picture=picture_numbers(judged["path"], copy_groups(issues.rows))), []


def _other_settings(workspace: Workspace, settings: Settings) -> list[str]:
    """Return a note if the settings in force differ from those that the issues were computed with."""
    changed = settings_of.differences(settings, settings_of.made_with(workspace))
    if not changed:
        return []
    return [
        f"The issues were computed with other settings than those in force now ({'; '.join(changed)}): decisions rest "
        "on these issues; to compute them again: curate check."
    ]


def _accepted(table: pd.DataFrame, chosen: policy.Policy) -> set[str]:
    """Return the losses that a person accepted, if ``chosen`` is the policy in force."""
    opening = replay.opening_of(table)
    if opening is None or opening.value != chosen.fingerprint or not opening.issue.startswith(_ACCEPTED):
        return set()
    try:
        return {str(key) for key in files.parsed(opening.issue.removeprefix(_ACCEPTED))}
    except (ValueError, TypeError):
        return set()


def _log_what_is_new(log: Log, chosen: policy.Policy, drafts: Sequence[Draft], accepted: set[str]) -> None:
    """Append the difference between the policy's decisions and those in the log: an undo and the new ones.

    Another policy, other accepted losses, and a policy brought back by an undo begin a new batch.
    """
    opening = replay.opening_of(log.table)
    issue = f"{_ACCEPTED} {json.dumps(sorted(accepted), ensure_ascii=False)}" if accepted else ""
    actor = POLICY_PREFIX + chosen.name
    same = opening is not None and (opening.actor, opening.value, opening.issue) == (actor, chosen.fingerprint, issue)
    before = replay.policy_rows(log.table) if same else log.table[:0]
    fields = ["path", "action", "value", "reason", "issue"]
    stands = {Draft(*row): seq for seq, *row in before[["seq", *fields]].itertuples(index=False, name=None)}
    gone = sorted(set(stands.values()) - {stands.get(draft) for draft in drafts})
    new = [draft for draft in drafts if draft not in stands]
    if same and not gone and not new:
        return
    if same and replay.may_grow(log.table):
        log.append(actor, [Draft("", "undo", json.dumps(gone), "judged again"), *new])
    else:
        log.append(actor, [Draft("", "policy", chosen.fingerprint, chosen.description, issue), *drafts])


def commit_raw(workspace: Workspace, images: pd.DataFrame, settings: Settings) -> manifest.Version:
    """Commit the raw version, unless the newest raw version is the same."""
    raw = manifest.raw_manifest(images)
    return manifest.commit(workspace, raw, kind="raw", log_through=0, lineage=basis.lineage_of(workspace, settings))


def _committed(workspace: Workspace, log: Log, raw: manifest.Version, lineage: dict[str, Any]) -> manifest.Version:
    """Replay the log on a raw version and commit the result."""
    rows = manifest.rows(workspace, raw)
    cleaned = replay.replay(rows, manifest.followed(workspace, log.table, rows).table)
    return manifest.commit(
        workspace, cleaned, kind="cleaned", log_through=log.through, lineage=lineage, chain=log.chain
    )


def no_longer_applying(workspace: Workspace) -> pd.DataFrame:
    """Return people's decisions on images that are gone or changed: seq, actor, path, action, value, why."""
    return manifest.followed(workspace, Log(workspace.decisions).table, manifest.find(workspace, "raw")).lost
