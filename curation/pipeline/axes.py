"""Coverage of a version along axes: measured values, occlusion where it was checked, people where they are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from curation.base import files
from curation.base.arrays import Ints
from curation.base.errors import WorkspaceError
from curation.base.frames import are_sorted, is_in, rows_of
from curation.base.issues import Issues, read_issues
from curation.base.settings import Settings
from curation.base.workspace import Workspace, read_images, read_listing
from curation.checks import coverage
from curation.checks.base import ISSUE_SCORE
from curation.pipeline import subjects

_KNOWN = 0.5
"""People are an axis if the person is known for at least this share of the images."""


@dataclass(frozen=True)
class Coverage:
    """Coverage of each class along the axes.

    Attributes:
        findings: gaps and shortcuts, the most serious first.
        cells: see ``curation.checks.coverage.cells``; also images_before, the count in the raw version.
        association: see ``curation.checks.coverage.associations``.
        axes: those with at least one known value.

    """

    findings: list[coverage.Finding]
    cells: pd.DataFrame
    association: pd.DataFrame
    axes: list[str]


def coverage_of(
    known: pd.DataFrame, raw: pd.DataFrame, rows: pd.DataFrame, groups: Mapping[str, str], seed: int
) -> Coverage | None:
    """Count the images of each class along each axis, in the raw version and in a cleaned one.

    Copies within a split and class are counted once.

    Args:
        known: the axes, see :func:`axes`.
        raw: manifest of the raw version.
        rows: manifest of the cleaned version.
        groups: path -> group of copies.
        seed: of the permutations of labels.

    Returns:
        None where no image has a label.

    """
    after = _pictures(rows, known, groups)
    if after.empty:
        return None
    names = [axis for axis in known.columns if (after[axis] != "").any()]
    counted = [axis for axis in names if axis != coverage.PERSON]
    cells, association = coverage.cells(after, counted), coverage.associations(after, names, seed)
    del after
    was = coverage.cells(_pictures(raw, known, groups), counted)
    found = coverage.findings(was, cells, association)
    keys = ["axis", "split", "label", "value"]
    every = pd.concat([was[keys], cells[keys]]).drop_duplicates()
    came = was[[*keys, "images"]].rename(columns={"images": "images_before"})
    cells = every.merge(came, on=keys, how="left").merge(cells, on=keys, how="left")
    cells = cells.fillna({"images": 0, "images_before": 0}).astype({"images": "int64", "images_before": "int64"})
    return Coverage(found, cells, association, names)


def _pictures(rows: pd.DataFrame, known: pd.DataFrame, groups: Mapping[str, str]) -> pd.DataFrame:
    """Return split, label and axes of the kept images with a label; one row for copies in one split and class."""
    kept = rows.loc[(rows["status"] == "kept") & (rows["label"] != ""), ["path", "split", "label"]]
    kept = kept[is_in(kept["path"], known.index)]
    kept = kept if are_sorted(kept["path"]) else kept.sort_values("path")
    picture = picture_numbers(kept["path"], groups)
    kept = kept.assign(picture=picture).drop_duplicates(["split", "label", "picture"])
    values = known.iloc[rows_of(kept["path"], known.index)]
    kept = kept[["split", "label"]]
    return pd.concat([kept.reset_index(drop=True), values.reset_index(drop=True)], axis=1)


def picture_numbers(paths: pd.Series, groups: Mapping[str, str]) -> Ints:
    """Return a number (N,) of each image that is equal for copies; ``groups`` is path -> group of copies."""
    number, _ = pd.factorize(pd.Series(list(groups.values()), dtype="str"))
    at = rows_of(paths, list(groups))
    return np.where(at >= 0, np.append(number, 0)[at], len(number) + np.arange(len(at)))


def axes(
    workspace: Workspace, settings: Settings, issues: Issues | None = None
) -> tuple[pd.DataFrame, dict[str, tuple[float, ...]]]:
    """Return each image's value on every axis ("" where unknown), indexed by path, and the limits between values.

    Args:
        workspace: that was checked.
        settings: in force.
        issues: of the workspace; None reads them.

    Raises:
        WorkspaceError: the workspace has not been checked.

    """
    from curation.measure import load_measurements

    if not workspace.issues.exists():
        raise WorkspaceError(f"{workspace.root} has not been checked yet; run: curate check")
    issues = read_issues(workspace) if issues is None else issues
    listing = read_listing(workspace)[["path", "url", "bytes", "mtime_ns"]]
    measurements = load_measurements(listing, workspace.measurements, settings.measure, coverage.MEASURES)
    del listing
    known, limits = coverage.axis_values(measurements, settings.checks)
    known.index = pd.Index(measurements["path"])
    del measurements
    covered = issues.scores("occluded_face")
    score = np.append(covered.to_numpy(dtype=np.float64), np.nan)[rows_of(known.index, covered.index)]
    names = np.array([*coverage.VALUES["occlusion"], ""], dtype=object)
    known["occlusion"] = names[np.where(np.isfinite(score), (score < ISSUE_SCORE).astype(int), 2)]
    people = _people(workspace)
    if (people != "").any():
        named = np.append(people.to_numpy(dtype=object), "")[rows_of(known.index, people.index)]
        if (named != "").mean() >= _KNOWN:
            known[coverage.PERSON] = named
    return known, limits


def _people(workspace: Workspace) -> pd.Series:
    """Return path -> person: as given, else as recognised; "" where unknown."""
    given = subjects.given_names(workspace, read_images(workspace))
    if not workspace.subjects.exists():
        return given
    found = files.read_table(workspace.subjects)
    named = np.append(found["person"].to_numpy(dtype=object), "")[rows_of(given.index, found["path"])]
    return given.where(given != "", named)
