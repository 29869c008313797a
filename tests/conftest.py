"""Shared fixtures: the drawn sample, the real data where it is present, and the command as a user runs it."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.command_server import CommandServer

# examples are the same on every run, and a busy machine is no failure
settings.register_profile("house", deadline=None, derandomize=True)
settings.load_profile("house")

# embedding and learning take longer than most tests; those of it ask for it
os.environ.setdefault("CURATE_EMBED__WHEN", "off")

DATASETS = Path(__file__).parents[2] / "shared" / "datasets"
CURATE = Path(sys.executable).with_name("curate")

Curate = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session", autouse=True)
def no_late_end() -> Iterator[None]:
    """A command that a test calls in its own process would end that process a minute later."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("curation.base.interrupts.limit_exit", lambda status: None)
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, so that no process is left with it at the end."""
    order = ("browser", "faults", "docs", "workflow", "unit")
    items.sort(key=lambda item: order.index(item.path.relative_to(Path(__file__).parent).parts[0]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """Keep half characters out of the reports: they cannot be sent between processes."""
    report = yield
    report.sections = [(name, _whole(text)) for name, text in report.sections]
    if report.failed and _whole(text := str(report.longrepr)) != text:
        report.longrepr = _whole(text)
    return report


def _whole(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@pytest.fixture(scope="session")
def datasets() -> Path:
    """The folder of real data; tests that ask for it are skipped where it is absent."""
    if not DATASETS.is_dir():
        pytest.skip("../shared/datasets is absent")
    return DATASETS


@pytest.fixture(scope="session")
def faces(datasets: Path) -> Path:
    """The 20,214 faces."""
    return datasets / "Facial_emotion_images"


@pytest.fixture(scope="session")
def command_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandServer]:
    """Where ``curate`` is loaded once for all commands."""
    server = CommandServer(tmp_path_factory.mktemp("commands"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def curate(command_server: CommandServer) -> Curate:
    """Run the command in a process of its own; a non-zero exit status fails the test unless ``check=False``."""

    def call(*arguments: object, check: bool = True, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        done = command_server.run([*map(str, arguments)], timeout)
        if check:
            assert done.returncode == 0, f"{done.args} exited {done.returncode}: {done.stderr[-2000:]}"
        return done

    return call


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn sample of about 200 images with its truth table."""
    from curation.audit.synthetic import make_sample

    folder = tmp_path_factory.mktemp("sample") / "sample"
    make_sample(folder, images=200, seed=7)
    return folder


@pytest.fixture(scope="session")
def curated(tmp_path_factory: pytest.TempPathFactory, sample: Path, curate: Curate) -> Path:
    """A workspace in which the sample was curated; tests that change it work on a copy."""
    workspace = tmp_path_factory.mktemp("curated") / "space"
    curate("run", sample, "-w", workspace)
    return workspace


@pytest.fixture(scope="session")
def mongodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A MongoDB of the tests' own on a loopback port: FiftyOne joins any other that this user has running."""
    spec = importlib.util.find_spec("fiftyone")  # not imported: that starts a database
    places = (spec.submodule_search_locations or []) if spec else []
    mongod = next((Path(place) / "db" / "bin" / "mongod" for place in places), Path("no mongod"))
    if not mongod.exists():
        pytest.skip("no mongod beside FiftyOne")
    folder = tmp_path_factory.mktemp("mongo")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(mongod), "--dbpath", str(folder), "--port", str(port), "--bind_ip", "127.0.0.1", "--nounixsocket"]
    with (folder / "log").open("w") as output:
        running = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    yield f"mongodb://127.0.0.1:{port}"
    running.terminate()
    running.wait(60)


def as_json(done: subprocess.CompletedProcess[str]) -> Any:
    """Return what a command printed with --json."""
    return json.loads(done.stdout)
