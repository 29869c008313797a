"""The graph of copies: which images are the same picture, exactly or nearly, and which copy is the best.

Images are joined where their pixels are equal (exact) or where registration proved them to be the same picture
(near). Every check of copies reads this one graph, so that copies, labels and splits are judged together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from curation.checks.duplicates.groups import connected_groups
from curation.checks.duplicates.transform import inverted

Places = npt.NDArray[np.int64]

_GROUP_DIGITS = 12
"""Hexadecimal digits of a content hash in a group's name: 48 bits, no clash expected below ten million groups."""


@dataclass(frozen=True)
class CopyGraph:
    """Readable images and their groups.

    members: one row per readable image: path, split, label, content, exact ("" or group), near ("" or group),
    group (near, else exact), rank (1 = best copy of its group), dhash, area (px), density (bytes per px).
    links: one row per content with a near copy: its likeliest partner's content, probability, transform (words for what
    was done to the partner's picture).
    sessions: the same for contents with another shot of the same session, which is no copy.
    """

    members: pd.DataFrame
    links: pd.DataFrame
    sessions: pd.DataFrame


def build(images: pd.DataFrame, measurements: pd.DataFrame, pairs: pd.DataFrame, min_probability: float) -> CopyGraph:
    """Return the graph of all copies among the readable images.

    images and measurements have one row per image, in the same order; pairs joins distinct contents (columns
    pixel_sha256_a, pixel_sha256_b, probability, transform, relation). Of the pairs only near duplicates at least
    ``min_probability`` likely count.
    """
    members = _members(images, measurements)
    contents = pd.Index(np.unique(members["content"].to_numpy(dtype=object)))
    links = _links(contents, pairs)
    relation = pairs["relation"].to_numpy()
    near = links.only((relation == "near_duplicate") & (links.probability >= min_probability))
    members["near"] = _near_groups(contents, near)[contents.get_indexer(members["content"])]
    members["group"] = members["near"].where(members["near"] != "", members["exact"])
    members["rank"] = _ranks(members)
    sessions = _likeliest_partners(contents, links.only(relation == "same_session"))
    return CopyGraph(members, _likeliest_partners(contents, near), sessions)


class _Links(NamedTuple):
    """Pairs as numbers, for there are many: places of two contents, probability, words (what was done to a to get b).

    ``words`` are places in ``said``.
    """

    a: Places
    b: Places
    probability: npt.NDArray[np.float64]
    words: Places
    said: npt.NDArray[np.object_]

    def only(self, chosen: npt.NDArray[np.bool_]) -> _Links:
        return _Links(self.a[chosen], self.b[chosen], self.probability[chosen], self.words[chosen], self.said)


def _links(contents: pd.Index, pairs: pd.DataFrame) -> _Links:
    """Return pairs whose columns of texts may be categories or plain."""
    a, b = (pairs[column].astype("category").cat for column in ("pixel_sha256_a", "pixel_sha256_b"))
    first, second = (contents.get_indexer(side.categories)[side.codes] for side in (a, b))
    words = pairs["transform"].astype("category").cat
    said = words.categories.to_numpy(dtype=object)
    return _Links(
        first, second, pairs["probability"].to_numpy(dtype=np.float64), words.codes.to_numpy(dtype=np.int64), said
    )


def _members(images: pd.DataFrame, measurements: pd.DataFrame) -> pd.DataFrame:
    readable = (measurements["error"] == "").to_numpy(dtype=bool)
    measured = measurements[readable]
    members = images.loc[readable, ["path", "split", "label"]].reset_index(drop=True)
    members["content"] = measured["pixel_sha256"].to_numpy()
    members["dhash"] = [f"{value & 0xFFFFFFFFFFFFFFFF:016x}" for value in measured["dhash"].astype("int64")]
    members["area"] = (measured["width"] * measured["height"]).to_numpy(dtype=np.float64)
    members["density"] = measured["bytes"].to_numpy(dtype=np.float64) / np.maximum(members["area"], 1.0)
    members["sharpness"] = measured["sharpness"].to_numpy(dtype=np.float64)
    copied = members["content"].duplicated(keep=False)
    members["exact"] = np.where(copied, "exact-" + members["content"].str[:_GROUP_DIGITS], "")
    return members


def _near_groups(contents: pd.Index, near: _Links) -> npt.NDArray[np.object_]:
    """Return each content's near-duplicate group, "" for those without a near copy."""
    number = connected_groups(len(contents), np.stack([near.a, near.b], axis=1), near.probability)
    _, first, sizes = np.unique(number, return_index=True, return_counts=True)
    # contents are sorted, so the first of a group is its smallest: a name that does not depend on file names
    names = np.full(len(first), "", dtype=object)
    for group in np.flatnonzero(sizes > 1).tolist():
        names[group] = f"near-{contents[first[group]][:_GROUP_DIGITS]}"
    found: npt.NDArray[np.object_] = names[number]
    return found


def _ranks(members: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Return each member's place in its group: largest first, then least compressed, then sharpest, then by path."""
    order = members.sort_values(
        ["group", "area", "density", "sharpness", "path"], ascending=[True, False, False, False, True]
    ).index
    ranks = members.loc[order].groupby("group").cumcount() + 1
    return np.asarray(ranks.reindex(members.index), dtype=np.int64)


def _likeliest_partners(contents: pd.Index, links: _Links) -> pd.DataFrame:
    own, partner = np.concatenate([links.a, links.b]), np.concatenate([links.b, links.a])
    probability = np.concatenate([links.probability, links.probability])
    order = np.lexsort((partner, -probability, own))
    best = order[np.diff(own[order], prepend=-1) != 0]
    # the words say what was done to a to get b; a content's own say what was done to its partner
    seen_from = np.array([[inverted(words) for words in links.said], links.said], dtype=object)
    words = seen_from[(best >= len(links.a)).astype(np.int64), np.concatenate([links.words, links.words])[best]]
    frame = pd.DataFrame(
        {
            "content": contents.take(own[best]),
            "partner": contents.take(partner[best]),
            "probability": probability[best],
            "transform": words,
        }
    )
    return frame.astype({"content": "str", "partner": "str", "transform": "str"}).set_index("content")
