"""The command starts fast and loads nothing heavy before it is needed."""

import subprocess
import sys
import time

import pytest

HEAVY = ("numpy", "pandas", "pyarrow", "pandera", "cv2", "faiss", "numba", "scipy", "torch", "fiftyone", "plotly")


def test_help_starts_in_under_half_a_second() -> None:
    times = []
    for _ in range(3):
        started = time.monotonic()
        subprocess.run([sys.executable, "-m", "curation.cli", "--help"], check=True, capture_output=True)
        times.append(time.monotonic() - started)
    assert min(times) < 0.5


@pytest.mark.parametrize("module", ["curation.cli", "curation", "training"])
def test_importing_loads_no_heavy_module(module: str) -> None:
    program = f"import sys, {module}; print(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []
