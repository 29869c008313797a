"""The module ``tiny_plugin`` that the tests of plug-ins install: one of everything that a package may add."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from curation.audit.peers.judges import Judge
from curation.checks.base import Check, CheckInputs, as_json, rows
from curation.decisions.log import Draft
from curation.formats.export_data import ExportData
from curation.formats.listing import SourceContents
from curation.formats.registry import Format
from curation.formats.tree import Tree
from training.outside import OutsideModel


def first_letter(inputs: CheckInputs) -> pd.DataFrame:
    """Flag images whose names begin with b."""
    paths = inputs.images["path"]
    flags = paths.str.rpartition("/")[2].str.startswith("b").to_numpy(dtype=bool)
    return rows("first_letter", paths, np.where(flags, 0.0, 1.0), flags, [as_json(letter="b")] * len(paths))


CHECK = Check("first_letter", "First letter", "Its name begins with b.", first_letter)


def write_names(export_data: ExportData, destination: Path) -> int:
    """Write the kept paths, one a line."""
    destination.write_text("\n".join(export_data.kept["path"]))
    return len(export_data.kept)


FORMAT = Format("names", "the kept paths, one a line", write_names, "rows")


def recognise(tree: Tree) -> SourceContents | None:
    """Take every image below a marker for one class."""
    if "tiny.marker" not in tree.others:
        return None
    return SourceContents([image._replace(label="from a plug-in") for image in tree.images])


def model() -> OutsideModel:
    """Return a model that is sure of its first class."""

    def predict(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        return np.tile([1.0, 0.0], (len(images), 1))

    return OutsideModel("tiny", ("happy", "sad"), predict)


JUDGE = Judge("tiny_peer", "json", {"odd": "first_letter"}, Path("program.py"))


def drop_letter(options: Mapping[str, Any], images: pd.DataFrame, issues: pd.DataFrame) -> list[Draft]:
    """Exclude the images that a check flags."""
    flagged = issues[issues["is_issue"] & (issues["check"] == options["check"])]
    paths = images.loc[images["path"].isin(flagged["path"]), "path"]
    return [Draft(path, "exclude", reason="its name begins with b", issue=options["check"]) for path in paths]
