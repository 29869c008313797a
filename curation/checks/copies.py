"""Checks of copies on one graph: exact and near duplicates, label conflicts, split leaks, shots of one session.

A group of copies is judged as a whole: with several labels it is a conflict, across splits a leak. Shots of one session
are not copies: different labels are expected, and different splits are only worth knowing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from curation.base.arrays import Flags, Floats, Ints
from curation.base.frames import records, rows_of
from curation.base.scored import Column, Kind, Scored, Value, narrow_scores, pieces
from curation.checks.base import CheckInputs, Found, as_json

_SAME_SIZE = 1.1
_SAME_BYTES = 1.25
"""Ratios of pixels and of bytes per pixel up to which two files are described as equal in size and compression; no
decision rests on them."""

_NO_FAULT = 0.49
"""Score of what is only worth knowing: flagged, but after everything that may be wrong."""

_BLOCK = 8192
"""Rows converted to dictionaries at a time."""


def exact_duplicate(inputs: CheckInputs) -> Found:
    """Images with exactly the same pixels as another image."""
    members = inputs.copies.members
    flags = (members["exact"] != "").to_numpy(dtype=bool)
    facts = _facts(members, "exact")

    def found(row: dict[str, Any]) -> dict[str, Any]:
        return {"kind": "exact", **facts[row["exact"]], "rank": row["rank"]}

    return _found(inputs, members[["exact", "rank"]], 1.0 - flags.astype(np.float64), flags, found, members["exact"])


def near_duplicate(inputs: CheckInputs) -> Found:
    """Images that show the same picture as another image, slightly altered; the evidence of all rows has the dHash."""
    graph = inputs.copies
    members = graph.members
    flags = (members["near"] != "").to_numpy(dtype=bool)
    facts = _facts(members, "near")
    partner, words = _partner_paths(graph.links, members), _words(graph.links, members)
    # the last one is for members without a link, whose place is -1
    probabilities = np.append(graph.links["probability"].to_numpy(dtype=np.float64), 0.0)
    place = rows_of(members["content"], graph.links.index)
    other = _partner_paths(graph.sessions, members)
    session = rows_of(members["content"], graph.sessions.index)

    def found(row: dict[str, Any]) -> dict[str, Any]:
        link, dhash = row["link"], f"{row['dhash'] & 0xFFFFFFFFFFFFFFFF:016x}"
        if not row["near"]:
            return {"dhash": dhash, "same_session": other[row["shot"]]}
        return {
            "kind": "near",
            "dhash": dhash,
            "of": partner[link],
            "probability": round(float(probabilities[link]), 4),
            "transform": words[link],
            **{key: value for key, value in facts[row["near"]].items() if key != "of"},
            "rank": row["rank"],
        }

    scores = 1.0 - np.where(flags, probabilities[place], 0.0)
    result = _found(
        inputs,
        members[["near", "dhash", "rank"]].assign(link=place, shot=session),
        scores,
        flags,
        found,
        members["near"],
        ~flags & (session >= 0),
    )
    kinds: dict[str, Kind] = {"dhash": "hex"}
    hashes = {"dhash": Column("hex", inputs.measurements["dhash"].to_numpy(dtype=np.int64))}
    return replace(result, scored=replace(result.scored, pieces=(pieces(kinds, dhash=Value("dhash")),), fields=hashes))


def _partner_paths(links: pd.DataFrame, members: pd.DataFrame) -> npt.NDArray[np.object_]:
    """Return for each link the first image of its partner's content."""
    return members["path"].iloc[rows_of(links["partner"], members["content"])].to_numpy(dtype=object)


def _words(links: pd.DataFrame, members: pd.DataFrame) -> list[str]:
    """Return for each link what was done to the partner's picture and its file, by the first images of both."""
    own, partner = rows_of(links.index, members["content"]), rows_of(links["partner"], members["content"])
    area, density = (members[name].to_numpy(dtype=np.float64) for name in ("area", "density"))
    ratios = zip(links["transform"], area[own] / area[partner], density[own] / density[partner], strict=True)
    return [", ".join([words, *_file_words(larger, denser)]) for words, larger, denser in ratios]


def _file_words(larger: float, denser: float) -> list[str]:
    """Return what was done to the partner's file, judged by the ratios of pixels and of bytes per pixel."""
    if not 1 / _SAME_SIZE < larger < _SAME_SIZE:
        return ["enlarged" if larger > 1 else "reduced in size"]
    if not 1 / _SAME_BYTES < denser < _SAME_BYTES:
        return ["less compressed" if denser > 1 else "more compressed"]
    return []


def same_session(inputs: CheckInputs) -> Found:
    """Images that are not copies but shots of one session: same person and scene, another expression or moment."""
    graph = inputs.copies
    members = graph.members
    flags = (members["session"] != "").to_numpy(dtype=bool)
    place = rows_of(members["content"], graph.sessions.index)
    partner = _partner_paths(graph.sessions, members)
    words = graph.sessions["transform"].tolist()
    facts = _facts(members, "session")

    def found(row: dict[str, Any]) -> dict[str, Any]:
        link, about = row["link"], facts[row["session"]]
        return {
            "kind": "session",
            "of": partner[link],
            "transform": words[link],
            "shots": about["copies"],
            "labels": about["labels"],
            "splits": about["splits"],
        }

    scores = np.where(flags, _NO_FAULT, 1.0)
    return _found(inputs, members[["session"]].assign(link=place), scores, flags, found, members["session"])


def label_conflict(inputs: CheckInputs) -> Found:
    """Copies of one picture under different labels."""
    return _disagreement(inputs, "label")


def split_leak(inputs: CheckInputs) -> Found:
    """Copies of one picture in different splits."""
    return _disagreement(inputs, "split")


def _disagreement(inputs: CheckInputs, column: str) -> Found:
    """Flag the members of groups with several values in ``column``; kind states whether exact copies differ."""
    members = inputs.copies.members
    by_group, by_exact = _several(members, "group", column), _several(members, "exact", column)
    facts = _facts(members[by_group], "group")

    def found(row: dict[str, Any]) -> dict[str, Any]:
        return {"kind": "exact" if row["exactly"] else "near", **facts[row["group"]], "rank": row["rank"]}

    links = inputs.copies.links
    likely = np.append(links["probability"].to_numpy(dtype=np.float64), 0.0)  # the last one is for members without one
    probability = likely[rows_of(members["content"], links.index)]
    scores = np.where(by_exact, 0.0, np.where(by_group, 1.0 - probability, 1.0))
    groups = members["group"].where(by_group, "")
    return _found(inputs, members[["group", "rank"]].assign(exactly=by_exact), scores, by_group, found, groups)


def _several(members: pd.DataFrame, key: str, column: str) -> Flags:
    """Return (N,) whether the member's ``key`` group has several values of ``column``; missing labels do not count."""
    found = (members[key] != "").to_numpy(dtype=np.bool_, copy=True)
    mine = members.loc[found, [key, column]]
    values = mine[column].where(mine[column] != "") if column == "label" else mine[column]
    found[found] = values.groupby(mine[key]).transform("nunique") > 1
    return found


def _facts(members: pd.DataFrame, key: str) -> dict[str, dict[str, Any]]:
    """Return group -> number of copies, their labels and splits, and the best copy."""
    mine = members.loc[members[key] != "", [key, "rank", "label", "split", "path"]].sort_values("rank")
    found: dict[str, dict[str, Any]] = {}
    for name, label, split, path in zip(
        *(mine[column].tolist() for column in (key, "label", "split", "path")), strict=True
    ):
        about = found.setdefault(name, {"copies": 0, "labels": set(), "splits": set(), "of": path})
        about["copies"] += 1
        about["labels"].add(label)
        about["splits"].add(split)
    return {
        name: {**about, "labels": sorted(about["labels"] - {""}), "splits": sorted(about["splits"])}
        for name, about in found.items()
    }


def _found(
    inputs: CheckInputs,
    told: pd.DataFrame,
    scores: Floats,
    flags: Flags,
    said: Callable[[dict[str, Any]], dict[str, Any]],
    groups: pd.Series,
    kept: Flags | None = None,
) -> Found:
    """Return what was found among the members, the readable images; ``said`` makes evidence of a row of ``told``."""

    def evidence(at: Ints) -> list[str]:
        starts = range(0, len(at), _BLOCK)
        return [as_json(**said(row)) for start in starts for row in records(told.iloc[at[start : start + _BLOCK]])]

    names = pd.Categorical(groups.where(groups != ""))
    found = Found(Scored(narrow_scores(scores), groups=names), flags, evidence, kept)
    return found.spread(np.flatnonzero(inputs.readable), len(inputs.images))
