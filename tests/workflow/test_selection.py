"""What is covered, what is selected, what is asked for next, and whether a subset trains as well: on drawn people."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

pytest.importorskip("torch")

from curation.audit.synthetic import face, make_sample
from curation.audit.synthetic.make import as_pixels, jpeg
from curation.base import files, settings
from curation.base.errors import CurationError
from curation.base.issues import Issues, read_issues, write_issues
from curation.base.progress import Display
from curation.base.workspace import Workspace, create_workspace, read_images
from curation.decisions import manifest, policy
from curation.evidence.coverage import coverage
from curation.pipeline import curating, decisions, selection
from curation.pipeline.axes import axes
from tests.conftest import Curate, as_json

QUIET = Display(quiet=True)
SMALL = {"embed": {"when": "on", "lessons": 200}}


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory, sample: Path) -> Workspace:
    """The drawn sample, curated and embedded."""
    workspace = create_workspace(tmp_path_factory.mktemp("embedded") / "space")
    workspace.settings.write_text('[embed]\nwhen = "on"\nlessons = 200\n', encoding="utf-8")
    curating.run(workspace, str(sample), settings.of_workspace(workspace, SMALL), QUIET)
    return workspace


@pytest.fixture
def own(embedded: Workspace, tmp_path: Path) -> Workspace:
    return Workspace(Path(shutil.copytree(embedded.root, tmp_path / "own")))


def rows_of(workspace: Workspace, name: str = "cleaned") -> pd.DataFrame:
    return manifest.rows(workspace, manifest.find(workspace, name)).set_index("path")


def drawn_people(folder: Path, each: int, *, dark: str = "", one: str = "") -> Path:
    """Draw people of four classes; all of the class ``dark`` in half the light, all of ``one`` the same person."""
    rng = np.random.default_rng(5)
    same = face.draw_person(rng)
    for label in face.EXPRESSIONS:
        (folder / "train" / label).mkdir(parents=True)
        for number in range(each):
            person = same if label == one else face.draw_person(rng)
            tones = face.draw(96, person, face.TYPICAL[label], face.draw_shot(rng), rng)
            name = f"p{999 if label == one else number // 3:03d}_{number:03d}.jpg"
            pixels = as_pixels(tones * (0.5 if label == dark else 1.0))
            (folder / "train" / label / name).write_bytes(jpeg(pixels))
    return folder


@pytest.mark.parametrize("label", face.EXPRESSIONS)
@pytest.mark.parametrize("planted", ["dark", "one"])
def test_a_planted_shortcut_is_named_first(tmp_path: Path, label: str, planted: str) -> None:
    folder = drawn_people(tmp_path / "people", 24, **{planted: label})
    workspace = create_workspace(tmp_path / "space")
    given = {"source": {"subject_from": r"(p\d+)_"}, "embed": {"when": "off"}, "engine": {"workers": 1}}
    curating.run(workspace, str(folder), settings.of_workspace(workspace, given), QUIET)
    found = coverage(workspace, settings.of_workspace(workspace), "raw")
    first = found.findings[0]
    axis = {"dark": "illumination", "one": "person"}[planted]
    assert (first.kind, first.axis, first.label) == ("shortcut", axis, label)
    page = found.page.read_text(encoding="utf-8")
    assert f"of the {label} faces are" in found.lines[0] and "Shortcut:" in page


def test_a_cell_that_cleaning_would_empty_waits_for_a_person_and_is_in_the_report(own: Workspace) -> None:
    now = settings.of_workspace(own)
    known, _ = axes(own, now)
    mine = rows_of(own, "raw").query("split == 'train'").join(known)
    value, label = mine.groupby(["illumination", "label"]).size().idxmax()
    cell = mine.index[(mine["illumination"] == value) & (mine["label"] == label)]
    issues = read_issues(own).every()
    planted = (issues["check"] == "watermark") & issues["path"].isin(cell)
    write_issues(own, Issues(issues.assign(is_issue=issues["is_issue"] | planted)))
    balanced = (Path(policy.__file__).parent / "policies" / "balanced.toml").read_text(encoding="utf-8")
    rules = balanced.replace('check = "blank"', 'check = "watermark"').replace('"watermark", ', "")
    (own.root / "marks.toml").write_text(rules, encoding="utf-8")
    now = settings.of_workspace(own, {"policy": str(own.root / "marks.toml"), "brake": {"class_share": 1.0}})
    version = decisions.apply(own, now, QUIET).version
    assert (rows_of(own).loc[cell, "status"] == "kept").any()
    said, _ = curating.summarise(own, read_issues(own), version, now)
    assert "Stopped short" in said[0] and f"{value} {label} faces in train" in said[0]
    page = curating.report(own, now, QUIET).read_text(encoding="utf-8")
    assert "Stopped short" in page and 'id="coverage"' in page and "Cleaning removed all" not in page
    decisions.apply(own, now, QUIET, accept_loss=True)
    assert (rows_of(own).loc[cell, "status"] == "excluded").all()
    page = curating.report(own, now, QUIET).read_text(encoding="utf-8")
    assert re.search(f"Cleaning removed all [0-9]+ {value} {label} faces in train", page) and "emptied" in page


@pytest.mark.slow
def test_the_command_says_what_is_covered_before_and_after(embedded: Workspace, curate: Curate, tmp_path: Path) -> None:
    said = as_json(curate("coverage", "-w", embedded.root, "--json"))
    cells = pd.DataFrame(said["cells"])
    light = cells[cells["axis"] == "illumination"]
    rows = rows_of(embedded)
    kept = rows[(rows["status"] == "kept") & (rows["split"] == "train")]
    assert light.loc[light["split"] == "train", "images"].sum() == len(kept)
    assert (light["images_before"] >= light["images"]).all() and (cells["low"] <= cells["high"]).all()
    assert "occlusion" in set(cells["axis"])
    table = tmp_path / "people.csv"
    known = [(path, "female" if number % 2 else "male") for number, path in enumerate(rows.index)]
    pd.DataFrame(known, columns=["path", "gender"]).to_csv(table, index=False)
    said = as_json(curate("coverage", "-w", embedded.root, "--attributes", table, "--json"))
    assert {row["value"] for row in said["cells"] if row["axis"] == "gender"} == {"female", "male"}
    strange = curate("coverage", "-w", embedded.root, "--on", "v77", check=False)
    assert strange.returncode == 1 and "v77" in strange.stderr


@pytest.mark.slow
def test_a_selection_is_a_version_of_its_size_that_undo_takes_back(own: Workspace, curate: Curate) -> None:
    before = rows_of(own)
    said = as_json(curate("select", "40", "--balance", "class", "--by", "ada", "-w", own.root, "--json"))
    after = rows_of(own)
    kept = after[(after["status"] == "kept") & (after["split"] == "train")]
    assert set(kept.index) == {row["path"] for row in said["chosen"]} and len(kept) == 40
    assert kept["label"].value_counts().tolist() == [10] * 4
    held_out = before["split"] != "train"
    assert (after.loc[held_out, "status"] == before.loc[held_out, "status"]).all()
    left = after[(after["status"] == "excluded") & (before["status"] == "kept")]
    assert left["reason"].eq("not among the 40 selected (diverse, balanced by class)").all() and len(left)
    curate("undo", said["version"], "-w", own.root)
    assert rows_of(own)["status"].equals(before["status"])


@pytest.mark.slow
def test_copies_are_one_image_and_a_label_that_is_probably_wrong_costs(own: Workspace) -> None:
    chosen = settings.of_workspace(own)
    version = manifest.find(own, "raw")
    pool = selection.candidates(own, version, "train", chosen)
    issues = read_issues(own).every()
    copies = issues[issues["is_issue"] & issues["check"].isin(["exact_duplicate", "near_duplicate"])]
    groups = copies.sort_values("check").drop_duplicates("path", keep="last").set_index("path")["group"]
    assert not pool.frame["path"].map(groups).dropna().duplicated().any()
    known, _ = axes(own, chosen)
    doubted = pool.frame.assign(right=np.where(np.arange(len(pool.frame)) % 3 == 0, 0.05, 1.0))
    for how in ("diverse", "typical"):
        taken = selection.choose(replace(pool, frame=doubted), 45, how, (), known)
        assert len(set(taken)) == 45 and (doubted["right"].iloc[taken] < 0.5).mean() < 0.05
    balanced = pool.frame.iloc[selection.choose(pool, 24, "diverse", ("class", "illumination"), known)]
    counts = balanced.join(known, on="path").groupby(["label", "illumination"]).size()
    assert counts.max() == counts.min() == 2


@pytest.mark.slow
def test_what_is_there_already_is_never_asked_for(own: Workspace, sample: Path, tmp_path: Path, curate: Curate) -> None:
    """Half of the pool are copies, as they are and compressed anew."""
    make_sample(tmp_path / "new", images=60, seed=31)
    pool = tmp_path / "pool"
    pool.mkdir()
    fresh = sorted((tmp_path / "new" / "train").rglob("*.jpg"))
    for number, file in enumerate(fresh):
        shutil.copy(file, pool / f"new{number:03d}.jpg")
    rows = rows_of(own)
    there = rows[(rows["status"] == "kept") & (rows["group"] == "")].index[: len(fresh)]
    for number, path in enumerate(there):
        if number % 2:
            shutil.copy(sample / path, pool / f"copy{number:03d}.jpg")
        else:
            Image.open(sample / path).convert("L").save(pool / f"copy{number:03d}.jpg", quality=70)
    versions = len(manifest.versions(own))
    said = as_json(curate("select", len(fresh) // 2, "--from", pool, "-w", own.root, "--json"))
    asked = [row["path"] for row in said["ranked"]]
    assert len(asked) == len(fresh) // 2 and all(path.startswith("new") for path in asked)
    assert said["copies"] >= len(there) and len(manifest.versions(own)) == versions
    adds = [row["adds"] for row in said["ranked"]]
    assert adds == sorted(adds, reverse=True)


@pytest.mark.slow
def test_every_embedded_image_says_how_rare_it_is_and_what_that_looks_like(embedded: Workspace, curate: Curate) -> None:
    issues = read_issues(embedded).every()
    rare = issues[issues["check"] == "rare"]
    evidence = pd.DataFrame([files.parsed(text) for text in rare["evidence"]], index=rare["path"])
    unreadable = issues[(issues["check"] == "unreadable") & issues["is_issue"]]
    assert len(rare) == len(read_images(embedded)) - len(unreadable) and evidence["density"].between(0, 1).all()
    assert evidence["neighbour_distance"].corr(evidence["density"], method="spearman") < -0.99
    flagged = rare[rare["is_issue"]]
    assert len(flagged) < 0.1 * len(rare)
    outliers = set(issues.loc[(issues["check"] == "outlier") & issues["is_issue"], "path"])
    assert (evidence.loc[evidence.index.isin(outliers), "looks_like"] == "outlier").all()
    assert set(evidence["looks_like"]) >= {"outlier", "rare face"}
    listed = curate("issues", "--check", "rare", "--all", "-n", "5", "-w", embedded.root).stdout
    assert "10th neighbour" in " ".join(listed.split())


@pytest.mark.slow
def test_subsets_are_fitted_for_equal_steps_and_compared_in_pairs(own: Workspace, curate: Curate) -> None:
    arguments = ["compare", "cleaned", "--subsets", "0.25,0.5", "--recipe", "fast", "--epochs", "1", "--seeds", "2"]
    arguments += ["--weights", "none", "--image-size", "32", "-w", own.root]
    said = as_json(curate(*arguments, "--json"))
    points = pd.DataFrame(said["points"])
    assert len(points) == 1 + 2 * 3 and set(points["how"]) == {"whole", "selected", "random", "hardest first"}
    whole = points.loc[points["how"] == "whole", "images"].item()
    assert points.loc[points["share"] == 0.5, "images"].sub(whole / 2).abs().max() <= 1
    differences = pd.DataFrame(said["differences"])
    assert len(differences) == 6 and (differences["low"] <= differences["difference"]).all()
    assert len(said["sentences"]) == 7 and "power law" in said["sentences"][-1]
    assert "Does a subset train as well?" in Path(said["page"]).read_text(encoding="utf-8")
    assert "give shares" in curate(*arguments[:3], "1.5", "-w", own.root, check=False).stderr
    assert curate("compare", "raw", "-w", own.root, check=False).returncode == 2


def test_without_embeddings_one_sentence_says_what_to_do(curated: Path, tmp_path: Path) -> None:
    workspace = Workspace(Path(shutil.copytree(curated, tmp_path / "own")))
    with pytest.raises(CurationError, match="curate check watermark --embed"):
        selection.select(workspace, 10, settings.of_workspace(workspace), QUIET, by="ada")
    with pytest.raises(CurationError, match=r"no axis 'posed'.*pose"):
        selection.select(workspace, 10, settings.of_workspace(workspace), QUIET, by="ada", balance=["posed"])
