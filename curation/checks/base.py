"""The interface of checks, and the helpers that all families share: robust thresholds, scores, rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from curation.base.arrays import Flags as Flags
from curation.base.arrays import Floats as Floats
from curation.base.arrays import Ints as Ints
from curation.base.scored import Column, Kind, Scored, Value, Written, exact_scores, narrow_scores, pieces
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
class Found:
    """What a check found, by column; only flagged and ``kept`` rows become rows of the issues table.

    Attributes:
        scored: scores and numbers of all images (N)
        flags: (N,) whether the image is an issue
        evidence: of the rows at these places, JSON objects; None: as ``scored`` states it
        kept: (N,) unflagged images whose evidence no number can rebuild

    """

    scored: Scored
    flags: Flags
    evidence: Callable[[Ints], Sequence[str]] | None = None
    kept: Flags | None = None

    def rows(self, check: str, paths: pd.Series) -> pd.DataFrame:
        """Return the flagged and kept rows as issue rows, in the order of ``paths`` (N,)."""
        at = np.flatnonzero(self.flags if self.kept is None else self.flags | self.kept)
        said = self.scored.evidence(at) if self.evidence is None else self.evidence(at)
        scores, groups = exact_scores(self.scored.scores[at]), self.scored.group_names(at)
        return rows(check, paths.iloc[at], scores, self.flags[at], said, groups.tolist())

    def columns(self) -> Scored:
        """Return what is to be kept by column: without groups if all that have one are rows."""
        groups, stored = self.scored.groups, self.flags if self.kept is None else self.flags | self.kept
        needed = groups is not None and (groups.codes[~stored] >= 0).any()
        return self.scored if needed else replace(self.scored, groups=None)

    def spread(self, at: Ints, number: int) -> Found:
        """Return the same for ``number`` images, of which these rows are the ones at ``at``; see ``Scored.spread``."""

        def whole(flags: Flags) -> Flags:
            found = np.zeros(number, dtype=np.bool_)
            found[at] = flags
            return found

        said = self.evidence
        place = np.zeros(number, dtype=np.int64)
        place[at] = np.arange(len(at))
        return Found(
            self.scored.spread(at, number),
            whole(self.flags),
            None if said is None else lambda rows: said(place[rows]),
            None if self.kept is None else whole(self.kept),
        )


def nothing(inputs: CheckInputs) -> Found:
    """Return the result of a check that scores no image."""
    number = len(inputs.images)
    return Found(Scored(np.full(number, np.nan, dtype=np.float32)), np.zeros(number, dtype=np.bool_))


@dataclass(frozen=True)
class Limits:
    """Values at which a check's scores are 0 (``worst``), 0.5 (``threshold``) and 1 (``typical``)."""

    worst: float
    threshold: float
    typical: float
    high_is_bad: bool = False

    def scores(self, values: Floats) -> Floats:
        """Return scores (N,) in 0..1, NaN where the value is not finite."""
        judge = high_is_bad if self.high_is_bad else low_is_bad
        return np.where(np.isfinite(values), judge(values, self.threshold, self.worst, self.typical), np.nan)


@dataclass(frozen=True)
class Measured:
    """One number an image.

    Attributes:
        values: (N,) NaN where the image is not scored
        names: what may have been measured
        which: (N,) unsigned, the number of the name; None where there is one

    """

    values: Floats
    names: tuple[str, ...]
    which: npt.NDArray[np.unsignedinteger[Any]] | None = None


@dataclass(frozen=True)
class OneNumber:
    """A check on one number, in two passes: the limits come from the values of all images, then each row is judged.

    Where ``reads`` names what ``measure`` reads, it may be given any block of rows: so the blocks of a large data set
    may be measured apart, ``limits`` called with all their values, and each block judged by itself; the limits are a
    few numbers (``curation.checks.blocks``). Calling the check does all of it.

    Attributes:
        measure: the number of each image
        limits: from the values of all images, NaN for those that are not scored
        more: what the evidence of flagged rows at these places has besides, as the end of a JSON object
        reads: the columns of the measurements that ``measure`` reads beside which images are ``readable``, if the
            number of an image depends on its own row alone; () where it needs all images at once

    """

    measure: Callable[[CheckInputs], Measured]
    limits: Callable[[Floats, Settings], Limits]
    more: Callable[[CheckInputs, Ints], list[str]] | None = None
    reads: tuple[str, ...] = ()

    def __call__(self, inputs: CheckInputs) -> Found:
        """Return what the check finds in a whole data set."""
        measured = self.measure(inputs)
        return self.judge(inputs, measured, self.limits(measured.values, inputs.settings))

    def judge(self, inputs: CheckInputs, measured: Measured, limits: Limits) -> Found:
        """Return what the check finds in a block of rows; ``inputs`` and ``measured`` are of that block."""
        scores = limits.scores(measured.values)
        return self.found(inputs, one_number(measured, scores, limits.threshold), scores < ISSUE_SCORE)

    def found(self, inputs: CheckInputs, scored: Scored, flags: Flags) -> Found:
        """Return what was judged, with the evidence of flagged rows; all are of the same rows."""
        more = self.more

        def evidence(at: Ints) -> list[str]:
            said = scored.evidence(at)
            ends = more(inputs, at) if more else []
            return [f"{text[:-1]}, {end}}}" for text, end in zip(said, ends, strict=True)]

        return Found(scored, flags, evidence if more else None)


def one_number(measured: Measured, scores: Floats, threshold: float) -> Scored:
    """Return scores and evidence {"value", "threshold", "measure"} of a check on one number."""
    kinds: dict[str, Kind] = {"value": "significant"}
    said = tuple(
        pieces(kinds, value=Value("value"), threshold=Written(f"{threshold:.4g}"), measure=name)
        for name in measured.names
    )
    values = {"value": Column.narrow("significant", measured.values)}
    return Scored(narrow_scores(scores), said, measured.which, values)


@dataclass(frozen=True)
class Check:
    """One check: its name, title and explanation, and the function that returns what it found.

    ``run`` may return issue rows instead: all of them are then kept as rows.
    """

    name: str
    title: str
    explanation: str
    run: Callable[[CheckInputs], Found | pd.DataFrame]


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


def low_outliers(bounds: Bounds, usual: float | None = None) -> Callable[[Floats, Settings], Limits]:
    """Return the limits of values from 0 on that are low in the data set, see :func:`lower_fence`.

    The score of ``usual`` (default: the median) and above is 1.
    """

    def limits(values: Floats, settings: Settings) -> Limits:
        threshold = lower_fence(values, settings.checks.outlier_fence, *bounds)
        return Limits(0.0, threshold, typical(values) if usual is None else usual)

    return limits


def high_outliers(bounds: Bounds, worst: float = 1.0) -> Callable[[Floats, Settings], Limits]:
    """Return the limits of values that are high in the data set; the score of ``worst`` is 0."""

    def limits(values: Floats, settings: Settings) -> Limits:
        return Limits(worst, upper_fence(values, settings.checks.outlier_fence, *bounds), typical(values), True)

    return limits


def one_number_rows(
    check: str, paths: pd.Series, values: Floats, scores: Floats, *, measure: str | Sequence[str], threshold: float
) -> pd.DataFrame:
    """Return the rows of a check on one number; images with NaN get none.

    An image is an issue if its score is below 0.5. Evidence: {"measure", "value", "threshold"}; ``measure`` is one
    name, or one per image.
    """
    at = np.flatnonzero(np.isfinite(values))
    which, names = pd.factorize(np.asarray([measure] * len(values) if isinstance(measure, str) else measure, object))
    scored = one_number(Measured(values, tuple(names), which.astype(np.min_scalar_type(len(names)))), scores, threshold)
    return rows(check, paths.iloc[at], np.round(scores[at], 6), scores[at] < ISSUE_SCORE, scored.evidence(at))


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
            "path": paths.array,
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
