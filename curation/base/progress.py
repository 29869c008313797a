"""The one progress display: a bar a step on a terminal, a line a step where output is piped. On standard error."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator

from curation.base import notebook
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
        """Say something beside the bars, such as how long a step will take."""
        if not self.quiet:
            print(printable(sentence), file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def step(self, title: str, unit: str = "images") -> Iterator[Report]:
        """Show one step while the block runs; the yielded function moves its bar."""
        started = time.monotonic()
        title = printable(title)
        if self.quiet:
            yield lambda done, total: None
        elif notebook.running():
            bar = notebook.Bar(title, unit)
            yield bar.report
            bar.finish(time.monotonic() - started)
        elif sys.stderr.isatty():
            with self._bar(title, unit) as report:
                yield report
        else:
            yield lambda done, total: None
            print(f"{title}: {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)
        logging.getLogger(JOURNAL).info("%s: %.1f s", title, time.monotonic() - started)

    @contextlib.contextmanager
    def _bar(self, title: str, unit: str) -> Iterator[Report]:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
        from rich.progress import TimeRemainingColumn as Remaining

        columns = (
            TextColumn("{task.description:<34}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeElapsedColumn(),
            TextColumn("left"),
            Remaining(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bars:
            task = bars.add_task(title, total=None)

            def report(done: int, total: int) -> None:
                bars.update(task, completed=done, total=total)

            yield report
            known = bars.tasks[task].total
            bars.update(task, completed=known or 1, total=known or 1)
