"""The whole way on the 20,214 real faces: the figures that the deck and the data are known for."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from curation.base.issues import read_issues
from curation.base.settings import of_workspace
from curation.base.workspace import open_workspace, read_listing
from curation.measure import load_measurements
from tests.conftest import Curate, as_json

pytestmark = [pytest.mark.data, pytest.mark.slow]

DECK = {"train": 13_972, "validation": 4_831, "test": 128}
"""Images left in each split after the deck's cleaning (its slide "After")."""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, faces: Path, curate: Curate) -> Path:
    folder = tmp_path_factory.mktemp("real") / "space"
    curate("run", faces, "-w", folder, timeout=900)
    return folder


@pytest.fixture(scope="module")
def issues(workspace: Path) -> pd.DataFrame:
    return read_issues(open_workspace(workspace)).every()


def kept(workspace: Path, version: str) -> pd.DataFrame:
    rows = pd.read_parquet(workspace / "manifests" / f"{version}.parquet")
    return rows[rows["status"] == "kept"]


def test_every_image_is_read_and_nearly_every_one_shows_a_face(workspace: Path) -> None:
    opened = open_workspace(workspace)
    measured = load_measurements(read_listing(opened), opened.measurements, of_workspace(opened).measure)
    assert len(measured) == 20_214 and (measured["error"] == "").all()
    assert (measured["face_score"] >= 0.5).mean() > 0.985


def test_exact_duplicates_are_all_found(issues: pd.DataFrame) -> None:
    found = issues[(issues["check"] == "exact_duplicate") & issues["is_issue"]]
    assert (found["group"].nunique(), len(found)) == (865, 1_896)


@pytest.mark.parametrize(("check", "groups", "files"), [("label_conflict", 7, 17), ("split_leak", 303, 694)])
def test_conflicts_and_leaks_among_exact_copies_are_all_found(
    issues: pd.DataFrame, check: str, groups: int, files: int
) -> None:
    found = issues[(issues["check"] == check) & issues["is_issue"]]
    by_exact_copy = [json.loads(text)["kind"] == "exact" for text in found["evidence"]]
    exact = issues[issues["check"] == "exact_duplicate"].set_index("path")["group"]
    members = exact[found["path"][by_exact_copy]]
    assert (members.nunique(), len(members)) == (groups, files)


def test_balanced_keeps_no_two_images_of_equal_pixels_and_no_leak(workspace: Path, issues: pd.DataFrame) -> None:
    left = set(kept(workspace, "v2")["path"])
    for check in ("exact_duplicate", "near_duplicate"):
        rows = issues[(issues["check"] == check) & issues["is_issue"] & issues["path"].isin(left)]
        assert not rows["group"].duplicated().any()


def test_every_image_has_a_row_of_every_check_of_pixels_and_copies(issues: pd.DataFrame) -> None:
    sizes = issues.groupby("check").size()
    for check in ("unreadable", "dark", "blank", "no_face", "exact_duplicate", "near_duplicate", "split_leak"):
        assert sizes[check] == 20_214


def test_the_headline_is_the_share_of_copies_in_trains_surprise_and_nothing_is_held_back(workspace: Path) -> None:
    page = (workspace / "reports" / "cleaning.html").read_text(encoding="utf-8")
    assert re.search(r"5[1-4]% of train&#39;s surprise are copies", page) and "Stopped short" not in page


def test_leaving_one_copy_out_costs_the_log_a_few_lines(workspace: Path, curate: Curate, tmp_path: Path) -> None:
    own = shutil.copytree(workspace, tmp_path / "own", ignore=shutil.ignore_patterns("measurements"))
    rows = kept(own, "v2")
    before = len((own / "decisions.jsonl").read_bytes().splitlines())
    curate("decide", rows.loc[rows["group"] != "", "path"].iloc[0], "--exclude", "-w", own)
    assert len((own / "decisions.jsonl").read_bytes().splitlines()) - before <= 6


def test_the_deck_policy_ends_within_one_percent_of_the_deck(workspace: Path, curate: Curate) -> None:
    shown = as_json(curate("apply", "--policy", "deck", "-w", workspace, "--json"))
    sizes = kept(workspace, shown["name"])["split"].value_counts().to_dict()
    assert {split: pytest.approx(number, rel=0.01) for split, number in DECK.items()} == sizes
    assert as_json(curate("verify", "-w", workspace, "--json"))["ok"]
