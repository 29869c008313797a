"""Several processes on one workspace: no decision is lost, readers see whole states, dead owners hold no lock."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import time
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from typing import Any

from curation.base.errors import WorkspaceError
from curation.base.workspace import Workspace, create_workspace, locked
from curation.decisions import log, manifest
from tests.faults import forked
from tests.faults.kill import _image

WRITERS = 2
SEED = 11
JITTER_S = 0.002
"""A writer of a round starts up to so much later than the other."""

PATIENCE_S = 60.0


def _write_rounds(root: str, name: str, rounds: int, start: Barrier, seed: int) -> None:
    """Append one decision a round, each in its own batch, from the moment at which all writers are let go."""
    workspace, rng = Workspace(Path(root)), random.Random(seed)
    for number in range(rounds):
        start.wait(PATIENCE_S)
        time.sleep(rng.random() * JITTER_S)
        with locked(workspace, PATIENCE_S):
            log.Log(workspace.decisions).append(f"person:{name}", [log.Draft(f"{name}-{number}", "keep")])


def _read_on(root: str, over: Event, answers: Any) -> None:
    """Read the log without a lock until told to stop; answer how often, and what was not a prefix of what follows."""
    path = Workspace(Path(root)).decisions
    before: list[log.Entry] = []
    reads = torn = 0
    while not over.is_set():
        try:
            entries = log.entries_of(log.Log(path).table)
        except log.LogError:
            torn += 1
            continue
        torn += entries[: len(before)] != before
        before, reads = entries, reads + 1
    answers.put((reads, torn))


def interleavings(scratch: Path, rounds: int) -> dict[str, Any]:
    """Let two processes append at the same moment, ``rounds`` times, while a third reads."""
    workspace = create_workspace(scratch / "interleaved")
    context = multiprocessing.get_context("fork")
    start, over, answers = context.Barrier(WRITERS), context.Event(), context.Queue()
    root = str(workspace.root)
    writers = [
        context.Process(target=_write_rounds, args=(root, f"w{n}", rounds, start, SEED + n)) for n in range(WRITERS)
    ]
    reader = context.Process(target=_read_on, args=(root, over, answers))
    for process in (*writers, reader):
        process.start()
    for process in writers:
        process.join()
    over.set()
    reads, torn = answers.get(timeout=PATIENCE_S)
    reader.join()
    entries = log.entries_of(log.Log(workspace.decisions).table)
    written = {f"w{n}-{number}" for n in range(WRITERS) for number in range(rounds)}
    whole = sum(
        all(
            f"w{n}-{number}" in {entry.path for entry in entries[WRITERS * number : WRITERS * (number + 1)]}
            for n in range(WRITERS)
        )
        for number in range(rounds)
    )
    lost = len(written - {entry.path for entry in entries})
    return {
        "rounds": rounds,
        "rounds_with_both_decisions": whole,
        "decisions_lost": lost,
        "decisions_twice": len(entries) - len({entry.path for entry in entries}),
        "reads_meanwhile": reads,
        "torn_reads": torn,
        "writers_failed": sum(process.exitcode != 0 for process in writers),
    }


def commands_at_once(curated: Path, scratch: Path, rounds: int) -> dict[str, Any]:
    """Give two ``curate decide`` at the same moment while ``verify`` reads; the last version must hold both."""
    folder = scratch / "at-once"
    shutil.copytree(curated, folder / "space")
    workspace = Workspace(folder / "space")
    lost = bad_reads = failed = 0
    for number in range(rounds):
        images = [_image(folder, 2 * number), _image(folder, 2 * number + 1)]
        children = [_started(["decide", image, "--exclude", "-w", str(workspace.root)]) for image in images]
        problems = manifest.verify(workspace)
        bad_reads += bool(problems)
        failed += sum(os.waitpid(child, 0)[1] != 0 for child in children)
        rows = manifest.rows(workspace, manifest.find(workspace, "cleaned")).set_index("path")
        lost += sum(rows.loc[image, "status"] != "excluded" for image in images)
    return {"rounds": rounds, "decisions_lost": lost, "commands_failed": failed, "bad_reads": bad_reads}


def _started(arguments: list[str]) -> int:
    child = os.fork()
    if child == 0:
        os._exit(forked.curate(arguments).status != 0)
    return child


def locks(scratch: Path) -> dict[str, Any]:
    """A held lock names its owner; that of a killed owner is free at once."""
    workspace = create_workspace(scratch / "locked")
    holder = multiprocessing.get_context("fork").Process(target=_hold, args=(str(workspace.root),))
    holder.start()
    deadline = time.monotonic() + PATIENCE_S
    while not (workspace.root / ".lock-owner").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    said = ""
    try:
        with locked(workspace, 0.05):
            pass
    except WorkspaceError as error:
        said = str(error)
    os.kill(holder.pid or 0, signal.SIGKILL)
    holder.join()
    started = time.monotonic()
    with locked(workspace, 10.0):
        waited = time.monotonic() - started
    return {"owner_named": f"process {holder.pid} on" in said, "recovered_after_s": round(waited, 3)}


def _hold(root: str) -> None:
    with locked(Workspace(Path(root))):
        time.sleep(PATIENCE_S)


def figures(curated: Path, scratch: Path, *, long: bool) -> dict[str, Any]:
    """Return the figures of this part."""
    return {
        "interleavings": interleavings(scratch, 1000 if long else 100),
        "commands": commands_at_once(curated, scratch, 10 if long else 1),
        "locks": locks(scratch),
    }
