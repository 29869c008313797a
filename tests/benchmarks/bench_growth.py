"""Cost of curating, end to end, as the data grows from 20,000 to a million pictures: each size in processes of its own.

python -m tests.benchmarks.bench_growth [--sizes 20000,80000,320000,1000000] [--data FOLDER] [--scratch FOLDER]

Pictures are made of those below FOLDER, or of drawn faces where it is absent (``growth_pictures``). Of each size: a
first run, a second one, and a decision on one image; CPU, memory (PSS of all processes) and the same by step; the share
of planted copies found, and of the pairs found that are planted; exponents; and what ten million images would take by
the measured slopes. A million pictures need 20 GB of scratch.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.benchmarks.bench_curate import DEFAULT_FOLDER
from tests.benchmarks.cost import Sample, measured, print_figures
from tests.benchmarks.growth_pictures import read_faces, write_pictures

SIZES = (20_000, 80_000)
"""Default; larger ones by option, as a million pictures take most of an hour."""

SEED = 6
FORECAST = 10_000_000
"""Images for which the cost is extrapolated."""

_CURATE = [sys.executable, "-m", "curation"]
_STEP = re.compile(r"^(\S+ \S+) \d+ INFO (.+): ([\d.]+) s$")
"""A line of the workspace's log: when a step ended, its title, its seconds."""

_COPIES = ("exact_duplicate", "near_duplicate")


def run_size(faces: Any, size: int, scratch: Path) -> dict[str, Any]:
    """Return the figures of one size; ``scratch`` is an empty folder."""
    data, workspace = scratch / "pictures", scratch / "workspace"
    truth = write_pictures(data, faces, size, SEED)
    command = [*_CURATE, "run", str(data), "-w", str(workspace), "--json"]
    samples: list[Sample] = []
    first, output = measured(command, samples=samples)
    figures: dict[str, Any] = {"images": size, "first_run": first.record()}
    if first.exit_status:
        return figures
    figures["steps"] = by_step((workspace / "curate.log").read_text(encoding="utf-8"), samples)
    figures |= found_copies(truth, copies_in(workspace, scratch / "issues.csv"))
    figures["workspace_mib"] = round(sum(each.stat().st_size for each in workspace.rglob("*")) / 2**20, 1)
    second, again = measured(command)
    figures["same_hash"] = json.loads(output)["manifest_hash"] == json.loads(again)["manifest_hash"]
    decided, _ = measured([*_CURATE, "decide", truth["path"].iloc[0], "--exclude", "-w", str(workspace), "--json"])
    return figures | {"second_run": second.record(), "decide": decided.record()}


def by_step(log: str, samples: list[Sample]) -> dict[str, dict[str, float]]:
    """Return the wall seconds of each step in a workspace's log, the CPU seconds between its ends, and its peak.

    What lies between two steps counts to the later one.
    """
    times = [sample.time for sample in samples] or [0.0]
    # a reading may miss what a process spent that ends in that moment
    cpu = np.maximum.accumulate([sample.cpu_s for sample in samples] or [0.0])
    steps: dict[str, dict[str, float]] = {}
    before = 0.0
    for ended, title, seconds in filter(None, map(_step_of, log.splitlines())):
        spent = np.interp(ended, times, cpu) - (np.interp(before, times, cpu) if before else 0.0)
        inside = [sample for sample in samples if before < sample.time <= ended]
        steps[title] = {"wall_s": seconds, "cpu_s": round(float(spent), 2), **_peaks(inside)}
        before = ended
    spent = float(cpu[-1] - np.interp(before, times, cpu))
    return steps | {"Summary": {"cpu_s": round(spent, 2), **_peaks([one for one in samples if one.time > before])}}


def _peaks(samples: list[Sample]) -> dict[str, float]:
    """Return the largest of the readings, and the largest without the pages of mapped files."""
    return {
        "peak_mib": round(max((sample.mib for sample in samples), default=0.0), 1),
        "own_mib": round(max((sample.own_mib for sample in samples), default=0.0), 1),
    }


def _step_of(line: str) -> tuple[float, str, float] | None:
    found = _STEP.match(line)
    return found and (datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S,%f").timestamp(), found[2], float(found[3]))


def copies_in(workspace: Path, table: Path) -> pd.DataFrame:
    """Return path, check and group of all images that ``curate issues`` shows to be copies."""
    frames = []
    for check in _COPIES:
        command = [*_CURATE, "issues", "-w", str(workspace), "--check", check, "-n", "0", "--format", "csv"]
        cost, _ = measured([*command, "-o", str(table), "--force"])
        if cost.exit_status:
            sys.exit(f"curate issues ended with status {cost.exit_status}")
        frames.append(pd.read_csv(table, usecols=["path", "check", "group"], keep_default_na=False))
    return pd.concat(frames, ignore_index=True)


def found_copies(truth: pd.DataFrame, issues: pd.DataFrame) -> dict[str, Any]:
    """Return the share of planted copies that are in one group with their original, in all and by kind.

    And the share of all pairs in one group that are planted, or copies of the same original.
    """
    issues = issues.assign(group=issues["check"] + issues["group"].astype("str"))
    origin = truth["of"].where(truth["of"] != "", truth["path"])
    grouped = issues.merge(truth.assign(origin=origin), on="path")
    alike = {column: grouped.groupby(column).size() for column in ("group", "origin")}
    pairs = int((alike["group"] * (alike["group"] - 1) // 2).sum())
    same = grouped.groupby(["group", "origin"]).size()
    true = int((same * (same - 1) // 2).sum())
    planted = truth[truth["of"] != ""]
    both = planted.merge(issues, on="path").merge(issues, left_on=["of", "group"], right_on=["path", "group"])
    hit = planted["path"].isin(both["path_x"])
    return {
        "planted": len(planted),
        "recall": round(float(hit.mean()), 4),
        "precision": round(true / max(pairs, 1), 4),
        "recall_by_kind": hit.groupby(planted["kind"]).mean().round(4).to_dict(),
    }


def growth(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return exponents and slopes over all sizes, and what ``FORECAST`` images would take by them."""
    sizes = np.array([row["images"] for row in rows], dtype=np.float64)

    def fitted(values: list[float], unit: str) -> dict[str, float]:
        exponent = float(np.polyfit(np.log(sizes), np.log(np.maximum(values, 1e-3)), 1)[0])
        slope, base = np.polyfit(sizes, values, 1)
        last = values[-1] * (FORECAST / sizes[-1]) ** exponent if unit == "cpu_s" else slope * FORECAST + base
        return {
            "exponent": round(exponent, 3),
            f"{unit}_an_image": float(f"{slope:.4g}"),
            f"{unit}_at_10M": round(last),
        }

    figures: dict[str, Any] = {}
    for part in ("first_run", "second_run", "decide"):
        for unit in ("cpu_s", "wall_s", "peak_mib"):
            figures[f"{part} {unit}"] = fitted([row[part][unit] for row in rows], unit)
    for step in rows[-1]["steps"]:
        for unit in ("cpu_s", "peak_mib", "own_mib"):
            values = [row["steps"].get(step, {}).get(unit, 0.0) for row in rows]
            figures[f"{step} {unit}"] = fitted(values, unit)
    return figures


def run(folder: Path | None, sizes: list[int], scratch: Path | None) -> dict[str, Any]:
    """Measure each size; what is known is printed on standard error at once."""
    faces = read_faces(folder, SEED)
    rows = []
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=scratch) as place:
            rows.append(run_size(faces, size, Path(place)))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
        if rows[-1]["first_run"]["exit_status"]:
            sys.exit(f"curating {size:,} images ended with status {rows[-1]['first_run']['exit_status']}")
    source = "drawn faces" if folder is None else folder.name
    figures: dict[str, Any] = {"seed": SEED, "faces": source, "sizes": rows}
    return figures | ({"growth": growth(rows)} if len(rows) > 1 else {})


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_FOLDER)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--scratch", type=Path, help="folder for pictures and workspaces; default: the system's")
    given = parser.parse_args()
    folder = given.data if given.data.is_dir() else None
    print_figures("growth", run(folder, [int(size) for size in given.sizes.split(",")], given.scratch))


if __name__ == "__main__":
    main()
