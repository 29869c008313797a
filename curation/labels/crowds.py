"""Several opinions on one image, each wrong in its own way: what is true, and how often each errs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curation.base.arrays import Floats, Ints

ROUNDS = 200
"""Of expectation and maximisation at most."""

TOLERANCE = 1e-4
"""Largest change of a belief in the last round."""

SMALLEST = 1e-6
"""Added to every count, so that no answer is impossible."""


@dataclass(frozen=True)
class Patterns:
    """Answers of several annotators, images that were answered alike taken together.

    Attributes:
        answers: (patterns, annotators) places of 0 .. kinds - 1.
        counts: (patterns,) images, or what they count.
        of_image: (n,) each image's pattern.
        start: (patterns, true classes) first belief, the mean over a pattern's images.
        kinds: of answers.
        known: (true classes, kinds) images that the first annotator is taken to have answered so, beside those seen.

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
        """Return the patterns of answers, each (n,), of a first belief (n, true classes) and of what images count."""
        found, of_image = np.unique(np.column_stack(answers), axis=0, return_inverse=True)
        of_image = of_image.reshape(-1)
        counts = np.bincount(of_image, counted, len(found)).astype(np.float64)
        first = np.zeros((len(found), start.shape[1]))
        np.add.at(first, of_image, start if counted is None else start * counted[:, None])
        nothing = np.zeros((start.shape[1], kinds))
        return cls(found, counts, of_image, first / counts[:, None], kinds, nothing if known is None else known)

    def posterior(self, counts: Floats) -> Floats:
        """Return the probability of each true class, (patterns, true classes), with so many images per pattern.

        Every annotator has a confusion matrix of its own, found in turns with the truth by expectation-maximisation
        (Dawid & Skene, Applied Statistics 1979). The given label is one of the annotators, and a true class may be one
        that it cannot name. A class that the first belief leaves out stays out.
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
