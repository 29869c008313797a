"""The one reader: what is no whole, regular, bounded text of its kind is one sentence; the rest is read as it is."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.base import reading
from curation.base.errors import WorkspaceError
from curation.base.reading import MOST_DEPTH, NewerError

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@given(VALUES)
def test_what_json_holds_is_read_as_it_is(value: Any) -> None:
    assert reading.json_value(json.dumps(value)) == value
    assert reading.json_value(("\ufeff" + json.dumps(value, ensure_ascii=False)).encode("utf-8")) == value
    assert reading.json_value(json.dumps(value).encode("utf-16")) == value


@given(st.binary(max_size=60) | st.text(max_size=60))
def test_whatever_is_given_for_json_is_a_value_or_one_error(data: bytes | str) -> None:
    for read in (reading.json_value, reading.json_object):
        try:
            read(data)
        except ValueError:
            continue


@pytest.mark.parametrize("inside", ["[%s]", '{"a": %s}'])
def test_json_is_read_up_to_a_depth(inside: str) -> None:
    def nested(times: int) -> str:
        text = "1"
        for _ in range(times):
            text = inside % text
        return text

    reading.json_value(nested(MOST_DEPTH))
    for times in (MOST_DEPTH + 1, 500, 50_000):
        with pytest.raises(ValueError, match="nested too deeply"):
            reading.json_value(nested(times))


@pytest.mark.parametrize("text", ['"\\ud800"', '{"\\udcff": 1}', "[NaN]", "Infinity", "-Infinity", '"\\ud83d"'])
def test_what_no_text_or_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"half of a character|not a JSON number"):
        reading.json_value(text)
    assert reading.json_value('"\\ud83d\\ude42"') == "\U0001f642"


def test_a_pipe_a_device_and_a_folder_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for place in (tmp_path / "pipe", tmp_path / "link", Path("/dev/zero"), tmp_path):
        with pytest.raises(OSError, match=r"a pipe, a device|a folder"):
            reading.contents(place)
    (tmp_path / "large").write_bytes(bytes(11))
    with pytest.raises(ValueError, match="larger than 10 bytes"):
        reading.contents(tmp_path / "large", 10)
    assert reading.contents(tmp_path / "large", 11) == bytes(11)


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), max_size=8)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5), st.sampled_from(",;\t|"), st.booleans())
def test_a_table_of_text_is_read_as_it_is(rows: list[tuple[str, str]], delimiter: str, mark: bool) -> None:
    import csv
    import io

    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([("path", "label"), *rows])
    frame = reading.csv_frame((("\ufeff" if mark else "") + buffer.getvalue()).encode("utf-8"))
    assert list(frame.columns) == ["path", "label"]
    assert list(frame.itertuples(index=False, name=None)) == rows


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("a,a\n1,2\n", "two columns are called 'a'"),
        ("a,b\n1\n", "row 2 has 1 cells and the header has 2"),
        ("a,b\n1,2,3\n", "row 2 has 3 cells"),
        ('a,b\n"1,2\n3,4\n', "unexpected end"),
        ("a,b\n" + "x" * 200_000 + ",2\n", "field larger"),
    ],
)
def test_a_table_that_would_lose_something_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        reading.csv_frame(text.encode())


@pytest.mark.parametrize("text", ["", "0", "7", "123456789012345678"])
def test_whole_numbers_are_digits(text: str) -> None:
    assert reading.whole_number(text) == (int(text) if text else None)


@pytest.mark.parametrize(
    "text", ["\u00b2", "\u0667", "-1", "+1", "1.0", "1e3", " 1", "1_0", "9" * 19, "9" * 5000, "nan"]
)
def test_what_only_looks_like_a_number_is_none(text: str) -> None:
    assert reading.whole_number(text) is None


@dataclass(frozen=True)
class Line:
    seq: int
    text: str
    note: str = ""


def test_a_record_of_a_newer_version_is_told_from_a_damaged_one() -> None:
    assert reading.built(Line, {"seq": 1, "text": "a"}) == Line(1, "a")
    with pytest.raises(NewerError, match="quantum"):
        reading.built(Line, {"seq": 1, "text": "a", "quantum": 1})
    for damaged in ({"seq": 1}, {}, [], "x"):
        with pytest.raises(ValueError, match=r"lacks|no object"):
            reading.built(Line, damaged)  # type: ignore[arg-type]


def test_each_cause_has_its_own_advice(tmp_path: Path) -> None:
    path = tmp_path / "x.json"

    def said(error: Exception) -> str:
        with pytest.raises(WorkspaceError) as caught, reading.refusing(path, "delete it"):
            raise error
        return str(caught.value)

    assert said(PermissionError(13, "Permission denied")).endswith("(Permission denied); mend its permissions")
    assert said(FileNotFoundError(2, "No such file")).endswith("cannot be read (No such file); delete it")
    assert said(ValueError("torn")).endswith("is damaged (torn); delete it")
    assert said(KeyError("seq")).endswith("is damaged (KeyError: 'seq'); delete it")
    assert "newer version" in said(NewerError("it has 'x'")) and "delete" not in said(NewerError("it has 'x'"))
