"""Run by the peers' interpreter: FiftyOne Brain over FOLDER/embeddings.npy; answers FOLDER/found.json.

Imports nothing of this toolkit, which that interpreter need not have.
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

MOST_DISTANCE = 0.2
"""Cosine distance of near duplicates: Brain's own default."""


def alone() -> None:
    """Let FiftyOne start a database of its own; it joins any other of this user's that it finds among the processes."""
    psutil: Any = importlib.import_module("psutil")
    psutil.process_iter = lambda *_: iter(())


def main() -> None:
    """Write the pairs."""
    folder = Path(sys.argv[1])
    alone()
    numpy, fiftyone, brain = map(importlib.import_module, ("numpy", "fiftyone", "fiftyone.brain"))
    embeddings = numpy.load(folder / "embeddings.npy").astype("float32")
    # Brain compares normalised queries with embeddings as they are given
    embeddings /= numpy.maximum(numpy.linalg.norm(embeddings, axis=1, keepdims=True), 1e-6)
    dataset = fiftyone.Dataset("second_opinion", overwrite=True)
    # it never opens the files, as embeddings are given
    ids = dataset.add_samples([fiftyone.Sample(filepath=f"{folder}/{row}.png") for row in range(len(embeddings))])
    index = brain.compute_near_duplicates(dataset, threshold=MOST_DISTANCE, embeddings=embeddings)
    row_of = {sample: row for row, sample in enumerate(ids)}
    rows = [
        # the distance of unit vectors as a cosine
        [row_of[kept], row_of[copy], 1.0 - float(distance) ** 2 / 2.0]
        for kept, copies in index.neighbors_map.items()
        for copy, distance in copies
    ]
    answer = {"version": str(fiftyone.__version__), "pairs": rows}
    (folder / "found.json").write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
