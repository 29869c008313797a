"""Trust: nothing overwritten, nothing stale, nothing let in, no hang, no traceback, no wrong advice.

Each group gives the command cases of one kind; what is drawn for a case is whole again for the next.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults.trust import arguments, damage, hangs, journals, let_in, models, overwriting, stale, words
from tests.faults.trust.base import Home, Tally

GROUPS: dict[str, Callable[..., None]] = {
    "overwriting": overwriting.run,
    "stale": stale.run,
    "let in": let_in.run,
    "hangs": hangs.run,
    "damage": damage.run,
    "journals": journals.run,
    "words": words.run,
    "arguments": arguments.run,
    "arguments of models": partial(arguments.run, slow=True),
    "models": models.run,
}

OF_MODELS = frozenset({"arguments of models", "models"})

SHORT = {"overwriting": 47, "let in": 29, "hangs": 37, "damage": 79, "journals": 73, "words": 19, "arguments": 211}
"""In the short form every n-th case of a group, of those that take no framework of networks."""


def figures(sample: Path, scratch: Path, *, long: bool, only: str = "") -> dict[str, Any]:
    """Return the figures of this part: cases and faults by kind, and the seconds of each group."""
    tally, seconds = Tally(), {}
    home = Home(scratch / "trust", tally, sample)
    for name, run in GROUPS.items():
        if (only and name != only) or (not long and name not in SHORT):
            continue
        if name in OF_MODELS and importlib.util.find_spec("lightning") is None:
            continue
        started = time.monotonic()
        home.mend()
        if name in ("damage", "words"):
            damage.lay_down(home)
        home.remember()
        run(home, every=1 if long else SHORT[name])
        home.forget()
        seconds[name] = round(time.monotonic() - started, 1)
    return {**tally.record(), "seconds_of": seconds}
