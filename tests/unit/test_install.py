"""What stands in the way of an installation is one sentence; a verb without its extra names the command."""

from __future__ import annotations

import ast
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from curation.cli import commands, doctor
from tests import programs

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tools" / "install.py"


@pytest.fixture(scope="module")
def installer() -> Any:
    spec = importlib.util.spec_from_file_location("install", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SAID = {
    "pip: [Errno -3] Temporary failure in name resolution\nERROR: No matching distribution found for numpy": "network",
    "error: Request failed\n  Caused by: error sending request\n  Caused by: client error (Connect)": "network",
    "WARNING: Retrying: 'NewConnectionError(...): Failed to establish a new connection: [Errno 111]'": "network",
    "ProxyError('Cannot connect to proxy.', OSError('Tunnel connection failed: 407'))": "HTTPS_PROXY",
    "SSLError(SSLCertVerificationError(1, 'certificate verify failed: self-signed'))": "certificate",
    "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device": "disk",
    "error: command 'gcc' failed: No such file or directory": "compiler",
    "error: command '/usr/bin/x86_64-linux-gnu-gcc' failed with exit code 1": "compiler",
    "ERROR: No matching distribution found for faiss-cpu>=1.9": "3.12",
}


@pytest.mark.parametrize("said", SAID, ids=[f"{what}-{place}" for place, what in enumerate(SAID.values())])
def test_what_an_installer_says_becomes_a_sentence_with_what_to_do(installer: Any, said: str) -> None:
    advice = installer.cause(said)
    assert advice is not None and SAID[said] in advice and "\n" not in advice and ":" in advice


def test_an_unknown_failure_is_shown_whole(installer: Any) -> None:
    with pytest.raises(installer.InstallError, match=r"status 3:\nnobody knows"):
        installer.run([sys.executable, "-c", "print('nobody knows'); raise SystemExit(3)"])


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_a_registry_that_cannot_be_reached_is_one_sentence(installer: Any, tool: str, tmp_path: Path) -> None:
    command = {"pip": pip_command(), "uv": uv_command(installer)}[tool]
    if command is None:
        pytest.skip(f"{tool} is not installed here")
    options = ["--target", str(tmp_path), "--no-deps", "--index-url", "http://127.0.0.1:9/"]
    with pytest.raises(installer.InstallError, match="the package registry cannot be reached") as caught:
        installer.run([*command, *options, "no-such-package-of-ours"])
    assert "\n" not in str(caught.value)


def pip_command() -> list[str] | None:
    """Return the command that installs by pip, which an environment made by uv has not."""
    if importlib.util.find_spec("pip") is None:
        return None
    return [sys.executable, "-m", "pip", "install", "--retries", "0", "--isolated"]


def uv_command(installer: Any) -> list[str] | None:
    fetched = installer.VENV / "uv" / "bin" / "uv"
    uv = shutil.which("uv") or (str(fetched) if fetched.exists() else None)
    return None if uv is None else [uv, "pip", "install", "--python", sys.executable]


def test_an_old_python_and_a_small_disk_are_refused(installer: Any) -> None:
    with pytest.raises(installer.InstallError, match=r"Python 3\.9 is too old.*PYTHON="):
        installer.require_python((3, 9))
    installer.require_python((3, 11))
    with pytest.raises(installer.InstallError, match=r"1\.0 GB are free.*1\.5 GB are needed"):
        installer.require_room([], 1e9)
    with pytest.raises(installer.InstallError, match=r"7\.5 GB are needed"):
        installer.require_room(["train"], 5e9)
    installer.require_room([], 2e9)


@pytest.mark.parametrize(
    ("fails", "tools"),
    [
        ((), ["venv", "fetch", "uv"]),
        (("uv",), ["venv", "fetch", "uv", "ensurepip", "pip"]),
        (("fetch",), ["venv", "fetch", "ensurepip", "pip"]),
    ],
)
def test_uv_is_fetched_and_pip_installs_where_uv_cannot(
    installer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: tuple[str, ...], tools: list[str]
) -> None:
    given: list[str] = []

    def run(command: list[str]) -> None:
        words = " ".join(command)
        known = {"-m venv": "venv", "--target": "fetch", "bin/uv pip": "uv", "ensurepip": "ensurepip", "-m pip": "pip"}
        given.append(next(tool for part, tool in known.items() if part in words))
        if given[-1] in fails:
            raise installer.InstallError("no")
        for tool, made in (("venv", tmp_path / "bin" / "python"), ("fetch", tmp_path / "uv" / "bin" / "uv")):
            if given[-1] == tool:
                made.parent.mkdir(parents=True)
                made.touch()

    paths = {"VENV": tmp_path, "PYTHON": tmp_path / "bin" / "python", "STAMP": tmp_path / ".installed"}
    for name, value in {**paths, "run": run}.items():
        monkeypatch.setattr(installer, name, value)
    monkeypatch.setattr(installer.shutil, "which", lambda name: None)
    installer.install(["ray"])
    assert given == tools
    assert installer.is_installed(["ray"])


def test_uv_is_told_what_pip_is_told(installer: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", "/one /two")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://index.example/cpu")
    monkeypatch.setenv("UV_EXTRA_INDEX_URL", "https://own.example")
    code = "import os, sys; sys.exit(os.environ['UV_FIND_LINKS'] + ' ' + os.environ['UV_EXTRA_INDEX_URL'])"
    with pytest.raises(installer.InstallError, match=r"/one,/two https://own\.example"):
        installer.run([sys.executable, "-c", code])


def test_an_old_python_can_read_the_installer() -> None:
    ast.parse(SCRIPT.read_text(encoding="utf-8"), feature_version=(3, 6))


def test_what_is_installed_is_not_installed_again_until_the_pins_change(
    installer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installer, "STAMP", tmp_path / "stamp")
    monkeypatch.setattr(installer, "PYTHON", Path(sys.executable))
    assert not installer.is_installed([])
    (tmp_path / "stamp").write_text(f"{installer.wanted_stamp()} ray train")
    assert installer.is_installed([]) and installer.is_installed(["train"]) and not installer.is_installed(["review"])
    (tmp_path / "stamp").write_text("other ray train")
    assert not installer.is_installed([])


def modules_of_extras() -> list[str]:
    listed = [module for modules, _ in doctor.EXTRAS.values() for module in modules]
    return sorted({*listed, *(module for modules in doctor._ALSO.values() for module in modules)})


@pytest.mark.parametrize("module", modules_of_extras())
def test_a_verb_whose_extra_is_absent_ends_with_the_command_that_installs_it(module: str) -> None:
    with pytest.raises(SystemExit) as ended:
        commands.explain_missing(ModuleNotFoundError(f"No module named '{module}'", name=f"{module}.part"))
    said = str(ended.value)
    assert commands.OWN_FAULT not in said and "\n" not in said
    (extra,) = re.findall(r"pip install 'face-curation\[(\w+)\]' \(in a clone: make setup EXTRAS=\1\)", said)
    assert module in doctor.EXTRAS[extra][0] or module in doctor._ALSO[extra]


def test_a_module_that_no_extra_brings_is_a_fault_of_ours() -> None:
    with pytest.raises(SystemExit, match=commands.OWN_FAULT):
        try:
            raise ModuleNotFoundError("No module named 'nowhere'", name="nowhere")
        except ModuleNotFoundError as error:
            commands.explain_missing(error)


VERBS = [
    "train fast --on cleaned",
    "train --show-augmentation",
    "crossval fast --on raw",
    "ladder vgg16",
    "evaluate fast",
    "predict fast face.jpg",
    "check mislabelled --labels fast",
    "compare raw cleaned",
    "export-model fast -o model.onnx",
]


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_on_models_says_so_without_torch(verb: str, curated: Path) -> None:
    command = programs.command("curate_without_torch", *verb.split(), "-w", curated)
    done = subprocess.run(command, cwd=curated.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "face-curation[train]" in last and commands.OWN_FAULT not in last
