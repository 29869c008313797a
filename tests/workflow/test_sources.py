"""A source's persons, soft labels, missing labels and odd places, all the way through run, exports and back."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path

import pandas as pd
import pytest

import curation
from curation.base.errors import CurationError
from curation.base.settings import SourceSettings
from curation.base.workspace import open_workspace, read_listing
from curation.decisions import manifest
from curation.formats.source import read_source
from curation.labels import people
from curation.models.runs import training_frame
from tests.conftest import Curate, as_json

CLASSES = ("happy", "sad")
KEPT = ["split", "label", "subject", "soft_label"]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve drawn people under two expressions, a list of them, and copies without a label."""
    import cv2
    import numpy as np

    from curation.audit.synthetic import face

    root = tmp_path_factory.mktemp("sources") / "data"
    rows = []
    for n in range(12):
        person = face.draw_person(np.random.default_rng(n))
        for label in CLASSES:
            rng = np.random.default_rng([n, CLASSES.index(label)])
            grey = face.draw(64, person, face.TYPICAL[label], face.draw_shot(rng), rng)
            path = root / "im" / f"{n:02d} {label}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), (grey * 255).clip(0, 255).astype(np.uint8))
            soft = json.dumps({"happy": 0.75, "contempt": 0.25}) if n == 0 and label == "happy" else ""
            rows.append((f"im/{path.name}", label if n < 10 else "", f"p{n}", soft))
    for n in range(2):
        shutil.copy(root / "im" / f"{n:02d} happy.png", root / "im" / f"copy {n}.png")
        rows.append((f"im/copy {n}.png", "", f"p{n}", ""))
    pd.DataFrame(rows, columns=["path", "label", "subject", "soft_label"]).to_csv(root / "list.csv", index=False)
    return root


@pytest.fixture(scope="module")
def space(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> curation.Workspace:
    """A workspace in which the list was curated; tests that change it work on a copy."""
    workspace = curation.Workspace(tmp_path_factory.mktemp("space") / "space", quiet=True)
    outcome = workspace.run(drawn / "list.csv")
    assert "Note: 6 of 26 images have no label: checked, but never trained on." in outcome.lines
    return workspace


def test_images_without_a_label_are_no_class_no_conflict_and_no_training_data(space: curation.Workspace) -> None:
    issues = pd.read_parquet(space.folder / "issues.parquet")
    flagged = issues[issues["is_issue"]]
    assert set(flagged.loc[flagged["check"] == "exact_duplicate", "path"]) >= {"im/copy 0.png", "im/00 happy.png"}
    assert "label_conflict" not in set(flagged["check"])
    kept = space.version("cleaned").kept
    assert "im/00 happy.png" in set(kept["path"]) and "im/copy 0.png" not in set(kept["path"])
    workspace = open_workspace(space.folder)
    frame = training_frame(workspace, manifest.find(workspace, "cleaned"))
    assert set(frame["label"]) == set(CLASSES)
    first = frame.set_index("key").loc["im/00 happy.png"]
    assert first["subject"] == "p0" and json.loads(first["soft_label"]) == {"happy": 0.75}  # contempt is no class here
    shown = curation.pipeline.queries.show(workspace, "cleaned").table
    assert "no label" in shown.columns and "" not in shown.columns


def test_votes_on_images_without_a_label_break_nothing(space: curation.Workspace, drawn: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(space.folder, tmp_path / "space")
    listed = pd.read_csv(drawn / "list.csv")
    votes = pd.DataFrame({"path": listed["path"], "happy": 1, "sad": 2})
    votes[votes["path"].str.contains("copy|10|11")].to_csv(tmp_path / "none.csv", index=False)
    votes.to_csv(tmp_path / "all.csv", index=False)
    workspace = open_workspace(folder)
    people.import_votes(workspace, tmp_path / "none.csv")
    assert people.figures(workspace, 0) is None
    people.import_votes(workspace, tmp_path / "all.csv")
    assert people.figures(workspace, 0)["images"].max() == 20
    again = curation.Workspace(folder, quiet=True)
    again.run(drawn / "list.csv")
    assert set(again.version("cleaned").kept["label"]) == {*CLASSES, ""}


def of_content(folder: Path, source: str, **settings: object) -> pd.DataFrame:
    """What a source says of each content."""
    import hashlib

    frame = read_source(source, folder / "cache", SourceSettings.model_validate(settings)).frame
    hashes = [hashlib.sha256(Path(url).read_bytes()).hexdigest() for url in frame["url"]]
    return frame.assign(sha256=hashes).sort_values("sha256")[["sha256", *KEPT]].reset_index(drop=True)


@pytest.mark.parametrize("form", ["folder", "huggingface", "coco", "webdataset", "croissant"])
@pytest.mark.parametrize("split", ["", "all", "some"])
def test_every_export_is_read_back_with_all_that_it_stated(
    space: curation.Workspace, tmp_path: Path, form: str, split: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if form in ("huggingface", "croissant"):
        pytest.importorskip("datasets")
    rows = space.version("cleaned").rows
    if split:
        places = {"all": "all", "some": ""}
        monkeypatch.setattr(
            manifest,
            "rows",
            lambda *_: rows.assign(split=[places[split] if n % 2 else "train" for n in range(len(rows))]),
        )
    expected = manifest.rows(open_workspace(space.folder), manifest.find(open_workspace(space.folder), "cleaned"))
    expected = expected[expected["status"] == "kept"].sort_values("sha256")[["sha256", *KEPT]].reset_index(drop=True)
    space.version("cleaned").export(form, tmp_path / "out")
    if form in ("huggingface", "croissant"):
        pd.testing.assert_frame_equal(
            of_content(tmp_path / "hf", f"hf:{tmp_path / 'out'}"), expected, check_dtype=False
        )
    pd.testing.assert_frame_equal(of_content(tmp_path, str(tmp_path / "out")), expected, check_dtype=False)


def test_an_export_of_links_is_curated_again_where_that_is_asked(
    space: curation.Workspace, curate: Curate, tmp_path: Path
) -> None:
    space.version("cleaned").export("folder", tmp_path / "out", place="symlink")
    refused = curate("scan", tmp_path / "out", "-w", tmp_path / "again", check=False)
    assert refused.returncode == 1 and "--follow-links" in refused.stderr and "export.json" not in refused.stderr
    done = as_json(curate("scan", tmp_path / "out", "-w", tmp_path / "again", "--follow-links", "--json"))
    assert done["images"] == len(space.version("cleaned").kept)
    assert any("labels are read from 'metadata.jsonl'" in note for note in done["notes"])


def test_a_workspace_that_was_moved_hands_on_what_it_unpacked(drawn: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        for path in sorted((drawn / "im").glob("0*.png")):
            archive.write(path, f"train/{path.stem.split()[1]}/{path.name}")
    space = curation.Workspace(tmp_path / "before", quiet=True)
    space.run(tmp_path / "faces.zip")
    (tmp_path / "before").rename(tmp_path / "after")
    moved = curation.Workspace(tmp_path / "after", quiet=True)
    assert all(Path(url).is_file() for url in read_listing(open_workspace(moved.folder))["url"])
    assert moved.version("raw").export("folder", tmp_path / "out") == 20
    before = moved.version("raw").hash
    moved.run(tmp_path / "faces.zip")
    assert moved.version("raw").hash == before


def test_a_class_that_cannot_be_listed_any_more_stops_the_run_and_a_gone_one_is_said(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in sorted((drawn / "im").glob("0*.png")):
        target = tmp_path / "data" / path.stem.split()[1] / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    space = curation.Workspace(tmp_path / "space", quiet=True)
    space.run(tmp_path / "data")
    scandir = os.scandir

    def refusing(path: str) -> object:
        if str(path).rstrip("/").endswith("/sad"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(CurationError, match="sad: folder cannot be listed: Permission denied, though 10 of its images"):
        space.run(tmp_path / "data")
    monkeypatch.undo()
    (tmp_path / "data" / "sad" / "03 sad.png").unlink()
    assert "Note: 1 images of the last scan are gone." in space.run(tmp_path / "data").lines


def test_persons_are_found_by_a_pattern_on_the_paths(drawn: Path, curate: Curate, tmp_path: Path) -> None:
    done = as_json(curate("scan", drawn / "im", "-w", tmp_path / "w", "--subject-from", r"^(\d\d) ", "--json"))
    assert any("--subject-from matches 24 of 26 paths" in note for note in done["notes"])
    images = pd.read_parquet(tmp_path / "w" / "images.parquet").set_index("path")["subject"]
    assert images["03 sad.png"] == images["03 happy.png"] == "03" and images["copy 0.png"] == ""
