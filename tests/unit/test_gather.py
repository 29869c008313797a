"""Columns of a listing, gathered from parts: what a join of whole tables would give."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation.base import mapped
from curation.measure.gather import Contents, Files, Hashes, Numbers, Words, keys_of

_FILES = ("path", "url", "bytes", "mtime_ns", "sha256", "error", "error_kind", "inode", "ctime_ns")


def _hash(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def _texts(values: list[str]) -> pa.Array:
    return pa.array(values, pa.large_string())


@settings(deadline=None)
@given(stored=st.lists(st.integers(0, 20), max_size=30), asked=st.lists(st.integers(0, 25), max_size=30))
def test_contents_are_found_in_all_their_rows(stored: list[int], asked: list[int]) -> None:
    contents = Contents.named(_texts([_hash(number) for number in stored]))
    rows, places = contents.find(keys_of(_texts([_hash(number) for number in asked])))
    found = sorted(zip(rows.tolist(), places.tolist(), strict=True))
    assert found == [(row, at) for row, one in enumerate(stored) for at, other in enumerate(asked) if one == other]
    firsts = contents.firsts(len(stored))
    assert np.flatnonzero(firsts).tolist() == sorted({stored.index(one) for one in stored})


def test_contents_whose_hashes_begin_alike_are_told_apart() -> None:
    alike = ["ab" * 8 + "0" * 48, "ab" * 8 + "1" * 48]
    rows, places = Contents.named(_texts(alike)).find(keys_of(_texts([alike[1], alike[0]])))
    assert dict(zip(rows.tolist(), places.tolist(), strict=True)) == {0: 1, 1: 0}


def test_of_a_content_that_is_stored_twice_the_oldest_row_counts() -> None:
    contents = Contents.named(_texts([_hash(1), _hash(2)]))
    parts = [pa.table({"sha256": _texts([_hash(1)]), "n": [n]}) for n in (7, 8)]
    done = np.zeros(2, dtype=np.bool_)
    found = [(at.tolist(), part["n"].to_pylist()) for at, part in contents.each_found(parts, done)]
    assert found == [([0], [7]), ([], [])]
    assert done.tolist() == [True, False]


@pytest.mark.parametrize("wrong", ["", "ab", "z" * 64, "é" * 64])
def test_what_is_no_hash_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"hash|hexadecimal|digit"):
        keys_of(_texts([_hash(1), wrong]))


@pytest.mark.parametrize("in_files", [False, True])
def test_columns_hold_what_was_put_last_and_else_nothing(
    tmp_path: Path, in_files: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped, "BLOCK", 2)
    room = tmp_path if in_files else None
    numbers, words, hashes = Numbers(5, pa.float64(), np.nan, room), Words(5, room), Hashes(5, room)
    at = np.array([4, 1, 0])
    numbers.put(at, pa.array([1.0, None, 3.0]))
    words.put(at, _texts(["b", "a", "b"]))
    words.put(np.array([1, 0]), pa.array(["", None], pa.large_string()))
    hashes.put(at, _texts([_hash(1), _hash(2), ""]))
    hashes.clear(np.array([1]))
    np.testing.assert_array_equal(numbers.column(), [3.0, np.nan, np.nan, np.nan, 1.0])
    assert list(words.column()) == ["b", "", "", "", "b"]
    assert words.word(4) == "b"
    assert list(hashes.column()) == ["", "", "", "", _hash(1)]
    assert hashes.known.tolist() == [False] * 4 + [True]


_ROW = st.tuples(st.integers(0, 6), st.integers(0, 1), st.integers(0, 3))
"""Path, time, and content; 0 is a file that cannot be read."""


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    listed=st.permutations(range(6)),
    parts=st.lists(st.lists(_ROW, max_size=5, unique_by=lambda row: row[0]), max_size=5),
)
def test_a_file_is_what_its_newest_row_says_if_that_is_of_the_unchanged_file(
    tmp_path: Path, listed: list[int], parts: list[list[tuple[int, int, int]]]
) -> None:
    listing = _files_part([(path, 0, 0) for path in listed])
    files = Files(listing, (_files_part(part) for part in parts), tmp_path)
    newest = {path: (time, content) for part in parts for path, time, content in part}
    expected = [newest.get(path, (1, 0)) for path in listed]
    assert files.found.tolist() == [time == 0 for time, _ in expected]
    hashes = [_hash(content) if content and time == 0 else "" for time, content in expected]
    assert files.sha256.texts().to_pylist() == hashes
    for place in np.flatnonzero(files.found).tolist():
        assert files.words["error"].word(place) == ("" if hashes[place] else "it is broken")
    told = files.rows(np.arange(len(listed)))
    assert told["inode"].is_valid().to_pylist() == files.found.tolist()


def _files_part(rows: list[tuple[int, int, int]]) -> pa.Table:
    values = [
        (f"{path}.jpg", f"/d/{path}.jpg", 9, time, _hash(content) if content else "")
        + (("", "") if content else ("it is broken", "damaged"))
        + (path + 1, 5)
        for path, time, content in rows
    ]
    kinds = [pa.int64() if name in ("bytes", "mtime_ns", "inode", "ctime_ns") else pa.large_string() for name in _FILES]
    columns = list(zip(*values, strict=True)) or [()] * len(_FILES)
    return pa.table([pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)], names=list(_FILES))
