"""Whether cleaning helped: three arms trained alike and judged on the same images, as one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from reports.figures import interval_chart, interval_height
from reports.page import DIFFERENCE_COLUMNS, Chart, Column, Table, render

_MEANS = (
    Column("evaluation", "Judged on"),
    Column("arm", "Trained on"),
    Column("images", "Images", "count", "that the arm trains on"),
    Column("accuracy", "Accuracy", "share", "mean over the seeds"),
)

_DIFFERENCES = (Column("evaluation", "Judged on"), *DIFFERENCE_COLUMNS)


def comparison_page(
    verdict: Sequence[str], means: pd.DataFrame, differences: pd.DataFrame, facts: Mapping[str, Any]
) -> str:
    """Return the page.

    Args:
        verdict: plain sentences.
        means: evaluation, arm, images, accuracy.
        differences: evaluation, contrast, difference, low, high, images, seeds.
        facts: A, B, what each is (A_is, B_is), recipe and seeds.

    """
    points = differences.assign(**{name: 100.0 * differences[name] for name in ("difference", "low", "high")})
    context = {
        "verdict": list(verdict),
        "facts": facts,
        "means": Table("accuracies", "Accuracy of each arm", means, _MEANS),
        "differences": _chart(points, Table("differences", "Paired differences", points, _DIFFERENCES)),
    }
    return render("comparison.html.j2", context)


def _chart(points: pd.DataFrame, table: Table) -> Chart:
    """Return the differences with their intervals and a line at 0; the table stands below it."""
    frame = points.rename(columns={"evaluation": "name", "contrast": "series", "difference": "estimate"})
    alt = "Differences of accuracy in points with 95 % intervals; the numbers are in the table."
    title = "points of accuracy; right of 0 the first named is better"
    return Chart(
        "chart-differences", interval_chart(frame, title, "+.1f", zero=True), alt, interval_height(frame), table
    )
