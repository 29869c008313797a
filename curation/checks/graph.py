"""The graph of copies: which images are the same picture, exactly or nearly, and which copy is the best.

Images are joined where their pixels are equal (exact) or where registration proved them to be the same picture
(near). Every check of copies reads this one graph, so that copies, labels and splits are judged together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from curation.duplicates.groups import connected_groups
from curation.duplicates.transform import inverted

_GROUP_DIGITS = 12
"""Hexadecimal digits of a content hash in a group's name: 48 bits, no clash expected below ten million groups."""


@dataclass(frozen=True)
class CopyGraph:
    """Readable images and their groups.

    members: one row a readable image: path, split, label, content, exact ("" or group), near ("" or group),
    group (near, else exact), rank (1 = best copy of its group), dhash, area (px), density (bytes a px).
    links: one row a content with a near copy: its likeliest partner's content, probability, transform (words for what
    was done to the partner's picture).
    sessions: the same for contents with another shot of the same session, which is no copy.
    """

    members: pd.DataFrame
    links: pd.DataFrame
    sessions: pd.DataFrame


def build(images: pd.DataFrame, measurements: pd.DataFrame, pairs: pd.DataFrame, min_probability: float) -> CopyGraph:
    """Return the graph of all copies among the readable images.

    images and measurements have one row an image, in the same order; pairs joins distinct contents (columns
    pixel_sha256_a, pixel_sha256_b, probability, transform, relation). Of the pairs only near duplicates at least
    ``min_probability`` likely count.
    """
    members = _members(images, measurements)
    sessions = _likeliest_partners(pairs[pairs["relation"] == "same_session"])
    pairs = pairs[(pairs["relation"] == "near_duplicate") & (pairs["probability"] >= min_probability)]
    members["near"] = _near_groups(members["content"], pairs)
    members["group"] = members["near"].where(members["near"] != "", members["exact"])
    members["rank"] = _ranks(members)
    return CopyGraph(members, _likeliest_partners(pairs), sessions)


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


def _near_groups(contents: pd.Series, pairs: pd.DataFrame) -> npt.NDArray[np.object_]:
    """Return each member's near-duplicate group, "" for those without a near copy."""
    linked = pd.Index(np.unique(pairs[["pixel_sha256_a", "pixel_sha256_b"]].to_numpy(dtype=object)))
    a, b = linked.get_indexer(pairs["pixel_sha256_a"]), linked.get_indexer(pairs["pixel_sha256_b"])
    number = connected_groups(len(linked), np.stack([a, b], axis=1), pairs["probability"].to_numpy())
    # contents are sorted, so the first of a group is its smallest: a name that does not depend on file names
    first = pd.Series(linked, index=number, dtype=object).groupby(level=0).first()
    sizes = pd.Series(number).value_counts()
    name = {n: f"near-{first[n][:_GROUP_DIGITS]}" if sizes[n] > 1 else "" for n in first.index}
    by_content = dict(zip(linked, map(name.__getitem__, number), strict=True))
    return np.array([by_content.get(content, "") for content in contents], dtype=object)


def _ranks(members: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Return each member's place in its group: largest first, then least compressed, then sharpest, then by path."""
    order = members.sort_values(
        ["group", "area", "density", "sharpness", "path"], ascending=[True, False, False, False, True]
    ).index
    ranks = members.loc[order].groupby("group").cumcount() + 1
    return np.asarray(ranks.reindex(members.index), dtype=np.int64)


def _likeliest_partners(pairs: pd.DataFrame) -> pd.DataFrame:
    columns = {"pixel_sha256_a": "content", "pixel_sha256_b": "partner"}
    # the words say what was done to a to get b; a content's own say what was done to its partner
    forward = pairs.rename(columns=columns).assign(transform=[inverted(words) for words in pairs["transform"]])
    backward = pairs.rename(columns={"pixel_sha256_b": "content", "pixel_sha256_a": "partner"})
    both = pd.concat([forward, backward], ignore_index=True)[["content", "partner", "probability", "transform"]]
    both = both.sort_values(["content", "probability", "partner"], ascending=[True, False, True])
    return both.drop_duplicates("content").set_index("content")
