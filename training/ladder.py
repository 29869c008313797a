"""The deck's ladder: fit versions of recipes one after the other, under a budget that the result states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from training.backbones import WeightsError
from training.data import Samples, class_names, load_samples
from training.evaluate import metrics
from training.files import read_json, write_json
from training.fit import FitResult, fit_samples
from training.recipes import Recipe, within_budget

NUMBERS_FILE = "numbers.json"
"""File of figures in each run's folder."""

_ORDER = (
    "epochs",
    "best_epoch",
    "seconds",
    "train_accuracy",
    "validation_accuracy",
    "low",
    "high",
    "macro_f1",
)
"""Order of the figures in a ladder's table; those of classes come last."""

Announce = Callable[[str, int, int], None]
"""Called with (recipe, steps done, steps in all)."""


@dataclass(frozen=True)
class Budget:
    """Limits for small machines; None keeps the recipe's value.

    Attributes:
        images: train and validation images together, drawn by split and class.
        epochs: of each fit.
        image_size: side of the input, in pixels.

    """

    images: int | None = None
    epochs: int | None = None
    image_size: int | None = None

    def __str__(self) -> str:
        """Return the limits in words, or "full"."""
        cuts = [f"{name.replace('_', ' ')} {value}" for name, value in asdict(self).items() if value is not None]
        return ", ".join(cuts) or "full"


def run_ladder(
    frame: pd.DataFrame,
    root: Path,
    recipes: Sequence[Recipe],
    out_dir: Path,
    *,
    budget: Budget | None = None,
    seed: int = 0,
    weights: str | None = None,
    threads: int | None = None,
    device: str | None = None,
    announce: Announce | None = None,
) -> pd.DataFrame:
    """Fit every recipe on the train split and return the figures of the deck's charts.

    Each recipe and budget has a folder in ``out_dir``: finished fits are reused, interrupted ones resumed.

    Args:
        frame: kept rows; columns path, label, split; optional weight and soft_label.
        root: folder that the paths are relative to.
        recipes: in the order of the result.
        out_dir: folder of the runs.
        budget: limits of all fits.
        seed: of the draw of images and of every fit.
        weights: starting weights for all (``training.backbones.build``).
        threads: torch's threads; None measures.
        device: of every fit (``training.devices.find_device``).
        announce: progress.

    Returns:
        A row per recipe: recipe, backbone, version, budget, train_images, validation_images, epochs (run), best_epoch,
        seconds, train_accuracy (while training, at the best epoch), validation_accuracy, low, high (95 % interval),
        macro_f1, f1_CLASS for each class, and note: why a recipe was not run (its figures are NaN).

    """
    limits = budget or Budget()
    classes = class_names(frame)
    used = budgeted(frame[frame["split"].isin(["train", "validation"])], limits.images, seed)
    is_train = (used["split"] == "train").to_numpy()
    rows = []
    loaded: dict[int, Samples] = {}
    for recipe in recipes:
        cut = within_budget(recipe, limits.epochs, limits.image_size)
        if cut.image_size not in loaded:
            loaded = {cut.image_size: load_samples(used, root, cut.image_size, classes)}
        train, validation = (loaded[cut.image_size].take(mask) for mask in (is_train, ~is_train))
        row: dict[str, object] = {
            "recipe": recipe.name,
            "backbone": recipe.backbone,
            "version": recipe.name.rpartition("/")[2],
            "budget": str(limits),
            "train_images": len(train),
            "validation_images": len(validation),
        }
        fitting = partial(
            fit_samples,
            train,
            validation,
            cut,
            out_dir / f"{recipe.folder_name()} {limits}".replace(" ", "-").replace(",", ""),
            seed=seed,
            weights=weights,
            threads=threads,
            device=device,
            provenance={"budget": str(limits)},
            report=partial(announce, recipe.name) if announce else None,
        )
        try:
            rows.append({**row, **_kept_numbers(fitting(), validation), "note": ""})
        except WeightsError as error:
            rows.append({**row, "note": str(error)})
    return pd.DataFrame(rows)


def budgeted(frame: pd.DataFrame, images: int | None, seed: int = 0) -> pd.DataFrame:
    """Return about ``images`` rows, the same share of every split and class (at least one), in their order."""
    if images is None or images >= len(frame):
        return frame
    rng = np.random.default_rng(seed)
    share = images / len(frame)
    chosen = []
    places = pd.Series(np.arange(len(frame)))
    for _, part in places.groupby([frame["split"].to_numpy(), frame["label"].to_numpy()]):
        count = max(1, round(share * len(part)))
        chosen.append(rng.choice(part.to_numpy(), count, replace=False))
    return frame.iloc[np.sort(np.concatenate(chosen))]


def _kept_numbers(fitted: FitResult, validation: Samples) -> dict[str, object]:
    """Return the figures of one fit, measured once and then read from its folder."""
    path = fitted.run_dir / NUMBERS_FILE
    if not path.is_file():
        write_json(path, _measured(fitted, validation))
    numbers = read_json(path, to_do="remove it to have it measured again")
    return {name: numbers[name] for name in [*_ORDER, *sorted(set(numbers) - set(_ORDER))] if name in numbers}


def _measured(fitted: FitResult, validation: Samples) -> dict[str, object]:
    """Return the figures of one fit: accuracies at the kept epoch, F1 by class."""
    kept = fitted.history.iloc[fitted.best_epoch - 1]
    row: dict[str, object] = {
        "epochs": len(fitted.history),
        "best_epoch": fitted.best_epoch,
        "seconds": fitted.seconds,
        "train_accuracy": float(kept["train_accuracy"]),
    }
    if not len(validation):
        return row
    probabilities = fitted.probabilities(validation.images)
    table = metrics(validation.labels, probabilities, validation.classes).set_index(["metric", "class"])
    estimate = table["estimate"].to_dict()
    row["validation_accuracy"] = estimate["accuracy", ""]
    row["low"], row["high"] = (table[bound].to_dict()["accuracy", ""] for bound in ("low", "high"))
    row["macro_f1"] = estimate["macro_f1", ""]
    row.update({f"f1_{name}": estimate["f1", name] for name in validation.classes})
    return row
