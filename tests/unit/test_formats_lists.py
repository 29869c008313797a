"""Lists as people have them: every spelling is read, or a sentence says what to mend; nothing is guessed silently."""

from __future__ import annotations

import csv
import io
import json
import time
import unicodedata
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.base.settings import SourceSettings
from curation.formats import listing as listing_module
from curation.formats import lists
from curation.formats.listing import Files, FoundFile, IngestError, SourceContents, finished, why_nothing
from tests.unit.sources import JPEG, column, lay, listed, reasons, said, told

CLASSES = ("happy", "sad", "neutral")
FILES = [f"faces/{label}/{n:02d}{label[0]}.jpg" for label in CLASSES for n in range(3)]
LABELS = {path: path.split("/")[1] for path in FILES}


def table(header: list[str] | None, rows: list[list[object]], delimiter: str = ",") -> str:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter, lineterminator="\n").writerows([*([header] if header else []), *rows])
    return buffer.getvalue()


def plain(*change: object) -> list[list[object]]:
    """Rows of path and label, the path changed by a function."""
    edit = change[0] if change else str
    return [[edit(path), label] for path, label in LABELS.items()]  # type: ignore[operator]


def rows(text: object, name: str, tmp_path: Path) -> Path:
    lay(tmp_path / "data", FILES)
    (tmp_path / "data" / name).write_bytes(text if isinstance(text, bytes) else str(text).encode())
    return tmp_path / "data" / name


PATH, LABEL = ["path", "label"], "label"
WINDOWS, COLAB = "C:\\Users\\ann\\", "/content/drive/MyDrive/set/"

SPELLINGS: dict[str, tuple[str, object]] = {
    "index column": ("l.csv", table(["", *PATH], [[n, *row] for n, row in enumerate(plain())])),
    "label first": ("l.csv", table(["Emotion", "Image Path"], [[b, a] for a, b in plain()])),
    "image_name": ("l.csv", table(["image_name", "expression"], plain())),
    "pth": ("l.csv", table(["", "pth", "label", "relFCs"], [[n, *row, 0.5] for n, row in enumerate(plain())])),
    "id": ("l.csv", table(["id", "Emotion Label"], plain())),
    "camel": ("l.csv", table(["fileName", "classLabel"], plain())),
    "unknown name of the path": ("l.csv", table(["bild", "emotion"], plain())),
    "unknown name of the label": ("l.csv", table(["path", "gefuehl"], plain())),
    "semicolons and a mark": ("l.csv", "\ufeff" + table(PATH, plain(), ";")),
    "bars": ("l.txt", table(PATH, plain(), "|")),
    "tabs in UTF-16": ("l.tsv", table(PATH, plain(), "\t").encode("utf-16")),
    "sep=": ("l.csv", "sep=;\r\n" + table(PATH, plain(), ";")),
    "comment": ("l.csv", "# by ann\n\n" + table(PATH, plain())),
    "no header": ("l.csv", table(None, plain())),
    "no header, spaces": ("l.txt", table(None, plain(), " ")),
    "no header, label first": ("l.csv", table(None, [[b, a] for a, b in plain()])),
    "no header, numbered rows": ("l.csv", table(None, [[str(n), a, b] for n, (a, b) in enumerate(plain())])),
    "spaces around": ("l.csv", table(PATH, [[f" {a} ", f" {b}"] for a, b in plain()])),
    "backslashes": ("l.csv", table(PATH, plain(lambda path: path.replace("/", "\\")))),
    "windows": ("l.csv", table(PATH, plain(lambda path: WINDOWS + path.replace("/", "\\")))),
    "colab": ("l.csv", table(PATH, plain(lambda path: COLAB + path))),
    "file url": ("l.csv", table(PATH, plain(lambda path: f"file:///mnt/{path}"))),
    "percent": ("l.csv", table(PATH, plain(lambda path: path.replace("/", "%2F")))),
    "upwards": ("l.csv", table(PATH, plain(lambda path: f"./x/../{path}"))),
    "letter case": ("l.csv", table(PATH, plain(lambda path: path.upper()))),
    "no ending": ("l.csv", table(PATH, plain(lambda path: path[:-4]))),
    "another ending": ("l.csv", table(PATH, plain(lambda path: path[:-4] + ".png"))),
    "names alone": ("l.csv", table(PATH, plain(lambda path: path.rpartition("/")[2]))),
    "JSON": ("l.json", json.dumps([{"path": a, "label": b} for a, b in plain()])),
    "JSON in a key": ("l.json", json.dumps({"info": {}, "data": [{"file": a, "emotion": b} for a, b in plain()]})),
    "JSON map": ("l.json", json.dumps(dict(plain()))),  # type: ignore[arg-type]
    "JSON columns": ("l.json", json.dumps({"path": list(LABELS), "label": list(LABELS.values())})),
    "JSON of pandas": ("l.json", pd.DataFrame(plain(), columns=PATH).to_json()),
    "JSON lines": ("l.jsonl", "\n".join(json.dumps({"path": a, "label": b}) for a, b in plain())),
    "one-hot": ("l.csv", table(["path", *CLASSES], [[a, *(int(b == c) for c in CLASSES)] for a, b in plain()])),
    "one-hot, prefixed": (
        "l.csv",
        table(["path", *(f"is_{c}" for c in CLASSES)], [[a, *(float(b == c) for c in CLASSES)] for a, b in plain()]),
    ),
    "one-hot, true and false": (
        "l.csv",
        table(["path", *(f"emotion_{c}" for c in CLASSES)], [[a, *(str(b == c) for c in CLASSES)] for a, b in plain()]),
    ),
    "a constant label beside": ("l.csv", table(["path", "label", "emotion"], [[a, "face", b] for a, b in plain()])),
    "numbers beside": ("l.csv", table(["path", "class_id", "class_name"], [[a, len(str(b)), b] for a, b in plain()])),
    "unique ids beside": (
        "l.csv",
        table(["path", "label_id", "label"], [[a, f"k{n}", b] for n, (a, b) in enumerate(plain())]),
    ),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_list_in_any_spelling_gives_each_image_its_label(tmp_path: Path, spelling: str) -> None:
    name, text = SPELLINGS[spelling]
    listing = listed(rows(text, name, tmp_path))
    assert column(listing, "label") == LABELS
    assert listing.problems.empty


@pytest.mark.parametrize("spelling", ["windows", "letter case", "names alone", "no header", "a constant label beside"])
def test_what_was_guessed_is_said(tmp_path: Path, spelling: str) -> None:
    name, text = SPELLINGS[spelling]
    words = {"no header": "has no header", "a constant label beside": "from the column 'emotion'"}
    assert words.get(spelling, "matched by the end of their path") in said(listed(rows(text, name, tmp_path)))


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC"), ("latin-1", "NFD"), ("latin-1", "NFC")])
def test_names_in_another_unicode_form_or_code_page_are_found(tmp_path: Path, forms: tuple[str, str]) -> None:
    in_list, on_disk = forms
    lay(tmp_path / "data", [unicodedata.normalize(on_disk, f"im/José Müller {n}.jpg") for n in range(3)])
    text = "path,label\n" + "".join(f"im/José Müller {n}.jpg,{CLASSES[n]}\n" for n in range(3))
    encoded = text.encode("latin-1") if in_list == "latin-1" else unicodedata.normalize(in_list, text).encode()
    (tmp_path / "data" / "l.csv").write_bytes(encoded)
    assert sorted(column(listed(tmp_path / "data" / "l.csv"), "label").values()) == sorted(CLASSES)


SOFT = {"happy": 0.7, "sad": 0.2, "neutral": 0.1}


@pytest.mark.parametrize(
    ("header", "cells"),
    [
        (["happy", "sad", "neutral"], [0.7, 0.2, 0.1]),
        (["neutral", "p_happy", "sad_prob"], [0.1, 0.7, 0.2]),
        (["happy", "sad", "neutral"], [70, 20, 10]),
        (["happy", "sad", "neutral", "unknown"], [7, 2, 1, 0]),
        (["soft_label"], [json.dumps(SOFT)]),
        (["soft_label"], [str(SOFT)]),
    ],
)
def test_shares_and_votes_become_soft_labels_and_the_largest_is_the_label(
    tmp_path: Path, header: list[str], cells: list[object]
) -> None:
    listing = listed(rows(table(["path", *header], [[path, *cells] for path in FILES]), "l.csv", tmp_path))
    assert set(listing.frame["label"]) == {"happy"}
    assert all(json.loads(text) == SOFT for text in listing.frame["soft_label"])


def test_shares_of_classes_with_any_names_are_told_by_adding_up_to_one(tmp_path: Path) -> None:
    text = table(["n", "path", "valence", "a", "b"], [[n, path, "", 0.25, 0.75] for n, path in enumerate(FILES)])
    text = text.replace(",valence", "").replace(".jpg,,", ".jpg,")
    listing = listed(rows(text, "l.csv", tmp_path))
    assert set(listing.frame["label"]) == {"b"} and json.loads(listing.frame["soft_label"][0]) == {"a": 0.25, "b": 0.75}


def test_an_image_that_most_call_no_face_has_no_label(tmp_path: Path) -> None:
    text = table(["path", "happy", "sad", "NF"], [[path, 1, 2, 7] for path in FILES])
    assert set(listed(rows(text, "l.csv", tmp_path)).frame["label"]) == {""}


@pytest.mark.parametrize("separator", ["|", ", ", ";", "/", " + "])
def test_several_labels_in_a_cell_are_a_soft_label(tmp_path: Path, separator: str) -> None:
    several = {FILES[0]: f"happy{separator}sad", FILES[1]: f"sad{separator}sad"}
    listing = listed(rows(table(PATH, [[p, several.get(p, label)] for p, label in LABELS.items()]), "l.csv", tmp_path))
    labels, softs = column(listing, "label"), column(listing, "soft_label")
    assert (labels[FILES[0]], json.loads(softs[FILES[0]])) == ("happy", {"happy": 0.5, "sad": 0.5})
    assert (labels[FILES[1]], softs[FILES[1]]) == ("sad", "")
    assert "name several labels" in said(listing)


def test_missing_labels_are_none_and_said(tmp_path: Path) -> None:
    missing = ["nan", "NaN", "N/A", "", "null", "NA", " "]
    text = table(PATH, [[path, cell] for path, cell in zip(FILES, [*missing, "happy", "sad"], strict=True)])
    listing = listed(rows(text, "l.csv", tmp_path))
    assert sorted(listing.frame["label"]) == ["", "", "", "", "", "", "", "happy", "sad"]
    assert "7 of 9 images have no label" in said(listing)


def test_whole_numbers_with_a_point_are_the_numbers(tmp_path: Path) -> None:
    text = table(PATH, [[path, cell] for path, cell in zip(FILES, ["3.0", "10.0", "", "3", *["2.0"] * 5], strict=True)])
    assert set(listed(rows(text, "l.csv", tmp_path)).frame["label"]) == {"3", "10", "", "2"}


def test_splits_of_a_list_are_understood_and_unknown_ones_kept(tmp_path: Path) -> None:
    names = ["Training", "PublicTest", "PrivateTest", "0", "", "train", "Training", "dev", "0"]
    text = table(["path", "label", "Usage"], [[path, "happy", name] for path, name in zip(FILES, names, strict=True)])
    listing = listed(rows(text, "l.csv", tmp_path))
    found = [split for split, _ in told(listing).values()]
    assert sorted(found) == sorted(["train", "dev", "test", "0", "", "train", "train", "PublicTest", "0"])
    assert "kept as they are" in said(listing)


@pytest.mark.parametrize(("name", "split"), [("train.csv", "train"), ("val_labels.tsv", "validation"), ("all.csv", "")])
def test_the_name_of_a_list_states_its_split_where_no_column_does(tmp_path: Path, name: str, split: str) -> None:
    assert {place[0] for place in told(listed(rows(table(PATH, plain()), name, tmp_path))).values()} == {split}


def test_a_path_is_never_matched_across_folders_or_where_two_images_fit(tmp_path: Path) -> None:
    lay(tmp_path / "data", ["train/happy/1.jpg", "train/sad/2.jpg", "a/3.jpg", "b/3.jpg", "c/4.JPG", "c/4.jpg"])
    wanted = ["test/happy/1.jpg", "train/sad/2.jpg", "3.jpg", "c/4.jpeg", "gone.jpg"]
    (tmp_path / "data" / "l.csv").write_text(table(PATH, [[path, "happy"] for path in wanted]))
    listing = listed(tmp_path / "data" / "l.csv")
    assert set(told(listing)) == {"train/sad/2.jpg"}
    left_out = reasons(listing)
    assert left_out["test/happy/1.jpg"] == left_out["gone.jpg"] == "no such file"
    assert "fits several images" in left_out["3.jpg"] and "fits several images" in left_out["c/4.jpeg"]
    assert "4 of 5 rows give no image" in said(listing)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,label,Label\na.jpg,x,y\n", "two columns called 'label'; rename or remove"),
        ('path,label\na.jpg,"happy\nb.jpg,sad\n', "inside a quoted cell; close the quote that is opened in line 2"),
        ('path,label\n"a.jpg,happy\nb.jpg,sad\nc.jpg",sad\n', "row 2 swallows the rows after it"),
        ('path,note,label\na.jpg,"x,happy\nb.jpg,y,sad\nc.jpg",y,sad\n', "row 2 swallows the rows after it"),
        ('path\n"a.jpg\nb.jpg\nc.jpg"\n', "row 2 swallows the rows after it"),
        ("label,split\na,b\n", "no column 'path'"),
    ],
)
def test_a_list_that_would_lose_rows_is_refused_in_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(IngestError, match=words) as caught:
        listed(rows(text, "l.csv", tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("l.xlsx", b"PK\x03\x04workbook", "is a spreadsheet; save it as CSV"),
        ("l.json", b"[1, 2", "cannot be read as JSON"),
        ("l.json", b'{"a": 1, "b": [1]}', "holds no list of images"),
        ("l.json", b"[" * 100_000, "nested too deeply"),
        ("l.jsonl", b'{"path": "a.jpg"}\n{"path"', "cannot be read as JSON"),
    ],
)
def test_what_is_no_list_is_one_sentence(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    with pytest.raises(IngestError, match=words):
        listed(rows(data, name, tmp_path))


def test_half_characters_in_json_are_refused_in_a_sentence(tmp_path: Path) -> None:
    found = [{"path": "a\ud800.jpg", "label": "x"}, {"path": FILES[0], "label": "ha\udfffppy"}]
    with pytest.raises(IngestError, match="half of a character"):
        listed(rows(json.dumps(found), "l.json", tmp_path))


def test_a_list_without_labels_and_one_whose_images_are_elsewhere_say_so(tmp_path: Path) -> None:
    assert "has no column of labels (it has 'path', 'age')" in said(
        listed(rows(table(["path", "age"], [[path, 3 + n * n] for n, path in enumerate(FILES)]), "l.csv", tmp_path))
    )
    lay(tmp_path / "lists", {"l.csv": table(PATH, plain())})
    words = why_nothing(listed(tmp_path / "lists" / "l.csv").problems)
    assert "no such file" in words and "give the folder that holds both" in words


def test_rows_that_contradict_each_other_are_said(tmp_path: Path) -> None:
    listing = listed(rows(table(PATH, [*plain(), [FILES[0], "sad"], [FILES[1], "happy"]]), "l.csv", tmp_path))
    assert column(listing, "label") == LABELS
    assert "in 1 rows: its first row counts" in said(listing)
    assert sorted(listing.problems["reason"]) == ["listed again", lists.OTHER_LABEL]


@pytest.mark.parametrize("form", ["struct", "bytes"])
def test_parquet_with_the_images_inside_is_decoded_once(tmp_path: Path, form: str) -> None:
    cells = [JPEG + bytes([n]) for n in range(4)]
    images = [{"bytes": data, "path": f"{n}.jpg"} for n, data in enumerate(cells)] if form == "struct" else cells
    frame = pd.DataFrame({"label": ["sad", "happy"] * 2, "image": images, "subject": "ann"})
    (tmp_path / "data").mkdir()
    frame.to_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    for source in (tmp_path / "data" / "train-00000-of-00001.parquet", tmp_path / "data"):
        listing = listed(source)
        assert sorted(told(listing).values()) == [("train", "happy")] * 2 + [("train", "sad")] * 2
        assert set(listing.frame["subject"]) == {"ann"}
        assert sorted(Path(url).read_bytes() for url in listing.frame["url"]) == sorted(cells)
    again = listed(tmp_path / "data")
    assert again.frame.equals(listing.frame)


def test_class_names_in_a_parquet_schema_name_its_numbers(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    features = {"info": {"features": {"label": {"names": ["angry", "calm"], "_type": "ClassLabel"}}}}
    images = pa.array([{"bytes": JPEG + bytes([n]), "path": None} for n in range(3)])
    made = pa.table({"image": images, "label": pa.array([1, 0, -1])})
    (tmp_path / "data").mkdir()
    pq.write_table(made.replace_schema_metadata({"huggingface": json.dumps(features)}), tmp_path / "data" / "x.parquet")
    assert sorted(listed(tmp_path / "data" / "x.parquet").frame["label"]) == ["", "angry", "calm"]


@pytest.mark.parametrize("soft", ["garbage", "[1]", '{"sad": NaN}', '{"sad": "1"}', '{"sad": 0}', "{}", "[" * 5000])
def test_a_soft_label_that_is_none_is_left_out_and_said_whatever_reader_found_it(soft: str) -> None:
    found = [FoundFile("a.jpg", "/a.jpg", 1, 1, "train", "sad", "", soft)]
    found.append(FoundFile("b.jpg", "/b.jpg", 1, 1, "train", "Sad", "", '{"sad": 0.5, "happy": 0.5}'))
    listing = finished("/", SourceContents(found), SourceSettings(merge_labels=True))
    assert [bool(text) for text in listing.frame["soft_label"]] == [False, True]
    assert any("1 soft labels are not a JSON object" in warning for warning in listing.warnings)


def test_files_come_back_as_they_were_added_however_many_blocks_they_make(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing_module, "_BLOCK", 3)
    found = [FoundFile(f"{n % 4}/ä{n}.jpg", f"/data/{n}", n, 2 * n, "train", "sad", "", "{}") for n in range(8)]
    files = Files(found)
    files.extend([found[0]])
    assert list(files) == [*found, found[0]]
    assert list(files.paths()) == [file.path for file in files]
    assert (len(files), bool(files), bool(Files())) == (9, True, False)
    placed = files.placed(lambda path: ("test", path[0], "somebody"))
    assert {(file.split, file.subject) for file in placed} == {("test", "somebody")}
    assert [file.label for file in placed] == [file.path[0] for file in placed]
    assert [file.url for file in placed] == [file.url for file in files]


def test_a_listing_is_sorted_and_of_one_path_the_first_row_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing_module, "_BLOCK", 2)
    paths = ["b.jpg", "a/ü.jpg", "a.jpg", "a/z.jpg", "b.jpg"]
    found = [FoundFile(path, f"/{9 - n}", n, 1, "train", "sad") for n, path in enumerate(paths)]
    listing = finished("/", SourceContents(found), SourceSettings())
    assert listing.frame["path"].tolist() == sorted(set(paths))
    assert listing.frame.set_index("path")["url"]["b.jpg"] == "/5"
    assert listing.problems["path"].tolist() == ["b.jpg"]
    assert finished("/", SourceContents(), SourceSettings()).frame.empty


ODD_CELLS = {
    "dates of no calendar": pa.array([2**62, 5], pa.timestamp("us")),
    "days of no calendar": pa.array([30_000_000, 1], pa.date32()),
    "a zone of no place": pa.array([2**62, 3], pa.timestamp("ns", tz="Mars/Olympus")),
    "images that are texts": pa.array([{"bytes": "abc", "path": "x"}, {"bytes": "d", "path": None}]),
    "images of numbers": pa.array([{"bytes": b"\xff\xd8\xff\xe0zz", "path": 3}, {"bytes": b"x", "path": 4}]),
    "images in images": pa.array([{"bytes": {"a": 1}, "path": [1]}, {"bytes": {"a": 2}, "path": []}]),
}


@pytest.mark.parametrize("name", ["label", "image"])
@pytest.mark.parametrize("cells", ODD_CELLS.values(), ids=ODD_CELLS.keys())
def test_a_parquet_list_of_odd_cells_is_read_or_one_sentence(tmp_path: Path, cells: pa.Array, name: str) -> None:
    lay(tmp_path / "data", FILES)
    columns = {"path": pa.array(FILES[:2]), "label": pa.array(["happy", "sad"]), name: cells}
    pq.write_table(pa.table(columns), tmp_path / "data" / "list.parquet")
    try:
        listed(tmp_path / "data" / "list.parquet")
    except IngestError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    "cell", ["a" + " " * 50_000 + "x", "a" + "\n" * 50_000 + "x", "1" * 100_000, "a," * 50_000, "-" * 100_000]
)
@pytest.mark.parametrize("name", ["label", "path", "split", "subject"])
def test_a_long_cell_takes_no_time_by_its_square(tmp_path: Path, cell: str, name: str) -> None:
    lay(tmp_path / "data", FILES)
    records = [{"path": path, "label": label, "split": "train", "subject": "p1"} for path, label in LABELS.items()]
    records[1][name] = cell
    (tmp_path / "data" / "list.json").write_text(json.dumps(records))
    started = time.process_time()
    try:
        listed(tmp_path / "data" / "list.json")
    except IngestError as error:
        assert "\n" not in str(error)
    assert time.process_time() - started < 5
