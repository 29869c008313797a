"""Look-ups in columns of texts: what pandas would say, without a Python object for each text."""

from __future__ import annotations

import hashlib
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.base.frames import are_distinct, are_sorted, first_rows, rows_of
from curation.base.issues import Issues
from curation.checks.graph import build
from curation.pipeline import steps
from curation.pipeline.axes import picture_numbers
from tests.unit.frames import issue

TEXTS = st.lists(st.text(max_size=2), max_size=12)


@given(TEXTS, TEXTS)
def test_rows_are_those_of_the_first_equal_text(asked: list[str], column: list[str]) -> None:
    expected = [column.index(text) if text in column else -1 for text in asked]
    assert rows_of(pd.Series(asked, dtype="str"), pd.Series(column, dtype="str")).tolist() == expected


@given(TEXTS)
def test_first_rows_are_in_the_order_of_the_texts(texts: list[str]) -> None:
    assert first_rows(pd.Series(texts, dtype="str")).tolist() == [texts.index(text) for text in sorted(set(texts))]


@given(TEXTS)
def test_order_and_repetition_are_those_of_python(texts: list[str]) -> None:
    column = pd.Series(texts, dtype="str")
    assert are_distinct(column) == (len(set(texts)) == len(texts))
    assert are_sorted(column) == (texts == sorted(texts))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), max_size=6))
def test_combinations_are_distinct_though_each_column_repeats(pairs: list[tuple[str, str]]) -> None:
    first, second = (pd.Series([pair[place] for pair in pairs], dtype="str") for place in (0, 1))
    assert are_distinct(first, second) == (len(set(pairs)) == len(pairs))


@pytest.mark.parametrize("block", [1, 3, 100])
def test_a_digest_does_not_depend_on_the_blocks_in_which_a_column_is_read(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, numbers = pd.Series(["b", "", "a", "b", "é"], dtype="str"), pd.Series([1.5, np.nan, 2, 0, 1])
    expected = hashlib.sha256()
    for column in (texts, numbers):
        expected.update(pd.util.hash_pandas_object(column, index=False).to_numpy().tobytes() + b"\0")
    monkeypatch.setattr(steps, "_DIGESTED", block)
    assert steps.digest(texts, numbers) == expected.hexdigest()


def test_copies_have_one_number_and_others_one_each() -> None:
    numbers = picture_numbers(pd.Series(["a", "b", "c", "d", "e"]), {"e": "near-1", "a": "near-1", "c": "exact-2"})
    assert numbers[0] == numbers[4]
    assert len(set(numbers.tolist())) == 4


def test_flagged_rows_are_no_second_table_where_all_are_flagged() -> None:
    rows = pd.DataFrame([issue("a", "dark"), issue("b", "dark")])
    assert Issues(rows).flagged is rows
    assert Issues(rows.assign(is_issue=[True, False])).flagged["path"].tolist() == ["a"]


def test_the_graph_of_copies_makes_no_python_object_an_image() -> None:
    number = 20_000
    texts = pd.Series([hashlib.sha256(str(n).encode()).hexdigest() for n in range(number)], dtype="str")
    images = pd.DataFrame({"path": "images/" + texts.str[:12], "split": "", "label": "happy"})
    values = {name: np.arange(number) for name in ("dhash", "width", "height", "bytes", "sharpness")}
    measurements = pd.DataFrame({"error": "", "pixel_sha256": texts, **values}).astype({"error": "str"})
    pairs = pd.DataFrame(
        {
            "pixel_sha256_a": texts.iloc[:100].tolist(),
            "pixel_sha256_b": texts.iloc[100:200].tolist(),
            "probability": 1.0,
            "transform": "mirrored",
            "relation": "near_duplicate",
        }
    )
    build(images.head(9), measurements.head(9), pairs.head(0), 0.9)  # loads what is imported late
    tracemalloc.start()
    try:
        graph = build(images, measurements, pairs, 0.9)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (graph.members["near"] != "").sum() == 200
    assert set(graph.members["rank"]) == {1, 2}
    assert peak / number < 300  # bytes; a text of 64 letters alone is 113
