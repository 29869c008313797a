"""Checks of copies on one graph: exact and near duplicates, label conflicts, split leaks, shots of one session.

A group of copies is judged as a whole: with several labels it is a conflict, across splits a leak. Shots of one session
are not copies: different labels are expected, and different splits are only worth knowing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from curation.base.arrays import Flags
from curation.base.frames import places, records
from curation.checks.base import CheckInputs, as_json, rows
from curation.checks.graph import CopyGraph

_SAME_SIZE = 1.1
_SAME_BYTES = 1.25
"""Ratios of pixels and of bytes per pixel up to which two files are described as equal in size and compression; no
decision rests on them."""

_NO_FAULT = 0.49
"""Score of what is only worth knowing: flagged, but after everything that may be wrong."""

_BLOCK = 8192
"""Rows converted to dictionaries at a time."""


def exact_duplicate(inputs: CheckInputs) -> pd.DataFrame:
    """Images with exactly the same pixels as another image."""
    members = inputs.copies.members
    flags = (members["exact"] != "").to_numpy(dtype=bool)
    facts = _facts(members, "exact")
    evidence = _evidence(members, flags, lambda row: {"kind": "exact", **facts[row["exact"]], "rank": row["rank"]})
    return rows(
        "exact_duplicate",
        members["path"],
        1.0 - flags.astype(np.float64),
        flags,
        evidence,
        members["exact"].tolist(),
    )


def near_duplicate(inputs: CheckInputs) -> pd.DataFrame:
    """Images that show the same picture as another image, slightly altered; the evidence of all rows has the dHash."""
    graph = inputs.copies
    members = graph.members
    flags = (members["near"] != "").to_numpy(dtype=bool)
    facts = _facts(members, "near")
    first = members.drop_duplicates("content").set_index("content")
    path_of = first["path"].to_numpy()
    partner, words = places(first.index, graph.links["partner"]), _words(graph.links, first)
    # the last one is for members without a link, whose place is -1
    probabilities = np.append(graph.links["probability"].to_numpy(dtype=np.float64), 0.0)
    place = places(graph.links.index, members["content"])

    def found(row: dict[str, Any]) -> dict[str, Any]:
        link = row["link"]
        return {
            "kind": "near",
            "dhash": row["dhash"],
            "of": path_of[partner[link]],
            "probability": round(float(probabilities[link]), 4),
            "transform": words[link],
            **{key: value for key, value in facts[row["near"]].items() if key != "of"},
            "rank": row["rank"],
        }

    plain = _without_copy(graph, first)
    evidence = _evidence(members.assign(link=place), flags, found, plain)
    scores = np.round(1.0 - np.where(flags, probabilities[place], 0.0), 6)
    return rows("near_duplicate", members["path"], scores, flags, evidence, members["near"].tolist())


def _words(links: pd.DataFrame, first: pd.DataFrame) -> list[str]:
    """Return for each link what was done to the partner's picture and its file; ``first`` has one row per content."""
    own, partner = places(first.index, links.index), places(first.index, links["partner"])
    area, density = (first[name].to_numpy(dtype=np.float64) for name in ("area", "density"))
    ratios = zip(links["transform"], area[own] / area[partner], density[own] / density[partner], strict=True)
    return [", ".join([words, *_file_words(larger, denser)]) for words, larger, denser in ratios]


def _file_words(larger: float, denser: float) -> list[str]:
    """Return what was done to the partner's file, judged by the ratios of pixels and of bytes per pixel."""
    if not 1 / _SAME_SIZE < larger < _SAME_SIZE:
        return ["enlarged" if larger > 1 else "reduced in size"]
    if not 1 / _SAME_BYTES < denser < _SAME_BYTES:
        return ["less compressed" if denser > 1 else "more compressed"]
    return []


def _without_copy(graph: CopyGraph, first: pd.DataFrame) -> list[str]:
    """Return each member's evidence if it has no copy: its dHash, and another shot of its session if known."""
    other = first["path"].to_numpy()[places(first.index, graph.sessions["partner"])]
    place = places(graph.sessions.index, graph.members["content"])
    return [
        as_json(dhash=dhash, same_session=other[session]) if session >= 0 else f'{{"dhash": "{dhash}"}}'
        for session, dhash in zip(place.tolist(), graph.members["dhash"], strict=True)
    ]


def same_session(inputs: CheckInputs) -> pd.DataFrame:
    """Images that are not copies but shots of one session: same person and scene, another expression or moment."""
    graph = inputs.copies
    members = graph.members
    flags = (members["session"] != "").to_numpy(dtype=bool)
    first = members.drop_duplicates("content").set_index("content")
    place = places(graph.sessions.index, members["content"])
    partner = first["path"].to_numpy()[places(first.index, graph.sessions["partner"])]
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

    evidence = _evidence(members.assign(link=place), flags, found)
    scores = np.where(flags, _NO_FAULT, 1.0)
    return rows("same_session", members["path"], scores, flags, evidence, members["session"].tolist())


def label_conflict(inputs: CheckInputs) -> pd.DataFrame:
    """Copies of one picture under different labels."""
    return _disagreement(inputs, "label_conflict", "label")


def split_leak(inputs: CheckInputs) -> pd.DataFrame:
    """Copies of one picture in different splits."""
    return _disagreement(inputs, "split_leak", "split")


def _disagreement(inputs: CheckInputs, check: str, column: str) -> pd.DataFrame:
    """Flag the members of groups with several values in ``column``; kind states whether exact copies differ."""
    members = inputs.copies.members
    by_group, by_exact = _several(members, "group", column), _several(members, "exact", column)
    facts = _facts(members, "group")
    evidence = _evidence(
        members.assign(exactly=by_exact),
        by_group,
        lambda row: {
            "kind": "exact" if row["exactly"] else "near",
            **facts[row["group"]],
            "rank": row["rank"],
        },
    )
    probability = inputs.copies.links["probability"].reindex(members["content"]).fillna(0.0).to_numpy(dtype=np.float64)
    scores = np.where(by_exact, 0.0, np.where(by_group, 1.0 - probability, 1.0))
    groups = members["group"].where(by_group, "").tolist()
    return rows(check, members["path"], scores.round(6), by_group, evidence, groups)


def _several(members: pd.DataFrame, key: str, column: str) -> Flags:
    """Return (N,) whether the member's ``key`` group has several values of ``column``; missing labels do not count."""
    values = members[column].where(members[column] != "") if column == "label" else members[column]
    differing = values.groupby(members[key]).transform("nunique") > 1
    return np.asarray(differing & (members[key] != ""), dtype=np.bool_)


def _facts(members: pd.DataFrame, key: str) -> dict[str, dict[str, Any]]:
    """Return group -> number of copies, their labels and splits, and the best copy."""
    grouped = members[members[key] != ""].sort_values("rank").groupby(key)
    return {
        str(name): {
            "copies": len(group),
            "labels": sorted(set(group["label"]) - {""}),
            "splits": sorted(set(group["split"])),
            "of": group["path"].iloc[0],
        }
        for name, group in grouped
    }


def _evidence(
    members: pd.DataFrame,
    flags: Flags,
    found: Callable[[dict[str, Any]], dict[str, Any]],
    otherwise: Sequence[str] = (),
) -> list[str]:
    """Return one JSON object per member: ``found`` for flagged rows, the text in ``otherwise`` for others."""
    chosen = members[flags]
    starts = range(0, len(chosen), _BLOCK)
    flagged_rows = (row for start in starts for row in records(chosen.iloc[start : start + _BLOCK]))
    plain = otherwise or ["{}"] * len(members)
    return [
        as_json(**found(next(flagged_rows))) if flagged else text for flagged, text in zip(flags, plain, strict=True)
    ]
