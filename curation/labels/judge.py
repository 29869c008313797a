"""One calibrated judgement of every label: P(wrong), P(ambiguous), the likeliest other class and its probability.

*Opinions* are probabilities formed without the image's own label: out-of-fold models, an independent voter. They are
pooled (Stone, 1961: the linear pool), and the pooled probability of the given label is the evidence. What it is worth
is learned from flips planted in the user's own data: a logistic curve parts labels as they came from the same images
under planted labels, while the labels as they came are themselves taken as wrong in part (positive and unlabelled
data; Elkan & Noto, KDD 2008), at a rate that is estimated for each class. People's votes are never looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from curation.labels import noise
from curation.labels.crowds import dawid_skene
from curation.labels.scores import Floats, Whole, joint, mutual_information

SURENESS = 1e-3
"""Pooled probabilities are kept this far from 0 and 1: opinions formed on thousands of images know no more."""

PANEL = 10
"""People in the panel whose majority is asked for; FER+ (Barsoum et al., ICMI 2016) asked ten."""

PANEL_MAJORITY = 6
"""Of the panel: below it an image has no majority."""

ROUNDS = 30
"""Of expectation and maximisation at most; the curve moves by less than ``TOLERANCE`` after about ten."""

TOLERANCE = 1e-4

RIDGE = 1e-2
"""Penalty of the logistic curves, which have a handful of parameters and thousands of images."""

SMALLEST_RATE = 1e-3
LARGEST_RATE = 0.5
"""Bounds of a class' rate of wrong labels: a class that is mostly wrong has no meaning to be wrong about."""


@dataclass(frozen=True)
class Opinions:
    """What was said of each image without looking at its label.

    Attributes:
        names: of the opinions, such as ("model", "voter").
        said: (opinions, n, classes) probabilities; a row sums to at most 1, the rest is "none of these classes".

    """

    names: tuple[str, ...]
    said: npt.NDArray[np.floating[Any]]

    def pooled(self) -> Floats:
        """Return their mean, (n, classes)."""
        pool: Floats = np.asarray(self.said, dtype=np.float64).mean(axis=0)
        return pool

    def closed(self) -> Floats:
        """Return the opinions with "none of these" as one class more, (opinions, n, classes + 1); rows sum to 1."""
        data = np.asarray(self.said, dtype=np.float64)
        rest = np.clip(1.0 - data.sum(axis=2, keepdims=True), 0.0, 1.0)
        closed: Floats = np.concatenate([data, rest], axis=2)
        return closed


@dataclass(frozen=True)
class Curve:
    """A logistic curve of the evidence against a label, shared by the classes up to a shift.

    Attributes:
        slope: of the log-odds.
        shift: (classes,) at evidence 0.

    """

    slope: float
    shift: Floats

    def log_ratio(self, evidence: Floats, labels: Whole) -> Floats:
        """Return the log of how much likelier the evidence is for a wrong label than for a right one, (n,)."""
        ratio: Floats = self.slope * evidence + self.shift[labels]
        return ratio


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
        rates: (classes,) estimated share of wrong labels, by given class.
        curve: from evidence to P(wrong).
        pooled: (n, classes) the pooled opinions.
        disagreement: (n,) 0..1, mutual information among the opinions.

    """

    wrong: Floats
    ambiguous: Floats
    suggestion: Whole
    suggestion_right: Floats
    posterior: Floats
    rates: Floats
    curve: Curve
    pooled: Floats
    disagreement: Floats


def judge(
    labels: Whole,
    opinions: Opinions,
    groups: npt.ArrayLike,
    *,
    noise_estimators: Opinions | None = None,
    kinds: tuple[noise.Kind, ...] = ("instance",),
    seed: int = 0,
) -> Judgement:
    """Return the calibrated judgement of every label.

    Args:
        labels: (n,) given classes.
        opinions: formed without them.
        groups: (n,) names of groups of copies, "" for none: copies are one picture and are judged as one, and a copy
            under another label is evidence.
        noise_estimators: opinions from which the share of wrong labels of each class is estimated; None takes
            ``opinions``, which then should be two or more.
        kinds: of planted noise that the curve is fitted to. Instance-dependent noise is the hardest and the likest to
            people's mistakes; symmetric noise makes a curve that is too sure of itself.
        seed: of the planted noise.

    """
    pool = _shared_by_copies(opinions.pooled(), groups)
    named = pool / pool.sum(axis=1, keepdims=True)
    rates = class_rates(labels, noise_estimators or opinions)
    rng = np.random.default_rng(seed)
    confused = joint(labels, named)
    planted = np.concatenate(
        [noise.flipped(labels, noise.flip_weights(labels, kind, named, confused), rng) for kind in kinds]
    )
    pools = np.concatenate([pool] * len(kinds))
    curve = fit_curve(against(pool, labels), labels, against(pools, planted), planted, rates)
    odds = logit(rates)[labels] + curve.log_ratio(against(pool, labels), labels)
    odds += copies_log_ratio(labels, pool, groups, rates)
    wrong = expit(odds)
    others = _without(pool, labels)
    suggestion = others.argmax(axis=1).astype(np.int64)
    origin = np.concatenate([labels] * len(kinds))
    right_if_wrong = _suggestion_curve(pools, planted, origin)(others)
    return Judgement(
        wrong=wrong,
        ambiguous=(1.0 - wrong) * no_majority(named),
        suggestion=suggestion,
        suggestion_right=wrong * right_if_wrong,
        posterior=_posterior(labels, wrong, others),
        rates=rates,
        curve=curve,
        pooled=pool,
        disagreement=mutual_information(opinions.closed()),
    )


def against(pool: Floats, labels: Whole) -> Floats:
    """Return the evidence against each label, (n,): the log-odds that it is anything else."""
    own = np.clip(pool[np.arange(len(labels)), labels], SURENESS, 1.0 - SURENESS)
    evidence: Floats = -logit(own)
    return evidence


def class_rates(labels: Whole, opinions: Opinions) -> Floats:
    """Return the estimated share of wrong labels in each given class, (classes,).

    The given label and the first choice of every opinion are annotators (``crowds.dawid_skene``); where an opinion
    can say "none of these", none is a true class too. A single model's confusion would be no measure of noise:
    probabilities that are calibrated confuse two classes equally often in both directions, whichever of them is
    mislabelled.
    """
    closed, classes = opinions.closed(), opinions.said.shape[2]
    start = (closed.sum(axis=0) + 0.5 * np.eye(classes + 1)[labels]) / (len(closed) + 0.5)
    if not (closed.argmax(axis=2) == classes).any():
        start = start[:, :classes] / start[:, :classes].sum(axis=1, keepdims=True)
    answers = [labels, *closed.argmax(axis=2)]
    true = dawid_skene(answers, classes + 1, start)
    count = np.bincount(labels, minlength=classes)
    doubt = 1.0 - true[np.arange(len(labels)), labels]
    share = np.bincount(labels, weights=doubt, minlength=classes) / np.maximum(count, 1)
    rates: Floats = np.clip(share, SMALLEST_RATE, LARGEST_RATE)
    return rates


def fit_curve(evidence: Floats, labels: Whole, planted_evidence: Floats, planted: Whole, rates: Floats) -> Curve:
    """Return the curve that parts right labels from wrong ones, fitted to labels as they came and to planted ones.

    Labels as they came are right with a weight that is found in turns with the curve (expectation-maximisation for
    positive and unlabelled data with known rates; Ward et al., Biometrics 2009). Every class counts alike on both
    sides, so that the curve is a ratio of likelihoods and the rates come in once.

    Args:
        evidence: (n,) against the labels as they came.
        labels: (n,).
        planted_evidence: (m,) against planted labels.
        planted: (m,) the planted labels.
        rates: (classes,) share of wrong labels.

    """
    classes = len(rates)
    balance = 1.0 / np.maximum(np.bincount(labels, minlength=classes), 1)[labels]
    planted_balance = 1.0 / np.maximum(np.bincount(planted, minlength=classes), 1)[planted]
    inputs = _design(np.concatenate([evidence, planted_evidence]), np.concatenate([labels, planted]), classes)
    target = np.concatenate([np.zeros(len(labels)), np.ones(len(planted))])
    parameters = np.zeros(classes + 1)
    right = 1.0 - rates[labels]
    for _ in range(ROUNDS):
        clean = right * balance
        clean /= np.maximum(np.bincount(labels, weights=clean, minlength=classes), 1e-12)[labels]
        weights = np.concatenate([clean, planted_balance]) * len(labels) / (2 * classes)
        before, parameters = parameters, _logistic(inputs, target, weights, parameters)
        curve = Curve(float(parameters[0]), parameters[1:])
        right = 1.0 - expit(logit(rates)[labels] + curve.log_ratio(evidence, labels))
        if np.abs(parameters - before).max() < TOLERANCE:
            break
    return curve


def _design(evidence: Floats, labels: Whole, classes: int) -> Floats:
    """Return the columns of the logistic curve: the evidence, and one indicator a class."""
    return np.column_stack([evidence, np.eye(classes)[labels]])


def _logistic(inputs: Floats, target: Floats, weights: Floats, start: Floats) -> Floats:
    """Return the parameters of a weighted, slightly penalised logistic regression (Newton's steps)."""
    parameters = start.copy()
    penalty = RIDGE * np.eye(inputs.shape[1])
    for _ in range(ROUNDS):
        fitted = expit(inputs @ parameters)
        gradient = inputs.T @ (weights * (target - fitted)) - penalty @ parameters
        curvature = (inputs * (weights * fitted * (1.0 - fitted))[:, None]).T @ inputs + penalty
        step = np.linalg.solve(curvature, gradient)
        parameters += step
        if np.abs(step).max() < TOLERANCE:
            break
    return parameters


def copies_log_ratio(labels: Whole, pool: Floats, groups: npt.ArrayLike, rates: Floats) -> Floats:
    """Return what copies under other labels say against each label, (n,) log-odds; 0 without such copies.

    For a label that another copy contradicts with class c: how likely that contradiction is if this label is wrong
    (the true class is c, and the copy's label right) over how likely it is if this label is right (the copy's is
    wrong). Copies that agree say nothing: they mostly come from one source. Each other class counts once.
    """
    from curation.labels.neighbours import copies_votes

    classes = pool.shape[1]
    contradicted = copies_votes(labels, groups, classes) > 0
    contradicted[np.arange(len(labels)), labels] = False
    others = _without(pool, labels)
    true_there = others / np.maximum(1.0 - pool[np.arange(len(labels)), labels], SURENESS)[:, None]
    if_wrong = np.clip(true_there, SURENESS, 1.0) * (1.0 - rates)[None, :]
    if_right = np.clip(rates / (classes - 1), SURENESS, 1.0)[None, :]
    ratio: Floats = np.where(contradicted, np.log(if_wrong / if_right), 0.0).sum(axis=1)
    return ratio


def no_majority(named: Floats) -> Floats:
    """Return how likely a panel of ten who answer as the opinions do has no majority of six, (n,)."""
    from scipy.stats import binom

    chance: Floats = binom.cdf(PANEL_MAJORITY - 1, PANEL, named.max(axis=1))
    return chance


def _suggestion_curve(pools: Floats, planted: Whole, origin: Whole) -> Any:
    """Return a function of the other classes' pooled probabilities: how likely the likeliest is the true one.

    Fitted to planted flips, whose true class is the label that was there before (a label that was itself wrong makes
    the curve too modest, never too bold).
    """
    others = _without(pools, planted)
    hit = (others.argmax(axis=1) == origin).astype(np.float64)
    inputs = np.column_stack([_share_of_best(others), np.ones(len(hit))])
    parameters = _logistic(inputs, hit, np.ones(len(hit)), np.zeros(2))

    def right(rivals: Floats) -> Floats:
        chance: Floats = expit(np.column_stack([_share_of_best(rivals), np.ones(len(rivals))]) @ parameters)
        return chance

    return right


def _share_of_best(others: Floats) -> Floats:
    """Return the log-odds of the likeliest other class among all other classes and "none of these", (n,)."""
    total = np.maximum(others.sum(axis=1), SURENESS)
    share: Floats = logit(np.clip(others.max(axis=1) / total, SURENESS, 1.0 - SURENESS))
    return share


def _posterior(labels: Whole, wrong: Floats, others: Floats) -> Floats:
    """Return the probability of each class: the given one unless it is wrong, the others as the opinions have them."""
    posterior: Floats = others / np.maximum(others.sum(axis=1, keepdims=True), SURENESS) * wrong[:, None]
    posterior[np.arange(len(labels)), labels] = 1.0 - wrong
    return posterior


def _without(pool: Floats, labels: Whole) -> Floats:
    """Return the pool with the given labels' column at 0."""
    others = pool.copy()
    others[np.arange(len(labels)), labels] = 0.0
    return others


def _shared_by_copies(pool: Floats, groups: npt.ArrayLike) -> Floats:
    """Return the pool with the mean over each group of copies in its members' rows."""
    names = np.asarray(groups, dtype=object)
    members = np.flatnonzero(names != "")
    if not len(members):
        return pool
    number = np.unique(names[members].astype(str), return_inverse=True)[1]
    totals = np.zeros((number.max() + 1, pool.shape[1]))
    np.add.at(totals, number, pool[members])
    shared = pool.copy()
    shared[members] = (totals / np.bincount(number)[:, None])[number]
    return shared
