"""Run by the peers' interpreter: fastdup over FOLDER/images, whose names are row numbers; answers FOLDER/found.json.

Imports nothing of this toolkit, which that interpreter need not have.
"""

import importlib
import json
import sys
from pathlib import Path

NEIGHBOURS = 10
"""As many as the toolkit's own search looks at; fastdup's default is 2."""

LEAST_SIMILARITY = 0.9
"""fastdup's own default."""


def main() -> None:
    """Write the pairs."""
    folder = Path(sys.argv[1])
    fastdup = importlib.import_module("fastdup")
    made = fastdup.create(work_dir=str(folder / "work"), input_dir=str(folder / "images"))
    made.run(overwrite=True, nearest_neighbors_k=NEIGHBOURS, threshold=LEAST_SIMILARITY)
    similar = made.similarity()
    rows = [
        [int(Path(one).stem), int(Path(other).stem), float(similarity)]
        for one, other, similarity in zip(
            similar["filename_from"], similar["filename_to"], similar["distance"], strict=True
        )
    ]
    answer = {"version": str(fastdup.__version__), "pairs": rows}
    (folder / "found.json").write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
