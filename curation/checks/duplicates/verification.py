"""Proves or drops candidate pairs: registers the two pictures, compares their details, and says what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from curation.base import scratch
from curation.base.pools.threads import blocks, in_order
from curation.checks.duplicates import changes, kernel
from curation.checks.duplicates.aligned import starts
from curation.checks.duplicates.calibration import log_odds, may_be_copies
from curation.checks.duplicates.candidates import Candidates
from curation.checks.duplicates.features import Pictures

Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]
Report = Callable[[int, int], None]

_BATCH = 1024
"""Pairs between two reports of progress, and before the memory of their pictures is given back: the system maps 64 KiB
around each picture that is looked at."""

_LEAST_AGREEMENT = 0.78
"""Agreement of details at 24 px below which a pair is not examined at full size: 999 of 1000 natural copies have 0.91
and more, 7 of 100 candidates pass."""

_TIGHTER = 1.2
"""The tighter of two views is the template from this ratio of scales on: it lies inside the other."""

_FLIP = np.diag([-1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Verified:
    """Examined pairs, sorted by i, j.

    candidates  -- the pairs
    maps        -- (M, 6) affine maps from i to j, see ``kernel``
    evidence    -- (M, 9), columns named by ``kernel.EVIDENCE``
    differences -- (M, 15), columns named by ``changes.EVIDENCE``; NaN where details agree too little for that
    odds        -- (M,) log-odds that both are one picture; NaN where differences were not weighed
    """

    candidates: Candidates
    maps: Doubles
    evidence: Doubles
    differences: Doubles
    odds: Doubles


def verify(
    pictures: Pictures,
    candidates: Candidates,
    report: Report | None = None,
    weighed: bool = True,
    threads: int = 1,
) -> Iterator[Verified]:
    """Register and compare candidate pairs, and yield what was found a batch at a time.

    Those that do not even agree coarsely are left out. What is found does not depend on the order or the number of
    candidates. Where differences are not to be ``weighed``, pairs are registered only: a quarter less work.
    """

    def do(batch: slice) -> Verified:
        return _verify_batch(pictures, candidates.some(batch), weighed)

    batches = blocks(len(candidates), _BATCH)
    for batch, found in zip(batches, in_order(do, batches, threads), strict=True):
        yield found
        scratch.release(*pictures)
        if report is not None:
            report(batch.stop, len(candidates))


def joined(batches: Iterable[Verified]) -> Verified:
    """Return all batches as one."""
    found = [nothing(), *batches]
    numbers = [field.name for field in fields(Verified)[1:]]
    return Verified(
        Candidates(np.concatenate([part.candidates.keys for part in found])),
        *(np.concatenate([getattr(part, name) for part in found]) for name in numbers),
    )


def nothing() -> Verified:
    """Return no pairs."""
    none = Candidates(np.empty(0, dtype=np.int64))
    kinds = (len(kernel.EVIDENCE), len(changes.EVIDENCE))
    evidence, differences = (np.empty((0, width)) for width in kinds)
    return Verified(none, np.empty((0, 6)), evidence, differences, np.empty(0))


def _verify_batch(pictures: Pictures, candidates: Candidates, weighed: bool) -> Verified:
    pairs, flipped = candidates.pairs, candidates.mirrored
    maps = starts(pictures.landmarks, pairs[:, 0], pairs[:, 1], flipped)
    tighter = _scale(maps) > _TIGHTER
    maps[tighter] = _seen_from_the_other(maps[tighter], flipped[tighter])
    i, j = np.where(tighter[:, None], pairs[:, ::-1], pairs).T
    order = np.argsort(i, kind="stable")  # screening lays a template out once for all its pairs
    i, j, maps, mirrored = (np.ascontiguousarray(part[order]) for part in (i, j, maps, flipped))
    given = np.asarray(np.isfinite(maps).all(axis=1))
    agreement = kernel.screen(pictures.small, pictures.middle, i, j, mirrored, maps, given)
    near = np.sort(order[agreement >= _LEAST_AGREEMENT])
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    i, j, maps, mirrored = (np.ascontiguousarray(part[place[near]]) for part in (i, j, maps, mirrored))
    evidence = kernel.examine(pictures.large, i, j, mirrored, maps)
    asked = may_be_copies(evidence)
    differences = changes.differ(pictures.levels, pictures.landmarks, i, j, mirrored, maps, asked, weighed)
    back = tighter[near]
    odds = log_odds(evidence, differences, maps)
    maps[back] = _seen_from_the_other(maps[back], mirrored[back])
    return Verified(candidates.some(near), maps, evidence, differences, odds)


def _scale(maps: Doubles) -> Doubles:
    return np.asarray(np.sqrt(np.abs(maps[:, 0] * maps[:, 4] - maps[:, 1] * maps[:, 3])))


def _seen_from_the_other(maps: Doubles, mirrored: Flags) -> Doubles:
    """Return the maps (M, 6) from j to i, i mirrored where j was."""
    back = changes.inverse(maps)
    flip = np.array([1, -1, -1, -1, 1, 1])  # the mirror about the centre before the map, and after it
    return np.where(mirrored[:, None], back * flip, back)
