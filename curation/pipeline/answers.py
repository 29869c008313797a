"""People's answers in a workspace as one table: decisions, blind labels, and imported votes that teach the judge."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from curation.base.files import read_json, read_table, write_json
from curation.base.workspace import Workspace
from curation.decisions import log, manifest
from curation.decisions.replay import COLUMN_SET, PERSON_PREFIX, people_rows
from curation.labels.teach import Answers
from curation.labels.votes import read_votes

NONE = ""
"""The answer "none of these"."""

COLUMNS = ("path", "answer", "person", "weight")

NOBODY = pd.DataFrame({name: pd.Series(dtype="float64" if name == "weight" else "str") for name in COLUMNS})

UNSURE = "unknown"
"""A blind answer that names no class."""

TAUGHT = "taught.json"
"""File in the folder of votes that names the tables which teach the judge; the others only measure it."""


def collect_answers(workspace: Workspace, classes: Sequence[str]) -> pd.DataFrame:
    """Return the answers that teach the judge: path, answer (a class, or ``NONE``), person, weight; sorted.

    A person's last answer to an image counts. Excluding an image and answering "unsure" name no class.
    """
    rows = [*_decided(workspace, classes), *_blind(workspace, classes), *_votes(workspace, classes)]
    if not rows:
        return NOBODY
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.sort_values(list(COLUMNS), ignore_index=True)


def _decided(workspace: Workspace, classes: Sequence[str]) -> Iterator[tuple[str, str, str, float]]:
    table = people_rows(log.Log(workspace.decisions).table)
    if table.empty:
        return
    raw = manifest.rows(workspace, manifest.find(workspace, "raw"))
    table = people_rows(manifest.followed(workspace, log.Log(workspace.decisions).table, raw).table)
    table = table[~table["action"].isin(list(COLUMN_SET))]
    last = table.drop_duplicates(["path", "actor"], keep="last")
    given = dict(zip(raw["path"], raw["label"], strict=True))
    for path, actor, action, value in last[["path", "actor", "action", "value"]].itertuples(index=False, name=None):
        person = actor.removeprefix(PERSON_PREFIX)
        if action == "soften":
            shares = json.loads(value).get("soft_label", {})
        else:
            said = {"keep": given.get(path, ""), "relabel": value}.get(action, "")
            shares = {said: 1.0}
        for name, share in shares.items():
            if name in classes and share > 0:
                yield path, name, person, float(share)


def _blind(workspace: Workspace, classes: Sequence[str]) -> Iterator[tuple[str, str, str, float]]:
    if not workspace.blind_labels.exists():
        return
    for row in read_table(workspace.blind_labels).to_dict("records"):
        if row["label"] != UNSURE:
            yield row["path"], row["label"] if row["label"] in classes else NONE, row["person"], 1.0


def _votes(workspace: Workspace, classes: Sequence[str]) -> Iterator[tuple[str, str, str, float]]:
    for name in taught_names(workspace):
        file = workspace.votes / f"{name}.parquet"
        if not file.exists():
            continue
        votes = read_votes(file, classes)
        counts = np.column_stack([votes.counts, votes.others.sum(axis=1)])
        kinds = [*votes.classes, NONE]
        for row, kind in zip(*np.nonzero(counts), strict=True):
            yield str(votes.paths[row]), kinds[kind], f"votes {name}", float(counts[row, kind])


def taught_names(workspace: Workspace) -> list[str]:
    """Return the names of the tables of votes that teach."""
    names = (read_json(workspace.votes / TAUGHT) or {}).get("names", [])
    # the workspace may come from somebody else: no name may lead out of the folder
    return [name for name in names if re.fullmatch(r"[\w-]{1,64}", str(name))] if isinstance(names, list) else []


def let_teach(workspace: Workspace, name: str, *, teach: bool) -> bool:
    """Record whether a table of votes teaches or measures; return whether the judge has to be taught again."""
    before = taught_names(workspace)
    names = sorted({one for one in before if one != name} | ({name} if teach else set()))
    if names != before:
        write_json(workspace.votes / TAUGHT, {"names": names})
    return teach or names != before


def as_answers(given: pd.DataFrame, paths: pd.Series, classes: Sequence[str]) -> tuple[Answers, list[str]]:
    """Return answers by row and class of the labels table, and the people's names; images not judged are left out."""
    place = pd.Series(np.arange(len(paths)), index=paths)
    mine = given[given["path"].isin(place.index)]
    who = sorted(mine["person"].unique())
    kinds = {name: number for number, name in enumerate([*classes, NONE])}
    answers = Answers(
        np.asarray(place.loc[mine["path"]], np.int64),
        np.asarray(mine["answer"].map(kinds), np.int64),
        np.asarray(mine["person"].map({name: number for number, name in enumerate(who)}), np.int64),
        mine["weight"].to_numpy(dtype=np.float64),
    )
    return answers, who
