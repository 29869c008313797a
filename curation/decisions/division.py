"""Division of groups of images among splits: shares of splits and classes as requested, no group in two splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from curation.base.arrays import Floats, Ints

_ROUNDS = 5
"""Rounds of improvement, in each of which every group is considered once."""


def divide(labels: pd.Series, groups: pd.Series, present: pd.Series, shares: Mapping[str, float]) -> pd.Series:
    """Return a split for every image; the images of a group get one split.

    Large groups are placed first. A group stays in the split that has most of it if there is room, so that few images
    move; otherwise it goes where the squared deviations from the requested numbers, of whole splits and of classes in
    them, grow least. Then single groups are moved as long as the deviations shrink.

    Args:
        labels: (N,) classes
        groups: (N,) name of each image's group
        present: (N,) current splits
        shares: split -> share of the images, summing to 1

    """
    names = list(shares)
    number, _ = pd.factorize(groups, sort=True)
    classes, kinds = pd.factorize(labels, sort=True)
    content = np.zeros((number.max(initial=-1) + 1, len(kinds)))
    np.add.at(content, (number, classes), 1)
    here = np.zeros((len(content), len(names)))
    known = present.map({name: place for place, name in enumerate(names)}).fillna(-1).to_numpy(dtype=np.int64)
    np.add.at(here, (number[known >= 0], known[known >= 0]), 1)
    wanted = np.array([shares[name] for name in names])[:, None] * content.sum(axis=0)
    chosen = _improved(content, wanted, _placed(content, here, wanted))
    return pd.Series(np.array(names, dtype=object)[chosen[number]], index=labels.index)


def _placed(content: Floats, here: Floats, wanted: Floats) -> Ints:
    """Return a first split for each group (G,)."""
    chosen = np.empty(len(content), dtype=np.int64)
    filled = np.zeros_like(wanted)
    weight = _weights(wanted)
    for group in np.argsort(-content.sum(axis=1), kind="stable"):
        own = content[group]
        home = int(here[group].argmax())
        room = (filled[home] + own <= wanted[home] + 1)[own > 0].all()
        place = home if room and here[group, home] else int(_growth(filled - wanted, own, weight).argmin())
        chosen[group] = place
        filled[place] += own
    return chosen


def _improved(content: Floats, wanted: Floats, chosen: Ints) -> Ints:
    """Move single groups while the deviations shrink."""
    away = np.zeros_like(wanted)
    np.add.at(away, chosen, content)
    away -= wanted
    weight = _weights(wanted)
    for _ in range(_ROUNDS):
        moved = False
        for group in range(len(content)):
            own, now = content[group], chosen[group]
            away[now] -= own
            growth = _growth(away, own, weight)
            best = int(growth.argmin())
            if growth[best] < growth[now] - 1e-9:
                chosen[group], moved = best, True
            away[chosen[group]] += own
        if not moved:
            break
    return chosen


def _weights(wanted: Floats) -> tuple[Floats, Floats]:
    """Return the weights of squared deviations, of a class in a split (S, C) and of a whole split (S,).

    They depend on the size of a class, so that deviations of shares, not of numbers, are balanced.
    """
    by_class = np.maximum(wanted.sum(axis=0), 1.0)
    return np.broadcast_to(1 / by_class**2, wanted.shape), np.full(len(wanted), len(by_class) / by_class.sum() ** 2)


def _growth(away: Floats, own: Floats, weight: tuple[Floats, Floats]) -> Floats:
    """Return (S,) by how much the deviations grow if ``own`` (C,) is added to a split."""
    by_class = (((away + own) ** 2 - away**2) * weight[0]).sum(axis=1)
    whole, size = away.sum(axis=1), own.sum()
    grown: Floats = by_class + ((whole + size) ** 2 - whole**2) * weight[1]
    return grown


def together(paths: pd.Series, links: Sequence[pd.DataFrame]) -> pd.Series:
    """Return for each path the number of the connected component that groups make it part of.

    Args:
        paths: (N,) unique
        links: frames with path and group; the paths of a group belong together

    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    index = pd.Index(paths)
    one, other, nodes = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)], len(index)
    for frame in links:
        place = index.get_indexer(frame["path"])
        number, kinds = pd.factorize(frame["group"])
        one.append(place[place >= 0])
        other.append(number[place >= 0] + nodes)
        nodes += len(kinds)
    rows, columns = np.concatenate(one), np.concatenate(other)
    graph = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(nodes, nodes))
    return pd.Series(connected_components(graph, directed=False)[1][: len(index)], index=paths.index)
