"""One person in several splits, end to end: named by a list, divided anew, left out, taken back, said everywhere."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import curation
from curation.audit.synthetic import face
from curation.base.errors import CurationError
from tests.conftest import Curate, as_json

PEOPLE = 12
LABELS = ("neutral", "happy", "sad", "angry")


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn people whose pictures lie in train and in test, and a list that names them."""
    folder = tmp_path_factory.mktemp("people")
    rng = np.random.default_rng(2)
    rows = [("path", "label", "split", "subject")]
    for number in range(PEOPLE):
        who = face.draw_person(rng)
        for place, (label, expression) in enumerate(list(face.TYPICAL.items())[: len(LABELS)]):
            tones = face.draw(64, who, expression, face.draw_shot(rng), rng)
            name = f"{number:02d}_{place}.png"
            Image.fromarray((tones * 255).clip(0, 255).astype(np.uint8)).save(folder / name)
            rows.append((name, label, "test" if place == 0 and number % 2 else "train", f"S{number:02d}"))
    with (folder / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder / "list.csv"


@pytest.fixture(scope="module")
def ran(named: Path, tmp_path_factory: pytest.TempPathFactory, curate: Curate) -> tuple[Path, str]:
    """A workspace of these people, and what the run said."""
    folder = tmp_path_factory.mktemp("ran") / "space"
    return folder, curate("run", named, "-w", folder).stdout


@pytest.fixture
def space(ran: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy of the workspace, to be changed."""
    return Path(shutil.copytree(ran[0], tmp_path / "space"))


def splits_of(folder: Path) -> pd.Series:
    """Return in how many splits each person's kept images are."""
    kept = curation.Workspace(folder, quiet=True).version("cleaned").kept
    return kept.groupby("subject")["split"].nunique()


def test_people_in_two_splits_are_said_and_listed_with_their_group(ran: tuple[Path, str], curate: Curate) -> None:
    folder, said = ran
    assert f"In several splits: {PEOPLE // 2} people" in said
    assert "curate split --by subject" in said
    rows = pd.DataFrame(as_json(curate("issues", "--check", "subject_leak", "--all", "--format", "json", "-w", folder)))
    who = rows["path"].str[:2]
    assert (rows.groupby(who)["group"].nunique() == 1).all() and rows["group"].nunique() == PEOPLE
    assert set(who[rows["is_issue"]]) == {f"{number:02d}" for number in range(1, PEOPLE, 2)}
    told = curate("explain", "01_0.png", "-w", folder).stdout
    assert "the same person as" in told and "named by the source" in told
    page = (folder / "reports" / "cleaning.html").read_text()
    assert "One person in several splits" in page


def test_splits_by_person_leave_none_and_are_taken_back(space: Path, curate: Curate) -> None:
    assert (splits_of(space) > 1).any()
    before = curation.Workspace(space, quiet=True).version("cleaned")
    said = curate("split", "--by", "subject", "--train", "0.5", "--validation", "0.25", "--test", "0.25", "-w", space)
    assert "0 of them in more than one split" in said.stdout
    assert (splits_of(space) == 1).all()
    after = curation.Workspace(space, quiet=True).version("cleaned")
    share = after.kept["split"].value_counts(normalize=True)
    assert all(
        abs(share[name] - asked) <= 0.05 for name, asked in (("train", 0.5), ("validation", 0.25), ("test", 0.25))
    )
    assert set(curation.Workspace(space, quiet=True).diff(before.name, after.name)["change"]) == {"moved"}
    curate("undo", after.name, "-w", space)
    assert curation.Workspace(space, quiet=True).version("cleaned").hash == before.hash
    assert curate("verify", "-w", space).returncode == 0


def test_the_policy_leaves_one_split_a_person_and_test_keeps_them(space: Path, curate: Curate) -> None:
    curate("apply", "--policy", "subject-disjoint", "-w", space)
    assert (splits_of(space) == 1).all()
    rows = curation.Workspace(space, quiet=True).version("cleaned").rows
    assert set(rows.loc[rows["subject"] == "S01", ["split", "status"]].itertuples(index=False, name=None)) == {
        ("test", "kept"),
        ("train", "excluded"),
    }


def test_shares_that_are_none_and_people_who_are_unknown_are_refused(
    space: Path, curated: Path, curate: Curate
) -> None:
    failed = curate("split", "--train", "0.5", "-w", space, check=False)
    assert failed.returncode == 1 and "sum to" in failed.stderr
    with pytest.raises(CurationError, match="nobody's person is known"):
        curation.Workspace(curated, quiet=True).split()


def test_a_person_may_say_who_it_is_and_where_it_belongs(space: Path, curate: Curate) -> None:
    curate("decide", "01_0.png", "--subject", "somebody-else", "-w", space)
    curate("decide", "01_1.png", "--move", "test", "-w", space)
    curate("check", "subject_leak", "-w", space)
    opened = curation.Workspace(space, quiet=True)
    rows = opened.version("cleaned").rows.set_index("path")
    assert rows.loc["01_0.png", "subject"] == "somebody-else" and rows.loc["01_1.png", "split"] == "test"
    groups = opened.issues("subject_leak", flagged_only=False).set_index("path")["group"]
    assert groups["01_0.png"] != groups["01_1.png"] == groups["01_2.png"]


def test_evaluation_has_a_view_without_the_people_in_train() -> None:
    from training.evaluate import standard_views

    frame = pd.DataFrame(
        {
            "path": list("abcd"),
            "split": ["train", "test", "test", "test"],
            "group": ["g", "g", "", ""],
            "subject": ["p", "q", "p", ""],
        }
    )
    views = standard_views(frame, "test")
    assert views["without copies in train"].tolist() == [False, False, True, True]
    assert views["without people in train"].tolist() == [False, False, False, True]
    assert "without people in train" not in standard_views(frame.assign(subject=""), "test")


def test_a_network_finds_people_is_remembered_and_forgotten(named: Path, tmp_path: Path, curate: Curate) -> None:
    """A network that anybody may bring; people are not told apart by it, only the way is tried."""
    pytest.importorskip("onnx")
    from tests.unit.test_identity import own_network

    network = own_network(tmp_path / "own.onnx")
    bare = named.parent / "bare.csv"
    with named.open() as whole, bare.open("w", newline="") as file:
        csv.writer(file).writerows(row[:3] for row in csv.reader(whole))
    space = tmp_path / "space"
    told = curate("run", bare, "--identity", network, "-w", space)
    assert "Recognising" in told.stderr and list((space / "measurements").glob("identity-*"))
    again = curate("check", "subject_leak", "-w", space)
    assert "Recognising 4" not in again.stderr
    found = curation.Workspace(space, quiet=True).issues("subject_leak", flagged_only=False)
    assert len(found) > 0 and (found["group"] != "").all()
    exported = curate("export", "cleaned", "--format", "csv", "-o", tmp_path / "out.csv", "-w", space)
    assert exported.returncode == 0 and "person-" not in (tmp_path / "out.csv").read_text()
    assert "deleted" in curate("forget", "identity", "-w", space).stdout
    assert not list((space / "measurements").glob("identity-*")) and not (space / "subjects.parquet").exists()
    assert "subject_leak" not in set(curation.Workspace(space, quiet=True).issues(flagged_only=False)["check"])
