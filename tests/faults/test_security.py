"""No code from a file is run, nothing is sent or listened to outside this machine, no secret is told."""

from __future__ import annotations

import functools
import http.server
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import programs
from tests.conftest import CURATE, Curate

REPOSITORY = Path(__file__).parents[2]
HOOK = Path(__file__).with_name("hook")
LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
LISTENS = "0A"
"""The state in the kernel's table of sockets."""

PATIENCE_S = 300
"""The App needs 7 s on a quiet machine; a busy one may need many times that."""


# code in files


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, touched: Path) -> None:
        self.touched = touched

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.touched}'",)


@pytest.fixture
def touched(tmp_path: Path) -> Iterator[Path]:
    """The file that malicious code would write; it must not."""
    path = tmp_path / "touched"
    yield path
    assert not path.exists(), "code of a file was run"


def evil_files(folder: Path, touched: Path) -> dict[str, Path]:
    """Write malicious files of every kind that networks come in."""
    torch = pytest.importorskip("torch")
    folder.mkdir()
    torch.save({"weight": Evil(touched)}, folder / "zip.pt")
    torch.save(Evil(touched), folder / "old.pth", _use_new_zipfile_serialization=False)
    for name in ("bare.pt", "disguised.safetensors", "network.onnx"):
        (folder / name).write_bytes(pickle.dumps(Evil(touched)))
    np.save(folder / "array.npy", np.array([Evil(touched)], object), allow_pickle=True)
    np.savez(folder / "arrays.npz", members=np.array([Evil(touched)], object), embedding=np.zeros(1))
    return {path.name: path for path in folder.iterdir()}


def test_what_the_malicious_files_do_where_they_are_trusted(tmp_path: Path) -> None:
    path = tmp_path / "touched"
    pickle.loads(pickle.dumps(Evil(path)))
    assert path.exists(), "the tests below would prove nothing"


def test_code_in_weights_is_never_run(tmp_path: Path, touched: Path) -> None:
    found = evil_files(tmp_path / "evil", touched)
    from training.backbones import WeightsError, read_state

    for name in ("zip.pt", "old.pth", "bare.pt", "disguised.safetensors"):
        with pytest.raises(WeightsError, match="cannot be read") as caught:
            read_state(found[name])
        assert "\n" not in str(caught.value)


def test_code_in_a_checkpoint_or_in_stored_probabilities_is_never_run(tmp_path: Path, touched: Path) -> None:
    found = evil_files(tmp_path / "evil", touched)
    from tests.workflow.test_training_fit import TINY, nothing, samples
    from training.crossval import read_fold
    from training.data import DataError
    from training.fit import CHECKPOINT_FILE, FitError, fit_samples
    from training.held_out import fold_predictions

    for name in ("zip.pt", "bare.pt"):
        run = tmp_path / f"run-{name}"
        run.mkdir()
        (run / CHECKPOINT_FILE).write_bytes(found[name].read_bytes())
        with pytest.raises(FitError, match="cannot be read"):
            fit_samples(samples(20), nothing(), TINY, run, threads=1)
    with pytest.raises(DataError, match="is damaged"):
        read_fold(found["array.npy"])
    (tmp_path / "held-out-0.npz").write_bytes(found["arrays.npz"].read_bytes())
    with pytest.raises(DataError, match="is damaged"):
        fold_predictions(tmp_path, 0, [])


@pytest.mark.slow
def test_the_command_refuses_malicious_weights_in_one_sentence(
    curated: Path, sample: Path, curate: Curate, tmp_path: Path, touched: Path
) -> None:
    found = evil_files(tmp_path / "evil", touched)
    attempts = [
        [
            "train",
            "scratch",
            "--weights",
            found["zip.pt"],
            "--epochs",
            1,
            "--images",
            20,
            "--threads",
            1,
            "-w",
            curated,
        ],
        ["run", sample, "--detector", "yunet", "--detector-weights", found["network.onnx"], "-w", tmp_path / "space"],
    ]
    for arguments in attempts:
        done = curate(*arguments, check=False)
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert done.stderr.strip().splitlines()[-1].startswith("curate: ")


# the network


def offline(notes: Path) -> tuple[list[str], dict[str, str]]:
    """Return what to put before a command, and its environment: no network but loopback, attempts are noted."""
    probe = [sys.executable, str(HOOK / "offline.py")]
    if subprocess.run([*probe, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not allow a network namespace")
    paths = [str(HOOK), str(REPOSITORY)]
    return probe, {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "CURATE_FAULT_SOCKETS": str(notes)}


def test_an_attempt_to_reach_the_outside_is_noted_and_fails(tmp_path: Path) -> None:
    before, environment = offline(tmp_path / "notes")
    code = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)"
    done = subprocess.run([*before, sys.executable, "-c", code], env=environment, capture_output=True, check=False)
    assert done.returncode == 1 and b"unreachable" in done.stderr
    assert "192.0.2.1" in (tmp_path / "notes").read_text()


COMMANDS: tuple[str, ...] = (
    "run {sample}",
    "check dark",
    "apply --policy deck",
    "issues --format csv -o {out}/issues.csv",
    "show cleaned",
    "verify",
    "export cleaned --format folder -o {out}/folder",
    "export cleaned --format croissant -o {out}/croissant",
    "report",
    "card -o {out}/cards",
    "train scratch --epochs 1 --images 40 --threads 1",
    "evaluate scratch",
    "review pull",
)
"""Given one after the other, in a network that has only loopback."""


@pytest.mark.slow
def test_no_main_command_needs_or_seeks_the_network(tmp_path: Path) -> None:
    from curation.audit.synthetic import make_sample

    make_sample(tmp_path / "sample", images=60, seed=7)
    (tmp_path / "out").mkdir()
    notes = tmp_path / "notes"
    before, environment = offline(notes)
    for text in COMMANDS:
        if text.startswith(("train", "evaluate")) and find_spec("lightning") is None:
            continue
        words = text.format(sample=tmp_path / "sample", out=tmp_path / "out").split()
        done = subprocess.run(
            [*before, str(CURATE), *words, "-w", str(tmp_path / "space")],
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, f"{text}: {done.stderr[-2000:]}"
        assert not notes.exists(), f"{text} seeks {notes.read_text()}"


def listening(process: int) -> set[str]:
    """Return the addresses that anything in a process' network listens on; psutil knows our own network only."""
    found = set()
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/{process}/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            if state == LISTENS:
                address = bytes.fromhex(local.partition(":")[0])
                words = [address[n : n + 4][::-1] for n in range(0, len(address), 4)]  # each in the machine's order
                found.add(socket.inet_ntop(family, b"".join(words)) + ":" + str(int(local.partition(":")[2], 16)))
    return found


@pytest.mark.slow
@pytest.mark.skipif("CURATE_TEST_APP" not in os.environ, reason="needs a quiet machine: set CURATE_TEST_APP=1")
@pytest.mark.skipif(find_spec("fiftyone") is None, reason="FiftyOne is not installed")
def test_the_app_and_its_database_listen_on_loopback_only_and_seek_nothing_outside(
    curated: Path, tmp_path: Path
) -> None:
    notes, said = tmp_path / "notes", tmp_path / "said"
    before, environment = offline(notes)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [*before, str(CURATE), "review", "--by", "ann", "--no-browser", "--no-pull", "--port", str(port)]
    with said.open("w") as output:
        running = subprocess.Popen(
            [*command, "-w", str(curated)], env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        waited = time.monotonic() + PATIENCE_S
        while "Open http" not in said.read_text() and running.poll() is None and time.monotonic() < waited:
            time.sleep(0.5)
        assert "Open http" in said.read_text(), said.read_text()
        servers = listening(running.pid)
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(60)
    assert len(servers) >= 2, servers  # the App's server and its database
    assert {place.rpartition(":")[0] for place in servers} <= LOOPBACK, servers
    assert not notes.exists(), notes.read_text()


def test_no_library_reports_to_its_maker() -> None:
    asked_for = {"FIFTYONE_DO_NOT_TRACK": "false", "RAY_USAGE_STATS_ENABLED": "1", "HF_HUB_DISABLE_TELEMETRY": "0"}
    said = json.loads(programs.run("telemetry", environment=asked_for))
    off = said.pop("environment")
    assert off["FIFTYONE_DO_NOT_TRACK"] == "true" and off["RAY_USAGE_STATS_ENABLED"] == "0"
    assert (
        off["SENTRY_OPT_OUT"] == off["FASTDUP_PRODUCTION"] == off["ORT_DISABLE_TELEMETRY"] == off["DO_NOT_TRACK"] == "1"
    )
    assert all(said.values()), said


@pytest.mark.skipif(find_spec("onnxruntime") is None, reason="onnxruntime is not installed")
def test_onnxruntime_knows_the_variable_that_switches_its_telemetry_off() -> None:
    if tuple(map(int, metadata.version("onnxruntime").split(".")[:2])) < (1, 32):
        pytest.skip("an older onnxruntime has no telemetry on Linux")
    spec = find_spec("onnxruntime")
    assert spec is not None and spec.origin is not None
    (library,) = Path(spec.origin).parent.glob("capi/onnxruntime_pybind11_state*.so")
    assert b"ORT_DISABLE_TELEMETRY" in library.read_bytes()


# secrets

SECRET = "hunter2XyZ"


class Guarded(http.server.SimpleHTTPRequestHandler):
    """Serves one folder quietly."""

    def log_message(self, form: str, *arguments: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and where it is served on this machine."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Guarded, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def told(workspace: Path, *said: str) -> list[str]:
    """Return where the secret is found: in what was printed or in any file of the workspace."""
    found = [text for text in said if SECRET in text]
    for path in workspace.rglob("*"):
        if path.is_file() and (SECRET.encode() in path.read_bytes() or SECRET in path.name):
            found.append(str(path))
    return found


@pytest.mark.slow
@pytest.mark.skipif(find_spec("aiohttp") is None, reason="aiohttp is not installed")
def test_the_secrets_of_a_url_are_neither_printed_nor_stored(
    served: tuple[Path, str], sample: Path, curate: Curate, tmp_path: Path
) -> None:
    folder, host = served
    with zipfile.ZipFile(folder / "faces.zip", "w") as archive:
        for path in sorted(sample.rglob("*.jpg"))[:40]:
            archive.write(path, path.relative_to(sample))
    (folder / "other.zip").write_bytes((folder / "faces.zip").read_bytes()[:-30])
    with zipfile.ZipFile(folder / "strange.zip", "w") as archive:
        archive.write(next(sample.rglob("*.jpg")), "strange.jpg")
    workspace = tmp_path / "space"
    url = f"http://ann:{SECRET}@{host}/faces.zip?token={SECRET}"
    runs = [
        curate("run", url, "-w", workspace),
        curate("run", url, "-w", workspace, "--json"),
        curate("run", url.replace("faces", "strange"), "-w", workspace, check=False),
        curate("run", url.replace("faces", "other"), "-w", tmp_path / "other", check=False),
        curate("show", "-w", workspace, "--json"),
        curate("report", "-w", workspace),
        curate("doctor", "-w", workspace, check=False),
    ]
    assert [done.returncode for done in runs[:4]] == [0, 0, 1, 1]
    printed = [done.stdout + done.stderr for done in runs]
    assert f"http://{host}/faces.zip" in (workspace / "workspace.json").read_text()
    assert told(workspace, *printed) == told(tmp_path / "other") == []


@pytest.mark.parametrize(
    "url",
    [
        f"s3://AKIAKEY:{SECRET}/x+y@bucket/faces",
        f"s3://AKIAKEY:{SECRET}@bucket/faces",
        f"https://ann:{SECRET}@127.0.0.1:1/faces.zip",
        f"http://127.0.0.1:1/faces/?token={SECRET}",
        f"nosuch://ann:{SECRET}@host/faces",
        f"memory://ann:{SECRET}@faces/",
        f"zip://faces::http://ann:{SECRET}@127.0.0.1:1/in.zip",
    ],
)
def test_the_secrets_of_a_url_that_fails_are_neither_printed_nor_stored(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from curation.cli import commands

    for name, value in {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["curate", "run", url, "-w", str(tmp_path / "space")])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as caught:
        commands.main()
    printed = capsys.readouterr()
    assert str(caught.value).startswith("curate: ") and "\n" not in str(caught.value)
    assert told(tmp_path / "space", str(caught.value), printed.out, printed.err) == []
