"""Embeddings and opinions of an out-of-fold run's models on the images that they were not trained on."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pandas as pd
import torch
from torch.nn import functional

from training.arrays import Floats32, Half, Ints, Pixels
from training.data import load_images
from training.devices import keep_freed_memory
from training.files import refusing, replacing
from training.model import PREDICTION_BATCH, as_input, load_model
from training.networks import ExpressionNetwork

VIEWS = 2
"""An image and its mirror image are two opinions of one network."""


@dataclass(frozen=True)
class HeldOut:
    """Opinions on images that the models had not seen.

    Attributes:
        members: (opinions, n, classes) float32 probabilities of every member, on the image and its mirror image.
        embedding: (n, dimensions) float16, the members' pooled last feature maps, each of unit length, concatenated;
            comparable only within a fold.

    """

    members: Floats32
    embedding: Half


def held_out(
    table: pd.DataFrame, files: Sequence[Path], cache_dir: Path, digests: Sequence[str] | None = None
) -> HeldOut:
    """Return the embeddings and opinions behind an out-of-fold table, from the cache if possible.

    Args:
        table: of ``training.crossval.out_of_fold``.
        files: of the images, in the table's order.
        cache_dir: of that run.
        digests: SHA-256 that the files must have.

    """
    fold = table["fold"].to_numpy()
    folders = [cache_dir / name for name in str(table["model"].iloc[0]).split(" ")[1:]]
    stated = [""] * len(files) if digests is None else digests
    each = [_of_member(folder, fold, list(zip(files, stated, strict=True))) for folder in folders]
    return HeldOut(
        np.concatenate([part.members for part in each]), np.concatenate([part.embedding for part in each], axis=1)
    )


_Files = Sequence[tuple[Path, str]]
"""Files of images, each with the SHA-256 that it must have, "" for any."""


def _of_member(folder: Path, fold: Ints, files: _Files) -> HeldOut:
    """Return the opinions of one member's folds on the images that each held out."""
    parts = {}
    for number in np.unique(fold):
        mine = [file for file, own in zip(files, fold, strict=True) if own == number]
        parts[int(number)] = fold_predictions(folder, int(number), mine)
    first = parts[min(parts)]
    members = np.empty((VIEWS, len(fold), first.members.shape[2]), np.float32)
    embedding = np.empty((len(fold), first.embedding.shape[1]), np.float16)
    for number, part in parts.items():
        members[:, fold == number], embedding[fold == number] = part.members, part.embedding
    return HeldOut(members, embedding)


def fold_predictions(folder: Path, number: int, files: _Files) -> HeldOut:
    """Return the opinions of one fold's network, from its cache file or by predicting."""
    stored = folder / f"held-out-{number}.npz"
    if not stored.is_file():
        model = load_model(folder / f"fold-{number}")
        network = model.network
        assert isinstance(network, ExpressionNetwork)  # noqa: S101 -- committees are kept member by member
        paths, digests = zip(*files, strict=True)
        made = judge_images(network, load_images(paths, model.recipe.image_size, digests))
        with replacing(stored) as unfinished, unfinished.open("wb") as stream:
            np.savez(stream, members=made.members, embedding=made.embedding)
    with refusing(stored, "remove it to have it computed again"):
        try:
            with np.load(stored, allow_pickle=False) as arrays:
                found = HeldOut(arrays["members"], arrays["embedding"])
        except (BadZipFile, zlib.error) as error:
            raise ValueError(str(error)) from error
        if found.members.shape[1] != len(files) or len(found.embedding) != len(files):
            raise ValueError("it is of other images")
        return found


def judge_images(network: ExpressionNetwork, images: Pixels) -> HeldOut:
    """Return a network's opinions on grey images (n, side, side) uint8 and their mirror images."""
    keep_freed_memory()
    network.eval()
    said, seen = [], []
    with torch.inference_mode():
        for start in range(0, len(images), PREDICTION_BATCH):
            batch = as_input(torch.from_numpy(images[start : start + PREDICTION_BATCH]))
            views = [network.judged(view) for view in (batch, batch.flip(3))]
            said.append(torch.stack([functional.softmax(logits.float(), 1) for _, logits in views]))
            pooled = torch.stack([features for features, _ in views]).mean(0)
            seen.append(functional.normalize(pooled, dim=1).half())
    probabilities: Floats32 = torch.cat(said, dim=1).numpy()
    embedding: Half = torch.cat(seen).numpy()
    return HeldOut(probabilities, embedding)
