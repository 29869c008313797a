"""Names of exported files, whole folders, and the proof that an image is the one that was curated."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.base import tables
from curation.decisions import manifest
from curation.formats import kinds
from curation.formats.export_data import ExportData, ExportError, content
from curation.formats.export_files import flat_name, new_folder, place, tree_place
from curation.formats.registry import UnknownFormatError, find, names
from curation.formats.shards import split_names
from curation.measure.batch import ChangedError

PARTS = st.text(alphabet="a_.é~", min_size=1, max_size=6).filter(lambda text: text not in {".", ".."})
PATHS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)


@given(st.lists(PATHS, unique=True, max_size=30))
def test_different_paths_have_different_names_without_a_folder(paths: list[str]) -> None:
    given_names = [flat_name(path) for path in paths]
    assert len(set(given_names)) == len(paths)
    assert not any("/" in name for name in given_names)


def test_parts_that_would_run_together_are_told_apart() -> None:
    assert flat_name("train/happy/1.jpg") == "train__happy__1.jpg"
    assert len({flat_name(path) for path in ("a__b/c.jpg", "a/b__c.jpg", "a/b/c.jpg")}) == 3


def test_a_name_too_long_for_a_disk_is_cut_and_keeps_its_ending(tmp_path: Path) -> None:
    long = "é" * 100 + "/" + "é" * 100 + ".jpg"
    name = flat_name(long)
    assert len(name.encode()) <= 255 and name.endswith(".jpg")
    (tmp_path / name).touch()


@pytest.mark.parametrize(
    ("split", "label"),
    [
        *(("train", label) for label in ("..", "a/b", "metadata.jsonl", "export.json", ".hidden", "@eaDir", "a.tmp")),
        ("a\\b", "happy"),
    ],
)
def test_a_label_or_split_that_is_no_folder_is_refused(split: str, label: str) -> None:
    with pytest.raises(ExportError, match="cannot be the name of a folder"):
        tree_place(SimpleNamespace(split=split, label=label, path="1.jpg"))


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "out") as building:
        (building / "half").touch()
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine").touch()
    with pytest.raises(ExportError, match="not empty"), new_folder(tmp_path / "taken"):
        pass
    assert (tmp_path / "taken" / "mine").exists()


@pytest.mark.parametrize("how", ["copy", "hardlink", "symlink"])
def test_a_file_that_changed_since_it_was_curated_is_refused(how: str, tmp_path: Path) -> None:
    original = tmp_path / "1.jpg"
    original.write_bytes(b"pixels")
    row = SimpleNamespace(path="1.jpg", url=str(original), sha256=hashlib.sha256(b"pixels").hexdigest())
    place(row, tmp_path / "out" / "1.jpg", how)
    laid = tmp_path / "out" / "1.jpg"
    assert laid.read_bytes() == b"pixels"
    assert (laid.is_symlink(), laid.stat().st_ino == original.stat().st_ino) == (how == "symlink", how != "copy")
    original.write_bytes(b"others")
    with pytest.raises(ChangedError, match="not the file that was measured; run: curate run DATA"):
        place(row, tmp_path / "again.jpg", how)
    original.unlink()
    with pytest.raises(ChangedError, match="cannot be read"):
        place(row, tmp_path / "again.jpg", how)


def test_an_unknown_format_is_answered_with_all_names() -> None:
    assert find("csv").unit == "rows"
    with pytest.raises(UnknownFormatError, match=", ".join(names()[:2])):
        find("xls")


def test_a_table_for_a_spreadsheet_has_no_formulas_and_is_else_the_csv(tmp_path: Path) -> None:
    cells = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "'quoted", "a=1", ""]
    rows = pd.DataFrame({name: cells for name in tables.columns("manifest")}).assign(weight=-0.5, change="=2")
    version = manifest.Version("v1", "raw", "0" * 64, "v1", "", 0, "", {})
    table = ExportData(rows, version, tmp_path, since=version)
    assert find("spreadsheet").write(table, tmp_path / "safe.csv") == find("csv").write(table, tmp_path / "plain.csv")
    safe, plain = (pd.read_csv(tmp_path / name, keep_default_na=False) for name in ("safe.csv", "plain.csv"))
    assert list(plain["label"]) == cells and list(safe.columns) == list(plain.columns)
    assert list(safe["label"]) == ["'=1+1", "'+1", "'-1", "'@SUM(A1)", "'\t=1", "'\r=1", *cells[6:]]
    assert set(safe["change"]) == {"'=2"} and set(safe["weight"]) == {-0.5}


@pytest.mark.parametrize(
    ("head", "name", "ending"),
    [
        (b"\xff\xd8\xff\xe0", "a.JPEG", "jpeg"),
        (b"\xff\xd8\xff\xe0", "a.cls", "jpg"),
        (b"\x89PNG\r\n\x1a\n", "a.jpg", "png"),
        (b"\x89PNG\r\n\x1a\n", "no ending", "png"),
        (b"\0\0\0\x18ftypheic", "a.heic", "heic"),
        (b"something", "a.json", "img"),
    ],
)
def test_an_image_in_a_shard_is_called_by_what_it_is(head: bytes, name: str, ending: str) -> None:
    assert kinds.extension_of(head, name) == ending


@pytest.mark.parametrize(
    ("splits", "shards"),
    [
        (["", ""], ["train", "train"]),
        (["train", ""], ["train", "unsplit"]),
        (["all", "test"], ["all_", "test"]),
        (["a b", "fold-1"], ["a_b", "fold_1"]),
    ],
)
def test_shards_are_called_as_their_readers_allow(splits: list[str], shards: list[str]) -> None:
    assert split_names(pd.Series(splits)).tolist() == shards


def test_a_file_that_may_not_be_read_is_a_matter_of_permissions(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(url: str, limit: int) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("curation.measure.batch.read_bytes", refused)
    row = SimpleNamespace(path="1.jpg", url="/data/1.jpg", sha256="")
    with pytest.raises(ChangedError, match=r"1\.jpg cannot be read .Permission denied.; mend its permissions"):
        content(row)
