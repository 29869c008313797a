"""Program: makes a FiftyOne dataset of FOLDER/rows.jsonl and exports it as FOLDER/order.json says.

The images are already in place; only their paths relative to the export are written.
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

PLAIN = ("sha256", "split", "original_label", "status", "reason", "group", "weight", "soft_label", "subject")


def alone() -> None:
    """Make FiftyOne start its own database; it would join any other of this user's processes."""
    psutil: Any = importlib.import_module("psutil")
    psutil.process_iter = lambda *_: iter(())


def main() -> None:
    """Write the dataset."""
    folder = Path(sys.argv[1])
    alone()
    fiftyone = importlib.import_module("fiftyone")
    order = json.loads((folder / "order.json").read_text(encoding="utf-8"))
    dataset = fiftyone.Dataset("export", overwrite=True)
    dataset.info = order["info"]
    with (folder / "rows.jsonl").open(encoding="utf-8") as lines:
        samples = [sample(fiftyone, json.loads(line)) for line in lines]
    dataset.add_samples(samples)
    dataset.export(
        export_dir=order["out"],
        dataset_type=fiftyone.types.FiftyOneDataset,
        export_media=False,
        rel_dir=order["out"],
        overwrite=False,
    )


def sample(fiftyone: Any, row: dict[str, Any]) -> Any:
    """Return a row as a sample: label as ground_truth, path as source_path, split as a tag too."""
    return fiftyone.Sample(
        filepath=row["file"],
        tags=[row["split"]] if row["split"] else [],
        ground_truth=fiftyone.Classification(label=row["label"]) if row["label"] else None,
        source_path=row["path"],
        **{name: row[name] for name in PLAIN},
    )


if __name__ == "__main__":
    main()
