"""Ask what pays: what an answer to each image is expected to mend, in labels, and the queue that follows.

An answer mends an image's own label, and those of its copies, where it may change which class is likeliest (the value
of information; Howard, 1966); and it mends labels that nobody asks about, by making the taught judge surer of itself.
Both are expected numbers of labels that become right, and are added.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from curation.base.arrays import Flags, Floats, Ints
from curation.labels.copies import pictures
from curation.labels.teach import CHUNK, RELIABILITY, Answers, Known, Taught, chance, teach

BATCH = 25
"""Answers after which the queue is ranked anew, and in each of which no class takes more than its share."""

LARGEST_SHARE = 0.5
"""Of a batch that one given class may take while others wait."""


@dataclass(frozen=True)
class Queue:
    """What to ask, in order.

    Attributes:
        rows: (m,) of the images, the best first, whole groups of copies together; answered ones are not in it.
        gain: (m,) expected number of labels that an answer mends; a group's in each of its rows.
        taught: the judge that ranked it.

    """

    rows: Ints
    gain: Floats
    taught: Taught


def rank_queue(known: Known, answers: Answers, open_: Flags | None = None) -> Queue:
    """Teach the judge what was answered and return what to ask next.

    Args:
        known: what the judge knows of all images.
        answers: so far.
        open_: (n,) images that may be asked about; None for all. A group of copies of which any was answered is done.

    """
    taught = teach(known, answers)
    unit = pictures(known.groups)
    # an answer mends all copies of a picture, and teaches what one picture can teach
    own, teaching = value_of_answer(taught.posterior), _by_teaching(known, taught)
    total = np.bincount(unit, weights=own) + np.bincount(unit, weights=teaching) / np.bincount(unit)
    done = np.zeros(len(total), dtype=bool)
    done[unit[answers.rows]] = True
    may = np.ones(len(known), dtype=bool) if open_ is None else open_
    asked = np.flatnonzero(may & ~done[unit])
    # a unit stands where its best gain puts it; its rows stand together, in the data's order
    order = asked[np.lexsort((asked, unit[asked], -total[unit[asked]]))]
    order = _balanced(order, unit, known.labels)
    return Queue(order, total[unit[order]], taught)


def _balanced(order: Ints, unit: Ints, labels: Ints) -> Ints:
    """Return the order with no more than its share of every batch from one given class, as long as there are others."""
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
    """Return by how much one person's answer is expected to raise the chance of the likeliest class, (n,)."""
    values = np.empty(len(posterior))
    for start in range(0, len(posterior), CHUNK):
        part = posterior[start : start + CHUNK]
        joint = part[:, :, None] * chance(part, RELIABILITY)
        values[start : start + CHUNK] = joint.max(axis=1).sum(axis=1) - part.max(axis=1)
    return np.maximum(values, 0.0)


def _by_teaching(known: Known, taught: Taught) -> Floats:
    """Return how many labels of other images the judge is expected to get right by what an answer teaches it, (n,).

    An answer makes the parameters better known; where an image's two likeliest classes are close, what is better known
    may turn them. To second order that is the trace of the answer's information with a matrix that is the same for all.
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
        turned += (apart * (0.25 * expit(margin) * expit(-margin))[:, None]).T @ apart
    matrix = (covariance @ turned @ covariance).astype(np.float32)
    values = np.empty(len(known))
    for start in range(0, len(known), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(known)))
        features, _ = known.features(rows)
        believed = taught.posterior[rows].astype(np.float32)
        mean = np.einsum("mtp,mt->mp", features, believed)
        spread = np.einsum("mtp,mtp,mt->m", features @ matrix, features, believed)
        values[rows] = spread - np.einsum("mp,mp->m", mean @ matrix, mean)
    return np.maximum(values, 0.0)
