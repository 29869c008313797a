"""Many images: memory hardly grows, time grows linearly, progress and the time left are honest.

As a program (DATA WORKSPACE NOTES) it curates a folder and notes every step of the progress display.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from curation.base.progress import Display, Report

SIDE = 24
"""px: the pictures are small because their number is what is tested."""

CLASSES = ("happy", "neutral", "sad", "surprise")
SEED = 13

MOST_EXPONENT = 1.25
"""CPU time may grow with this power of the number of images: a little above 1 for sorting and searching."""

MOST_BYTES_AN_IMAGE = 6_000
"""Memory that a further image may take: its rows in the tables that are joined (about 60 values of 8 bytes, and its
issues' evidence as text), not its pixels."""

HONEST = (0.5, 2.0)
"""Between these the share of the announced to the true time left counts as honest, half-way through a step."""

WORTH_S = 10.0
"""Steps shorter than this need no announcement."""


def make_images(folder: Path, count: int) -> None:
    """Write so many pictures with pixels of their own, in split and class folders."""
    import numpy as np
    import simplejpeg

    rng = np.random.default_rng(SEED)
    y, x = np.mgrid[0 : 1 : SIDE * 1j, 0 : 1 : SIDE * 1j]
    for number in range(count):
        waves, phase = rng.uniform(0.5, 4, 4), rng.uniform(0, 7, 2)
        smooth = np.sin(waves[0] * 6 * x + waves[1] * 6 * y + phase[0]) + np.cos(waves[2] * 6 * x - waves[3] * 6 * y)
        levels = (128 + 45 * smooth + rng.normal(0, 12, smooth.shape)).clip(0, 255).astype(np.uint8)
        place = folder / ("validation" if number // len(CLASSES) % 4 == 0 else "train") / CLASSES[number % len(CLASSES)]
        if number < 4 * len(CLASSES):
            place.mkdir(parents=True, exist_ok=True)
        data = simplejpeg.encode_jpeg(levels[:, :, None], quality=90, colorspace="GRAY")
        (place / f"{number:07d}.jpg").write_bytes(data)


class Noted(Display):
    """Writes down what a progress bar would show."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.steps: list[dict[str, Any]] = []

    @contextlib.contextmanager
    def step(self, title: str, unit: str = "images") -> Iterator[Report]:
        """Note one step."""
        started = time.monotonic()
        told: list[tuple[float, int, int]] = []
        yield lambda done, total: told.append((time.monotonic() - started, done, total))
        self.steps.append({"step": title, "seconds": time.monotonic() - started, "told": told})


def judged(step: dict[str, Any]) -> dict[str, Any]:
    """Return what is wrong with one step's progress, and the announced by the true time left half-way."""
    told = step["told"]
    found: dict[str, Any] = {"step": step["step"], "seconds": round(step["seconds"], 1), "reports": len(told)}
    if not told:
        return found
    faults = []
    if any(after[1] < before[1] for before, after in itertools.pairwise(told)):
        faults.append("progress went back")
    if any(done > total for _, done, total in told) or told[-1][1] != told[-1][2]:
        faults.append("progress does not end at its total")
    halfway = next((entry for entry in told if 0.5 <= entry[1] / max(1, entry[2]) < 1), None)
    if halfway is not None and step["seconds"] >= WORTH_S:
        elapsed, done, total = halfway
        share = (elapsed * (total - done) / done) / max(1e-9, step["seconds"] - elapsed)
        found["announced_by_true_time_left"] = round(share, 2)
        if not HONEST[0] <= share <= HONEST[1]:
            faults.append(f"half-way it announces {share:.1f} times the time that is left")
    return found | {"faults": faults}


def figures(scratch: Path, sizes: Sequence[int]) -> dict[str, Any]:
    """Curate each number of images in a process of its own and compare what they cost."""
    from tests.benchmarks.cost import measured

    rows: list[dict[str, Any]] = []
    for size in sizes:
        folder = scratch / f"images-{size}"
        make_images(folder, size)
        notes = scratch / f"notes-{size}.json"
        command = [
            sys.executable,
            "-m",
            "tests.faults.long_run",
            str(folder),
            str(scratch / f"space-{size}"),
            str(notes),
        ]
        cost, _ = measured(command)
        steps = [judged(step) for step in json.loads(notes.read_text())]
        rows.append({"images": size, **cost.record(), "steps": steps})
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    few, many = rows[0], rows[-1]
    exponent = math.log(many["cpu_s"] / few["cpu_s"]) / math.log(many["images"] / few["images"])
    growth = (many["peak_mib"] - few["peak_mib"]) * 2**20 / (many["images"] - few["images"])
    faults = []
    if exponent > MOST_EXPONENT:
        faults.append(f"CPU time grows with the power {exponent:.2f} of the number of images")
    if growth > MOST_BYTES_AN_IMAGE:
        faults.append(f"memory grows by {growth:.0f} bytes an image")
    return {"runs": rows, "exponent": round(exponent, 2), "bytes_an_image": round(growth), "faults": faults}


def main() -> None:
    """Curate a folder and write down the progress."""
    from curation.base import settings
    from curation.base.workspace import create_workspace, locked
    from curation.pipeline import steps as workflow

    data, folder, notes = sys.argv[1:]
    workspace = create_workspace(Path(folder))
    display = Noted()
    with locked(workspace):
        workflow.run(workspace, data, settings.load(workspace.settings), display)
    Path(notes).write_text(json.dumps(display.steps))


if __name__ == "__main__":
    main()
