"""Checks for wrong and ambiguous labels, from the judgement by out-of-fold models and other opinions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from curation.base.frames import records
from curation.base.tables import empty_issues
from curation.checks.base import ISSUE_SCORE, CheckInputs, as_json, rows

DIGITS = 4
"""Decimal places of probabilities in evidence."""


def mislabelled(inputs: CheckInputs) -> pd.DataFrame:
    """Images whose label is more likely wrong than right; every judged image has a row with score 1 - P(wrong)."""
    return empty_issues() if inputs.labels is None else mislabelled_rows(inputs.labels)


def mislabelled_rows(judged: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of ``mislabelled`` for a labels table."""

    def facts(row: dict[str, Any]) -> dict[str, Any]:
        return {
            "wrong": round(row["wrong"], DIGITS),
            "suggestion": row["suggestion"],
            "probability": round(row["suggestion_right"], DIGITS),
        }

    return _rows("mislabelled", judged, "wrong", facts)


def ambiguous(inputs: CheckInputs) -> pd.DataFrame:
    """Images with several plausible labels on which people would not agree; score 1 - P(ambiguous)."""
    return empty_issues() if inputs.labels is None else ambiguous_rows(inputs.labels)


def ambiguous_rows(judged: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of ``ambiguous`` for a labels table."""
    return _rows("ambiguous", judged, "ambiguous", lambda row: {"ambiguous": round(row["ambiguous"], DIGITS)})


def _rows(
    check: str, judged: pd.DataFrame, probability: str, facts: Callable[[dict[str, Any]], dict[str, Any]]
) -> pd.DataFrame:
    """Return issue rows with score 1 - ``probability``; only flagged ones have the sentence on who says what."""
    scores = np.round(1.0 - judged[probability].to_numpy(), 6)
    flags = scores < ISSUE_SCORE
    evidence = [
        as_json(
            given=row["label"],
            **facts(row),
            posterior={name: round(value, DIGITS) for name, value in row["posterior"].items()},
            **({"says": row["says"]} if flagged else {}),
        )
        for row, flagged in zip(records(judged), flags, strict=True)
    ]
    return rows(check, judged["path"], scores, flags, evidence)
