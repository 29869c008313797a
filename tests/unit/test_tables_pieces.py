"""Columns of texts in one piece: the same table, whatever pieces it came in."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from curation.base import tables

CELLS = st.tuples(st.text(max_size=3), st.integers(-5, 5), st.booleans())


@given(st.lists(st.lists(CELLS, max_size=4), max_size=4))
def test_tables_joined_from_pieces_are_equal_and_whole(parts: list[list[tuple[str, int, bool]]]) -> None:
    empty = pd.DataFrame({"path": [], "n": [], "flag": []}).astype({"path": "str", "n": "int64", "flag": "bool"})
    frames = [empty, *(pd.DataFrame(part, columns=list(empty)).astype(empty.dtypes.to_dict()) for part in parts)]
    joined = pd.concat(frames, ignore_index=True)
    before = joined.copy()
    tables.join_pieces(joined)
    pd.testing.assert_frame_equal(joined, before)
    texts = pa.array(joined["path"].array)
    assert not isinstance(texts, pa.ChunkedArray) or texts.num_chunks <= 1
