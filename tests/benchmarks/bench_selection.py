"""Time and memory of what ``select`` and ``rare`` do, on random embeddings: bench_selection.py [N] [SHARE]."""

from __future__ import annotations

import resource
import sys
import time

import numpy as np

from curation.checks import nearness

DIMENSIONS, AT_ONCE = 1280, 10_000


def main() -> None:
    """Project, look for neighbours, divide and choose; print CPU seconds of each and the peak of memory."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    share = float(sys.argv[2]) if len(sys.argv) > 2 else 0.25
    rng = np.random.default_rng(0)
    embedding = np.empty((count, DIMENSIONS), np.float16)
    for start in range(0, count, AT_ONCE):
        embedding[start : start + AT_ONCE] = np.abs(rng.normal(size=(min(AT_ONCE, count - start), DIMENSIONS)))
    right = rng.uniform(0.5, 1, count)
    began = time.process_time()
    points = nearness.projection(embedding, 0)(embedding)
    print(f"projected: {time.process_time() - began:.1f} CPU s")
    nearness.lonely(points)
    print(f"neighbours: {time.process_time() - began:.1f} CPU s")
    parts = nearness.partitions(points, 0)
    each = nearness.shares(np.array([len(part) for part in parts]), round(share * count), even=False)
    taken = sum(
        len(nearness.chosen(points[part], right[part], most)[0])
        for part, most in zip(parts, each.tolist(), strict=True)
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{taken:,} of {count:,} chosen: {time.process_time() - began:.1f} CPU s in all, peak {peak:,.0f} MiB")


if __name__ == "__main__":
    main()
