"""One calibrated judgement of every label: P(wrong), P(ambiguous), the likeliest other class and its probability.

*Opinions* are probabilities formed without the image's own label: out-of-fold models, networks of other people. The
jury (``curation.labels.jury``) makes one posterior of them and the given label, and people's answers may move it
(``curation.labels.teach``); everything here is read off that posterior. Votes that measure are never looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curation.base.arrays import Floats, Ints
from curation.labels.jury import softened

PANEL = 10
"""People in the panel whose majority is asked for; FER+ (Barsoum et al., ICMI 2016) asked ten."""

PANEL_MAJORITY = 6
"""Of the panel: below it an image has no majority."""


@dataclass(frozen=True)
class Judgement:
    """What is thought of every label.

    Attributes:
        wrong: (n,) probability that the label is wrong.
        ambiguous: (n,) probability that it is not, but that ten people would not agree on any class.
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
    """Return the judgement that a posterior makes.

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
    """Return how likely a panel of ten who answer by these probabilities has no majority of six, (n,)."""
    from scipy.stats import binom

    chance: Floats = binom.cdf(PANEL_MAJORITY - 1, PANEL, named.max(axis=1))
    return chance
