"""Pairs of which a person said that they are not copies: the graph of copies is built without them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from curation.checks.duplicates.find import NEAR_DUPLICATE


def kept_apart(pairs: pd.DataFrame, measurements: pd.DataFrame, parted: Iterable[Sequence[str]]) -> pd.DataFrame:
    """Return the pairs that do not join two separated images in one group, directly or through others.

    The likeliest pairs join first; a pair that would join two separated contents is left out.

    Args:
        pairs: pixel_sha256_a, pixel_sha256_b, probability, relation and more.
        measurements: of the images, with the hash of the pixels (pixel_sha256) of each file (sha256).
        parted: sets of files' SHA-256, of which no two are copies of each other; unknown files are ignored.

    """
    pixels = dict(zip(measurements["sha256"], measurements["pixel_sha256"], strict=True))
    foes: dict[str, set[str]] = {}
    for contents in parted:
        there = {pixels[content] for content in contents if pixels.get(content)}
        for content in there:
            foes.setdefault(content, set()).update(there - {content})
    if not any(foes.values()):
        return pairs
    a, b = (pairs[name].astype("str").to_numpy(dtype=object) for name in ("pixel_sha256_a", "pixel_sha256_b"))
    order = np.argsort(-pairs["probability"].to_numpy(dtype=np.float64), kind="stable")
    joins = pairs["relation"].to_numpy() == NEAR_DUPLICATE
    kept = np.ones(len(pairs), dtype=np.bool_)
    groups = _Groups(foes)
    for place in order:
        kept[place] = groups.joined(a[place], b[place]) if joins[place] else b[place] not in foes.get(a[place], ())
    return pairs[kept].reset_index(drop=True)


class _Groups:
    """Disjoint sets of contents; two foes are never in one set."""

    def __init__(self, foes: dict[str, set[str]]) -> None:
        self._parent: dict[str, str] = {}
        self._foes = foes
        self._parted: dict[str, set[str]] = {content: {content} for content in foes}

    def joined(self, first: str, second: str) -> bool:
        """Join the sets of two contents unless that unites foes; return whether they are in one set."""
        one, other = self._root(first), self._root(second)
        if one == other:
            return True
        mine, theirs = self._parted.get(one, set()), self._parted.get(other, set())
        if any(self._foes[content] & theirs for content in mine):
            return False
        self._parent[other] = one
        if mine or theirs:
            self._parted[one] = mine | theirs
        return True

    def _root(self, content: str) -> str:
        root = content
        while (above := self._parent.get(root, root)) != root:
            root = above
        while (above := self._parent.get(content, content)) != root:
            self._parent[content], content = root, above
        return root
