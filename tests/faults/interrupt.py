"""Ctrl-C at any moment: the command and its workers end within two seconds, and the same command goes on from there."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curation.base.workspace import Workspace
from tests.faults import forked
from tests.faults.kill import SEED, Kept, Stage, act

LIMIT_S = 2.0
"""A person waits no longer for a command to end."""

ORPHANS_S = 5.0
"""Workers notice the end of their pipe a moment after the command has ended."""


_STARTED_S = 0.1
"""By then the process is the command."""


def _family_is_gone(group: int) -> bool:
    deadline = time.monotonic() + ORPHANS_S
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    os.killpg(group, signal.SIGKILL)
    return False


def _interrupted(stage: Stage, after_s: float) -> tuple[float | None, list[str]]:
    """Interrupt the command once; return how long it took to end (None: it had ended before) and what is wrong."""
    folder, kept = stage.folder(), Kept()
    kept.losses(Workspace(folder / "space"))
    ended = forked.curate(
        stage.act.arguments(folder),
        kill_after_s=max(after_s, _STARTED_S),
        signal_number=signal.SIGINT,
        whole_group=True,
    )
    faults = []
    spent = ended.after_signal_s
    if ended.status == 0 or spent is None:
        spent = None
    else:
        if ended.status != 128 + signal.SIGINT or "Traceback" in ended.output:
            faults.append(f"ended with {ended.status}: {ended.output[-500:]}")
        if spent > LIMIT_S:
            faults.append(f"took {spent:.1f} s to end")
    if not _family_is_gone(ended.process):
        faults.append("a worker outlived the command")
    faults += kept.losses(Workspace(folder / "space"))
    return spent, faults + stage.ended(folder, kept)


def campaign(sample: Path, curated: Path, scratch: Path, interrupts: Mapping[str, int]) -> dict[str, Any]:
    """Interrupt each named command so many times, spread over the length of an undisturbed run."""
    rng = random.Random(SEED)
    rows = []
    for name, number in interrupts.items():
        stage = Stage(act(name), sample, curated, scratch)
        faults: list[str] = []
        took: list[float] = []
        for place in range(number):
            spent, found = _interrupted(stage, stage.seconds * (place + rng.random()) / number)
            faults += found
            took += [] if spent is None else [spent]
        rows.append(
            {
                "command": name,
                "interrupts": number,
                "hit_while_running": len(took),
                "slowest_end_s": round(max(took, default=0.0), 2),
                "faults": faults,
            }
        )
    return {
        "interrupts": sum(row["interrupts"] for row in rows),
        "hit_while_running": sum(row["hit_while_running"] for row in rows),
        "slowest_end_s": max(row["slowest_end_s"] for row in rows),
        "commands": rows,
    }
