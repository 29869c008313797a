"""The graph of copies: which images are the same picture, exactly or nearly, and which copy is the best.

Images are joined if their pixels are equal (exact) or if registration proved them to be the same picture as the best
copy of their group (near). All checks of copies read this graph, so that copies, labels and splits are judged together.
Shots of one session are not copies; they have their own groups.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from curation.base.arrays import Flags, Floats, Ints
from curation.base.frames import rows_of
from curation.checks.duplicates.groups import components, star_groups
from curation.checks.duplicates.transform import inverted

_GROUP_DIGITS = 12
"""Hexadecimal digits of a content hash in a group's name: 48 bits, no clash expected below ten million groups."""


@dataclass(frozen=True)
class CopyGraph:
    """Readable images and their groups.

    members: one row per readable image: path, split, label, content, exact ("" or group), near ("" or group),
    group (near, else exact), rank (1 = best copy of its group, or in none), session ("" or group), dhash (int64), area
    (px), density (bytes per px), composed (whether it is two pictures in one).
    links: one row per content with a near copy: its likeliest partner's content (of its own group, if there is one
    there), probability, transform (words for what was done to the partner's picture).
    sessions: the same for contents with another shot of the same session, which is not a copy; probability is how well
    the shots agree.
    """

    members: pd.DataFrame
    links: pd.DataFrame
    sessions: pd.DataFrame


def build(
    images: pd.DataFrame,
    measurements: pd.DataFrame,
    pairs: pd.DataFrame,
    min_probability: float,
    marked: Flags | None = None,
) -> CopyGraph:
    """Return the graph of all copies among the readable images.

    images and measurements have one row per image, in the same order; pairs joins distinct contents (columns
    pixel_sha256_a, pixel_sha256_b, probability, transform, relation). Only near duplicates with at least
    ``min_probability`` count. marked are the images with a watermark: a copy without one is better.
    """
    members = _members(images, measurements)
    members["marked"] = False if marked is None else marked[(measurements["error"] == "").to_numpy(dtype=bool)]
    contents = pd.Index(members["content"].unique()).sort_values()
    place = rows_of(members["content"], contents)
    copied = np.bincount(place, minlength=1)[place] > 1
    members["exact"] = ""
    members.loc[copied, "exact"] = "exact-" + members.loc[copied, "content"].str[:_GROUP_DIGITS]
    links = _links(contents, pairs)
    near = links.only(links.near & (links.probability >= min_probability))
    composed = np.zeros(len(contents), dtype=np.bool_)
    composed[near.a[near.half_a]] = composed[near.b[near.half_b]] = True
    members["composed"] = composed[place]
    group = _near_groups(contents, near, members, place, composed)
    members["near"] = group[place]
    members["group"] = members["near"].where(members["near"] != "", members["exact"])
    members["rank"] = _ranks(members)
    session = links.only(~links.near & ((group[links.a] != group[links.b]) | (group[links.a] == "")))
    members["session"] = _named(contents, components(len(contents), session.pairs), "session")[place]
    together = (group[near.a] == group[near.b]).astype(np.float64)
    return CopyGraph(
        members,
        _likeliest_partners(contents, near, together),
        _likeliest_partners(contents, replace(session, probability=session.score)),
    )


@dataclass(frozen=True)
class _Links:
    """Pairs as numbers, because there are many: places of two contents, probability, words (what makes b of a).

    ``words`` are places in ``texts``. near: whether it is a pair of copies, else of shots; score: how well they agree;
    half_a, half_b: whether only half of that picture is meant.
    """

    a: Ints
    b: Ints
    probability: Floats
    words: Ints
    near: Flags
    score: Floats
    half_a: Flags
    half_b: Flags
    texts: npt.NDArray[np.object_]

    @property
    def pairs(self) -> Ints:
        return np.stack([self.a, self.b], axis=1)

    def only(self, chosen: Flags) -> _Links:
        names = [field.name for field in fields(self) if field.name != "texts"]
        return replace(self, **{name: getattr(self, name)[chosen] for name in names})


def _links(contents: pd.Index, pairs: pd.DataFrame) -> _Links:
    """Return pairs; their text columns may be categorical or plain."""
    a, b = (pairs[column].astype("category").cat for column in ("pixel_sha256_a", "pixel_sha256_b"))
    first, second = (rows_of(side.categories, contents)[side.codes] for side in (a, b))
    words = pairs["transform"].astype("category").cat
    codes, texts = np.asarray(words.codes, dtype=np.int64), words.categories.to_numpy(dtype=object)
    probability = pairs["probability"].to_numpy(dtype=np.float64)
    score = pairs["score"].to_numpy(dtype=np.float64) if "score" in pairs else probability
    half_a, half_b = (
        pairs[name].to_numpy(dtype=np.bool_) if name in pairs else np.zeros(len(pairs), dtype=np.bool_)
        for name in ("half_a", "half_b")
    )
    near = (pairs["relation"] == "near_duplicate").to_numpy(dtype=np.bool_)
    return _Links(first, second, probability, codes, near, score, half_a, half_b, texts)


def _members(images: pd.DataFrame, measurements: pd.DataFrame) -> pd.DataFrame:
    readable = (measurements["error"] == "").to_numpy(dtype=bool)
    measured = measurements[["pixel_sha256", "dhash", "width", "height", "bytes", "sharpness"]]
    members = images[["path", "split", "label"]]
    if not readable.all():
        measured, members = measured[readable], members[readable]
    members = members.reset_index(drop=True)
    members["content"] = measured["pixel_sha256"].array
    members["dhash"] = measured["dhash"].to_numpy(dtype=np.int64)
    members["area"] = (measured["width"] * measured["height"]).to_numpy(dtype=np.float64)
    members["density"] = measured["bytes"].to_numpy(dtype=np.float64) / np.maximum(members["area"], 1.0)
    members["sharpness"] = measured["sharpness"].to_numpy(dtype=np.float64)
    return members


_BEST_FIRST = {"composed": True, "marked": True, "area": False, "density": False, "sharpness": False, "path": True}
"""Columns by which copies are ranked, and whether ascending: two pictures in one are never the better copy, nor is one
with a watermark; then the largest, the least compressed, the sharpest is best."""


def _near_groups(
    contents: pd.Index, near: _Links, members: pd.DataFrame, place: Ints, composed: Flags
) -> npt.NDArray[np.object_]:
    """Return each content's near-duplicate group, "" if it has no near copy."""
    paired = np.zeros(len(contents), dtype=np.bool_)
    paired[near.pairs] = True
    mine = members.loc[paired[place], list(_BEST_FIRST)]
    ordered = pd.unique(place[mine.sort_values(list(_BEST_FIRST), ascending=list(_BEST_FIRST.values())).index])
    rank = np.full(len(contents), len(contents), dtype=np.int64)
    rank[ordered] = np.arange(len(ordered))
    return _named(contents, star_groups(len(contents), near.pairs, near.probability, rank, composed), "near")


def _named(contents: pd.Index, number: Ints, kind: str) -> npt.NDArray[np.object_]:
    """Return the names (N,) of numbered groups, "" for groups of one."""
    _, first, sizes = np.unique(number, return_index=True, return_counts=True)
    # contents are sorted, so a group is named after its smallest hash, independently of file names
    names = np.full(len(first), "", dtype=object)
    for group in np.flatnonzero(sizes > 1).tolist():
        names[group] = f"{kind}-{contents[first[group]][:_GROUP_DIGITS]}"
    found: npt.NDArray[np.object_] = names[number]
    return found


def _ranks(members: pd.DataFrame) -> Ints:
    """Return each member's rank in its group, by ``_BEST_FIRST``."""
    columns = ["group", *_BEST_FIRST]
    mine = members.loc[members["group"] != "", columns].sort_values(columns, ascending=[True, *_BEST_FIRST.values()])
    ranks = np.ones(len(members), dtype=np.int64)
    ranks[mine.index] = mine.groupby("group").cumcount() + 1
    return ranks


def _likeliest_partners(contents: pd.Index, links: _Links, preferred: Floats | None = None) -> pd.DataFrame:
    """Return each content's likeliest partner, among the most ``preferred`` (M,) if given."""
    own, partner = np.concatenate([links.a, links.b]), np.concatenate([links.b, links.a])
    probability = np.concatenate([links.probability, links.probability])
    first = np.zeros(len(links.a)) if preferred is None else -preferred
    order = np.lexsort((partner, -probability, np.concatenate([first, first]), own))
    best = order[np.diff(own[order], prepend=-1) != 0]
    # the words describe how a becomes b; those of a content describe how its partner becomes it
    seen_from = np.array([[inverted(words) for words in links.texts], links.texts], dtype=object)
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
