"""Run by the peers' interpreter: cleanlab's Datalab over embeddings and labels in FOLDER; answers FOLDER/found.json.

Out-of-fold probabilities are used where there are some. Imports nothing of this toolkit, which that interpreter need
not have.
"""

import importlib
import json
import sys
from importlib import metadata
from pathlib import Path

KINDS = ("label", "outlier", "near_duplicate")


def main() -> None:
    """Write every score of every image."""
    folder = Path(sys.argv[1])
    numpy, datalab = importlib.import_module("numpy"), importlib.import_module("cleanlab.datalab.datalab")
    labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    given = {"features": numpy.load(folder / "embeddings.npy")}
    if (folder / "probabilities.npy").exists():
        given["pred_probs"] = numpy.load(folder / "probabilities.npy")
    lab = datalab.Datalab(data={"label": labels}, label_name="label", task="classification", verbosity=0)
    lab.find_issues(**given, issue_types={name: {} for name in KINDS})
    found = []
    for name in KINDS:
        table = lab.get_issues(name)
        flags, scores = table[f"is_{name}_issue"], table[f"{name}_score"]
        found += [
            [row, name, float(score), bool(flag), ""]
            for row, (flag, score) in enumerate(zip(flags, scores, strict=True))
        ]
    answer = {"version": metadata.version("cleanlab"), "issues": found}
    (folder / "found.json").write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
