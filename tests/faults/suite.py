"""The fault suite: python -m tests.faults.suite [PART ...] [--short]; prints each part's figures as JSON.

Exit status 1 where anything was lost, hung, left a traceback or wrote outside. Parts: kills, interrupts, storage,
concurrency, hostile, trust, long (200,000 images, or --images N; never in the short form unless named).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Figures = dict[str, Any]


def _kills(sample: Path, curated: Path, scratch: Path, long: bool) -> Figures:
    from tests.faults import kill

    short = {"undo": 4, "decide": 4, "export folder": 2}  # of "run": test_kill.py
    full = {"run": 10, "apply": 16, "decide": 12, "undo": 16, "review pull": 12, "train": 10, "crossval": 8}
    full |= {f"export {form}": 10 if form == "folder" else 2 for form in kill.EXPORTS}
    return kill.campaign(sample, curated, scratch, full if long else short)


def _interrupts(sample: Path, curated: Path, scratch: Path, long: bool) -> Figures:
    from tests.faults import interrupt

    short = {"run": 3, "export folder": 1}
    full = {"run": 8, "apply": 3, "export folder": 3, "train": 4, "crossval": 4}
    return interrupt.campaign(sample, curated, scratch, full if long else short)


def _storage(sample: Path, curated: Path, scratch: Path, long: bool) -> Figures:
    from tests.faults import storage

    return storage.figures(sample, curated, scratch, long=long)


def _concurrency(sample: Path, curated: Path, scratch: Path, long: bool) -> Figures:
    from tests.faults import concurrency

    return concurrency.figures(curated, scratch, long=long)


def _hostile(sample: Path, curated: Path, scratch: Path, long: bool) -> Figures:
    from tests.faults import hostile

    return hostile.figures(curated, scratch, long=long)


def _trust(sample: Path, curated: Path, scratch: Path, long: bool) -> Figures:
    from tests.faults import trust

    return trust.figures(sample, scratch, long=long)


def _long(sample: Path, curated: Path, scratch: Path, long: bool) -> Figures:
    from tests.faults import long_run

    return long_run.figures(scratch, (LONG_RUN["images"] // 10, LONG_RUN["images"]))


LONG_RUN = {"images": 200_000}
"""The larger of the two sizes that are compared."""

PARTS: dict[str, Callable[[Path, Path, Path, bool], Figures]] = {
    "kills": _kills,
    "interrupts": _interrupts,
    "storage": _storage,
    "concurrency": _concurrency,
    "hostile": _hostile,
    "trust": _trust,
    "long": _long,
}

SAMPLE_IMAGES = 120


def run(part: str, *, long: bool) -> Figures:
    """Run one part in a scratch folder and return its figures, with how long it took."""
    from curation.audit.synthetic import make_sample
    from tests.faults import forked

    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="curate-faults-") as folder:
        top = Path(folder)
        make_sample(top / "sample", images=SAMPLE_IMAGES, seed=7)
        forked.preload(training=long and part in ("kills", "interrupts", "trust"))
        ended = forked.curate(["run", str(top / "sample"), "-w", str(top / "curated")])
        assert ended.went_well, ended.output
        (top / "scratch").mkdir()
        found = PARTS[part](top / "sample", top / "curated", top / "scratch", long)
    return found | {"seconds": round(time.monotonic() - started, 1)}


def losses(figures: Any) -> int:
    """Return how many faults figures state: the lengths and numbers under ``faults`` and the like, at any depth."""
    if not isinstance(figures, dict):
        return sum(map(losses, figures)) if isinstance(figures, list) else 0
    total = 0
    for name, value in figures.items():
        if name in {"faults", "decisions_lost", "decisions_twice", "torn_reads", "bad_reads", "commands_failed"}:
            total += value if isinstance(value, int) else len(value)
        else:
            total += losses(value)
    return total


def main() -> None:
    """Run the parts and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--short", action="store_true", help="the form that CI runs")
    parser.add_argument("--images", type=int, default=LONG_RUN["images"], help="of the long run")
    given = parser.parse_args()
    LONG_RUN["images"] = given.images
    lost = 0
    for part in given.parts or [name for name in PARTS if name != "long" or not given.short]:
        found = run(part, long=not given.short)
        lost += losses(found)
        print(json.dumps({"part": part, "figures": found}, indent=1), flush=True)
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
