"""A page of pictures of what changed between two versions: by kind of change, reason, and who decided."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from curation.base import files
from curation.base.frames import is_in
from curation.base.settings import Settings
from curation.base.workspace import Workspace, option_of, source_of
from curation.decisions import manifest
from curation.decisions.replay import PERSON_PREFIX, POLICY_PREFIX
from curation.pipeline import curating, queries, summary

PICTURES = 60
"""Most pictures for each kind of change, reason and person; the rest are counted."""


def changes(workspace: Workspace, before: manifest.Version, after: manifest.Version) -> pd.DataFrame:
    """Return the images that differ between two versions.

    Returns:
        columns kind, why, who (in words), path, before, after, reason, label, split, sha256; the largest parts first.

    """
    first, second = (manifest.rows(workspace, version) for version in (before, after))
    found = manifest.diff(first, second)
    first, second = (rows[is_in(rows["path"], found["path"])] for rows in (first, second))
    rows = pd.concat([second, first]).drop_duplicates("path").set_index("path").reindex(found["path"])
    split_before = first.set_index("path")["split"].reindex(found["path"]).to_numpy()
    moved = (found["change"] == "other") & (split_before != rows["split"].to_numpy())
    by = {entry.path: entry for entry in curating.entries_of(workspace, after)}
    deciding = [by.get(path) for path in found["path"]]
    found = found.assign(
        kind=found["change"].map(queries.CHANGES).mask(moved, "moved to another split"),
        who=["nobody" if one is None else _called(one.actor) for one in deciding],
        why=["" if one is None else _cause(one.issue, one.reason) for one in deciding],
        label=rows["original_label"].to_numpy(),
        split=rows["split"].to_numpy(),
        sha256=rows["sha256"].to_numpy(),
    )
    found["why"] = found["why"].mask(found["why"] == "", "no decision is in force any more")
    found["total"] = found.groupby(["kind", "why", "who"])["path"].transform("size")
    of_kind = found.groupby("kind")["path"].transform("size")
    ordered = found.assign(of_kind=of_kind).sort_values(
        ["of_kind", "kind", "total", "why", "who", "path"], ascending=[False, True, False, True, True, True]
    )
    columns = ["kind", "why", "who", "total", "path", "before", "after", "reason", "label", "split", "sha256"]
    return ordered[columns].reset_index(drop=True)


def _called(actor: str) -> str:
    """Return a policy's or a person's name."""
    return (
        f"policy {actor.removeprefix(POLICY_PREFIX)}"
        if actor.startswith(POLICY_PREFIX)
        else actor.removeprefix(PERSON_PREFIX)
    )


def _cause(issue: str, reason: str) -> str:
    """Return the title of the check that a decision rests on, or a person's own reason."""
    check = issue.partition("#")[0]
    return summary.check_words(check)[0] if check else reason or "by hand"


def write_changes(workspace: Workspace, before_name: str, after_name: str, settings: Settings) -> Path:
    """Write the page on two versions and return its path; the caller holds the lock.

    Raises:
        WorkspaceError: there is no such version.

    """
    from reports.changes import Origin, changes_page

    before, after = (manifest.find(workspace, name) for name in (before_name, after_name))
    found = changes(workspace, before, after)
    place = found.groupby(["kind", "why", "who"], sort=False).cumcount()
    shown = found[place * PICTURES % found["total"] < PICTURES]  # spread over the part, so that no class is missing
    pictures = queries.thumbnails(workspace, settings, shown["path"].tolist())
    frame = shown.assign(thumbnail=pd.Series([pictures.get(path) for path in shown["path"]], shown.index, dtype=object))
    source = source_of(workspace)
    name = source.rstrip("/").rpartition("/")[2] or source
    origin = Origin(
        name, before.name, after.name, after.created, option_of(workspace), curating.app_of(workspace, after)
    )
    path = workspace.reports / page_name(before, after)
    files.write_bytes(path, changes_page(frame, origin).encode("utf-8"))
    return path


def page_name(before: manifest.Version, after: manifest.Version) -> str:
    """Return the file name of the page on two versions."""
    return f"changes-{before.name}-{after.name}.html"


def since_last(workspace: Workspace, version: manifest.Version, settings: Settings) -> str:
    """Write the page of changes since the previous cleaned version; return its name, "" without such a version."""
    earlier = [one for one in manifest.versions(workspace) if one.kind == "cleaned" and one.number < version.number]
    return write_changes(workspace, earlier[-1].name, version.name, settings).name if earlier else ""
