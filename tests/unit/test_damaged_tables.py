"""Tables of a workspace that somebody wrote over: one sentence that names the file, and advice that works."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from curation.base import files
from curation.base.errors import WorkspaceError
from curation.base.workspace import Workspace, create_workspace, read_issues, read_listing
from curation.pipeline import queries, steps

PAIR = {"pixel_sha256_a": "a", "pixel_sha256_b": "b", "transform": "none", "relation": "copy"}
PAIRS = pd.DataFrame([{**PAIR, "probability": 1.0, "score": 1.0}])
ISSUE = {"path": "a.jpg", "check": "dark", "score": 0.5, "is_issue": True, "group": "", "evidence": "{}"}


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    return create_workspace(tmp_path / "space")


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.drop(columns="pixel_sha256_a"),
        lambda table: table.assign(probability="likely"),
        lambda table: table.assign(probability=float("nan")),
        lambda table: table.assign(relation=[b"\xff"]),
    ],
)
def test_pairs_of_another_shape_are_damaged(space: Workspace, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    files.write_table(space.pairs, PAIRS)
    assert len(steps.read_pairs(space)) == 1
    files.write_table(space.pairs, change(PAIRS))
    with pytest.raises(WorkspaceError, match=r"pairs\.parquet is damaged .* curate run DATA"):
        steps.read_pairs(space)


def test_issues_of_another_shape_are_damaged(space: Workspace) -> None:
    table = pd.DataFrame([ISSUE])
    files.write_table(space.issues, table)
    assert len(read_issues(space)) == 1
    for other in (table[["path"]], pd.concat([table] * 3), table.astype(object).map(lambda _: "x")):
        files.write_table(space.issues, other)
        with pytest.raises(WorkspaceError, match=r"issues\.parquet is damaged .* curate run DATA"):
            read_issues(space)


def test_a_listing_and_a_record_of_ingest_of_another_shape_are_damaged(space: Workspace) -> None:
    row = {"path": "a.jpg", "url": "/data/a.jpg", "bytes": 1, "mtime_ns": 1, "split": "", "label": ""}
    table = pd.DataFrame([row])
    for other in (table.drop(columns="bytes"), table.assign(bytes="x"), pd.concat([table] * 2), table.assign(url=3)):
        files.write_table(space.listing, other)
        with pytest.raises(WorkspaceError, match=r"listing\.parquet is damaged .* delete it and run: curate run DATA"):
            read_listing(space)
    for record in ({"left_out": 3}, {"left_out": ["x"]}, {"left_out": [{"path": "a"}]}, {"warnings": [1]}):
        files.write_json(space.ingest, record)
        with pytest.raises(WorkspaceError, match=r"ingest\.json is damaged .* delete it and run: curate run DATA"):
            steps.read_problems(space)
    space.ingest.unlink()
    assert steps.read_problems(space) == ([], [])


def test_a_log_without_lines_on_an_image_is_an_empty_table(space: Workspace) -> None:
    assert queries.log_summary(queries.log_table(space)).empty
