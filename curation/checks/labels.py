"""Checks of labels: wrong ones and ambiguous ones, from the judgement of out-of-fold models and other opinions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from curation.base.tables import empty_issues
from curation.checks.base import ISSUE_SCORE, CheckInputs, as_json, rows

DIGITS = 4
"""Of probabilities in evidence."""


def mislabelled(inputs: CheckInputs) -> pd.DataFrame:
    """Images whose label is more likely wrong than right; a row for every judged image, score 1 - P(wrong)."""
    if inputs.labels is None:
        return empty_issues()
    judged = inputs.labels
    scores = np.round(1.0 - judged["wrong"].to_numpy(), 6)
    flags = scores < ISSUE_SCORE
    evidence = [
        as_json(
            given=row["label"],
            wrong=round(row["wrong"], DIGITS),
            suggestion=row["suggestion"],
            probability=round(row["suggestion_right"], DIGITS),
            believed=_distribution(row["believed"]),
            **_said(row, flagged),
        )
        for row, flagged in zip(judged.to_dict("records"), flags, strict=True)
    ]
    return rows("mislabelled", judged["path"], scores, flags, evidence)


def ambiguous(inputs: CheckInputs) -> pd.DataFrame:
    """Images on which people would not agree, whose label is one of the plausible ones; score 1 - P(ambiguous)."""
    if inputs.labels is None:
        return empty_issues()
    judged = inputs.labels
    scores = np.round(1.0 - judged["ambiguous"].to_numpy(), 6)
    flags = scores < ISSUE_SCORE
    evidence = [
        as_json(
            given=row["label"],
            ambiguous=round(row["ambiguous"], DIGITS),
            believed=_distribution(row["believed"]),
            **_said(row, flagged),
        )
        for row, flagged in zip(judged.to_dict("records"), flags, strict=True)
    ]
    return rows("ambiguous", judged["path"], scores, flags, evidence)


def _distribution(believed: dict[str, float]) -> dict[str, float]:
    """Return the believed probabilities of the classes, rounded."""
    return {name: round(value, DIGITS) for name, value in believed.items()}


def _said(row: dict[str, Any], flagged: bool) -> dict[str, str]:
    """Return the sentence on who says what, for flagged rows only: twenty thousand sentences nobody reads."""
    return {"says": sentence(row)} if flagged else {}


def sentence(row: dict[str, Any]) -> str:
    """Return who says what of one image: neighbours, the models, the voter, its copies.

    row has neighbours_for (class), neighbours_votes, neighbours_asked; model_for, model_probability; voter_for and
    voter_probability ("" without a voter); copies_say ("" or how its copies are labelled).
    """
    parts = []
    if row["neighbours_asked"]:
        parts.append(f"{row['neighbours_votes']} of {row['neighbours_asked']} nearest say {row['neighbours_for']}")
    parts.append(f"models {row['model_for']} {row['model_probability']:.2f}")
    if row["voter_for"]:
        parts.append(f"independent voter {row['voter_for']} {row['voter_probability']:.2f}")
    if row["copies_say"]:
        parts.append(row["copies_say"])
    return "; ".join(parts)
