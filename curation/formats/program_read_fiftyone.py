"""Program: writes the samples of the user's dataset named in FOLDER/order.json to FOLDER/samples.jsonl.

It is a process of its own because FiftyOne starts its database when imported.
"""

import importlib
import json
import sys
from pathlib import Path


def main() -> None:
    """Write one sample per line."""
    folder = Path(sys.argv[1])
    name = json.loads((folder / "order.json").read_text(encoding="utf-8"))["name"]
    fiftyone = importlib.import_module("fiftyone")
    if name not in fiftyone.list_datasets():
        sys.exit(f"there is no dataset {name}")
    with (folder / "samples.jsonl").open("w", encoding="utf-8") as lines:
        for sample in fiftyone.load_dataset(name):
            lines.write(json.dumps(sample.to_dict(), default=str) + "\n")


if __name__ == "__main__":
    main()
