"""What it costs to bring 20,214 images into the App, the first time and again: python -m tests.benchmarks.bench_review.

Wants a curated workspace (-w); works on a copy of it. Prints JSON: seconds of wall and CPU, the peak memory of the
command with its database and of the command alone (own_mib), for ``curate review --push-only`` (start, database, push,
views, map): a first, a second and a third push, the last after one answer. To stay below on two quiet cores: 60 s, then
10 s; the command alone below 1 GiB.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from curation.base.workspace import open_workspace
from curation.decisions import manifest
from curation.review.journal import Journal
from tests.benchmarks.cost import measured, print_figures
from tests.conftest import CURATE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-w", "--workspace", type=Path, required=True)
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "space"
        shutil.copytree(parser.parse_args().workspace, copy, ignore=shutil.ignore_patterns("review"))
        command = [str(CURATE), "review", "--push-only", "--by", "bench", "-w", str(copy)]
        costs = {name: measured(command)[0].record() for name in ("first", "second")}
        workspace = open_workspace(copy)
        path = manifest.rows(workspace, manifest.find(workspace, "cleaned"))["path"].iloc[0]
        Journal(workspace.review / "journal", "bench").write("exclude", [path])
        costs["after one answer"] = measured(command)[0].record()
    print_figures("review", costs)


if __name__ == "__main__":
    main()
