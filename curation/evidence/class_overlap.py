"""Must classes exclude each other? Shared probability and votes, two kinds of head, calibrated sets, galleries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from curation.base.progress import Report
from curation.decisions import manifest
from curation.evidence.evaluated_model import EvaluatedModel, places
from curation.evidence.store import Tables
from curation.labels.votes import Votes, read_votes
from curation.models.runs import training_frame, translate_errors

HEAD_IMAGES = 800
"""Train images that the two heads are trained on."""

GALLERY = 24
"""Two-emotion faces shown."""

SECOND_VOTES = 0.2
"""People see a second expression where at least this share of an image's votes is for it: two of ten."""


def class_overlap(evaluated: EvaluatedModel, votes_file: Path | None, report: Report) -> Tables:
    """Return the evidence: which classes share images, by the model and by people, and what follows from it.

    Half of the held-out images calibrate the sets of classes, the other half measures their coverage.
    """
    from training.class_overlap import conformal_sets, coverage, set_counts, shared_probability

    probabilities, labels, classes = evaluated.probabilities, evaluated.labels, evaluated.classes
    half = np.random.default_rng(evaluated.seed).permutation(len(labels)) < len(labels) // 2
    sets = {
        name: conformal_sets(probabilities[half], labels[half], probabilities[~half], name) for name in ("lac", "aps")
    }
    report(1, 3)
    covered = [
        coverage(found, labels[~half], classes, evaluated.seed).assign(method=name) for name, found in sets.items()
    ]
    tables = {
        "shared": shared_probability(probabilities, classes),
        "coverage": pd.concat(covered, ignore_index=True),
        "sets": set_counts(sets["lac"], classes),
        "gallery": _gallery(evaluated, ~half, sets["lac"]),
        **_heads(evaluated),
    }
    report(2, 3)
    if votes_file is not None:
        tables["votes"] = _vote_overlap(evaluated, votes_file)
    report(3, 3)
    return tables


def _heads(evaluated: EvaluatedModel) -> Tables:
    from training.class_overlap import compare_heads, features
    from training.data import digests_of, load_images
    from training.ladder import budgeted

    train = budgeted(evaluated.trained, HEAD_IMAGES, evaluated.seed)
    images = translate_errors(
        lambda: load_images([*map(Path, train["path"])], evaluated.model.recipe.image_size, digests_of(train))
    )
    heads = compare_heads(
        features(evaluated.model, images),
        places(train["label"], evaluated.classes),
        features(evaluated.model, evaluated.images),
        evaluated.labels,
        evaluated.classes,
        evaluated.seed,
    )
    return {"heads": heads.compared.assign(train_images=len(train)), "answers": heads.answers}


def _gallery(evaluated: EvaluatedModel, rows: np.ndarray, sets: np.ndarray) -> pd.DataFrame:
    """Return the faces whose set holds two classes, the most even first, by pair, with their pictures."""
    numbers = np.flatnonzero(rows)
    two = sets.sum(axis=1) == 2
    found = []
    for place, inside in zip(numbers[two], sets[two], strict=True):
        one, other = sorted(np.flatnonzero(inside), key=lambda c: -evaluated.probabilities[place, c])
        scores = evaluated.probabilities[place, [one, other]]
        pair = " and ".join(sorted((evaluated.classes[one], evaluated.classes[other])))
        found.append(
            (pair, place, evaluated.classes[one], float(scores[0]), evaluated.classes[other], float(scores[1]))
        )
    table = pd.DataFrame(found, columns=["pair", "place", "first", "first_p", "second", "second_p"])
    table = table.assign(gap=table["first_p"] - table["second_p"]).sort_values(["gap", "place"])
    table = table.groupby("pair", sort=False).head(max(4, GALLERY // max(1, table["pair"].nunique()))).head(GALLERY)
    chosen = table["place"].to_numpy(np.int64)
    pictures = pd.Series([evaluated.images[place].tobytes() for place in chosen], index=table.index, dtype=object)
    frame = evaluated.frame.iloc[chosen]
    table = table.assign(path=frame["key"].to_numpy(), label=frame["label"].to_numpy(), thumbnail=pictures)
    return table.sort_values(["pair", "gap"]).drop(columns=["place", "gap"])


def _vote_overlap(evaluated: EvaluatedModel, file: Path) -> pd.DataFrame:
    """Return how often people see a second class in images of each class (the label), and the share of its votes."""
    raw = training_frame(evaluated.workspace, manifest.find(evaluated.workspace, "raw")).set_index("key")
    votes: Votes = read_votes(file, evaluated.classes)
    votes = votes.take(np.array([path in raw.index for path in votes.paths]))
    labels = places(raw.loc[list(votes.paths), "label"], evaluated.classes)
    share = votes.counts / votes.total[:, None]
    rows = []
    for one, name in enumerate(evaluated.classes):
        mine = (labels == one) & (share[:, one] >= SECOND_VOTES)
        for two, other in enumerate(evaluated.classes):
            if one != two:
                both = mine & (share[:, two] >= SECOND_VOTES)
                mean = float(share[labels == one, two].mean()) if (labels == one).any() else np.nan
                rows.append((name, other, int(both.sum()), both.sum() / max(1, int((labels == one).sum())), mean))
    table = pd.DataFrame(rows, columns=["first", "second", "images", "share", "probability"])
    pairs = (share >= SECOND_VOTES).sum(axis=1) >= 2
    return table.assign(any_second=float(pairs.mean()), voted=len(votes))
