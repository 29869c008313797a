"""The first minute of somebody who knows nothing: a clone, one command, a report, nothing that it does not need."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_BYTES = 1.2e9


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("make") is None or shutil.which("git") is None, reason="make and git are needed")
def test_one_command_leads_from_a_clone_to_a_report_without_heavy_libraries(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    copied = subprocess.run(["git", "clone", "-q", ROOT, clone], capture_output=True, text=True, check=False)
    if copied.returncode:
        pytest.skip(f"not a clone: {copied.stderr.strip()}")
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    command = ["make", "run", f"PYTHON={sys.executable}"]
    done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False)
    if done.returncode and "registry cannot be reached" in done.stderr:
        pytest.skip("the package registry cannot be reached")
    assert done.returncode == 0, done.stderr[-2000:]
    assert (clone / "workspace-sample" / "reports" / "cleaning.html").exists()
    (packages,) = (clone / ".venv" / "lib").glob("python*/site-packages")
    assert [name for name in ("torch", "fiftyone", "ray", "datasets") if (packages / name).exists()] == []
    files = (file for file in (clone / ".venv").rglob("*") if file.is_file() and not file.is_symlink())
    assert sum(file.stat().st_size for file in files) < MOST_BYTES
    again = subprocess.run(["make", "core"], cwd=clone, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0 and "Installing" not in again.stdout
