"""Order of review: how many labels an answer to each image is expected to correct, and the resulting queue.

An answer may correct the label of an image and its copies, by changing which class is likeliest (the value of
information; Howard, 1966), and other labels, by teaching the judge. The two expected numbers of corrected labels are
added.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from curation.base.arrays import Flags, Floats, Ints
from curation.labels.copies import pictures
from curation.labels.teach import CHUNK, RELIABILITY, Answers, JudgeInputs, TaughtJudge, chance, teach

BATCH = 25
"""Answers between two rankings of the queue; in each batch, no class takes more than ``LARGEST_SHARE``."""

LARGEST_SHARE = 0.5
"""Largest share of a batch for one given class, while there are images of others."""


@dataclass(frozen=True)
class Queue:
    """Images to ask about, in order.

    Attributes:
        rows: (m,) rows of the images, best first, with groups of copies together and without answered images.
        gain: (m,) expected number of labels that an answer corrects; of a group, in each of its rows.
        taught: the judge that ranked them.

    """

    rows: Ints
    gain: Floats
    taught: TaughtJudge


def rank_queue(known: JudgeInputs, answers: Answers, open_: Flags | None = None) -> Queue:
    """Teach the judge the answers and return the images to ask about next.

    Args:
        known: inputs of the judge.
        answers: so far.
        open_: (n,) images that may be asked about; None for all. Groups of copies with an answer are left out.

    """
    taught = teach(known, answers)
    unit = pictures(known.groups)
    # an answer corrects all copies of a picture, but teaches as much as one image
    own, teaching = value_of_answer(taught.posterior), _by_teaching(known, taught)
    total = np.bincount(unit, weights=own) + np.bincount(unit, weights=teaching) / np.bincount(unit)
    done = np.zeros(len(total), dtype=bool)
    done[unit[answers.rows]] = True
    may = np.ones(len(known), dtype=bool) if open_ is None else open_
    asked = np.flatnonzero(may & ~done[unit])
    # by the picture's gain; the rows of a picture stay together, in the order of the data
    order = asked[np.lexsort((asked, unit[asked], -total[unit[asked]]))]
    order = _balanced(order, unit, known.labels)
    return Queue(order, total[unit[order]], taught)


def _balanced(order: Ints, unit: Ints, labels: Ints) -> Ints:
    """Return the order with each given class limited to its share of a batch, while there are others."""
    heads = np.flatnonzero(np.r_[True, np.diff(unit[order]) != 0]) if len(order) else np.zeros(0, np.int64)
    ends = np.r_[heads[1:], len(order)]
    waiting: dict[int, list[int]] = {}
    for place in range(len(heads)):
        waiting.setdefault(int(labels[order[heads[place]]]), []).append(place)
    for places in waiting.values():
        places.reverse()
    most, chosen = int(BATCH * LARGEST_SHARE) + 1, []
    while waiting:
        taken = dict.fromkeys(waiting, 0)
        for _ in range(BATCH):
            free = [kind for kind in waiting if taken[kind] < most] or list(waiting)
            if not free:
                break
            kind = min(free, key=lambda kind: waiting[kind][-1])
            chosen.append(waiting[kind].pop())
            taken[kind] += 1
            if not waiting[kind]:
                del waiting[kind]
    rows = [order[heads[place] : ends[place]] for place in chosen]
    return np.concatenate(rows) if rows else order


def value_of_answer(posterior: Floats) -> Floats:
    """Return the expected increase of the likeliest class' probability by one person's answer, (n,)."""
    values = np.empty(len(posterior))
    for start in range(0, len(posterior), CHUNK):
        part = posterior[start : start + CHUNK]
        joint = part[:, :, None] * chance(part, RELIABILITY)
        values[start : start + CHUNK] = joint.max(axis=1).sum(axis=1) - part.max(axis=1)
    return np.maximum(values, 0.0)


def _by_teaching(known: JudgeInputs, taught: TaughtJudge) -> Floats:
    """Return how many labels of other images an answer is expected to correct by teaching the judge, (n,).

    An answer reduces the parameters' uncertainty, which may swap two close classes of an image. To second order that is
    the trace of the answer's information times a matrix that is the same for all answers.
    """
    covariance = np.linalg.inv(taught.precision)
    turned = np.zeros_like(covariance)
    for start in range(0, len(known), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(known)))
        features, _ = known.features(rows)
        two = np.argsort(-taught.posterior[rows], axis=1)[:, :2]
        place = np.arange(len(rows))
        apart = (features[place, two[:, 0]] - features[place, two[:, 1]]).astype(np.float64)
        margin = np.log(taught.posterior[rows, two[:, 0]] / np.maximum(taught.posterior[rows, two[:, 1]], 1e-12))
        turned += (apart * (0.25 * scipy.special.expit(margin) * scipy.special.expit(-margin))[:, None]).T @ apart
    matrix = (covariance @ turned @ covariance).astype(np.float32)
    values = np.empty(len(known))
    for start in range(0, len(known), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(known)))
        features, _ = known.features(rows)
        posterior = taught.posterior[rows].astype(np.float32)
        mean = np.einsum("mtp,mt->mp", features, posterior)
        spread = np.einsum("mtp,mtp,mt->m", features @ matrix, features, posterior)
        values[rows] = spread - np.einsum("mp,mp->m", mean @ matrix, mean)
    return np.maximum(values, 0.0)
