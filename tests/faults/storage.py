"""A full disk, a read-only workspace, no temporary space and too little memory: one sentence, the workspace as before.

A small tmpfs is the disk; it is mounted by the test itself, which needs root (or a user namespace of one's own).
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from curation.base.workspace import Workspace
from curation.decisions import manifest
from tests.faults import forked
from tests.faults.forked import Ended
from tests.faults.kill import Kept, cleaned_hash, finished

KIB = 1024
MIB = 1024 * KIB


ENOUGH = 2.0
"""Times what a run takes."""


class CannotMountError(RuntimeError):
    """This machine does not let the test mount a file system."""


@contextlib.contextmanager
def disk(place: Path, kib: int) -> Iterator[Path]:
    """Mount a tmpfs of so many KiB at ``place``.

    Raises:
        CannotMountError: that is not allowed here.

    """
    place.mkdir(parents=True, exist_ok=True)
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        raise CannotMountError(made.stderr.strip())
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def remount(place: Path, options: str) -> None:
    """Change a mounted tmpfs: ``ro``, or another ``size=``."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)


def can_mount() -> bool:
    """Tell whether a tmpfs can be mounted here."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        contextlib.suppress(CannotMountError, OSError),
        disk(Path(scratch), 4),
    ):
        return True
    return False


def used_kib(place: Path) -> int:
    """Return the KiB in use on the file system at ``place``."""
    free = os.statvfs(place)
    return (free.f_blocks - free.f_bfree) * free.f_frsize // KIB


def _judge(ended: Ended, faults: list[str], what: str) -> bool:
    """Note what is wrong with how a starved command ended; tell whether it failed, as it should, with a sentence."""
    if not (ended.went_well or ended.said_one_sentence):
        faults.append(f"{what}: {ended.status} {ended.output.strip()[-300:]}")
    return not ended.went_well


def full_disk(sample: Path, curated: Path, scratch: Path, steps: int) -> dict[str, Any]:
    """Run on a disk that fills up at each of some places; then, given room, the same command gives the same result."""
    faults: list[str] = []
    expected = manifest.find(Workspace(curated), "cleaned").hash
    with disk(scratch / "roomy", 64 * KIB) as roomy:
        finished(["run", str(sample), "-w", str(roomy / "space")])
        needed = used_kib(roomy)
    failed = 0
    for step in range(steps):
        size = max(8, needed * step // steps)
        with disk(scratch / f"full-{step}", size) as small:
            kept, workspace = Kept(), Workspace(small / "space")
            failed += _judge(
                forked.curate(["run", str(sample), "-w", str(workspace.root)]), faults, f"run in {size} KiB"
            )
            faults += kept.losses(workspace)
            remount(small, f"size={4 * needed}k")
            finished(["run", str(sample), "-w", str(workspace.root)])
            faults += kept.losses(workspace)
            if cleaned_hash(small) != expected:
                faults.append(f"run in {size} KiB: another result after it")
    small_writes, said = _full_for_small_writes(curated, scratch, faults)
    return {
        "needed_kib": needed,
        "sizes": steps,
        "ended_with_a_sentence": failed + said,
        "small_writes_on_a_full_disk": small_writes,
        "faults": faults,
    }


def _image_of(curated: Path) -> str:
    return str(manifest.rows(Workspace(curated), manifest.find(Workspace(curated), "raw"))["path"][0])


def _writers(curated: Path, workspace: Path) -> list[list[str]]:
    """Return commands that write a little into a curated workspace."""
    option = ["-w", str(workspace)]
    return [
        ["decide", _image_of(curated), "--exclude", *option],
        ["apply", "--policy", "deck", *option],
        ["undo", "v2", *option],
        ["tag", "cleaned", "name", *option],
        ["export", "cleaned", "-o", str(workspace.parent / "out.csv"), *option],
        ["export", "cleaned", "--format", "folder", "-o", str(workspace.parent / "out"), *option],
    ]


def _full_for_small_writes(curated: Path, scratch: Path, faults: list[str]) -> tuple[int, int]:
    """Give every small writer a disk without a free block."""
    with disk(scratch / "brim", 64 * KIB) as brim:
        shutil.copytree(curated, brim / "space")
        remount(brim, f"size={used_kib(brim)}k")
        writers = _writers(curated, brim / "space")
        kept = Kept()
        kept.losses(Workspace(brim / "space"))
        said = 0
        for arguments in writers:
            ended = forked.curate(arguments)
            said += _judge(ended, faults, f"{arguments[0]} on a full disk")
            if ended.went_well:
                faults.append(f"{arguments[0]} on a full disk claims to be done")
            faults += kept.losses(Workspace(brim / "space"))
        left = [str(path) for path in brim.rglob("*.tmp")]
        faults += [f"left on a full disk: {name}" for name in left]
        return len(writers), said


def read_only(sample: Path, curated: Path, scratch: Path) -> dict[str, Any]:
    """Give every command a workspace that cannot be written: readers work, writers end with a sentence."""
    faults: list[str] = []
    with disk(scratch / "read-only", 64 * KIB) as place:
        shutil.copytree(curated, place / "space")
        remount(place, "ro")
        workspace = place / "space"
        writers = [
            ["run", str(sample), "-w", str(workspace)],
            ["report", "-w", str(workspace)],
            *_writers(curated, workspace),
        ]
        for arguments in writers:
            ended = forked.curate(arguments)
            if not ended.said_one_sentence:
                faults.append(f"{arguments[0]}: {ended.status} {ended.output[-300:]}")
        readers = ["show", "versions", "issues", "log", "verify", "explain"]
        for verb in readers:
            ended = forked.curate([verb, *([_image_of(curated)] if verb == "explain" else []), "-w", str(workspace)])
            if not ended.went_well:
                faults.append(f"{verb}: {ended.status} {ended.output[-300:]}")
    return {"writers": len(writers), "readers": len(readers), "faults": faults}


def no_temporary_space(sample: Path, curated: Path, scratch: Path) -> dict[str, Any]:
    """Run where the folder of temporary files is full, and where there is none."""
    faults: list[str] = []
    expected = manifest.find(Workspace(curated), "cleaned").hash
    with disk(scratch / "no-tmp", 4) as place:
        (place / "filler").write_bytes(bytes(used_kib(place)))
        for number, folder in enumerate([place, scratch / "absent"]):
            os.environ["TMPDIR"] = str(folder)
            workspace = scratch / f"tmp-{number}" / "space"
            _judge(forked.curate(["run", str(sample), "-w", str(workspace)]), faults, f"run with TMPDIR {folder.name}")
            del os.environ["TMPDIR"]
            finished(["run", str(sample), "-w", str(workspace)])
            if cleaned_hash(workspace.parent) != expected:
                faults.append("another result after a run without temporary space")
    return {"cases": 2, "faults": faults}


def little_memory(sample: Path, curated: Path, scratch: Path, shares: list[float]) -> dict[str, Any]:
    """Run under limits of the address space (``ulimit -v``), as shares of what an undisturbed run takes.

    Below it: one sentence. With twice as much: the run goes well.
    """
    faults: list[str] = []
    expected = manifest.find(Workspace(curated), "cleaned").hash
    peak = _peak_bytes(sample, scratch)
    failed = 0
    for number, share in enumerate(shares):
        limit = int(peak * share)
        folder = scratch / f"memory-{number}"
        kept, workspace = Kept(), Workspace(folder / "space")
        ended = forked.curate(["run", str(sample), "-w", str(workspace.root)], inside=_limited_to(limit))
        failed += _judge(ended, faults, f"run in {limit // MIB} MiB")
        if share >= ENOUGH and not ended.went_well:
            faults.append(f"run in {limit // MIB} MiB, which is enough: {ended.output.strip()[-300:]}")
        faults += kept.losses(workspace)
        finished(["run", str(sample), "-w", str(workspace.root)])
        faults += kept.losses(workspace)
        if cleaned_hash(folder) != expected:
            faults.append(f"run in {limit // MIB} MiB: another result after it")
    return {"peak_mib": peak // MIB, "limits": len(shares), "ended_with_a_sentence": failed, "faults": faults}


def _limited_to(limit: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _peak_bytes(sample: Path, scratch: Path) -> int:
    """Return the peak address space of an undisturbed run, in bytes."""
    note = scratch / "peak"

    def inside() -> None:
        end = os._exit

        def noted_end(status: int) -> None:
            line = next(text for text in Path("/proc/self/status").read_text().splitlines() if "VmPeak" in text)
            note.write_text(line.split()[1])
            end(status)

        os._exit = noted_end  # type: ignore[assignment]

    ended = forked.curate(["run", str(sample), "-w", str(scratch / "unlimited")], inside=inside)
    assert ended.went_well, ended.output
    return int(note.read_text()) * KIB


def figures(sample: Path, curated: Path, scratch: Path, *, long: bool) -> dict[str, Any]:
    """Return the figures of this part."""
    found: dict[str, Any] = {
        "little_memory": little_memory(sample, curated, scratch, [0.5, 0.7, 0.9, 1.0, ENOUGH] if long else [0.9])
    }
    if not can_mount():
        return found | {"skipped": "a tmpfs cannot be mounted here"}
    return found | {
        "full_disk": full_disk(sample, curated, scratch, 12 if long else 2),
        "read_only": read_only(sample, curated, scratch),
        "no_temporary_space": no_temporary_space(sample, curated, scratch),
    }
