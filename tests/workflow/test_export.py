"""Exports: as a user asks for them, whole and since a version."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from curation.base.workspace import open_workspace
from curation.decisions import manifest
from curation.formats.export import export_version
from curation.formats.export_data import load_export_data
from curation.formats.registry import names as export_formats
from tests.conftest import Curate, as_json
from tests.workflow.exports import COLUMNS, kept_rows, require_same

TABLES = ("csv", "spreadsheet", "parquet")
"""Formats that are one file and hold no images."""


@pytest.fixture(scope="module")
def edited(curated: Path, curate: Curate, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which a person relabelled, excluded and restored one image each after v2."""
    own = Path(shutil.copytree(curated, tmp_path_factory.mktemp("edited") / "own"))
    rows = pd.read_parquet(own / "manifests" / "v2.parquet")
    kept = rows[(rows["status"] == "kept") & (rows["group"] == "")]["path"].tolist()  # no copies: nothing else changes
    excluded = rows[(rows["status"] == "excluded") & rows["reason"].str.contains("cop")]["path"].tolist()
    curate("decide", kept[3], "--relabel", "sad" if "/sad/" not in kept[3] else "happy", "-w", own)
    curate("decide", kept[-1], "--exclude", "--reason", "no", "-w", own)
    curate("decide", excluded[0], "--keep", "-w", own)
    return own


def folder_records(folder: Path) -> list[dict[str, Any]]:
    """An image folder's rows by its metadata files; plain Python, as anyone may read them."""
    records = []
    for lines in folder.rglob("metadata.jsonl"):
        for line in lines.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            records.append(record | {"data": (lines.parent / record["file_name"]).read_bytes()})
    return records


@pytest.mark.parametrize("place", ["copy", "hardlink", "symlink"])
def test_a_folder_holds_the_kept_images_and_their_rows(
    place: str, curated: Path, curate: Curate, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    told = as_json(
        curate("export", "cleaned", "--format", "folder", "--place", place, "-o", out, "-w", curated, "--json")
    )
    expected = kept_rows(curated)
    assert told["written"] == len(expected)
    require_same(folder_records(out), expected)
    assert json.loads((out / "export.json").read_text())["manifest_hash"]


def test_a_folder_is_read_by_torchvision(curated: Path, curate: Curate, tmp_path: Path) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    curate("export", "cleaned", "--format", "folder", "-o", tmp_path / "out", "-w", curated)
    expected = kept_rows(curated)
    for split, rows in expected.groupby("split"):
        read = datasets.ImageFolder(str(tmp_path / "out" / str(split)))
        labels = pd.Series([read.classes[target] for _, target in read.samples])
        assert labels.value_counts().to_dict() == rows["label"].value_counts().to_dict()


def test_a_partial_table_laid_on_the_earlier_one_gives_the_later(edited: Path, curate: Curate, tmp_path: Path) -> None:
    for name, arguments in {
        "before": ["v2"],
        "after": ["cleaned"],
        "change": ["cleaned", "--since", "v2"],
    }.items():
        curate("export", *arguments, "--format", "parquet", "-o", tmp_path / f"{name}.parquet", "-w", edited)
    before, after, change = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("before", "after", "change"))
    assert 3 <= len(change) < len(after) / 4
    assert {"relabelled", "excluded", "restored"} <= set(change["change"])
    laid = pd.concat([before[~before["path"].isin(change["path"])], change[change["change"] != "removed"]])
    laid = laid.sort_values("path", ignore_index=True)[COLUMNS]
    pd.testing.assert_frame_equal(laid, after, check_dtype=False)


def test_a_partial_folder_holds_only_what_changed_and_says_what_left(
    edited: Path, curate: Curate, tmp_path: Path
) -> None:
    curate("export", "cleaned", "--since", "v2", "--format", "folder", "-o", tmp_path / "out", "-w", edited)
    changes = pd.read_csv(tmp_path / "out" / "changes.csv", keep_default_na=False)
    expected = kept_rows(edited)
    expected = expected[expected["path"].isin(changes["path"])].reset_index(drop=True)
    require_same(folder_records(tmp_path / "out"), expected)
    left = set(changes.loc[changes["change"] == "excluded", "path"])
    assert left and not left & set(expected["path"])


@pytest.mark.parametrize("form", TABLES)
def test_a_table_is_the_manifest_row_by_row(form: str, curated: Path, tmp_path: Path) -> None:
    workspace = open_workspace(curated)
    committed = manifest.rows(workspace, manifest.find(workspace, "cleaned"))
    assert export_version(workspace, "cleaned", form, tmp_path / "out") == len(committed)
    reader = pd.read_parquet if form == "parquet" else partial(pd.read_csv, keep_default_na=False)
    read = reader(tmp_path / "out")
    pd.testing.assert_frame_equal(read[COLUMNS], committed[COLUMNS], check_dtype=False)


@pytest.mark.parametrize("form", [name for name in export_formats() if name not in (*TABLES, "fiftyone")])
def test_every_format_of_images_can_hold_what_changed_and_says_what_left(
    form: str, edited: Path, tmp_path: Path
) -> None:
    workspace = open_workspace(edited)
    changed = load_export_data(workspace, "cleaned", "v2")
    number = export_version(workspace, "cleaned", form, tmp_path / "out", since="v2")
    assert number == len(changed.kept) and 2 <= number < len(kept_rows(edited)) / 4
    listed = pd.read_csv(tmp_path / "out" / "changes.csv", keep_default_na=False)
    assert "excluded" in set(listed["change"]) and set(changed.kept["path"]) <= set(listed["path"])
    assert json.loads((tmp_path / "out" / "export.json").read_text())["since"]


def test_a_version_exported_since_itself_is_empty(curated: Path, curate: Curate, tmp_path: Path) -> None:
    curate("export", "cleaned", "--since", "cleaned", "--format", "csv", "-o", tmp_path / "out.csv", "-w", curated)
    assert pd.read_csv(tmp_path / "out.csv").empty
