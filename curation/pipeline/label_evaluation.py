"""Evaluate the judgement of labels: every score, and the labels of every version, against people's votes.

Images whose answers taught the judge cannot measure it. They are left out where enough others have votes; otherwise
each fifth of them is judged by a judge that only the other four fifths taught.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from curation.base.arrays import Flags, Floats, Ints
from curation.base.workspace import Workspace
from curation.decisions import manifest
from curation.labels import ranking, votes
from curation.labels.judge import judgement
from curation.labels.teach import teach
from curation.labels.votes import Votes
from curation.pipeline import answers as people
from curation.pipeline import label_judgement, label_store
from curation.pipeline.label_store import DOUBT, SCORES, LabellingError, Memory

FEWEST = 200
"""With fewer untaught images than this, the taught ones are judged in parts."""

SUREST = 0.85
"""The surest share of the judge's answers, whose accuracy is reported too."""

PARTS = 5
"""Parts of the taught images; each is judged by what the others teach."""


def evaluate(workspace: Workspace, file: Path) -> dict[str, pd.DataFrame]:
    """Measure every score against people's votes.

    Returns:
        "measured" (what: sentences on which images count), "jury" (opinion, weight, seen, skill, slope), "agreement"
        (``curation.labels.votes.agreement``), "scores"
        (``curation.labels.ranking.evaluate``: how well each ranks the labels that at most one of ten people gave),
        "ambiguous" (likewise for images without a majority whose label is not wrong), "calibration" (P(wrong) by bins:
        images, mean probability, share that is wrong, share that no strict majority confirms), "labels" (how often the
        given label, each opinion and the judge name the strict majority), "versions" (label accuracy of each version's
        kept images against the strict majority).

    Raises:
        LabellingError: labels have not been judged. VotesError: the votes cannot be used.

    """
    memory = label_store.memory_of(workspace)
    if memory is None:
        raise LabellingError(f"the labels of {workspace.root} have not been judged; run: curate check --labels fast")
    classes = memory.classes
    said = _matched(votes.read_votes(file, classes), memory.table)
    said, table, sentences = _untaught(workspace, memory, said)
    mine = table.set_index("path").loc[list(said.paths)].reset_index()
    labels = np.asarray(mine["label"].map({name: number for number, name in enumerate(classes)}), np.int64)
    wrong = votes.is_wrong(said, labels)
    doubts = [name for name in mine.columns if name.startswith(DOUBT)]
    words = {**SCORES, **{name: f"{name.removeprefix(DOUBT)} alone" for name in doubts}}
    ranked = {text: mine[name].to_numpy() for name, text in words.items() if mine[name].notna().all()}
    unsettled = (votes.majority(said) < 0) & ~wrong
    return {
        "measured": pd.DataFrame({"what": sentences}),
        "jury": pd.DataFrame(label_store.jury_of(workspace)),
        "agreement": votes.agreement(said, labels),
        "scores": ranking.evaluate(wrong, ranked),
        "ambiguous": ranking.evaluate(unsettled, {"P(ambiguous)": mine["ambiguous"].to_numpy()}),
        "calibration": _calibration(wrong, votes.majority(said) != labels, mine["wrong"].to_numpy()),
        "labels": _labels(said, labels, mine, classes),
        "versions": _versions(workspace, said),
    }


def _matched(said: Votes, table: pd.DataFrame) -> Votes:
    """Return the votes on images of the table.

    Raises:
        VotesError: there are none.

    """
    known = said.take(np.isin(said.paths.astype(str), table["path"].to_numpy(dtype=str)))
    if not len(known):
        raise votes.VotesError("none of the votes is on an image of this workspace; give paths as curate issues does")
    return known


def _untaught(workspace: Workspace, memory: Memory, said: Votes) -> tuple[Votes, pd.DataFrame, list[str]]:
    """Return the votes that count, the labels table to compare with, and sentences that explain the choice."""
    heard = memory.table.set_index("path")["answers"].loc[list(said.paths)].to_numpy() > 0
    fresh, taught = int((~heard).sum()), int(heard.sum())
    if not taught:
        return said, memory.table, [f"{fresh:,} images; none of them taught the judge."]
    if fresh >= FEWEST:
        words = f"{fresh:,} images that did not teach the judge; {taught:,} that did, or their copies, are left out."
        return said.take(~heard), memory.table, [words]
    words = f"{len(said):,} images, only {fresh:,} of them untaught: each fifth is judged by what the others teach."
    return said, _held_out(workspace, memory), [words]


def _held_out(workspace: Workspace, memory: Memory) -> pd.DataFrame:
    """Return the labels table with every image judged without its own answers and those to its copies."""
    answers, _ = people.as_answers(
        people.collect_answers(workspace, memory.classes), memory.table["path"], memory.classes
    )
    known = memory.known
    unit = pd.factorize(pd.Series(known.groups).where(known.groups != "", memory.table["path"]))[0]
    part = np.random.default_rng(0).permutation(unit.max() + 1)[unit] % PARTS
    learned = np.empty_like(known.posterior)
    for number in range(PARTS):
        mine = part == number
        learned[mine] = teach(known, answers.take(~mine[answers.rows])).learned[mine]
    return label_judgement.with_judgement(
        memory.table, memory.classes, judgement(known.labels, learned, memory.sharpness)
    )


def _calibration(wrong: Flags, unconfirmed: Flags, probability: Floats) -> pd.DataFrame:
    """Return ten bins of P(wrong): images, mean probability, share wrong, share without a majority for the label."""
    bins = np.minimum((probability * 10).astype(np.int64), 9)
    frame = pd.DataFrame({"bin": bins, "probability": probability, "wrong": wrong, "unconfirmed": unconfirmed})
    table = frame.groupby("bin").agg(
        images=("wrong", "size"),
        expected=("probability", "mean"),
        found=("wrong", "mean"),
        unconfirmed=("unconfirmed", "mean"),
    )
    return table.reset_index(drop=True)


def _labels(said: Votes, labels: Ints, mine: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Return how often the label and the judge name the class of the strict majority, where there is one."""
    chosen = votes.majority(said)
    with_majority = chosen >= 0
    judged = np.array([[row[name] for name in classes] for row in mine["posterior"].map(json.loads)])
    likeliest = judged.argmax(axis=1)
    records = []
    for name, named in (("label as given", labels), ("the judge's likeliest class", likeliest)):
        accuracy, low, high = ranking.share_interval((named == chosen)[with_majority])
        records.append({"who": name, "accuracy": accuracy, "low": low, "high": high})
    sure = np.argsort(-judged.max(axis=1)[with_majority], kind="stable")[: round(SUREST * with_majority.sum())]
    accuracy, low, high = ranking.share_interval((likeliest == chosen)[with_majority][sure])
    records.append({"who": f"the judge, its surest {SUREST:.0%}", "accuracy": accuracy, "low": low, "high": high})
    return pd.DataFrame(records).assign(images=int(with_majority.sum()))


def _versions(workspace: Workspace, said: votes.Votes) -> pd.DataFrame:
    """Return, for each version, how often the labels of its kept images are those of the strict majority."""
    chosen = pd.Series(votes.majority(said), index=said.paths)
    chosen = chosen[chosen >= 0]
    truth = pd.Series(np.asarray(said.classes, dtype=object)[chosen.to_numpy()], index=chosen.index)
    records = []
    for version in manifest.versions(workspace):
        rows = manifest.rows(workspace, version).set_index("path")
        kept = rows[rows["status"] == "kept"]
        judged = kept.loc[kept.index.isin(truth.index), "label"]
        right = judged == truth.loc[judged.index]
        estimate = ranking.share_interval(right.to_numpy())
        records.append(
            {
                "version": version.name,
                "policy": version.lineage.get("policy", {}).get("name", "") if version.kind == "cleaned" else "raw",
                "kept": len(kept),
                "kept_share": len(kept) / len(rows),
                "with_majority": len(judged),
                "accuracy": estimate[0],
                "low": estimate[1],
                "high": estimate[2],
            }
        )
    return pd.DataFrame(records)
