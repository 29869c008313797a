"""Checks for wrong and ambiguous labels, from the judgement by out-of-fold models and other opinions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from curation.base.frames import rows_of
from curation.base.scored import Column, Kind, Scored, Value, exact_scores, narrow_scores, pieces
from curation.checks.base import ISSUE_SCORE, CheckInputs, Found, Ints, as_json, nothing


def mislabelled(inputs: CheckInputs) -> Found:
    """Images whose label is more likely wrong than right; every judged image has a score, 1 - P(wrong)."""
    return nothing(inputs) if inputs.labels is None else judged("mislabelled", inputs.labels, inputs.images["path"])


def ambiguous(inputs: CheckInputs) -> Found:
    """Images with several plausible labels on which people would not agree; score 1 - P(ambiguous)."""
    return nothing(inputs) if inputs.labels is None else judged("ambiguous", inputs.labels, inputs.images["path"])


_SAID: dict[str, dict[str, str]] = {
    "mislabelled": {"wrong": "wrong", "suggestion": "suggestion", "probability": "suggestion_right"},
    "ambiguous": {"ambiguous": "ambiguous"},
}
"""Check -> field of its evidence -> column of the labels table; the first one is the probability of a fault."""


def judged(check: str, labels: pd.DataFrame, paths: pd.Series) -> Found:
    """Return what one of the two checks finds in a labels table; only flagged rows have the sentence on who says what.

    Args:
        check: its name
        labels: see ``curation.pipeline.label_store.read_labels``
        paths: of all images

    """
    labels = labels[labels["path"].isin(paths)]
    columns = {"given": Column.words(labels["label"])}
    for name, column in _SAID[check].items():
        values = labels[column]
        texts = name == "suggestion"
        columns[name] = Column.words(values) if texts else Column.narrow("rounded", values.to_numpy(dtype=np.float64))
    shapes: dict[tuple[str, ...], int] = {}
    which = [shapes.setdefault(tuple(one), len(shapes)) for one in labels["posterior"]]
    shares = np.full((len(labels), max(map(len, shapes), default=0)), np.nan)
    for number in range(len(shapes)):
        mine = np.flatnonzero(np.array(which) == number)
        shares[mine, : len(list(shapes)[number])] = [list(one.values()) for one in labels["posterior"].iloc[mine]]
    columns |= {f"posterior {place}": Column.narrow("rounded", values) for place, values in enumerate(shares.T)}
    kinds: dict[str, Kind] = {name: column.kind for name, column in columns.items()}
    told = {name: Value(name) for name in ("given", *_SAID[check])}
    said = tuple(
        pieces(kinds, **told, posterior={name: Value(f"posterior {place}") for place, name in enumerate(names)})
        for names in shapes
    )
    fault = labels[next(iter(_SAID[check].values()))].to_numpy(dtype=np.float64)
    scores = narrow_scores(1.0 - fault)
    scored = Scored(scores, said or (("{}",),), np.array(which, np.uint16) if len(shapes) > 1 else None, columns)

    def evidence(at: Ints) -> list[str]:
        ends: list[Any] = labels["says"].iloc[at].tolist()
        return [f"{text[:-1]}, {as_json(says=end)[1:]}" for text, end in zip(scored.evidence(at), ends, strict=True)]

    found = Found(scored, exact_scores(scores) < ISSUE_SCORE, evidence)
    return found.spread(rows_of(labels["path"], paths), len(paths))
