"""The progress display: a bar per step on a terminal and in a notebook, a line per step if output is piped.

It uses standard error and Rich, whose bars in a notebook are widgets (``ipywidgets``).
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import sys
import time
from collections.abc import Callable, Iterator

from curation.base.text import printable

JOURNAL = "curate"
"""The logger whose lines ``workspace.locked`` writes to the workspace's log file."""

Report = Callable[[int, int], None]
"""Called with (done, total) as work advances."""


class Display:
    """Shows the steps of a command; ``quiet`` shows nothing."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet

    def note(self, sentence: str) -> None:
        """Print a sentence beside the bars, such as how long a step will take."""
        if not self.quiet:
            print(printable(sentence), file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def step(self, title: str, unit: str = "images") -> Iterator[Report]:
        """Show one step while the block runs; the yielded function moves its bar."""
        started = time.monotonic()
        title = printable(title)
        if self.quiet:
            yield lambda done, total: None
        elif sys.stderr.isatty() or _in_notebook():
            with self._bar(title, unit) as report:
                yield report
        else:
            yield lambda done, total: None
            print(f"{title}: {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)
        logging.getLogger(JOURNAL).info("%s: %.1f s", title, time.monotonic() - started)

    @contextlib.contextmanager
    def _bar(self, title: str, unit: str) -> Iterator[Report]:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = (  # a name in a title is not markup
            TextColumn("{task.description:<34}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bars:
            task = bars.add_task(title, total=None, count="", left="")

            def report(done: int, total: int) -> None:
                # a step that never reports has no count
                bars.update(task, completed=done, total=total, count=f"{done:,} of {total:,} {unit}", left="left")

            yield report
            known = bars.tasks[task].total
            bars.update(task, completed=known or 1, total=known or 1, left="")


def _in_notebook() -> bool:
    """Return whether this is a notebook's kernel that can show Rich's bars."""
    if "IPython" not in sys.modules:
        return False
    from rich.console import Console

    return Console().is_jupyter and importlib.util.find_spec("ipywidgets") is not None
