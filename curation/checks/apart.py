"""Pairs of which a person said that they are not copies: the graph of copies is built without them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from curation.checks.duplicates.find import NEAR_DUPLICATE


def without_separated(
    pairs: pd.DataFrame, measurements: pd.DataFrame, separated: Iterable[Sequence[str]]
) -> pd.DataFrame:
    """Return the pairs that do not join two separated images in one group, directly or through others.

    The likeliest pairs join first; a pair that would join two separated contents is left out.

    Args:
        pairs: pixel_sha256_a, pixel_sha256_b, probability, relation and more.
        measurements: of the images, with the hash of the pixels (pixel_sha256) of each file (sha256).
        separated: sets of files' SHA-256, of which no two are copies of each other; unknown files are ignored.

    """
    separated = list(separated)
    if not separated:
        return pairs
    from scipy.cluster.hierarchy import DisjointSet

    pixels = dict(zip(measurements["sha256"], measurements["pixel_sha256"], strict=True))
    others: dict[str, set[str]] = {}
    for contents in separated:
        there = {pixels[content] for content in contents if pixels.get(content)}
        for content in there:
            others.setdefault(content, set()).update(there - {content})
    if not any(others.values()):
        return pairs
    a, b = (pairs[name].astype("str").to_numpy(dtype=object) for name in ("pixel_sha256_a", "pixel_sha256_b"))
    order = np.argsort(-pairs["probability"].to_numpy(dtype=np.float64), kind="stable")
    joins = pairs["relation"].to_numpy() == NEAR_DUPLICATE
    kept = np.ones(len(pairs), dtype=np.bool_)
    groups = DisjointSet(pd.unique(np.concatenate([a, b])))
    members = {content: {content} for content in others}  # root of a group -> its separated contents

    def joined(first: str, second: str) -> bool:
        """Join the groups of two contents unless that unites separated ones; return whether they are in one group."""
        mine, theirs = (members.get(groups[content], set()) for content in (first, second))
        if groups.connected(first, second):
            return True
        if any(others[content] & theirs for content in mine):
            return False
        groups.merge(first, second)
        members[groups[first]] = mine | theirs
        return True

    for place in order:
        kept[place] = joined(a[place], b[place]) if joins[place] else b[place] not in others.get(a[place], ())
    return pairs[kept].reset_index(drop=True)
