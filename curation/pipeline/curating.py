"""Curate a data set end to end: all steps up to a cleaned version, its report, and a summary in sentences."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from curation.base import files, memory
from curation.base import settings as settings_of
from curation.base.destinations import DestinationError, Destinations
from curation.base.issues import Issues, read_issues
from curation.base.progress import Display
from curation.base.settings import Settings
from curation.base.workspace import (
    Workspace,
    app_dataset,
    option_of,
    read_images,
    read_opinions,
    source_of,
)
from curation.decisions import log, manifest, policy, replay
from curation.labels import people
from curation.models.runs import copy_groups
from curation.pipeline import decisions, label_judgement, label_queue, label_store, losses, steps, subjects
from curation.pipeline.axes import axes, coverage_of
from curation.pipeline.steps import Scanned

REPORT_REVISION = 8
"""Increased whenever the report may differ for the same tables."""


APP = "http://localhost:5151"
"""Default address of the App (``curate review``)."""


@dataclass(frozen=True)
class Outcome:
    """The result of a run, as sentences and as a JSON record."""

    lines: list[str]
    record: dict[str, Any]


def run(
    workspace: Workspace,
    source: str,
    settings: Settings,
    display: Display,
    limit: int = 0,
    *,
    accept_loss: bool = False,
) -> Outcome:
    """Run every step up to a cleaned version and its report; the caller holds the lock.

    Labels that cannot be judged do not stop the run: the outcome says why.
    """
    opened = log.Log(workspace.decisions)  # a damaged log or an unknown policy fails before the work
    manifest.require_whole_log(workspace, opened.through)
    decisions.requested_policy(workspace, opened.table, settings)
    scanned = steps.scan(workspace, source, settings, display, limit)
    issues = judge_labels(workspace, scanned, settings, display)
    scanned.set_aside()
    recorded = decisions.apply(workspace, settings, display, accept_loss=accept_loss)
    version = recorded.version
    memory.give_back()
    page = write_report(workspace, issues, version, settings, display)
    memory.give_back()
    lines, record = summarise(workspace, issues, version, settings)
    left_out, _ = steps.read_problems(workspace)
    record |= {
        "version": version.name,
        "manifest_hash": version.hash,
        "policy": version.lineage["policy"]["name"],
        "measured_now": scanned.measured_now,
        "left_out": len(left_out),
        "notes": list(scanned.notes),
        "report": str(page),
    }
    judged = [*label_judgement.outcome_lines(workspace, version), *label_store.remarks_of(workspace)]
    lines += [*recorded.notes, *judged]
    next_lines = _what_next(workspace, version, page, left_out)
    return Outcome([*steps.note_lines(scanned), *lines, *next_lines], record)


def judge_labels(workspace: Workspace, scanned: Scanned, settings: Settings, display: Display) -> Issues:
    """Run all checks, with the labels judged by the recipe of the settings, and return the issues.

    Labels are judged first, on the raw version and its groups of copies. With the recipe ``off`` nothing is fitted,
    and an existing judgement of these images is used.
    """
    if settings.labels.recipe != "off":
        decisions.commit_raw(workspace, scanned.images, settings)
        copies = steps.copy_graph(workspace, scanned, settings, display)
        label_judgement.judge(workspace, scanned.images, copies, settings, display)
    return steps.check(workspace, scanned, settings, display)


def summarise(
    workspace: Workspace, issues: Issues, version: manifest.Version, settings: Settings
) -> tuple[list[str], dict[str, Any]]:
    """Return what was found and decided, in sentences and as a record; losses and held exclusions come first."""
    from curation.pipeline import summary

    raw, rows = manifest.both_rows(workspace, version)
    entries = entries_of(workspace, version)
    chosen = policy_of(workspace, version, settings)
    lines, record = summary.closing(raw, issues, rows, entries, chosen.review.checks if chosen else ())
    headline = losses.headline(raw, rows, entries, settings.brake)
    held, held_record = losses.held(version, entries, option_of(workspace))
    lost, lost_record = losses.no_longer_applying(decisions.no_longer_applying(workspace))
    return [*headline, *held, *lines, *lost], {**record, "headline": headline, **held_record, **lost_record}


def entries_of(workspace: Workspace, version: manifest.Version) -> list[log.Entry]:
    """Return the decisions in force in a version, weakest first, by the paths that its images have now."""
    table = log.Log(workspace.decisions).table
    table = table[table["seq"] <= version.log_through]
    if version.rules != replay.BY_PATH:
        table = manifest.followed(workspace, table, manifest.find(workspace, version.base)).table
    return log.entries_of(replay.effective(table))


def policy_of(workspace: Workspace, version: manifest.Version, settings: Settings) -> policy.Policy | None:
    """Return the policy that a version was made with, None if it is no longer available."""
    return _policy_and_name(workspace, version, settings)[0]


def _policy_and_name(
    workspace: Workspace, version: manifest.Version, settings: Settings
) -> tuple[policy.Policy | None, str]:
    """Return the policy that a version was made with, and the name or file under which it was requested."""
    table = log.Log(workspace.decisions).table
    found = decisions.in_force(workspace, table[table["seq"] <= version.log_through], settings)
    return found or (None, version.lineage.get("policy", {}).get("name", ""))


def app_of(workspace: Workspace, version: manifest.Version) -> str:
    """Return the address of a version's images in the App, while it runs."""
    return f"{APP}/datasets/{quote(app_dataset(workspace.root, version.name))}"


def _what_next(
    workspace: Workspace,
    version: manifest.Version,
    page: Path,
    left_out: Sequence[dict[str, str]],
) -> list[str]:
    option = option_of(workspace)
    lines = []
    if left_out:
        reason, number = Counter(problem["reason"].partition(": ")[0] for problem in left_out).most_common(1)[0]
        files = "1 other file was" if len(left_out) == 1 else f"{len(left_out):,} other files were"
        most = "" if number == len(left_out) else f"{number:,} of them: "
        lines.append(f"{files} left out ({most}{reason}): see {workspace.ingest}")
    if not subjects.record_of(workspace) and read_images(workspace)["split"].nunique() > 1:
        lines += [f"One person in several splits was not looked for: curate check subject_leak --identity dlib{option}"]
    if not workspace.challenges.exists():
        lines += [f"Watermarks, covered faces and faces of no person were not looked for: curate check --embed{option}"]
    if not label_store.record_of(workspace):
        lines += [f"Labels were not judged: curate check mislabelled ambiguous --labels fast{option}"]
    return [
        *lines,
        f"Version {version.name} ({version.hash[:12]}) is committed; nothing in the source was changed.",
        f"Report: {page}",
        f"Next: curate show{option} | curate issues{option} --check label_conflict | curate explain PATH{option} "
        f"| curate export cleaned --format csv -o {_place_outside(workspace)}{option}",
    ]


def _place_outside(workspace: Workspace) -> Path:
    """Return where an export can be written: the current folder, or beside the data if that is inside the data."""
    try:
        Destinations(workspace).allow_place(Path("cleaned.csv"))
    except DestinationError:
        return Path(source_of(workspace)).parent / "cleaned.csv"
    return Path("cleaned.csv")


def report(workspace: Workspace, settings: Settings, display: Display) -> Path:
    """Write the cleaning report of the newest cleaned version; the caller holds the lock."""
    steps.scanned_before(workspace, settings, display).set_aside()
    issues = read_issues(workspace)
    version = manifest.find(workspace, "cleaned")
    return write_report(workspace, issues, version, settings, display)


def write_report(
    workspace: Workspace,
    issues: Issues,
    version: manifest.Version,
    settings: Settings,
    display: Display,
) -> Path:
    """Write the cleaning report of ``version`` unless it is up to date, and return its path."""
    from curation.pipeline import changes, queries, report_tables

    chosen, called = _policy_and_name(workspace, version, settings)
    made = settings_of.made_with(workspace) or {}
    path = workspace.reports / "cleaning.html"
    findings = read_opinions(workspace)
    opinions = [] if findings is None else [findings[column] for column in findings]
    votes = [(file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for file in people.vote_files(workspace)]
    judged = [*label_judgement.outcome_lines(workspace, version), *label_store.remarks_of(workspace)]
    plan = label_queue.newest_plan(workspace)
    left_out, said = steps.read_problems(workspace)
    marker = files.read_json(workspace.marker) or {}
    lost, _ = losses.no_longer_applying(decisions.no_longer_applying(workspace))
    pages = [each.relative_to(workspace.reports).as_posix() for each in sorted(workspace.peer_pages.glob("*/*.html"))]
    origin = {
        "source": marker.get("source", ""),
        "left_out_files": left_out,
        "warnings": [*said, *_other_settings(workspace, version, made, issues)],
        "made": made,
        "command": _run_again(marker, version, called),
        "option": option_of(workspace),
        "app": app_of(workspace, version),
    }
    asked = settings.model_dump_json(include={"seed", "measure", "checks", "brake"})
    stated = json.dumps([origin, version.lineage.get("policy")], sort_keys=True)  # what is read again is sorted
    made_of: list[Any] = [version.name, version.hash, stated, asked]
    made_of += [issues.identity, *opinions, *votes, *judged, label_store.state_of(workspace), plan, *pages, *lost]
    fingerprint = steps.digest(*made_of, REPORT_REVISION)
    if steps.is_current(workspace, "report", fingerprint, path):
        return path
    with display.step("Writing the report"):
        from reports import cleaning_page

        changed = changes.since_last(workspace, version, settings)
        raw, cleaned = manifest.both_rows(workspace, version)
        entries = entries_of(workspace, version)
        known, _ = axes(workspace, settings, issues)
        covered = coverage_of(known, raw, cleaned, copy_groups(issues.rows), settings.seed)
        del known
        stopped, _ = losses.held(version, entries, option_of(workspace))
        page = cleaning_page(
            report_tables.cleaning_report_tables(
                issues,
                entries,
                raw,
                cleaned,
                report_tables.provenance(version=version, policy=chosen, **origin),
                lambda paths: queries.thumbnails(workspace, settings, paths),
                findings,
                pages,
                people.figures(workspace, settings.seed),
                ([*losses.headline(raw, cleaned, entries, settings.brake), *stopped], [*lost, *judged]),
                changed,
                label_store.jury_of(workspace),
                plan,
                covered,
            )
        )
        files.write_bytes(path, page.encode("utf-8"))
    steps.note(workspace, "report", fingerprint, path)
    return path


def _other_settings(
    workspace: Workspace, version: manifest.Version, made: Mapping[str, Any], issues: Issues
) -> list[str]:
    """Return a warning if the issues on the page are no longer those that the policy decided on."""
    before, now = version.lineage.get("settings", {}), made.get("settings", {})
    changed = [name for name in now if name != "policy" and before.get(name, now[name]) != now[name]]
    if not changed or steps.are_judged(workspace, issues):
        return []
    return [
        f"The issues were computed again with other settings ({', '.join(changed)}) after {version.name} was decided; "
        "the figures are the new ones. To decide on them: curate apply."
    ]


def _run_again(marker: Mapping[str, Any], version: manifest.Version, policy_name: str) -> str:
    """Return the command that repeats the run."""
    recipe = version.lineage.get("settings", {}).get("labels", {}).get("recipe", "off")
    words = ["curate", "run", str(marker.get("source", "")), "--policy", policy_name]
    words += ["--labels", recipe] if recipe != "off" else []
    words += ["--limit", str(marker["limit"])] if marker.get("limit") else []
    return shlex.join(words)
