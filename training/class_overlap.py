"""Are the classes exclusive? Shared probability, one-against-rest heads, and calibrated sets of classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from training.arrays import Flags, Floats, Ints, Pixels, Probabilities
from training.evaluate import compare_pairs, mean_interval
from training.model import PREDICTION_BATCH, Model, as_input
from training.networks import Committee, ExpressionNetwork

CONFORMAL_CONFIDENCE = 0.9
"""Share of images whose set of classes is to contain the given label."""

SHARED_PROBABILITY = 0.25
"""Least probability of a second class that counts: it is right one time in four."""

SIGMOID_YES = 0.5
"""Probability from which a one-against-rest head affirms its class."""


@dataclass(frozen=True)
class Heads:
    """A softmax head and one-against-rest sigmoid heads on the same features.

    Attributes:
        compared: of ``compare_pairs``: first is softmax, second the sigmoids scaled to sum to 1.
        answers: columns yes (number of classes affirmed by the sigmoid heads), images, share.

    """

    compared: pd.DataFrame
    answers: pd.DataFrame


def shared_probability(probabilities: Probabilities, classes: Sequence[str]) -> pd.DataFrame:
    """Return how often two classes are likely for one image.

    Returns:
        Columns first, second, images, share (of the images predicted as ``first``, those with ``second`` next, at
        ``SHARED_PROBABILITY`` or more) and probability (mean of ``second`` over the images predicted as ``first``).

    """
    order = np.argsort(-probabilities, axis=1, kind="stable")
    rows = []
    for one, name in enumerate(classes):
        mine = order[:, 0] == one
        for two, other in enumerate(classes):
            if one != two:
                shared = mine & (order[:, 1] == two) & (probabilities[:, two] >= SHARED_PROBABILITY)
                mean = float(probabilities[mine, two].mean()) if mine.any() else np.nan
                rows.append((name, other, int(shared.sum()), shared.sum() / max(1, mine.sum()), mean))
    return pd.DataFrame(rows, columns=["first", "second", "images", "share", "probability"])


def conformal_sets(
    calibration: Probabilities, calibration_labels: Ints, probabilities: Probabilities, method: str = "lac"
) -> Flags:
    """Return sets of classes that contain the given label of nine images in ten, by MAPIE's split conformal method.

    Args:
        calibration: (m, classes) of held-out images.
        calibration_labels: (m,).
        probabilities: (n, classes) of the images that get sets.
        method: MAPIE's conformity score: lac gives the smallest sets (Sadinle et al., 2019), aps adapts their size to
            the image (Romano et al., 2020).

    Returns:
        (n, classes).

    """
    from mapie.classification import SplitConformalClassifier

    judge = SplitConformalClassifier(
        estimator=_given_probabilities(calibration.shape[1]),
        confidence_level=CONFORMAL_CONFIDENCE,
        conformity_score=method,
        prefit=True,
        random_state=0,
    )
    judge.conformalize(_summing_to_one(calibration), calibration_labels)
    sets = judge.predict_set(_summing_to_one(probabilities))[1][:, :, 0]
    return np.asarray(sets, bool)


def _given_probabilities(classes: int) -> Any:
    """Return a fitted scikit-learn classifier whose features are the probabilities themselves."""
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Given(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn is not typed
        classes_, n_features_in_ = np.arange(classes), classes

        def fit(self, _features: Floats, _labels: Ints) -> Given:
            return self

        def predict_proba(self, features: Floats) -> Floats:
            return np.asarray(features)

        def predict(self, features: Floats) -> Ints:
            return np.asarray(features.argmax(axis=1), np.int64)

        def __sklearn_is_fitted__(self) -> bool:
            return True

    return Given()


def _summing_to_one(probabilities: Probabilities) -> Floats:
    values = probabilities.astype(np.float64)
    return np.asarray(values / values.sum(axis=1, keepdims=True))


def coverage(sets: Flags, labels: Ints, classes: Sequence[str], seed: int = 0) -> pd.DataFrame:
    """Return how often the sets contain the given label, and their sizes.

    Returns:
        Columns class ("" for all), images, coverage, low, high, mean_size, single, pair, larger, empty (shares).

    """
    held = sets[np.arange(len(labels)), labels].astype(np.float64)
    size = sets.sum(axis=1)
    rows = []
    for place in (-1, *range(len(classes))):
        mine = labels == place if place >= 0 else np.ones(len(labels), bool)
        if mine.any():
            shares = [float((size[mine] == number).mean()) for number in (1, 2, 0)]
            name = classes[place] if place >= 0 else ""
            larger = float((size[mine] > 2).mean())
            rows.append((name, int(mine.sum()), *mean_interval(held[mine], seed), size[mine].mean(), *shares, larger))
    columns = ["class", "images", "coverage", "low", "high", "mean_size", "single", "pair", "empty", "larger"]
    return pd.DataFrame(rows, columns=columns)


def set_counts(sets: Flags, classes: Sequence[str]) -> pd.DataFrame:
    """Return the frequency of each set of classes, most frequent first: columns set, classes, images, share."""
    names = [" + ".join(name for name, inside in zip(classes, row, strict=True) if inside) or "none" for row in sets]
    counts = pd.Series(names).value_counts()
    table = pd.DataFrame({"set": counts.index, "images": counts.to_numpy()})
    size = {name: 0 if name == "none" else name.count(" + ") + 1 for name in table["set"]}
    return table.assign(classes=table["set"].map(size), share=table["images"] / max(1, len(sets)))[
        ["set", "classes", "images", "share"]
    ]


def features(model: Model, images: Pixels) -> Floats:
    """Return the mean of each image's last feature map, (n, channels), concatenated over the members of a committee."""
    network = model.network
    members = list(network.members) if isinstance(network, Committee) else [network]
    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), PREDICTION_BATCH):
            batch = as_input(torch.from_numpy(images[start : start + PREDICTION_BATCH]))
            maps = [member.judged(batch)[0] for member in members if isinstance(member, ExpressionNetwork)]
            parts.append(torch.cat(maps, 1).numpy())
    return np.concatenate(parts).astype(np.float64)


def compare_heads(
    train: Floats, train_labels: Ints, held_out: Floats, labels: Ints, classes: Sequence[str], seed: int = 0
) -> Heads:
    """Fit a softmax head and one-against-rest sigmoid heads on the same features, and compare them on held-out images.

    Both are logistic regressions with the same regularisation (scikit-learn), so that they differ only in whether
    classes are exclusive.

    Args:
        train: (m, channels) features.
        train_labels: (m,).
        held_out: (n, channels).
        labels: (n,).
        classes: names.
        seed: of the bootstrap.

    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(train)
    seen, asked = scaler.transform(train), scaler.transform(held_out)

    def answered(targets: npt.NDArray[np.generic]) -> tuple[Ints, Floats]:
        head = LogisticRegression(C=HEAD_STRENGTH, max_iter=HEAD_STEPS).fit(seen, targets)
        return head.classes_, head.predict_proba(asked)

    softmax, sigmoid = np.zeros((2, len(labels), len(classes)))
    present, probabilities = answered(train_labels)
    softmax[:, present] = probabilities
    for place in present:
        sigmoid[:, place] = answered(train_labels == place)[1][:, 1]
    scaled = sigmoid / np.maximum(sigmoid.sum(axis=1, keepdims=True), 1e-12)
    compared = compare_pairs(labels, softmax, scaled, classes, seed=seed)
    yes = (sigmoid >= SIGMOID_YES).sum(axis=1)
    counts = pd.Series(yes).value_counts().sort_index()
    answers = pd.DataFrame({"yes": counts.index, "images": counts.to_numpy()})
    return Heads(compared, answers.assign(share=answers["images"] / len(yes)))


HEAD_STRENGTH = 0.01
"""Inverse strength of the heads' regularisation; strong, as there may be about as many features as images."""

HEAD_STEPS = 300
"""Most L-BFGS steps."""
