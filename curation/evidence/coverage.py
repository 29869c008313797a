"""What a version covers of each class by pose, light, sharpness, size, occlusion and person, and what cleaning took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from curation.base import files
from curation.base.errors import WorkspaceError
from curation.base.issues import read_issues
from curation.base.settings import Settings
from curation.base.workspace import Workspace
from curation.checks import coverage as tables
from curation.decisions import manifest
from curation.evidence.groups import ATTRIBUTES, read_attributes
from curation.models.runs import copy_groups
from curation.pipeline.axes import axes as axes_of
from curation.pipeline.axes import coverage_of


@dataclass(frozen=True)
class Coverage:
    """What a version covers.

    Attributes:
        version: its name.
        lines: what is missing and which axis reveals a class, as sentences, the most serious first.
        cells: see ``curation.checks.coverage.cells``; and images_before, in the data as imported.
        association: see ``curation.checks.coverage.associations``.
        limits: axis -> where one value ends and the next begins.
        page: the page's file.

    """

    version: str
    lines: list[str]
    findings: list[tables.Finding]
    cells: pd.DataFrame
    association: pd.DataFrame
    limits: dict[str, tuple[float, ...]]
    page: Path

    def record(self) -> dict[str, Any]:
        """Return it for machines."""
        frames = {"cells": self.cells, "association": self.association}
        return {
            "version": self.version,
            "findings": [vars(one) for one in self.findings],
            **{
                name: frame.astype(object).where(frame.notna(), None).to_dict("records")
                for name, frame in frames.items()
            },
            "limits": {axis: list(edges) for axis, edges in self.limits.items()},
            "page": str(self.page),
        }


def coverage(workspace: Workspace, settings: Settings, on: str = "cleaned", attributes: str = "") -> Coverage:
    """Count the images of every class and axis in a version and in the imported data, and write the page.

    Copies of one picture within a split and class are counted once.

    Args:
        workspace: that was checked.
        settings: in force.
        on: the version.
        attributes: a table of gender, race or age by path (``read_attributes``); "" for none.

    Raises:
        WorkspaceError: the workspace has not been checked, or no kept image has a label.
        CurationError: there is no such version, or the table has nothing about these images.

    """
    from reports import coverage_page

    version = manifest.find(workspace, on)
    known, limits = axes_of(workspace, settings)
    known = _with_attributes(known, attributes, workspace) if attributes else known
    raw, rows = manifest.rows(workspace, manifest.find(workspace, version.base)), manifest.rows(workspace, version)
    found = coverage_of(known, raw, rows, copy_groups(read_issues(workspace).rows), settings.seed)
    if found is None:
        raise WorkspaceError(f"no kept image of {version.name} has a label, so no class can be covered; give labels")
    lines = _lines(found.findings, found.association, found.axes)
    page = workspace.reports / f"coverage-{version.name}.html"
    shown = found.association[found.association["label"] == ""].drop(columns="label")
    html = coverage_page(version.name, lines, _limit_words(limits), found.cells, shown)
    files.write_bytes(page, html.encode("utf-8"))
    return Coverage(version.name, lines, found.findings, found.cells, found.association, limits, page)


def _with_attributes(known: pd.DataFrame, attributes: str, workspace: Workspace) -> pd.DataFrame:
    given = read_attributes(attributes, workspace).drop_duplicates("path").set_index("path")
    if not given.index.isin(known.index).any():
        raise WorkspaceError(f"{attributes} names no image of this data; its paths must be those of curate issues")
    columns = {name: given[name].reindex(known.index).fillna("") for name in ATTRIBUTES if name in given}
    return known.assign(**columns)


def _lines(found: Sequence[tables.Finding], association: pd.DataFrame, axes: Sequence[str]) -> list[str]:
    lines = [one.sentence for one in found]
    if not lines:
        lines.append("No cell has fewer images than the other classes make one expect, and no axis reveals a class.")
    most = association[association["label"] == ""].sort_values("association", ascending=False)
    if len(most):
        row = most.iloc[0]
        lines.append(
            f"Of all axes {row['axis']} says most about the class: association {row['association']:.3f} "
            "(0 nothing, 1 everything)."
        )
    unseen = [axis for axis in (*tables.VALUES, tables.PERSON) if axis not in axes]
    if unseen:
        how = {
            "occlusion": "curate check occluded_face --embed",
            tables.PERSON: "curate check subject_leak --identity dlib",
        }
        lines.append(
            f"Not known: {', '.join(unseen)} ({'; '.join(how.get(axis, 'no face found') for axis in unseen)})."
        )
    return lines


def _limit_words(limits: dict[str, tuple[float, ...]]) -> str:
    """Return a sentence on where the values of each axis begin."""
    low, high = tables.VALUES["pose"][1:]
    return (
        f"Pose: {low} from half the angle of a turned face, {high} from all of it. Illumination, sharpness and face "
        "size: thirds of the imported data; limits "
        + "; ".join(f"{axis} {a:.2g} and {b:.2g}" for axis, (a, b) in limits.items() if axis != "pose")
        + "."
    )
