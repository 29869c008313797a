"""Time limits for calls that may never return, whatever library makes them."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


ANSWER_S = 60.0
"""Seconds within which a server must send an image."""

_MOST_SILENT = 3
"""Images in a row without an answer after which this process does not ask a server again."""

_silent: dict[str, int] = {}


class NoAnswerError(TimeoutError):
    """Something did not answer in time."""


def answered(call: Callable[[], T], seconds: float) -> T:
    """Return what ``call`` returns, or raise what it raises, within a time limit.

    An abandoned call goes on in its own thread, which does not keep the program from ending.

    Raises:
        NoAnswerError: it does not return within ``seconds``.

    """
    outcome: list[Any] = []
    failure: list[BaseException] = []

    def work() -> None:
        try:
            outcome.append(call())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=work, daemon=True, name="waiting")
    thread.start()
    thread.join(seconds)
    if failure:
        raise failure[0]
    if not outcome:
        raise NoAnswerError(errno.ETIMEDOUT, f"no answer within {seconds:g} s")
    result: T = outcome[0]
    return result


def remote_bytes(url: str, limit: int) -> bytes:
    """Return at most ``limit`` bytes of what a URL names, within ``ANSWER_S``.

    Raises:
        NoAnswerError: its server does not answer, or did not for several images in a row.
        Exception: whatever the file system raises.

    """
    import fsspec

    def fetched() -> bytes:
        with fsspec.open(url, "rb") as remote:
            return bytes(remote.read(limit))

    server = "/".join(url.split("/")[:3])
    if _silent.get(server, 0) >= _MOST_SILENT:
        raise NoAnswerError(errno.ETIMEDOUT, f"the server did not answer {_MOST_SILENT} times in a row")
    try:
        data = answered(fetched, ANSWER_S)
    except NoAnswerError:
        _silent[server] = _silent.get(server, 0) + 1
        raise
    _silent.pop(server, None)
    return data
