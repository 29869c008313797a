"""The check of images that another data set also holds, as found by ``curate overlap``."""

from __future__ import annotations

import numpy as np

from curation.base.frames import rows_of
from curation.base.scored import Scored, narrow_scores
from curation.checks.base import CheckInputs, Found, Ints, as_json, nothing


def overlap(inputs: CheckInputs) -> Found:
    """Images that are also in a data set that this one was compared with; score 0 for equal pixels."""
    if inputs.shared is None:
        return nothing(inputs)
    found = inputs.shared.sort_values(["probability", "other", "other_path"], ascending=[False, True, True])
    found = found.drop_duplicates("sha256").set_index("sha256")
    place = rows_of(inputs.measurements["sha256"], found.index)
    flags = inputs.readable & (place >= 0)

    def evidence(at: Ints) -> list[str]:
        said = found.iloc[place[at]].itertuples(index=False)
        return [
            as_json(
                kind=row.kind, of=f"{row.other}: {row.other_path}", probability=row.probability, transform=row.transform
            )
            for row in said
        ]

    probability = np.append(found["probability"].to_numpy(dtype=np.float64), 0.0)[place]
    scores = np.where(inputs.readable, 1.0 - probability, np.nan)
    return Found(Scored(narrow_scores(scores)), flags, evidence)
