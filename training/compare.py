"""Does cleaning help? Train on A, on B, and on A with as many images removed at random; evaluate on the same images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from training.arrays import Flags, Ints
from training.backbones import weights_identity
from training.classes import in_order
from training.data import DataError, Samples, load_samples
from training.devices import keep_freed_memory
from training.evaluate import REPLICATES, interval
from training.files import refusing, replacing
from training.fit import FitResult, fit_samples
from training.recipes import Recipe

FIRST, SECOND, CONTROL = "A", "B", "A less as many at random"
"""The three arms of the experiment: version A, version B, and the control."""

Announce = Callable[[str, int, int, int], None]
"""Called with (arm, seed, steps done, steps in all)."""


@dataclass(frozen=True)
class Comparison:
    """The result of the experiment.

    Attributes:
        accuracies: a row per evaluation, arm and seed: evaluation, arm, seed, images (trained on), accuracy.
        differences: a row per evaluation and pair of arms: evaluation, contrast ("B - A" and so on), images, seeds,
            difference (mean over seeds), low, high (95 %), excludes_zero.

    """

    accuracies: pd.DataFrame
    differences: pd.DataFrame


def compare_versions(
    first: pd.DataFrame,
    second: pd.DataFrame,
    evaluations: Mapping[str, pd.DataFrame],
    root: Path,
    recipe: Recipe,
    out_dir: Path,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    weights: str | None = None,
    threads: int | None = None,
    device: str | None = None,
    announce: Announce | None = None,
) -> Comparison:
    """Fit one recipe on the train rows of two versions and of a control, and compare the fits in pairs.

    Nothing is selected on the evaluation images: every fit runs all its epochs and keeps the last. A fit's folder in
    ``out_dir`` is named by its training data, so that finished fits are shared between comparisons.

    Args:
        first: version A: path, label, split; optional weight, soft_label, status (excluded rows are left out).
        second: version B, likewise.
        evaluations: name -> path and label of images outside all training data.
        root: folder that the paths are relative to.
        recipe: of all fits.
        out_dir: folder of the fits; may be shared by comparisons.
        seeds: of the fits, and of the images that the control leaves out.
        weights: starting weights (``training.backbones.build``).
        threads: torch's threads; None measures.
        device: of every fit (``training.devices.find_device``).
        announce: progress.

    Raises:
        DataError: an evaluation image is in the training data, or there are none.

    """
    arms = {FIRST: training_rows(first), SECOND: training_rows(second)}
    classes = tuple(in_order([*first["label"], *second["label"]]))
    _refuse_overlap(arms, evaluations)
    judged = {name: load_samples(frame, root, recipe.image_size, classes) for name, frame in evaluations.items()}
    right: dict[tuple[str, str], list[Flags]] = {}
    rows = []
    for seed in seeds:
        for arm, frame in _with_control(arms, seed).items():
            train = load_samples(frame, root, recipe.image_size, classes)
            fitted = fit_samples(
                train,
                train.take(np.zeros(0, np.int64)),
                recipe,
                out_dir / fit_name(train, recipe, weights, seed),
                seed=seed,
                weights=weights,
                threads=threads,
                device=device,
                report=partial(announce, arm, seed) if announce else None,
            )
            for name, samples in judged.items():
                answers = predicted_classes(fitted, samples) == samples.labels
                right.setdefault((name, arm), []).append(answers)
                rows.append(
                    {"evaluation": name, "arm": arm, "seed": seed, "images": len(train), "accuracy": answers.mean()}
                )
    return Comparison(pd.DataFrame(rows), _differences(right, list(judged)))


def fit_name(train: Samples, recipe: Recipe, weights: str | None, seed: int) -> str:
    """Return a fit's folder name: the recipe, a hash of everything that determines the result, and the seed."""
    start = weights if weights is None else weights_identity(weights)
    content = json.dumps([train.fingerprint(), recipe.as_dict(), start])
    digest = hashlib.blake2b(content.encode(), digest_size=_KEY_LETTERS // 2).hexdigest()
    return f"{recipe.name.replace('/', '-')}-{digest}-seed-{seed}"


def predicted_classes(fitted: FitResult, samples: Samples) -> Ints:
    """Return the classes that a fit's model predicts for the samples, (n,), cached in the fit's folder."""
    path = fitted.run_dir / f"said-{samples.fingerprint()[:_KEY_LETTERS]}.npy"
    if not path.is_file():
        keep_freed_memory()
        probabilities = fitted.probabilities(samples.images)
        with replacing(path) as unfinished, unfinished.open("wb") as stream:
            np.save(stream, probabilities.argmax(axis=1))
    with refusing(path, "remove it to have it computed again"):
        classes: Ints = np.load(path, allow_pickle=False)
        if classes.shape != (len(samples),):
            raise ValueError("it has another number of answers than there are images")
        return classes


_KEY_LETTERS = 16
"""Hexadecimal digits of a hash in a file's name."""


def training_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the kept train rows of a version."""
    kept = frame["split"] == "train"
    if "status" in frame:
        kept &= frame["status"] == "kept"
    return frame[kept]


def random_removal(first: pd.DataFrame, second: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return ``first`` with as many random rows of each label removed as ``second`` leaves out, in its order."""
    rng = np.random.default_rng(seed)
    gone = ~first["path"].isin(second["path"]).to_numpy()
    labels = first["label"].to_numpy()
    kept = np.ones(len(first), np.bool_)
    for label in sorted(set(labels)):
        mine = np.flatnonzero(labels == label)
        kept[rng.choice(mine, int(gone[mine].sum()), replace=False)] = False
    return first[kept]


def difference_interval(
    first: Sequence[Flags], second: Sequence[Flags], *, replicates: int = REPLICATES, seed: int = 0
) -> tuple[float, float, float]:
    """Return the mean difference of accuracy (second - first) and its 95 % interval.

    Images and seeds are both drawn with replacement, in pairs, so that the interval covers new images and new seeds (a
    two-way bootstrap, which is conservative; Owen, 2007).

    Args:
        first: for each seed, (n,) whether the first model is right.
        second: likewise, same seeds and images.
        replicates: draws.
        seed: of the draws.

    """
    gains = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    rng = np.random.default_rng(seed)
    seeds, images = gains.shape
    draws = np.empty(replicates)
    for number in range(replicates):
        times = np.bincount(rng.integers(0, images, images), minlength=images)
        draws[number] = (gains[rng.integers(0, seeds, seeds)].mean(axis=0) * times).mean()
    return float(gains.mean()), *interval(draws)


def paired(contrast: str, first: Sequence[Flags], second: Sequence[Flags]) -> dict[str, Any]:
    """Return a contrast's row: contrast, images, seeds, and ``difference_interval`` with whether it excludes 0."""
    difference, low, high = difference_interval(first, second)
    counts = {"contrast": contrast, "images": len(second[0]), "seeds": len(second)}
    return counts | {"difference": difference, "low": low, "high": high, "excludes_zero": low > 0 or high < 0}


def _with_control(arms: Mapping[str, pd.DataFrame], seed: int) -> dict[str, pd.DataFrame]:
    """Return the arms with the control, which is omitted if B leaves out none of A's images."""
    control = random_removal(arms[FIRST], arms[SECOND], seed)
    return {**arms, CONTROL: control} if len(control) < len(arms[FIRST]) else dict(arms)


def _refuse_overlap(arms: Mapping[str, pd.DataFrame], evaluations: Mapping[str, pd.DataFrame]) -> None:
    """Refuse evaluation images that are trained on, and evaluations without images."""
    trained = set().union(*(set(frame["path"]) for frame in arms.values()))
    for name, frame in evaluations.items():
        if not len(frame):
            raise DataError(f"the evaluation {name!r} has no images")
        shared = trained.intersection(frame["path"])
        if shared:
            raise DataError(f"the evaluation {name!r} holds {len(shared)} training images, {min(shared)} first")


def _differences(right: Mapping[tuple[str, str], list[Flags]], evaluations: Sequence[str]) -> pd.DataFrame:
    """Return a row for each evaluation and pair of arms."""
    rows: list[dict[str, Any]] = []
    for name in evaluations:
        arms = [arm for arm in (CONTROL, FIRST, SECOND) if (name, arm) in right]
        for base, other in combinations(arms, 2):
            contrast = f"{other} - {base}" if base != CONTROL else f"{other} - control"
            rows.append({"evaluation": name} | paired(contrast, right[name, base], right[name, other]))
    return pd.DataFrame(rows)
