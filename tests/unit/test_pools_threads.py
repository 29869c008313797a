"""Work on threads: results come in the tasks' order, few at a time, and an error reaches the caller."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from curation.base.pools.threads import Threads, blocks, fill, in_order


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_results_come_in_the_tasks_order(threads: int) -> None:
    seen: set[int] = set()

    def do(task: int) -> int:
        seen.add(threading.get_ident())
        time.sleep(0.002 * (task % 3))
        return task * task

    assert list(in_order(do, range(30), threads)) == [n * n for n in range(30)]
    assert len(seen) == threads


def test_no_task_runs_far_ahead_of_who_takes_the_results() -> None:
    begun: list[int] = []
    results = in_order(lambda task: begun.append(task), iter(range(1000)), 2)
    next(results)
    time.sleep(0.05)
    assert len(begun) <= 6


def test_an_error_is_raised_where_results_are_taken() -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_order(lambda task: 1 // task, [2, 1, 0, 1], 2))


def test_blocks_cover_all_rows_once() -> None:
    assert [row for block in blocks(10, 4) for row in range(block.start, block.stop)] == list(range(10))
    assert blocks(0, 4) == []


@pytest.mark.parametrize("rows", [3, 5000])
@pytest.mark.parametrize("threads", [1, 3])
def test_rows_are_filled_with_what_is_made_of_the_same_rows(rows: int, threads: int) -> None:
    given = np.arange(3000), np.arange(3000) * 7.0
    seen: list[int] = []

    def made(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        seen.append(len(a))
        return a * 2, np.stack([a, b], axis=1)

    results = np.zeros(3000, dtype=np.int64), np.zeros((3000, 2))
    fill(Threads(threads, rows), made, given, results)
    assert np.array_equal(results[0], 2 * given[0]) and np.array_equal(results[1], np.stack(given, axis=1))
    assert sum(seen) == 3000 and max(seen) <= 1024
