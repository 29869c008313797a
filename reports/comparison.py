"""Whether cleaning helped: three arms trained alike and judged on the same images, as one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from reports.page import Column, Table, render

_MEANS = (
    Column("evaluation", "Judged on"),
    Column("arm", "Trained on"),
    Column("images", "Images", "count", "that the arm trains on"),
    Column("accuracy", "Accuracy", "share", "mean over the seeds"),
)

_DIFFERENCES = (
    Column("evaluation", "Judged on"),
    Column("contrast", "Difference"),
    Column("difference", "Points", "decimal", "of accuracy, mean over seeds; 0.01 is one point"),
    Column("low", "from", "decimal", "lower end of the paired 95 % interval"),
    Column("high", "to", "decimal", "upper end of the paired 95 % interval"),
    Column("images", "Images", "count"),
    Column("seeds", "Seeds", "count"),
)


def comparison_page(
    verdict: Sequence[str], means: pd.DataFrame, differences: pd.DataFrame, facts: Mapping[str, Any]
) -> str:
    """Return the page.

    Args:
        verdict: plain sentences.
        means: evaluation, arm, images, accuracy.
        differences: evaluation, contrast, difference, low, high, images, seeds.
        facts: A, B, recipe and seeds.

    """
    context = {
        "verdict": list(verdict),
        "facts": facts,
        "means": Table("accuracies", "Accuracy of each arm", means, _MEANS),
        "differences": Table("differences", "Paired differences", differences, _DIFFERENCES),
    }
    return render("comparison.html.j2", context)
