"""The check of images that another data set also holds, as found by ``curate overlap``."""

from __future__ import annotations

import numpy as np
import pandas as pd

from curation.base.frames import places
from curation.base.tables import empty_issues
from curation.checks.base import CheckInputs, as_json, rows


def overlap(inputs: CheckInputs) -> pd.DataFrame:
    """Images that are also in a data set that this one was compared with; score 0 for equal pixels."""
    if inputs.shared is None:
        return empty_issues()
    found = inputs.shared.sort_values(["probability", "other", "other_path"], ascending=[False, True, True])
    found = found.drop_duplicates("sha256").set_index("sha256")
    contents = inputs.measurements.loc[inputs.readable, "sha256"]
    place = places(found.index, contents)
    flags = place >= 0
    said = [
        as_json(
            kind=row.kind, of=f"{row.other}: {row.other_path}", probability=row.probability, transform=row.transform
        )
        for row in found.itertuples(index=False)
    ]
    probability = np.append(found["probability"].to_numpy(dtype=np.float64), 0.0)[place]
    evidence = [said[number] if number >= 0 else "{}" for number in place]
    paths = inputs.images.loc[inputs.readable, "path"]
    return rows("overlap", paths, np.round(1.0 - probability, 6), flags, evidence)
