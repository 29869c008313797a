"""The interface of checks, and the helpers that all families share: robust thresholds, scores, rows."""

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
"""The score of a check's threshold; a lower one is an issue."""

MAD_TO_SIGMA = 1.4826
"""Median absolute deviation -> standard deviation under a normal law (Rousseeuw & Croux 1993)."""


@dataclass(frozen=True)
class CheckInputs:
    """What checks may read.

    images and measurements have one row per image, in the same order; pairs holds verified near-duplicate pairs of
    distinct contents (columns pixel_sha256_a, pixel_sha256_b, probability, transform, relation). The others are None if
    they were not asked for: labels is the judgement of labels, shared what other data sets also hold, subjects who is
    who (``curation.pipeline.subjects.find``), challenges what was seen in embedded images
    (``curation.pipeline.challenges``).
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
        """(N,) whether each image could be decoded."""
        return np.asarray(self.measurements["error"] == "", dtype=np.bool_)


@dataclass(frozen=True)
class Check:
    """One check: its name, title and explanation, and the function that returns its issue rows."""

    name: str
    title: str
    explanation: str
    run: Callable[[CheckInputs], pd.DataFrame]


def lower_fence(values: Floats, z: float, floor: float, ceiling: float) -> float:
    """Return the value below which an image stands out from its data set.

    The fence is median - z * sigma, where sigma is estimated from the values below the median alone (a "double MAD",
    for skewed measures), and clipped to [floor, ceiling]: below floor a value is bad in any data set, above ceiling
    it is good in any.
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


def typical(values: Floats) -> float:
    """Return the median of the values that are not NaN, 0 if there are none."""
    return float(np.nanmedian(values)) if np.isfinite(values).any() else 0.0


Bounds = tuple[float, float]


def low_outliers(
    inputs: CheckInputs,
    check: str,
    values: Floats,
    bounds: Bounds,
    measure: str | Sequence[str],
    usual: float | None = None,
) -> pd.DataFrame:
    """Return the rows of a check for values from 0 on that are low in the data set, see :func:`lower_fence`.

    The score of ``usual`` (default: the median) and above is 1.
    """
    threshold = lower_fence(values, inputs.settings.checks.outlier_fence, *bounds)
    scores = low_is_bad(values, threshold, 0.0, typical(values) if usual is None else usual)
    return one_number_rows(check, inputs.images["path"], values, scores, measure=measure, threshold=threshold)


def high_outliers(
    inputs: CheckInputs, check: str, values: Floats, bounds: Bounds, measure: str | Sequence[str], worst: float = 1.0
) -> pd.DataFrame:
    """Return the rows of a check for values that are high in the data set; the score of ``worst`` is 0."""
    threshold = upper_fence(values, inputs.settings.checks.outlier_fence, *bounds)
    scores = high_is_bad(values, threshold, worst, typical(values))
    return one_number_rows(check, inputs.images["path"], values, scores, measure=measure, threshold=threshold)


def one_number_rows(
    check: str, paths: pd.Series, values: Floats, scores: Floats, *, measure: str | Sequence[str], threshold: float
) -> pd.DataFrame:
    """Return the rows of a check on one number; images with NaN get none.

    An image is an issue if its score is below 0.5. Evidence: {"measure", "value", "threshold"}; ``measure`` is one
    name, or one per image.
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
