"""Folders as people and published sets lay them: splits by any name, persons, junk, links, and what is said of them."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from curation.base.pools import EngineError
from curation.base.pools.threads import Make, Threads
from curation.base.settings import SourceSettings
from curation.formats import folders
from curation.formats.gate import Gate
from curation.formats.listing import why_nothing
from curation.formats.source import read_source
from tests.unit.sources import JPEG, column, lay, listed, reasons, said, told


def split_tree(root: Path, names: tuple[str, ...]) -> Path:
    return lay(root, [f"{name}/{label}/{n}.jpg" for n, name in enumerate(names) for label in ("happy", "sad")])


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("train_set", "val_set", "test_set"), ("train", "validation", "test")),
        (("Training-Set", "Validation Set"), ("train", "validation")),
        (("FER2013Train", "FER2013Valid", "FER2013Test"), ("train", "validation", "test")),
        (("Training", "PublicTest", "PrivateTest"), ("train", "validation", "test")),
        (("trainset", "devset", "holdout"), ("train", "validation", "test")),
        (("affect_train", "affect_eval"), ("train", "test")),
        (("TRAIN", "Valid"), ("train", "validation")),
        (("train_images", "test-data"), ("train", "test")),
        (("fold1", "fold2", "fold3"), ("fold1", "fold2", "fold3")),
        (("train", "test1", "test2"), ("train", "test1", "test2")),
        (("train", "validation", "night"), ("train", "validation", "night")),
        (("first", "second"), ("first", "second")),
    ],
)
def test_split_folders_of_any_name_are_splits_and_the_classes_lie_below(
    tmp_path: Path, names: tuple[str, ...], splits: tuple[str, ...]
) -> None:
    found = told(listed(split_tree(tmp_path / "data", names)))
    expected = {(split, label) for split in splits for label in ("happy", "sad")}
    assert set(found.values()) == expected


def test_splits_below_the_classes_are_splits_too(tmp_path: Path) -> None:
    names = ("train_set", "holdout")
    lay(tmp_path / "data", [f"{label}/{name}/1.jpg" for name in names for label in ("happy", "sad")])
    expected = {(split, label) for split in ("train", "test") for label in ("happy", "sad")}
    assert set(told(listed(tmp_path / "data")).values()) == expected


def test_a_split_that_is_not_plain_is_said_and_so_is_one_of_unknown_name(tmp_path: Path) -> None:
    assert listed(split_tree(tmp_path / "plain", ("train_set", "Validation"))).warnings == ()
    text = said(listed(split_tree(tmp_path / "fer", ("Training", "PublicTest", "fold7"))))
    assert "'PublicTest' is read as validation" in text and "kept as they are: 'fold7'" in text


def test_a_folder_around_the_splits_that_is_named_like_one_is_no_split(tmp_path: Path) -> None:
    lay(tmp_path / "data", ["my_test_data/train/happy/1.jpg", "my_test_data/val/sad/2.jpg"])
    assert set(told(listed(tmp_path / "data")).values()) == {("train", "happy"), ("validation", "sad")}


@pytest.mark.parametrize("person", ["S001", "actor_12", "subject 3", "P7"])
def test_folders_of_persons_above_the_classes_are_no_classes(tmp_path: Path, person: str) -> None:
    other = person[:-1] + "9"
    lay(tmp_path / "data", [f"train/{who}/{label}/1.jpg" for who in (person, other) for label in ("happy", "angry")])
    listing = listed(tmp_path / "data")
    assert {place for place in told(listing).values()} == {("train", "happy"), ("train", "angry")}
    assert set(column(listing, "subject").values()) == {person, other}
    assert "read as persons" in said(listing)


def test_folders_of_persons_alone_give_no_label(tmp_path: Path) -> None:
    listing = listed(lay(tmp_path / "data", [f"s{n}/{m}.pgm" for n in range(1, 4) for m in range(2)]))
    assert set(told(listing).values()) == {("", "")}
    assert set(column(listing, "subject").values()) == {"s1", "s2", "s3"}
    assert "not as classes" in said(listing) and "no image has a label" in said(listing)


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["images/1.jpg", "images/2.jpg"], "no image has a label"),
        (["aligned/1.jpg", "aligned/2.jpg"], "all labelled images are of one class, 'aligned'"),
        (["1/a.jpg", "2/b.jpg", "10/c.jpg"], r"the classes are numbers \(1, 2, 10\)"),
        (["a/train/1.jpg", "b/fold1/2.jpg", "x/3.jpg", "x/4.jpg", "y/5.jpg"], ""),
        (["web/0/1.jpg", "web/1/2.jpg", "lab/0/3.jpg", "lab/1/4.jpg"], "folders of the same numbers"),
        (["happy/1.jpg", "sad/2.jpg", "happy/labels.csv", "notes.txt"], "1 .csv, 1 .txt"),
        (["happy/1.jpg", "sad/2.jpg", "sad/more.zip"], "archives inside were not read: 'sad/more.zip'"),
        (["Happy/1.jpg", "happy/2.jpg", "HAPPY /3.jpg", "surprise/4.jpg", "surprised/5.jpg"], "--merge-labels"),
    ],
)
def test_what_is_not_recognised_is_said(tmp_path: Path, paths: list[str], words: str) -> None:
    listing = listed(lay(tmp_path / "data", {path: JPEG if path.endswith("jpg") else "text" for path in paths}))
    assert re.search(words, said(listing))


def test_spellings_of_one_class_are_joined_where_asked(tmp_path: Path) -> None:
    labels = ["Happy", "happy", "happy ", "SURPRISED", "surprise", "calm", "neutral"]
    paths = [f"{label}/{n}.jpg" for n, label in enumerate(labels)]
    lay(tmp_path / "data", paths)
    assert len(set(listed(tmp_path / "data").frame["label"])) == 7
    listing = listed(tmp_path / "data", merge_labels=True)
    assert set(listing.frame["label"]) == {"happy", "surprise", "calm", "neutral"}
    assert "'Happy', 'happy', 'happy ' are read as 'happy'" in said(listing)


JUNK = ["@eaDir/a.jpg/SYNO_XL.jpg", "lost+found/a.jpg", "__MACOSX/a.jpg", ".thumbnails/a.jpg", "_thumbs/a.jpg"]
JUNK += ["._a.jpg", "a.jpg~", "a.jpg.tmp", "a.jpg.crdownload", "a.jpg.part", "#recycle/a.jpg"]
JUNK += [".ipynb_checkpoints/a-checkpoint.jpg", "Thumbs.db", "@Recycle/a.jpg"]


def test_what_file_managers_and_network_disks_leave_is_passed_over_on_every_level(tmp_path: Path) -> None:
    real = {"happy/a.jpg", "happy/Copy of a.jpg", "sad/b.jpg"}
    lay(tmp_path / "data", [*real, *(f"happy/{name}" for name in JUNK), *JUNK])
    (tmp_path / "data" / "surprise").mkdir()
    listing = listed(tmp_path / "data")
    assert set(told(listing)) == real
    assert set(listing.problems["reason"]) == {"a hidden, system, backup or unfinished file"}
    assert "empty folders: 'surprise'" in said(listing)


def test_links_out_are_followed_only_where_asked_and_circles_end(tmp_path: Path) -> None:
    lay(tmp_path / "store", ["happy/1.jpg", "sad/2.jpg"])
    (tmp_path / "data" / "train").mkdir(parents=True)
    for label in ("happy", "sad"):
        (tmp_path / "data" / "train" / label).symlink_to(tmp_path / "store" / label)
    (tmp_path / "store" / "sad" / "up").symlink_to(tmp_path)
    (tmp_path / "store" / "sad" / "back").symlink_to(tmp_path / "data")
    closed = listed(tmp_path / "data")
    assert closed.frame.empty
    assert "--follow-links" in why_nothing(closed.problems) and "leads outside" in why_nothing(closed.problems)
    found = told(listed(tmp_path / "data", outside=True))
    assert {path: place for path, place in found.items() if "/up/" not in path and "/back/" not in path} == {
        "train/happy/1.jpg": ("train", "happy"),
        "train/sad/2.jpg": ("train", "sad"),
    }


def test_a_file_and_a_link_to_it_are_one_image_in_the_class_folder(tmp_path: Path) -> None:
    lay(tmp_path / "data", ["store/1.jpg", "store/2.jpg", "sad/3.jpg"])
    (tmp_path / "data" / "happy").mkdir()
    for n in (1, 2):
        (tmp_path / "data" / "happy" / f"{n}.jpg").symlink_to(f"../store/{n}.jpg")
    (tmp_path / "data" / "latest.jpg").symlink_to("sad/3.jpg")
    listing = listed(tmp_path / "data")
    assert told(listing) == {name: ("", name.split("/")[0]) for name in ("happy/1.jpg", "happy/2.jpg", "sad/3.jpg")}
    assert "the same file as 'happy/1.jpg'" in reasons(listing)["store/1.jpg"]


def test_the_main_reason_is_told_where_there_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "1.jpg").write_bytes(JPEG)
    (tmp_path / "data").mkdir()
    for n in range(5):
        (tmp_path / "data" / f"{n}.jpg").symlink_to(tmp_path / "secret" / "1.jpg")
    (tmp_path / "data" / "export.json").write_text("{}")
    words = why_nothing(listed(tmp_path / "data").problems)
    assert words.startswith(": 5 of 6 files") and "--follow-links" in words and "export.json" not in words


def test_a_folder_that_cannot_be_listed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(tmp_path / "data", ["happy/1.jpg", "sad/2.jpg"])
    scandir = os.scandir

    def refusing(path: str) -> object:
        if str(path).rstrip("/").endswith("sad"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    listing = listed(tmp_path / "data")
    assert set(told(listing)) == {"happy/1.jpg"} and "'sad' cannot be listed" in said(listing)


def _with_everything(root: Path) -> Path:
    """A tree of many folders, with links, files that are no images, folders that cannot be read or are our own."""
    lay(root / "data", [f"train/{label}/part{n}/{n}.jpg" for n in range(9) for label in ("happy", "sad")])
    data = root / "data"
    lay(root, ["elsewhere/deep/er/8.jpg", "elsewhere/9.jpg"])
    (data / "train" / "linked").symlink_to(root / "elsewhere")
    (data / "train" / "circle").symlink_to(data / "train")
    (data / "train" / "happy" / "again.jpg").symlink_to(data / "train" / "sad" / "part1" / "1.jpg")
    (data / "train" / "happy" / "lost.jpg").symlink_to(root / "nowhere.jpg")
    (data / "notes.txt").write_text("no image")
    (data / "faces.zip").write_bytes(b"PK")
    (data / "empty").mkdir()
    (data / ".hidden").mkdir()
    os.mkfifo(data / "train" / "pipe.jpg")
    (data / "space").mkdir()
    (data / "space" / "curation.json").write_text("{}")
    (data / os.fsdecode(b"caf\xe9")).mkdir()
    (data / os.fsdecode(b"caf\xe9") / "1.jpg").write_bytes(JPEG)
    (data / "locked").mkdir()
    return data


@pytest.mark.parametrize("outside", [False, True])
def test_workers_list_what_this_process_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outside: bool) -> None:
    data = _with_everything(tmp_path)
    walk = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: _refused() if "locked" in str(path) else walk(path))
    settings = SourceSettings(outside=outside)
    alone = read_source(str(data), tmp_path / "cache", settings)
    monkeypatch.setattr(folders, "_FOLDERS_A_TASK", 2)
    asked: list[object] = []

    class Counted(Threads):
        def doing(self, make: Make, *arguments: Any) -> Callable[[Sequence[Any]], Iterator[Any]]:
            do = super().doing(make, *pickle.loads(pickle.dumps(arguments)))
            return lambda tasks: (asked.extend(tasks), do(tasks))[1]

    shared = read_source(str(data), tmp_path / "cache", settings, Counted(2))
    assert len(asked) > 5
    pd.testing.assert_frame_equal(shared.frame, alone.frame)
    pd.testing.assert_frame_equal(shared.problems, alone.problems)
    assert sorted(shared.warnings) == sorted(alone.warnings)
    assert len(alone.frame) == 19 + 2 * outside and "locked" in set(alone.problems["path"])


def _refused() -> None:
    raise PermissionError(13, "Permission denied")


def test_a_folder_that_a_worker_does_not_see_is_an_error_not_a_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = _with_everything(tmp_path)
    monkeypatch.setattr(folders, "_FOLDERS_A_TASK", 2)

    class Elsewhere(Threads):
        def doing(self, make: Make, gate: Gate) -> Callable[[Sequence[Any]], Iterator[Any]]:
            return super().doing(make, replace(gate, root="/nowhere"))

    with pytest.raises(EngineError, match="can be listed here but not where it is to be read"):
        read_source(str(data), tmp_path / "cache", SourceSettings(), Elsewhere(2))
