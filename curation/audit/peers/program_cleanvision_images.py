"""Run by the peers' interpreter: CleanVision over FOLDER/images, named by row; answers FOLDER/found.json.

Imports nothing of this toolkit, which that interpreter need not have.
"""

import importlib
import json
import sys
from importlib import metadata
from pathlib import Path

COPIES = ("exact_duplicates", "near_duplicates")

# without its check for grey images, which flags all of a grey data set
SINGLE = ("dark", "light", "odd_aspect_ratio", "low_information", "blurry", "odd_size")


def main() -> None:
    """Write every score of every image."""
    folder = Path(sys.argv[1])
    imagelab = importlib.import_module("cleanvision").Imagelab(data_path=str(folder / "images"))
    imagelab.find_issues({name: {} for name in (*SINGLE, *COPIES)}, n_jobs=1, verbose=False)
    table = imagelab.issues
    rows = [int(Path(path).stem) for path in table.index]
    found = []
    for name in (*SINGLE, *COPIES):
        groups = _groups(imagelab.info[name].get("sets", [])) if name in COPIES else {}
        scores, flags = table[f"{name}_score"], table[f"is_{name}_issue"]
        found += [
            [row, name, float(score), bool(flag), groups.get(row, "")]
            for row, score, flag in zip(rows, scores, flags, strict=True)
        ]
    answer = {"version": metadata.version("cleanvision"), "issues": found}
    (folder / "found.json").write_text(json.dumps(answer), encoding="utf-8")


def _groups(sets: list[list[str]]) -> dict[int, str]:
    return {int(Path(path).stem): f"cleanvision:{number}" for number, paths in enumerate(sets) for path in paths}


if __name__ == "__main__":
    main()
