"""Tables in mapped files: the same as in memory, whatever they hold, and leaving no file."""

from __future__ import annotations

import errno
import gc
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation.base import mapped, reading, scratch

MIB = 2**20

_TEXTS = st.lists(st.text(max_size=5) | st.none(), max_size=30)


@pytest.fixture(autouse=True)
def _small_tables_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "FROM", 1)
    monkeypatch.setattr(mapped, "BLOCK", 4)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(_TEXTS, max_size=4), start=st.integers(0, 3))
def test_a_column_of_texts_is_its_pieces(tmp_path: Path, pieces: list[list[str | None]], start: int) -> None:
    arrays = [pa.array(piece, pa.string()).slice(min(start, len(piece))) for piece in pieces]
    found = mapped.column(arrays, pa.string(), tmp_path)
    found.validate(full=True)
    assert found.to_pylist() == [text for array in arrays for text in array.to_pylist()]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(st.lists(st.integers(-(2**15), 2**15 - 1) | st.none(), max_size=30), max_size=4))
@pytest.mark.parametrize("kind", [pa.int16(), pa.int64(), pa.float64()])
def test_a_column_of_numbers_is_its_pieces(tmp_path: Path, pieces: list[list[int | None]], kind: pa.DataType) -> None:
    found = mapped.column((pa.array(piece, kind) for piece in pieces), kind, tmp_path)
    found.validate(full=True)
    assert found.to_pylist() == [number for piece in pieces for number in piece]


def _frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "text": pd.array(["x", "", "ü"] * 7, dtype="str"),
            "missing": pd.array([None, "q", "r"] * 7, dtype="str"),
            "whole": np.arange(21),
            "small": np.arange(21, dtype=np.int8),
            "real": [np.nan, 0.5, -1.0] * 7,
            "flag": [True, False, True] * 7,
            "word": pd.Categorical(["u", "v", "w"] * 7),
            "list": [[1], [], [2, 3]] * 7,
        }
    )


def test_a_table_is_read_as_it_would_be_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.parquet"
    pq.write_table(pa.Table.from_pandas(_frame(), preserve_index=False), path, row_group_size=5)
    found = reading.parquet_frame(path)
    monkeypatch.setattr(mapped, "FROM", 100)
    pd.testing.assert_frame_equal(found, reading.parquet_frame(path))
    pd.testing.assert_frame_equal(mapped.frame(_frame(), tmp_path), _frame())
    assert list(tmp_path.iterdir()) == [path]


def test_where_no_file_can_be_made_a_table_is_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.parquet"
    _frame().to_parquet(path)
    monkeypatch.setattr("os.access", lambda *_: False)
    before = len(scratch._MAPS)
    pd.testing.assert_frame_equal(reading.parquet_frame(path)[["whole"]], _frame()[["whole"]])
    assert len(scratch._MAPS) == before


def test_where_the_disk_is_full_a_table_is_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.parquet"
    _frame().to_parquet(path)

    def full(column: mapped.Column, piece: pa.Array) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(mapped.Column, "add", full)
    before = len(scratch._MAPS)
    pd.testing.assert_frame_equal(reading.parquet_frame(path)[["whole"]], _frame()[["whole"]])
    assert mapped.frame(given := _frame(), tmp_path) is given
    table = pa.table({"number": [3, 1, 2]})
    with mapped.lying_in(tmp_path):
        assert mapped.spooled(table, pa.array([1, 2, 0]))["number"].to_pylist() == [1, 2, 3]
    assert len(scratch._MAPS) == before


def test_a_table_is_spooled_in_the_order_asked_for(tmp_path: Path) -> None:
    table = pa.table({"number": pa.chunked_array([[3, 1], [2]]), "text": pa.chunked_array([["c", "a"], ["b"]])})
    with mapped.lying_in(tmp_path):
        found = mapped.spooled(table, pa.array([1, 2, 0]))
        assert found.to_pydict() == {"number": [1, 2, 3], "text": ["a", "b", "c"]}
        assert mapped.spooled(table).to_pydict() == table.to_pydict()
        assert len(scratch._MAPS) > 0
    assert found["number"].num_chunks == 1


def test_the_memory_of_a_table_that_nobody_looks_at_is_given_back(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    count = 64 * MIB // 8
    pq.write_table(pa.table({"number": np.arange(count)}), path, compression="zstd")
    process = psutil.Process()
    frame = reading.parquet_frame(path)
    assert frame["number"].sum() == count * (count - 1) // 2
    full = process.memory_info().rss
    scratch.release_all()
    assert process.memory_info().rss < full - 48 * MIB
    assert frame["number"].iloc[-1] == count - 1
    del frame
    gc.collect()
    assert len(scratch._MAPS) == 0
