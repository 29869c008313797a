"""Tables that lie in mapped files are those in memory: what a run writes is the same, byte for byte."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_IN_FILES = """
from curation.base import mapped, scratch
mapped.FROM, mapped.BLOCK = 2, 100
made, before = [], scratch.mapped
scratch.mapped = lambda file: made.append(file) or before(file)
from curation.__main__ import main
try:
    main()
finally:
    assert made
"""


def _curate(*words: object) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _IN_FILES, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def _written(workspace: Path) -> dict[str, bytes]:
    paths = [workspace / f"{name}.parquet" for name in ("listing", "images", "pairs", "issues")]
    paths += [*(workspace / "scores").iterdir(), *(workspace / "manifests").glob("*.parquet")]
    return {path.name: path.read_bytes() for path in paths}


@pytest.mark.slow
def test_a_run_with_all_tables_in_files_writes_what_one_in_memory_writes(
    curated: Path, sample: Path, tmp_path: Path
) -> None:
    workspace = tmp_path / "mapped"
    for _ in range(2):  # the second time all is read back
        _curate("run", sample, "-w", workspace)
        assert _written(workspace) == _written(curated)
    (workspace / "scores" / next((workspace / "scores").iterdir()).name).unlink()
    _curate("check", "-w", workspace)
    path = min(path.relative_to(sample).as_posix() for path in sample.rglob("*.jpg"))
    _curate("decide", path, "--exclude", "-w", workspace)
    _curate("report", "-w", workspace)
    _curate("issues", "-w", workspace, "--all")
    assert [each.name for each in workspace.iterdir() if each.name.startswith("tmp")] == []
