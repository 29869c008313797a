"""Checks of labels: wrong ones and ambiguous ones, from the judgement of out-of-fold models and other opinions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from curation.base.frames import records
from curation.base.tables import empty_issues
from curation.checks.base import ISSUE_SCORE, CheckInputs, as_json, rows

DIGITS = 4
"""Of probabilities in evidence."""


def mislabelled(inputs: CheckInputs) -> pd.DataFrame:
    """Images whose label is more likely wrong than right; a row for every judged image, score 1 - P(wrong)."""
    return empty_issues() if inputs.labels is None else mislabelled_rows(inputs.labels)


def mislabelled_rows(judged: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of ``mislabelled`` for a labels table."""
    scores = np.round(1.0 - judged["wrong"].to_numpy(), 6)
    flags = scores < ISSUE_SCORE
    evidence = [
        as_json(
            given=row["label"],
            wrong=round(row["wrong"], DIGITS),
            suggestion=row["suggestion"],
            probability=round(row["suggestion_right"], DIGITS),
            posterior=_distribution(row["posterior"]),
            **_said(row, flagged),
        )
        for row, flagged in zip(records(judged), flags, strict=True)
    ]
    return rows("mislabelled", judged["path"], scores, flags, evidence)


def ambiguous(inputs: CheckInputs) -> pd.DataFrame:
    """Images on which people would not agree, whose label is one of the plausible ones; score 1 - P(ambiguous)."""
    return empty_issues() if inputs.labels is None else ambiguous_rows(inputs.labels)


def ambiguous_rows(judged: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of ``ambiguous`` for a labels table."""
    scores = np.round(1.0 - judged["ambiguous"].to_numpy(), 6)
    flags = scores < ISSUE_SCORE
    evidence = [
        as_json(
            given=row["label"],
            ambiguous=round(row["ambiguous"], DIGITS),
            posterior=_distribution(row["posterior"]),
            **_said(row, flagged),
        )
        for row, flagged in zip(records(judged), flags, strict=True)
    ]
    return rows("ambiguous", judged["path"], scores, flags, evidence)


def _distribution(posterior: dict[str, float]) -> dict[str, float]:
    """Return the probabilities of the classes, rounded."""
    return {name: round(value, DIGITS) for name, value in posterior.items()}


def _said(row: dict[str, Any], flagged: bool) -> dict[str, str]:
    """Return the sentence on who says what, for flagged rows only: twenty thousand sentences nobody reads."""
    return {"says": row["says"]} if flagged else {}
