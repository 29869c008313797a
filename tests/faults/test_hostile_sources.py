"""Hostile sources end as a listing with problems or as one sentence: no traceback, no hang, nothing written outside."""

from __future__ import annotations

import io
import os
import socket
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation.formats import archives
from curation.formats.listing import IngestError, Listing
from curation.formats.source import read_source

JPEG = b"\xff\xd8\xff\xe0" + bytes(12)
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data set with one good image, and a secret beside it."""
    (tmp_path / "secret.jpg").write_bytes(JPEG)
    (tmp_path / "data" / "happy").mkdir(parents=True)
    (tmp_path / "data" / "happy" / "1.jpg").write_bytes(JPEG)
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def nothing_outside(tmp_path: Path) -> Iterator[None]:
    """What is beside the cache stays as it is."""
    yield
    strangers = {path.name for path in tmp_path.iterdir()} - {"cache", "data", "secret.jpg", "source"}
    assert not strangers


def listed(source: Path, tmp_path: Path) -> tuple[set[str], dict[str, str]]:
    listing = read_source(str(source), tmp_path / "cache")
    listing.frame.to_parquet(io.BytesIO())
    return set(listing.frame["path"]), dict(zip(listing.problems["path"], listing.problems["reason"], strict=True))


# folders


def test_links_are_taken_only_where_they_lead_to_a_file_inside(root: Path, tmp_path: Path) -> None:
    (root / "inside.jpg").symlink_to("happy/1.jpg")
    (root / "outside.jpg").symlink_to(tmp_path / "secret.jpg")
    (root / "broken.jpg").symlink_to("nowhere")
    (root / "loop.jpg").symlink_to("loop.jpg")
    (root / "happy" / "up").symlink_to(root)
    (root / "elsewhere").symlink_to(tmp_path)
    (root / "device.jpg").symlink_to("/dev/zero")
    taken, left_out = listed(root, tmp_path)
    assert taken == {"happy/1.jpg"}
    assert "same file as 'happy/1.jpg'" in left_out.pop("inside.jpg")
    assert set(left_out) == {"outside.jpg", "broken.jpg", "loop.jpg", "happy/up", "elsewhere", "device.jpg"}
    assert "leads outside" in left_out["outside.jpg"] and "leads outside" in left_out["device.jpg"]
    assert "nowhere" in left_out["broken.jpg"] and "folder" in left_out["happy/up"]


def test_pipes_and_sockets_are_left_out_and_never_opened(root: Path, tmp_path: Path) -> None:
    os.mkfifo(root / "pipe.jpg")
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(root)  # the address of a socket holds 108 bytes at most
        server.bind("socket.png")
        os.chdir(here)
        taken, left_out = listed(root, tmp_path)
    assert taken == {"happy/1.jpg"}
    assert left_out == dict.fromkeys(("pipe.jpg", "pipe", "socket.png"), "not a regular file")


ODD_NAMES = ["new\nline.jpg", "quo'te\".jpg", "<script>alert(1)<.jpg", "=cmd|x.jpg", "-rf.jpg", " .jpg", "a\tb.jpg"]
ODD_UNICODE = ["\u202egpj.jpg", "é.jpg", "e\u0301.jpg", "%2e%2e.jpg", "jpg.jpg", "\\x41.jpg", "~.jpg"]


@pytest.mark.parametrize("name", [*ODD_NAMES, *ODD_UNICODE])
def test_odd_names_are_kept_as_they_are(root: Path, tmp_path: Path, name: str) -> None:
    (root / "happy" / name).write_bytes(JPEG)
    taken, left_out = listed(root, tmp_path)
    assert taken == {"happy/1.jpg", f"happy/{name}"} and not left_out


def test_a_path_longer_than_the_system_allows_is_left_out(root: Path, tmp_path: Path) -> None:
    folder = os.open(root, os.O_RDONLY)
    for _ in range(25):
        os.mkdir("d" * 200, dir_fd=folder)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(os.open("deep.jpg", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    os.close(folder)
    taken, left_out = listed(root, tmp_path)
    assert taken == {"happy/1.jpg"}
    assert [reason for reason in left_out.values() if "File name too long" in reason]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_without_permission_is_left_out(root: Path, tmp_path: Path) -> None:
    (root / "closed").mkdir(mode=0)
    _, left_out = listed(root, tmp_path)
    assert "Permission denied" in left_out["closed"]


def test_a_folder_of_nothing_is_an_empty_listing(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert listed(tmp_path / "data", tmp_path) == (set(), {})


# archives


def zip_of(
    target: Path, *members: tuple[str | zipfile.ZipInfo, bytes], compression: int = zipfile.ZIP_DEFLATED
) -> Path:
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return target


def tar_of(target: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(target, mode) as archive:  # type: ignore[call-overload]
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return target


OUTSIDE_NAMES = ["../out.jpg", "a/../../out.jpg", "/etc/out.jpg", "C:/out.jpg", "C:out.jpg", "..\\out.jpg", "\\out.jpg"]


@pytest.mark.parametrize("name", OUTSIDE_NAMES)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_archive_names_cannot_lead_outside(tmp_path: Path, kind: str, name: str) -> None:
    good = "happy/1.jpg"
    if kind == "zip":
        source = zip_of(tmp_path / "source", (name, JPEG), (good, JPEG))
    else:
        source = tar_of(tmp_path / "source", (tarfile.TarInfo(name), JPEG), (tarfile.TarInfo(good), JPEG))
    taken, left_out = listed(source, tmp_path)
    assert taken == {good}
    assert list(left_out.values()) == ["leads outside the data set"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_of_a_tar_are_left_out(tmp_path: Path, kind: bytes) -> None:
    bad = tarfile.TarInfo("happy/bad.jpg")
    bad.type, bad.linkname = kind, str(tmp_path / "secret.jpg")
    taken, left_out = listed(tar_of(tmp_path / "source", (bad, b""), (tarfile.TarInfo("1.jpg"), JPEG)), tmp_path)
    assert taken == {"1.jpg"}
    assert left_out == {"happy/bad.jpg": "not a regular file"}


def test_a_link_in_a_zip_is_left_out_and_nothing_is_written_through_it(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("happy")
    link.external_attr = 0o120777 << 16
    taken, left_out = listed(zip_of(tmp_path / "source", (link, b"/tmp"), ("happy/1.jpg", JPEG)), tmp_path)
    assert taken == {"happy/1.jpg"} and left_out == {"happy": "not a regular file"}


def test_an_archive_may_hold_names_that_no_disk_holds(tmp_path: Path) -> None:
    long = "d/" * 1500 + "x" * 1000 + ".jpg"
    source = zip_of(tmp_path / "source", (long, JPEG), ("a", JPEG), ("a/b.jpg", JPEG), ("A", JPEG))
    assert listed(source, tmp_path) == ({long, "a", "a/b.jpg", "A"}, {})


def test_a_name_twice_in_an_archive_is_kept_once(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        source = zip_of(tmp_path / "source", ("1.jpg", JPEG), ("1.jpg", JPEG + b"other"), ("./1.jpg", JPEG))
    listing = read_source(str(source), tmp_path / "cache")
    assert listing.frame["bytes"].tolist() == [16]
    assert listing.problems["reason"].unique().tolist() == ["the same name again"]


def test_names_in_a_zip_are_utf8_with_or_without_the_flag(tmp_path: Path) -> None:
    source = zip_of(tmp_path / "source", ("fröhlich/1.jpg", JPEG))
    data = source.read_bytes().replace(b"\x00\x08\x08\x00", b"\x00\x00\x08\x00")
    source.write_bytes(data)
    assert listed(source, tmp_path)[0] == {"fröhlich/1.jpg"}


def test_a_member_of_an_encrypted_zip_is_left_out(tmp_path: Path) -> None:
    source = zip_of(tmp_path / "source", ("1.jpg", JPEG))
    data = bytearray(source.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    source.write_bytes(bytes(data))
    assert listed(source, tmp_path) == (set(), {"1.jpg": "encrypted"})


BOMB = bytes(archives.ALWAYS_ALLOWED_BYTES // 4)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: zip_of(p, *((f"{n}.bmp", BOMB) for n in range(5))),
        lambda p: zip_of(p, *((f"{n}.bmp", BOMB) for n in range(5)), compression=zipfile.ZIP_BZIP2),
        lambda p: tar_of(p, *((tarfile.TarInfo(f"{n}.bmp"), BOMB) for n in range(5))),
        lambda p: tar_of(p, *((tarfile.TarInfo(f"{n}.txt"), BOMB) for n in range(5)), mode="w:xz"),
    ],
    ids=["zip", "zip-bzip2", "tar.gz", "tar.xz of texts"],
)
def test_a_bomb_by_ratio_is_refused(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    with pytest.raises(IngestError, match="as a bomb would"):
        listed(make(tmp_path / "source"), tmp_path)
    assert not list((tmp_path / "cache").glob("*"))


def test_a_bomb_by_count_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBERS", 20)
    with pytest.raises(IngestError, match="as a bomb would"):
        listed(zip_of(tmp_path / "source", *((f"{n}.jpg", JPEG) for n in range(21))), tmp_path)


def test_an_archive_in_an_archive_is_unpacked_below_its_name_where_nothing_else_is_there(tmp_path: Path) -> None:
    inner = zip_of(tmp_path / "source", ("happy/1.jpg", JPEG), ("../2.jpg", JPEG)).read_bytes()
    middle = tar_of(tmp_path / "source", (tarfile.TarInfo("in.zip"), inner)).read_bytes()
    assert listed(zip_of(tmp_path / "source", ("all.tar.gz", middle)), tmp_path)[0] == {"all/in/happy/1.jpg"}
    taken, left_out = listed(zip_of(tmp_path / "source", ("3.jpg", JPEG), ("in.zip", inner)), tmp_path)
    assert taken == {"3.jpg"} and "unpack it" in left_out["in.zip"]


def test_archives_in_archives_share_what_they_may_unpack_to(tmp_path: Path) -> None:
    inner = [zip_of(tmp_path / "source", (f"{n}.bmp", BOMB)).read_bytes() for n in range(5)]
    with pytest.raises(IngestError, match="as a bomb would"):
        listed(zip_of(tmp_path / "source", *((f"{n}.zip", data) for n, data in enumerate(inner))), tmp_path)


def test_an_edited_record_of_an_unpacked_archive_leads_nowhere(root: Path, tmp_path: Path) -> None:
    source = zip_of(tmp_path / "source", ("1.jpg", JPEG), ("labels.csv", b"path,label\n1.jpg,happy\n"))
    assert listed(source, tmp_path)[0] == {"1.jpg"}
    record = next((tmp_path / "cache").rglob("contents.json"))
    for place in ("../../secret.jpg", str(tmp_path / "secret.jpg")):
        text = record.read_text(encoding="utf-8")
        record.write_text(text.replace("00000/00000000", place).replace("00000/00000001", place), encoding="utf-8")
        listing = read_source(str(source), tmp_path / "cache")
        assert str(tmp_path / "cache") in listing.frame["url"].iloc[0]


# lists


@pytest.mark.parametrize(
    "path", ["../secret.jpg", "/etc/passwd", "happy/../../secret.jpg", "link/secret.jpg", "link.jpg"]
)
def test_a_list_cannot_lead_outside(root: Path, tmp_path: Path, path: str) -> None:
    (root / "link").symlink_to(tmp_path)
    (root / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (root / "l.csv").write_text(f"path,label\n{path},x\nhappy/1.jpg,y\n")
    taken, left_out = listed(root / "l.csv", tmp_path)
    assert taken == {"happy/1.jpg"}
    assert "leads outside" in left_out[path]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no column 'path' .it has none."),
        ("label,split\na,b\n", "no column 'path' .it has 'label', 'split'."),
        ("path,label\n" + "x" * 200_000 + ",a\n", "cannot be read as CSV"),
    ],
)
def test_a_list_that_is_none_is_one_sentence(root: Path, tmp_path: Path, text: str, words: str) -> None:
    (root / "l.csv").write_text(text)
    with pytest.raises(IngestError, match=words) as caught:
        listed(root / "l.csv", tmp_path)
    assert "\n" not in str(caught.value)


def test_odd_rows_are_left_out_and_formulas_and_odd_labels_kept_as_text(root: Path, tmp_path: Path) -> None:
    for name in "abcde":
        (root / f"{name}.jpg").write_bytes(JPEG)
    rows = [
        "a.jpg,=1+1",
        "b.jpg",
        "c.jpg,NA,extra,cells",
        '"d.jpg","two\nlines"',
        "e.jpg, padded ",
        ",sad",
        "x\0.jpg,nul",
    ]
    (root / "l.csv").write_text("path,label\n" + "\n".join(rows))
    listing = read_source(str(root / "l.csv"), tmp_path / "cache")
    labels = dict(zip(listing.frame["path"], listing.frame["label"], strict=True))
    expected = {"a": "=1+1", "b": "", "c": "", "d": "two\nlines", "e": "padded"}
    assert labels == {f"{name}.jpg": label for name, label in expected.items()}
    assert set(listing.problems["path"]) == {"row 6", "x\0.jpg"}


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (pd.DataFrame({"label": ["a"]}), "no column 'path'"),
        (pd.DataFrame({"path": [["a", "b"]]}), "nested"),
        (pd.DataFrame({"path": ["happy/1.jpg"], "label": [{"a": 1}]}), "nested"),
    ],
)
def test_a_parquet_list_of_wrong_types_is_one_sentence(
    root: Path, tmp_path: Path, frame: pd.DataFrame, words: str
) -> None:
    frame.to_parquet(root / "l.parquet")
    with pytest.raises(IngestError, match=words):
        listed(root / "l.parquet", tmp_path)


def test_a_parquet_list_of_numbers_names_no_files(root: Path, tmp_path: Path) -> None:
    pd.DataFrame({"path": [1.5, None, 3.0]}).to_parquet(root / "l.parquet")
    taken, left_out = listed(root / "l.parquet", tmp_path)
    assert taken == set() and set(left_out) == {"1.5", "row 2", "3"}


# damage: every reader, cut off and with flipped bits


def _zip(path: Path) -> None:
    zip_of(path, *((f"happy/{n}.jpg", JPEG + bytes(range(200))) for n in range(4)))


def _tar(path: Path) -> None:
    tar_of(path, *((tarfile.TarInfo(f"happy/{n}.jpg"), JPEG + bytes(200)) for n in range(4)), mode="w")


def _tar_gz(path: Path) -> None:
    tar_of(path, *((tarfile.TarInfo("happy/é" * 30 + f"{n}.jpg"), JPEG) for n in range(4)))


def _parquet(path: Path) -> None:
    pd.DataFrame({"path": ["data/happy/1.jpg", "x"], "label": ["a", "b"]}).to_parquet(path)


def _csv(path: Path) -> None:
    path.write_text('path,label\ndata/happy/1.jpg,a\nx,"b"\n')


def _attempt(data: bytes, ending: str, tmp_path: Path) -> Listing | None:
    source = tmp_path / "cache" / f"damaged{ending}"
    source.parent.mkdir(exist_ok=True)
    source.write_bytes(data)
    try:
        listing = read_source(str(source), tmp_path / "cache" / "unpacked")
    except IngestError as error:
        assert "\n" not in str(error)
        return None
    listing.frame.to_parquet(io.BytesIO())
    return listing


MAKERS = {".zip": _zip, ".tar": _tar, ".tar.gz": _tar_gz, ".parquet": _parquet, ".csv": _csv}


@pytest.mark.parametrize("ending", MAKERS)
def test_a_source_cut_off_anywhere_is_a_listing_or_one_sentence(root: Path, tmp_path: Path, ending: str) -> None:
    MAKERS[ending](tmp_path / "source")
    data = (tmp_path / "source").read_bytes()
    for length in range(0, len(data), max(1, len(data) // 40)):
        _attempt(data[:length], ending, tmp_path)


@pytest.mark.parametrize("ending", MAKERS)
def test_a_source_with_flipped_bits_is_a_listing_or_one_sentence(root: Path, tmp_path: Path, ending: str) -> None:
    MAKERS[ending](tmp_path / "source")
    data = (tmp_path / "source").read_bytes()

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
    @given(st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), min_size=1, max_size=4))
    def attempt(changes: list[tuple[int, int]]) -> None:
        changed = bytearray(data)
        for place, value in changes:
            changed[place] = value
        _attempt(bytes(changed), ending, tmp_path)

    attempt()
