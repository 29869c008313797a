"""Propose splits that share no person, picture or session, as decisions that can be undone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from curation.base.errors import WorkspaceError
from curation.base.issues import read_issues
from curation.base.progress import Display
from curation.base.settings import Settings
from curation.base.tables import facts
from curation.base.workspace import Workspace, read_images
from curation.decisions import manifest
from curation.decisions.division import divide, together
from curation.decisions.log import Draft, Log
from curation.decisions.replay import replay
from curation.pipeline import decisions

if TYPE_CHECKING:
    from curation.decisions.manifest import Version

_SPLIT_POINTS, _CLASS_POINTS = 0.02, 0.03
"""Largest deviation of a split, and of a class in it, from the requested share; beyond it less certain groups of people
are no longer kept together."""


def split(
    workspace: Workspace,
    shares: Mapping[str, float],
    by: str,
    settings: Settings,
    display: Display,
    *,
    by_subject: bool = True,
) -> tuple[Version, list[str]]:
    """Move images so that no person is in two splits; copies and shots of one session stay together too.

    People who may be the same person are kept together as well, if the splits still meet their shares.

    Args:
        workspace: with a curated data set; the caller holds its lock
        shares: split -> share of the kept images; they sum to 1
        by: who decides, for the log
        settings: of the workspace
        display: progress
        by_subject: False keeps only copies and sessions together

    Returns:
        the version, and sentences on what was done.

    Raises:
        WorkspaceError: no person is known, or the shares do not sum to 1.

    """
    wanted = {name: share for name, share in shares.items() if share > 0}
    if min(shares.values()) < 0 or abs(sum(wanted.values()) - 1) > 1e-3:
        raise WorkspaceError(
            f"the shares sum to {sum(shares.values()):g}, not 1; give all of --train --validation --test"
        )
    images, issues = read_images(workspace), read_issues(workspace)
    rows = _as_decided(workspace, manifest.raw_manifest(images))
    people = issues.groups("subject_leak")
    if not by_subject:
        people = people.head(0)
    elif people.empty:
        raise WorkspaceError(
            "no person is known; give a subject column or --subject-from, or run: "
            "curate check subject_leak --identity dlib"
        )
    with display.step("Dividing"):
        doubtful = _perhaps(workspace) if by_subject else people
        chosen = _divided(rows, issues.rows, (people, doubtful), wanted)
    moved = rows.loc[chosen != rows["split"], "path"]
    new = dict(zip(rows["path"], chosen, strict=True))
    reason = "splits by person" if by_subject else "splits by copy"
    drafts = [Draft(path, "move", new[path], reason) for path in moved]
    version = decisions.record(workspace, {by: drafts}, settings, Display(quiet=True)).version
    return version, _sentences(manifest.rows(workspace, version), people if by_subject else None, wanted, len(drafts))


def _as_decided(workspace: Workspace, raw: pd.DataFrame) -> pd.DataFrame:
    """Return the images after the decisions in force."""
    log = Log(workspace.decisions)
    manifest.require_whole_log(workspace, log.through)
    return replay(raw, manifest.followed(workspace, log.table, raw).table)


def _divided(
    rows: pd.DataFrame, issues: pd.DataFrame, people: tuple[pd.DataFrame, pd.DataFrame], wanted: Mapping[str, float]
) -> pd.Series:
    """Return each row's split; the second people, doubtful ones, are kept together if the shares are then met."""
    sure, doubtful = people
    kept = (rows["status"] == "kept").to_numpy()
    for links in ([sure, doubtful], [sure]):
        groups = together(rows["path"], [*links, *_copies(issues)])
        alive = groups[kept]
        split = divide(rows["label"][kept], alive, rows["split"][kept], wanted)
        if _deviation(rows["label"][kept], split, wanted) <= 0:
            break
    # excluded images go with their group, so that restoring them makes no leak
    of_group = dict(zip(alive, split, strict=True))
    largest = max(wanted, key=lambda name: wanted[name])
    return groups.map(of_group).fillna(largest)


def _perhaps(workspace: Workspace) -> pd.DataFrame:
    from curation.base.files import read_table

    if not workspace.subjects.exists():
        return pd.DataFrame({"path": [], "group": []})
    found = read_table(workspace.subjects)
    return found.loc[found["perhaps"] != "", ["path", "perhaps"]].rename(columns={"perhaps": "group"})


def _copies(issues: pd.DataFrame) -> list[pd.DataFrame]:
    """Return groups of copies, and pairs of shots of one session as groups of two."""
    flagged = issues[issues["is_issue"]]
    copies = ("exact_duplicate", "near_duplicate")
    groups = [flagged.loc[flagged["check"] == check, ["path", "group"]] for check in copies]
    near = issues[
        (issues["check"] == "near_duplicate") & issues["evidence"].str.contains('"same_session"', regex=False)
    ]
    other = [fact["same_session"] for fact in facts(near["evidence"], same_session=str)]
    name = [f"session-{number}" for number in range(len(other))]
    sessions = pd.DataFrame({"path": [*near["path"], *other], "group": [*name, *name]})
    return [*groups, sessions]


def _shares(labels: pd.Series, split: pd.Series, wanted: Mapping[str, float]) -> tuple[float, float]:
    """Return the largest deviations from the requested shares: of a split, and of a class in one."""
    whole = max(abs(float((split == name).mean()) - share) for name, share in wanted.items())
    by_class = pd.crosstab(labels, split, normalize="index").reindex(columns=list(wanted), fill_value=0.0)
    return whole, float((by_class - pd.Series(wanted)).abs().to_numpy().max())


def _deviation(labels: pd.Series, split: pd.Series, wanted: Mapping[str, float]) -> float:
    """Return by how much the shares exceed the tolerance; at most 0 if they do not."""
    whole, by_class = _shares(labels, split, wanted)
    return max(whole - _SPLIT_POINTS, by_class - _CLASS_POINTS)


def _sentences(rows: pd.DataFrame, people: pd.DataFrame | None, wanted: Mapping[str, float], moved: int) -> list[str]:
    kept = rows[rows["status"] == "kept"]
    got = ", ".join(
        f"{name} {(kept['split'] == name).mean():.1%} (requested {share:.1%})" for name, share in wanted.items()
    )
    whole, by_class = _shares(kept["label"], kept["split"], wanted)
    lines = [f"{moved:,} images move."]
    unknown = 0
    if people is not None:
        splits = kept.merge(people, on="path").groupby("group_y")["split"].nunique()
        unknown = len(kept) - int(kept["path"].isin(people["path"]).sum())
        lines[0] = (
            f"{moved:,} images move; {len(splits):,} people, {int((splits > 1).sum())} of them in more than one split."
        )
    lines.append(f"Of the kept images: {got}; the class furthest from its share is {by_class:.1%} off.")
    if unknown:
        lines.append(f"The person in {unknown:,} kept images is unknown; they were divided by their copies alone.")
    if whole > _SPLIT_POINTS or by_class > _CLASS_POINTS:
        lines.append("The shares cannot be met more closely: a person's pictures, or a class, are too large a part.")
    return lines
