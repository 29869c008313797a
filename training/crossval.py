"""Out-of-fold probabilities: every image is predicted by a model that has seen neither it nor a copy of it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.arrays import Flags, Floats32, Ints
from training.backbones import weights_identity
from training.data import DataError, Samples, class_names, load_samples
from training.devices import estimate_seconds, find_device
from training.dynamics import save_rows
from training.evaluate import predictions_table
from training.files import refusing, replacing
from training.fit import Report, fit_samples, part_of
from training.recipes import Recipe

DEFAULT_FOLDS = 3
"""Each model sees two thirds of the data; five folds cost twice as much, for a fifth more data."""

KEY_LETTERS = 16
"""Hexadecimal digits of the hash in a cache folder's name."""


@dataclass(frozen=True)
class _FoldTask:
    """Everything that a process needs to fit and predict one fold."""

    samples: Samples
    held_out: Flags
    recipe: Recipe
    folder: Path
    seed: int
    weights: str | None
    threads: int | None
    device: str | None


def assign_folds(labels: npt.ArrayLike, groups: npt.ArrayLike, folds: int = DEFAULT_FOLDS, seed: int = 0) -> Ints:
    """Return each image's fold, (n,) int64 in 0 .. folds - 1, stratified by class; a group stays in one fold.

    Args:
        labels: (n,) classes, of any hashable kind.
        groups: (n,) names; "" for an image without a group.
        folds: at least 2.
        seed: of the shuffle.

    Raises:
        DataError: a class has fewer images than there are folds.

    """
    from sklearn.model_selection import StratifiedGroupKFold

    given, names = np.asarray(labels), np.asarray(groups, dtype=object)
    kinds, counts = np.unique(given, return_counts=True)
    if counts.min() < folds:
        scarce, number = kinds[counts.argmin()], counts.min()
        to_do = "ask for fewer folds" if number > 1 else "relabel or exclude it, or find more of it"
        raise DataError(f"class {scarce} has {number} of the {folds} images that {folds} folds need: {to_do}")
    # an ungrouped image is a group of its own; no name of a group can be a pair
    keys = [(name, -1) if name else ("", row) for row, name in enumerate(names)]
    own = pd.factorize(pd.Index(keys, tupleize_cols=False))[0]
    fold = np.full(len(given), -1, np.int64)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for number, (_, held_out) in enumerate(splitter.split(given, given, own)):
        fold[held_out] = number
    return fold


def out_of_fold(
    frame: pd.DataFrame,
    root: Path,
    recipe: Recipe,
    cache_dir: Path,
    *,
    key: str = "",
    folds: int = DEFAULT_FOLDS,
    seed: int = 0,
    weights: str | None = None,
    threads: int | None = None,
    device: str | None = None,
    workers: int = 1,
    report: Report | None = None,
    expect: Callable[[float], None] | None = None,
) -> pd.DataFrame:
    """Return the probabilities of every image by the model that did not train on its fold.

    Splits are ignored. Nothing is selected on the held-out images: recipes with early stopping run all their epochs.

    Args:
        frame: kept rows; columns path, label and group ("" for none); optional weight and soft_label.
        root: folder that the paths are relative to.
        recipe: fitted once per fold.
        cache_dir: folder of finished folds, which are reused, and of unfinished ones, which are resumed.
        key: identifies the data, such as the manifest's hash; cached folds are used only for the same key.
        folds: number of models.
        seed: of the folds and the fits.
        weights: starting weights (``training.backbones.build``).
        threads: torch's threads per model; None measures, or uses 1 with several workers.
        device: of every fit (``training.devices.find_device``).
        workers: folds fitted in parallel, each in its own process.
        report: progress, in steps of all folds.
        expect: called once with the estimated seconds, before the first missing fold.

    Returns:
        The predictions table in the order of the frame: path, one probability per class, fold, model.

    Raises:
        DataError: a class has fewer images than there are folds, or an image cannot be read.

    """
    classes = class_names(frame)
    fold = assign_folds(frame["label"], frame["group"], folds, seed)
    threads = 1 if threads is None and workers > 1 else threads
    # all with one seed, so that a recipe's own fit is reused when it is a member
    members = [
        _Member(part, cache_dir / _cache_name(key, part, fold, frame["path"].tolist(), seed, weights))
        for part in recipe.parts()
    ]
    missing = [member.missing(folds) for member in members]
    if any(missing):
        samples = load_samples(frame, root, recipe.image_size, classes)
        if expect and find_device(device).type == "cpu":
            expect(_expected_seconds(samples, members, missing, folds, workers, threads or 1))
        for number, (member, wanted) in enumerate(zip(members, missing, strict=True)):
            tasks = [
                _FoldTask(
                    samples, fold == part, member.recipe, member.folder / f"fold-{part}", seed, weights, threads, device
                )
                for part in wanted
            ]
            _run(tasks, folds, workers, part_of(report, number, recipe))
    probabilities = np.mean([member.probabilities(fold, folds) for member in members], axis=0)
    model = " ".join([recipe.name, *(member.folder.name for member in members)])
    return predictions_table(frame["path"].tolist(), probabilities, classes, fold, model)


@dataclass(frozen=True)
class _Member:
    """One network of a recipe, cached separately so that committees reuse earlier fits."""

    recipe: Recipe
    folder: Path

    def file(self, number: int) -> Path:
        """Return the file of one fold's probabilities."""
        return self.folder / f"fold-{number}.npy"

    def missing(self, folds: int) -> list[int]:
        """Return the folds that have not been fitted yet."""
        return [number for number in range(folds) if not self.file(number).is_file()]

    def probabilities(self, fold: Ints, folds: int) -> Floats32:
        """Return the probabilities of the held-out images of all folds, (n, classes) float32."""
        parts = [read_fold(self.file(number)) for number in range(folds)]
        out = np.empty((len(fold), parts[0].shape[1]), np.float32)
        for number, part in enumerate(parts):
            with refusing(self.file(number), "remove it to fit that fold again"):
                out[fold == number] = part
        return out


def read_fold(path: Path) -> Floats32:
    """Return one fold's probabilities.

    Raises:
        DataError: the file is damaged, or holds code instead of numbers.

    """
    with refusing(path, "remove it to fit that fold again"):
        said = np.asarray(np.load(path, allow_pickle=False), np.float32)
        if said.ndim != 2 or not np.isfinite(said).all():
            raise ValueError("it holds no probabilities")
        return said


def _expected_seconds(
    samples: Samples, members: list[_Member], missing: list[list[int]], folds: int, workers: int, threads: int
) -> float:
    """Return the estimated seconds of the missing fits, each on all folds but one, ``workers`` in parallel."""
    images = len(samples) * (folds - 1) // folds
    return sum(
        math.ceil(len(wanted) / workers) * estimate_seconds(member.recipe, images, samples.images.shape[1], threads)
        for member, wanted in zip(members, missing, strict=True)
        if wanted
    )


def _run(tasks: list[_FoldTask], folds: int, workers: int, report: Report | None) -> None:
    """Fit the missing folds, one after the other or in parallel."""
    done = folds - len(tasks)
    if workers == 1:
        for number, task in enumerate(tasks, done):
            _fit_fold(task, _fold_of(report, number, folds))
        return
    with _pool(min(workers, len(tasks))) as pool:
        for number, future in enumerate(as_completed([pool.submit(_fit_fold, task) for task in tasks]), done + 1):
            future.result()
            if report:
                report(number, folds)


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of new processes; waiting tasks are dropped when the block fails."""
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _fit_fold(task: _FoldTask, report: Report | None = None) -> None:
    """Fit on all folds but one, predict that one, and write its probabilities atomically."""
    nothing = task.samples.take(np.zeros(0, np.int64))
    rows = np.flatnonzero(~task.held_out & (task.samples.weights > 0))
    fitted = fit_samples(
        task.samples.take(rows),
        nothing,
        task.recipe,
        task.folder,
        seed=task.seed,
        weights=task.weights,
        threads=task.threads,
        device=task.device,
        report=report,
        dynamics=True,
    )
    save_rows(task.folder, rows)
    probabilities = fitted.probabilities(task.samples.images[task.held_out])
    with replacing(task.folder.with_suffix(".npy")) as unfinished, unfinished.open("wb") as stream:
        np.save(stream, probabilities)


def _fold_of(report: Report | None, number: int, folds: int) -> Report | None:
    """Return one fold's report, in steps of all folds."""
    if report is None:
        return None
    return lambda done, total: report(number * total + done, folds * total)


def _cache_name(key: str, recipe: Recipe, fold: Ints, paths: list[str], seed: int, weights: str | None) -> str:
    """Return the cache folder's name: the recipe, and a hash of what determines the result but the pixels."""
    start = weights if weights is None else weights_identity(weights)
    content = json.dumps([key, recipe.as_dict(), fold.tolist(), paths, seed, start])
    digest = hashlib.blake2b(content.encode(), digest_size=KEY_LETTERS // 2).hexdigest()
    return f"{recipe.folder_name()}-{digest}"
