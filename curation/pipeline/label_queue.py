"""Which images to ask people about next, and what their answers are expected to achieve: review queue and plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from curation.base.arrays import Ints
from curation.base.files import read_json, write_json
from curation.base.workspace import Workspace
from curation.labels import plan as planning
from curation.labels.gain import BATCH, rank_queue
from curation.labels.ranking import share_interval
from curation.labels.teach import RELIABILITY, TaughtJudge, chance
from curation.pipeline import answers as people
from curation.pipeline.label_store import LabellingError, Memory, memory_of, record_of

PLAN = "plan.json"
"""File in the folder of reviews: the first and the newest plan for the current judgement."""

REACHED = ("what", "expected", "reached", "low", "high")
"""Columns of expected and reached figures."""

__all__ = ["BATCH", "QueueRanker", "ReviewPlan", "next_images", "plan_review", "queue_ranker"]


@dataclass(frozen=True)
class QueueRanker:
    """Ranks images to ask about, any number of times without reading a file."""

    memory: Memory
    answers: pd.DataFrame

    @property
    def right_untaught(self) -> float:
        """Expected share of right labels before any answer, if each image has its likeliest class."""
        return float(self.memory.known.posterior.max(axis=1).mean())

    def rank_queue(self, more: pd.DataFrame | None = None, paths: Sequence[str] | None = None) -> pd.DataFrame:
        """Teach the judge and return the images to ask about, the best first.

        Args:
            more: answers beyond those in the workspace: path, answer (a class, or "" for none of these), person,
                weight; a person's answer here replaces the one there.
            paths: images that may be asked about; None for all that were judged. Answered images and their copies are
                not asked about again.

        Returns:
            path, group ("" or that of its copies, in adjacent rows), gain (labels expected to be corrected); in
            ``attrs``, "right": the share of all labels expected to be right now.

        """
        table = self.memory.table
        answers, _ = people.as_answers(self._with(more), table["path"], self.memory.classes)
        may = None if paths is None else table["path"].isin(set(paths)).to_numpy()
        queue = rank_queue(self.memory.known, answers, may)
        found = table.loc[queue.rows, ["path", "group"]].reset_index(drop=True)
        found = found.assign(gain=queue.gain)
        found.attrs["right"] = float(queue.taught.posterior.max(axis=1).mean())
        return found

    def _with(self, more: pd.DataFrame | None) -> pd.DataFrame:
        if more is None or more.empty:
            return self.answers
        key = ["path", "person"]
        kept = self.answers.merge(more[key].drop_duplicates(), on=key, how="left", indicator=True)
        kept = kept[kept["_merge"] == "left_only"].drop(columns="_merge")
        return pd.concat([kept, more[list(people.COLUMNS)]], ignore_index=True)


def queue_ranker(workspace: Workspace) -> QueueRanker | None:
    """Return the queue's ranking of a workspace; None if its labels have not been judged."""
    memory = memory_of(workspace)
    return None if memory is None else QueueRanker(memory, people.collect_answers(workspace, memory.classes))


def next_images(workspace: Workspace, number: int) -> pd.DataFrame:
    """Return the images to ask about next, with all copies: path, group, gain."""
    found = queue_ranker(workspace)
    if found is None or not number:
        return pd.DataFrame(columns=["path", "group", "gain"])
    queue = found.rank_queue()
    picture = pd.factorize(queue["group"].where(queue["group"] != "", queue["path"]))[0]
    return queue[picture < number]


@dataclass(frozen=True)
class ReviewPlan:
    """What answers are expected to achieve.

    Attributes:
        table: order, answers (additional), expected, low, high: share of all labels that are right.
        reached: what, expected, reached, low, high: what the first plan expected of the answers given since, and what
            they achieved; empty without such answers.
        lines: the same in sentences.

    """

    table: pd.DataFrame
    reached: pd.DataFrame
    lines: list[str]


def plan_review(workspace: Workspace, seed: int = 0) -> ReviewPlan:
    """Return what the next answers are expected to achieve, by order of asking, and what earlier ones achieved.

    Raises:
        LabellingError: the labels have not been judged.

    """
    found = queue_ranker(workspace)
    if found is None:
        raise LabellingError(f"the labels of {workspace.root} have not been judged; run: curate check --labels fast")
    memory, table = found.memory, found.memory.table
    answers, _ = people.as_answers(found.answers, table["path"], memory.classes)
    queue = rank_queue(memory.known, answers)
    open_ = np.zeros(len(table), dtype=bool)
    open_[queue.rows] = True
    suspects = np.argsort(-table["self_confidence"].to_numpy(), kind="stable")
    orders = {
        "gain": _one_a_group(queue.rows, memory),
        "random": _one_a_group(np.random.default_rng(seed).permutation(np.flatnonzero(open_)), memory),
        "cleanlab": _one_a_group(suspects[open_[suspects]], memory),
    }
    expected = planning.plan(memory.known, queue.taught, orders, seed=seed)
    given = float(answers.weights.sum())
    first = _first_plan(workspace, expected, given)
    reached = _reached(memory, found.answers, first, expected)
    newest = {"expected": expected.to_dict("records"), "reached": reached.to_dict("records")}
    lines = _lines(expected, queue.taught, reached, given)
    try:
        write_json(workspace.review / PLAN, {"key": record_of(workspace)["key"], "first": first, "newest": newest})
    except OSError as error:
        lines.append(
            f"This plan could not be stored, so its results cannot be reported ({error.strerror}: {error.filename})."
        )
    return ReviewPlan(expected, reached, lines)


def newest_plan(workspace: Workspace) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """Return the tables of the newest plan for the current judgement (see ``ReviewPlan``), None without one."""
    plan = _plan_in_force(workspace)
    if plan is None:
        return None
    newest = plan["newest"]
    return pd.DataFrame(newest["expected"]), pd.DataFrame(newest["reached"], columns=list(REACHED))


def _plan_in_force(workspace: Workspace) -> dict[str, Any] | None:
    plan = read_json(workspace.review / PLAN, shape=_PLAN) or {}
    is_mine = {"first", "newest"} <= set(plan) and plan.get("key") == record_of(workspace).get("key")
    return plan if is_mine else None


_PLAN = {
    **{"key?": str, "first?": {"given": float, "answers": [float], "expected": [float]}},
    "newest?": {"expected": [{"order": str, "answers": float, "expected": float, "low": float, "high": float}]},
}
"""Shape of the plan's file, see ``curation.base.reading.require_shape``."""


def _one_a_group(rows: Ints, memory: Memory) -> Ints:
    """Return the rows without those preceded by a copy: one answer is asked for per picture."""
    names = memory.known.groups[rows]
    again = pd.Series(names).duplicated().to_numpy() & (names != "")
    return np.asarray(rows[~again], np.int64)


def _first_plan(workspace: Workspace, expected: pd.DataFrame, given: float) -> dict[str, Any]:
    """Return the first plan for this judgement, with the number of answers at the time."""
    plan = _plan_in_force(workspace)
    if plan is not None:
        return dict(plan["first"])
    mine = expected[expected["order"] == "gain"]
    return {"given": given, "answers": mine["answers"].tolist(), "expected": mine["expected"].tolist()}


def _reached(memory: Memory, given: pd.DataFrame, plan: dict[str, Any], expected: pd.DataFrame) -> pd.DataFrame:
    """Return what was expected and what was reached: the share of right labels, and the judge's agreement with people.

    The first is an estimate in both columns. The second is measured on the answers, with the judge before it was
    taught.
    """
    answers, _ = people.as_answers(given, memory.table["path"], memory.classes)
    whole = answers.take(answers.weights == 1.0)
    since = float(answers.weights.sum()) - float(plan["given"])
    records = []
    if since > 0:
        now = expected[expected["answers"] == 0].iloc[0]
        then = float(np.interp(since, plan["answers"], plan["expected"]))
        records.append((f"labels right after {since:,.0f} answers", then, now["expected"], now["low"], now["high"]))
    if len(whole):
        posterior = memory.known.posterior[whole.rows]
        chosen = posterior.argmax(axis=1)
        likely = np.einsum("mt,mta->ma", posterior, chance(posterior, RELIABILITY))
        then = float(likely[np.arange(len(chosen)), chosen].mean())
        what = f"answers that name the untaught judge's class, of {len(whole):,}"
        records.append((what, then, *share_interval(whole.kinds == chosen)))
    return pd.DataFrame(records, columns=list(REACHED))


def _lines(expected: pd.DataFrame, taught: TaughtJudge, reached: pd.DataFrame, given: float) -> list[str]:
    now = expected[expected["answers"] == 0].iloc[0]
    lines = [
        f"Labels expected to be right now, each taken as the likeliest class: {now['expected']:.1%} "
        f"({now['low']:.1%} to {now['high']:.1%}), after {given:,.0f} answers."
    ]
    for count, rows in expected[expected["answers"] > 0].groupby("answers"):
        parts = [f"{row['order']} {row['expected']:.1%}" for row in rows.to_dict("records")]
        lines.append(f"After {count:,} more, by order of asking: {', '.join(parts)}.")
    for row in reached.to_dict("records"):
        ends = f"{row['low']:.1%} to {row['high']:.1%}"
        lines.append(
            f"{row['what']}: expected {row['expected']:.1%}, reached {row['reached']:.1%} ({ends}).".capitalize()
        )
    if taught.moved:
        lines.append(f"What was learned changed the likeliest class of {taught.moved:.1%} of the images.")
    return lines
