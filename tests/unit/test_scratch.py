"""Arrays in files: they hold what is written, after their memory was given back too, and leave no file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import psutil
import pytest

from curation.base import scratch

MIB = 2**20


def test_memory_that_was_given_back_is_gone_and_what_was_written_is_not(tmp_path: Path) -> None:
    room = scratch.mapped_zeros(tmp_path, (64, MIB), np.uint8)
    assert not room.any()
    room[:] = np.arange(64, dtype=np.uint8)[:, None]
    process = psutil.Process()
    full = process.memory_info().rss
    scratch.release(room[3:], np.zeros(3))
    assert process.memory_info().rss < full - 48 * MIB
    assert (room == np.arange(64, dtype=np.uint8)[:, None]).all()
    assert list(tmp_path.iterdir()) == []


def test_without_a_folder_or_entries_it_is_in_memory(tmp_path: Path) -> None:
    assert scratch.mapped_zeros(None, (2, 3), np.int8).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert scratch.mapped_zeros(tmp_path, (0, 48), np.int8).shape == (0, 48)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot set room aside")
def test_a_disk_that_is_too_small_is_said_before_anything_is_written(tmp_path: Path) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            scratch.mapped_zeros(tmp_path, (2 * MIB,), np.uint8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_glances_at_rows_of_a_large_file_do_not_map_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not psutil.LINUX:
        pytest.skip("other systems map as they like")
    monkeypatch.setattr(scratch, "_LARGE", 2**20)
    room = scratch.mapped_zeros(tmp_path, (128, MIB), np.uint8)
    room[:] = np.arange(128, dtype=np.uint8)[:, None]
    scratch.filled(room)
    scratch.release(room)
    process = psutil.Process()
    before = process.memory_info().rss
    assert room[::4, 0].sum() == np.arange(0, 128, 4).sum()
    assert process.memory_info().rss < before + 16 * MIB
