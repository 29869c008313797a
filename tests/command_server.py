"""``curate`` in real processes without the seconds of imports: each is forked from a server that has imported it all.

A forked command has its own exit status, streams, environment, folder and end of process. Its measuring workers are
spawned as a user's are: a command has threads, and what is forked from threads may wait for ever. What is about the
start of a process itself is tested with a process started the ordinary way.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib.util
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import NoReturn

_POLL_S = 0.002

_READ_AT_IMPORT = ("HF_", "HOME", "KAGGLE", "FIFTYONE_", "PYTHON", "TORCH_HOME", "XDG_")
"""Beginnings of the variables that libraries read when they are loaded; all others are read when a command runs."""


_ASKING = """import json, os, socket, sys
line = socket.socket(socket.AF_UNIX)
line.connect("ADDRESS")
streams = [f"/proc/{os.getpid()}/fd/{stream}" for stream in (1, 2)]
line.sendall(json.dumps([sys.argv[1:], dict(os.environ), os.getcwd(), *streams]).encode() + b"\\n")
sys.exit(int(line.makefile().readlines()[1]))
"""
"""A program that has the server run ``curate`` with its own arguments, environment, folder and streams."""


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
        if _loaded_from() != self._environment or not hasattr(os, "pidfd_open"):
            # a library is to be loaded under other variables, or this is no Linux
            command = [sys.executable, "-m", "curation", *arguments]
            return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
        if self._process is None:
            self._process = self._started()
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as line:
            streams = [Path(folder) / name for name in ("out", "err")]
            line.connect(self._address)
            line.sendall(
                json.dumps([arguments, dict(os.environ), str(Path.cwd()), *map(str, streams)]).encode() + b"\n"
            )
            replies = line.makefile()
            process = int(replies.readline())
            line.settimeout(timeout)
            try:
                status = int(replies.readline())
            except TimeoutError:
                os.killpg(process, signal.SIGKILL)
                raise subprocess.TimeoutExpired(arguments, timeout) from None
            out, err = (stream.read_text(encoding="utf-8", errors="replace") for stream in streams)
        return subprocess.CompletedProcess(["curate", *arguments], status, out, err)

    def on_path(self, folder: Path) -> Path:
        """Return a folder with a ``curate`` for scripts, that asks the server."""
        if self._process is None:
            self._process = self._started()
        program = folder / "curate"
        program.write_text(f"#!{sys.executable} -IS\n{_ASKING.replace('ADDRESS', self._address)}", encoding="utf-8")
        program.chmod(0o755)
        return folder

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
    return {name: value for name, value in os.environ.items() if name.startswith(_READ_AT_IMPORT)}


def _serve(address: str, owner: int) -> None:
    """Fork a process for each request, until the tests end; reply its number, and its exit status when it ends."""
    _import_all()
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listener, selectors.DefaultSelector() as ready:
        listener.bind(address)
        listener.listen()
        ready.register(listener, selectors.EVENT_READ)
        while os.getppid() == owner:
            for key, _ in ready.select(timeout=5):
                if key.fileobj is listener:
                    line, _ = listener.accept()
                    if process := _started_for(line, ready):
                        ready.register(os.pidfd_open(process), selectors.EVENT_READ, (process, line))
                    continue
                ready.unregister(key.fileobj)
                os.close(key.fd)
                process, line = key.data
                with line, contextlib.suppress(OSError):  # nobody waits any more for what took too long
                    line.sendall(b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))


def _started_for(line: socket.socket, ready: selectors.BaseSelector) -> int:
    """Read a request and fork its process; return the process' number, 0 where somebody only looked."""
    request = line.makefile().readline()
    if not request:
        line.close()
        return 0
    process = os.fork()
    if process == 0:
        ready.close()
        _become(*json.loads(request))
    line.sendall(b"%d\n" % process)
    return process


def _become(arguments: list[str], environment: dict[str, str], folder: str, out: str, err: str) -> NoReturn:
    """Be ``curate`` in this process, to its end: threads are waited for, and what is to be done at the end is done."""
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for stream, path in enumerate((out, err), start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream)
    sys.stdout, sys.stderr = (os.fdopen(stream, "w", closefd=False) for stream in (1, 2))  # a pipe, where it was a file
    sys.argv = ["curate", *arguments]
    tempfile.tempdir = None
    from curation import __main__ as door
    from curation.cli import commands

    sys.modules["__main__"] = commands  # what spawned processes load again
    status: object = 0
    try:
        door.main()
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
        status = 1
    if status is not None and not isinstance(status, int):
        print(status, file=sys.stderr)
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(int(status or 0))  # what the interpreter does beyond that writes to every page it shares with the server


def _import_all() -> None:
    """Import what the verbs import when they run; a run of a few images loads the compiled kernels."""
    from curation.api import Workspace
    from curation.audit.synthetic import make_sample
    from tests.faults import forked

    training = importlib.util.find_spec("torch") is not None
    forked.preload(training=training)
    if training:
        from torch.utils import tensorboard  # noqa: F401
    with tempfile.TemporaryDirectory() as folder:
        make_sample(Path(folder) / "sample", images=40, seed=1)
        Workspace(Path(folder) / "space", quiet=True).run(Path(folder) / "sample")


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
