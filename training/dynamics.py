"""Training dynamics: the logits of every training image in every epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from torch import Tensor

from training.arrays import Half, Ints
from training.files import refusing, replacing

FOLDER = "dynamics"
"""Folder within a run's."""

ROWS_FILE = "rows.npy"


@dataclass(frozen=True)
class Trained:
    """The dynamics of one fit of an out-of-fold run.

    Attributes:
        rows: (m,) rows of its training images in the predictions table.
        logits: (epochs, m, classes) of their augmented views, before each step; NaN where not seen.

    """

    rows: Ints
    logits: Half


class Recorder:
    """Collects the logits of an epoch and writes them when it ends."""

    def __init__(self, run_dir: Path, images: int, classes: int) -> None:
        self.folder = run_dir / FOLDER
        self.folder.mkdir(exist_ok=True)
        self.logits: Half = np.full((images, classes), np.nan, np.float16)

    def note(self, rows: Tensor, logits: Tensor) -> None:
        """Add the logits (n, classes) of these rows (n,)."""
        self.logits[rows.cpu().numpy()] = logits.float().cpu().numpy()

    def save(self, epoch: int) -> None:
        """Write an epoch, counted from 0, atomically, and begin the next."""
        _write(self.folder / f"epoch-{epoch:03d}.npy", self.logits)
        self.logits.fill(np.nan)


def save_rows(run_dir: Path, rows: Ints) -> None:
    """Write the rows that a recorded run trained on."""
    _write(run_dir / FOLDER / ROWS_FILE, rows)


def dynamics(table: pd.DataFrame, cache_dir: Path) -> Iterator[Trained]:
    """Yield the dynamics of each fit behind an out-of-fold table; fits without a record are left out.

    Args:
        table: of ``training.crossval.out_of_fold``.
        cache_dir: of that run.

    """
    for member in str(table["model"].iloc[0]).split(" ")[1:]:
        for number in np.unique(table["fold"]):
            folder = cache_dir / member / f"fold-{number}" / FOLDER
            epochs = sorted(folder.glob("epoch-*.npy"))
            if epochs and (folder / ROWS_FILE).is_file():
                with refusing(folder, "remove it to have that fold fitted again"):
                    rows = np.load(folder / ROWS_FILE, allow_pickle=False)
                    logits = np.stack([np.load(epoch, allow_pickle=False) for epoch in epochs])
                    if logits.shape[1] != len(rows):
                        raise ValueError("it is of other images")
                yield Trained(rows, logits)


def _write(path: Path, array: npt.NDArray[Any]) -> None:
    """Replace a file atomically."""
    with replacing(path) as unfinished, unfinished.open("wb") as stream:
        np.save(stream, array)
