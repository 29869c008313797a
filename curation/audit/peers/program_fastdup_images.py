"""Run by the peers' interpreter: fastdup's outliers over FOLDER/images; answers FOLDER/found.json.

Its own galleries go to FOLDER/galleries. Imports nothing of this toolkit, which that interpreter need not have.
"""

import importlib
import json
import sys
from pathlib import Path

MOST_SHOWN = 20
"""Rows of each gallery: fastdup's default."""


def main() -> None:
    """Write the outliers and the galleries."""
    folder = Path(sys.argv[1])
    fastdup = importlib.import_module("fastdup")
    made = fastdup.create(work_dir=str(folder / "work"), input_dir=str(folder / "images"))
    made.run(overwrite=True)
    outliers = made.outliers()
    found = [
        # its distance is the similarity to the nearest other image: the lower, the farther out
        [int(Path(name).stem), "outlier", float(similarity), True, ""]
        for name, similarity in zip(outliers["filename_outlier"], outliers["distance"], strict=True)
    ]
    for gallery in ("duplicates_gallery", "outliers_gallery", "component_gallery"):
        _draw(made, gallery, folder / "galleries" / gallery)
    (folder / "found.json").write_text(
        json.dumps({"version": str(fastdup.__version__), "issues": found}), encoding="utf-8"
    )


def _draw(made: object, gallery: str, place: Path) -> None:
    place.mkdir(parents=True)
    try:
        getattr(made.vis, gallery)(save_path=str(place), num_images=MOST_SHOWN)  # type: ignore[attr-defined]
    except Exception as error:
        # a gallery of nothing is an error to fastdup; the findings do not depend on it
        print(f"no {gallery}: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
