"""Who sits on the jury, and what each opinion on it is worth: learned from the data, without any truth.

The given label is one juror more, whose opinion is what its class has turned out to mean (Dawid & Skene, 1979). Every
other opinion is set right by the consensus of all others (one slope, one shift a class: its probabilities come from
another world with other shares of the classes; Saerens, Latinne & Decaestecker, 2002) and counts as far as the others
can confirm it. Opinions that err alike share one seat. One that agrees with the given labels where the out-of-fold
models doubt them, more often than even a perfect reader would, has seen them: that share of it is taken out.

The consensus is the geometric mean (the logarithmic pool; Genest & Zidek, 1986): jurors are taken to depend on each
other. It is then made as sharp as the estimated share of wrong labels asks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq, minimize
from scipy.special import log_softmax, softmax

from curation.base.arrays import Flags, Floats, Ints
from curation.labels.copies import members, pictures, sums
from curation.labels.crowds import Patterns

SURENESS = 1e-3
"""Probabilities are kept this far from 0: opinions formed on thousands of images know no more."""

SAMPLE = 5000
"""Images that slopes and shifts are fitted to; they are a handful of numbers per juror."""

ROUNDS = 4
"""Of setting every opinion right by the others'; weights move by less than a hundredth after three."""

ALIKE = 0.8
"""Correlation of two opinions' departures from the consensus from which on they are one juror."""

TRUSTED, USUALLY_RIGHT = 100.0, 0.9
"""Images of each class whose labels are taken to be right so often: few images and poor opinions prove no label wrong.
Surveys of noise in image data find about 0.03 to 0.2 wrong (Northcutt, Athalye & Mueller, NeurIPS 2021)."""

ONE_NETWORK = 0.25
"""What an image counts where the models and their neighbours are the only witnesses: one network, whose weak classes
look like wrong labels to both. On simulated data of known truth a quarter ranks best, with TRUSTED (test_jury.py)."""

WITNESS = 0.35
"""Weight from which on an opinion's first choices count in the model of annotators."""

MOSTLY_SEEN = 0.45
"""Share of answers that repeat given labels from which on an opinion is no witness of how noisy they are."""

CALLED_OUT = 0.15
"""Share of answers that repeat given labels from which on it is said of an opinion."""

COPIES_APART = 0.25
"""Largest squared distance of what is said of an image and of its copies, of that of two images taken at random."""

COPY_LABEL = 0.2
"""Weight of a copy's other label: a juror that contradicts another of the same kind."""

BLUNTEST = 0.33
"""Least slope that wrong labels are taken to explain; a smaller one says that the opinion knows little."""

SLOPES = (0.0, 3.0)
SHARPNESS = (0.05, 50.0)
"""Bounds of what is fitted."""


@dataclass(frozen=True)
class Juror:
    """What was learned of one opinion.

    Attributes:
        name: of the opinion.
        weight: 0..1, of the consensus, relative to the heaviest juror.
        seen: 0..1, share of its answers that only repeat given labels; 0 where that cannot be shown.
        skill: 0..1, share of the others' consensus that it explains.
        slope: that its log-probabilities are multiplied by; above 1 where it is too modest.
        confusion: (classes + 1, classes + 1) of what it says (columns) where the consensus has a class (rows), each
            row summing to 1; the last is "none of these".

    """

    name: str
    weight: float
    seen: float
    skill: float
    slope: float
    confusion: Floats

    def sentence(self) -> str:
        """Return what it is worth, for a person."""
        said = f"{self.name}: weight {self.weight:.2f}, explains {100 * self.skill:.0f} % of what the others agree on"
        if self.seen >= CALLED_OUT:
            said += f"; about {100 * self.seen:.0f} % of its answers repeat given labels that it has seen: discounted"
        return said + "."


@dataclass(frozen=True)
class Consensus:
    """What the jury says.

    Attributes:
        jurors: in the order of the opinions.
        calibrated: (opinions, n, classes + 1) log-probabilities, each opinion set right.
        meaning: (classes, classes + 1) probability of each true class, "none of these" last, of a given label.
        patterns: of the labels and the witnesses' first choices, that it is learned from.
        posterior: (n, classes + 1) probabilities: which class is true.
        sharpness: power that made them so; without it (``softened``) they are about how a crowd would answer.

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
        rates: Floats = 1.0 - np.diagonal(self.meaning)
        return rates


def closed(said: npt.NDArray[np.floating[Any]]) -> Floats:
    """Return probabilities with "none of these" as one class more, none below ``SURENESS``, (n, classes + 1)."""
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
        names: of the opinions; the first are the out-of-fold models, which have not seen the labels.
        said: (opinions, n, classes) probabilities; a row sums to at most 1.
        labels: (n,) given classes.
        neighbours: (n, classes) probabilities of the neighbours' labels: a second witness beside the models.
        groups: (n,) names of groups of copies, "" for none.
        kin: (n,) names of copies and shots of one session, "" for none; None for the groups. They have one mistake in
            common, and together they count as one image where it is learned what labels mean.
        seed: of the sample that slopes are fitted to.

    """
    whole = np.stack([closed(opinion) for opinion in said])
    witness, counted = closed(neighbours), _counted(groups if kin is None else kin)
    first = _patterns(labels, [whole[0], witness], counted)
    seen = np.array([0.0, *(_seen(opinion, whole[0], first, labels) for opinion in said[1:])])
    honest = [_without_memory(opinion, labels, share) for opinion, share in zip(whole, seen, strict=True)]
    logs = np.log(np.stack(honest))
    rng = np.random.default_rng(seed)
    sample = rng.permutation(len(labels))[:SAMPLE]
    seats = _Seats(whole, logs, labels, witness, counted, seen, sample)
    for _ in range(ROUNDS):
        seats.settle()
    shared = softmax(seats.mean(groups), axis=1)
    doubt = 1.0 - seats.meaning[np.arange(seats.classes), np.arange(seats.classes)][labels].mean()
    sharpness = sharpness_for(shared, labels, doubt)
    posterior = softmax(sharpness * np.log(shared), axis=1)
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
    """The jurors' slopes, shifts, weights and seats, found in turns with the consensus."""

    def __init__(
        self, whole: Floats, logs: Floats, labels: Ints, witness: Floats, counted: Floats, seen: Floats, sample: Ints
    ) -> None:
        self.whole, self.logs, self.labels, self.witness, self.counted = whole, logs, labels, witness, counted
        self.seen, self.sample, self.classes = seen, sample, whole.shape[2] - 1
        # squared: how much an opinion has seen is known as a lower bound only
        self.trust = (1.0 - seen) ** 2
        self.calibrated, self.weights = logs, self.trust
        self.skills, self.slopes = np.ones(len(whole)), np.ones(len(whole))
        self.seats = np.arange(len(whole))
        self.meaning = meaning_of(self.patterns())

    def settle(self) -> None:
        """Set every opinion right by the others, and weigh it anew."""
        rows, label = self.sample, np.log(self.meaning)[self.labels[self.sample]]
        fitted: list[tuple[float, Floats, float]] = []
        for seat in self.seats:
            others = np.where(self.seats == seat, 0.0, self.weights)
            total = np.einsum("k,kit->it", others, self.calibrated[:, rows]) + label
            target = softmax(total / (others.sum() + 1.0), axis=1)
            slope, shifts, skill = _calibration(self.logs[len(fitted)][rows], target)
            # wrong labels blunt what is fitted to them: with nobody of weight beside it, an opinion stays as it was
            company = min(1.0, others.sum() / max(float(self.weights[len(fitted)]), SURENESS))
            blunt = float(np.clip(slope, BLUNTEST, 1.0)) ** (1.0 - company)
            fitted.append((slope / blunt, shifts / blunt, skill))
        self.slopes, self.skills = np.array([f[0] for f in fitted]), np.array([f[2] for f in fitted])
        shifted = self.slopes[:, None, None] * self.logs + np.stack([f[1] for f in fitted])[:, None, :]
        self.calibrated = log_softmax(shifted, axis=2)
        weights = self.trust * self.skills / max(float(self.skills.max()), SURENESS)
        self.seats = self._alike(label)
        weights = weights / np.bincount(self.seats)[self.seats]
        self.weights = weights / max(float(weights.max()), SURENESS)
        self.meaning = meaning_of(self.patterns())

    def patterns(self) -> Patterns:
        """Return the labels with those who testify to what they mean: one per seat, of some weight, that saw none.

        A single model has its neighbours as a second witness.
        """
        chosen = [
            place
            for place in range(len(self.whole))
            if self.weights[place] >= WITNESS * self.weights.max() / np.bincount(self.seats)[self.seats[place]]
            and self.seen[place] < MOSTLY_SEEN
            and place == np.flatnonzero(self.seats == self.seats[place])[0]
        ]
        votes = [self.whole[place] for place in chosen]
        if len(votes) > 1:
            return _patterns(self.labels, votes, self.counted)
        return _patterns(self.labels, [*votes, self.witness], ONE_NETWORK * self.counted)

    def _alike(self, label: Floats) -> Ints:
        """Return each opinion's seat, (opinions,): those that depart from the consensus alike share one."""
        consensus = np.einsum("k,kit->it", self.weights, self.calibrated[:, self.sample]) + label
        axis = _centred(softmax(consensus / (self.weights.sum() + 1.0), axis=1))
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
        """Return the logarithmic pool of all jurors, (n, classes + 1); proven copies are heard together."""
        said = np.einsum("k,kit->it", self.weights, self.calibrated)
        said, label = _with_copies(said, self.labels, np.log(self.meaning), groups)
        return np.asarray((said + label) / (self.weights.sum() + 1.0))


def meaning_of(patterns: Patterns, counts: Floats | None = None) -> Floats:
    """Return the probability of each true class, "none of these" last, given a label, (classes, classes + 1).

    The given label and the first choices of the witnesses are annotators of Dawid and Skene's model. A single model's
    confusion would be no measure of noise: probabilities that are calibrated confuse two classes equally often in both
    directions, whichever of them is mislabelled.

    Args:
        patterns: of the labels and the witnesses' first choices.
        counts: (patterns,) how often each is taken to have been seen; None for its own.

    """
    counts = patterns.counts if counts is None else counts
    true = patterns.posterior(counts) * counts[:, None]
    # few images and poor witnesses prove no label wrong: the expectation is among the images
    total = patterns.known[:-1] + SURENESS
    np.add.at(total, patterns.answers[:, 0], true)
    shares = np.maximum(total / total.sum(axis=1, keepdims=True), SURENESS)
    meaning: Floats = shares / shares.sum(axis=1, keepdims=True)
    return meaning


def rate_draws(patterns: Patterns, draws: int, seed: int) -> Floats:
    """Return the classes' rates of wrong labels in bootstrap samples of the images, (draws, classes)."""
    rng, images = np.random.default_rng(seed), patterns.counts.sum()
    counts = rng.multinomial(round(images), patterns.counts / images, draws).astype(np.float64)
    return np.stack([1.0 - np.diagonal(meaning_of(patterns, drawn)) for drawn in counts])


def _counted(kin: npt.ArrayLike) -> Floats:
    """Return what each image counts, (n,): those of one name count as one."""
    picture = pictures(kin)
    counted: Floats = 1.0 / np.bincount(picture)[picture]
    return counted


def _patterns(labels: Ints, votes: Sequence[Floats], counted: Floats) -> Patterns:
    kinds = votes[0].shape[1]
    start = (np.sum(votes, axis=0) + 0.5 * np.eye(kinds)[labels]) / (len(votes) + 0.5)
    classes = kinds - 1
    known = np.zeros((kinds, kinds))
    known[:classes, :classes] = TRUSTED * (1.0 - USUALLY_RIGHT) / max(classes - 1, 1)
    known[np.arange(classes), np.arange(classes)] = TRUSTED * USUALLY_RIGHT
    chosen = [vote.argmax(axis=1).astype(np.int64) for vote in votes]
    if not any((choice == classes).any() for choice in chosen):
        start[:, classes] = 0.0  # nobody says "none of these": it must not gather what is hard
    return Patterns.of([labels, *chosen], kinds, start, known, counted)


def _seen(said: npt.NDArray[np.floating[Any]], models: Floats, patterns: Patterns, labels: Ints) -> float:
    """Return the share of an opinion's answers that repeat given labels; 0 unless it is above what honesty can reach.

    Where the out-of-fold models doubt labels, a perfect reader agrees with as many as are right there all the same;
    that share is the annotators' model's, of models, neighbours and label. An opinion that agrees with more has seen
    them, and the share is what it has beyond an honest one that reads as well as the models (lower 95 % bounds).
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
    """Return how likely an opinion's answer is for each true class, where a share of it is the given label repeated."""
    likely = (1.0 - seen) * whole + seen * whole[np.arange(len(labels)), labels][:, None]
    shares: Floats = likely / likely.sum(axis=1, keepdims=True)
    return shares


def _calibration(logs: Floats, target: Floats) -> tuple[float, Floats, float]:
    """Return the slope, the shifts (classes + 1,) and the skill of an opinion against what the others agree on.

    A multinomial logistic regression of the target distributions on the log-probabilities (vector scaling with one
    slope; Guo et al., ICML 2017). The skill is the share of the target's entropy over images that it explains, 0..1.
    """
    count, kinds = logs.shape

    def loss(parameters: Floats) -> tuple[float, Floats]:
        fitted = log_softmax(parameters[0] * logs + parameters[1:], axis=1)
        rest = np.exp(fitted) - target
        return -(target * fitted).sum() / count, np.append((rest * logs).sum(), rest.sum(axis=0)) / count

    start = np.append(0.5, np.zeros(kinds))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[SLOPES, *[(-SLOPES[1], SLOPES[1])] * kinds])
    shares = target.mean(axis=0)
    entropy = -(shares * np.log(shares)).sum()
    return float(found.x[0]), found.x[1:], float(np.clip((entropy - found.fun) / max(entropy, SURENESS), 0.0, 1.0))


def _centred(whole: Floats) -> Floats:
    """Return probabilities less each class' mean, as one row."""
    flat: Floats = (whole - whole.mean(axis=0)).ravel()
    return flat


def sharpness_for(shared: Floats, labels: Ints, doubt: float) -> float:
    """Return the one power of the probabilities at which the expected share of wrong labels is ``doubt``."""
    logs, own = np.log(shared), (np.arange(len(labels)), labels)

    def excess(power: float) -> float:
        return float(1.0 - softmax(power * logs, axis=1)[own].mean() - doubt)

    low, high = SHARPNESS
    if excess(low) * excess(high) > 0:  # mostly wrong, or never: as it was said
        return 1.0
    return float(brentq(excess, low, high, xtol=1e-4))


def softened(posterior: Floats, sharpness: float) -> Floats:
    """Return a posterior's probabilities as they were before they were sharpened, (n, classes + 1)."""
    shared: Floats = softmax(np.log(np.maximum(posterior, 1e-300)) / sharpness, axis=1)
    return shared


def _with_copies(said: Floats, labels: Ints, meaning: Floats, groups: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return what is said of each image and of its label, each (n, classes + 1), with its copies heard too.

    A member of whom other things are said than of the others is no copy, whatever the group says, and is heard alone. A
    copy's other label counts as far as what is said of the picture leaves room for it.
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
    """Return whether what is said of each member of a group is what is said of the rest of it, (rows,)."""
    spread = said.var(axis=0).sum()
    total, size = sums(said[rows], number), np.bincount(number)[number][:, None]
    others = (total - said[rows]) / np.maximum(size - 1, 1)
    apart = ((said[rows] - others) ** 2).sum(axis=1)
    # two images taken at random are twice the variance apart, and one from the mean of several others a little less
    expected = spread * (1.0 + 1.0 / np.maximum(size[:, 0] - 1, 1))
    fits: Flags = apart <= COPIES_APART * expected
    return fits


def _confusion(posterior: Floats, whole: Floats) -> Floats:
    """Return what an opinion says of images of each class, (classes + 1, classes + 1); rows sum to 1."""
    counts = posterior.T @ whole + SURENESS
    shares: Floats = counts / counts.sum(axis=1, keepdims=True)
    return shares
