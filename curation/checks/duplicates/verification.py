"""Proves or drops candidate pairs: registers the two pictures, compares their details, and says what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.base import scratch
from curation.checks.duplicates import kernel
from curation.checks.duplicates.calibration import probability
from curation.checks.duplicates.candidates import Candidates
from curation.checks.duplicates.features import Pictures

Doubles = NDArray[np.float64]
Report = Callable[[int, int], None]

_BATCH = 4096
"""Pairs between two reports of progress, and before the memory of their pictures is given back: the system maps 64 KiB
around each picture that is looked at."""

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


def verify(pictures: Pictures, candidates: Candidates, report: Report | None = None) -> Iterator[Verified]:
    """Register and compare candidate pairs, and yield what was found a batch at a time.

    Those that do not even agree coarsely are left out. What is found does not depend on the order or the number of
    candidates.
    """
    for start in range(0, len(candidates), _BATCH):
        batch = slice(start, start + _BATCH)
        yield _verify_batch(pictures, Candidates(candidates.pairs[batch], candidates.mirrored[batch]))
        scratch.release(*pictures)
        if report is not None:
            report(min(start + _BATCH, len(candidates)), len(candidates))


def joined(batches: Iterable[Verified]) -> Verified:
    """Return all batches as one."""
    found = [nothing(), *batches]
    return Verified(
        Candidates(
            np.concatenate([part.candidates.pairs for part in found]),
            np.concatenate([part.candidates.mirrored for part in found]),
        ),
        np.concatenate([part.maps for part in found]),
        np.concatenate([part.evidence for part in found]),
        np.concatenate([part.probability for part in found]),
    )


def nothing() -> Verified:
    """Return no pairs."""
    none = Candidates(np.empty((0, 2), dtype=np.int64), np.empty(0, dtype=np.bool_))
    return Verified(none, np.empty((0, 6)), np.empty((0, len(kernel.EVIDENCE))), np.empty(0))


def _verify_batch(pictures: Pictures, candidates: Candidates) -> Verified:
    i, j = (np.ascontiguousarray(candidates.pairs[:, side]) for side in (0, 1))
    mirrored = candidates.mirrored
    maps = np.zeros((len(candidates), 6))
    agreement = kernel.screen(pictures.small, pictures.middle, i, j, mirrored, maps)
    near = agreement >= _LEAST_AGREEMENT
    near_maps = maps[near]
    evidence = kernel.examine(pictures.large, i[near], j[near], mirrored[near], near_maps)
    return Verified(Candidates(candidates.pairs[near], mirrored[near]), near_maps, evidence, probability(evidence))
