"""One calibrated judgement of every label: P(wrong), P(ambiguous), the likeliest other class and its probability.

*Opinions* are probabilities formed without the image's own label: by out-of-fold models and by other people's
networks. The jury (``curation.labels.jury``) combines them with the given label into one posterior, which people's
answers may change (``curation.labels.teach``); the judgement is derived from it. Votes for measuring are never used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curation.base.arrays import Floats, Ints
from curation.labels.jury import softened

PANEL = 10
"""People in the hypothetical panel; FER+ (Barsoum et al., ICMI 2016) had ten."""

PANEL_MAJORITY = 6
"""Votes of the panel needed for a majority."""


@dataclass(frozen=True)
class Judgement:
    """The judgement of every label.

    Attributes:
        wrong: (n,) probability that the label is wrong.
        ambiguous: (n,) probability that it is not wrong, but a panel of ten people would have no majority.
        suggestion: (n,) the likeliest other class.
        suggestion_right: (n,) probability that the suggestion is the true class; never above ``wrong``.
        posterior: (n, classes) probability of each class being the true one, given label included; the rest of a row
            is "none of these".

    """

    wrong: Floats
    ambiguous: Floats
    suggestion: Ints
    suggestion_right: Floats
    posterior: Floats


def judgement(labels: Ints, posterior: Floats, sharpness: float) -> Judgement:
    """Return the judgement by a posterior.

    Args:
        labels: (n,) given classes.
        posterior: (n, classes + 1), "none of these" last.
        sharpness: of the posterior (``curation.labels.jury.Consensus``).

    """
    rows = np.arange(len(labels))
    named = posterior[:, :-1]
    wrong = 1.0 - named[rows, labels]
    others = named.copy()
    others[rows, labels] = 0.0
    return Judgement(
        wrong=wrong,
        ambiguous=(1.0 - wrong) * no_majority(softened(posterior, sharpness)[:, :-1]),
        suggestion=others.argmax(axis=1).astype(np.int64),
        suggestion_right=others.max(axis=1),
        posterior=named,
    )


def no_majority(named: Floats) -> Floats:
    """Return the probability that ten people, who answer by these probabilities, have no majority of six, (n,)."""
    from scipy.stats import binom

    chance: Floats = binom.cdf(PANEL_MAJORITY - 1, PANEL, named.max(axis=1))
    return chance
