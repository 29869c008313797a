"""Evaluate predictions: every metric with a bootstrap interval, paired comparisons, confused images.

All functions are of arrays and frames; none needs torch. A bootstrap replicate is a draw of images with replacement
(Efron, 1979); all metrics are functions of sums over images, so that many replicates are one matrix product.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.arrays import Flags, Floats, Ints, Probabilities

REPLICATES = 1000
"""Bootstrap replicates; enough for the second digit of a 95 % interval (Efron & Tibshirani, 1993, section 13.3)."""

CONFIDENCE = 0.95
"""Coverage of every interval."""

CALIBRATION_BINS = 15
"""Equal bins of the largest probability in the calibration error (Guo et al., 2017)."""

REPLICATES_AT_ONCE = 100
"""Replicates computed at once, to limit memory."""

SMALLEST_PROBABILITY = 1e-7
"""Least probability in the log loss, which would be infinite at 0."""


class EvaluationError(ValueError):
    """Predictions that cannot be evaluated."""


@dataclass(frozen=True)
class _Sums:
    """Each image's contribution to the sums, (n, columns), and the number of classes."""

    columns: Floats
    classes: int


def predictions_table(
    paths: Sequence[str], probabilities: Probabilities, classes: Sequence[str], fold: int | npt.ArrayLike, model: str
) -> pd.DataFrame:
    """Return the predictions table: path, one probability per class, fold, model fingerprint.

    Args:
        paths: of the images.
        probabilities: (n, classes).
        classes: names of the columns.
        fold: that an image was held out of; -1 where the model was fitted on all of train.
        model: fingerprint or name.

    """
    table = pd.DataFrame({"path": list(paths)})
    for column, name in enumerate(classes):
        table[name] = np.asarray(probabilities)[:, column].astype(np.float64)
    return table.assign(fold=np.broadcast_to(np.asarray(fold, np.int64), len(table)), model=model)


def confusion(labels: Ints, predicted: Ints, classes: int) -> Ints:
    """Return counts (classes, classes): rows are given labels, columns predicted ones."""
    cells = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return cells.reshape(classes, classes).astype(np.int64)


def metrics(
    labels: Ints,
    probabilities: Probabilities,
    classes: Sequence[str],
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> pd.DataFrame:
    """Return every metric with its 95 % percentile interval.

    Args:
        labels: (n,) given classes.
        probabilities: (n, classes), rows that sum to 1.
        classes: names.
        replicates: bootstrap draws.
        seed: of the draws.

    Returns:
        Columns metric, class ("" for all), estimate, low, high; metric is one of accuracy, balanced_accuracy
        (mean recall of the classes present), macro_f1, log_loss, calibration_error (Guo et al., 2017), f1,
        precision, recall (one row per class), confusion (class is "GIVEN -> PREDICTED", share of the given class).
        Undefined values (of a class without images) are NaN.

    Raises:
        EvaluationError: there are no images, or the shapes or probabilities are wrong.

    """
    _check(labels, probabilities, classes)
    sums = _sums(labels, probabilities)
    names, estimate = _derived(sums.columns.sum(axis=0)[None, :], sums.classes, classes)
    draws = _derived(replicated_sums(sums.columns, replicates, seed), sums.classes, classes)[1]
    low, high = _bounds(draws)
    table = pd.DataFrame(names, columns=["metric", "class"])
    return table.assign(estimate=estimate[0], low=low, high=high)


def side_by_side(
    labels: Ints,
    probabilities: Probabilities,
    classes: Sequence[str],
    views: Mapping[str, Flags],
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> pd.DataFrame:
    """Return ``metrics`` for each view, a mask of the images; column ``view`` and ``images`` come first.

    Views without images are left out.
    """
    tables = []
    for name, mask in views.items():
        if mask.any():
            table = metrics(labels[mask], probabilities[mask], classes, replicates=replicates, seed=seed)
            table.insert(0, "view", name)
            table.insert(1, "images", int(mask.sum()))
            tables.append(table)
    if not tables:
        raise EvaluationError("no view has any image to evaluate")
    return pd.concat(tables, ignore_index=True)


def standard_views(frame: pd.DataFrame, split: str, cleaned: pd.DataFrame | None = None) -> dict[str, Flags]:
    """Return the standard views, masks of the rows of ``frame``.

    Args:
        frame: columns path, split and group; images of one non-empty group are copies of each other. Optional subject:
            images of one non-empty subject show one person.
        split: to evaluate on.
        cleaned: a cleaned version's frame: path and split, and status if it has excluded rows. Its images of the split
            are the last view.

    Returns:
        "as given", "without copies in train", if people are known "without people in train" (nor copies), and with
        ``cleaned`` "cleaned".

    """
    given = (frame["split"] == split).to_numpy()
    trained = set(frame.loc[(frame["split"] == "train") & (frame["group"] != ""), "group"])
    views = {"as given": given, "without copies in train": given & ~frame["group"].isin(trained).to_numpy()}
    if "subject" in frame and (frame["subject"] != "").any():
        met = set(frame.loc[(frame["split"] == "train") & (frame["subject"] != ""), "subject"])
        views["without people in train"] = views["without copies in train"] & ~frame["subject"].isin(met).to_numpy()
    if cleaned is not None:
        kept = cleaned if "status" not in cleaned else cleaned[cleaned["status"] == "kept"]
        left = set(kept.loc[kept["split"] == split, "path"])
        views["cleaned"] = frame["path"].isin(left).to_numpy()
    return views


def compare_pairs(
    labels: Ints,
    first: Probabilities,
    second: Probabilities,
    classes: Sequence[str],
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> pd.DataFrame:
    """Return how much better the second model is than the first on the same images, with a paired bootstrap.

    Args:
        labels: (n,) given classes.
        first: (n, classes) probabilities.
        second: (n, classes) probabilities.
        classes: names.
        replicates: bootstrap draws; each draw takes the same images for both models.
        seed: of the draws.

    Returns:
        Columns metric, class, first, second, difference (second - first), low, high (95 % interval of the
        difference), p_value (exact McNemar test for accuracy, NaN otherwise).

    """
    _check(labels, first, classes)
    _check(labels, second, classes)
    both = [_sums(labels, probabilities) for probabilities in (first, second)]
    names, one = _derived(both[0].columns.sum(axis=0)[None, :], len(classes), classes)
    other = _derived(both[1].columns.sum(axis=0)[None, :], len(classes), classes)[1]
    drawn = [_derived(replicated_sums(sums.columns, replicates, seed), len(classes), classes)[1] for sums in both]
    low, high = _bounds(drawn[1] - drawn[0])
    table = pd.DataFrame(names, columns=["metric", "class"])
    table = table.assign(first=one[0], second=other[0], difference=other[0] - one[0], low=low, high=high)
    p_value = mcnemar(first.argmax(axis=1) == labels, second.argmax(axis=1) == labels)
    return table.assign(p_value=np.where(table["metric"] == "accuracy", p_value, np.nan))


def view_difference(
    right: Flags,
    whole: Flags,
    part: Flags,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Return accuracy on ``whole`` minus accuracy on ``part``, a subset of it, with its 95 % bootstrap interval.

    Both use the same draws of images. The bounds are NaN if a draw holds no image of the part.

    Args:
        right: (n,) whether each prediction is right.
        whole: (n,) the images of the first accuracy.
        part: (n,) those of the second.
        replicates: bootstrap draws.
        seed: of the draws.

    """
    columns = np.column_stack([whole, whole & right, part, part & right])[whole].astype(np.float64)

    def difference(sums: Floats) -> Floats:
        return _ratio(sums[:, 1], sums[:, 0]) - _ratio(sums[:, 3], sums[:, 2])

    drawn = interval(difference(replicated_sums(columns, replicates, seed)))
    return float(difference(columns.sum(axis=0)[None, :])[0]), *drawn


def mcnemar(first_right: Flags, second_right: Flags) -> float:
    """Return the exact two-sided p-value that two models are right equally often (McNemar, 1947)."""
    from scipy.stats import binomtest

    only_first = int((first_right & ~second_right).sum())
    only_second = int((second_right & ~first_right).sum())
    if only_first + only_second == 0:
        return 1.0
    return float(binomtest(only_first, only_first + only_second).pvalue)


def confused(frame: pd.DataFrame, classes: Sequence[str], names: Sequence[str], limit: int = 24) -> pd.DataFrame:
    """Return the images under the deck's headings: "Actual sad?", ..., "Predicted sad?", ...

    Args:
        frame: predictions with a column ``label``: path, label, one probability per class.
        classes: names of the probability columns.
        names: classes in the headings; the deck's are sad and neutral.
        limit: most images under a heading.

    Returns:
        Columns heading, path, label, predicted, probability (of the predicted class): under "Actual X?" the images
        labelled X but predicted otherwise, under "Predicted X?" those predicted as X but labelled otherwise; the most
        confident first.

    """
    scores = frame[list(classes)].to_numpy()
    found = frame[["path", "label"]].assign(
        predicted=np.asarray(classes, dtype=object)[scores.argmax(axis=1)], probability=scores.max(axis=1)
    )
    found = found[found["label"] != found["predicted"]].sort_values(["probability", "path"], ascending=[False, True])
    parts = []
    for column, heading in (("label", "Actual"), ("predicted", "Predicted")):
        for name in names:
            part = found[found[column] == name].head(limit)
            parts.append(part.assign(heading=f"{heading} {name}?"))
    return pd.concat(parts, ignore_index=True)[["heading", "path", "label", "predicted", "probability"]]


def _check(labels: Ints, probabilities: Probabilities, classes: Sequence[str]) -> None:
    """Refuse input that would give meaningless figures."""
    if not len(labels):
        raise EvaluationError("there are no images to evaluate")
    if probabilities.shape != (len(labels), len(classes)):
        raise EvaluationError(
            f"{len(labels)} images of {len(classes)} classes have {probabilities.shape} probabilities"
        )
    if labels.min() < 0 or labels.max() >= len(classes):
        raise EvaluationError("a label is not among the classes")
    if not np.allclose(probabilities.sum(axis=1), 1, atol=1e-3) or (probabilities < 0).any():
        raise EvaluationError("probabilities must be at least 0 and sum to 1 for every image")


def _sums(labels: Ints, probabilities: Probabilities) -> _Sums:
    """Return each image's contribution to the confusion matrix, the log loss and the calibration bins."""
    count, classes = probabilities.shape
    rows, predicted, sure = np.arange(count), probabilities.argmax(axis=1), probabilities.max(axis=1)
    cells = np.zeros((count, classes * classes))
    cells[rows, labels * classes + predicted] = 1
    loss = -np.log(np.maximum(probabilities[rows, labels], SMALLEST_PROBABILITY))
    gaps = np.zeros((count, CALIBRATION_BINS))
    bins = np.minimum((sure * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    gaps[rows, bins] = sure - (predicted == labels)
    return _Sums(np.column_stack([cells, loss, gaps]).astype(np.float64), classes)


def replicated_sums(columns: Floats, replicates: int, seed: int) -> Floats:
    """Return the sums over ``replicates`` draws of as many images with replacement, (replicates, columns).

    ``columns`` is (n, columns), each image's contribution.
    """
    rng, count = np.random.default_rng(seed), len(columns)
    parts = []
    for start in range(0, replicates, REPLICATES_AT_ONCE):
        rows = min(REPLICATES_AT_ONCE, replicates - start)
        drawn = rng.integers(0, count, (rows, count)) + count * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        parts.append(times.astype(np.float64) @ columns)
    return np.concatenate(parts)


def _derived(sums: Floats, classes: int, names: Sequence[str]) -> tuple[list[tuple[str, str]], Floats]:
    """Return (metric, class) names and their values, (draws, metrics), from sums, (draws, columns)."""
    cells = sums[:, : classes * classes].reshape(-1, classes, classes)
    loss, gaps = sums[:, classes * classes], sums[:, classes * classes + 1 :]
    given, called, right = cells.sum(axis=2), cells.sum(axis=1), np.diagonal(cells, axis1=1, axis2=2)
    count = given.sum(axis=1)
    recall, precision = _ratio(right, given), _ratio(right, called)
    # F1 = 2 right / (given + called): 0, not undefined, for a class that is never predicted
    f1 = _ratio(2 * right, given + called)
    whole = [
        ("accuracy", right.sum(axis=1) / count),
        ("balanced_accuracy", _mean_of_known(recall)),
        ("macro_f1", _mean_of_known(f1)),
        ("log_loss", loss / count),
        ("calibration_error", np.abs(gaps).sum(axis=1) / count),
    ]
    each = [("f1", f1), ("precision", precision), ("recall", recall)]
    labels = [(metric, "") for metric, _ in whole]
    labels += [(metric, name) for metric, _ in each for name in names]
    labels += [("confusion", f"{one} -> {other}") for one in names for other in names]
    shares = _ratio(cells, given[:, :, None]).reshape(len(cells), -1)
    values = np.column_stack([*(value for _, value in whole), *(value for _, value in each), shares])
    return labels, values


def _ratio(top: Floats, bottom: Floats) -> Floats:
    """Divide; NaN where the denominator is 0."""
    out = np.full(np.broadcast_shapes(top.shape, bottom.shape), np.nan)
    np.divide(top, bottom, out=out, where=np.broadcast_to(bottom, out.shape) > 0)
    return out


def _mean_of_known(values: Floats) -> Floats:
    """Return the mean over the classes that are present, (draws,)."""
    known = ~np.isnan(values)
    mean: Floats = np.where(known, values, 0).sum(axis=1) / known.sum(axis=1)
    return mean


def interval(draws: Floats) -> tuple[float, float]:
    """Return the 95 % percentile interval of draws (n,)."""
    low, high = _bounds(draws[:, None])
    return float(low[0]), float(high[0])


def mean_interval(values: npt.NDArray[np.generic], seed: int = 0) -> tuple[float, float, float]:
    """Return the mean of values (n,), one per image, with its 95 % bootstrap interval."""
    numbers = values.astype(np.float64)
    draws = np.random.default_rng(seed).integers(0, len(numbers), (REPLICATES, len(numbers)))
    return float(numbers.mean()), *interval(numbers[draws].mean(axis=1))


def _bounds(draws: Floats) -> tuple[Floats, Floats]:
    """Return the percentile interval of each column; NaN for a column with NaN in any draw."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
    return low, high
