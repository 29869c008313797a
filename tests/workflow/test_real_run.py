"""The whole way on the 20,214 real faces: the figures that the deck and the data are known for."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

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
    return pd.read_parquet(workspace / "issues.parquet")


def kept(workspace: Path, version: str) -> pd.DataFrame:
    rows = pd.read_parquet(workspace / "manifests" / f"{version}.parquet")
    return rows[rows["status"] == "kept"]


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


def test_the_deck_policy_ends_within_one_percent_of_the_deck(workspace: Path, curate: Curate) -> None:
    shown = as_json(curate("apply", "--policy", "deck", "-w", workspace, "--json"))
    sizes = kept(workspace, shown["name"])["split"].value_counts().to_dict()
    assert {split: pytest.approx(number, rel=0.01) for split, number in DECK.items()} == sizes
    assert as_json(curate("verify", "-w", workspace, "--json"))["ok"]
