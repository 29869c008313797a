"""People's accuracy on these images and their agreement, for every table of votes."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from curation.base import files
from curation.base.arrays import Ints
from curation.base.classes import in_order
from curation.base.destinations import Destinations
from curation.base.statistics import Estimate
from curation.base.workspace import Workspace, source_of
from curation.decisions import manifest
from curation.labels import agreement
from curation.labels.votes import Votes, VotesError, for_label, is_most_frequent, read_votes

_FEWEST_SHARED = 10
"""Least number of images that two people share for a kappa: with fewer, its interval is as wide as its range."""

PAGE = "people.html"


@dataclass(frozen=True)
class People:
    """Figures (source, figure, class, value, low, high, images) and their page."""

    table: pd.DataFrame
    page: Path


def import_votes(workspace: Workspace, file: Path, name: str = "", *, force: bool = False) -> tuple[str, list[str]]:
    """Import a table of votes on images of the data set; return its name, and sentences on what it holds.

    Votes of another file under the same name are replaced only with ``force``.

    Raises:
        VotesError: it is not a table of votes, or none of its images is in the data set.
        DestinationError: votes of another file have that name.

    """
    name = name or file.stem
    if not re.fullmatch(r"[\w-]{1,64}", name) or f"{name}.parquet" == workspace.blind_labels.name:
        raise VotesError(f"{name!r} cannot be the name of imported votes; give another with --name")
    raw = manifest.rows(workspace, manifest.find(workspace, "raw"))
    votes = read_votes(file, in_order(set(raw["label"]) - {""}))
    paths, by_name = paths_in(votes, raw["path"])
    known = np.array([bool(path) for path in paths], dtype=np.bool_)
    if not known.any():
        raise VotesError(f"no image of {file} is in this data set; its first path is {votes.paths[0]!r}")
    votes = replace(votes, paths=paths).take(known)
    others = {f"other_{place}": votes.others[:, place] for place in range(votes.others.shape[1])}
    counts = {label: votes.counts[:, place] for place, label in enumerate(votes.classes)}
    data = files.parquet_bytes(pd.DataFrame({"path": votes.paths, **counts, **others}))
    kept, gate, origin = workspace.votes / f"{name}.parquet", Destinations(workspace, force), str(file.resolve())
    if not files.holds(kept, data):
        gate.allow_over(kept, origin)
    gate.intend(kept, hashlib.sha256(data).hexdigest(), origin)
    files.write_bytes(kept, data)
    gate.note(kept, origin)
    left = int((~known).sum())
    lines = [f"{len(votes):,} images with {int(votes.total.sum()):,} votes kept as {name}."]
    lines += [f"{by_name:,} of them were found by the names of their files alone."] if by_name else []
    return name, [*lines, f"{left:,} rows on images of another data set were left out."] if left else lines


def paths_in(votes: Votes, known: pd.Series) -> tuple[npt.NDArray[np.object_], int]:
    """Return the data set's path of each row of votes ("" for none), and how many were matched by file name alone.

    File names of several images or several rows are not matched.
    """
    exact = set(known) & set(votes.paths)
    names = known.str.rpartition("/")[2]
    only = dict(zip(names[~names.duplicated(keep=False)], known[~names.duplicated(keep=False)], strict=True))
    stated = [path.rpartition("/")[2] for path in votes.paths]
    once = {name for name, number in Counter(stated).items() if number == 1 and only.get(name, "") not in exact}
    found = [
        path if path in exact else only.get(name, "") if name in once else ""
        for path, name in zip(votes.paths, stated, strict=True)
    ]
    by_name = sum(bool(path) and path not in exact for path in found)
    return np.array(found, dtype=object), by_name


def vote_files(workspace: Workspace) -> list[Path]:
    """Return the files of votes in the workspace: imported tables and blind labels."""
    return sorted(workspace.votes.glob("*.parquet"))


def figures(workspace: Workspace, seed: int) -> pd.DataFrame | None:
    """Return the figures of every table of votes in the workspace, None without any.

    Returns:
        columns source (the table of votes), figure, class, value, low, high (95 % interval), images.

    """
    files = vote_files(workspace)
    if not files:
        return None
    raw = manifest.rows(workspace, manifest.find(workspace, "raw"))
    labelled = raw[raw["label"] != ""]  # votes are compared with labels
    tables = [_of_file(file, labelled, seed, blind=file == workspace.blind_labels) for file in files]
    found = [table for table in tables if len(table)]
    return pd.concat(found, ignore_index=True) if found else None


def report(workspace: Workspace, seed: int) -> People:
    """Write the page of people's figures, and return both.

    Raises:
        VotesError: there are no votes.

    """
    table = figures(workspace, seed)
    if table is None:
        raise VotesError(
            f"{workspace.root} has no votes on images with a label; label per sample with curate review --blind, or: "
            "curate votes import FILE"
        )
    from reports.people import people_page

    page = workspace.reports / PAGE
    files.write_bytes(page, people_page(table, source_of(workspace)).encode("utf-8"))
    return People(table, page)


def _of_file(file: Path, raw: pd.DataFrame, seed: int, *, blind: bool) -> pd.DataFrame:
    classes = in_order(raw["label"])
    if not classes:
        return pd.DataFrame()
    to_do = "move it away" if blind else "delete it, and import the votes again"
    votes = read_votes(file, classes, f"{to_do}: curate run goes on without it")
    given = dict(zip(raw["path"], raw["label"], strict=True))
    votes = votes.take(np.isin(votes.paths, raw["path"].to_numpy(dtype=object)))
    if not len(votes):
        return pd.DataFrame()
    labels = np.array([classes.index(given[path]) for path in votes.paths], np.int64)
    totals = {str(label): number for label, number in raw["label"].value_counts().items()}
    rows = [
        *_accuracies(votes, labels, totals, seed),
        ("agreement of all (Fleiss' kappa)", "all", agreement.fleiss_kappa(votes.answers, seed)),
    ]
    if blind:
        said = files.read_table(file)
        rows += _by_person(said[said["path"].isin(given)], given, classes, totals, seed)
    records = [{"source": file.stem, "figure": what, "class": name, **vars(figure)} for what, name, figure in rows]
    return pd.DataFrame(records)[["source", "figure", "class", "value", "low", "high", "images"]]


Row = tuple[str, str, Estimate]


def _accuracies(votes: Votes, labels: Ints, totals: dict[str, int], seed: int) -> list[Row]:
    """Return, by class, how often people's most frequent answer and single votes are the given label."""
    names = np.asarray(votes.classes, dtype=object)[labels]
    what, most = "most frequent answer is the given label", is_most_frequent(votes, labels)
    rows: list[Row] = [(what, name, agreement.accuracy(most[names == name])) for name in votes.classes]
    rows.append((what, "all", agreement.stratified_accuracy(most, names, totals, seed)))
    share = for_label(votes, labels)
    what = "share of single votes for the given label"
    rows += [(what, name, agreement.mean(share[names == name], seed)) for name in votes.classes]
    return rows


def _by_person(
    long: pd.DataFrame, given: dict[str, str], classes: list[str], totals: dict[str, int], seed: int
) -> list[Row]:
    """Return each person's accuracy, and Cohen's kappa of each pair on the images that both labelled."""
    rows: list[Row] = []
    long = long[long["path"].isin(set(given))]
    for person, mine in long.groupby("person"):
        truth = mine["path"].map(given)
        hits = (mine["label"] == truth).to_numpy()
        rows.append((f"accuracy of {person}", "all", agreement.stratified_accuracy(hits, truth, totals, seed)))
    answers = [*classes, *in_order(set(long["label"]) - set(classes))]
    wide = long.pivot(index="path", columns="person", values="label")
    for one, other in combinations(sorted(wide.columns), 2):
        both = wide[[one, other]].dropna()
        if len(both) >= _FEWEST_SHARED:
            first, second = ([answers.index(label) for label in both[who]] for who in (one, other))
            kappa = agreement.cohen_kappa(first, second, len(answers), seed)
            rows.append((f"agreement of {one} and {other} (Cohen's kappa)", "all", kappa))
    return rows
