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


def draw_people(
    folder: Path, people: int, pictures: int, splits: list[str], rng: np.random.Generator, side: int = 64
) -> Path:
    """Draw people, each with one picture a class, and return a list that names them and gives the splits in turn."""
    folder.mkdir(exist_ok=True)
    rows = [("path", "label", "split", "subject")]
    for number in range(people):
        who = face.draw_person(rng)
        for place, (label, expression) in enumerate(list(face.TYPICAL.items())[:pictures]):
            tones = face.draw(side, who, expression, face.draw_shot(rng), rng)
            name = f"{number:02d}_{place}.png"
            Image.fromarray((tones * 255).clip(0, 255).astype(np.uint8)).save(folder / name)
            rows.append((name, label, splits[len(rows) - 1], f"S{number:02d}"))
    with (folder / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder / "list.csv"


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn people whose pictures lie in train and in test, and a list that names them."""
    splits = ["test" if place == 0 and number % 2 else "train" for number in range(PEOPLE) for place in range(4)]
    return draw_people(tmp_path_factory.mktemp("people"), PEOPLE, len(LABELS), splits, np.random.default_rng(2))


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


def test_people_whose_names_are_no_longer_given_are_forgotten(space: Path, named: Path, curate: Curate) -> None:
    assert (space / "subjects.parquet").exists()
    rows = [row[:3] for row in csv.reader((named.parent / "list.csv").open(newline=""))]
    (named.parent / "unnamed.csv").write_text("\n".join(map(",".join, rows)) + "\n")
    curate("run", named.parent / "unnamed.csv", "-w", space)
    assert not (space / "subjects.parquet").exists()
    assert "subject_leak" not in set(curation.Workspace(space, quiet=True).issues(flagged_only=False)["check"])


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


def test_after_splits_by_person_a_new_check_flags_nobody_and_every_split_is_within_two_points(
    tmp_path: Path, curate: Curate
) -> None:
    """Drawn people split at random, as frames of a video would be."""
    rng = np.random.default_rng(3)
    splits = rng.choice(["train", "validation", "test"], 40 * 4, p=[0.75, 0.2, 0.05])
    source = draw_people(tmp_path / "many", 40, 4, splits.tolist(), rng, side=48)
    space = tmp_path / "space"
    curate("run", source, "-w", space)
    opened = curation.Workspace(space, quiet=True)
    kept = opened.version("cleaned").kept.set_index("path")
    met = set(kept.loc[kept["split"] == "train", "subject"])
    leaks = kept.index[(kept["split"] != "train") & kept["subject"].isin(met)]
    assert len(leaks) > 20 and set(leaks) <= set(opened.issues("subject_leak")["path"])
    shares = {"train": 0.75, "validation": 0.2, "test": 0.05}
    curate("split", "--by", "subject", *(f"--{name}={share}" for name, share in shares.items()), "-w", space)
    curate("check", "-w", space)
    assert opened.issues("subject_leak").empty and opened.issues("split_leak").empty
    kept = opened.version("cleaned").kept
    assert (kept.groupby("subject")["split"].nunique() == 1).all()
    got = kept["split"].value_counts(normalize=True)
    assert all(abs(got[name] - share) <= 0.02 for name, share in shares.items())
    table = curate("show", "-w", space).stdout
    assert "validation" in table.partition("after")[2]


def test_a_split_that_no_image_is_in_is_asked_about(space: Path, curate: Curate) -> None:
    failed = curate("decide", "01_1.png", "--move", "tset", "-w", space, check=False)
    assert failed.returncode == 1 and "did you mean 'test'" in failed.stderr and "--new-split" in failed.stderr
    said = curate("decide", "01_1.png", "--move", "holdout", "--new-split", "-w", space).stdout
    assert "moved to another split" in said and "in holdout" in said
    curate("decide", "01_2.png", "--move", "holdout", "-w", space)  # it is one of the splits now


def test_not_the_same_takes_the_name_is_kept_by_a_renamed_file_and_undone(
    named: Path, tmp_path: Path, curate: Curate
) -> None:
    source = Path(shutil.copytree(named.parent, tmp_path / "data"))
    space = tmp_path / "space"
    curate("run", source / "list.csv", "-w", space)
    opened = curation.Workspace(space, quiet=True)
    before = opened.version("cleaned")
    curate("decide", "01_0.png", "01_1.png", "--not-same", "-w", space)
    assert opened.version("cleaned").rows.set_index("path").loc[["01_0.png", "01_1.png"], "subject"].eq("").all()
    assert "01_0.png" not in set(opened.issues("subject_leak", flagged_only=False)["path"])
    assert "not one person: 01_0.png, 01_1.png" in curate("explain", "01_0.png", "-w", space).stdout
    curate("decide", "03_0.png", "--subject", "ann", "-w", space)
    (source / "03_0.png").rename(source / "other.png")
    table = (source / "list.csv").read_text().replace("03_0.png", "other.png")
    (source / "list.csv").write_text(table)
    curate("run", source / "list.csv", "-w", space)
    rows = opened.version("cleaned").rows.set_index("path")
    assert rows.loc["other.png", "subject"] == "ann" and rows.loc["01_0.png", "subject"] == ""
    entries = opened.log()
    for number in entries.loc[entries["action"].isin(["subject", "not_same"]), "seq"]:
        curate("undo", str(number), "-w", space)
    after = opened.version("cleaned").rows["subject"]
    assert sorted(after) == sorted(before.rows["subject"])
    assert len(opened.issues("subject_leak")) == PEOPLE // 2 * len(LABELS)


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
    with pytest.raises(CurationError, match="no person is known"):
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
