"""Turns evidence into the probability that two images are one exposure: a logistic law with few terms.

The law has three forms: nothing at eyes or mouth differs by more than noise; what differs there looks laid over the
picture; something differs there that looks as if it had moved.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curation.checks.duplicates import changes, kernel
from curation.checks.duplicates.transform import decompose

Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]

_MIDDLE = kernel.EVIDENCE.index("middle_median")
_LEAST_MIDDLE = 0.9

_FINE = kernel.EVIDENCE.index("fine_median")
_DRIFT = kernel.EVIDENCE.index("drift_median")
_LEAST_MISSING, _LEAST_DRIFT = 0.005, 0.02
_LIKENESS = (-17.49, -4.47, -5.67)
"""Log-odds that two pictures show one scene at all: intercept and weights of the logarithms of what the fine details'
median correlation misses, and of the median drift, px. Fitted by logistic regression to 2,890 copies of 29 kinds of
``curation.audit.synthetic.plant`` and ``tests/hard_copies.py`` against 13,380 pairs of different faces."""

_LEAST_LIKENESS = -6.0
_UNLIKE = 0.5
"""Pairs below are not weighed; of others, what is missing to even odds counts by this share, for covered parts lower
them."""

_ENOUGH = 0.45
_SMALL = 4.0
"""Share of a picture's texture in common below which agreement says less, and by how much: the weight of the logarithm.
Of the copies that the law was fitted to 99 in 100 have more."""

_MUCH_NOISE = 10.0
_STRUCTURED, _WHOLLY = 0.34, 0.42
_NO_NOISE = -2.5
"""Levels squared from which a noise model that fits the pair may hide that two faces differ, where the residual is
structured and not white: the shares (see ``changes.EVIDENCE``) at which it begins to count and counts whole, and the
weight of the logarithm. The law was fitted to copies and to shots of one person: without this it takes 208 of 2,657
pairs of different drawn people for copies, with it 1; of 2,097 planted copies of 38 kinds it costs 4."""

_SESSION_DETAIL = 0.82
"""Median correlation of fine details from which two pictures that are no copies are shots of one session."""

_UNSEEN = 2.5
"""Deviations (see ``changes.EVIDENCE``) that stand for eyes and mouth where all of both is covered: a copy's usual.
Where one is covered, the other stands for it: what is not seen excuses nothing."""

_TERMS = ("shift", "explained", "larger", "lesser", "strong", "elsewhere", "stretch", "noise", "overlay", "both")
_WEIGHTS = np.array(
    [
        [-9.64, -2.01, -3.25, -0.84, 0.0, 0.0, 1.60, 0.0, 0.49, 0.0, 0.0],
        [-14.11, -1.63, -3.86, -0.85, -1.73, -2.34, 1.36, -1.66, -0.19, 3.64, -15.0],
        [-7.62, -2.53, -1.97, -0.35, -3.43, -1.08, 2.26, -0.19, 0.78, 0.79, 0.0],
    ]
)
"""Intercept and weights of ``_terms`` for each form of the law (nothing, laid over, moved), fitted by logistic
regression with the signs held that the terms must have. Copies: 2,043 planted in five sets of faces (29 kinds of
``curation.audit.synthetic.plant``, 30 kinds of overlays) and half of the benchmark's natural pairs. Not copies: 3,445
pairs of shots of one person: bursts of photographs in which brows, lids and mouth were moved, drawn people with several
expressions, and the first twenty people of the ORL faces. All sets weigh the same. The benchmarks test it on other
seeds, people and pairs.

The weight of "both" was set by hand: of 9 in 10 copies that something is laid over, eyes or mouth differ by less than
2.6 deviations once that is left out; where both differ by more, the mouth moved with the eyes, however flat it looks.
It costs 1 in 100 of those copies."""

_BOTH = 2.6
"""Deviations from which both eyes and mouth differ by more than a copy's do: see ``_WEIGHTS``."""

_PRIOR = 3.6
"""Log-odds of a copy among pairs that agree so well, where nothing else is known: 36 to 1 on the data set that this was
made on."""

_BEFORE = 5.0
_OF_TWO, _OF_ALL = 1.0, 0.2
_STRICTEST = -6.0
_ROUNDS = 20
"""Copies seen before for each shot seen before; how many such shots the pairs of two pictures, and all pairs, count
against; the most, log-odds, that they change; and how often the shares are estimated anew."""

_ASKED = 8
"""Copies of a picture, the surest, that are asked whether another is one."""


def may_be_copies(evidence: Doubles) -> Flags:
    """Return (M,) which pairs agree well enough, by ``kernel.EVIDENCE`` (M, 9), for their differences to be weighed."""
    return np.asarray((evidence[:, _MIDDLE] >= _LEAST_MIDDLE) & (_likeness(evidence) >= _LEAST_LIKENESS))


def _likeness(evidence: Doubles) -> Doubles:
    missing = np.log(np.maximum(1.0 - evidence[:, _FINE], _LEAST_MISSING))
    drift = np.log(np.maximum(evidence[:, _DRIFT], _LEAST_DRIFT))
    return np.asarray(_LIKENESS[0] + _LIKENESS[1] * missing + _LIKENESS[2] * drift)


def log_odds(evidence: Doubles, differences: Doubles, maps: Doubles) -> Doubles:
    """Return (M,) log-odds that pairs are copies; NaN where differences were not weighed: no copies.

    Args:
        evidence: (M, 9) see ``kernel.EVIDENCE``
        differences: (M, 15) see ``changes.EVIDENCE``
        maps: (M, 6) see ``kernel``

    """
    overlay = differences[:, changes.EVIDENCE.index("overlay")]
    form = np.where(overlay >= changes.NO_CHANGE, 0, np.where(overlay >= 0, 1, 2))
    terms = np.stack(_terms(differences, maps), axis=1)
    unlike = _UNLIKE * np.minimum(_likeness(evidence), 0.0)
    support = np.maximum(differences[:, changes.SUPPORT], 0.01)
    unlike += _SMALL * np.minimum(np.log(support / _ENOUGH), 0.0)
    unlike += _NO_NOISE * _structured_noise(differences)
    return np.asarray(_PRIOR + unlike + _WEIGHTS[form, 0] + (terms * _WEIGHTS[form, 1:]).sum(axis=1))


def _structured_noise(differences: Doubles) -> Doubles:
    """Return (M,) by how much, log, the noise of a pair exceeds ``_MUCH_NOISE``, as far as it is structured."""
    noise, structure = (differences[:, changes.EVIDENCE.index(name)] for name in ("noise", "structure"))
    share = np.clip((structure - _STRUCTURED) / (_WHOLLY - _STRUCTURED), 0.0, 1.0)
    return np.asarray(share * np.log(np.maximum(noise / _MUCH_NOISE, 1.0)))


def _terms(differences: Doubles, maps: Doubles) -> list[Doubles]:
    """Return ``_TERMS``, (M,) each: logarithms, of no less than rounding and interpolation leave."""
    shift, explained, eyes, mouth, elsewhere, noise, overlay = (
        differences[:, changes.EVIDENCE.index(name)]
        for name in ("shift_median", "explained_all", "eyes", "mouth", "elsewhere", "noise", "overlay")
    )
    larger, lesser = np.maximum(eyes, mouth), np.minimum(eyes, mouth)
    larger = np.where(larger == 0, _UNSEEN, larger)
    lesser = np.where(lesser == 0, larger, lesser)
    kept = (
        np.maximum(shift, 0.01),
        np.maximum(explained, 0.05),
        np.maximum(larger, _UNSEEN),
        np.maximum(lesser, 2.0),
        np.maximum(larger, 4.0),
        np.clip(elsewhere, 2.0, 6.0),
        np.maximum(np.log(decompose(maps).stretch), 0.01),
        np.maximum(noise, 0.5),
    )
    both = np.log(np.maximum(lesser / _BOTH, 1.0))
    return [*(np.log(values) for values in kept), np.clip(overlay, -4.0, 1.0), both]


def probability(odds: Doubles) -> Doubles:
    """Return (M,) probabilities, 0..1, of log-odds, rounded to four decimals; 0 for NaN."""
    return np.where(np.isnan(odds), 0.0, np.round(1.0 / (1.0 + np.exp(-np.clip(odds, -50, 50))), 4))


def in_company(odds: Doubles, pairs: Ints, size: int) -> Doubles:
    """Return (M,) log-odds of pairs (M, 2) of ``size`` pictures, seen beside each other.

    A picture that has shots of its session in the data set is the likelier to have one more. So the prior is the share
    of copies among the other pairs of the data set, or among those of the pair's two pictures, where that is less;
    estimated by expectation and maximisation (Saerens, Latinne & Decaestecker 2002), within bounds.
    """
    change = np.zeros_like(odds)
    for _ in range(_ROUNDS):
        likely = probability(odds + change)
        copies, shots = (_others(share, pairs, size) for share in (likely, 1 - likely))
        lower = np.minimum(_change(copies[0], shots[0], _OF_TWO), _change(copies[1], shots[1], _OF_ALL))
        change = np.maximum(lower, _STRICTEST)
    return odds + change


def in_agreement(odds: Doubles, pairs: Ints, copies: Flags) -> Doubles:
    """Return (M,) log-odds of pairs (M, 2), no likelier than what is alike lets them be.

    Where b and c are copies of each other, and surer ones than a and b, the pair of a and c says of a and b what their
    own does: the mean of all that say so is believed. One pair of two bursts often looks alike, but not all of them.

    Args:
        odds: (M,) log-odds
        pairs: (M, 2) each once
        copies: (M,) which are copies by their own odds

    """
    size = int(pairs.max(initial=-1)) + 1
    keys = pairs.min(axis=1) * size + pairs.max(axis=1)
    order = np.argsort(keys)
    edge = np.tile(np.flatnonzero(copies), 2)
    one, other = np.concatenate([pairs[copies], pairs[copies][:, ::-1]]).T
    surest = np.lexsort([other, -odds[edge], one])
    rank = np.arange(len(edge)) - np.searchsorted(one[surest], one[surest])
    surest = surest[rank < _ASKED]
    first = np.searchsorted(one[surest], np.arange(size + 1))
    count = np.diff(first)[other]
    asked = np.repeat(np.arange(len(edge)), count)
    told = surest[np.repeat(first[other] - np.cumsum(count) + count, count) + np.arange(len(asked))]
    a, c = one[asked], other[told]
    wanted = np.minimum(a, c) * size + np.maximum(a, c)
    place = order[np.minimum(np.searchsorted(keys[order], wanted), len(order) - 1)] if len(order) else wanted
    says = (keys[place] == wanted) & (odds[edge[told]] > odds[edge[asked]])
    total = np.bincount(edge[asked[says]], weights=odds[place[says]], minlength=len(odds))
    number = np.bincount(edge[asked[says]], minlength=len(odds))
    return np.minimum(odds, (odds + total) / (1 + number))


def _others(share: Doubles, pairs: Ints, size: int) -> tuple[Doubles, Doubles]:
    """Return the sums (M,) of a share over the other pairs of a pair's two pictures, and over all other pairs."""
    by_picture = np.bincount(pairs.ravel(), weights=np.repeat(share, 2), minlength=size)
    return by_picture[pairs].sum(axis=1) - 2 * share, share.sum() - share


def _change(copies: Doubles, shots: Doubles, before: float) -> Doubles:
    """Return by how much the log-odds of a copy fall, <= 0, where so many copies and shots are seen."""
    return np.minimum(np.log((copies + _BEFORE * before) / (shots + before) / _BEFORE), 0.0)


def one_session(evidence: Doubles, differences: Doubles) -> Flags:
    """Return (M,) which pairs, if they are no copies, are shots of one session."""
    return np.asarray((evidence[:, _FINE] >= _SESSION_DETAIL) & np.isfinite(differences[:, 0]))
