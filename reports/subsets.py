"""What subsets are worth for training: accuracy by share and way of choosing, as one self-contained page."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from reports.figures import interval_chart, interval_height, share_chart
from reports.page import DIFFERENCE_COLUMNS, Chart, Column, Table, render

_POINTS = (
    Column("how", "Chosen"),
    Column("share", "Share", "share"),
    Column("images", "Images", "count", "trained on"),
    Column("accuracy", "Accuracy", "share", "mean over the seeds"),
)

_DIFFERENCES = (Column("share", "Share", "share"), *DIFFERENCE_COLUMNS)


def subsets_page(lines: Sequence[str], points: pd.DataFrame, differences: pd.DataFrame, facts: str) -> str:
    """Return the page.

    Args:
        lines: plain sentences.
        points: how, share (0..1), images, accuracy (0..1).
        differences: share, contrast, difference, low, high (0..1), images, seeds.
        facts: what was compared, in words.

    """
    scaled = differences.assign(**{name: 100.0 * differences[name] for name in ("difference", "low", "high")})
    named = scaled.assign(name=[f"{share:.0%}" for share in scaled["share"]])
    named = named.rename(columns={"contrast": "series", "difference": "estimate"})
    context = {
        "lines": list(lines),
        "facts": facts,
        "accuracy": Chart(
            "chart-accuracy",
            share_chart(points),
            "Accuracy by share of the images; the numbers are in the table.",
            360,
            Table("accuracies", "Accuracy by share", points, _POINTS),
        ),
        "differences": Chart(
            "chart-differences",
            interval_chart(named, "points of accuracy; right of 0 the selection is better", "+.1f", zero=True),
            "Paired differences in points with 95 % intervals; the numbers are in the table.",
            interval_height(named),
            Table("differences", "Paired differences", scaled, _DIFFERENCES),
        ),
    }
    return render("subsets.html.j2", context)
