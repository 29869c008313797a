"""Several opinions on one image, each wrong in its own way: what is true, and how often each errs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curation.labels.scores import Floats, Whole

ROUNDS = 200
"""Of expectation and maximisation at most."""

TOLERANCE = 1e-4
"""Largest change of a belief in the last round."""

SMALLEST = 1e-6
"""Added to every count, so that no answer is impossible."""


def dawid_skene(answers: Sequence[Whole], kinds: int, start: Floats) -> Floats:
    """Return the probability of each true class from the answers of several annotators, (n, true classes).

    Every annotator has a confusion matrix of its own, found in turns with the truth by expectation-maximisation
    (Dawid & Skene, Applied Statistics 1979). The given label is one of the annotators, and a true class may be one
    that it cannot name.

    Args:
        answers: of each annotator, (n,) places of 0 .. kinds - 1.
        kinds: of answers.
        start: (n, true classes) first belief; rows sum to 1.

    """
    shown = [np.eye(kinds)[answer] for answer in answers]
    believed = start
    for _ in range(ROUNDS):
        log_odds = np.log(np.maximum(believed.mean(axis=0), SMALLEST))[None, :]
        for answer in shown:
            counts = believed.T @ answer + SMALLEST
            log_odds = log_odds + answer @ np.log(counts / counts.sum(axis=1, keepdims=True)).T
        log_odds = log_odds - log_odds.max(axis=1, keepdims=True)
        odds = np.exp(log_odds)
        before, believed = believed, odds / odds.sum(axis=1, keepdims=True)
        if np.abs(believed - before).max() < TOLERANCE:
            break
    result: Floats = believed
    return result
