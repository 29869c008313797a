"""Answers to a person's questions about a workspace: versions, issues, log, one image. Reads only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from curation.base import files, tables
from curation.base.errors import WorkspaceError
from curation.base.workspace import Workspace, read_images, read_issues
from curation.decisions import log, manifest
from curation.pipeline import label_judgement, summary


@dataclass(frozen=True)
class QueryResult:
    """The same answer three ways: sentences, a record for machines, and a table where there is one."""

    lines: list[str]
    record: dict[str, Any]
    table: pd.DataFrame


def version_lines(version: manifest.Version) -> list[str]:
    """Return what a version is, in a few sentences."""
    kept = excluded = 0
    for classes in version.counts.values():
        for statuses in classes.values():
            kept += statuses.get("kept", 0)
            excluded += statuses.get("excluded", 0)
    policy = version.lineage.get("policy", {}).get("name", "")
    by = f", policy {policy}" if policy and version.kind == "cleaned" else ""
    return [
        f"{version.name} ({version.kind}{by}): {kept:,} images kept, {excluded:,} excluded.",
        f"Content hash {version.hash}; made {version.created} from "
        f"{version.base} and {version.log_through:,} log lines.",
    ]


def version_list(workspace: Workspace) -> pd.DataFrame:
    """Return one row a version: name, kind, kept, excluded, hash, created, tags."""
    named: dict[str, list[str]] = {}
    for tag, name in manifest.tags(workspace).items():
        named.setdefault(name, []).append(tag)
    records = []
    for version in manifest.versions(workspace):
        totals = {"kept": 0, "excluded": 0}
        for classes in version.counts.values():
            for statuses in classes.values():
                for status, number in statuses.items():
                    totals[status] += number
        records.append(
            {
                "version": version.name,
                "kind": version.kind,
                **totals,
                "hash": version.hash[:12],
                "created": version.created,
                "tags": " ".join(named.get(version.name, [])),
            }
        )
    return pd.DataFrame(records)


def show(workspace: Workspace, name: str) -> QueryResult:
    """Return a version beside the raw one it rests on, by split and class."""
    version = manifest.find(workspace, name)
    raw = manifest.rows(workspace, manifest.find(workspace, version.base))
    rows = manifest.rows(workspace, version)
    table = summary.before_after(raw, rows)
    record = {**asdict(version), "before_after": table.to_dict("records")}
    return QueryResult([*version_lines(version), *label_judgement.outcome_lines(workspace, version)], record, table)


def found_issues(workspace: Workspace, check: str = "", *, flagged_only: bool = True, peer: str = "") -> pd.DataFrame:
    """Return issue rows, worst first within each check: ours, or those of a peer, with its name and version.

    Raises:
        WorkspaceError: no check of that name has been run.

    """
    issues = _of_peer(workspace, peer) if peer else read_issues(workspace)
    if check:
        if check not in tables.CHECK_NAMES:
            raise WorkspaceError(f"no check {check!r}; there are: {', '.join(tables.CHECK_NAMES)}")
        issues = issues[issues["check"] == check]
        if issues.empty:
            raise WorkspaceError(f"the check {check} has not scored any image of this workspace yet")
    if flagged_only:
        issues = issues[issues["is_issue"]]
    order = {name: place for place, name in enumerate(tables.CHECK_NAMES)}
    keys = issues.assign(place=issues["check"].map(order))
    ordered = keys.sort_values(["place", "score", "group", "path"], ignore_index=True)
    return ordered.drop(columns="place")


def _of_peer(workspace: Workspace, peer: str) -> pd.DataFrame:
    said = (
        files.read_table(workspace.opinion_issues) if workspace.opinion_issues.exists() else pd.DataFrame({"peer": []})
    )
    asked = sorted(set(said["peer"]))
    if peer not in asked:
        known = f"; there are answers of {', '.join(asked)}" if asked else ""
        raise WorkspaceError(f"{peer} has not been asked yet{known}; run: curate check --also {peer}")
    return said[said["peer"] == peer]


def log_table(workspace: Workspace, path: str = "") -> pd.DataFrame:
    """Return the log's lines, newest first, with a column that says which are undone."""
    entries = log.read(workspace.decisions)
    gone = log.undone(entries)
    records = [
        {**asdict(entry), "undone": entry.seq in gone} for entry in reversed(entries) if not path or entry.path == path
    ]
    return pd.DataFrame(records, columns=[*log.Entry.__dataclass_fields__, "undone"])


def diff(workspace: Workspace, before: str, after: str) -> pd.DataFrame:
    """Return the images that two versions judge differently; see :func:`curation.decisions.manifest.diff`."""
    first, second = (manifest.rows(workspace, manifest.find(workspace, name)) for name in (before, after))
    return manifest.diff(first, second)


def explain(workspace: Workspace, path: str) -> QueryResult:
    """Return all that is known of one image.

    Raises:
        WorkspaceError: no image has that path.

    """
    images = read_images(workspace).set_index("path")
    if path not in images.index:
        similar = [known for known in images.index if known.endswith(path)]
        hint = f"; did you mean {similar[0]}?" if similar else "; give it as curate issues prints it"
        raise WorkspaceError(f"{path!r} is not in this data set{hint}")
    issues = read_issues(workspace)
    mine = issues[issues["path"] == path].sort_values("score")
    state = _state(workspace, path)
    history = log_table(workspace, path).iloc[::-1]
    record = {
        "path": path,
        "image": images.loc[path].to_dict(),
        "manifest": state,
        "issues": [
            {**row, "evidence": json.loads(row["evidence"])} for row in mine.drop(columns="path").to_dict("records")
        ],
        "decisions": history.drop(columns="path").to_dict("records"),
    }
    return QueryResult(_explained(record), record, mine)


def _state(workspace: Workspace, path: str) -> dict[str, Any]:
    try:
        version = manifest.find(workspace, "cleaned")
    except WorkspaceError:
        return {}
    rows = manifest.rows(workspace, version).set_index("path")
    return {"version": version.name, **rows.loc[path].to_dict()} if path in rows.index else {}


def _explained(record: dict[str, Any]) -> list[str]:
    image, state = record["image"], record["manifest"]
    place = f"{image['split']}, " if image["split"] else ""
    labelled = f"labelled {image['label']}" if image["label"] else "without a label"
    lines = [f"{record['path']} ({place}{labelled}, {image['width']}x{image['height']} {image['mode']})"]
    if state:
        why = f": {state['reason']}" if state["reason"] else ""
        label = f" as {state['label']}" if state["label"] != state["original_label"] else ""
        lines.append(f"In {state['version']}: {state['status']}{label}{why}.")
    found = [issue for issue in record["issues"] if issue["is_issue"]]
    lines.append(f"Found: {_listed(found)}" if found else "Found: nothing; every check passed.")
    lines += [f"  {issue['check']} (score {issue['score']:.2f}): {_evidence(issue)}" for issue in found]
    for decision in record["decisions"]:
        undone = " (undone)" if decision["undone"] else ""
        reason = f" because {decision['reason']}" if decision["reason"] else ""
        lines.append(
            f"Decision {decision['seq']}, {decision['time']}, {decision['actor']}: "
            f"{decision['action']} {decision['value']}".rstrip()
            + f"{reason}{undone}"
        )
    return lines


def _listed(found: Sequence[dict[str, Any]]) -> str:
    return ", ".join(issue["check"] for issue in found)


def _evidence(issue: dict[str, Any]) -> str:
    return summary.evidence_words(issue["evidence"])
