"""What a check is, and the helpers that all families share: robust thresholds, scores, rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from curation.base.arrays import Flags as Flags
from curation.base.arrays import Floats as Floats
from curation.base.settings import Settings
from curation.checks.graph import CopyGraph
from curation.checks.graph import build as build_graph

if TYPE_CHECKING:
    from curation.checks.challenges.found import Challenges

ISSUE_SCORE = 0.5
"""A one-number check maps its threshold to this score; lower is an issue."""

MAD_TO_SIGMA = 1.4826
"""Median absolute deviation -> standard deviation under a normal law (Rousseeuw & Croux 1993)."""


@dataclass(frozen=True)
class CheckInputs:
    """What checks may read.

    images and measurements have one row per image, in the same order; pairs holds verified near-duplicate pairs of
    distinct contents (columns pixel_sha256_a, pixel_sha256_b, probability, transform, relation); labels the judgement
    of labels and shared what other data sets hold too, None where neither was asked for; subjects says who is who (see
    ``curation.pipeline.subjects.find``), None where nobody is known; challenges says what
    was seen in the images (``curation.pipeline.challenges``), None where they are not embedded.
    """

    images: pd.DataFrame
    measurements: pd.DataFrame
    pairs: pd.DataFrame
    settings: Settings
    labels: pd.DataFrame | None = None
    shared: pd.DataFrame | None = None
    subjects: pd.DataFrame | None = None
    challenges: Challenges | None = None

    @cached_property
    def copies(self) -> CopyGraph:
        """The graph of copies, built once for all checks that read it."""
        minimum = self.settings.duplicates.min_probability
        marked = None if self.challenges is None else np.nan_to_num(self.challenges.marked[0]) > 1 - ISSUE_SCORE
        return build_graph(self.images, self.measurements, self.pairs, minimum, marked)

    @property
    def readable(self) -> Flags:
        """(N,) which images could be decoded."""
        return np.asarray(self.measurements["error"] == "", dtype=np.bool_)


@dataclass(frozen=True)
class Check:
    """One check: its name, what it says in plain words, and the function that makes its issue rows."""

    name: str
    title: str
    explanation: str
    run: Callable[[CheckInputs], pd.DataFrame]


def lower_fence(values: Floats, z: float, floor: float, ceiling: float) -> float:
    """Return the value below which an image stands out from its data set.

    The fence is median - z * sigma, where sigma is estimated from the values below the median alone (a "double MAD",
    for skewed measures), and kept within [floor, ceiling]: below floor a value is bad in any data set, above
    ceiling it is good in any.
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return floor
    middle = float(np.median(known))
    below = middle - known[known <= middle]
    sigma = MAD_TO_SIGMA * float(np.median(below))
    return float(np.clip(middle - z * sigma, floor, ceiling))


def upper_fence(values: Floats, z: float, floor: float, ceiling: float) -> float:
    """Return the value above which an image stands out; see :func:`lower_fence`."""
    return -lower_fence(-values, z, -ceiling, -floor)


def low_is_bad(values: Floats, threshold: float, worst: float, typical: float) -> Floats:
    """Return scores (N,) in 0..1: ``worst`` -> 0, ``threshold`` -> 0.5, ``typical`` and above -> 1."""
    points = np.array([worst, threshold, max(typical, np.nextafter(threshold, np.inf))])
    return np.interp(values, points, [0.0, ISSUE_SCORE, 1.0])


def high_is_bad(values: Floats, threshold: float, worst: float, typical: float) -> Floats:
    """Return scores (N,) in 0..1: ``worst`` -> 0, ``threshold`` -> 0.5, ``typical`` and below -> 1."""
    return low_is_bad(-values, -threshold, -worst, -typical)


def one_number_rows(
    check: str, paths: pd.Series, values: Floats, scores: Floats, *, measure: str | Sequence[str], threshold: float
) -> pd.DataFrame:
    """Return the rows of a check that judges one number; images whose value is NaN get none.

    An image is an issue where its score is below 0.5. Evidence: {"measure", "value", "threshold"}; ``measure`` is one
    name, or one an image.
    """
    known = np.isfinite(values)
    names = [measure] * len(values) if isinstance(measure, str) else measure
    evidence = [
        f'{{"value": {value:.4g}, "threshold": {threshold:.4g}, "measure": {json.dumps(names[n])}}}'
        for n, value in zip(np.flatnonzero(known).tolist(), values[known], strict=True)
    ]
    rounded = np.round(scores[known], 6)
    return rows(check, paths[known], rounded, scores[known] < ISSUE_SCORE, evidence)


def rows(
    check: str,
    paths: pd.Series,
    scores: Floats,
    flags: Flags,
    evidence: Sequence[str],
    groups: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return issue rows from columns of equal length; evidence holds JSON objects."""
    return pd.DataFrame(
        {
            "path": paths.to_numpy(),
            "check": check,
            "score": scores,
            "is_issue": flags,
            "group": "" if groups is None else list(groups),
            "evidence": list(evidence),
        }
    )


def as_json(**evidence: Any) -> str:
    """Return evidence as the JSON object of an issue row."""
    return json.dumps(evidence, ensure_ascii=False)
