"""A version's effect on labels: the share of each class that it changed, and the wrong labels expected to be left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy

from curation.base.arrays import Floats
from curation.base.statistics import Estimate, percentile_interval

SURENESS = 1e-6
"""Least distance of a probability from 0 and 1 before its log-odds are shifted."""


@dataclass(frozen=True)
class LabelOutcome:
    """A version's effect on labels.

    Attributes:
        touched: a row per given class: label, images, relabelled, excluded (for their label), softened, share (of the
            three together).
        relabelled: expected share of new labels that are right; None without any.
        excluded: expected share of excluded labels that were wrong; None without any.
        errors_left: expected number of kept images with a wrong label.
        kept: judged images that are kept.

    """

    touched: pd.DataFrame
    relabelled: Estimate | None
    excluded: Estimate | None
    errors_left: Estimate
    kept: int

    def lines(self) -> list[str]:
        """Return the same in sentences."""
        if self.kept == 0:
            return []
        left, share = self.errors_left, 100.0 / self.kept
        said = [
            f"Wrong labels expected among the {self.kept:,} kept: {left.value:,.0f} "
            f"(95 % interval {left.low:,.0f} to {left.high:,.0f}; {left.value * share:.1f} %)."
        ]
        for sure, way, words in (
            (self.relabelled, "relabelled", "Labels changed: {}, of which {} are expected to be right now."),
            (self.excluded, "excluded", "Left out for their label: {}, of which {} are expected to be wrong."),
        ):
            if sure is not None:
                ends = f"{100 * sure.value:.0f} % ({100 * sure.low:.0f} to {100 * sure.high:.0f})"
                said.append(words.format(f"{self.touched[way].sum():,}", ends))
        shares = ", ".join(f"{row['label']} {100 * row['share']:.0f} %" for row in self.touched.to_dict("records"))
        return [*said, f"Share of each class relabelled, left out or softened for its label: {shares}."]


def outcome(rows: pd.DataFrame, judged: pd.DataFrame, rate_draws: Floats, rates: dict[str, float]) -> LabelOutcome:
    """Return a version's effect on the labels that were judged.

    The intervals cover the chance of each image's error and the uncertainty of each class' error rate, but not errors
    that all opinions have in common.

    Args:
        rows: of the version: path, label, status, weight, soft_label; issue (check behind the policy's decision, ""
            for none) and by_person (bool: a person decided, and is assumed to be right).
        judged: the labels table: path, label, wrong, posterior (class -> probability); labels without a rate, as in an
            edited table, are not counted.
        rate_draws: (draws, classes) bootstrap rates of wrong labels; columns in the order of ``rates``.
        rates: class -> estimated share of wrong labels.

    """
    both = _beside(rows, judged[judged["label"].isin(list(rates))])
    named = zip(both["posterior"], both["label"], strict=True)
    now_right = np.array([said.get(label, 0.0) for said, label in named])
    shift = _shifts(both["given"], rate_draws, rates)
    relabelled, kept = both["relabelled"].to_numpy(), both["kept"].to_numpy()
    guessed = ~both["by_person"].to_numpy()
    changed, gone = relabelled & guessed, both["excluded"].to_numpy() & guessed
    # more wrong labels in a class mean more errors left where nothing was changed, but fewer among new labels
    signs = np.where(relabelled, -1.0, 1.0)
    left = kept & guessed
    wrong_now = np.where(relabelled, 1.0 - now_right, both["wrong"])
    return LabelOutcome(
        touched=_touched(both),
        relabelled=_mean(_expected_sum(now_right[changed], shift[:, changed]), int(changed.sum())),
        excluded=_mean(_expected_sum(both["wrong"].to_numpy()[gone], shift[:, gone]), int(gone.sum())),
        errors_left=_expected_sum(wrong_now[left], (shift * signs)[:, left]),
        kept=int(kept.sum()),
    )


def _beside(rows: pd.DataFrame, judged: pd.DataFrame) -> pd.DataFrame:
    """Return the judged images with the version's changes: kept, relabelled, excluded, softened."""
    said = judged[["path", "label", "wrong", "posterior"]].rename(columns={"label": "given"})
    both = rows.merge(said, on="path")
    kept = both["status"].eq("kept")
    relabelled = kept & both["label"].ne(both["given"])
    decided = both["issue"].ne("") | both["by_person"]  # the source may give soft labels of its own
    return both.assign(
        kept=kept,
        relabelled=relabelled,
        excluded=~kept & both["issue"].eq("mislabelled"),
        softened=kept & ~relabelled & (both["weight"].ne(1.0) | (decided & both["soft_label"].ne(""))),
    )


def _touched(both: pd.DataFrame) -> pd.DataFrame:
    """Return the number of images of each given class that were relabelled, excluded or softened."""
    ways = ["relabelled", "excluded", "softened"]
    by_class = both.groupby("given")
    counts = by_class[ways].sum().astype("int64")
    counts.insert(0, "images", by_class.size())
    counts["share"] = counts[ways].sum(axis=1) / counts["images"]
    return counts.rename_axis("label").reset_index()


def _mean(total: Estimate, count: int) -> Estimate | None:
    """Return an expected number as a share of a count, None if that is 0."""
    return Estimate(total.value / count, total.low / count, total.high / count) if count else None


def _shifts(given: pd.Series, rate_draws: Floats, rates: dict[str, float]) -> Floats:
    """Return the shift of the log-odds of each image's label being wrong, for each draw, (draws, n)."""
    names = list(rates)
    place = given.map({name: number for number, name in enumerate(names)}).to_numpy(dtype=np.int64)
    centre = scipy.special.logit(np.clip(np.array([rates[name] for name in names]), SURENESS, 1 - SURENESS))
    moved: Floats = (scipy.special.logit(np.clip(rate_draws, SURENESS, 1 - SURENESS)) - centre)[:, place]
    return moved


def _expected_sum(probability: npt.NDArray[Any], shift: Floats) -> Estimate:
    """Return the expected number of events and its interval, over the drawn rates and each event's chance."""
    odds = scipy.special.logit(np.clip(probability, SURENESS, 1 - SURENESS))
    rng = np.random.default_rng(0)
    drawn = []
    for moved in shift:
        chance = scipy.special.expit(odds + moved)
        spread = np.sqrt((chance * (1.0 - chance)).sum())
        drawn.append(chance.sum() + spread * rng.standard_normal())
    low, high = percentile_interval(drawn)
    value = float(np.asarray(probability).sum())
    return Estimate(value, max(0.0, min(low, value)), min(float(len(probability)), max(high, value)))
