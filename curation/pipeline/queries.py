"""Read-only queries of a workspace: versions, issues, log, one image."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from curation.base import files
from curation.base.errors import WorkspaceError, did_you_mean
from curation.base.frames import is_in
from curation.base.issues import Issues, read_issues
from curation.base.settings import Settings
from curation.base.tables import facts
from curation.base.workspace import Workspace, read_images, read_listing, read_opinions
from curation.checks import registry
from curation.decisions import log, manifest
from curation.decisions.replay import PERSON_PREFIX, POLICY_PREFIX
from curation.pipeline import label_judgement, summary


@dataclass(frozen=True)
class QueryResult:
    """A result as sentences, as a JSON record, and as a table."""

    lines: list[str]
    record: dict[str, Any]
    table: pd.DataFrame


def version_lines(version: manifest.Version) -> list[str]:
    """Describe a version in a few sentences."""
    kept, excluded = _totals(version).values()
    policy = version.lineage.get("policy", {}).get("name", "")
    by = f", policy {policy}" if policy and version.kind == "cleaned" else ""
    return [
        f"{version.name} ({version.kind}{by}): {kept:,} images kept, {excluded:,} left out.",
        f"Content hash {version.hash}; made {version.created} from "
        f"{version.base} and {version.log_through:,} log lines.",
    ]


def _totals(version: manifest.Version) -> dict[str, int]:
    parts = [statuses for classes in version.counts.values() for statuses in classes.values()]
    return {status: sum(part.get(status, 0) for part in parts) for status in ("kept", "excluded")}


def version_list(workspace: Workspace) -> pd.DataFrame:
    """Return one row per version: name, kind, kept, excluded, hash, created, tags."""
    named: dict[str, list[str]] = {}
    for tag, name in manifest.tags(workspace).items():
        named.setdefault(name, []).append(tag)
    records = []
    for version in manifest.versions(workspace):
        records.append(
            {
                "version": version.name,
                "kind": version.kind,
                **_totals(version),
                "hash": version.hash[:12],
                "created": version.created,
                "tags": " ".join(named.get(version.name, [])),
            }
        )
    return pd.DataFrame(records)


def show(workspace: Workspace, name: str) -> QueryResult:
    """Return a version beside its raw version, by split and class."""
    version = manifest.find(workspace, name)
    raw = manifest.rows(workspace, manifest.find(workspace, version.base))
    rows = manifest.rows(workspace, version)
    table = summary.before_after(raw, rows)
    record = {**asdict(version), "before_after": table.to_dict("records")}
    if version.kind == "raw":  # nothing was decided: there is one table
        table = table[table["version"] == "before"].drop(columns="version")
    return QueryResult([*version_lines(version), *label_judgement.outcome_lines(workspace, version)], record, table)


SERIOUS_FIRST = ("label_conflict", "split_leak")
"""Checks that a person should review first."""


@dataclass(frozen=True)
class Listed:
    """Issue rows that somebody asked for: of some checks, in the order of reports, all of them or the flagged ones."""

    issues: Issues
    checks: tuple[str, ...]
    flagged_only: bool

    def __len__(self) -> int:
        """Return the number of rows."""
        if self.flagged_only:
            return int(self.issues.flagged["check"].isin(self.checks).sum())
        return sum(self.issues.scored.get(check, 0) for check in self.checks)

    def blocks(self, *, serious_first: bool = False) -> Iterator[pd.DataFrame]:
        """Yield the rows, worst first within each check, in blocks of bounded size, at least one."""
        yield self.issues.rows.head(0)
        order = [check for check in self.checks if check in SERIOUS_FIRST] if serious_first else []
        for check in [*order, *(check for check in self.checks if check not in order)]:
            if self.flagged_only:
                yield self.issues.of(check).query("is_issue").sort_values(["score", "group", "path"])
            elif check in self.issues.scored:
                yield from self.issues.blocks(check)

    def head(self, number: int) -> pd.DataFrame:
        """Return the first rows (0: all), the most serious checks' first."""
        parts: list[pd.DataFrame] = []
        for block in self.blocks(serious_first=True):
            parts.append(block)
            if 0 < number <= sum(map(len, parts)):
                break
        found = pd.concat(parts, ignore_index=True)
        return found.head(number) if number else found


def listed(workspace: Workspace, check: str = "", *, flagged_only: bool = True, peer: str = "") -> Listed:
    """Return issue rows, to be read in blocks: our own, or those of a peer with its name and version.

    Raises:
        WorkspaceError: no check of that name has been run.

    """
    issues = Issues(_of_peer(workspace, peer)) if peer else read_issues(workspace)
    known = registry.names(issues.scored)
    if check and check not in known:
        raise WorkspaceError(f"no check {check!r}; {did_you_mean(check, known)}")
    if check and check not in issues.scored:
        raise WorkspaceError(f"the check {check} was not run; to run: {summary.how_to_run(check)}")
    return Listed(issues, (check,) if check else tuple(known), flagged_only)


def found_issues(workspace: Workspace, check: str = "", *, flagged_only: bool = True, peer: str = "") -> pd.DataFrame:
    """Return issue rows, worst first within each check; see :func:`listed`."""
    return pd.concat(listed(workspace, check, flagged_only=flagged_only, peer=peer).blocks(), ignore_index=True)


def issue_summary(workspace: Workspace) -> pd.DataFrame:
    """Return a row per check that was run, conflicts and leaks first: check, flagged, scored, share, groups."""
    found = summary.check_summary(read_issues(workspace)).rename(columns={"issues": "flagged"})
    serious = found["check"].isin(SERIOUS_FIRST)
    ordered = pd.concat([found[serious], found[~serious]], ignore_index=True)
    return ordered[["check", "flagged", "scored", "share", "groups"]]


def not_run(by_check: pd.DataFrame, wanted: Sequence[str] = ()) -> list[str]:
    """Return the checks among ``wanted`` (all checks if empty) that were not run."""
    return [name for name in wanted or registry.every() if name not in set(by_check["check"])]


def not_run_words(names: Sequence[str]) -> list[str]:
    """Return sentences on which checks were not run, and the command that runs them."""
    by_command: dict[str, list[str]] = {}
    for name in names:
        by_command.setdefault(summary.how_to_run(name), []).append(name)
    return [f"Not run: {', '.join(names)}; to run: {command}" for command, names in by_command.items()]


def issue_words(found: pd.DataFrame) -> pd.DataFrame:
    """Return issue rows for people: path, check, score, group, what (the evidence in words)."""
    rows = zip(facts(found["evidence"]), found["path"], strict=True)
    words = [summary.evidence_words(fact, path) for fact, path in rows]
    return found[["path", "check", "score", "group"]].assign(what=words)


def _of_peer(workspace: Workspace, peer: str) -> pd.DataFrame:
    found = read_opinions(workspace)
    said = pd.DataFrame({"peer": []}) if found is None else found
    asked = sorted(set(said["peer"]))
    if peer not in asked:
        known = f"; there are answers of {', '.join(asked)}" if asked else ""
        raise WorkspaceError(f"{peer} has not been asked yet{known}; run: curate check --also {peer}")
    return said[said["peer"] == peer]


def log_table(workspace: Workspace, path: str = "") -> pd.DataFrame:
    """Return the log's lines, newest first, with a column ``undone``; with ``path`` only those on this image.

    They are the lines that name the path, and those on the image's content, whatever its path was then.
    """
    table = log.Log(workspace.decisions).table
    found = table.assign(undone=table["seq"].isin(log.undone_in(table)))
    if path:
        found = found[found["seq"].isin(_lines_on(workspace, table, path))]
    return found.iloc[::-1].reset_index(drop=True)


_TOGETHER = 4
"""From this number on, a person's equal decisions of one moment are shown as one line."""


def log_summary(found: pd.DataFrame, by: str = "", *, every: bool = False) -> pd.DataFrame:
    """Return the log for people: each decision of a person, and one line for each run of a policy.

    Args:
        found: see :func:`log_table`.
        by: a person or policy, to show only its decisions.
        every: show every line by itself.

    Returns:
        columns no, time, by, what, path, why; newest first.

    """
    columns = ["no", "time", "by", "what", "path", "why"]
    if found.empty:
        return pd.DataFrame(columns=columns)
    lines = found.iloc[::-1].copy()
    is_policy = lines["actor"].str.startswith(POLICY_PREFIX)
    said = lines[["time", "actor", "action", "value", "reason", "undone"]].astype(str).agg("\0".join, axis=1)
    # a policy's lines belong to their opening line; a person's lines are shown alone unless they are equal
    batch = (lines["action"].eq("policy") | (is_policy != is_policy.shift())).cumsum()
    lines["unit"] = batch.astype(str).where(is_policy, said)
    rows = []
    for _, members in lines.groupby("unit", sort=False):
        together = members["actor"].iloc[0].startswith(POLICY_PREFIX) or len(members) >= _TOGETHER
        if together and not every:
            rows.append(_batch_line(members))
        else:
            for row in members.to_dict("records"):
                what = _act(row) + (" (undone)" if row["undone"] else "")
                rows.append((row["seq"], str(row["seq"]), row["time"], row["actor"], what, row["path"], row["reason"]))
    shown = pd.DataFrame(rows, columns=["order", *columns])
    shown["time"] = shown["time"].str.slice(0, 16).str.replace("T", " ")
    if by:
        shown = shown[shown["by"].isin([by, PERSON_PREFIX + by, POLICY_PREFIX + by])]
    return shown.sort_values("order", ascending=False, ignore_index=True).drop(columns="order")


def _batch_line(members: pd.DataFrame) -> tuple[Any, ...]:
    first, last = members.iloc[0], members.iloc[-1]
    acts = members.loc[members["action"] != "policy", "action"].value_counts()
    what = ", ".join(f"{action} {number:,}" for action, number in acts.items()) or "nothing new"
    what += " (undone)" if members["undone"].all() else ""
    numbers = f"{first['seq']}-{last['seq']}" if len(members) > 1 else str(first["seq"])
    path = "" if first["actor"].startswith(POLICY_PREFIX) else f"{first['path']} and {len(members) - 1:,} more"
    return last["seq"], numbers, first["time"], first["actor"], what, path, first["reason"]


def newest(workspace: Workspace) -> manifest.Version | None:
    """Return the newest cleaned version, None where there is none yet."""
    cleaned = [version for version in manifest.versions(workspace) if version.kind == "cleaned"]
    return cleaned[-1] if cleaned else None


CHANGES = {
    "excluded": "left out",
    "restored": "kept again",
    "moved": "moved to another split",
    "relabelled": "relabelled",
    "person": "given to another person, or to nobody",
    "reweighted": "softened or weighted",
    "added": "new",
    "removed": "gone from the source",
    "other": "changed otherwise",
}
"""Kinds of change (``manifest.diff``) in words."""

_CHANGES_NAMED = 5

_PARTINGS = {"not_copies": "not copies of each other", "not_same": "not one person"}
"""Actions on several images at once, in words."""


def what_changed(workspace: Workspace, before: manifest.Version | None, after: manifest.Version) -> list[str]:
    """Describe in a few sentences what changed between two versions."""
    if before is None:
        return version_lines(after)
    if before.name == after.name:
        return [f"Nothing changed: {after.name} is as it was."]
    found = diff(workspace, before.name, after.name)
    counts = [f"{number:,} {CHANGES[str(change)]}" for change, number in found["change"].value_counts().items()]
    lines = [f"{after.name}, compared with {before.name}: {', '.join(counts) or 'no image changed'}."]
    for row in found.head(_CHANGES_NAMED).to_dict("records"):
        why = f" ({row['reason']})" if row["reason"] else ""
        lines.append(f"  {row['path']}: {row['before'] or 'not there'} -> {row['after'] or 'not there'}{why}")
    if len(found) > _CHANGES_NAMED:
        lines.append(f"  ... and {len(found) - _CHANGES_NAMED:,} more: curate diff {before.name} {after.name}")
    return [*lines, version_lines(after)[0]]


def _lines_on(workspace: Workspace, table: pd.DataFrame, path: str) -> set[int]:
    """Return the numbers of the lines on an image: policies' by path, people's by content."""
    named = set(table.loc[table["path"] == path, "seq"])
    if not workspace.images.exists():
        return named
    images = read_images(workspace)
    content = next(iter(images.loc[images["path"] == path, "sha256"]), "")
    if not content:
        return named
    moved = manifest.followed(workspace, table, manifest.raw_manifest(images)).table
    here = set(moved.loc[moved["path"] == path, "seq"])
    parted = table["action"].isin(_PARTINGS) & table["value"].str.contains(content, regex=False)
    # a person's line on this path is about another image if it names another content
    others = set(table.loc[(table["path"] == path) & ~table["content"].isin(["", content]), "seq"])
    return (named - others) | here | set(table.loc[parted, "seq"])


def thumbnails(workspace: Workspace, settings: Settings, paths: Sequence[str]) -> dict[str, bytes]:
    """Return path -> pixels of its square grey uint8 thumbnail, row by row, for the paths that have one."""
    from curation.measure import load_measurements, thumbnail_bytes

    listing = read_listing(workspace)
    listing = listing[is_in(listing["path"], paths)].reset_index(drop=True)
    measured = load_measurements(listing, workspace.measurements, settings.measure, ["sha256"])
    return thumbnail_bytes(paths, measured, workspace.measurements, settings.measure)


def diff(workspace: Workspace, before: str, after: str) -> pd.DataFrame:
    """Return the images that differ between two versions; see :func:`curation.decisions.manifest.diff`."""
    first, second = (manifest.rows(workspace, manifest.find(workspace, name)) for name in (before, after))
    return manifest.diff(first, second)


def explain(workspace: Workspace, path: str) -> QueryResult:
    """Return all that is known about one image.

    Raises:
        WorkspaceError: no image has that path.

    """
    images = read_images(workspace).set_index("path")
    if path not in images.index:
        similar = [known for known in images.index if known.endswith(path)]
        hint = f"; did you mean {similar[0]}?" if similar else "; give it as curate issues prints it"
        raise WorkspaceError(f"{path!r} is not in this data set{hint}")
    mine = read_issues(workspace).only(path).every().sort_values("score", kind="stable")
    state = _state(workspace, path)
    history = log_table(workspace, path).iloc[::-1].drop(columns=["content", "label"])
    record: dict[str, Any] = {
        "path": path,
        "image": images.loc[path].to_dict(),
        "manifest": state,
        "issues": [
            {**row, "evidence": fact}
            for row, fact in zip(mine.drop(columns="path").to_dict("records"), facts(mine["evidence"]), strict=True)
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
    if path not in rows.index:
        return {}
    return {"version": version.name} | {str(name): value for name, value in rows.loc[path].items()}


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
    lines.append(
        f"Found: {', '.join(issue['check'] for issue in found)}"
        if found
        else "Found: nothing by the checks that were run."
    )
    for issue in found:
        words = summary.evidence_words(issue["evidence"], record["path"])
        lines.append(f"  {issue['check']} (score {issue['score']:.2f}): {words}")
    for decision in record["decisions"]:
        undone = " (undone)" if decision["undone"] else ""
        reason = f" because {decision['reason']}" if decision["reason"] else ""
        lines.append(
            f"Decision {decision['seq']}, {decision['time']}, {decision['actor']}: {_act(decision)}{reason}{undone}"
        )
    return lines


def _act(decision: Mapping[Hashable, Any]) -> str:
    """Return a decision in words."""
    if decision["action"] == "policy":
        return "policy"
    if decision["action"] == "undo":
        numbers = json.loads(decision["value"])
        more = f" and {len(numbers) - _CHANGES_NAMED:,} more" if len(numbers) > _CHANGES_NAMED else ""
        return f"undo {', '.join(map(str, numbers[:_CHANGES_NAMED]))}{more}"
    if decision["action"] not in _PARTINGS:
        return f"{decision['action']} {decision['value']}".rstrip()
    words = _PARTINGS[decision["action"]]
    try:
        parts = files.parsed(decision["value"])["paths"]
        return f"{words}: {', '.join(' and '.join(part) if isinstance(part, list) else part for part in parts)}"
    except (ValueError, TypeError, KeyError):
        return words
