"""Which images a person sees, in which order: pure functions of the issues and the manifest.

A queue is a table of path and group; the members of a group are adjacent, since a copy cannot be judged alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from curation.base.errors import did_you_mean
from curation.base.issues import Issues
from curation.checks import registry
from curation.pipeline.label_queue import QueueRanker
from curation.pipeline.summary import how_to_run, people_in_doubt
from curation.review.journal import IDENTITY, ReviewError

ORDERS = ("gain", "worst", "balance", "random")
"""gain: what improves the labels most; worst: the lowest score first; balance: classes in turn; random: an audit."""

LABEL_CHECKS = ("mislabelled", "label_conflict", "ambiguous")
"""Checks of the label, the most direct first."""

_SHARES = 2**32


def candidates(issues: Issues, rows: pd.DataFrame, check: str) -> pd.DataFrame:
    """Return the images that may be queued: path, group, score, label, gain.

    Args:
        issues: of the workspace.
        rows: a manifest's rows; images that it lacks are left out.
        check: only what this check flags; "" for everything that any check flags. People who are perhaps the same in
            several splits are included although they are not flagged: they wait for a person.

    Raises:
        ReviewError: the check flags nothing, or was not run.

    """
    found = issues.rows
    doubt = people_in_doubt(found).set_index("path")["group"]
    waits = found["check"].eq("subject_leak") & found["path"].isin(doubt.index)
    flagged = found[found["is_issue"] | waits]
    flagged = flagged.assign(group=flagged["group"].where(~waits, flagged["path"].map(doubt)))
    if check:
        flagged = flagged[flagged["check"] == check]
        if check not in issues.scored:
            if check not in (known := registry.every()):
                raise ReviewError(f"no check {check!r}; {did_you_mean(check, known)}")
            raise ReviewError(f"the check {check} was not run; to run: {how_to_run(check)}")
        if flagged.empty:
            raise ReviewError(f"the check {check} flags no image; see: curate check")
    flagged = flagged.merge(rows[["path", "label"]], on="path")
    flagged = flagged.assign(doubt=(1 - flagged["score"]) * flagged["check"].isin(LABEL_CHECKS))
    by_path = flagged.sort_values(["score", "check"]).groupby("path", sort=False)
    found = by_path.agg(score=("score", "min"), label=("label", "first"), doubt=("doubt", "max")).reset_index()
    groups = _groups(flagged)
    found["group"] = found["path"].map(lambda path: groups.get(path, ""))
    # one answer on a group of copies settles all of its members
    size = found["group"].map(found["group"].value_counts()).where(found["group"] != "", 1)
    whole = found.groupby("group")["doubt"].transform("max").where(found["group"] != "", found["doubt"])
    found["gain"] = whole * size
    return found[["path", "group", "score", "label", "gain"]]


def _groups(flagged: pd.DataFrame) -> dict[str, str]:
    """Return path -> group; the widest kind of group wins, because it contains the narrower ones."""
    groups: dict[str, str] = {}
    for check in ("subject_shift", "subject_leak", "exact_duplicate", "near_duplicate", "split_leak", "label_conflict"):
        mine = flagged[(flagged["check"] == check) & (flagged["group"] != "")]
        groups |= dict(zip(mine["path"], mine["group"], strict=True))
    return groups


def ranked(found: pd.DataFrame, order: str, seed: int) -> pd.DataFrame:
    """Return candidates in the order of a queue, whole groups together.

    Raises:
        ReviewError: there is no such order.

    """
    if order not in ORDERS:
        raise ReviewError(f"no order {order!r}; there are: {', '.join(ORDERS)}")
    units = found.assign(unit=found["group"].where(found["group"] != "", found["path"]))
    by_unit = units.groupby("unit", sort=True)
    heads = by_unit.agg(score=("score", "min"), gain=("gain", "max"), label=("label", "first")).reset_index()
    if order == "gain":
        heads = heads.sort_values(["gain", "score", "unit"], ascending=[False, True, True])
    elif order == "worst":
        heads = heads.sort_values(["score", "unit"])
    elif order == "balance":
        heads = heads.sort_values(["score", "unit"])
        heads = heads.assign(turn=heads.groupby("label").cumcount()).sort_values(["turn", "label"], kind="stable")
    else:
        heads = heads.iloc[np.random.default_rng(seed).permutation(len(heads))]
    place = {unit: n for n, unit in enumerate(heads["unit"])}
    ordered = units.assign(place=units["unit"].map(place)).sort_values(["place", "path"], ignore_index=True)
    return ordered[["path", "group"]]


def by_gain(ranker: QueueRanker | None, issues: Issues, rows: pd.DataFrame, check: str) -> pd.DataFrame | None:
    """Return the queue whose answers correct most labels: path, group; None where no labels were judged.

    With a check, only images that it flags; those whose labels were not judged come last.

    Args:
        ranker: ranks the judged images.
        issues: of the workspace.
        rows: a manifest's rows.
        check: of labels, or "" for every image.

    """
    if ranker is None:
        return None
    rest = candidates(issues, rows, check) if check else rows.iloc[:0].assign(group="")
    ranking = ranker.rank_queue(paths=(rest if check else rows)["path"].tolist())
    judged = ranker.memory.table["path"]
    rest = rest[~rest["path"].isin(judged)]
    return pd.concat([ranking[["path", "group"]], rest[["path", "group"]]], ignore_index=True)


def cut(queue: pd.DataFrame, limit: int) -> pd.DataFrame:
    """Return the first ``limit`` images (0: all), with the rest of the group in which the cut falls."""
    if not 0 < limit < len(queue):
        return queue
    last = queue["group"].iloc[limit - 1]
    end = limit
    while last and end < len(queue) and queue["group"].iloc[end] == last:
        end += 1
    return queue.iloc[:end].reset_index(drop=True)


def share(queue: pd.DataFrame, reviewer: str, reviewers: Sequence[str], overlap: float) -> pd.DataFrame:
    """Return one person's part of a queue: whole groups, divided by hash; a share ``overlap`` goes to everybody.

    The parts do not depend on who starts first, and an image stays with its reviewer when the queue grows.

    Args:
        queue: path, group.
        reviewer: whose part.
        reviewers: everybody's names; the order does not matter.
        overlap: share of the groups that all of them see, 0 to 1.

    Raises:
        ReviewError: the person is not among the reviewers.

    """
    names = sorted(set(reviewers))
    if not names:
        return queue
    if reviewer not in names:
        raise ReviewError(f"{reviewer} is not among the reviewers {', '.join(names)}")
    units = queue["group"].where(queue["group"] != "", queue["path"])
    draws = [int.from_bytes(hashlib.sha256(unit.encode()).digest()[:8]) for unit in units]
    common = np.array([draw % _SHARES < overlap * _SHARES for draw in draws], bool)
    mine = np.array([names[(draw // _SHARES) % len(names)] == reviewer for draw in draws], bool)
    return queue.iloc[np.flatnonzero(common | mine)].reset_index(drop=True)


def disagreements(answers: pd.DataFrame) -> pd.DataFrame:
    """Return the images on which people's latest answers differ, one row per answer.

    Args:
        answers: path, reviewer, action, value, time and more; ``unsure`` contradicts nobody.

    """
    said = answers[answers["action"] != "unsure"]
    about = said["action"].isin(list(IDENTITY))  # who is in the image is one question, the label another
    differing = said.groupby(["path", about])["says"].transform("nunique") > 1
    return said[differing].sort_values(["path", "reviewer"], ignore_index=True)
