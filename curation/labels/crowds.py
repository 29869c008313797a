"""The true class behind several annotators' answers, and each annotator's errors (Dawid & Skene, 1979)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curation.base.arrays import Floats, Ints

ROUNDS = 200
"""Most rounds of expectation-maximisation."""

TOLERANCE = 1e-4
"""Largest change of a probability in the last round."""

SMALLEST = 1e-6
"""Added to every count, so that no answer is impossible."""


@dataclass(frozen=True)
class Patterns:
    """The distinct combinations of several annotators' answers.

    Attributes:
        answers: (patterns, annotators) answers, 0 .. kinds - 1.
        counts: (patterns,) number of images, or their total weight.
        of_image: (n,) each image's pattern.
        start: (patterns, true classes) initial probabilities, means over a pattern's images.
        kinds: number of possible answers.
        known: (true classes, kinds) pseudo-counts of the first annotator's answers.

    """

    answers: Ints
    counts: Floats
    of_image: Ints
    start: Floats
    kinds: int
    known: Floats

    @classmethod
    def of(
        cls,
        answers: Sequence[Ints],
        kinds: int,
        start: Floats,
        known: Floats | None = None,
        counted: Floats | None = None,
    ) -> Patterns:
        """Return the patterns of answers, (n,) each, with initial probabilities (n, true classes) and weights (n,)."""
        found, of_image = np.unique(np.column_stack(answers), axis=0, return_inverse=True)
        of_image = of_image.reshape(-1)
        counts = np.bincount(of_image, counted, len(found)).astype(np.float64)
        first = np.zeros((len(found), start.shape[1]))
        np.add.at(first, of_image, start if counted is None else start * counted[:, None])
        nothing = np.zeros((start.shape[1], kinds))
        return cls(found, counts, of_image, first / counts[:, None], kinds, nothing if known is None else known)

    def posterior(self, counts: Floats) -> Floats:
        """Return the probability of each true class, (patterns, true classes), for these counts (patterns,).

        Each annotator's confusion matrix and the truth are estimated by expectation-maximisation (Dawid & Skene,
        Applied Statistics 1979). The given label is one of the annotators; a true class may be one that it cannot name.
        A class with initial probability 0 everywhere stays at 0.
        """
        shown = [np.eye(self.kinds)[answer] for answer in self.answers.T]
        posterior, possible = self.start, self.start.sum(axis=0, keepdims=True) > 0
        for _ in range(ROUNDS):
            weighed = posterior * counts[:, None]
            log_odds = np.where(possible, np.log(np.maximum(weighed.sum(axis=0) / counts.sum(), SMALLEST)), -np.inf)
            for place, answer in enumerate(shown):
                confused = weighed.T @ answer + SMALLEST + (self.known if place == 0 else 0.0)
                log_odds = log_odds + answer @ np.log(confused / confused.sum(axis=1, keepdims=True)).T
            log_odds = log_odds - log_odds.max(axis=1, keepdims=True)
            odds = np.exp(log_odds)
            before, posterior = posterior, odds / odds.sum(axis=1, keepdims=True)
            if np.abs(posterior - before).max() < TOLERANCE:
                break
        return posterior
