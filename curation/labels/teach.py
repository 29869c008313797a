"""Answers teach: a small model that starts from the judge and moves only as far as people's answers carry it.

A conditional logit (McFadden, 1974) over the classes and "none of these": the judge's log-probabilities are the offset,
and every parameter is drawn to 0, where the taught judge is the untaught one. How far parameters may go is averaged
over (Bayesian model averaging by Laplace's approximation; Hoeting et al., 1999), nothing taught among them: a few
answers move little. One person's answer is noisy: the true class is hidden behind it, and how often each person gives
it is learned beside it (Dawid & Skene, 1979; the given label's part is the judge's).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax, logsumexp, softmax

from curation.base.arrays import Flags, Floats, Floats32, Ints
from curation.labels.copies import members, sums

SLOPE_SCALES = (0.02, 0.05)
SHIFT_SCALES = (0.1, 0.2)
"""Standard deviations that parameters may have around 0: of slopes of log-probabilities, and of shifts of log-odds."""

USUAL_SLOPE, USUAL_SHIFT = 0.05, 0.2
"""Scales that are expected before any answer (half-Cauchy): a judge is not far off."""

RELIABILITY = 0.8
"""Expected share of one person's answers that are the true class; a single FER+ vote is its panel's majority in 0.8."""

RELIABILITY_ANSWERS = 100.0
"""Answers that this expectation counts as."""

LIKENESS = 0.5
"""Correlation of several answers to one picture beyond its true class: what is hard for one is hard for all."""

FEWEST, CERTAINTY, HONEST = 25, 2.0, 0.75
"""Answers from which on it is asked whether a person guesses, standard errors that tell two numbers apart, and the
share of the agreement with the judge expected of its own draws that an honest person reaches."""

GUESSED = 5.0
"""Answers that all guesses of one person count as: who finds one class only may be right where the judge is not."""

MOST_TRANSITIONS = 12
"""Classes up to which every step from a given label to another class has a shift of its own."""

ROUNDS = 5
"""Of expectation and maximisation; the hidden classes move little after three."""

CHUNK = 65_536
"""Rows whose features are made at once."""


@dataclass(frozen=True)
class Known:
    """What the judge knows of the images, row by row: what features are made of.

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
        """Return what speaks for each class of some images, (m, classes + 1, parameters), and which are slopes."""
        given = np.zeros((len(rows), self.posterior.shape[1]), np.float32)
        given[np.arange(len(rows)), self.labels[rows]] = 1.0
        prior = np.log(self.posterior[rows])
        near = np.log(np.maximum(self.neighbours[rows], 1e-3))
        near = np.column_stack([near, near.mean(axis=1)])
        trained = [given * _standard(self.dynamics[:, place])[rows, None] for place in (0, 1)]
        each = np.eye(given.shape[1], dtype=np.float32)
        heard = [*self.calibrated[:, rows], prior]
        # what is said of the given label may weigh otherwise than what is said of the others
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
    """Return values with mean 0 and deviation 1; 0 where there are none."""
    known = np.isfinite(values)
    if not known.any():
        return np.zeros(len(values), np.float32)
    mean, spread = values[known].mean(), max(values[known].std(), 1e-9)
    return np.where(known, (values - mean) / spread, 0.0).astype(np.float32)


@dataclass(frozen=True)
class Answers:
    """What people said, an entry per answer.

    Attributes:
        rows: (m,) of the images.
        kinds: (m,) class that was named; the number of classes for "none of these".
        people: (m,) who said it, as numbers from 0 on.
        weights: (m,) 1, or a part of it where an answer is shared between two classes.

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
class Taught:
    """The judge after the answers.

    Attributes:
        parameters: (parameters,) of the features.
        precision: (parameters, parameters) of them: how well they are known.
        learned: (n, classes + 1) probabilities by what was learned, an image's own answers left out.
        posterior: (n, classes + 1) probabilities with an image's own answers, and those to its copies.
        reliability: (people,) estimated share of a person's answers that are the true class.
        guesses: (people,) whether a person's answers fit the images no better than guesses: they count as ``GUESSED``.
        moved: share of the images whose likeliest class the teaching changed, own answers left out.

    """

    parameters: Floats
    precision: Floats
    learned: Floats
    posterior: Floats
    reliability: Floats
    guesses: Flags
    moved: float


def teach(known: Known, answers: Answers) -> Taught:
    """Return the judge as the answers change it; without answers it stays as it was."""
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
    return Taught(fitted.parameters, fitted.precision, learned, posterior, reliability, guesses, moved)


def applied(known: Known, parameters: Floats) -> Floats:
    """Return what the judge says of every image with these parameters, (n, classes + 1)."""
    found = np.empty_like(known.posterior)
    for start in range(0, len(known), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(known)))
        features, _ = known.features(rows)
        found[rows] = softmax(np.log(known.posterior[rows]) + features @ parameters, axis=1)
    return found


def answered(known: Known, learned: Floats, answers: Answers, reliability: Floats) -> Floats:
    """Return the probabilities with each image's own answers, which count for its copies too, (n, classes + 1)."""
    if not len(answers):
        return learned
    rows, entry = np.unique(answers.rows, return_inverse=True)
    said = _log_likelihood(known.posterior[rows], answers, entry, reliability, _counted(known, answers))
    total = np.zeros_like(learned)
    total[rows] = said
    copies, number = members(known.groups)
    total[copies] = sums(total[copies], number)
    posterior: Floats = softmax(np.log(np.maximum(learned, 1e-12)) + total, axis=1)
    return posterior


def chance(posterior: Floats, reliability: npt.ArrayLike) -> Floats:
    """Return how likely each answer is for each true class, (m, true, answer).

    A person names the true class as often as ``reliability`` says, and otherwise errs as the image is confused.
    """
    right = np.broadcast_to(np.asarray(reliability, np.float64), (len(posterior),))[:, None, None]
    others = posterior[:, None, :] / np.maximum(1.0 - posterior[:, :, None], 1e-9)
    likely: Floats = np.where(np.eye(posterior.shape[1], dtype=bool), right, (1.0 - right) * others)
    return likely


def _counted(known: Known, answers: Answers) -> Floats:
    """Return what each answer counts, (m,): several to one picture, copies included, are not independent."""
    if not len(answers):
        return np.zeros(0)
    names = known.groups[answers.rows]
    own = [name or str(row) for name, row in zip(names, answers.rows, strict=True)]
    picture = np.unique(own, return_inverse=True)[1]
    mine = np.bincount(picture, weights=answers.weights)[picture]
    counted: Floats = answers.weights / (1.0 + np.maximum(mine - 1.0, 0.0) * LIKENESS)
    return counted


def _log_likelihood(posterior: Floats, answers: Answers, entry: Ints, reliability: Floats, share: Floats) -> Floats:
    """Return how well each true class of each answered image explains what was said, (rows, classes + 1) logarithms."""
    likely = chance(posterior[entry], reliability[answers.people])
    said = np.log(np.maximum(likely[np.arange(len(entry)), :, answers.kinds], 1e-9)) * share[:, None]
    total = np.zeros_like(posterior)
    np.add.at(total, entry, said)
    return total


def _guesses(known: Known, answers: Answers, people: int) -> Flags:
    """Return who answers without looking, (people,): dealt out anew among the person's images, the answers fit as well.

    And they fit less well than an honest person's must. Both are measured by the untaught judge, so that none is found
    where it knows little itself; of a few answers nothing is said.
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


def _reliabilities(known: Known, answers: Answers, people: int) -> Floats:
    """Return how often each person gives the true class, (people,): expectation and maximisation, drawn to the usual.

    Measured against the untaught judge and the others' answers to the same images: a judge that the answers have taught
    would confirm them.
    """
    rows, entry = np.unique(answers.rows, return_inverse=True)
    prior, share = known.posterior[rows], _counted(known, answers)
    found = np.full(people, RELIABILITY)
    number = np.bincount(answers.people, weights=answers.weights, minlength=people)
    for _ in range(ROUNDS if people else 0):
        said = _log_likelihood(prior, answers, entry, found, share)
        true = softmax(np.log(prior) + said, axis=1)[entry, answers.kinds]
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
    """Return the parameters averaged over how far they may go, each scale as likely as the answers make it."""
    nothing = logsumexp(log_softmax(offset, axis=1) + said, axis=1).sum()
    found = [_Average(np.zeros(features.shape[2]), _precision(slopes, USUAL_SLOPE, USUAL_SHIFT))]
    evidence, start = [nothing], np.zeros(features.shape[2])
    for slope in SLOPE_SCALES:
        for shift in SHIFT_SCALES:
            prior = np.diag(_precision(slopes, slope, shift))
            one, logarithm = _fitted(offset, features, said, prior, start)
            start = one.parameters
            found.append(one)
            evidence.append(logarithm - np.log1p((slope / USUAL_SLOPE) ** 2) - np.log1p((shift / USUAL_SHIFT) ** 2))
    weights = softmax(np.array(evidence))
    parameters = np.einsum("m,mp->p", weights, np.stack([one.parameters for one in found]))
    return _Average(parameters, found[int(weights.argmax())].precision)


def _fitted(offset: Floats, features: Floats32, said: Floats, prior: Floats, start: Floats) -> tuple[_Average, float]:
    """Return the likeliest parameters for one prior, and the logarithm of the answers' evidence (Laplace).

    The hidden true classes are filled in and the parameters moved by one Newton step, in turns.
    """
    parameters = start
    for _ in range(ROUNDS):
        believed, true = _with_answers(offset + features @ parameters, said)
        gradient = np.einsum("mtp,mt->p", features, true - believed) - prior * parameters
        complete = _information(features, believed) + np.diag(prior)
        parameters = parameters + np.linalg.solve(complete, gradient)
    logits = offset + features @ parameters
    believed, true = _with_answers(logits, said)
    # what the answers leave hidden is taken off (Louis, 1982); half of it at most, so that it stays a precision
    precision = _information(features, believed) + np.diag(prior)
    observed = precision - _information(features, true)
    sign, size = np.linalg.slogdet(observed)
    if sign <= 0:
        observed, size = precision, np.linalg.slogdet(precision)[1]
    likelihood = logsumexp(log_softmax(logits, axis=1) + said, axis=1).sum()
    evidence = likelihood - 0.5 * (prior * parameters**2).sum() + 0.5 * np.log(prior).sum() - 0.5 * size
    return _Average(parameters, observed), float(evidence)


def _with_answers(logits: Floats, said: Floats) -> tuple[Floats, Floats]:
    """Return the probabilities without and with what was said, each (m, classes + 1)."""
    return softmax(logits, axis=1), softmax(logits + said, axis=1)


def _information(features: Floats32, believed: Floats) -> Floats:
    """Return Fisher's information of the parameters at these probabilities, (parameters, parameters)."""
    rooted = features * np.sqrt(believed)[:, :, None].astype(np.float32)
    flat = rooted.reshape(-1, features.shape[2])
    mean = np.einsum("mtp,mt->mp", features, believed.astype(np.float32))
    information: Floats = (flat.T @ flat - mean.T @ mean).astype(np.float64)
    return information
