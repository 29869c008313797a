"""Habits of the command: help that teaches, the doctor, no colours in pipes, a log in the workspace."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest
import typer.main

from curation.cli import commands, doctor
from curation.cli.examples import EXAMPLES
from tests.conftest import CURATE, Curate, as_json

GIVEN = [example for examples in EXAMPLES.values() for example, _ in examples]


@pytest.mark.parametrize("example", GIVEN)
def test_every_example_of_the_help_is_right_usage(example: str) -> None:
    command = typer.main.get_command(commands.app)
    _, verb, *arguments = shlex.split(example)
    chosen = command.commands[verb]  # type: ignore[attr-defined]
    context = chosen.make_context(verb, list(arguments))
    assert context.params is not None


def test_every_verb_has_examples() -> None:
    assert set(EXAMPLES) - {""} == set(typer.main.get_command(commands.app).commands)  # type: ignore[attr-defined]


def test_help_shows_examples_and_no_colours_in_a_pipe(curate: Curate) -> None:
    for verb in ([], ["export"]):
        shown = curate(*verb, "--help").stdout
        assert "Examples" in shown and "curate export cleaned" in " ".join(shown.split())
        assert "\x1b" not in shown


def test_the_doctor_names_what_is_absent_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "is_installed", lambda module: module != "ray")
    found = {finding.what: finding for finding in doctor.examine(tmp_path / "none")}
    assert found["extra ray"].state == "absent"
    assert "pip install 'face-curation[ray]'" in found["extra ray"].to_do
    assert found["extra exchange"].state == "ok"
    assert "curate run DATA" in found["workspace"].to_do
    assert {"mongod", "processor", "disk", "detector yunet", "ImageNet weights"} <= set(found)
    assert not any(finding.state == "wrong" for finding in found.values())


def test_the_doctor_fails_where_something_is_in_the_way(curate: Curate, tmp_path: Path) -> None:
    (tmp_path / "workspace.json").write_text(json.dumps({"format": 999}))
    done = curate("doctor", "-w", tmp_path, "--json", check=False)
    wrong = [finding for finding in as_json(done) if finding["state"] == "wrong"]
    assert done.returncode == 1
    assert [finding["what"] for finding in wrong] == ["workspace"] and "999" in wrong[0]["facts"]


def test_colours_are_off_in_a_pipe_and_where_no_color_is_set(curate: Curate, tmp_path: Path) -> None:
    assert "\x1b" not in curate("doctor", "-w", tmp_path / "none").stdout


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("curate ex", {"explain", "export", "export-model"}),
        ("curate export v", {"v1", "v12"}),
        ("curate show --workspace . p", {"paper"}),
        ("curate export cleaned --format web", {"webdataset"}),
        ("curate issues --check label", {"label_conflict"}),
        ("curate run faces --policy de", {"deck"}),
    ],
)
def test_the_shell_completes_verbs_options_and_what_the_workspace_holds(
    line: str, offered: set[str], tmp_path: Path
) -> None:
    for folder in (tmp_path / "manifests", tmp_path / "workspace" / "manifests"):
        folder.mkdir(parents=True)
        for name in ("v1", "v12"):
            (folder / f"{name}.json").write_text("{}")
        (folder / "tags.jsonl").write_text('{"tag": "paper", "version": "v1", "hash": "0"}\n')
    given = {"_CURATE_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
    done = subprocess.run(
        [CURATE], cwd=tmp_path, env={**os.environ, **given}, capture_output=True, text=True, check=False
    )
    assert set(done.stdout.split()) == offered


def test_exit_statuses_are_those_that_the_help_states(curate: Curate, tmp_path: Path) -> None:
    assert "0 done, 1 failed, 2 wrong usage, 130 stopped" in " ".join(curate("--help").stdout.split())
    assert curate("show", "-w", tmp_path / "none", check=False).returncode == 1
    assert curate("show", "--no-such-option", check=False).returncode == 2
