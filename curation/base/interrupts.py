"""Ctrl-C: one line and exit status 130, whatever the command is at; loaded first, so nothing else is imported here."""

from __future__ import annotations

import os
import signal

STATUS = 130
"""Of a command that was interrupted, as shells have it: 128 and the signal's number."""

_WORDS = b"curate: stopped; the same command goes on from here\n"

_GRACE_S = 1.5
"""Seconds that an interrupted command has to unwind: a person waits about two."""

exit_limit_s = 60.0
"""Seconds from the command's last line to the end of its process: a library may wait there for what has died."""

_said = False


def say() -> None:
    """Say that the command stopped, once."""
    global _said
    if not _said:
        _said = True
        os.write(2, _WORDS)  # the stream may be locked by what was interrupted


def end_at_once(number: int = 0, frame: object = None) -> None:
    """End the command: while it is still being loaded, or has done its work, there is nothing to unwind."""
    say()
    os._exit(STATUS)


def limit_exit(status: int) -> None:
    """End the process with ``status`` should what libraries do at its end take too long."""
    import threading

    end = threading.Timer(exit_limit_s, os._exit, [status])
    end.daemon = True
    end.start()


def unwind(number: int, frame: object) -> None:
    """Unwind, and end at once should that take long; what is committed survives either."""
    import threading

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would tear what the first one unwinds
    end = threading.Timer(_GRACE_S, end_at_once)
    end.daemon = True
    end.start()
    raise KeyboardInterrupt
