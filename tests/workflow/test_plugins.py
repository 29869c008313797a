"""Plug-ins: what a small package declares is used like the toolkit's own, and a broken one is one sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.base import plugins
from curation.base.errors import CurationError
from curation.base.plugins import PluginError, installed
from curation.base.progress import Display
from curation.base.settings import load
from curation.base.workspace import open_workspace
from curation.checks import registry
from curation.decisions import manifest, policy
from curation.formats.registry import find as find_format
from curation.formats.source import read_source
from curation.pipeline import queries, steps

PACKAGE = Path(__file__).with_name("plugin_package.py")
"""The module of the plug-in package."""

POINTS = {
    "checks": {"first_letter": "tiny_plugin:CHECK"},
    "formats": {"names": "tiny_plugin:FORMAT"},
    "layouts": {"tiny layout": "tiny_plugin:recognise"},
    "models": {"tiny-model": "tiny_plugin:model"},
    "peers": {"tiny_peer": "tiny_plugin:JUDGE"},
    "rules": {"drop_letter": "tiny_plugin:drop_letter"},
}

POLICY = """
name = "mine"
description = "Drops what a plug-in finds."
[rules.drop_letter]
check = "first_letter"
"""


def lay_package(folder: Path, points: dict[str, dict[str, str]], code: str, name: str = "tiny-plugin") -> None:
    """Lay an installed package into a folder, as pip does."""
    module = name.replace("-", "_")
    information = folder / f"{module}-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    groups = (
        f"[face_curation.{group}]\n" + "".join(f"{key} = {value}\n" for key, value in declared.items())
        for group, declared in points.items()
    )
    (information / "entry_points.txt").write_text("\n".join(groups))
    (folder / f"{module}.py").write_text(code)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the plug-in package is installed."""
    folder = tmp_path / "site"
    lay_package(folder, POINTS, PACKAGE.read_text())
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "tiny_plugin", raising=False)
    return folder


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package whose module cannot be imported."""
    lay_package(tmp_path / "broken", {"checks": {"worse": "bad_plugin:CHECK"}}, "import no_such_module\n", "bad-plugin")
    monkeypatch.syspath_prepend(tmp_path / "broken")


def faces(folder: Path) -> Path:
    """Twelve grey noise images in two classes."""
    from PIL import Image

    rng = np.random.default_rng(3)
    for number in range(12):
        place = folder / ("happy" if number % 2 else "sad") / f"{'ab'[number % 3 == 0]}{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (48, 48), np.uint8)).save(place)
    return folder


def command(plugin: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(plugin), str(Path(__file__).parents[2])])
    line = [sys.executable, "-m", "curation", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": path})


@pytest.mark.slow
def test_a_check_a_rule_and_a_format_of_a_package_serve_every_verb(plugin: Path, tmp_path: Path) -> None:
    data, workspace = faces(tmp_path / "data"), tmp_path / "w"
    (tmp_path / "mine.toml").write_text(POLICY)
    ran = command(plugin, "run", data, "--policy", tmp_path / "mine.toml", "-w", workspace)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(command(plugin, "issues", "--check", "first_letter", "--format", "json", "-w", workspace).stdout)
    assert sorted(Path(row["path"]).name for row in found) == ["b0.png", "b3.png", "b6.png", "b9.png"]
    counted = json.loads(command(plugin, "check", "first_letter", "--json", "-w", workspace).stdout)
    assert counted["checks"][0]["check"] == "first_letter" and counted["checks"][0]["issues"] == 4
    rows = manifest.rows(open_workspace(workspace), manifest.find(open_workspace(workspace), "cleaned"))
    gone = rows[rows["status"] == "excluded"]
    assert set(gone["reason"]) == {"its name begins with b"} and len(gone) == 4
    assert "First letter" in (workspace / "reports" / "cleaning.html").read_text()
    out = tmp_path / "names.txt"
    assert command(plugin, "export", "cleaned", "--format", "names", "-o", out, "-w", workspace).returncode == 0
    assert len(out.read_text().splitlines()) == 8
    # without the package the workspace is as readable as before
    alone = command(tmp_path, "issues", "--check", "first_letter", "--format", "csv", "-w", workspace)
    assert alone.returncode == 0 and alone.stdout.count("first_letter") == 4
    assert "rule 'drop_letter', which no installed package adds" in command(tmp_path, "apply", "-w", workspace).stderr


def test_names_of_a_check_are_known_wherever_names_are(plugin: Path) -> None:
    assert "first_letter" in registry.names() and "first_letter" in registry.every()
    assert registry.names(["zebra"])[-1] == "zebra"
    rule: dict[str, Any] = {"exclude": [{"check": "first_letter", "reason": "r"}]}
    policy.require_checks(policy.Policy(name="p", description="d", **rule), registry.names())


def test_a_layout_of_a_package_is_tried_first(plugin: Path, tmp_path: Path) -> None:
    data = faces(tmp_path / "data")
    (data / "tiny.marker").write_text("")
    listing = read_source(str(data), tmp_path / "cache")
    assert set(listing.frame["label"]) == {"from a plug-in"}


def test_a_model_and_a_peer_of_a_package_can_be_named(plugin: Path) -> None:
    from curation.audit.peers.judges import judges
    from curation.evidence.external_models import open_external
    from curation.labels.opinions import mark

    model = open_external("tiny-model")
    marked = mark("tiny-model")
    assert marked.startswith("tiny-model tiny-plugin 1.0 ")
    (plugin / "tiny_plugin.py").write_text(PACKAGE.read_text() + "\n# another model\n")
    assert mark("tiny-model") != marked, "opinions of edited code are others"
    assert model.predict(np.zeros((3, 8, 8), np.uint8)).tolist() == [[1.0, 0.0]] * 3
    assert judges()["tiny_peer"].checks == {"odd": "first_letter"}


def test_a_package_that_cannot_be_imported_is_one_sentence(broken: None) -> None:
    with pytest.raises(PluginError, match=r"'worse' of the package bad-plugin 1.0 cannot be loaded .*no_such_module"):
        registry.select([])
    assert "worse" in registry.names()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("CHECK = 3", "must be a curation.checks.base.Check"),
        ("CHECK = Check('other', 't', 'e', print)", "of that name"),
        ("CHECK = Check('mine', 't', 'e', lambda inputs: 1 / 0)", r"failed \(ZeroDivisionError"),
        ("CHECK = Check('mine', 't', 'e', lambda inputs: inputs.images)", "of another shape"),
        ("CHECK = Check('mine', 't', 'e', lambda inputs: 3)", "must return a table"),
    ],
)
def test_a_check_that_is_none_or_fails_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, words: str
) -> None:
    from tests.unit.test_checks import NORMAL, inputs

    module = f"wrong_{abs(hash(code))}"
    points = {"checks": {"mine": f"{module}:CHECK"}}
    lay_package(tmp_path, points, f"from curation.checks.base import Check\n{code}\n", module.replace("_", "-"))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(CurationError, match=words):
        registry.run(inputs([*NORMAL]), ["mine"])


def test_two_of_one_name_and_one_of_ours_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_package(tmp_path / "a", {"checks": {"same": "one:C"}, "formats": {"coco": "one:F"}}, "", "one")
    lay_package(tmp_path / "b", {"checks": {"same": "two:C"}}, "", "two")
    monkeypatch.syspath_prepend(tmp_path / "a")
    monkeypatch.syspath_prepend(tmp_path / "b")
    with pytest.raises(PluginError, match="uninstall one of the packages"):
        installed("checks")
    with pytest.raises(PluginError, match="has a name that is taken"):
        find_format("mine")


def test_a_package_in_the_folder_of_the_command_is_never_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_package(tmp_path, {"checks": {"sent": "sent:CHECK"}}, "raise SystemExit('run')", "sent")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert "sent" not in registry.names()


def test_issues_are_made_anew_when_a_package_comes_or_goes(plugin: Path, tmp_path: Path) -> None:
    from curation.base.workspace import create_workspace

    workspace = create_workspace(tmp_path / "w")
    settings, quiet = load(workspace.root / "curate.toml"), Display(quiet=True)
    scanned = steps.scan(workspace, str(faces(tmp_path / "data")), settings, quiet)
    assert "first_letter" in set(steps.check(workspace, scanned, settings, quiet).scored)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [place for place in sys.path if place != str(plugin)])
        assert "first_letter" not in set(steps.check(workspace, scanned, settings, quiet).scored)
        with pytest.raises(CurationError, match="no check 'first_letter'"):
            queries.found_issues(workspace, "first_letter")


def test_issues_are_made_anew_when_the_code_of_a_check_is_edited(
    plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from curation.base.workspace import create_workspace

    workspace = create_workspace(tmp_path / "w")
    settings, quiet = load(workspace.root / "curate.toml"), Display(quiet=True)
    scanned = steps.scan(workspace, str(faces(tmp_path / "data")), settings, quiet)
    flagged = []
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    code = plugin / "tiny_plugin.py"
    for first in "ba":  # the package's version stays
        code.write_text(PACKAGE.read_text().replace('startswith("b")', f'startswith("{first}")'))
        monkeypatch.delitem(sys.modules, "tiny_plugin", raising=False)  # as in the next process
        for cached in (registry._loaded, plugins._loaded):
            cached.cache_clear()
        found = steps.check(workspace, scanned, settings, quiet).of("first_letter")
        flagged.append(int(found["is_issue"].sum()))
    assert sorted(flagged) == [4, 8]
