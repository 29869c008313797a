"""Every kind of source gives the same kind of listing."""

from __future__ import annotations

import os
import tarfile
import time
import zipfile
from pathlib import Path

import fsspec
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.base.files import bare_url
from curation.base.settings import SourceSettings
from curation.formats import layout, names
from curation.formats.listing import IngestError, Listing
from curation.formats.source import read_source

PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)
JPEG = b"\xff\xd8\xff\xe0" + bytes(12)

Tree = dict[str, bytes]

FACES: Tree = {
    "train/happy/1.jpg": JPEG,
    "train/sad/2.jpg": JPEG,
    "Validation/happy/3.jpg": JPEG,
    "test/sad/4.jpg": JPEG,
}
PLACES = {
    "train/happy/1.jpg": ("train", "happy"),
    "train/sad/2.jpg": ("train", "sad"),
    "Validation/happy/3.jpg": ("validation", "happy"),
    "test/sad/4.jpg": ("test", "sad"),
}


def lay(root: Path, tree: Tree) -> Path:
    for name, data in tree.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def places(listing: Listing) -> dict[str, tuple[str, str]]:
    frame = listing.frame
    return dict(zip(frame["path"], zip(frame["split"], frame["label"], strict=True), strict=True))


def reasons(listing: Listing) -> dict[str, str]:
    return dict(zip(listing.problems["path"], listing.problems["reason"], strict=True))


def test_a_folder_lists_its_images_sorted_with_split_label_size_and_time(tmp_path: Path) -> None:
    root = lay(tmp_path / "data", FACES)
    listing = read_source(str(root), tmp_path / "cache")
    assert listing.root == str(root)
    assert listing.frame["path"].tolist() == sorted(FACES)
    assert places(listing) == PLACES
    assert listing.frame["bytes"].tolist() == [16] * 4
    first = listing.frame.iloc[0]
    assert first["url"] == f"{root}/Validation/happy/3.jpg"
    assert first["mtime_ns"] == Path(first["url"]).stat().st_mtime_ns
    assert listing.problems.empty and listing.warnings == ()
    assert {name: str(kind) for name, kind in listing.frame.dtypes.items()} == {
        # object before pandas 3
        **dict.fromkeys(("path", "url", "split", "label", "subject", "soft_label"), str(pd.Series(["a"]).dtype)),
        **dict.fromkeys(("bytes", "mtime_ns"), "int64"),
    }


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["happy/train/1.jpg", "sad/test/2.jpg"], [("train", "happy"), ("test", "sad")]),
        (["happy/1.jpg", "sad/2.jpg"], [("", "happy"), ("", "sad")]),
        (["a/b/happy/1.jpg", "a/b/sad/2.jpg"], [("", "happy"), ("", "sad")]),
        (["faces/TRAIN/happy/s1/1.jpg", "faces/dev/sad/s2/2.jpg"], [("train", "happy"), ("validation", "sad")]),
        (["web/train/happy/1.jpg", "lab/train/sad/2.jpg"], [("train", "happy"), ("train", "sad")]),
        (["train/img/happy/1.jpg", "val/img/sad/2.jpg"], [("train", "happy"), ("validation", "sad")]),
        (["train/1.jpg", "testing/2.jpg"], [("train", ""), ("test", "")]),
        (["train/happy/1.jpg", "test/happy/2.jpg"], [("train", "happy"), ("test", "happy")]),
        (["1.jpg", "2.jpg"], [("", ""), ("", "")]),
        (
            ["happy/1.jpg", "happy/2.jpg", "sad/3.jpg", "test/4.jpg"],
            [("", n) for n in ("happy", "happy", "sad", "test")],
        ),
    ],
)
def test_split_and_label_are_read_from_the_folders_in_any_order(
    tmp_path: Path, paths: list[str], expected: list[tuple[str, str]]
) -> None:
    found = places(read_source(str(lay(tmp_path, dict.fromkeys(paths, JPEG))), tmp_path / "cache"))
    assert [found[path] for path in paths] == expected


def test_labels_that_differ_only_by_case_or_space_are_kept_and_reported(tmp_path: Path) -> None:
    listing = read_source(str(lay(tmp_path, {"Happy/1.jpg": JPEG, "happy /2.jpg": JPEG, "sad/3.jpg": JPEG})), tmp_path)
    assert set(listing.frame["label"]) == {"Happy", "happy ", "sad"}
    assert len(listing.warnings) == 1 and "'Happy', 'happy '" in listing.warnings[0]


def test_images_beside_the_splits_have_none_and_are_reported(tmp_path: Path) -> None:
    listing = read_source(str(lay(tmp_path, FACES | {"extra/5.jpg": JPEG})), tmp_path)
    assert places(listing)["extra/5.jpg"][0] == ""
    assert "'extra'" in listing.warnings[0]


def test_content_decides_where_the_ending_is_not_that_of_an_image(tmp_path: Path) -> None:
    tree = {
        "happy/png called.jpg": PNG,
        "happy/without ending": JPEG,
        "happy/photo.dat": PNG,
        "happy/text called.jpg": b"no image, measured as unreadable",
        "happy/empty.png": b"",
        "happy/notes.txt": b"text",
        "happy/BMW.txt": b"BMW is no bitmap",
        "happy/.hidden.jpg": JPEG,
        "__MACOSX/happy/1.jpg": JPEG,
    }
    listing = read_source(str(lay(tmp_path / "data", tree)), tmp_path)
    left_out = reasons(listing)
    assert set(left_out) == {"happy/notes.txt", "happy/BMW.txt", "happy/.hidden.jpg", "__MACOSX"}
    assert set(listing.frame["path"]) == {name for name in tree if name.split("/")[1][0] in "pwte"}
    assert "not an image" in left_out["happy/notes.txt"] and "hidden" in left_out["__MACOSX"]


def test_one_image_is_a_source(tmp_path: Path) -> None:
    lay(tmp_path, {"face without ending": PNG})
    listing = read_source(str(tmp_path / "face without ending"), tmp_path)
    assert listing.frame["path"].tolist() == ["face without ending"]
    assert places(listing) == {"face without ending": ("", "")}


def zipped(target: Path, tree: Tree) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in tree.items():
            archive.writestr(name, data)
    return target


def tarred(target: Path, root: Path, mode: str) -> Path:
    with tarfile.open(target, mode) as archive:  # type: ignore[call-overload]
        archive.add(root, arcname=".")
    return target


@pytest.mark.parametrize("form", ["zip", "w:", "w:gz", "w:bz2", "w:xz"])
def test_an_archive_gives_the_paths_and_bytes_of_its_folder(tmp_path: Path, form: str) -> None:
    root = lay(tmp_path / "data", FACES | {"readme.txt": b"text"})
    archive = tmp_path / "archive"  # no ending: content decides
    if form == "zip":
        zipped(archive, {name: (root / name).read_bytes() for name in [*FACES, "readme.txt"]})
    else:
        tarred(archive, root, form)
    listing = read_source(str(archive), tmp_path / "cache")
    assert places(listing) == PLACES
    assert [Path(url).read_bytes() for url in listing.frame["url"]] == [JPEG] * 4
    assert set(reasons(listing)) == {"readme.txt"}


def test_an_archive_is_unpacked_once_and_a_broken_cache_is_mended(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "faces.zip", FACES)
    first = read_source(str(archive), tmp_path / "cache").frame
    again = read_source(str(archive), tmp_path / "cache").frame
    pd.testing.assert_frame_equal(first, again)
    Path(first["url"][0]).unlink()
    mended = read_source(str(archive), tmp_path / "cache").frame
    pd.testing.assert_frame_equal(first.drop(columns="mtime_ns"), mended.drop(columns="mtime_ns"))
    assert Path(first["url"][0]).read_bytes() == JPEG


def test_a_zip_member_without_a_name_is_left_out_and_the_rest_read(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "in.zip", {"x": b"", "train/happy/1.png": next(iter(FACES.values()))})
    data = bytearray(archive.read_bytes())
    central = data.index(b"PK\x01\x02")
    for lengths in (26, central + 28):  # of the first name and extra field: the name becomes an extra field
        data[lengths : lengths + 4] = b"\x00\x00\x01\x00"
    archive.write_bytes(data)
    listing = read_source(str(archive), tmp_path / "cache")
    assert list(listing.frame["path"]) == ["train/happy/1.png"]
    assert reasons(listing) == {"": "without a name"}


def test_an_interrupted_unpacking_goes_on_where_it_stopped(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "faces.zip", FACES)
    done = read_source(str(archive), tmp_path / "cache").frame
    folder = next((tmp_path / "cache").iterdir())
    (folder / "contents.json").unlink()
    kept, half = (Path(url) for url in done["url"][:2])
    half.rename(half.with_suffix(".part"))
    folder.rename(folder.with_suffix(".partial"))
    again = read_source(str(archive), tmp_path / "cache").frame
    pd.testing.assert_frame_equal(done.drop(columns="mtime_ns"), again.drop(columns="mtime_ns"))
    assert kept.stat().st_mtime_ns == done["mtime_ns"][0]
    assert half.read_bytes() == JPEG


LIST = "Path,Emotion,Usage\ntrain/happy/1.jpg,glad,Training\ntest/sad/4.jpg,sad,test\nabsent.jpg,sad,test\n"


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "utf16.csv"])
def test_a_list_states_label_and_split_of_files_relative_to_its_folder(tmp_path: Path, ending: str) -> None:
    root = lay(tmp_path / "data", FACES)
    target = root / f"list.{ending}"
    rows = [line.split(",") for line in LIST.splitlines()]
    if ending == "parquet":
        pd.DataFrame(rows[1:], columns=rows[0]).to_parquet(target)
    else:
        text = LIST.replace(",", "\t") if ending == "tsv" else LIST
        target.write_text(text, encoding="utf-16" if "utf16" in ending else "utf-8-sig")
    listing = read_source(str(target), tmp_path)
    assert places(listing) == {"train/happy/1.jpg": ("train", "glad"), "test/sad/4.jpg": ("test", "sad")}
    assert set(reasons(listing)) == {"absent.jpg"}


def test_a_list_may_use_absolute_paths_backslashes_numbers_and_no_split(tmp_path: Path) -> None:
    root = lay(tmp_path / "data", FACES)
    frame = pd.DataFrame({"file_name": [str(root / "train/sad/2.jpg"), r"train\happy\1.jpg"], "y": [3.0, None]})
    frame.to_parquet(root / "list.parquet")
    listing = read_source(str(root / "list.parquet"), tmp_path)
    assert places(listing) == {"train/sad/2.jpg": ("", "3"), "train/happy/1.jpg": ("", "")}


def test_a_path_listed_twice_is_kept_once_and_reported(tmp_path: Path) -> None:
    root = lay(tmp_path, FACES)
    (root / "l.csv").write_text("path,label\ntest/sad/4.jpg,sad\n./test/sad/4.jpg,happy\ntest/sad/4.jpg,sad\n")
    listing = read_source(str(root / "l.csv"), tmp_path)
    assert places(listing) == {"test/sad/4.jpg": ("", "sad")}
    assert reasons(listing) == {
        "./test/sad/4.jpg": "listed again with another label or split; first kept",
        "test/sad/4.jpg": "listed again",
    }


@pytest.fixture
def memory() -> str:
    """The faces in fsspec's memory file system, as a URL."""
    files = fsspec.filesystem("memory")
    files.store.clear()
    for name, data in (FACES | {"notes.txt": b"text"}).items():
        files.pipe(f"/data/{name}", data)
    return "memory://data"


def test_a_remote_folder_is_listed_with_urls_that_open(memory: str, tmp_path: Path) -> None:
    listing = read_source(memory, tmp_path)
    assert listing.root == memory
    assert places(listing) == PLACES
    assert set(reasons(listing)) == {"notes.txt"}
    assert listing.frame["bytes"].tolist() == [16] * 4 and (listing.frame["mtime_ns"] > 0).all()
    for url in listing.frame["url"]:
        with fsspec.open(url, "rb") as file:
            assert file.read() == JPEG


def test_a_remote_archive_list_and_image_are_sources(memory: str, tmp_path: Path) -> None:
    files = fsspec.filesystem("memory")
    files.pipe("/a.zip", zipped(tmp_path / "a.zip", FACES).read_bytes())
    files.pipe("/data/list.csv", LIST.encode())
    from_archive = read_source("memory://a.zip", tmp_path / "cache")
    assert places(from_archive) == PLACES and from_archive.root == "memory://a.zip"
    from_list = read_source(f"{memory}/list.csv", tmp_path)
    assert places(from_list) == {"train/happy/1.jpg": ("train", "glad"), "test/sad/4.jpg": ("test", "sad")}
    one = read_source(f"{memory}/test/sad/4.jpg", tmp_path).frame
    assert one[["path", "url"]].to_numpy().tolist() == [["4.jpg", f"{memory}/test/sad/4.jpg"]]


def test_a_file_url_is_a_local_path(tmp_path: Path) -> None:
    root = lay(tmp_path / "my data", FACES)
    assert places(read_source(root.as_uri(), tmp_path)) == PLACES
    assert read_source(root.as_uri(), tmp_path).root == str(root)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{tmp}/absent", "there is nothing at"),
        ("{tmp}/notes.txt", "no column 'path'"),
        ("{tmp}/notes.md", "not a kind of source"),
        ("/dev/null", "neither a folder nor a regular file"),
        ("{tmp}/" + "x" * 5000, "File name too long"),
        ("memory://absent", "does not exist"),
        ("nosuch://bucket/x", "cannot be read"),
        ("zip://x::memory://a.zip", "chain of URLs"),
        ("a\0b", "cannot be read"),
    ],
)
def test_what_is_no_source_is_one_sentence_that_says_where(tmp_path: Path, source: str, words: str) -> None:
    for name in ("notes.txt", "notes.md"):
        (tmp_path / name).write_text("text")
    with pytest.raises(IngestError, match=words) as caught:
        read_source(source.format(tmp=tmp_path), tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["ftp://ada:secret@localhost:1/data", "http://localhost:1/x.zip?token=secret", "memory://u:secret@data"]
)
def test_secrets_of_urls_are_never_told(memory: str, tmp_path: Path, url: str) -> None:
    with pytest.raises(IngestError) as caught:
        read_source(url, tmp_path)
    assert "secret" not in str(caught.value)
    assert "secret" not in bare_url(url)


def test_a_name_that_is_not_utf8_is_escaped_and_its_url_opens(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/data/happy/caf\xe9.jpg"
    lay(tmp_path / "data", {"happy/1.jpg": JPEG})
    Path(os.fsdecode(raw)).write_bytes(PNG)
    listing = read_source(str(tmp_path / "data"), tmp_path / "cache")
    row = listing.frame.set_index("path").loc["happy/caf\\xe9.jpg"]
    assert Path(row["url"]).read_bytes() == PNG
    assert os.fsencode(names.unescaped("happy/caf\\xe9.jpg")) == b"happy/caf\xe9.jpg"
    listing.frame.to_parquet(tmp_path / "listing.parquet")


@given(st.binary(min_size=1, max_size=40))
def test_escaping_is_reversible_valid_unicode_and_never_joins_two_names(raw: bytes) -> None:
    escaped = names.escaped(os.fsdecode(raw))
    escaped.encode("utf-8")
    assert os.fsencode(names.unescaped(escaped)) == raw


@given(st.text(alphabet="\\x5cef8ab9%/é", max_size=30))
def test_escaping_is_reversible_for_names_that_look_escaped(name: str) -> None:
    assert names.unescaped(names.escaped(name)) == name


@given(st.text(alphabet="./ab\\:\0", max_size=20))
def test_a_path_inside_stays_inside_and_is_its_own_normal_form(name: str) -> None:
    path = names.inside(name)
    if path is not None:
        assert os.path.normpath(f"/root/{path}") == f"/root/{path}"
        assert names.inside(path) == path


FOLDERS = st.lists(st.sampled_from(["train", "Test", "val", "happy", "sad", "a", "b"]), max_size=4).map(tuple)


@given(st.dictionaries(FOLDERS, st.integers(1, 50), max_size=12))
def test_every_folder_gets_a_place_made_of_its_own_names(images_in: dict[tuple[str, ...], int]) -> None:
    found, _ = layout.assign(images_in)
    assert set(found) == set(images_in)
    for folders, place in found.items():
        assert place.label == "" or place.label in folders
        assert place.split == "" or place.split in folders
    reordered, _ = layout.assign(dict(reversed(images_in.items())))
    assert reordered == found


@pytest.mark.data
def test_the_real_faces_are_listed_without_being_opened(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listing 20,214 images takes no read of any of them, so that it costs a walk of the folders."""
    monkeypatch.setattr("PIL.Image.open", forbidden)
    monkeypatch.setattr(Path, "read_bytes", forbidden)
    monkeypatch.setattr(Path, "open", forbidden)
    listing = read_source(str(faces), tmp_path)
    counts = listing.frame["split"].value_counts().to_dict()
    assert counts == {"train": 15109, "validation": 4977, "test": 128}
    assert listing.problems.empty and listing.warnings == ()


def forbidden(*_: object, **__: object) -> None:
    raise AssertionError("a listing opened a file")


def test_a_list_or_a_pattern_names_the_person_of_each_image(tmp_path: Path) -> None:
    row = b"path,label,Person\nim/S01_1.jpg,sad,ann\n"
    lay(tmp_path, {"im/S01_1.jpg": JPEG, "im/S02_1.jpg": JPEG, "list.csv": row})
    assert read_source(str(tmp_path / "list.csv"), tmp_path / "cache").frame["subject"].tolist() == ["ann"]
    by_pattern = SourceSettings(subject_from=r"(S\d+)_")
    found = read_source(str(tmp_path / "im"), tmp_path / "cache", by_pattern)
    assert found.frame["subject"].tolist() == ["S01", "S02"]
    assert read_source(str(tmp_path / "im"), tmp_path / "cache").frame["subject"].tolist() == ["", ""]
    for pattern, words in (("nobody", "matches no path"), ("(", "not a regular expression")):
        with pytest.raises(IngestError, match=words):
            read_source(str(tmp_path / "im"), tmp_path / "cache", SourceSettings(subject_from=pattern))


@pytest.mark.parametrize("pattern", ["a{99999999999999999999}", "(" * 5000])
def test_an_expression_that_cannot_be_compiled_is_one_sentence(tmp_path: Path, pattern: str) -> None:
    lay(tmp_path / "im", {"a/p1_x.jpg": JPEG})
    with pytest.raises(IngestError, match="not a regular expression"):
        read_source(str(tmp_path / "im"), tmp_path / "cache", SourceSettings(subject_from=pattern))


def test_an_expression_that_takes_for_ever_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curation.formats.listing._PATTERN_S", 0.5)
    lay(tmp_path / "im", {f"a/{'a' * 60}.jpg": JPEG})
    started = time.monotonic()
    with pytest.raises(IngestError, match="without nested repetitions"):
        read_source(str(tmp_path / "im"), tmp_path / "cache", SourceSettings(subject_from=r"(a+)+$"))
    assert time.monotonic() - started < 30
