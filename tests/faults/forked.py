"""The command in a forked process: a real process that can be killed, starved and hung, without the seconds of imports.

Only for programs that import but do not compute (threads of libraries do not survive a fork): the suite's own parts,
each run as ``python -m tests.faults.suite PART``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.cli import commands

LIMIT_S = 300.0
"""A command that takes longer hangs."""

_CHANGES = {"os.rename", "os.link", "os.symlink", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}
_POLL_S = 0.002


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit status (negative: the signal that killed it), what it printed, wall seconds, whether
    it had to be killed after ``LIMIT_S``, seconds since it was sent a signal (None: it was not), its process number."""

    status: int
    output: str
    seconds: float
    hung: bool = False
    after_signal_s: float | None = None
    process: int = 0

    @property
    def said_one_sentence(self) -> bool:
        """Whether it failed as a command should: status 1 or 2, a last line of its own, no traceback."""
        last = (self.output.strip().splitlines() or [""])[-1]
        own = last.startswith("curate: ") or self.status == 2 or (self.status == 1 and bool(last))
        return self.status in (1, 2) and own and "Traceback" not in self.output

    @property
    def went_well(self) -> bool:
        """Whether it did what was asked."""
        return self.status == 0 and "Traceback" not in self.output


class WriteWatch:
    """Counts a process' writes below a folder, and kills the process just before the n-th (0: never)."""

    def __init__(self, folder: Path, die_at: int = 0) -> None:
        self.folder, self.die_at = str(folder), die_at
        self._count = os.memfd_create("writes")

    def start(self) -> None:
        """Watch from now on; called in the process itself."""
        seen = 0

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal seen
            if self._is_write(event, arguments):
                seen += 1
                os.pwrite(self._count, seen.to_bytes(8, "little"), 0)
                if seen == self.die_at:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)

    def count(self) -> int:
        """Return how many writes there were."""
        return int.from_bytes(os.pread(self._count, 8, 0), "little")

    def _is_write(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if event == "open":
            path, _, flags = arguments
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
            return bool(writes) and not isinstance(path, int) and os.fsdecode(path).startswith(self.folder)
        return event in _CHANGES and any(str(argument).startswith(self.folder) for argument in arguments[:2])


def curate(
    arguments: list[str],
    *,
    inside: Callable[[], object] = lambda: None,
    kill_after_s: float | None = None,
    signal_number: int = signal.SIGKILL,
    whole_group: bool = False,
    limit_s: float = LIMIT_S,
) -> Ended:
    """Run the command and return how it ended.

    Args:
        arguments: of ``curate``
        inside: called in the process before the command begins
        kill_after_s: when to send the signal, None for never
        signal_number: what to send then
        whole_group: send it to the workers too, as a terminal does
        limit_s: when to give it up as hung

    """
    sys.stdout.flush()
    with tempfile.TemporaryFile() as output:
        ready, tell = os.pipe()
        child = os.fork()
        if child == 0:
            os.setsid()
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # until the command answers it
            os.close(ready)
            os.close(tell)
            _be_the_command(arguments, output.fileno(), inside)
        os.close(tell)
        os.read(ready, 1)  # returns when the child has closed its end
        os.close(ready)
        started = time.monotonic()
        sent: float | None = None
        hung = False
        while True:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                break
            spent = time.monotonic() - started
            if kill_after_s is not None and sent is None and spent >= kill_after_s:
                (os.killpg if whole_group else os.kill)(child, signal_number)
                sent = time.monotonic()
            if spent > limit_s:
                hung = True
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                break
            time.sleep(_POLL_S)
        over = time.monotonic()
        output.seek(0)
        text = output.read().decode("utf-8", errors="replace")
    code = -signal.SIGKILL if hung else os.waitstatus_to_exitcode(status)
    return Ended(code, text, over - started, hung, None if sent is None else over - sent, child)


def _be_the_command(arguments: list[str], output: int, inside: Callable[[], object]) -> None:
    """End this forked process as ``curate`` would."""
    status = 70
    try:
        for standard in (1, 2):
            os.dup2(output, standard)
        sys.argv = ["curate", *arguments]
        inside()
        status = _status_of_main()
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _status_of_main() -> int:
    sys.modules["__main__"] = commands  # what spawned workers load again
    try:
        commands.main()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    return 0


def preload(*, training: bool = False) -> None:
    """Import what the commands need, so that each fork has it."""
    from curation import measure  # noqa: F401
    from curation.base.pools import local  # noqa: F401
    from curation.checks import registry  # noqa: F401
    from curation.checks.duplicates import find  # noqa: F401
    from curation.checks.duplicates.kernels import load
    from curation.formats import (  # noqa: F401
        coco,
        croissant,
        huggingface,
        image_folder,
        manifest_table,
        source,
        webdataset,
    )
    from reports import cleaning_page  # noqa: F401

    load.entry("screen")
    if training:
        from training import crossval, fit  # noqa: F401
