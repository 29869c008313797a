"""The command starts fast and loads nothing heavy before it is needed."""

import resource
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests import programs

HEAVY = ("numpy", "pandas", "pyarrow", "cv2", "faiss", "numba", "scipy", "torch", "fiftyone", "plotly")


def test_help_starts_in_under_half_a_second() -> None:
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "curation.cli.commands", "--help"], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # of the processor, so that a busy machine is no failure
        times.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert min(times) < 0.5


@pytest.mark.parametrize("module", ["curation.__main__", "curation.cli.commands", "curation", "training"])
def test_importing_loads_no_heavy_module(module: str) -> None:
    assert programs.run("loads", module, *HEAVY) == ""


@pytest.mark.parametrize(
    "moment",
    [
        "curation.cli.commands",
        "typer",
        "curation.cli.completion",
        "curation.audit.synthetic.make",
        "numpy",
        "PIL.Image",
    ],
)
def test_ctrl_c_while_the_command_is_loaded_is_one_line_and_status_130(moment: str, tmp_path: Path) -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    module, _, function = project["project"]["scripts"]["curate"].partition(":")
    destination = tmp_path / "sample"
    pressed = programs.command("press_while_loading", moment, module, function, "sample", destination)
    done = subprocess.run(pressed, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "curate: stopped; the same command goes on from here\n"
    assert not destination.exists()


@pytest.mark.parametrize("module", ["curation", "curation.cli.commands"])
def test_python_dash_m_is_the_command_too(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=True)
    assert "Start with: curate run DATA" in done.stdout


def test_no_path_is_broken_into_lines_wherever_it_stands_in_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    import pandas as pd

    from curation.cli import console

    deep = "train/" + "folder/" * 12 + "p0159.jpg"
    frame = pd.DataFrame({"no": [1], "path": ["test/a.jpg"], "why": [f"a copy of {deep} that is kept " * 2]})
    console.print_frame(frame, "table")
    shown = capsys.readouterr().out
    assert shown.count(deep) == 2 and "test/a.jpg" in shown
