"""The whole way on the drawn sample: find what was planted, decide, explain, undo, export."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import Curate, as_json


@pytest.fixture
def own(curated: Path, tmp_path: Path) -> Path:
    """A copy of the curated workspace that a test may change."""
    return Path(shutil.copytree(curated, tmp_path / "own"))


def contents(workspace: Path) -> dict[Path, bytes]:
    """Every file but locks and the log of what was tried."""
    files = (path for path in workspace.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in files if path.name[0] != "." and path.name != "curate.log"}


def hash_of(curate: Curate, workspace: Path, version: str = "cleaned") -> str:
    found: str = as_json(curate("show", version, "-w", workspace, "--json"))["hash"]
    return found


def test_a_second_run_measures_nothing_and_gives_the_same_version(own: Path, sample: Path, curate: Curate) -> None:
    before = hash_of(curate, own)
    again = as_json(curate("run", sample, "-w", own, "--json"))
    assert again["measured_now"] == 0
    assert again["manifest_hash"] == before
    assert again["version"] == "v2"


@pytest.mark.slow
def test_the_number_of_workers_does_not_change_the_result(
    curated: Path, sample: Path, curate: Curate, tmp_path: Path
) -> None:
    one = as_json(curate("run", sample, "-w", tmp_path / "one", "--workers", 1, "--json"))
    three = as_json(curate("run", sample, "-w", tmp_path / "three", "--workers", 3, "--json"))
    assert one["manifest_hash"] == three["manifest_hash"] == hash_of(curate, curated)


def test_a_moved_copy_of_the_data_gives_the_same_hash(
    curated: Path, sample: Path, curate: Curate, tmp_path: Path
) -> None:
    shutil.copytree(sample, tmp_path / "elsewhere")
    moved = as_json(curate("run", tmp_path / "elsewhere", "-w", tmp_path / "space", "--json"))
    assert moved["manifest_hash"] == hash_of(curate, curated)


def test_adding_images_measures_only_those(own: Path, sample: Path, curate: Curate, tmp_path: Path) -> None:
    larger = Path(shutil.copytree(sample, tmp_path / "larger"))
    faces = sorted(larger.rglob("*.jpg"))
    pixels = faces[5].read_bytes()
    (faces[5].parent / "renamed copy.jpg").write_bytes(pixels)
    again = as_json(curate("run", larger, "-w", own, "--json"))
    assert again["measured_now"] == 0
    assert again["images"] == len(pd.read_parquet(own / "manifests" / "v1.parquet")) + 1


def test_no_two_kept_images_have_equal_pixels_and_none_leaks(curated: Path, curate: Curate) -> None:
    rows = pd.read_parquet(curated / "manifests" / "v2.parquet")
    kept = set(rows.loc[rows["status"] == "kept", "path"])
    issues = pd.DataFrame(as_json(curate("issues", "-w", curated, "--json")))
    for check in ("exact_duplicate", "near_duplicate"):
        groups = issues[(issues["check"] == check) & issues["path"].isin(kept)].groupby("group").size()
        assert groups.max() == 1


def test_unreadable_files_are_issues_with_a_reason_and_not_kept(curated: Path, sample: Path, curate: Curate) -> None:
    truth = pd.read_csv(sample / "truth.csv")
    broken = set(truth.loc[truth["defect"].str.startswith("unreadable"), "path"])
    rows = as_json(curate("issues", "--check", "unreadable", "-w", curated, "--json"))
    assert broken and broken == {row["path"] for row in rows}
    assert all(json.loads(row["evidence"])["error"] for row in rows)


def test_undo_of_a_version_restores_the_former_hash_and_a_second_run_decides_again(own: Path, curate: Curate) -> None:
    raw, cleaned = hash_of(curate, own, "raw"), hash_of(curate, own)
    assert raw != cleaned
    curate("undo", "v2", "-w", own)
    assert hash_of(curate, own) == raw
    curate("apply", "-w", own)
    assert hash_of(curate, own) == cleaned
    assert as_json(curate("verify", "-w", own, "--json"))["ok"]


def test_what_a_person_decided_outranks_the_policy_for_good(own: Path, sample: Path, curate: Curate) -> None:
    rows = pd.read_parquet(own / "manifests" / "v2.parquet")
    path = rows.loc[rows["status"] == "excluded", "path"].iloc[0]
    before = hash_of(curate, own)
    curate("decide", path, "--keep", "--by", "ada", "--reason", "looks fine", "-w", own)
    curate("run", sample, "-w", own)
    explained = as_json(curate("explain", path, "-w", own, "--json"))
    assert explained["manifest"]["status"] == "kept"
    assert explained["decisions"][-1]["actor"] == "person:ada"
    curate("undo", explained["decisions"][-1]["seq"], "-w", own)
    assert hash_of(curate, own) == before


def test_taking_back_one_decision_of_a_policy_lasts(own: Path, sample: Path, curate: Curate) -> None:
    log = as_json(curate("log", "-w", own, "--json"))
    excluded = next(line for line in log if line["action"] == "exclude")
    curate("undo", excluded["seq"], "-w", own)
    curate("run", sample, "-w", own)
    assert as_json(curate("explain", excluded["path"], "-w", own, "--json"))["manifest"]["status"] == "kept"


def test_a_tag_names_a_version_and_diff_says_what_changed(own: Path, curate: Curate) -> None:
    curate("tag", "cleaned", "first", "-w", own)
    changed = as_json(curate("diff", "raw", "first", "-w", own, "--json"))
    excluded = as_json(curate("show", "first", "-w", own, "--json"))["counts"]
    total = sum(s.get("excluded", 0) for classes in excluded.values() for s in classes.values())
    assert {row["change"] for row in changed} == {"excluded"}
    assert len(changed) == total


def test_a_csv_export_holds_the_manifest(curated: Path, curate: Curate, tmp_path: Path) -> None:
    stored = pd.read_parquet(curated / "manifests" / "v2.parquet")
    curate("export", "cleaned", "--format", "csv", "-o", tmp_path / "c.csv", "-w", curated)
    exported = pd.read_csv(tmp_path / "c.csv", keep_default_na=False)
    pd.testing.assert_frame_equal(exported, stored, check_dtype=False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "no/such/folder"], "no/such/folder"),
        (["run", "{sample}", "--policy", "no-such"], "balanced, believe, confident, deck"),
        (["explain", "nobody.jpg"], "not in this data set"),
        (["show", "v99"], "no version"),
        (["undo", "99999"], "no decision"),
        (["issues", "--check", "sharpnes"], "no check"),
        (["export", "cleaned", "--format", "folder", "-o", "{sample}"], "is inside the data set"),
        (["decide", "nobody.jpg", "--keep"], "not in the data set"),
    ],
)
def test_wrong_input_is_one_sentence_and_leaves_the_workspace_as_it_was(
    own: Path, sample: Path, curate: Curate, arguments: list[str], words: str
) -> None:
    before = contents(own)
    done = curate(*(text.format(sample=sample) for text in arguments), "-w", own, check=False)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.strip().splitlines()) <= 2
    assert contents(own) == before


def test_a_command_without_a_workspace_says_how_to_make_one(curate: Curate, tmp_path: Path) -> None:
    done = curate("show", "-w", tmp_path / "none", check=False)
    assert done.returncode == 1
    assert "curate run DATA" in done.stderr


def test_wrong_usage_exits_with_two(curate: Curate) -> None:
    assert curate("run", check=False).returncode == 2
    assert curate("decide", "x.jpg", check=False).returncode == 2


def test_two_workspaces_are_compared_by_versions_issues_and_pairs(curated: Path, tmp_path: Path) -> None:
    from curation.base import files
    from curation.base.issues import Issues, read_issues, write_issues
    from curation.base.workspace import open_workspace
    from tests.benchmarks.compare_workspaces import differences

    other = open_workspace(Path(shutil.copytree(curated, tmp_path / "other")))
    assert list(differences(open_workspace(curated), other)) == []
    issues = read_issues(other).every()
    write_issues(other, Issues(issues.assign(score=issues["score"].where(issues.index != 3, 0.123)).iloc[1:]))
    files.write_table(other.pairs, files.read_table(other.pairs).iloc[1:])
    found = list(differences(open_workspace(curated), other))
    assert [line.split(",")[0] for line in found] == [
        "issues: 1 rows only before",
        "issues: score differs in 1 rows",
        "pairs: 1 rows only before",
    ]
