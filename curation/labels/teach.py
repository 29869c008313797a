"""Teach the judge by people's answers: a small model that starts from the judge and is regularised towards it.

A conditional logit (McFadden, 1974) over the classes and "none of these": the judge's log-probabilities are the offset,
and all parameters are shrunk to 0, which is the untaught judge. The strength of shrinkage is averaged over, including
no change at all (Bayesian model averaging by Laplace's approximation; Hoeting et al., 1999), so that a few answers
change little. Answers are noisy: the true class is latent, and each person's reliability is estimated too (Dawid &
Skene, 1979).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from curation.base.arrays import Flags, Floats, Floats32, Ints
from curation.labels.copies import members, sums

SLOPE_SCALES = (0.02, 0.05)
SHIFT_SCALES = (0.1, 0.2)
"""Prior standard deviations of the parameters: of slopes of log-probabilities, and of shifts of log-odds."""

USUAL_SLOPE, USUAL_SHIFT = 0.05, 0.2
"""Expected scales before any answer (half-Cauchy)."""

RELIABILITY = 0.8
"""Expected share of a person's answers that are right; 0.8 of single FER+ votes are their panel's majority."""

RELIABILITY_ANSWERS = 100.0
"""Weight of this expectation, in answers."""

LIKENESS = 0.5
"""Correlation of several answers to one picture, given its true class: difficult pictures are difficult for all."""

FEWEST, CERTAINTY, HONEST = 25, 2.0, 0.75
"""Detection of guessing: least number of a person's answers, standard errors of a significant difference, and an honest
person's least agreement with the judge, relative to that of draws from the judge's own posterior."""

GUESSED = 5.0
"""Total weight of a guessing person's answers; not 0, as one who finds one class only may be right about it."""

MOST_TRANSITIONS = 12
"""Up to so many classes, each pair of given label and other class has its own shift."""

ROUNDS = 5
"""Rounds of expectation-maximisation; the latent classes change little after three."""

CHUNK = 65_536
"""Rows whose features are computed at once."""


@dataclass(frozen=True)
class JudgeInputs:
    """Inputs of the judge's features.

    Attributes:
        labels: (n,) given classes.
        posterior: (n, classes + 1) the untaught judge's probabilities, "none of these" last.
        calibrated: (opinions, n, classes + 1) log-probabilities of the jurors.
        neighbours: (n, classes) probabilities of the neighbours' labels.
        dynamics: (n, 2) area under the margin and times forgotten; NaN where no fit was recorded.
        groups: (n,) names of groups of copies, "" for none.

    """

    labels: Ints
    posterior: Floats
    calibrated: npt.NDArray[np.floating[Any]]
    neighbours: Floats
    dynamics: Floats
    groups: npt.NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.labels)

    def features(self, rows: Ints) -> tuple[Floats32, Flags]:
        """Return features of each class of some images, (m, classes + 1, parameters), and which ones are slopes."""
        given = np.zeros((len(rows), self.posterior.shape[1]), np.float32)
        given[np.arange(len(rows)), self.labels[rows]] = 1.0
        prior = np.log(self.posterior[rows])
        near = np.log(np.maximum(self.neighbours[rows], 1e-3))
        near = np.column_stack([near, near.mean(axis=1)])
        trained = [given * _standard(self.dynamics[:, place])[rows, None] for place in (0, 1)]
        each = np.eye(given.shape[1], dtype=np.float32)
        heard = [*self.calibrated[:, rows], prior]
        # the given label may need other weights than the other classes
        own = [said * given for said in heard]
        slopes = [*heard[:-1], *own, near, *trained, *(prior * kind for kind in each)]
        shifts = [given, *(np.broadcast_to(kind, given.shape) for kind in each)]
        for place in range(given.shape[1] - 1):
            mine = given[:, place : place + 1]
            kinds = each if given.shape[1] <= MOST_TRANSITIONS + 1 else [each[place]]
            shifts += [mine * kind for kind in kinds]
        stacked = np.stack([np.asarray(part, np.float32) for part in (*slopes, *shifts)], axis=2)
        return stacked, np.arange(stacked.shape[2]) < len(slopes)


def _standard(values: Floats) -> Floats32:
    """Return values standardised to mean 0 and deviation 1; 0 where they are not finite."""
    known = np.isfinite(values)
    if not known.any():
        return np.zeros(len(values), np.float32)
    mean, spread = values[known].mean(), max(values[known].std(), 1e-9)
    return np.where(known, (values - mean) / spread, 0.0).astype(np.float32)


@dataclass(frozen=True)
class Answers:
    """People's answers, one entry each.

    Attributes:
        rows: (m,) rows of the images.
        kinds: (m,) the class; the number of classes for "none of these".
        people: (m,) person, numbered from 0.
        weights: (m,) 1, or less for an answer shared between classes.

    """

    rows: Ints
    kinds: Ints
    people: Ints
    weights: Floats

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, chosen: Flags) -> Answers:
        """Return some answers."""
        return Answers(self.rows[chosen], self.kinds[chosen], self.people[chosen], self.weights[chosen])


@dataclass(frozen=True)
class TaughtJudge:
    """The judge after the answers.

    Attributes:
        parameters: (parameters,) weights of the features.
        precision: (parameters, parameters) their posterior precision.
        learned: (n, classes + 1) probabilities by the model, without an image's own answers.
        posterior: (n, classes + 1) probabilities with an image's own answers and those to its copies.
        reliability: (people,) estimated share of right answers.
        guesses: (people,) whether the answers fit the images no better than guesses; they count as ``GUESSED``.
        moved: share of the images whose likeliest class has changed, without their own answers.

    """

    parameters: Floats
    precision: Floats
    learned: Floats
    posterior: Floats
    reliability: Floats
    guesses: Flags
    moved: float


def teach(known: JudgeInputs, answers: Answers) -> TaughtJudge:
    """Return the judge taught by the answers; without answers it is unchanged."""
    given, people = answers, int(answers.people.max()) + 1 if len(answers) else 0
    guesses = _guesses(known, given, people)
    share = np.where(guesses, GUESSED / np.maximum(np.bincount(given.people, minlength=people), 1.0), 1.0)
    answers = replace(given, weights=given.weights * share[given.people])
    rows, entry = np.unique(answers.rows, return_inverse=True)
    features, slopes = known.features(rows)
    offset = np.log(known.posterior[rows])
    share = _counted(known, answers)
    reliability = np.where(guesses, _reliabilities(known, given, people), _reliabilities(known, answers, people))
    fitted = _Average(np.zeros(features.shape[2]), _precision(slopes, USUAL_SLOPE, USUAL_SHIFT))
    if len(answers):
        said = _log_likelihood(known.posterior[rows], answers, entry, reliability, share)
        fitted = _averaged(offset, features, said, slopes)
    learned = applied(known, fitted.parameters)
    posterior = answered(known, learned, answers, reliability)
    before, after = known.posterior.argmax(axis=1), learned.argmax(axis=1)
    moved = float((before != after).mean()) if len(known) else 0.0
    return TaughtJudge(fitted.parameters, fitted.precision, learned, posterior, reliability, guesses, moved)


def applied(known: JudgeInputs, parameters: Floats) -> Floats:
    """Return the probabilities of every image with these parameters, (n, classes + 1)."""
    found = np.empty_like(known.posterior)
    for start in range(0, len(known), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(known)))
        features, _ = known.features(rows)
        found[rows] = scipy.special.softmax(np.log(known.posterior[rows]) + features @ parameters, axis=1)
    return found


def answered(known: JudgeInputs, learned: Floats, answers: Answers, reliability: Floats) -> Floats:
    """Return the probabilities with the answers to each image and its copies, (n, classes + 1)."""
    if not len(answers):
        return learned
    rows, entry = np.unique(answers.rows, return_inverse=True)
    said = _log_likelihood(known.posterior[rows], answers, entry, reliability, _counted(known, answers))
    total = np.zeros_like(learned)
    total[rows] = said
    copies, number = members(known.groups)
    total[copies] = sums(total[copies], number)
    posterior: Floats = scipy.special.softmax(np.log(np.maximum(learned, 1e-12)) + total, axis=1)
    return posterior


def chance(posterior: Floats, reliability: npt.ArrayLike) -> Floats:
    """Return the probability of each answer for each true class, (m, true, answer).

    It is ``reliability`` for the true class; errors are distributed as the image's posterior.
    """
    right = np.broadcast_to(np.asarray(reliability, np.float64), (len(posterior),))[:, None, None]
    others = posterior[:, None, :] / np.maximum(1.0 - posterior[:, :, None], 1e-9)
    return np.where(np.eye(posterior.shape[1], dtype=bool), right, (1.0 - right) * others)


def _counted(known: JudgeInputs, answers: Answers) -> Floats:
    """Return each answer's weight, (m,), less for several answers to a picture and its copies: they are dependent."""
    if not len(answers):
        return np.zeros(0)
    names = known.groups[answers.rows]
    own = [name or str(row) for name, row in zip(names, answers.rows, strict=True)]
    picture = np.unique(own, return_inverse=True)[1]
    mine = np.bincount(picture, weights=answers.weights)[picture]
    counted: Floats = answers.weights / (1.0 + np.maximum(mine - 1.0, 0.0) * LIKENESS)
    return counted


def _log_likelihood(posterior: Floats, answers: Answers, entry: Ints, reliability: Floats, share: Floats) -> Floats:
    """Return the log-likelihood of the answers for each true class of each answered image, (rows, classes + 1)."""
    likely = chance(posterior[entry], reliability[answers.people])
    said = np.log(np.maximum(likely[np.arange(len(entry)), :, answers.kinds], 1e-9)) * share[:, None]
    total = np.zeros_like(posterior)
    np.add.at(total, entry, said)
    return total


def _guesses(known: JudgeInputs, answers: Answers, people: int) -> Flags:
    """Return who guesses, (people,): the answers would fit as well if shuffled among the person's images.

    And they fit worse than an honest person's would. Both are measured by the untaught judge; where it is uncertain, or
    there are few answers, nobody is found to guess.
    """
    found = np.zeros(people, dtype=bool)
    for person in range(people):
        mine = answers.take(answers.people == person)
        if len(mine) < FEWEST:
            continue
        judged = known.posterior[mine.rows]
        fit = judged[np.arange(len(mine)), mine.kinds]
        dealt, honest = judged.mean(axis=0)[mine.kinds].mean(), (judged**2).sum(axis=1).mean()
        error = CERTAINTY * fit.std() / len(mine) ** 0.5
        found[person] = abs(fit.mean() - dealt) <= error and fit.mean() + error < HONEST * honest
    return found


def _reliabilities(known: JudgeInputs, answers: Answers, people: int) -> Floats:
    """Return each person's share of right answers, (people,), by expectation-maximisation, shrunk to ``RELIABILITY``.

    The reference is the untaught judge with others' answers to the same images, as a taught one would confirm them.
    """
    rows, entry = np.unique(answers.rows, return_inverse=True)
    prior, share = known.posterior[rows], _counted(known, answers)
    found = np.full(people, RELIABILITY)
    number = np.bincount(answers.people, weights=answers.weights, minlength=people)
    for _ in range(ROUNDS if people else 0):
        said = _log_likelihood(prior, answers, entry, found, share)
        true = scipy.special.softmax(np.log(prior) + said, axis=1)[entry, answers.kinds]
        right = np.bincount(answers.people, weights=answers.weights * true, minlength=people)
        found = (right + RELIABILITY * RELIABILITY_ANSWERS) / (number + RELIABILITY_ANSWERS)
    return found


def _precision(slopes: Flags, slope: float, shift: float) -> Floats:
    """Return the prior precision of the parameters, (parameters, parameters)."""
    return np.diag(np.where(slopes, slope**-2.0, shift**-2.0))


@dataclass(frozen=True)
class _Average:
    """Parameters and their precision, averaged over the scales."""

    parameters: Floats
    precision: Floats


def _averaged(offset: Floats, features: Floats32, said: Floats, slopes: Flags) -> _Average:
    """Return the parameters averaged over the prior scales, each weighted by its evidence."""
    nothing = scipy.special.logsumexp(scipy.special.log_softmax(offset, axis=1) + said, axis=1).sum()
    found = [_Average(np.zeros(features.shape[2]), _precision(slopes, USUAL_SLOPE, USUAL_SHIFT))]
    evidence, start = [nothing], np.zeros(features.shape[2])
    for slope in SLOPE_SCALES:
        for shift in SHIFT_SCALES:
            prior = np.diag(_precision(slopes, slope, shift))
            one, logarithm = _fitted(offset, features, said, prior, start)
            start = one.parameters
            found.append(one)
            evidence.append(logarithm - np.log1p((slope / USUAL_SLOPE) ** 2) - np.log1p((shift / USUAL_SHIFT) ** 2))
    weights = scipy.special.softmax(np.array(evidence))
    parameters = np.einsum("m,mp->p", weights, np.stack([one.parameters for one in found]))
    return _Average(parameters, found[int(weights.argmax())].precision)


def _fitted(offset: Floats, features: Floats32, said: Floats, prior: Floats, start: Floats) -> tuple[_Average, float]:
    """Return the likeliest parameters for one prior, and the log-evidence of the answers (Laplace).

    Estimation of the latent true classes alternates with a Newton step of the parameters.
    """
    parameters = start
    for _ in range(ROUNDS):
        posterior, true = _with_answers(offset + features @ parameters, said)
        gradient = np.einsum("mtp,mt->p", features, true - posterior) - prior * parameters
        complete = _information(features, posterior) + np.diag(prior)
        parameters = parameters + np.linalg.solve(complete, gradient)
    logits = offset + features @ parameters
    posterior, true = _with_answers(logits, said)
    # the information on the latent classes is subtracted (Louis, 1982), unless the result is no precision
    precision = _information(features, posterior) + np.diag(prior)
    observed = precision - _information(features, true)
    sign, size = np.linalg.slogdet(observed)
    if sign <= 0:
        observed, size = precision, np.linalg.slogdet(precision)[1]
    likelihood = scipy.special.logsumexp(scipy.special.log_softmax(logits, axis=1) + said, axis=1).sum()
    evidence = likelihood - 0.5 * (prior * parameters**2).sum() + 0.5 * np.log(prior).sum() - 0.5 * size
    return _Average(parameters, observed), float(evidence)


def _with_answers(logits: Floats, said: Floats) -> tuple[Floats, Floats]:
    """Return the probabilities without and with the answers, each (m, classes + 1)."""
    return scipy.special.softmax(logits, axis=1), scipy.special.softmax(logits + said, axis=1)


def _information(features: Floats32, posterior: Floats) -> Floats:
    """Return the Fisher information of the parameters at these probabilities, (parameters, parameters)."""
    rooted = features * np.sqrt(posterior)[:, :, None].astype(np.float32)
    flat = rooted.reshape(-1, features.shape[2])
    mean = np.einsum("mtp,mt->mp", features, posterior.astype(np.float32))
    information: Floats = (flat.T @ flat - mean.T @ mean).astype(np.float64)
    return information
