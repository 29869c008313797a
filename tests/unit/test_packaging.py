"""The wheel holds what the code reads at run time, and the extras hang together."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.slow
def test_the_wheel_holds_every_file_that_the_packages_read(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path]
    for package in ("curation", "training", "reports"):
        subprocess.run(["cp", "-r", ROOT / package, tmp_path / package], check=True)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        (tmp_path / file).write_bytes((ROOT / file).read_bytes())
    subprocess.run([*map(str, command), "."], cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = [
        path.relative_to(ROOT).as_posix()
        for package in ("curation", "training", "reports")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    assert sorted(set(wanted) - held) == []
    assert not any(name.startswith("tests") for name in held)


def test_all_is_every_extra_that_a_user_wants() -> None:
    extras = PROJECT["optional-dependencies"]
    named = set(re.findall(r"[\w-]+", extras["all"][0].partition("[")[2]))
    assert named == set(extras) - {"all", "dev", "docs"}


def test_the_two_builds_of_opencv_which_write_one_folder_are_of_one_generation() -> None:
    wanted = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["faces"]]
    ranges = {name.partition(">=")[0]: name.partition(">=")[2] for name in wanted if name.startswith("opencv")}
    assert set(ranges) == {"opencv-python", "opencv-python-headless"} and len(set(ranges.values())) == 1
    pinned = re.findall(r"^opencv-python(?:-headless)?==(.*)$", (ROOT / "constraints.txt").read_text(), flags=re.M)
    assert len(pinned) == 2 and len(set(pinned)) == 1


def test_the_doctor_knows_every_extra() -> None:
    from curation.cli.doctor import EXTRAS

    assert set(EXTRAS) == set(PROJECT["optional-dependencies"]) - {"all", "dev", "docs"}


def test_the_dockerfile_is_lint_free() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint is not installed")
    done = subprocess.run([hadolint, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_no_file_of_the_packages_is_ignored_by_git() -> None:
    # a build folder's name in .gitignore once kept the plugin's script out of every clone but the author's
    command = ["git", "ls-files", "--others", "--ignored", "--exclude-standard", "curation", "training", "reports"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("not a clone")
    assert [name for name in done.stdout.splitlines() if "__pycache__" not in name] == []


def test_the_plugin_holds_the_script_that_it_names() -> None:
    plugin = ROOT / "curation" / "review" / "plugin"
    script = json.loads((plugin / "package.json").read_text(encoding="utf-8"))["fiftyone"]["script"]
    assert (plugin / script).is_file()


def test_every_main_dependency_has_a_lowest_version_that_ours_is_not_below() -> None:
    from importlib import metadata

    from tests.lowest import lowest

    bounds = dict(entry.split("==") for entry in lowest((ROOT / "pyproject.toml").read_text(encoding="utf-8")))
    assert len(bounds) == len(PROJECT["dependencies"])
    for name, bound in bounds.items():
        have, least = (re.findall(r"\d+", text) for text in (metadata.version(name), bound))
        assert [int(part) for part in have] >= [int(part) for part in least], name


def test_an_audit_that_reached_no_service_is_no_all_clear() -> None:
    from tests.audit_deps import judged

    vulnerable = {"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1"}]}
    unknown = {"name": "b", "skip_reason": "not found"}
    assert judged({"dependencies": [unknown]}) == {
        "audited": 0,
        "not_known_to_the_service": ["b"],
        "vulnerable": {},
    }
    found = judged({"dependencies": [vulnerable, unknown, {"name": "c", "version": "2", "vulns": []}]})
    assert (found["audited"], found["vulnerable"]) == (2, {"a 1": ["PYSEC-1"]})
