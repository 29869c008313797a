"""Peers that judge images: their answers become issue rows under their own name, laid beside ours."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from curation.audit.peers.judges import JUDGES, from_pairs, read_findings, store
from curation.base import files, tables
from curation.base.workspace import Workspace, create_workspace
from curation.checks import registry
from curation.pipeline import summary

PATHS = ["a.jpg", "b.jpg", "c.jpg"]


def answer(*issues: tuple[int, str, float, bool]) -> dict[str, object]:
    return {"version": "1.2", "issues": [[*issue, ""] for issue in issues]}


def test_findings_are_issue_rows_with_the_peers_name_and_its_own_word() -> None:
    found = read_findings(answer((0, "light", 0.1, True), (1, "light", 0.9, False)), JUDGES["cleanvision"], PATHS)
    assert found["check"].tolist() == ["bright", "bright"]
    assert found["peer"].unique().tolist() == ["cleanvision"]
    assert json.loads(found["evidence"].iloc[0]) == {"finding": "light"}
    tables.checked("issues", found)


def test_two_findings_that_are_one_check_to_us_count_once_and_the_worse_stays() -> None:
    given = answer((2, "odd_size", 0.9, False), (2, "odd_aspect_ratio", 0.3, True), (2, "grayscale", 0.0, True))
    found = read_findings(given, JUDGES["cleanvision"], PATHS)
    assert found[["path", "check", "score", "is_issue"]].to_numpy().tolist() == [["c.jpg", "odd_size", 0.3, True]]


def test_every_finding_has_a_check_that_there_is() -> None:
    assert {check for judge in JUDGES.values() for check in judge.checks.values()} <= set(registry.names())
    assert all(judge.program.exists() for judge in JUDGES.values())


def test_pairs_become_groups_of_near_copies() -> None:
    pairs = pd.DataFrame(
        {
            "peer": ["brain"] * 3,
            "path_a": ["a.jpg", "b.jpg", "d.jpg"],
            "path_b": ["b.jpg", "c.jpg", "e.jpg"],
            "similarity": [0.9, 0.8, float("nan")],
        }
    )
    found = from_pairs(pairs, {"brain": "9"}).set_index("path")
    assert found.index.tolist() == PATHS
    assert found["group"].nunique() == 1
    assert found["score"].round(6).tolist() == [0.1, 0.1, 0.2]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return create_workspace(tmp_path / "space")


def test_asking_again_replaces_what_the_same_peer_said_and_keeps_the_others(workspace: Workspace) -> None:
    store(workspace, read_findings(answer((0, "dark", 0.1, True)), JUDGES["cleanvision"], PATHS))
    store(workspace, read_findings(answer((0, "outlier", 0.1, True)), JUDGES["cleanlab"], PATHS))
    store(workspace, read_findings(answer((1, "dark", 0.2, True)), JUDGES["cleanvision"], PATHS))
    kept = files.read_table(workspace.opinion_issues)
    assert kept[["peer", "path"]].to_numpy().tolist() == [["cleanvision", "b.jpg"], ["cleanlab", "a.jpg"]]


def test_side_by_side_counts_images_flagged_by_both_by_us_and_by_the_peer() -> None:
    given = answer((0, "dark", 0.1, True), (1, "dark", 0.9, False), (2, "dark", 0.2, True))
    findings = read_findings(given, JUDGES["cleanvision"], PATHS)
    ours = pd.DataFrame({"path": ["a.jpg", "b.jpg"], "check": "dark", "is_issue": True})
    side = summary.side_by_side(ours, findings)
    assert side[["both", "ours_only", "peer_only"]].to_numpy().tolist() == [[1, 1, 1]]
    assert side["peer"].tolist() == ["cleanvision 1.2"]
