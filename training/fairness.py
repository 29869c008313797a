"""Metrics by group: accuracy, F1, error and selection rates with intervals, and groups that differ from the rest.

Every metric is a ratio of sums over images, so that a thousand bootstrap replicates of a group and of the rest are two
matrix products. ``group_estimates`` is fairlearn's metric frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from training.arrays import Flags, Floats, Ints, Probabilities
from training.evaluate import CONFIDENCE, REPLICATES, replicated_sums

MINIMUM_GROUP = 30
"""Least images of a group with figures: with fewer, a rate of 0.8 has an interval wider than 0.3 (Wilson)."""

FALSE_DISCOVERY_RATE = 0.05
"""Expected share of false findings among the groups that differ from the rest (Benjamini & Hochberg, 1995)."""

INTERSECTION = " and "
"""Joins the names of two attributes, and of two groups."""

COLUMNS = [
    "attribute", "group", "images", "metric", "class", "estimate", "low", "high", "rest", "difference",
    "difference_low", "difference_high", "p_adjusted", "differs",
]  # fmt: skip

_Ratios = Mapping[tuple[str, str], tuple[Floats, Floats]]
"""(metric, class) -> each image's contribution to numerator and denominator, (n,) each."""


def by_group(
    groups: pd.DataFrame,
    probabilities: Probabilities,
    classes: Sequence[str],
    labels: Ints | None = None,
    *,
    minimum: int = MINIMUM_GROUP,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> pd.DataFrame:
    """Return a model's metrics for every group of every attribute and of every pair of attributes.

    Args:
        groups: a column per attribute, a row per image; values are names of groups, "" where unknown.
        probabilities: (n, classes).
        classes: names.
        labels: (n,) true classes; None if unknown: then only selection rates of the classes and confidence.
        minimum: least images of a group.
        replicates: bootstrap draws.
        seed: of the draws.

    Returns:
        Columns attribute, group, images, metric, class ("" for all), estimate, low, high, rest (the same metric over
        the images outside the group), difference (estimate - rest) with its interval, p_adjusted (of no difference;
        Benjamini-Hochberg over the table), differs. Metrics: selection_rate and confidence, and with labels accuracy,
        f1, false_positive_rate, false_negative_rate.

    """
    predicted = probabilities.argmax(axis=1)
    ratios = _prediction_ratios(predicted, probabilities, classes)
    if labels is not None:
        ratios |= _label_ratios(labels, predicted, classes)
    return _by_group(groups, ratios, minimum, replicates, seed)


def rates_by_group(
    groups: pd.DataFrame,
    flags: pd.DataFrame,
    *,
    minimum: int = MINIMUM_GROUP,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the rate of each flag in every group, as ``by_group``: for example, whose images are removed more often.

    Args:
        groups: a column per attribute, a row per image.
        flags: a bool column per metric, a row per image.
        minimum: least images of a group.
        replicates: bootstrap draws.
        seed: of the draws.

    """
    ones = np.ones(len(flags))
    ratios = {(str(name), ""): (flags[name].to_numpy(np.float64), ones) for name in flags.columns}
    return _by_group(groups, ratios, minimum, replicates, seed)


def with_intersections(groups: pd.DataFrame) -> pd.DataFrame:
    """Return the attributes and all pairs of them; a pair is unknown where either is."""
    out = groups.copy()
    for one, other in combinations(groups.columns, 2):
        known = (groups[one] != "") & (groups[other] != "")
        joined = groups[one].astype(str) + INTERSECTION + groups[other].astype(str)
        out[f"{one}{INTERSECTION}{other}"] = joined.where(known, "")
    return out


def group_estimates(labels: Ints, predicted: Ints, group: pd.Series) -> pd.DataFrame:
    """Return accuracy and balanced accuracy per group by fairlearn's metric frame, with the gap in ``attrs``."""
    from fairlearn.metrics import MetricFrame, count
    from sklearn.metrics import accuracy_score, balanced_accuracy_score

    frame = MetricFrame(
        metrics={"images": count, "accuracy": accuracy_score, "balanced_accuracy": balanced_accuracy_score},
        y_true=labels,
        y_pred=predicted,
        sensitive_features=group,
    )
    table: pd.DataFrame = frame.by_group.reset_index(names="group")
    table.attrs["largest_gap"] = float(frame.difference()["accuracy"])
    return table


def _prediction_ratios(
    predicted: Ints, probabilities: Probabilities, classes: Sequence[str]
) -> dict[tuple[str, str], tuple[Floats, Floats]]:
    ones = np.ones(len(predicted))
    ratios = {
        ("selection_rate", name): ((predicted == place).astype(np.float64), ones) for place, name in enumerate(classes)
    }
    ratios[("confidence", "")] = (probabilities.max(axis=1).astype(np.float64), ones)
    return ratios


def _label_ratios(
    labels: Ints, predicted: Ints, classes: Sequence[str]
) -> dict[tuple[str, str], tuple[Floats, Floats]]:
    right = (labels == predicted).astype(np.float64)
    ratios = {("accuracy", ""): (right, np.ones(len(labels)))}
    for place, name in enumerate(classes):
        given, called = (labels == place).astype(np.float64), (predicted == place).astype(np.float64)
        ratios[("f1", name)] = (2 * given * called, given + called)
        ratios[("false_positive_rate", name)] = ((1 - given) * called, 1 - given)
        ratios[("false_negative_rate", name)] = (given * (1 - called), given)
    return ratios


def _by_group(
    groups: pd.DataFrame,
    ratios: _Ratios,
    minimum: int,
    replicates: int,
    seed: int,
) -> pd.DataFrame:
    names = list(ratios)
    columns = np.column_stack([part for pair in ratios.values() for part in pair])
    parts = []
    for attribute, values in with_intersections(groups).items():
        known = (values != "").to_numpy()
        sizes = values[known].value_counts().sort_index()
        for group, images in sizes.items():
            mine = (values == group).to_numpy()
            others = known & ~mine
            if images >= minimum and others.any():
                table = _one_group(columns, names, mine, others, replicates, seed)
                parts.append(table.assign(attribute=str(attribute), group=str(group), images=int(images)))
    if not parts:
        return pd.DataFrame(columns=COLUMNS)
    table = pd.concat(parts, ignore_index=True)
    return _judged(table)[COLUMNS]


def _one_group(
    columns: Floats,
    names: Sequence[tuple[str, str]],
    mine: Flags,
    others: Flags,
    replicates: int,
    seed: int,
) -> pd.DataFrame:
    """Return estimate, rest and difference with bootstrap intervals, a row per metric."""
    own, rest = (_divided(columns[mask].sum(axis=0)[None, :])[0] for mask in (mine, others))
    drawn, drawn_rest = (
        _divided(replicated_sums(columns[mask], replicates, seed + place)) for place, mask in enumerate((mine, others))
    )
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(_defined(drawn), [tail, 1 - tail], axis=0)
    gaps = _defined(drawn - drawn_rest)
    gap_low, gap_high = np.nanquantile(gaps, [tail, 1 - tail], axis=0)
    table = pd.DataFrame(names, columns=["metric", "class"])
    table = table.assign(estimate=own, low=low, high=high, rest=rest, difference=own - rest)
    return table.assign(difference_low=gap_low, difference_high=gap_high, spread=np.nanstd(gaps, axis=0))


def _defined(draws: Floats) -> Floats:
    """Return draws with 0 for a metric that is undefined in all of them, to allow quantiles of the others."""
    empty = np.asarray(np.isnan(draws).all(axis=0))
    return np.where(empty[None, :], 0.0, draws)


def _divided(sums: Floats) -> Floats:
    top, bottom = sums[:, 0::2], sums[:, 1::2]
    return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)


def _judged(table: pd.DataFrame) -> pd.DataFrame:
    """Add the adjusted p-value of no difference (normal approximation to the bootstrap) and the verdict."""
    from scipy.stats import false_discovery_control, norm

    known = table["difference"].notna() & (table["spread"] > 0)
    z = (table["difference"].abs() / table["spread"]).where(known, 0.0)
    # a difference without spread: all images of each side agree, so it is certain
    p_value = np.where(known, 2 * norm.sf(z), np.where(table["difference"].abs() > 0, 0.0, 1.0))
    p_value = np.where(table["difference"].isna(), 1.0, p_value)
    adjusted = false_discovery_control(p_value)
    return table.assign(p_adjusted=adjusted, differs=adjusted < FALSE_DISCOVERY_RATE)
