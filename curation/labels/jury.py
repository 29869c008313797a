"""Combine opinions and given labels into one posterior; what each opinion is worth is learned without ground truth.

The given label is one more juror, whose opinion is what its class has turned out to mean (Dawid & Skene, 1979). Every
other opinion is calibrated against the consensus of all others (one slope, and one shift per class, since its
probabilities come from data with other class shares; Saerens, Latinne & Decaestecker, 2002) and weighted by how well
the others confirm it. Opinions with the same errors share one seat. An opinion that agrees with doubtful given labels
more often than even a perfect reader would has seen them: that share of its answers is discounted.

The consensus is the geometric mean (logarithmic pool; Genest & Zidek, 1986), as jurors are not independent. It is then
sharpened to match the estimated share of wrong labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from curation.base.arrays import Flags, Floats, Ints
from curation.labels.copies import members, pictures, sums
from curation.labels.crowds import Patterns

SURENESS = 1e-3
"""Least probability: opinions formed on thousands of images cannot justify a smaller one."""

SAMPLE = 5000
"""Images that slopes and shifts are fitted to, a handful of numbers per juror."""

ROUNDS = 4
"""Rounds of calibrating every opinion by the others; weights change by less than 0.01 after three."""

ALIKE = 0.8
"""Two opinions share a seat if their departures from the consensus correlate more than this."""

TRUSTED, USUALLY_RIGHT = 100.0, 0.9
"""Prior: pseudo-images of each class, and the share of them whose label is right; with few images or poor opinions it
prevails. Surveys of image data find shares of 0.03 to 0.2 wrong (Northcutt, Athalye & Mueller, NeurIPS 2021)."""

ONE_NETWORK = 0.25
"""Weight of an image if only the models and their neighbours estimate the noise: both use one network, whose weak
classes look like wrong labels. On simulated data a quarter ranks best, together with TRUSTED (test_jury.py)."""

ESTIMATOR = 0.35
"""Least relative weight of an opinion whose first choices are used to estimate the noise of labels."""

MOSTLY_SEEN = 0.45
"""An opinion that repeats at least this share of given labels is not used to estimate their noise."""

CALLED_OUT = 0.15
"""An opinion that repeats at least this share of given labels is reported."""

COPIES_APART = 0.25
"""Largest squared distance between the opinions on an image and on its copies, relative to two random images."""

COPY_LABEL = 0.2
"""Weight of a copy's other label."""

BLUNTEST = 0.33
"""Least slope that wrong labels can explain; a smaller one means that the opinion is uninformative."""

SLOPES = (0.0, 3.0)
SHARPNESS = (0.05, 50.0)
"""Bounds of the fitted parameters."""


@dataclass(frozen=True)
class Juror:
    """What was learned of one opinion.

    Attributes:
        name: of the opinion.
        weight: 0..1, of the consensus, relative to the heaviest juror.
        seen: 0..1, share of its answers that only repeat given labels; 0 where that cannot be shown.
        skill: 0..1, share of the others' consensus that it explains.
        slope: factor of its log-probabilities; above 1 where it is underconfident.
        confusion: (classes + 1, classes + 1) consensus (rows, summing to 1) by opinion (columns); the last class is
            "none of these".

    """

    name: str
    weight: float
    seen: float
    skill: float
    slope: float
    confusion: Floats

    def sentence(self) -> str:
        """Describe the juror in one sentence."""
        said = f"{self.name}: weight {self.weight:.2f}, explains {100 * self.skill:.0f} % of what the others agree on"
        if self.seen >= CALLED_OUT:
            said += f"; about {100 * self.seen:.0f} % of its answers repeat given labels that it has seen: discounted"
        return said + "."


@dataclass(frozen=True)
class Consensus:
    """The jury's result.

    Attributes:
        jurors: in the order of the opinions.
        calibrated: (opinions, n, classes + 1) calibrated log-probabilities.
        meaning: (classes, classes + 1) probability of each true class, "none of these" last, for each given label.
        patterns: of the labels and the noise estimators' first choices, from which ``meaning`` is estimated.
        posterior: (n, classes + 1) probability of each class being the true one.
        sharpness: exponent that sharpened it; without it (``softened``) it is close to the answers of a crowd.

    """

    jurors: tuple[Juror, ...]
    calibrated: Floats
    meaning: Floats
    patterns: Patterns
    posterior: Floats
    sharpness: float

    @property
    def rates(self) -> Floats:
        """Return the estimated share of wrong labels of each given class, (classes,)."""
        return 1.0 - np.diagonal(self.meaning)


def closed(said: npt.NDArray[np.floating[Any]]) -> Floats:
    """Return probabilities with "none of these" as a further class, at least ``SURENESS``, (n, classes + 1)."""
    data = np.asarray(said, dtype=np.float64)
    whole = np.column_stack([data, np.clip(1.0 - data.sum(axis=1), 0.0, 1.0)])
    whole = np.maximum(whole, SURENESS)
    shares: Floats = whole / whole.sum(axis=1, keepdims=True)
    return shares


def deliberate(
    names: Sequence[str],
    said: npt.NDArray[np.floating[Any]],
    labels: Ints,
    neighbours: Floats,
    groups: npt.ArrayLike,
    *,
    kin: npt.ArrayLike | None = None,
    seed: int = 0,
) -> Consensus:
    """Return the consensus of all opinions and the given label.

    Args:
        names: of the opinions; the first is that of the out-of-fold models, which have not seen the labels.
        said: (opinions, n, classes) probabilities; a row sums to at most 1.
        labels: (n,) given classes.
        neighbours: (n, classes) probabilities from the neighbours' labels: a second noise estimator.
        groups: (n,) names of groups of copies, "" for none.
        kin: (n,) names of copies and shots of one session, "" for none; None for the groups. They share mistakes, and
            count as one image when the meaning of labels is estimated.
        seed: of the sample that slopes are fitted to.

    """
    whole = np.stack([closed(opinion) for opinion in said])
    second, counted = closed(neighbours), _counted(groups if kin is None else kin)
    first = _patterns(labels, [whole[0], second], counted)
    seen = np.array([0.0, *(_seen(opinion, whole[0], first, labels) for opinion in said[1:])])
    honest = [_without_memory(opinion, labels, share) for opinion, share in zip(whole, seen, strict=True)]
    logs = np.log(np.stack(honest))
    rng = np.random.default_rng(seed)
    sample = rng.permutation(len(labels))[:SAMPLE]
    seats = _Seats(whole, logs, labels, second, counted, seen, sample)
    for _ in range(ROUNDS):
        seats.settle()
    shared = scipy.special.softmax(seats.mean(groups), axis=1)
    doubt = 1.0 - seats.meaning[np.arange(seats.classes), np.arange(seats.classes)][labels].mean()
    sharpness = sharpness_for(shared, labels, doubt)
    posterior = scipy.special.softmax(sharpness * np.log(shared), axis=1)
    jurors = [
        Juror(
            name=name,
            weight=float(seats.weights[place]),
            seen=float(seen[place]),
            skill=float(seats.skills[place]),
            slope=float(seats.slopes[place]),
            confusion=_confusion(posterior, whole[place]),
        )
        for place, name in enumerate(names)
    ]
    return Consensus(tuple(jurors), seats.calibrated, seats.meaning, seats.patterns(), posterior, sharpness)


class _Seats:
    """The jurors' slopes, shifts, weights and seats, updated in turns with the consensus."""

    def __init__(
        self, whole: Floats, logs: Floats, labels: Ints, second: Floats, counted: Floats, seen: Floats, sample: Ints
    ) -> None:
        self.whole, self.logs, self.labels, self.second, self.counted = whole, logs, labels, second, counted
        self.seen, self.sample, self.classes = seen, sample, whole.shape[2] - 1
        # squared, as the share seen is only a lower bound
        self.trust = (1.0 - seen) ** 2
        self.calibrated, self.weights = logs, self.trust
        self.skills, self.slopes = np.ones(len(whole)), np.ones(len(whole))
        self.seats = np.arange(len(whole))
        self.meaning = meaning_of(self.patterns())

    def settle(self) -> None:
        """Calibrate every opinion against the others, and update its weight."""
        rows, label = self.sample, np.log(self.meaning)[self.labels[self.sample]]
        fitted: list[tuple[float, Floats, float]] = []
        for seat in self.seats:
            others = np.where(self.seats == seat, 0.0, self.weights)
            total = np.einsum("k,kit->it", others, self.calibrated[:, rows]) + label
            target = scipy.special.softmax(total / (others.sum() + 1.0), axis=1)
            slope, shifts, skill = _calibration(self.logs[len(fitted)][rows], target)
            # wrong labels reduce the slope: without other opinions of weight, an opinion is left as it was
            company = min(1.0, others.sum() / max(float(self.weights[len(fitted)]), SURENESS))
            blunt = float(np.clip(slope, BLUNTEST, 1.0)) ** (1.0 - company)
            fitted.append((slope / blunt, shifts / blunt, skill))
        self.slopes, self.skills = np.array([f[0] for f in fitted]), np.array([f[2] for f in fitted])
        shifted = self.slopes[:, None, None] * self.logs + np.stack([f[1] for f in fitted])[:, None, :]
        self.calibrated = scipy.special.log_softmax(shifted, axis=2)
        weights = self.trust * self.skills / max(float(self.skills.max()), SURENESS)
        self.seats = self._alike(label)
        weights = weights / np.bincount(self.seats)[self.seats]
        self.weights = weights / max(float(weights.max()), SURENESS)
        self.meaning = meaning_of(self.patterns())

    def patterns(self) -> Patterns:
        """Return the patterns of the labels and the noise estimators: one opinion per seat that has not seen labels.

        If there is only one, the neighbours are the second.
        """
        chosen = [
            place
            for place in range(len(self.whole))
            if self.weights[place] >= ESTIMATOR * self.weights.max() / np.bincount(self.seats)[self.seats[place]]
            and self.seen[place] < MOSTLY_SEEN
            and place == np.flatnonzero(self.seats == self.seats[place])[0]
        ]
        votes = [self.whole[place] for place in chosen]
        if len(votes) > 1:
            return _patterns(self.labels, votes, self.counted)
        return _patterns(self.labels, [*votes, self.second], ONE_NETWORK * self.counted)

    def _alike(self, label: Floats) -> Ints:
        """Return each opinion's seat, (opinions,); those with the same departures from the consensus share one."""
        consensus = np.einsum("k,kit->it", self.weights, self.calibrated[:, self.sample]) + label
        axis = _centred(scipy.special.softmax(consensus / (self.weights.sum() + 1.0), axis=1))
        own = [_centred(opinion) for opinion in self.whole[:, self.sample]]
        departures = [row - (row @ axis) / max(float(axis @ axis), SURENESS) * axis for row in own]
        norms = np.array([np.linalg.norm(row) for row in departures])
        silent = norms < SURENESS * len(axis) ** 0.5
        alike = np.stack(departures) @ np.stack(departures).T / np.maximum(np.outer(norms, norms), SURENESS)
        alike[silent] = alike[:, silent] = 0.0
        seats = np.arange(len(norms))
        for place in range(len(norms)):
            same = np.flatnonzero(alike[place, :place] > ALIKE)
            seats[place] = seats[same[0]] if len(same) else place
        return seats

    def mean(self, groups: npt.ArrayLike) -> Floats:
        """Return the logarithmic pool of all jurors, (n, classes + 1), averaged over copies."""
        said = np.einsum("k,kit->it", self.weights, self.calibrated)
        said, label = _with_copies(said, self.labels, np.log(self.meaning), groups)
        return np.asarray((said + label) / (self.weights.sum() + 1.0))


def meaning_of(patterns: Patterns, counts: Floats | None = None) -> Floats:
    """Return the probability of each true class, "none of these" last, given a label, (classes, classes + 1).

    The given label and the noise estimators' first choices are the annotators in Dawid and Skene's model. A single
    model's confusion does not measure noise: calibrated probabilities confuse two classes equally often in both
    directions, whichever of them is mislabelled.

    Args:
        patterns: of the labels and the noise estimators' first choices.
        counts: (patterns,) number of images with each; None for the observed numbers.

    """
    counts = patterns.counts if counts is None else counts
    true = patterns.posterior(counts) * counts[:, None]
    # the prior counts as images: few images and poor estimators prove no label wrong
    total = patterns.known[:-1] + SURENESS
    np.add.at(total, patterns.answers[:, 0], true)
    shares = np.maximum(total / total.sum(axis=1, keepdims=True), SURENESS)
    meaning: Floats = shares / shares.sum(axis=1, keepdims=True)
    return meaning


def rate_draws(patterns: Patterns, draws: int, seed: int) -> Floats:
    """Return each class' rate of wrong labels in bootstrap samples of the images, (draws, classes)."""
    rng, images = np.random.default_rng(seed), patterns.counts.sum()
    counts = rng.multinomial(round(images), patterns.counts / images, draws).astype(np.float64)
    return np.stack([1.0 - np.diagonal(meaning_of(patterns, drawn)) for drawn in counts])


def _counted(kin: npt.ArrayLike) -> Floats:
    """Return each image's weight, (n,): the images of one name count as one."""
    picture = pictures(kin)
    return 1.0 / np.bincount(picture)[picture]


def _patterns(labels: Ints, votes: Sequence[Floats], counted: Floats) -> Patterns:
    kinds = votes[0].shape[1]
    start = (np.sum(votes, axis=0) + 0.5 * np.eye(kinds)[labels]) / (len(votes) + 0.5)
    classes = kinds - 1
    known = np.zeros((kinds, kinds))
    known[:classes, :classes] = TRUSTED * (1.0 - USUALLY_RIGHT) / max(classes - 1, 1)
    known[np.arange(classes), np.arange(classes)] = TRUSTED * USUALLY_RIGHT
    chosen = [vote.argmax(axis=1).astype(np.int64) for vote in votes]
    if not any((choice == classes).any() for choice in chosen):
        start[:, classes] = 0.0  # if nobody answers "none of these", difficult images must not collect there
    return Patterns.of([labels, *chosen], kinds, start, known, counted)


def _seen(said: npt.NDArray[np.floating[Any]], models: Floats, patterns: Patterns, labels: Ints) -> float:
    """Return the share of an opinion's answers that repeat given labels; 0 unless it exceeds what is possible unseen.

    Among labels that the out-of-fold models doubt, a perfect reader agrees with those that are right, a share that the
    annotators' model estimates. An opinion that agrees with more has seen labels; the result is its excess over an
    unseen opinion as good as the models (lower 95 % bound).
    """
    own = (np.arange(len(labels)), labels)
    doubt = (1.0 - models[own]) / (1.0 - models[own]).sum()
    true = patterns.posterior(patterns.counts)[patterns.of_image]
    confused = true.T @ np.eye(models.shape[1])[models.argmax(axis=1)] + SURENESS
    confused = confused / confused.sum(axis=1, keepdims=True)
    perfect, honest = (doubt * true[own]).sum(), (doubt * (true * confused[:, labels].T).sum(axis=1)).sum()
    agrees = (doubt * (np.asarray(said).argmax(axis=1) == labels)).sum()
    least = agrees - 2.0 * np.sqrt(agrees * (1.0 - agrees) * (doubt**2).sum())
    if least <= perfect:
        return 0.0
    return float(np.clip((least - honest) / max(1.0 - honest, SURENESS), 0.0, 0.95))


def _without_memory(whole: Floats, labels: Ints, seen: float) -> Floats:
    """Return the likelihood of an opinion's answer for each true class, if it repeats a share of given labels."""
    likely = (1.0 - seen) * whole + seen * whole[np.arange(len(labels)), labels][:, None]
    shares: Floats = likely / likely.sum(axis=1, keepdims=True)
    return shares


def _calibration(logs: Floats, target: Floats) -> tuple[float, Floats, float]:
    """Return slope, shifts (classes + 1,) and skill of an opinion, fitted to the consensus of the others.

    A multinomial logistic regression of the target distributions on the log-probabilities (vector scaling with one
    slope; Guo et al., ICML 2017). The skill is the share of the target's entropy that it explains, 0..1.
    """
    count, kinds = logs.shape

    def loss(parameters: Floats) -> tuple[float, Floats]:
        fitted = scipy.special.log_softmax(parameters[0] * logs + parameters[1:], axis=1)
        rest = np.exp(fitted) - target
        return -(target * fitted).sum() / count, np.append((rest * logs).sum(), rest.sum(axis=0)) / count

    start = np.append(0.5, np.zeros(kinds))
    found = scipy.optimize.minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=[SLOPES, *[(-SLOPES[1], SLOPES[1])] * kinds]
    )
    shares = target.mean(axis=0)
    entropy = -(shares * np.log(shares)).sum()
    return float(found.x[0]), found.x[1:], float(np.clip((entropy - found.fun) / max(entropy, SURENESS), 0.0, 1.0))


def _centred(whole: Floats) -> Floats:
    """Return probabilities minus each class' mean, flattened."""
    flat: Floats = (whole - whole.mean(axis=0)).ravel()
    return flat


def sharpness_for(shared: Floats, labels: Ints, doubt: float) -> float:
    """Return the exponent of the probabilities at which the expected share of wrong labels is ``doubt``."""
    logs, own = np.log(shared), (np.arange(len(labels)), labels)

    def excess(power: float) -> float:
        return float(1.0 - scipy.special.softmax(power * logs, axis=1)[own].mean() - doubt)

    low, high = SHARPNESS
    if excess(low) * excess(high) > 0:  # no exponent in the bounds gives it: leave them as they are
        return 1.0
    return float(scipy.optimize.brentq(excess, low, high, xtol=1e-4))


def softened(posterior: Floats, sharpness: float) -> Floats:
    """Return a posterior's probabilities before sharpening, (n, classes + 1)."""
    shared: Floats = scipy.special.softmax(np.log(np.maximum(posterior, 1e-300)) / sharpness, axis=1)
    return shared


def _with_copies(said: Floats, labels: Ints, meaning: Floats, groups: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return the opinions on each image and on its label, each (n, classes + 1), averaged over copies.

    A member of a group on which the opinions differ from those on the others is treated as no copy. A copy's other
    label counts as far as the opinions on the picture allow it.
    """
    label = meaning[labels]
    rows, number = members(groups)
    if not len(rows):
        return said, label
    fits = _fits(said, rows, number)
    rows, number = rows[fits], number[fits]
    said, label = said.copy(), label.copy()
    said[rows] = sums(said[rows], number) / np.bincount(number)[number][:, None]
    carried = sums(np.eye(meaning.shape[0])[labels[rows]], number) > 0
    carried[np.arange(len(rows)), labels[rows]] = False
    room = np.exp(said[rows] - said[rows].max(axis=1, keepdims=True))[:, :-1]
    label[rows] += COPY_LABEL * (carried * room) @ meaning
    return said, label


def _fits(said: Floats, rows: Ints, number: Ints) -> Flags:
    """Return whether the opinions on each member of a group agree with those on the rest of it, (rows,)."""
    spread = said.var(axis=0).sum()
    total, size = sums(said[rows], number), np.bincount(number)[number][:, None]
    others = (total - said[rows]) / np.maximum(size - 1, 1)
    apart = ((said[rows] - others) ** 2).sum(axis=1)
    # two random images are twice the variance apart; one and the mean of several others, a little less
    expected = spread * (1.0 + 1.0 / np.maximum(size[:, 0] - 1, 1))
    fits: Flags = apart <= COPIES_APART * expected
    return fits


def _confusion(posterior: Floats, whole: Floats) -> Floats:
    """Return an opinion's mean answer for each class of the consensus, (classes + 1, classes + 1); rows sum to 1."""
    counts = posterior.T @ whole + SURENESS
    shares: Floats = counts / counts.sum(axis=1, keepdims=True)
    return shares
