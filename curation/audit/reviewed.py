"""Draw a sample of flagged and unflagged images for a person, and estimate from the answers what was missed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curation.audit.estimates import Remainder, Stratum, remainder
from curation.base import reading
from curation.base.errors import WorkspaceError
from curation.base.issues import read_issues
from curation.base.workspace import Workspace

ANSWERS = {"y": True, "yes": True, "n": False, "no": False}
"""Accepted values of the column ``bad`` of a filled-in sample."""

COLUMNS = ["path", "check", "flagged", "bad"]


def draw_sample(workspace: Workspace, check: str, per_stratum: int, seed: int) -> pd.DataFrame:
    """Return a shuffled sample of images that ``check`` flags and of images that it does not.

    Returns:
        columns path, check, flagged ("y" or "n"), bad ("": for the person to fill in with y or n).

    Raises:
        WorkspaceError: the check has scored no image.

    """
    rows = _rows_of(workspace, check)
    rng = np.random.default_rng(seed)
    parts = []
    for flagged, members in rows.groupby("is_issue"):
        places = rng.permutation(len(members))[:per_stratum]
        paths = members["path"].to_numpy()[np.sort(places)]
        parts.append(pd.DataFrame({"path": paths, "check": check, "flagged": "y" if flagged else "n", "bad": ""}))
    sample = pd.concat(parts, ignore_index=True)
    return sample.iloc[rng.permutation(len(sample))].reset_index(drop=True)[COLUMNS]


def _rows_of(workspace: Workspace, check: str) -> pd.DataFrame:
    rows = read_issues(workspace).flags(check).sort_values("path")
    if rows.empty:
        raise WorkspaceError(f"the check {check!r} has scored no image of {workspace.root}; see curate check")
    return rows


def answers_table(workspace: Workspace, answers: Path, seed: int) -> pd.DataFrame:
    """Return the result of a filled-in sample as rows: check, figure (precision, missed, recall), value, low, high."""
    check, found = judge_answers(workspace, answers, seed)
    figures = {"precision": found.precision, "missed images": found.missed, "recall": found.recall}
    rows = [{"check": check, "figure": name, **estimate.record()} for name, estimate in figures.items()]
    return pd.DataFrame(rows)


def judge_answers(workspace: Workspace, answers: Path, seed: int) -> tuple[str, Remainder]:
    """Return the check of a filled-in sample, and its precision, missed images and recall.

    Raises:
        WorkspaceError: the file is not a filled-in sample of this workspace.

    """
    with reading.refusing(answers, "draw one with curate audit --sample N -o FILE, and fill it in"):
        filled = reading.csv_frame(reading.contents(answers))
    missing = sorted(set(COLUMNS) - set(filled.columns))
    if missing or filled["check"].nunique() != 1:
        raise WorkspaceError(f"{answers} is not a sample of one check with columns {', '.join(COLUMNS)}")
    check = str(filled["check"].iloc[0])
    rows = _rows_of(workspace, check)
    given = filled["bad"].str.strip().str.lower()
    for wrong, what in (
        (~given.isin([*ANSWERS, ""]), "is neither y nor n in its column bad"),
        (filled["path"].duplicated(), "is listed twice; keep one line"),
        (~filled["path"].isin(rows["path"]), "is not an image that the check has scored"),
    ):
        if wrong.any():
            place = int(wrong.argmax())
            first = filled.iloc[place]
            raise WorkspaceError(f"{answers}, line {place + 2}: {first['path']!r}, answered {first['bad']!r}, {what}")
    answered = filled.assign(given=given)[given != ""].merge(rows[["path", "is_issue"]], on="path")
    if answered.empty:
        raise WorkspaceError(f"{answers} has no answers yet; write y or n into its column bad")
    flagged, unflagged = (_stratum(rows, answered, flag) for flag in (True, False))
    return check, remainder(flagged, unflagged, seed)


def _stratum(rows: pd.DataFrame, answered: pd.DataFrame, flagged: bool) -> Stratum:
    mine: Any = answered.loc[answered["is_issue"] == flagged, "given"].map(ANSWERS).astype(bool)
    return Stratum(int((rows["is_issue"] == flagged).sum()), len(mine), int(mine.sum()))
