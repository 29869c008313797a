"""Waiting for what may never answer: a call is given up after a time, whatever library makes it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class NoAnswerError(TimeoutError):
    """Something did not answer in time."""


def answered(call: Callable[[], T], seconds: float) -> T:
    """Return what ``call`` returns, or raise what it raises, if it does so in time.

    A call that is given up goes on in a thread of its own, which does not keep the program from ending.

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
        raise NoAnswerError(f"no answer within {seconds:g} s")
    result: T = outcome[0]
    return result
