"""How accurate are people? Votes against the given labels, agreement by class, and the model beside people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from curation.base import files
from curation.base.progress import Display
from curation.base.statistics import RESAMPLES, percentile_interval
from curation.base.workspace import Workspace
from curation.decisions import manifest
from curation.evidence.evaluated_model import EvaluatedModel, places
from curation.evidence.store import Tables
from curation.labels import agreement
from curation.labels.votes import Votes, entropy, for_label, majority, read_votes
from curation.models.runs import (
    FitOptions,
    ModelError,
    of_present_contents,
    out_of_fold,
    training_frame,
    translate_errors,
)

DISPUTED = 24
"""Images that people disagree on most, shown."""

_FOLDS = "fast"
"""The recipe of the out-of-fold predictions that people are compared with, if a workspace has none yet."""


def newest_votes(workspace: Workspace) -> Path | None:
    """Return the table of votes that was imported, or labelled blind, last; None where there is none."""
    files = sorted(workspace.votes.glob("*.parquet"), key=lambda file: (file.stat().st_mtime, file.name))
    return files[-1] if files else None


def people(evaluated: EvaluatedModel, file: Path, display: Display) -> Tables:
    """Compare people's votes with the labels, with each other, and with the model.

    Votes mostly cover images that the model was trained on; people are therefore compared with out-of-fold predictions,
    each by a model that has seen neither the image nor a copy of it.

    Args:
        evaluated: the model.
        file: of votes, see ``curation.labels.votes``.
        display: progress.

    """
    raw = training_frame(evaluated.workspace, manifest.find(evaluated.workspace, "raw")).set_index("key")
    votes = read_votes(file, evaluated.classes)
    votes = votes.take(np.array([path in raw.index for path in votes.paths]))
    if not len(votes):
        raise ModelError(f"{file} has no vote on an image of the data set; its paths must be those of curate issues")
    labels = places(raw.loc[list(votes.paths), "label"], evaluated.classes)
    voted = raw.loc[list(votes.paths), ["path", "sha256"]]
    return {
        "accuracy": _accuracy(votes, labels),
        "kappa": _kappas(votes, evaluated.seed),
        "beside": _beside(evaluated, votes, labels, display),
        "disputed": _disputed(votes, labels, voted),
    }


def _accuracy(votes: Votes, labels: np.ndarray) -> pd.DataFrame:
    """Return one person's and the crowd's accuracy against the given labels, by class and for all."""
    single = for_label(votes, labels)
    answers = np.column_stack([votes.counts, votes.others])
    most = answers.argmax(axis=1) == labels
    chosen = majority(votes)
    rows = []
    for place in (-1, *range(len(votes.classes))):
        mine = labels == place if place >= 0 else np.ones(len(labels), bool)
        sure = mine & (chosen >= 0)
        crowd, strict = agreement.accuracy(most[mine]), agreement.accuracy(chosen[sure] == labels[sure])
        rows.append(
            {
                "class": votes.classes[place] if place >= 0 else "all",
                "images": int(mine.sum()),
                "person": float(single[mine].mean()) if mine.any() else np.nan,
                "crowd": crowd.value,
                "low": crowd.low,
                "high": crowd.high,
                "majority": strict.value,
                "with_majority": int(sure.sum()),
            }
        )
    return pd.DataFrame(rows)


def _kappas(votes: Votes, seed: int) -> pd.DataFrame:
    """Return Fleiss' kappa over all answers and of each class against the rest."""
    every = np.column_stack([votes.counts, votes.others])
    named = [("all", every)]
    for place, name in enumerate(votes.classes):
        own = votes.counts[:, place]
        named.append((name, np.column_stack([own, votes.total - own])))
    rows = []
    for name, counts in named:
        found = agreement.fleiss_kappa(counts, seed)
        rows.append((name, found.images, found.value, found.low, found.high))
    return pd.DataFrame(rows, columns=["class", "images", "kappa", "low", "high"])


def _beside(evaluated: EvaluatedModel, votes: Votes, labels: np.ndarray, display: Display) -> pd.DataFrame:
    """Return who agrees with whom on the same images: the label, one person, the crowd's majority, the model."""
    answers = _out_of_fold(evaluated, display)
    mine = answers[answers["path"].isin(votes.paths)].set_index("path")
    rows_of = np.array([path in mine.index for path in votes.paths])
    if not rows_of.any():
        return pd.DataFrame(columns=["who", "with", "images", "value", "low", "high"])
    chosen, given = votes.take(rows_of), labels[rows_of]
    called = mine.loc[list(chosen.paths), list(evaluated.classes)].to_numpy().argmax(axis=1)
    crowd = majority(chosen)
    sure = crowd >= 0
    rows = np.arange(len(chosen))
    pairs = [
        ("the model", "the given label", called == given),
        ("the model", "the crowd's majority", (called == crowd)[sure]),
        ("the given label", "the crowd's majority", (given == crowd)[sure]),
    ]
    found = [
        (who, other, rate.images, rate.value, rate.low, rate.high)
        for who, other, rate in ((who, other, agreement.accuracy(hits)) for who, other, hits in pairs)
    ]
    for who, answer, among in (
        ("one person", given, np.ones(len(chosen), bool)),
        ("one person", crowd, sure),
    ):
        share = (chosen.counts[rows, np.maximum(answer, 0)] / chosen.total)[among]
        other = "the given label" if answer is given else "the crowd's majority"
        found.append((who, other, len(share), float(share.mean()), *_mean_interval(share, evaluated.seed)))
    return pd.DataFrame(found, columns=["who", "with", "images", "value", "low", "high"])


def _mean_interval(values: np.ndarray, seed: int) -> tuple[float, float]:
    """Return the bootstrap interval of a mean over images."""
    draws = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    return percentile_interval(values[draws].mean(axis=1))


def _out_of_fold(evaluated: EvaluatedModel, display: Display) -> pd.DataFrame:
    """Return the newest out-of-fold predictions for these classes; computed now if there are none."""
    stored = sorted(
        evaluated.workspace.predictions.glob("oof_*.parquet"), key=lambda path: (path.stat().st_mtime, str(path))
    )
    for path in reversed(stored):
        table = files.read_table(path)
        mine = of_present_contents(evaluated.workspace, table)
        if len(mine) == len(table) > 0 and set(evaluated.classes) <= set(table.columns):
            return table
    return out_of_fold(evaluated.workspace, _FOLDS, "raw", FitOptions(seed=evaluated.seed), display).table


def _disputed(votes: Votes, labels: np.ndarray, images: pd.DataFrame) -> pd.DataFrame:
    """Return the images whose votes are spread most over our classes, with their pictures."""
    from training.data import load_images

    ours = votes.counts.sum(axis=1) / votes.total
    order = np.lexsort((votes.paths.astype(str), -entropy(votes) * (ours >= 0.5)))[:DISPUTED]
    words = [
        ", ".join(f"{name} {n}" for name, n in zip(votes.classes, votes.counts[place], strict=True) if n)
        + (f", other {votes.others[place].sum()}" if votes.others[place].any() else "")
        for place in order
    ]
    shown = images.iloc[order]
    pictures = translate_errors(
        lambda: [
            load_images([Path(file)], 96, [sha256])[0].tobytes()
            for file, sha256 in shown.itertuples(index=False, name=None)
        ]
    )
    return pd.DataFrame(
        {
            "path": [str(votes.paths[place]) for place in order],
            "label": [votes.classes[labels[place]] for place in order],
            "votes": words,
            "thumbnail": pd.Series(pictures, dtype=object),
        }
    )
