"""Layouts of published sets, laid down small: labels by name, splits and persons, from the set's own files."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curation.formats.layouts import LAYOUTS, recognisers
from tests.unit.sources import JPEG, column, lay, listed, reasons, said, told

SIDE = 6


def pixels(seed: int, separator: str = " ") -> str:
    return separator.join(map(str, np.random.default_rng(seed).integers(0, 256, SIDE * SIDE)))


def opened(url: str) -> np.ndarray:
    return np.asarray(Image.open(url))


# FER-2013

USAGE = ("Training", "Training", "PublicTest", "PrivateTest")
EMOTIONS = (0, 3, 6, 5)
NAMES = ("angry", "happy", "neutral", "surprise")
SPLITS = ("train", "train", "validation", "test")


def fer(header: str, order: tuple[str, ...], separator: str = ",", between: str = " ") -> str:
    lines = [header]
    for n, (emotion, usage) in enumerate(zip(EMOTIONS, USAGE, strict=True)):
        cells = {"emotion": str(emotion), "Usage": usage, "pixels": pixels(n, between)}
        lines.append(separator.join(cells[name] for name in order))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        fer("emotion,pixels,Usage", ("emotion", "pixels", "Usage")),
        fer("emotion, Usage, pixels", ("emotion", "Usage", "pixels")),
        fer("Usage;Pixels;Emotion", ("Usage", "pixels", "emotion"), ";"),
        fer("emotion\tpixels\tusage", ("emotion", "pixels", "Usage"), "\t", ", "),
        fer('"emotion","pixels","Usage"', ("emotion", "pixels", "Usage")),
    ],
)
def test_fer2013s_csv_gives_pixels_names_and_splits(tmp_path: Path, text: str) -> None:
    listing = listed(lay(tmp_path / "data", {"fer2013.csv": text}) / "fer2013.csv")
    assert listing.frame["path"].tolist() == [f"fer{n:07d}.png" for n in range(4)]
    assert list(told(listing).values()) == list(zip(SPLITS, NAMES, strict=True))
    for n, url in enumerate(listing.frame["url"]):
        assert opened(url).ravel().tolist() == list(map(int, pixels(n).split()))
    assert "'PublicTest' is read as validation" in said(listing)


def test_fer2013_is_decoded_once_and_laid_down_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = fer("emotion,pixels,Usage", ("emotion", "pixels", "Usage"))
    text += text.splitlines()[1] + "\n"  # a copy
    source = lay(tmp_path / "data", {"a/fer2013/fer2013.csv": text})
    first = listed(source).frame
    assert len(first) == 5 and first["url"].nunique() == 4
    monkeypatch.setattr("curation.formats.layouts.fer2013.as_picture", None)
    assert listed(source).frame.equals(first)
    Path(first["url"][0]).write_bytes(b"edited")
    monkeypatch.undo()
    assert opened(listed(source).frame["url"][0]).shape == (SIDE, SIDE)


def test_kaggles_files_of_the_challenge_are_read_by_their_names(tmp_path: Path) -> None:
    parts = {
        "train.csv": "emotion,pixels\n" + "".join(f"{n},{pixels(n)}\n" for n in range(3)),
        "test.csv": "pixels\n" + "".join(f"{pixels(n)}\n" for n in range(3, 5)),
    }
    lay(tmp_path / "data", parts)
    listing = listed(tmp_path / "data")
    assert set(told(listing).values()) == {("train", "angry"), ("train", "disgust"), ("train", "fear"), ("test", "")}
    assert {path.split("/")[0] for path in told(listing)} == {"train", "test"}
    whole = fer("emotion,pixels,Usage", ("emotion", "pixels", "Usage"))
    listing = listed(lay(tmp_path / "data", {"icml_face_data.csv": whole, "fer2013new.csv": "Usage,Image name\n"}))
    assert len(listing.frame) == 4 and "curate votes import" in said(listing) and "train.csv" in said(listing)


def test_rows_whose_pixels_are_none_are_left_out(tmp_path: Path) -> None:
    bad = ["1 2 3", "1 2 3 256", "a b c d", "", "-1 0 0 0"]
    text = "emotion,pixels\n" + "".join(f"0,{cells}\n" for cells in [*bad, "0 1 2 255"])
    listing = listed(lay(tmp_path / "data", {"x.csv": text}) / "x.csv")
    assert len(listing.frame) == 1 and set(reasons(listing).values()) == {
        "its pixels are no square of numbers from 0 to 255"
    }


def test_a_column_a_pixel_is_read_too(tmp_path: Path) -> None:
    head = "label," + ",".join(f"pixel_{n}" for n in range(64))
    text = head + "\n" + "3," + ",".join(map(str, range(64))) + "\n"
    listing = listed(lay(tmp_path / "data", {"x.csv": text}) / "x.csv")
    assert listing.frame["label"].tolist() == ["happy"] and opened(listing.frame["url"][0]).ravel().tolist() == list(
        range(64)
    )


# FER+

VOTES = {"a.png": (1, 7, 0, 0, 0, 0, 0, 0, 2, 0), "b.png": (0, 0, 0, 0, 3, 3, 0, 0, 0, 4), "c.png": (6,) + (0,) * 9}


def test_ferplus_folders_give_votes_as_soft_labels_and_no_label_for_no_face(tmp_path: Path) -> None:
    label_csv = "".join(f'{name},"(0, 0, 48, 48)",{",".join(map(str, counts))}\n' for name, counts in VOTES.items())
    tree = {f"{split}/{name}": JPEG for split in ("FER2013Train", "FER2013Valid") for name in VOTES}
    tree |= {f"{split}/label.csv": label_csv.encode() for split in ("FER2013Train", "FER2013Valid")}
    listing = listed(lay(tmp_path / "data", tree))
    assert {place[0] for place in told(listing).values()} == {"train", "validation"}
    labels, softs = column(listing, "label"), column(listing, "soft_label")
    assert [labels[f"FER2013Train/{name}"] for name in VOTES] == ["happiness", "", "neutral"]
    assert json.loads(softs["FER2013Train/a.png"]) == {"happiness": 0.875, "neutral": 0.125}


# sets whose labels are in files beside the images


def test_affectnets_annotations_are_read_whatever_their_type(tmp_path: Path) -> None:
    values = [np.array("1"), np.array(3), np.array([6.0]), np.array(b"10"), np.array("what")]
    for split in ("train_set", "val_set"):
        lay(tmp_path / "data", [f"{split}/images/{n}.jpg" for n in range(len(values) + 1)])
        (tmp_path / "data" / split / "annotations").mkdir()
        for n, value in enumerate(values):
            for kind in ("exp", "val"):
                np.save(tmp_path / "data" / split / "annotations" / f"{n}_{kind}.npy", value)
    np.save(tmp_path / "data" / "train_set" / "annotations" / "4_exp.npy", np.array([object()]), allow_pickle=True)
    listing = listed(tmp_path / "data")
    found = told(listing)
    assert [found[f"train_set/images/{n}.jpg"] for n in range(6)] == [
        ("train", label) for label in ("happiness", "surprise", "anger", "no-face", "", "")
    ]
    assert {place[0] for place in found.values()} == {"train", "validation"}
    assert "not read" not in said(listing)


def test_affectnets_folders_without_a_split_have_none(tmp_path: Path) -> None:
    lay(tmp_path / "data", [f"images/{n}.jpg" for n in range(3)])
    (tmp_path / "data" / "annotations").mkdir()
    for n in range(3):
        np.save(tmp_path / "data" / "annotations" / f"{n}_exp.npy", np.array(n))
    found = told(listed(tmp_path / "data"))
    assert set(found.values()) == {("", "neutral"), ("", "happiness"), ("", "sadness")}


def test_affectnets_lists_name_images_below_their_folder_and_numbers_become_names(tmp_path: Path) -> None:
    columns = "subDirectory_filePath,face_x,facial_landmarks,expression,valence,arousal\n"
    rows = "".join(f"{n}/x{n}.jpg,0,1;2;3,{n},0.1,0.2\n" for n in range(3))
    tree: dict[str, bytes | str] = {f"Manually_Annotated_Images/{n}/x{n}.jpg": JPEG for n in range(3)}
    lay(tmp_path / "data", tree | {"training.csv": columns + rows})
    for source in (tmp_path / "data", tmp_path / "data" / "training.csv"):
        assert list(told(listed(source)).values()) == [("train", name) for name in ("neutral", "happiness", "sadness")]


def test_a_list_wins_over_class_folders_it_corrects_and_one_of_few_rows_does_not(tmp_path: Path) -> None:
    paths = [f"{label}/{n}.jpg" for label in ("happy", "sad") for n in range(6)]
    whole = ",pth,label,relFCs\n" + "".join(
        f"{n},{path},{'sad' if n == 2 else path.split('/')[0]},.9\n" for n, path in enumerate(paths)
    )
    listing = listed(lay(tmp_path / "data", {**dict.fromkeys(paths, JPEG), "labels.csv": whole}))
    assert column(listing, "label")["happy/2.jpg"] == "sad"
    assert "1 images are in the folder of another class" in said(listing)
    (tmp_path / "data" / "labels.csv").unlink()
    for header, rows, cells in (
        ("path,label", paths[:3], "sad"),
        ("path,true_label", paths, "sad"),
        ("path,happy,sad", paths, "0.1,0.9"),
    ):
        lay(tmp_path / "data", {"other.csv": f"{header}\n" + "".join(f"{path},{cells}\n" for path in rows)})
        listing = listed(tmp_path / "data")
        assert column(listing, "label")["happy/0.jpg"] == "happy" and "not read: 1 .csv" in said(listing)


def raf(root: Path, *, aligned: bool = True, original: bool = False) -> Path:
    tree: dict[str, bytes | str] = {}
    for n in range(1, 8):
        if aligned:
            tree[f"basic/Image/aligned/train_{n:05d}_aligned.jpg"] = JPEG
        if original:
            tree[f"basic/Image/original/train_{n:05d}.jpg"] = JPEG
    rows = "".join(f"train_{n:05d}.jpg {n}\n" for n in range(1, 8))
    return lay(root, tree | {"basic/EmoLabel/list_patition_label.txt": rows})


RAF = ["surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"]


def test_raf_db_names_its_seven_numbers_and_takes_the_aligned_images(tmp_path: Path) -> None:
    assert list(told(listed(raf(tmp_path / "a"))).values()) == [("train", label) for label in RAF]
    listing = listed(raf(tmp_path / "b", original=True))
    assert len(listing.frame) == 7 and all("_aligned" in path for path in told(listing)) and len(listing.problems) == 7
    assert list(told(listed(raf(tmp_path / "c", aligned=False, original=True))).values()) == [("train", n) for n in RAF]


def test_raf_db_as_it_is_delivered_with_its_images_in_an_archive(tmp_path: Path) -> None:
    raf(tmp_path / "data")
    images = tmp_path / "data" / "basic" / "Image"
    with zipfile.ZipFile(images / "aligned.zip", "w") as archive:
        for path in sorted((images / "aligned").iterdir()):
            archive.write(path, f"aligned/{path.name}")
            path.unlink()
    assert [label for _, label in told(listed(tmp_path / "data")).values()] == RAF
    with tarfile.open(tmp_path / "data.tar.gz", "w:gz") as whole:
        whole.add(tmp_path / "data", "raf")
    assert [label for _, label in told(listed(tmp_path / "data.tar.gz")).values()] == RAF


def test_raf_db_on_kaggle_names_the_numbers_of_its_folders(tmp_path: Path) -> None:
    tree: dict[str, bytes | str] = {
        f"DATASET/{s}/{n}/{s}_{n:04d}_aligned.jpg": JPEG for s in ("train", "test") for n in (1, 7)
    }
    assert set(told(listed(lay(tmp_path / "folders", tree))).values()) == {
        (split, label) for split in ("train", "test") for label in ("surprise", "neutral")
    }
    lists = {
        f"{s}_labels.csv": "image,label\n" + "".join(f"{s}_{n:04d}_aligned.jpg,{n}\n" for n in (1, 7))
        for s in ("train", "test")
    }
    assert set(told(listed(lay(tmp_path / "listed", tree | lists))).values()) == {
        (split, label) for split in ("train", "test") for label in ("surprise", "neutral")
    }


def test_ck_plus_labels_the_last_frames_and_knows_the_persons(tmp_path: Path) -> None:
    tree: dict[str, bytes | str] = {}
    for person, sequence, emotion in (("S005", "001", 3), ("S010", "002", 7), ("S010", "004", None)):
        for frame in range(1, 5):
            tree[f"cohn-kanade-images/{person}/{sequence}/{person}_{sequence}_{frame:08d}.png"] = JPEG
        if emotion:
            tree[f"Emotion/{person}/{sequence}/{person}_{sequence}_00000004_emotion.txt"] = (
                f"   {emotion}.0000000e+00\n"
            )
    listing = listed(lay(tmp_path / "data", tree))
    labels = [label for _, label in told(listing).values()]
    assert labels == ["", "", "", "disgust", "", "", "", "surprise", "", "", "", ""]
    assert "first frames are neutral by design" in said(listing)
    assert set(column(listing, "subject").values()) == {"S005", "S010"}


def test_names_of_files_tell_person_and_expression(tmp_path: Path) -> None:
    made = {
        "jaffe": (
            ["KA.AN1.39.tiff", "KL.HA-2.159.tiff", "YM.NE3.51.tiff"],
            ["anger", "happiness", "neutral"],
            ["KA", "KL", "YM"],
        ),
        "kdef": (
            ["AF01/AF01ANS.JPG", "BF01/BF01HAHL.JPG", "AM35/AM35AFFR.JPG"],
            ["afraid", "angry", "happy"],
            ["F01", "M35"],
        ),
        "ravdess": (
            ["Actor_05/01-01-05-01-02-01-05_f1.jpg", "Actor_12/02-01-08-02-01-01-12/1.jpg"],
            ["angry", "surprised"],
            ["Actor_05", "Actor_12"],
        ),
        "ck48": (["anger/S010_004_00000017.png", "happy/S011_006_00000013.png"], ["anger", "happy"], ["S010", "S011"]),
    }
    for name, (paths, labels, persons) in made.items():
        listing = listed(lay(tmp_path / name, paths))
        assert sorted(set(column(listing, "label").values())) == labels, name
        assert sorted(set(column(listing, "subject").values())) == persons, name


# YOLO


@pytest.mark.parametrize(
    ("image", "boxes"),
    [
        ("{s}/images/{n}.jpg", "{s}/labels/{n}.txt"),
        ("images/{s}/{n}.jpg", "labels/{s}/{n}.txt"),
        ("{s}/{n}.jpg", "{s}/{n}.txt"),
    ],
)
@pytest.mark.parametrize("names", ["names: [happy, sad]", "names:\n  0: happy\n  1: sad", "names:\n- happy\n- sad"])
def test_yolo_folders_in_every_order_take_the_class_of_their_boxes(
    tmp_path: Path, image: str, boxes: str, names: str
) -> None:
    rows = [
        "0 0.5 0.5 1 1\n",
        "1 .5 .5 .1 .2\n1 .1 .1 .1 .1\n",
        "0 .5 .5 1 1\n1 .5 .5 1 1",
        "",
        "1 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8\n",
    ]
    tree: dict[str, bytes | str] = {"set/data.yaml": f"train: ../train\nnc: 2\n{names}\n"}
    for split in ("train", "valid"):
        for n, text in enumerate(rows):
            tree["set/" + image.format(s=split, n=n)] = JPEG
            tree["set/" + boxes.format(s=split, n=n)] = text
    listing = listed(lay(tmp_path / "data", tree))
    found = told(listing)
    for split, known in (("train", "train"), ("valid", "validation")):
        labels = [found["set/" + image.format(s=split, n=n)] for n in range(len(rows))]
        assert labels == [(known, label) for label in ("happy", "sad", "", "", "sad")]
    assert "2 images have boxes of several classes" in said(listing) and "not read" not in said(listing)


def test_yolo_lists_name_the_splits_where_folders_do_not_and_nothing_outside(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(JPEG)
    tree: dict[str, bytes | str] = {f"images/{n}.jpg": JPEG for n in range(3)} | {
        f"labels/{n}.txt": "0 0 0 1 1" for n in range(3)
    }
    tree |= {
        "data.yaml": "train: train.txt\nval: val.txt\nnames: [calm]",
        "train.txt": "./images/0.jpg\n./images/1.jpg\n",
    }
    tree |= {"val.txt": f"images/2.jpg\n../secret.jpg\n{tmp_path}/secret.jpg\n"}
    found = told(listed(lay(tmp_path / "data", tree)))
    assert found == {
        "images/0.jpg": ("train", "calm"),
        "images/1.jpg": ("train", "calm"),
        "images/2.jpg": ("validation", "calm"),
    }


# lists beside images


@pytest.mark.parametrize("ending", ["csv", "jsonl", "tsv"])
def test_an_imagefolder_with_metadata_is_read_without_naming_the_library(tmp_path: Path, ending: str) -> None:
    for split in ("train", "validation"):
        rows = [(f"{n}.jpg", ("happy", "sad")[n]) for n in range(2)]
        between = {"csv": ",", "tsv": "\t"}.get(ending, "")
        text = "\n".join([between.join(("file_name", "emotion")), *(between.join(row) for row in rows)])
        if ending == "jsonl":
            text = "\n".join(json.dumps({"file_name": name, "emotion": label, "path": "x"}) for name, label in rows)
        lay(tmp_path / "data", {f"{split}/metadata.{ending}": text, **{f"{split}/{n}.jpg": JPEG for n in range(2)}})
    listing = listed(tmp_path / "data")
    assert sorted(told(listing).values()) == [(s, c) for s in ("train", "validation") for c in ("happy", "sad")]
    assert "labels are read from 'train/metadata" in said(listing)


def test_a_list_of_persons_beside_class_folders_keeps_their_labels(tmp_path: Path) -> None:
    paths = ["happy/1.jpg", "sad/2.jpg"]
    rows = "file,person\n" + "".join(f"{path},p{n}\n" for n, path in enumerate(paths))
    listing = listed(lay(tmp_path / "data", {**dict.fromkeys(paths, JPEG), "who.csv": rows}))
    assert column(listing, "subject") == {"happy/1.jpg": "p0", "sad/2.jpg": "p1"}
    assert column(listing, "label") == {"happy/1.jpg": "happy", "sad/2.jpg": "sad"}


def test_a_list_that_cannot_be_read_beside_the_images_is_said(tmp_path: Path) -> None:
    tree: dict[str, bytes | str] = {
        "im/1.jpg": JPEG,
        "im/2.jpg": JPEG,
        "labels.csv": 'path,label\nim/1.jpg,"happy\nim/2.jpg,sad\n',
    }
    assert "inside a quoted cell" in said(listed(lay(tmp_path / "data", tree)))


def test_all_layouts_load() -> None:
    assert list(recognisers()) == list(LAYOUTS) and all(map(callable, recognisers().values()))


def test_a_zip_of_a_layout_is_read_as_its_folder(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("fer2013/fer2013.csv", fer("emotion,pixels,Usage", ("emotion", "pixels", "Usage")))
        archive.writestr("readme.txt", "hello")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "archive.zip").write_bytes(buffer.getvalue())
    assert list(told(listed(tmp_path / "data" / "archive.zip")).values()) == list(zip(SPLITS, NAMES, strict=True))


def test_archives_inside_that_hold_the_same_name_give_it_once(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name in ("faces.zip", "faces.ZIP"):
        with zipfile.ZipFile(tmp_path / "data" / name, "w") as archive:
            archive.writestr("happy/1.jpg", JPEG)
            archive.writestr("sad/2.jpg", JPEG)
    listing = listed(tmp_path / "data")
    assert list(told(listing)) == ["faces/happy/1.jpg", "faces/sad/2.jpg"]
    assert set(reasons(listing).values()) == {"the same name again"}
