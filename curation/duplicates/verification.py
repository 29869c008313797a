"""Proves or drops candidate pairs: registers the two pictures, compares their details, and says what was found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.duplicates import kernel
from curation.duplicates.calibration import probability
from curation.duplicates.candidates import Candidates
from curation.duplicates.features import Pictures

Doubles = NDArray[np.float64]
Report = Callable[[int, int], None]

_BATCH = 16_384
"""Pairs between two reports of progress."""

_LEAST_AGREEMENT = 0.78
"""Agreement of details at 24 px below which a pair is not examined at full size: 999 of 1000 natural copies have 0.91
and more, 7 of 100 candidates pass."""


@dataclass(frozen=True)
class Verified:
    """Examined pairs, sorted by i, j.

    candidates  -- the pairs
    maps        -- (M, 6) affine maps from i to j, see ``kernel``
    evidence    -- (M, 9), columns named by ``kernel.EVIDENCE``
    probability -- (M,) that both are one picture, 0..1
    """

    candidates: Candidates
    maps: Doubles
    evidence: Doubles
    probability: Doubles


def verify(pictures: Pictures, candidates: Candidates, report: Report | None = None) -> Verified:
    """Register and compare candidate pairs; those that do not even agree coarsely are left out.

    The result does not depend on the order or the number of candidates.
    """
    kept, maps, evidence = [], [], []
    for start in range(0, len(candidates), _BATCH):
        batch = np.arange(start, min(start + _BATCH, len(candidates)))
        where, found_maps, found = _verify_batch(pictures, candidates, batch)
        kept.append(where)
        maps.append(found_maps)
        evidence.append(found)
        if report is not None:
            report(int(batch[-1]) + 1, len(candidates))
    rows = np.concatenate([np.empty(0, dtype=np.int64), *kept])
    all_evidence = np.concatenate([np.empty((0, len(kernel.EVIDENCE))), *evidence])
    return Verified(
        Candidates(candidates.pairs[rows], candidates.mirrored[rows]),
        np.concatenate([np.empty((0, 6)), *maps]),
        all_evidence,
        probability(all_evidence),
    )


def _verify_batch(
    pictures: Pictures, candidates: Candidates, batch: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Doubles, Doubles]:
    i, j = (np.ascontiguousarray(candidates.pairs[batch, side]) for side in (0, 1))
    mirrored = candidates.mirrored[batch]
    maps = np.zeros((len(batch), 6))
    agreement = kernel.screen(pictures.small, pictures.middle, i, j, mirrored, maps)
    near = agreement >= _LEAST_AGREEMENT
    near_maps = maps[near]
    evidence = kernel.examine(pictures.large, i[near], j[near], mirrored[near], near_maps)
    return batch[near], near_maps, evidence
