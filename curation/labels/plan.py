"""Label accuracy that is expected after so many answers, for each order of asking.

A simulation: the judge's parameters are drawn from their prior or posterior in ``curation.labels.teach``, which gives
the true classes; answers are those of one usual person; and the judge learns from them in a linear Gaussian
approximation. The spread over draws is the interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import scipy

from curation.base.arrays import Floats, Ints
from curation.base.statistics import percentile_interval
from curation.labels.teach import RELIABILITY, JudgeInputs, TaughtJudge, chance

COUNTS = (0, 100, 300, 1000)
"""Numbers of further answers in a plan."""

DRAWS = 100
SAMPLE = 4000
"""Draws of the parameters, and images that each draw is evaluated on."""


def plan(
    known: JudgeInputs, taught: TaughtJudge, orders: Mapping[str, Ints], counts: Sequence[int] = COUNTS, seed: int = 0
) -> pd.DataFrame:
    """Return the expected label accuracy after further answers, for each order of asking.

    Args:
        known: inputs of the judge.
        taught: the judge after the answers so far.
        orders: name -> (m,) rows in the order of asking.
        counts: of answers.
        seed: of the draws.

    Returns:
        A row per order and count: order, answers, expected, low, high (95 % of the draws): the share of all labels that
        are right when every label is the likeliest class.

    """
    rng = np.random.default_rng(seed)
    root = np.linalg.cholesky(np.linalg.inv(taught.precision))
    draws = root @ rng.standard_normal((len(root), DRAWS))
    sample = rng.permutation(len(known))[:SAMPLE]
    now = _right(known, taught, sample, draws, np.zeros_like(draws), is_told=False) / len(sample)
    noise = rng.standard_normal(draws.shape)
    records = []
    for name, rows in orders.items():
        for count in counts:
            values = now + _mended(known, taught, rows[:count], draws, noise, sample)
            low, high = percentile_interval(values)
            expected = float(values.mean())
            records.append({"order": name, "answers": count, "expected": expected, "low": low, "high": high})
    return pd.DataFrame(records)


def _mended(known: JudgeInputs, taught: TaughtJudge, asked: Ints, draws: Floats, noise: Floats, sample: Ints) -> Floats:
    """Return the increase of accuracy by answers to these rows, (draws,), on all images.

    Accuracy before and after is evaluated on the same images, which reduces the noise of the difference.
    """
    information = _information(known, taught, asked)
    told_draws = information @ draws + _root(information) @ noise
    learned = np.asarray(np.linalg.solve(taught.precision + information, told_draws), np.float64)
    names = known.groups[asked]
    told = np.union1d(asked, np.flatnonzero(np.isin(known.groups, names[names != ""])))
    rest = np.setdiff1d(sample, told)
    nothing = np.zeros(draws.shape)
    mended = np.zeros(draws.shape[1])
    for rows, weight, is_told in ((told, len(told), True), (rest, len(known) - len(told), False)):
        if len(rows):
            after = _right(known, taught, rows, draws, learned, is_told=is_told)
            mended += weight / len(rows) * (after - _right(known, taught, rows, draws, nothing, is_told=False))
    return mended / len(known)


def _right(
    known: JudgeInputs, taught: TaughtJudge, rows: Ints, draws: Floats, learned: Floats, *, is_told: bool
) -> Floats:
    """Return how many labels of these rows are right if each draw is true and ``learned`` is used, (draws,)."""
    features, _ = known.features(rows)
    logs = np.log(np.maximum(taught.posterior[rows], 1e-12))
    return np.array(
        [
            _hits(
                scipy.special.softmax(logs + features @ true, axis=1),
                scipy.special.softmax(logs + features @ guess, axis=1),
                is_told,
            )
            for true, guess in zip(draws.T.astype(np.float32), learned.T.astype(np.float32), strict=True)
        ]
    )


def _hits(true: Floats, guess: Floats, is_told: bool) -> float:
    """Return how often the likeliest class by ``guess`` is right under ``true``, with an answer or without."""
    rows = np.arange(len(true))
    if not is_told:
        return float(true[rows, guess.argmax(axis=1)].sum())
    chosen = (guess[:, :, None] * chance(guess, RELIABILITY)).argmax(axis=1)
    said = np.take_along_axis(true[:, :, None] * chance(true, RELIABILITY), chosen[:, None, :], axis=1)
    return float(said.sum())


def _information(known: JudgeInputs, taught: TaughtJudge, asked: Ints) -> Floats:
    """Return the expected information of answers to these rows on the parameters, (parameters, parameters)."""
    size = taught.parameters.shape[0]
    if not len(asked):
        return np.zeros((size, size))
    features, _ = known.features(asked)
    prior = taught.posterior[asked]
    joint = prior[:, :, None] * chance(prior, RELIABILITY)
    answer = joint.sum(axis=1)
    # the change of the class probabilities by each possible answer
    shift = joint / np.maximum(answer[:, None, :], 1e-12) - prior[:, :, None]
    scores = np.einsum("mtp,mta->map", features, shift) * np.sqrt(answer)[:, :, None]
    flat = scores.reshape(-1, size)
    information: Floats = flat.T @ flat
    return information


def _root(information: Floats) -> Floats:
    """Return a square root: a matrix whose product with its transpose is the information."""
    values, vectors = np.linalg.eigh(information)
    root: Floats = vectors * np.sqrt(np.maximum(values, 0.0))
    return root
