"""The axes along which a data set is covered: measured ones, occlusion where it was checked, people where known."""

from __future__ import annotations

import numpy as np
import pandas as pd

from curation.base import files
from curation.base.errors import WorkspaceError
from curation.base.settings import Settings
from curation.base.workspace import Workspace, read_images, read_issues, read_listing
from curation.checks import coverage
from curation.checks.base import ISSUE_SCORE
from curation.pipeline import subjects

_KNOWN = 0.5
"""Share of the images whose person must be known for people to be an axis."""


def axes(workspace: Workspace, settings: Settings) -> tuple[pd.DataFrame, dict[str, tuple[float, ...]]]:
    """Return the axes' values ("" where unknown), a row an image named by its path, and the limits between values.

    Raises:
        WorkspaceError: the workspace has not been checked.

    """
    from curation.measure import load_measurements

    if not workspace.issues.exists():
        raise WorkspaceError(f"{workspace.root} has not been checked yet; run: curate check")
    issues = read_issues(workspace)
    measurements = load_measurements(read_listing(workspace), workspace.measurements, settings.measure)
    known, limits = coverage.axis_values(measurements, settings.checks)
    known.index = pd.Index(measurements["path"])
    covered = issues[issues["check"] == "occluded_face"].set_index("path")["score"]
    score = covered.reindex(known.index).to_numpy(dtype=np.float64)
    names = np.array([*coverage.VALUES["occlusion"], ""], dtype=object)
    known["occlusion"] = names[np.where(np.isfinite(score), (score < ISSUE_SCORE).astype(int), 2)]
    people = _people(workspace).reindex(known.index).fillna("")
    if (people != "").mean() >= _KNOWN:
        known[coverage.PERSON] = people
    return known, limits


def _people(workspace: Workspace) -> pd.Series:
    """Return path -> person: as given, else as found where somebody asked; "" where unknown."""
    given = subjects.given_names(workspace, read_images(workspace))
    if not workspace.subjects.exists():
        return given
    found = files.read_table(workspace.subjects).set_index("path")["person"]
    return given.where(given != "", found.reindex(given.index).fillna(""))
