"""The documentation tells the truth: tutorial and notebook run, the site builds, the tables name what there is."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import curation
from curation.audit.peers import PEERS
from curation.formats.registry import names
from curation.formats.source import NAMED

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BIN = Path(sys.executable).parent


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.M | re.S)


@pytest.fixture(scope="module")
def learner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every command of the tutorial was given, in order."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("tutorial")
    script = "\n".join(["set -euo pipefail", *blocks(DOCS / "tutorial.md", "bash")])
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    command = ["bash", "-c", script]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.slow
def test_every_command_of_the_tutorial_runs_in_order(learner: Path) -> None:
    assert (learner / "workspace" / "reports" / "cleaning.html").exists()
    assert (learner / "cleaned.csv").exists() and list((learner / "cleaned").rglob("*.jpg"))
    assert list((learner / "workspace" / "models").glob("fast*/model.safetensors"))


@pytest.mark.slow
def test_every_line_of_the_page_on_python_runs(learner: Path) -> None:
    program = "\n".join(blocks(DOCS / "how-to" / "python.md", "python"))
    done = subprocess.run([sys.executable, "-c", program], cwd=learner, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (learner / "coco" / "annotations" / "train.json").exists()


def test_the_page_on_python_names_what_a_workspace_can() -> None:
    page = (DOCS / "how-to" / "python.md").read_text(encoding="utf-8")
    public = [name for name in vars(curation.Workspace) if not name.startswith("_")]
    assert [name for name in public if not re.search(rf"\b{name}\b", page)] == []


def run_notebook() -> Any:
    spec = importlib.util.spec_from_file_location("run_notebook", DOCS / "run_notebook.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_notebook_runs_on_a_slice_of_the_real_data(tmp_path: Path, faces: Path, monkeypatch: Any) -> None:
    pytest.importorskip("nbclient")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("CURATE_NOTEBOOK_DATA", "")
    module = run_notebook()
    executed = module.execute(str(faces), tmp_path)
    shown = str([cell.get("outputs") for cell in executed.cells])
    assert "data:image/jpeg" in shown and "'images': 400" in shown
    assert "data:image" not in str(module.without_pictures(executed))


def test_the_notebook_in_the_repository_was_executed_and_holds_no_picture() -> None:
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(DOCS / "notebook.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    text = (DOCS / "notebook.ipynb").read_text(encoding="utf-8")
    assert "<img" not in text and "image/png" not in text and "base64" not in text


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert "curate export" in (tmp_path / "site" / "reference" / "command" / "index.html").read_text(encoding="utf-8")
    assert "CuratedFaces" in (tmp_path / "site" / "reference" / "curation" / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [ROOT / "README.md", DOCS / "how-to" / "exports.md"], ids=lambda page: page.name)
def test_the_tables_name_every_format(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [name for name in names() if f"`{name}`" not in text] == []


def test_the_pages_name_every_source_and_peer() -> None:
    sources = (DOCS / "how-to" / "sources.md").read_text(encoding="utf-8")
    peers = (DOCS / "how-to" / "opinions.md").read_text(encoding="utf-8")
    assert [name for name in NAMED if f"`{name}:" not in sources] == []
    assert [name for name in PEERS if f"`{name}`" not in peers] == []
