"""Robustness of a model: graded corruptions, accuracy by covariate, and covariates that explain a gap.

The corruptions are those of Hendrycks & Dietterich ("Benchmarking neural network robustness", 2019) that apply to small
grey faces, graded in intuitive units. All draws are seeded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from training.arrays import Flags, Floats, Ints, Pixels, Probabilities
from training.evaluate import CONFIDENCE, REPLICATES, interval, mean_interval

Predict = Callable[[Pixels], Probabilities]
"""Grey images (n, h, w) uint8 -> probabilities (n, classes)."""

SEVERITIES: Mapping[str, tuple[float, ...]] = {
    "darker": (1.5, 2.0, 3.0, 4.0),
    "brighter": (1.5, 2.0, 3.0, 4.0),
    "blur": (0.02, 0.04, 0.06, 0.08),
    "noise": (0.04, 0.08, 0.12, 0.18),
    "JPEG": (30, 15, 8, 4),
    "rotation": (10, 20, 30, 45),
    "crop": (0.05, 0.10, 0.15, 0.20),
    "occlusion": (0.2, 0.3, 0.4, 0.5),
}
"""Grades of each corruption, mild to strong, in the units of ``UNITS``."""

UNITS: Mapping[str, str] = {
    "darker": "gamma",
    "brighter": "1 / gamma",
    "blur": "standard deviation, share of the side",
    "noise": "standard deviation, share of the range of tones",
    "JPEG": "quality",
    "rotation": "degrees, either way",
    "crop": "share cut off at every edge",
    "occlusion": "side of a flat square somewhere, share of the image's side",
}

COVARIATE_BINS = 5
"""Bins of a covariate, with equal shares of the images."""

STRATA = 10
"""Strata with equal shares of both sets together; five already remove nine tenths of a linear bias (Cochran, 1968)."""

LARGEST_WEIGHT = 20.0
"""Largest importance weight of an image."""


def corrupted(images: Pixels, name: str, grade: float, seed: int = 0) -> Pixels:
    """Return images under one corruption.

    Args:
        images: (n, h, w) uint8.
        name: one of ``SEVERITIES``.
        grade: strength, in the unit of ``UNITS``.
        seed: of noise, rotations and positions.

    Raises:
        KeyError: there is no such corruption.

    """
    rng = np.random.default_rng(seed)
    function = _CORRUPTIONS[name]
    out = np.empty_like(images)
    for row, image in zip(out, images, strict=True):
        row[:] = np.clip(function(image, grade, rng), 0, 255)
    return out


def _gamma(image: Pixels, gamma: float, _rng: np.random.Generator) -> Pixels:
    return np.asarray(np.round(255 * (image / 255.0) ** gamma), np.uint8)


def _brighter(image: Pixels, gamma: float, rng: np.random.Generator) -> Pixels:
    return _gamma(image, 1 / gamma, rng)


def _blur(image: Pixels, sigma: float, _rng: np.random.Generator) -> Pixels:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma * image.shape[0]), np.uint8)


def _noise(image: Pixels, deviation: float, rng: np.random.Generator) -> Floats:
    return np.asarray(np.clip(np.round(image + rng.normal(0, 255 * deviation, image.shape)), 0, 255))


def _jpeg(image: Pixels, quality: float, _rng: np.random.Generator) -> Pixels:
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE), np.uint8)


def _rotation(image: Pixels, degrees: float, rng: np.random.Generator) -> Pixels:
    height, width = image.shape
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees * rng.choice([-1, 1]), 1.0)
    return np.asarray(cv2.warpAffine(image, turn, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _crop(image: Pixels, share: float, _rng: np.random.Generator) -> Pixels:
    height, width = image.shape
    top, left = round(height * share), round(width * share)
    inside = image[top : height - top, left : width - left]
    return np.asarray(cv2.resize(inside, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _occlusion(image: Pixels, share: float, rng: np.random.Generator) -> Pixels:
    side = max(1, round(share * image.shape[0]))
    top, left = (int(rng.integers(0, length - side + 1)) for length in image.shape)
    out = image.copy()
    out[top : top + side, left : left + side] = int(image.mean())
    return out


_CORRUPTIONS: Mapping[str, Callable[[Pixels, float, np.random.Generator], npt.NDArray[np.generic]]] = {
    "darker": _gamma,
    "brighter": _brighter,
    "blur": _blur,
    "noise": _noise,
    "JPEG": _jpeg,
    "rotation": _rotation,
    "crop": _crop,
    "occlusion": _occlusion,
}


def curves(
    predict: Predict,
    images: Pixels,
    labels: Ints,
    *,
    seed: int = 0,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> pd.DataFrame:
    """Return accuracy on the same images under every corruption and grade.

    Args:
        predict: the model.
        images: (n, h, w) uint8.
        labels: (n,).
        seed: of corruptions and bootstrap.
        report: called with (grades done, all grades).

    Returns:
        Columns corruption, unit, severity (0 is none), grade, accuracy, low, high, change (from none, paired) with its
        interval change_low, change_high.

    """
    clean = predict(images).argmax(axis=1) == labels
    total, done, rows = sum(map(len, SEVERITIES.values())), 0, []
    for name, grades in SEVERITIES.items():
        rows.append((name, UNITS[name], 0, np.nan, *mean_interval(clean, seed), 0.0, 0.0, 0.0))
        for severity, grade in enumerate(grades, start=1):
            right = predict(corrupted(images, name, grade, seed)).argmax(axis=1) == labels
            change = right.astype(np.float64) - clean
            figures = *mean_interval(right, seed), *mean_interval(change, seed)
            rows.append((name, UNITS[name], severity, grade, *figures))
            done += 1
            report(done, total)
    columns = ["corruption", "unit", "severity", "grade", "accuracy", "low", "high"]
    return pd.DataFrame(rows, columns=[*columns, "change", "change_low", "change_high"])


def covariates(images: Pixels) -> pd.DataFrame:
    """Return covariates from pixels alone: illumination and contrast (0..1), sharpness (log10).

    Sharpness is the variance of the Laplacian relative to that of the tones, so that dark images do not count as
    blurred; about 0 for noise and -3 for a smooth gradient.
    """
    tones = images.reshape(len(images), -1).astype(np.float64) / 255
    spread = tones.var(axis=1)
    edges = np.array([cv2.Laplacian(image.astype(np.float64) / 255, cv2.CV_64F).var() for image in images])
    relative = (edges + 1e-8) / (spread + 1e-6)
    return pd.DataFrame(
        {"illumination": tones.mean(axis=1), "contrast": np.sqrt(spread), "sharpness": np.log10(relative)}
    )


def by_covariate(right: Flags, values: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Return accuracy in bins of each covariate with equal shares of the images.

    Args:
        right: (n,) whether each prediction is right.
        values: a column per covariate, a row per image; NaN where unknown.
        seed: of the bootstrap.

    Returns:
        Columns covariate, bin (0 lowest), left, right, images, accuracy, low, high; none for a constant covariate.

    """
    rows = []
    for name in values.columns:
        column = values[name].to_numpy(np.float64)
        for place, (left, upper, mask) in enumerate(_bins(column, column)):
            if mask.any():
                rows.append((name, place, left, upper, int(mask.sum()), *mean_interval(right[mask], seed)))
    return pd.DataFrame(rows, columns=["covariate", "bin", "left", "right", "images", "accuracy", "low", "high"])


def by_challenge(right: Flags, flags: pd.DataFrame) -> pd.DataFrame:
    """Return the cost of each challenge: accuracy on images with it, without it, and the difference.

    Args:
        right: (n,) whether each prediction is right.
        flags: a bool column per challenge, a row per image.

    Returns:
        Columns challenge, images (with it), accuracy, low, high, without, without_low, without_high, cost (without -
        with), cost_low, cost_high; largest cost first. Intervals are Wilson's, that of the cost Newcombe's (1998,
        Statistics in Medicine 17:873). Challenges with fewer than two images on either side are left out.

    """
    columns = ["challenge", "images", "accuracy", "low", "high", "without", "without_low", "without_high"]
    rows = []
    for name in flags.columns:
        mask = flags[name].to_numpy(np.bool_)
        if mask.sum() < 2 or (~mask).sum() < 2:
            continue
        (share, low, high), (other, other_low, other_high) = (_wilson(right[part]) for part in (mask, ~mask))
        cost = other - share
        down, up = np.hypot(other - other_low, high - share), np.hypot(other_high - other, share - low)
        sides = share, low, high, other, other_low, other_high
        rows.append((name, int(mask.sum()), *sides, cost, cost - float(down), cost + float(up)))
    found = pd.DataFrame(rows, columns=[*columns, "cost", "cost_low", "cost_high"])
    return found.sort_values("cost", ascending=False, ignore_index=True)


def _wilson(right: Flags) -> tuple[float, float, float]:
    """Return the share that is right with Wilson's interval; a bootstrap of a few equal values has zero width."""
    from scipy.stats import binomtest

    found = binomtest(int(right.sum()), len(right)).proportion_ci(CONFIDENCE, "wilson")
    return float(right.mean()), float(found.low), float(found.high)


def _bins(values: Floats, reference: Floats, number: int = COVARIATE_BINS) -> list[tuple[float, float, Flags]]:
    """Return (left, right, mask of ``values``) of bins with equal shares of ``reference``; [] for a constant."""
    known = reference[np.isfinite(reference)]
    if not len(known):
        return []
    edges = np.unique(np.quantile(known, np.linspace(0, 1, number + 1)))
    if len(edges) < 2:
        return []
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    finite = np.isfinite(values)
    return [(float(edges[n]), float(edges[n + 1]), finite & (place == n)) for n in range(len(edges) - 1)]


def explained_gap(
    right: Flags,
    other_right: Flags,
    values: pd.DataFrame,
    other_values: pd.DataFrame,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the share of the gap in accuracy between two sets that each covariate explains, and all together.

    The images of the first set are weighted so that the covariate is distributed as in the second (post-stratification
    over bins; for all together, weights from a logistic model of the set, Shimodaira 2000). The resulting fall of
    accuracy is explained; the rest has other causes, such as other labels, people or scenes. Shares of single
    covariates overlap and do not add up.

    Args:
        right: (n,) whether each prediction on the first set is right.
        other_right: (m,) likewise on the second.
        values: (n rows) numeric columns, and text columns as categories.
        other_values: (m rows) the same columns.
        replicates: bootstrap draws of both sets.
        seed: of the draws.

    Returns:
        Columns covariate ("all together" last), gap (accuracy of the first set minus the second), explained, low, high,
        share (explained / gap).

    """
    gap = float(right.mean() - other_right.mean())
    hits = right.astype(np.float64)
    rows = []
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(hits), (replicates, len(hits)))
    weights = {name: _stratum_weights(values[name], other_values[name]) for name in values.columns}
    weights["all together"] = _density_ratio(values, other_values)
    for name, weight in weights.items():
        drawn, drawn_weight = hits[draws], weight[draws]
        falls = drawn.mean(axis=1) - (drawn * drawn_weight).sum(axis=1) / np.maximum(drawn_weight.sum(axis=1), 1e-12)
        fall = float(hits.mean() - np.average(hits, weights=weight))
        rows.append((name, gap, fall, *interval(falls), fall / gap if gap else np.nan))
    return pd.DataFrame(rows, columns=["covariate", "gap", "explained", "low", "high", "share"])


def _stratum_weights(values: pd.Series, other: pd.Series) -> Floats:
    """Return weights of the first set's images that distribute it over strata like the second."""
    if values.dtype.kind in "fiu":
        column, theirs = values.to_numpy(np.float64), other.to_numpy(np.float64)
        both = np.concatenate([column, theirs])
        masks = [
            (mask, at)
            for (_, _, mask), (_, _, at) in zip(_bins(column, both, STRATA), _bins(theirs, both, STRATA), strict=True)
        ]
    else:
        names = sorted(set(values) | set(other))
        masks = [((values == name).to_numpy(), (other == name).to_numpy()) for name in names]
    weights = np.ones(len(values))
    for mask, at in masks:
        if mask.any():
            weights[mask] = at.mean() / mask.mean()
    return np.asarray(np.minimum(weights, LARGEST_WEIGHT))


def _density_ratio(values: pd.DataFrame, other: pd.DataFrame) -> Floats:
    """Return importance weights of the first set's images, from a logistic model of the set."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    both = pd.get_dummies(pd.concat([values, other], ignore_index=True), dtype=float)
    both = both.fillna(both.median()).fillna(0.0)
    target = np.r_[np.zeros(len(values)), np.ones(len(other))]
    squares = both.assign(**{f"{name}^2": (both[name] - both[name].mean()) ** 2 for name in both.columns})
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000))
    odds = model.fit(squares, target).predict_proba(squares)[: len(values), 1]
    ratio = odds / (1 - odds) * len(values) / len(other)
    return np.asarray(np.minimum(ratio, LARGEST_WEIGHT))
