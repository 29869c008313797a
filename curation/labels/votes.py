"""People's votes on labels: read, matched to the data's classes, and turned into agreement and ground truth.

Votes are one count per class and image. They measure scores; no score is fitted to them. A table of votes is wide
(``path`` and a column of counts per class) or long (``path`` and ``label``, a row per vote, as from blind labelling).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from curation.base import reading
from curation.base.arrays import Flags, Floats, Ints
from curation.base.classes import meaning
from curation.base.errors import CurationError

MOST_VOTES_OF_WRONG = 0.1
"""A label counts as wrong if at most this share of the votes is for it: one person of ten."""

MAJORITY = 0.6
"""Least share of all votes for a strict majority: six people of ten."""

MOST_VOTES = 10**9
"""Largest count of an image's votes for a class."""

AGREED = 0.9
"""Least share of votes for the label of an undisputed image: nine people of ten."""


class VotesError(CurationError):
    """A table of votes cannot be read or does not fit the data."""


@dataclass(frozen=True)
class Votes:
    """Votes matched to a data set's classes.

    Attributes:
        paths: (n,) of the images, as the manifest has them.
        classes: names in the order of the columns.
        counts: (n, classes) votes for each class.
        others: (n, answers) votes for each other answer: another emotion, "unknown", "not a face".

    """

    paths: npt.NDArray[np.object_]
    classes: tuple[str, ...]
    counts: Ints
    others: Ints

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def total(self) -> Ints:
        """(n,) votes on each image."""
        total: Ints = self.answers.sum(axis=1)
        return total

    @property
    def answers(self) -> Ints:
        """(n, classes + answers) all votes."""
        return np.column_stack([self.counts, self.others])

    def take(self, rows: Flags | Ints) -> Votes:
        """Return some rows, by mask or by number."""
        return Votes(self.paths[rows], self.classes, self.counts[rows], self.others[rows])


_FORM = "give a CSV or Parquet file of path and a count per class, or path and label"


def read_votes(file: Path, classes: Sequence[str], to_do: str = _FORM) -> Votes:
    """Read votes from a CSV or Parquet file; images without any vote are left out.

    Args:
        file: wide (``path`` and a column of counts per class), long (``path``, ``label``: a row per vote), or FER+'s
            fer2013new.csv.
        classes: of the data set; columns are matched by name, also by noun and adjective (happy, happiness).
        to_do: advice in the error if it cannot be read.

    Raises:
        VotesError: the file cannot be read, has no paths or none of the classes, or a count is not a whole number.

    """
    table = _with_paths(_read(file, to_do))
    if "path" not in table:
        raise VotesError(f"{file} has no column 'path'; it has: {', '.join(map(str, table.columns))}")
    wide = _widened(table) if {"label"} <= set(table.columns) else table
    if wide["path"].duplicated().any():
        path = wide.loc[wide["path"].duplicated(), "path"].iloc[0]
        raise VotesError(f"{file} has two rows for {path!r}; write one row per image")
    columns = all_columns([str(column) for column in wide.columns if column != "path"], classes)
    matched = [column for mine in columns.values() for column in mine]
    if not matched:
        raise VotesError(f"{file} has no column for any of the classes {', '.join(classes)}")
    numbers = _whole_numbers(wide.drop(columns="path"), file)
    words = sorted(set(matched) - set(numbers.columns))
    if words:
        raise VotesError(f"{file}: the column {words[0]!r} is a class and holds no number; give the count of its votes")
    counts = np.zeros((len(wide), len(classes)), np.int64)
    for place, name in enumerate(classes):
        counts[:, place] = numbers[columns.get(name, [])].sum(axis=1)
    others = numbers.drop(columns=matched).to_numpy(np.int64)
    votes = Votes(wide["path"].astype(object).to_numpy(), tuple(classes), counts, others)
    if not votes.total.any():
        raise VotesError(f"{file} holds no vote for any image; every count is 0")
    return votes.take(votes.total > 0)


def match_classes(columns: Sequence[str], classes: Sequence[str]) -> dict[str, str]:
    """Return class -> the column that counts its votes, for the classes that have one."""
    return {name: found[0] for name, found in all_columns(columns, classes).items()}


def all_columns(columns: Sequence[str], classes: Sequence[str]) -> dict[str, list[str]]:
    """Return class -> every column that means it (happy, joy), for the classes that have one."""
    found = {
        name: [column for column in columns if meaning(column) == meaning(name) and column not in {*classes} - {name}]
        for name in classes
    }
    return {name: mine for name, mine in found.items() if mine}


def _read(file: Path, to_do: str) -> pd.DataFrame:
    with reading.refusing(file, to_do, VotesError):
        table = reading.table(file)
        table.columns = table.columns.map(str)
        if table.columns.duplicated().any():
            raise ValueError("two columns have one name")
        if table.empty:
            raise ValueError("it has no row")
        if "path" in table:
            table["path"] = table["path"].astype("str")
    return table


_FERPLUS = "Image name"
"""The column of file names in FER+'s own list (github.com/microsoft/FERPlus, fer2013new.csv)."""


def _with_paths(table: pd.DataFrame) -> pd.DataFrame:
    """Return FER+'s list with a column of paths; any other table as it is.

    Its rows are those of FER-2013, fer0000000.png and so on; images without a face have no name but keep their row.
    """
    if "path" in table or _FERPLUS not in table:
        return table
    names = table[_FERPLUS].astype(str).str.strip()
    by_place = pd.Series([f"fer{number:07d}.png" for number in range(len(table))], index=table.index)
    if (names == by_place)[names != ""].all():
        names = names.where(names != "", by_place)
    named = table.assign(path=names).drop(columns=[_FERPLUS, *({"Usage"} & set(table.columns))])
    return named[named["path"] != ""].reset_index(drop=True)


def _widened(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per image and a column per label from one row per vote; empty labels are no votes."""
    given = table[table["label"].notna() & (table["label"].astype(str) != "")]
    wide = pd.crosstab(given["path"], given["label"].astype(str)).reset_index()
    return wide.rename_axis(columns=None)


def _whole_numbers(table: pd.DataFrame, file: Path) -> pd.DataFrame:
    numbers: pd.DataFrame = table.apply(pd.to_numeric, errors="coerce").astype(np.float64)
    strange = [column for column in numbers if numbers[column].isna().all()]
    numbers = numbers.drop(columns=strange)  # columns of text, such as notes
    values = numbers.to_numpy(np.float64)
    is_count = np.isfinite(values) & (values >= 0) & (values == np.round(values)) & (values <= MOST_VOTES)
    if not is_count.all():
        raise VotesError(f"{file}: votes must be whole numbers from 0 to {MOST_VOTES:,}, in every row and column")
    return numbers.astype(np.int64)


def for_label(votes: Votes, labels: npt.ArrayLike) -> Floats:
    """Return the share of each image's votes that is for its given label, (n,) in 0..1.

    Args:
        votes: n images.
        labels: (n,) places in ``votes.classes``.

    """
    places = np.asarray(labels, np.int64)
    return votes.counts[np.arange(len(votes)), places] / votes.total


def is_most_frequent(votes: Votes, labels: Ints) -> Flags:
    """Return (n,) whether the given label has more votes than any other answer."""
    rows, rivals = np.arange(len(votes)), votes.answers
    own = rivals[rows, labels].copy()
    rivals[rows, labels] = -1
    return np.asarray(own > rivals.max(axis=1))


def is_wrong(votes: Votes, labels: npt.ArrayLike, most_votes: float = MOST_VOTES_OF_WRONG) -> Flags:
    """Return (n,) whether at most the share ``most_votes`` of the votes is for the given label."""
    return for_label(votes, labels) <= most_votes


def is_agreed(votes: Votes, labels: npt.ArrayLike, least: float = AGREED) -> Flags:
    """Return (n,) whether at least the share ``least`` of the votes is for the given label."""
    return for_label(votes, labels) >= least


def majority(votes: Votes, least: float = MAJORITY) -> Ints:
    """Return the class with at least the share ``least`` of all votes, (n,) places; -1 where there is none."""
    share = votes.counts / votes.total[:, None]
    likeliest = share.argmax(axis=1)
    return np.where(share.max(axis=1) >= least, likeliest, -1).astype(np.int64)


def entropy(votes: Votes) -> Floats:
    """Return each image's disagreement, (n,) in 0..1: relative entropy of its votes; other answers are one class."""
    share = np.column_stack([votes.counts, votes.others.sum(axis=1)]) / votes.total[:, None]
    logs = np.log(share, out=np.zeros_like(share), where=share > 0)
    spread: Floats = -(share * logs).sum(axis=1) / np.log(share.shape[1])
    return spread


def agreement(votes: Votes, labels: npt.ArrayLike) -> pd.DataFrame:
    """Return the support of the given labels by the votes, by class.

    Returns:
        One row per class and one for all (class "all"): class, images, most_frequent (share of images with the label
        as their single most frequent answer), majority (share that has it for the label, of the images with a strict
        majority for any class), with_majority (how many those are), wrong (share, see ``is_wrong``), agreed (share,
        see ``is_agreed``), disagreement (mean of ``entropy``).

    """
    places = np.asarray(labels, np.int64)
    chosen = majority(votes)
    facts = pd.DataFrame(
        {
            "class": np.asarray(votes.classes, dtype=object)[places],
            "most_frequent": is_most_frequent(votes, places),
            "majority": np.where(chosen >= 0, (chosen == places).astype(np.float64), np.nan),
            "with_majority": chosen >= 0,
            "wrong": is_wrong(votes, places),
            "agreed": is_agreed(votes, places),
            "disagreement": entropy(votes),
        }
    )
    parts = [facts, facts.assign(**{"class": "all"})]
    return pd.concat([_summary(part) for part in parts], ignore_index=True)


def _summary(facts: pd.DataFrame) -> pd.DataFrame:
    grouped = facts.groupby("class", sort=True)
    table = grouped[["most_frequent", "majority", "wrong", "agreed", "disagreement"]].mean()
    table.insert(0, "images", grouped.size())
    table.insert(3, "with_majority", grouped["with_majority"].sum())
    return table.reset_index()
