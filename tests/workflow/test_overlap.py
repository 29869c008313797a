"""What two data sets share: exact and near copies on both sides, decided by nobody until a policy says so."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

import curation
from curation.audit.synthetic import make_sample
from curation.base import settings
from curation.base.errors import CurationError
from curation.base.issues import read_issues
from curation.base.progress import Display
from curation.base.workspace import Workspace, create_workspace
from curation.decisions import manifest
from curation.pipeline import curating, decisions
from curation.pipeline.overlap import overlap
from tests.conftest import Curate, as_json

QUIET = Display(quiet=True)


@pytest.fixture
def own(curated: Path, tmp_path: Path) -> Workspace:
    return Workspace(Path(shutil.copytree(curated, tmp_path / "own")))


def shared_with(workspace: Workspace, sample: Path, folder: Path) -> tuple[list[str], list[str]]:
    """Lay down another data set, split otherwise, with equal files, re-encoded ones, and faces of its own."""
    rows = manifest.rows(workspace, manifest.find(workspace, "cleaned"))
    alone = rows[(rows["status"] == "kept") & (rows["group"] == "")]
    equal = [*alone.loc[alone["split"] == "test", "path"][:3], *alone.loc[alone["split"] == "train", "path"][:2]]
    again = alone.loc[(alone["split"] == "train") & ~alone["path"].isin(equal), "path"][:4].tolist()
    make_sample(folder.parent / "others", images=60, seed=99)
    for file in sorted((folder.parent / "others" / "train" / "happy").glob("*.jpg"))[:6]:
        (folder / "val" / "joy").mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder / "val" / "joy" / f"other {file.name}")
    for number, path in enumerate([*equal, *again]):
        target = folder / "train" / "joy" / f"{number}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        if path in equal:
            shutil.copy(sample / path, target)
        else:
            Image.open(sample / path).convert("L").save(target, quality=60)
    return equal, again


def test_what_is_shared_is_listed_on_both_sides_and_nothing_is_decided(
    own: Workspace, sample: Path, tmp_path: Path, curate: Curate
) -> None:
    equal, again = shared_with(own, sample, tmp_path / "other")
    before = manifest.find(own, "cleaned")
    said = as_json(curate("overlap", tmp_path / "other", "-w", own.root, "--json"))
    mine = pd.DataFrame(said["shared"]).set_index("path")
    assert mine["kind"].to_dict() == dict.fromkeys(equal, "exact") | dict.fromkeys(again, "near")
    assert set(mine["other_splits"]) == {"train"} and set(mine["other_labels"]) == {"joy"}
    assert sorted(row["path"] for row in said["theirs"]) == [f"train/joy/{n}.jpg" for n in range(9)]
    theirs = [row for row in said["counts"] if row["side"] == "the other"]
    assert [(row["split"], row["exact"], row["near"], row["images"]) for row in theirs] == [("train", 5, 4, 9)]
    assert manifest.find(own, "cleaned") == before
    page = Path(said["page"]).read_text(encoding="utf-8")
    assert page.count("data:image/jpeg") == 18 and "Of the split test: 3 of" in page and "(3 in its train)" in page
    listed = as_json(curate("issues", "--check", "overlap", "-w", own.root, "--json"))
    assert {row["path"] for row in listed} == {*equal, *again}
    printed = curate("overlap", tmp_path / "other", "--theirs", "-w", own.root)
    assert "Measuring the other" in printed.stderr and "train/joy/8.jpg" in printed.stdout


def test_a_policy_may_act_on_what_is_shared_and_the_pictures_are_followed(
    own: Workspace, sample: Path, tmp_path: Path
) -> None:
    equal, again = shared_with(own, sample, tmp_path / "other")
    chosen = settings.of_workspace(own)
    overlap(own, str(tmp_path / "other"), chosen, QUIET)
    file = tmp_path / "apart.toml"
    file.write_text(
        'name = "apart"\ndescription = "d"\n[[exclude]]\ncheck = "overlap"\nreason = "theirs"\nsplits = ["test"]\n',
        encoding="utf-8",
    )
    decisions.apply(own, chosen.model_copy(update={"policy": str(file)}), QUIET)
    rows = manifest.rows(own, manifest.find(own, "cleaned")).set_index("path")
    assert set(rows.index[rows["status"] == "excluded"]) == {path for path in equal if path.startswith("test")}
    moved = Path(shutil.copytree(sample, tmp_path / "moved"))
    (moved / equal[0]).rename((moved / equal[0]).with_name("renamed.jpg"))
    curating.run(own, str(moved), settings.of_workspace(own), QUIET)
    rows = manifest.rows(own, manifest.find(own, "cleaned")).set_index("path")
    assert rows.at[str(Path(equal[0]).with_name("renamed.jpg")), "reason"] == "theirs"
    assert len(again) == 4


def test_of_another_workspace_only_its_measurements_are_read(own: Workspace, sample: Path, tmp_path: Path) -> None:
    equal, again = shared_with(own, sample, tmp_path / "other")
    second = create_workspace(tmp_path / "second")
    curating.run(second, str(tmp_path / "other"), settings.of_workspace(second), QUIET)
    shutil.rmtree(tmp_path / "other")
    found = curation.Workspace(own.root, quiet=True).overlap(second.root)
    assert {row["path"] for row in found.record["shared"]} == {*equal, *again}
    flagged = read_issues(own).every().query("check == 'overlap' and is_issue")
    assert set(flagged["path"]) == {*equal, *again}


def test_nothing_to_compare_with_is_one_sentence(own: Workspace, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CurationError, match="no images in"):
        overlap(own, str(tmp_path / "empty"), settings.of_workspace(own), QUIET)
