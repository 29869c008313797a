"""The whole near-duplicate stage beside the peers on one folder, in one run: cost, and natural copies found.

python -m tests.benchmarks.bench_stage [--folder FOLDER] [--peers [NAME ...]] [--list FILE.csv] [--from-score 0.9]

Our stage reads, decodes, hashes, searches, proves and groups, in a process of its own, as every peer is. FILE is the
list of natural copies that ``bench_natural_pairs`` makes by other means.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tests.benchmarks import pair_peers
from tests.benchmarks.bench_natural_pairs import FROM_SCORE
from tests.benchmarks.bench_near_duplicates import (
    DEFAULT_FOLDER,
    Pictures,
    copies_in,
    find,
    read_distinct,
    read_pictures,
)
from tests.benchmarks.cost import measured, print_figures

Pairs = NDArray[np.int64]


def stage(folder: Path) -> dict[str, Any]:
    """Run the stage in this process; return its CPU seconds by part, and the pairs of distinct pictures."""
    from curation.checks.duplicates.groups import components

    started = time.process_time()
    pictures = read_distinct(folder)
    read = time.process_time()
    found = find(pictures)
    pairs = copies_in(found)
    groups = components(len(pictures), pairs)
    return {
        "reading_cpu_s": round(read - started, 1),
        "search_cpu_s": round(time.process_time() - read, 1),
        "groups": int((np.bincount(groups) > 1).sum()),
        "pairs": pairs.tolist(),
    }


def read_list(file: Path, from_score: float, read: Pictures, folder: Path) -> Pairs:
    """Return listed pairs as rows (M, 2), i < j, of the distinct pictures."""
    listed = pd.read_csv(file)
    listed = listed[listed["score"] >= from_score]
    row_of = {path.relative_to(folder).as_posix(): row for path, row in zip(read.files, read.row, strict=True)}
    return distinct(np.stack([listed[side].map(row_of).to_numpy() for side in ("path_a", "path_b")], axis=1))


def distinct(pairs: Pairs) -> Pairs:
    """Return pairs (M, 2) ordered, each once, none of a picture with itself."""
    pairs = np.sort(pairs, axis=1)
    return np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)


def compared(found: Pairs, listed: Pairs) -> dict[str, Any]:
    """Return how many pairs were found, and the share of those listed among them."""
    known = set(map(tuple, found.tolist()))
    hits = [tuple(pair) in known for pair in listed.tolist()]
    return {"pairs": len(found), "of_listed": round(float(np.mean(hits)), 4) if hits else None}


def run(folder: Path, asked: Sequence[str], list_file: Path | None, from_score: float) -> dict[str, Any]:
    """Return the figures."""
    read = read_pictures(folder)
    listed = read_list(list_file, from_score, read, folder) if list_file else np.empty((0, 2), dtype=np.int64)
    find(read.pictures[:64])  # compiles, once for all runs
    own, output = measured([sys.executable, "-m", "tests.benchmarks.bench_stage", "--ours", "--folder", str(folder)])
    if own.exit_status:
        sys.exit(f"our own stage ended with status {own.exit_status}")
    parts = json.loads(output)
    ours = own.record() | parts | compared(distinct(np.array(parts["pairs"], dtype=np.int64)), listed)
    figures: dict[str, Any] = {"files": len(read.files), "distinct": len(read.pictures), "listed": len(listed)}
    figures["ours"] = ours
    print(json.dumps(figures), file=sys.stderr, flush=True)
    for peer in asked:
        answer = pair_peers.ask(peer, [str(path.resolve()) for path in read.files], read.pictures[read.row])
        if isinstance(answer, str):
            figures[peer] = answer
            continue
        cost, opinion = answer
        shares = {"our_cpu_share": round(own.cpu_s / cost.cpu_s, 3), "version": opinion.version}
        by_threshold = {
            name: compared(distinct(read.row[opinion.pairs[opinion.similarity >= least - pair_peers.ROUNDING]]), listed)
            for name, least in pair_peers.PROGRAMS[peer].from_similarity.items()
        }
        figures[peer] = cost.record() | shares | by_threshold
        print(json.dumps({peer: figures[peer]}), file=sys.stderr, flush=True)
    return figures


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures, or say why there are none."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER)
    parser.add_argument("--list", type=Path)
    parser.add_argument("--from-score", type=float, default=FROM_SCORE)
    parser.add_argument("--peers", nargs="*", choices=list(pair_peers.PROGRAMS), default=[], help="all, or those named")
    parser.add_argument("--ours", action="store_true", help="run our stage alone, in this process")
    options = parser.parse_args(arguments)
    if not options.folder.is_dir():
        sys.exit(f"{options.folder} is absent; give a folder of faces: --folder FOLDER")
    if options.ours:
        print(json.dumps(stage(options.folder)))
    else:
        asked = options.peers or list(pair_peers.PROGRAMS)
        print_figures("stage", run(options.folder, asked, options.list, options.from_score))


if __name__ == "__main__":
    main()
