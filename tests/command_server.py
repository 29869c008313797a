"""``curate`` in real processes without the seconds of imports: each is forked from a server that has imported it all.

A forked command has its own exit status, streams, environment, folder and end of process. Its measuring workers are
forked as well. What is about the start of a process itself is tested with a process started the ordinary way.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NoReturn

_POLL_S = 0.002

_OWN_CHANGES = ("CURATE_", "PYTEST_", "COLUMNS", "TMPDIR")
"""Beginnings of the variables that are read when a command runs, not when a library is loaded."""


class CommandServer:
    """The server, started with the first command; ``close`` ends it."""

    def __init__(self, folder: Path) -> None:
        """Prepare, with ``folder`` for the socket."""
        self._address = str(folder / "commands")
        self._environment = _loaded_from()
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, arguments: list[str], timeout: float) -> subprocess.CompletedProcess[str]:
        """Run ``curate`` with ``arguments``, in this process' environment and folder.

        Raises:
            subprocess.TimeoutExpired: it took longer than ``timeout`` seconds, and was killed.

        """
        if _loaded_from() != self._environment:  # a library was to be loaded under other variables
            command = [sys.executable, "-m", "curation", *arguments]
            return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
        if self._process is None:
            self._process = self._started()
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as line:
            streams = [Path(folder) / name for name in ("out", "err")]
            line.connect(self._address)
            request = [arguments, dict(os.environ), str(Path.cwd()), *map(str, streams), timeout]
            line.sendall(json.dumps(request).encode() + b"\n")
            reply = line.makefile().readline()
            out, err = (stream.read_text(encoding="utf-8", errors="replace") for stream in streams)
        if not reply.strip():
            raise subprocess.TimeoutExpired(arguments, timeout, out, err)
        return subprocess.CompletedProcess(["curate", *arguments], int(reply), out, err)

    def close(self) -> None:
        """End the server."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def _started(self) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # no threads before a fork
        command = [sys.executable, "-m", "tests.command_server", self._address, str(os.getpid())]
        process = subprocess.Popen(command, env=environment, cwd=Path(__file__).parents[1])
        for _ in range(60_000):
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
                probe.connect(self._address)
                return process
            assert process.poll() is None, "the command server ended"
            time.sleep(_POLL_S)
        raise AssertionError("the command server did not start")


def _loaded_from() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_OWN_CHANGES)}


def _serve(address: str, owner: int) -> None:
    """Fork a handler for each connection, until the tests end."""
    _import_all()
    gc.freeze()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    listener.settimeout(5)
    while os.getppid() == owner:
        with contextlib.suppress(ChildProcessError):  # none is left
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        with contextlib.suppress(TimeoutError):
            line, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                line.settimeout(None)
                _handle(line)
            line.close()


def _handle(line: socket.socket) -> None:
    """Be the command, in a process of its own, and report its exit status; nothing when it took too long."""
    request = line.makefile().readline()
    if not request:  # somebody looks whether the server is there
        os._exit(0)
    *what, limit = json.loads(request)
    child = os.fork()
    if child == 0:
        line.close()
        _become(*what)
    until = time.monotonic() + limit
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > until:
            os.killpg(child, signal.SIGKILL)
            os._exit(1)
        time.sleep(_POLL_S)
    line.sendall(b"%d\n" % os.waitstatus_to_exitcode(ended[1]))
    os._exit(0)


def _become(arguments: list[str], environment: dict[str, str], folder: str, out: str, err: str) -> NoReturn:
    """End this process as ``curate`` does: by the ordinary end of the interpreter."""
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for stream, path in enumerate((out, err), start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream)
    sys.argv = ["curate", *arguments]
    tempfile.tempdir = None
    from curation import __main__ as door
    from curation.cli import commands

    sys.modules["__main__"] = commands  # what spawned processes load again
    door.main()
    sys.exit(0)


def _import_all() -> None:
    """Import what the verbs import when they run; a run of a few images loads the compiled kernels."""
    from curation.api import Workspace
    from curation.audit.synthetic import make_sample
    from tests.faults import forked

    training = importlib.util.find_spec("torch") is not None
    forked.preload(training=training)
    if training:
        from torch.utils import tensorboard  # noqa: F401
    multiprocessing.get_context = _forking(multiprocessing.get_context)
    with tempfile.TemporaryDirectory() as folder:
        make_sample(Path(folder) / "sample", images=40, seed=1)
        Workspace(Path(folder) / "space", quiet=True).run(Path(folder) / "sample")


def _forking(ordinary: Any) -> Any:
    return lambda method=None: ordinary("fork" if method == "spawn" else method)


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
