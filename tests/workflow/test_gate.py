"""The gate: what a version is held against, what it prints, how it ends, and what a CI reads of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

import curation
from curation.base.issues import read_issues
from curation.base.workspace import open_workspace
from curation.decisions import manifest
from tests.browser.neighbours import judge_by_neighbours
from tests.conftest import Curate, as_json


@pytest.fixture
def own(curated: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(curated, tmp_path / "own"))


def limits(folder: Path, text: str) -> Path:
    file = folder / "limits.toml"
    file.write_text(f"[limits]\n{text}\n", encoding="utf-8")
    return file


def test_the_data_as_they_came_do_not_pass_and_the_cleaned_ones_do(own: Path, curate: Curate, tmp_path: Path) -> None:
    asked = limits(tmp_path, "leaks = 0\nconflicts = 0\nunreadable = 0\nclass_loss = 0.5\nimages = { min = 100 }")
    before = curate("gate", "raw", "--limits", asked, "-w", own, check=False)
    assert before.returncode == 1
    assert [line.split()[:2] for line in before.stdout.splitlines()[:5]] == [
        ["FAILS", "leaks:"],
        ["FAILS", "conflicts:"],
        ["FAILS", "unreadable:"],
        ["holds", "class_loss:"],
        ["holds", "images:"],
    ]
    after = curate("gate", "cleaned", "--limits", asked, "-w", own)
    assert "every limit holds" in after.stdout and "FAILS" not in after.stdout


def test_a_ci_gets_json_and_junit_with_a_failure_a_limit_that_does_not_hold(
    own: Path, curate: Curate, tmp_path: Path
) -> None:
    asked = limits(tmp_path, "leaks = 0\nimages = { min = 1, max = 3 }")
    done = curate("gate", "--limits", asked, "--junit", tmp_path / "gate.xml", "--json", "-w", own, check=False)
    assert done.returncode == 1
    record = json.loads(done.stdout)
    assert record["holds"] is False and set(record) == {"version", "hash", "holds", "limits"}
    by_bound = {(one["name"], one["bound"]): one for one in record["limits"]}
    assert by_bound["images", "max"]["holds"] is False and by_bound["images", "min"]["holds"] is True
    assert by_bound["images", "max"]["measured"] == len(curation.Workspace(own).version().kept)
    suite = ElementTree.parse(tmp_path / "gate.xml").getroot()
    assert (suite.tag, suite.get("tests"), suite.get("failures")) == ("testsuite", "3", "1")
    failed = [case for case in suite.iter("testcase") if case.find("failure") is not None]
    assert [case.get("name") for case in failed] == ["images"]


def test_what_was_not_measured_does_not_hold_and_names_what_measures_it(own: Path, curate: Curate) -> None:
    done = curate("gate", "-w", own, check=False)
    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if "wrong_labels" in line]
    assert line.startswith("FAILS") and "not measured" in line and "--labels fast" in line


def test_expected_wrong_labels_fall_by_what_people_decide(own: Path, curate: Curate) -> None:
    judge_by_neighbours(own)
    curate("check", "mislabelled", "-w", own)
    space = curation.Workspace(own, quiet=True)
    issues = read_issues(open_workspace(own)).every()
    kept = space.version().kept["path"]
    judged = issues[(issues["check"] == "mislabelled") & issues["path"].isin(kept)]
    (first,) = space.gate({"wrong_labels": 0.0}).limits
    assert first.measured == pytest.approx((1 - judged["score"]).mean())
    doubtful = judged.sort_values("score")["path"].iloc[0]
    space.decide(doubtful, "keep", by="ada")
    (second,) = space.gate({"wrong_labels": 0.0}).limits
    assert second.measured < first.measured


def test_losses_are_those_of_the_worst_part(own: Path) -> None:
    space = curation.Workspace(own, quiet=True)
    raw, kept = space.version("raw").rows, set(space.version().kept["path"])
    gone = ~raw["path"].isin(kept)
    held = space.gate({"class_loss": 1.0, "class_in_split_loss": 1.0, "left_out": 1.0, "smallest_class": {"min": 0}})
    measured = {one.name: one.measured for one in held.limits}
    assert held.holds
    assert measured["class_loss"] == pytest.approx(gone.groupby(raw["label"]).mean().max())
    assert measured["class_in_split_loss"] == pytest.approx(gone.groupby([raw["split"], raw["label"]]).mean().max())
    assert measured["left_out"] == pytest.approx(gone.mean())
    assert measured["smallest_class"] == (~gone).groupby([raw["split"], raw["label"]]).sum().min()


def test_a_check_is_limited_by_number_or_by_share(own: Path) -> None:
    space = curation.Workspace(own, quiet=True)
    issues, kept = read_issues(open_workspace(own)).every(), space.version().kept["path"]
    flagged = issues[(issues["check"] == "low_contrast") & issues["is_issue"] & issues["path"].isin(kept)]
    (number,) = space.gate({"low_contrast": 0}).limits
    (share,) = space.gate({"low_contrast": 0.0}).limits
    assert number.measured == len(flagged) > 0
    assert share.measured == pytest.approx(len(flagged) / len(kept))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("leeks = 0", "did you mean 'leaks'"),
        ("leaks = true", "must be a number"),
        ("leaks = { most = 3 }", "min, max or both"),
        ("", "must hold one table [limits]"),
    ],
)
def test_limits_that_cannot_be_meant_are_one_sentence(
    own: Path, curate: Curate, tmp_path: Path, text: str, said: str
) -> None:
    done = curate("gate", "--limits", limits(tmp_path, text), "-w", own, check=False)
    assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr


def test_the_workspaces_own_file_is_taken_where_none_is_named(own: Path, curate: Curate) -> None:
    (own / "gate.toml").write_text("[limits]\nimages = { min = 1 }\n")
    assert [one["name"] for one in as_json(curate("gate", "-w", own, "--json"))["limits"]] == ["images"]
    assert manifest.find(open_workspace(own), "cleaned").name in curate("gate", "-w", own).stdout
