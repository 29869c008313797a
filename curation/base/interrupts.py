"""Ctrl-C: one line and exit status 130 at any time; loaded first, so nothing else is imported here."""

from __future__ import annotations

import os
import signal

STATUS = 130
"""Exit status of an interrupted command, by the convention of shells: 128 + the signal's number."""

_WORDS = b"curate: stopped; the same command goes on from here\n"

_GRACE_S = 1.5
"""Seconds that an interrupted command has to unwind: people wait about two."""

exit_limit_s = 60.0
"""Seconds from the end of the command to that of its process: a library may wait for a dead process at exit."""

_said = False


def say() -> None:
    """Report once that the command stopped."""
    global _said
    if not _said:
        _said = True
        os.write(2, _WORDS)  # the interrupted code may hold the stream's lock


def end_at_once(number: int = 0, frame: object = None) -> None:
    """End the command without unwinding, while it is loading or after its work is done."""
    say()
    os._exit(STATUS)


def limit_exit(status: int) -> None:
    """End the process with ``status`` if the exit handlers of libraries take too long."""
    import threading

    end = threading.Timer(exit_limit_s, os._exit, [status])
    end.daemon = True
    end.start()


def unwind(number: int, frame: object) -> None:
    """Unwind, or end at once if that takes too long; committed results survive both."""
    import threading

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would interrupt the unwinding
    end = threading.Timer(_GRACE_S, end_at_once)
    end.daemon = True
    end.start()
    raise KeyboardInterrupt
