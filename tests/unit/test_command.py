"""The command starts fast and loads nothing heavy before it is needed."""

import resource
import subprocess
import sys

import pytest

HEAVY = ("numpy", "pandas", "pyarrow", "pandera", "cv2", "faiss", "numba", "scipy", "torch", "fiftyone", "plotly")


def test_help_starts_in_under_half_a_second() -> None:
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "curation.cli", "--help"], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # of the processor, so that a busy machine is no failure
        times.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert min(times) < 0.5


@pytest.mark.parametrize("module", ["curation.cli", "curation", "training"])
def test_importing_loads_no_heavy_module(module: str) -> None:
    program = f"import sys, {module}; print(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []
