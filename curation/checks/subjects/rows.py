"""Checks of people: one person in several splits, and a person with images of one class only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from curation.base.arrays import Flags, Floats, Ints
from curation.base.frames import records, rows_of
from curation.base.scored import Scored, narrow_scores
from curation.checks.base import ISSUE_SCORE, CheckInputs, Found, as_json, nothing

_LEAST_PICTURES = 3
"""Pictures of a person, copies counted once, from which one class may not be an accident."""

_CHANCE = 0.05
"""Persons expected to be flagged in a data set in which nobody prefers a class."""

_LISTED = 4
"""Classes named in the evidence."""


def subject_leak(inputs: CheckInputs) -> Found:
    """One person in several splits; every image of a known person has a row, ``group`` is the person.

    People named by the source are certain; for found ones the score is 1 - the expected share of correct pairs. Images
    that may be of a person in another split are not flagged: their evidence names the person, and their score is
    between 0.5 and 1.
    """
    if inputs.subjects is None:
        return nothing(inputs)
    found = _with_images(inputs)
    flags = _several_splits(found, "person")
    doubt = ~flags & (found["perhaps"] != "").to_numpy() & _several_splits(found, "perhaps")
    surely = np.where(found["given"], 1.0, found["sure"])
    scores = np.where(flags, np.minimum(1 - surely, 0.49), np.where(doubt, 1 - found["unsure"] / 2, 1.0)).astype("f8")
    facts = _facts(found, "person", flags) | _facts(found, "perhaps", doubt)
    # possible images of the same person are to be shown beside these
    found["beside"] = found["perhaps"].where(found["perhaps"].isin(set(found.loc[doubt, "perhaps"])), "")

    def evidence(at: Ints) -> list[str]:
        asked = zip(records(found.iloc[at]), flags[at].tolist(), strict=True)
        return [as_json(**_leak(row, facts, sure=flag)) for row, flag in asked]

    return _of_people(inputs, found, scores, flags, evidence, np.asarray(doubt, dtype=np.bool_))


def _of_people(
    inputs: CheckInputs,
    found: pd.DataFrame,
    scores: Floats,
    flags: Flags,
    evidence: Callable[[Ints], list[str]],
    kept: Flags | None = None,
) -> Found:
    """Return what was found on the images of known people, of which ``found`` has a row each."""
    named = found["person"].astype("category")
    result = Found(Scored(narrow_scores(scores), groups=named.array), flags, evidence, kept)
    return result.spread(rows_of(found["path"], inputs.images["path"]), len(inputs.images))


def _leak(row: dict[str, Any], facts: dict[str, dict[str, Any]], *, sure: bool) -> dict[str, Any]:
    if sure:
        said = {"person": "given"} if row["given"] else {"person": "found", "probability": round(row["sure"], 4)}
        beside = {"perhaps": row["beside"]} if row["beside"] else {}
        return {**said, **facts[row["person"]], "of": row["nearest"], **beside}
    told = {"person": "perhaps", "probability": round(row["unsure"], 4), **facts[row["perhaps"]]}
    return {**told, "of": row["nearest"], "perhaps": row["perhaps"]}


def subject_shift(inputs: CheckInputs) -> Found:
    """People with images of one class only, where chance would have given them others.

    By the classes' shares of all pictures, all n pictures of a person are of class c with probability share(c)^n
    (copies counted once). Flagged if fewer than 0.05 such people are expected among all: a model may then learn the
    person instead of the class.
    """
    if inputs.subjects is None:
        return nothing(inputs)
    found = _with_images(inputs)
    found = found[found["label"] != ""]
    pictures = found.drop_duplicates(["person", "picture"])
    shares = pictures["label"].value_counts(normalize=True)
    if len(shares) < 2:
        return nothing(inputs)
    people = pictures.groupby("person")["label"].agg(["size", "nunique", "first"])
    several = people["size"] >= _LEAST_PICTURES
    chance = people["first"].map(shares).astype("float64") ** people["size"] * max(int(several.sum()), 1)
    expected = chance.where(several & (people["nunique"] == 1), np.inf)
    scores = np.asarray(found["person"].map(1 / (1 + _CHANCE / expected)), dtype=np.float64)
    flags = scores < ISSUE_SCORE

    def evidence(at: Ints) -> list[str]:
        mine = found.iloc[at]
        kinds = np.where(mine["given"], "given", "found")
        chances, sizes = mine["person"].map(expected), mine["person"].map(people["size"])
        return [
            as_json(person=kind, images=int(size), labels=[label], expected=float(f"{chance:.2g}"))
            for kind, size, label, chance in zip(kinds, sizes, mine["label"], chances, strict=True)
        ]

    return _of_people(inputs, found, scores, flags, evidence)


def _with_images(inputs: CheckInputs) -> pd.DataFrame:
    """Return person, split, label and picture (equal for copies) of each image whose person is known."""
    assert inputs.subjects is not None  # noqa: S101 -- checked by the callers
    members = inputs.copies.members
    picture = members["group"].where(members["group"] != "", members["content"])
    known = inputs.subjects.merge(inputs.images[["path", "split", "label"]], on="path")
    return known.assign(picture=known["path"].map(pd.Series(picture.to_numpy(), index=members["path"])).fillna(""))


def _several_splits(found: pd.DataFrame, column: str) -> Flags:
    return np.asarray(found.groupby(column)["split"].transform("nunique") > 1, dtype=np.bool_)


def _facts(found: pd.DataFrame, column: str, flags: Flags) -> dict[str, dict[str, Any]]:
    """Return group -> number of its images, their splits and labels."""
    told = found[found[column].isin(found.loc[flags, column])].groupby(column)
    return {
        str(name): {
            "images": len(group),
            "splits": sorted(set(group["split"])),
            "labels": group["label"].value_counts().index[:_LISTED].tolist(),
        }
        for name, group in told
    }
