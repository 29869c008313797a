"""The documentation tells the truth: tutorial and notebook run, the site builds, the tables name what there is."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typer.main

import curation
from curation.audit.peers import PEERS
from curation.checks.registry import CHECKS
from curation.cli import commands
from curation.formats.registry import names
from curation.formats.source import NAMED
from tests.command_server import CommandServer
from tests.conftest import Curate

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BIN = Path(sys.executable).parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
Given = Callable[[Path, Path], None]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.M | re.S)


BLOCK = re.compile(
    r"(?P<notes>(?:^<!-- (?:not run|before|needs): [^\n]+ -->\n)*)^```(?:bash|console|sh)\n(?P<block>.*?)^```$",
    re.M | re.S,
)
NOTE = re.compile(r"<!-- (not run|before|needs): ([^\n]+) -->")


def script_of(page: Path) -> str:
    """Return the commands of a page in order, without the blocks whose source gives the reason why they are not run.

    Lines of the source above a block say so: "not run: REASON"; "needs: MODULE", without which it is not run;
    "before: COMMAND", which makes what the block takes for granted.
    """
    lines = []
    for found in BLOCK.finditer(page.read_text(encoding="utf-8")):
        notes = NOTE.findall(found["notes"])
        if any(word == "not run" or (word == "needs" and not importlib.util.find_spec(what)) for word, what in notes):
            continue
        lines += [what for word, what in notes if word == "before"]
        lines.append(found["block"])
    return "\n".join(lines)


@pytest.fixture(scope="session")
def given(command_server: CommandServer, tmp_path_factory: pytest.TempPathFactory) -> Given:
    """Give the commands of a page in a folder; the test fails where one of them does."""
    commands_of_ours = command_server.on_path(tmp_path_factory.mktemp("path"))

    def give(page: Path, folder: Path) -> None:
        path = os.pathsep.join(map(str, (commands_of_ours, BIN, os.environ["PATH"])))
        command = ["bash", "-c", f"set -euxo pipefail\n{script_of(page)}"]
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-2000:]

    return give


NAMED_FACES = ("train/happy/1.jpg", "train/happy/2.jpg", "train/happy/3.jpg", "train/sad/4.jpg", "test/happy/1.jpg")
"""Images by the names that the pages give them."""


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory, curate: Curate) -> Path:
    """A folder as the pages take it for granted: faces, curated in workspace."""
    folder = tmp_path_factory.mktemp("ready")
    curate("sample", folder / "faces", "--images", 160, "--seed", 1)
    truth = pd.read_csv(folder / "faces" / "truth.csv")
    for name in NAMED_FACES:
        plain = truth.loc[(truth["defect"] == "plain") & truth["path"].str.startswith(name.rpartition("/")[0]), "path"]
        next(found for path in plain if (found := folder / "faces" / path).exists()).rename(folder / "faces" / name)
    curate("run", folder / "faces", "-w", folder / "workspace")
    return folder


RUN = [page for page in PAGES if "curate " in script_of(page)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in RUN if page.stem != "tutorial"], ids=lambda page: page.relative_to(ROOT).as_posix()
)
def test_every_block_of_a_page_runs_in_order(page: Path, ready: Path, tmp_path: Path, given: Given) -> None:
    folder = tmp_path / "here"
    if script_of(page).startswith("curate sample"):
        folder.mkdir()
    else:
        shutil.copytree(ready, folder)
    given(page, folder)


def test_most_pages_are_run_and_a_block_that_is_not_gives_its_reason() -> None:
    pages = {page.relative_to(ROOT).as_posix() for page in RUN}
    how_to = {f"docs/how-to/{name}.md" for name in ("challenges", "coverage", "gate", "opinions", "overlap", "people")}
    assert {"README.md", "docs/index.md", "docs/tutorial.md", *how_to} <= pages
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert re.findall(r"^```\n(?:curate|make|pip|python) ", text, flags=re.M) == []  # of no language: not looked at
        told = [
            reason
            for found in BLOCK.finditer(text)
            for word, reason in NOTE.findall(found["notes"])
            if word == "not run"
        ]
        assert [reason for reason in told if len(reason.split()) < 4] == []
        tests = [name for reason in told for name in re.findall(r"tests/[\w/]+(?:\.py)?", reason)]
        assert [name for name in tests if not (ROOT / name).exists()] == []


@pytest.fixture(scope="module")
def learner(tmp_path_factory: pytest.TempPathFactory, given: Given) -> Path:
    """A folder in which every command of the tutorial was given, in order."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("tutorial")
    given(DOCS / "tutorial.md", folder)
    return folder


@pytest.mark.slow
def test_the_tutorial_leaves_a_report_exports_and_a_model(learner: Path) -> None:
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


def program(file: Path) -> Any:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def links() -> Any:
    return program(ROOT / "tools" / "links.py")


@pytest.mark.slow
def test_the_notebook_runs_on_a_slice_of_the_real_data(tmp_path: Path, faces: Path, monkeypatch: Any) -> None:
    pytest.importorskip("nbclient")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("CURATE_NOTEBOOK_DATA", "")
    module = program(DOCS / "run_notebook.py")
    executed = module.execute(str(faces), tmp_path)
    shown = str([cell.get("outputs") for cell in executed.cells])
    assert "data:image/jpeg" in shown and "'images': 400" in shown


def test_the_notebook_in_the_repository_was_executed_on_drawn_faces_and_shows_them() -> None:
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(DOCS / "notebook.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    text = (DOCS / "notebook.ipynb").read_text(encoding="utf-8")
    assert "data:image/jpeg" in text and "'images': 160" in text  # as many as the sample that it draws
    assert len(text) < 300_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built without a warning."""
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("built") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return folder


@pytest.mark.slow
def test_the_site_has_the_command_the_library_and_a_page_for_every_check_and_policy(site: Path) -> None:
    assert "curate export" in (site / "reference" / "command" / "index.html").read_text(encoding="utf-8")
    assert "CuratedFaces" in (site / "reference" / "curation" / "index.html").read_text(encoding="utf-8")
    overview = (site / "checks" / "index.html").read_text(encoding="utf-8")
    policies = [file.stem for file in (ROOT / "curation" / "decisions" / "policies").glob("*.toml")]
    for place, names_ in (("checks", list(CHECKS)), ("policies", policies)):
        for name in names_:
            assert "How it decides" in (text := (site / place / name / "index.html").read_text()) or place == "policies"
            assert (len(text) > 1000 and f"{place}/{name}" in overview) or f'href="{name}/"' in overview


@pytest.mark.slow
def test_no_link_of_the_site_is_dead(site: Path) -> None:
    assert links().dead_links(site) == []


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "index.html").write_text('<p id="part">')
    targets = ("there/", "there/#part", "https://elsewhere.example/", "#top", "there/#gone", "gone/", "gone.png")
    page = '<p id="top">' + "".join(f'<a href="{link}">' for link in targets)
    (tmp_path / "index.html").write_text(page)
    assert [line.partition(" -> ")[2] for line in links().dead_links(tmp_path)] == ["there/#gone", "gone/", "gone.png"]
    assert links().main(str(tmp_path)) == 1 and links().main(str(tmp_path / "there")) == 0


@pytest.mark.parametrize("page", PAGES[:2], ids=lambda page: page.name)
def test_what_the_pages_of_the_repository_point_to_is_there(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    local = [target.partition("#")[0] for target in targets if "://" not in target]
    assert [target for target in local if target and not (ROOT / target).exists()] == []


def test_the_readme_is_short_and_its_pictures_are_small() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
    pictures = [file for file in (DOCS / "images").rglob("*") if file.is_file()]
    assert [file.name for file in pictures if file.stat().st_size > 200_000] == []


def test_the_measured_checks_are_checks_and_were_measured_whole() -> None:
    measured = json.loads((DOCS / "measured.json").read_text(encoding="utf-8"))
    assert set(measured["checks"]) <= set(CHECKS)
    how = tomllib.loads((DOCS / "checks.toml").read_text(encoding="utf-8"))
    assert set(how) <= set(CHECKS)
    for counts in measured["checks"].values():
        assert counts["found"] <= counts["planted"] and counts["right"] + counts["plain"] <= counts["flagged"]


def shell_lines(page: Path) -> list[str]:
    """Return the commands in the blocks of a page, without their comments; lines that go on are joined."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"^```(?:bash|console|sh)?\n(.*?)^```$", text, flags=re.M | re.S)
    lines = "\n".join(found).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip()]


GIVEN = [(page, line) for page in PAGES for line in shell_lines(page) if re.search(r"(^|[ =])curate ", line)]


@pytest.mark.parametrize(("page", "line"), GIVEN, ids=[f"{page.stem}-{line[:60]}" for page, line in GIVEN])
def test_every_command_of_every_page_is_right_usage(page: Path, line: str) -> None:
    found = re.search(r"(?:^|[ (=])(curate .*)$", line)
    assert found is not None
    words = shlex.split(re.split(r" \|| > |\)\"?$", found[1])[0], comments=True)
    verb, *arguments = words[1:]
    command = typer.main.get_command(commands.app)
    if verb.startswith("-") or (page.stem == "troubleshooting" and verb == "VERB"):
        return
    chosen = command.commands[verb]  # type: ignore[attr-defined]
    assert chosen.make_context(verb, arguments).params is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_words_beside_a_command_are_comments(page: Path) -> None:
    lines = [line for line in shell_lines(page) if re.match(r"(curate|make|pip|pipx|ray|python) ", line)]
    assert [line for line in lines if re.search(r"\S {2,}(?!#)\S", line.partition("#")[0])] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_targets_and_extras_that_the_pages_name_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M)
    assert [
        name for name in re.findall(r"(?:^|`|=\S+ )make ([a-z][a-z-]+)", text, flags=re.M) if name not in targets
    ] == []
    extras = [name for names_ in re.findall(r"face-curation\[([\w,]+)\]", text) for name in names_.split(",")]
    extras += [name for names_ in re.findall(r"EXTRAS=([a-z,]+)", text) for name in names_.split(",")]
    assert [name for name in extras if name not in EXTRAS] == []


def test_the_table_names_every_format() -> None:
    text = (DOCS / "how-to" / "exports.md").read_text(encoding="utf-8")
    assert [name for name in names() if f"`{name}`" not in text] == []


def test_the_pages_name_every_source_and_peer() -> None:
    sources = (DOCS / "how-to" / "sources.md").read_text(encoding="utf-8")
    peers = (DOCS / "how-to" / "opinions.md").read_text(encoding="utf-8")
    assert [name for name in NAMED if f"`{name}:" not in sources] == []
    assert [name for name in PEERS if f"`{name}`" not in peers] == []
