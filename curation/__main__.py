"""The door of ``curate`` and ``python -m curation``: Ctrl-C is answered before what takes long to load is loaded."""

from __future__ import annotations

import signal

from curation.base.interrupts import end_at_once


def main() -> None:
    """Run the command."""
    signal.signal(signal.SIGINT, end_at_once)
    from curation.cli import commands

    commands.main()


if __name__ == "__main__":
    main()
