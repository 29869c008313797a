"""The near-duplicate search as a whole: candidates, then proof."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curation.base.progress import Display

if TYPE_CHECKING:
    from curation.base.settings import DuplicateSettings
    from curation.checks.duplicates.candidates import Candidates, CandidateSource, Join, Searcher
    from curation.checks.duplicates.features import Pictures
    from curation.checks.duplicates.verification import Verified

Report = Callable[[int, int], None]

NEAR_DUPLICATE = "near_duplicate"
SAME_SESSION = "same_session"
_RELATIONS = [NEAR_DUPLICATE, SAME_SESSION]

_SESSION_DETAIL = 0.82
"""Median correlation of fine details from which pictures that are no copies are called shots of one session. On a
contact sheet of real faces 28 of 31 such pairs were shots of one person; below 0.80 most were people alike."""

_DECIMALS = 4


class Engine(NamedTuple):
    """The costly steps of the search, here or on a cluster: see ``hamming_pairs``, ``searcher`` and ``verify``."""

    join: Join
    searcher: Searcher
    verify: Callable[[Pictures, Candidates, Report | None], Iterator[Verified]]


def find_near_duplicates(
    thumbnails: NDArray[np.uint8],
    dhash: NDArray[np.int64],
    phash: NDArray[np.int64],
    settings: DuplicateSettings,
    display: Display | None = None,
    also: Sequence[CandidateSource] = (),
    engine: Engine | None = None,
    folder: Path | None = None,
) -> pd.DataFrame:
    """Find pairs of images that are one picture, changed, and pairs that are shots of one session.

    Args:
        thumbnails: (N, 48, 48) uint8 grey levels, one row a distinct content
        dhash: (N,) int64 difference hashes
        phash: (N,) int64 perceptual hashes
        settings: thresholds
        display: where progress is shown, searching and comparing apart: which takes longer depends on the pictures
        also: further sources of candidates (a peer's answer)
        engine: where the costly steps run; without influence on the result
        folder: where what is derived from the pictures may lie meanwhile; None: in memory

    Returns:
        one row a pair, sorted by i, j: i < j (row numbers), probability (0..1 that both are one picture), score (median
        correlation of fine details, -1..1), mirrored, scale, angle (degrees), dx, dy (fractions of the side) and
        transform (words): what turns i into j; relation: near_duplicate where the probability is at least
        ``settings.min_probability``, else same_session. Both texts are categories.

    Raises:
        ValueError: the arrays do not have one row an image each.

    """
    if thumbnails.shape[1:] != (48, 48) or not len(thumbnails) == len(dhash) == len(phash):
        raise ValueError("thumbnails must be (N, 48, 48), dhash and phash (N,)")
    from curation.checks.duplicates import candidates, features, verification

    shown = display or Display(quiet=True)
    chosen = engine or Engine(candidates.hamming_pairs, candidates.searcher, verification.verify)
    with shown.step("Searching for near copies", "searches") as searched:
        sources: list[CandidateSource] = [
            candidates.HashSource(settings.hash_radius, chosen.join, _after(0, searched)),
            candidates.NeighbourSource(
                settings.neighbours, _after(candidates.HashSource.SEARCHES, searched), chosen.searcher
            ),
        ]
        if len(thumbnails) < 2:
            sources = []
        given = candidates.Features(np.ascontiguousarray(thumbnails), dhash, phash)
        named = candidates.union([source.pairs(given) for source in (*sources, *also)])
    with shown.step("Comparing the candidates", "pairs") as compared:
        batches = chosen.verify(features.pictures(thumbnails, folder), named, compared)
        texts: dict[str, int] = {}
        found = [_as_frame(batch, settings.min_probability, texts) for batch in (verification.nothing(), *batches)]
    return _likelier(_with_texts(pd.concat(found, ignore_index=True), texts))


def _after(before: int, report: Report) -> Report:
    """Return the report of searches that come after so many others."""
    from curation.checks.duplicates.candidates import HashSource, NeighbourSource

    return lambda done, _: report(before + done, HashSource.SEARCHES + NeighbourSource.SEARCHES)


def _likelier(found: pd.DataFrame) -> pd.DataFrame:
    """Keep the likelier of two rows of one pair, plain before mirrored: a symmetric face may match both ways.

    Rows come as candidates do, sorted by i, j, mirrored.
    """
    i, j, probability, score = (found[name].to_numpy() for name in ("i", "j", "probability", "score"))
    twice = np.flatnonzero((i[1:] == i[:-1]) & (j[1:] == j[:-1]))
    more, as_much = probability[twice + 1] > probability[twice], probability[twice + 1] == probability[twice]
    second = more | (as_much & (score[twice + 1] > score[twice]))
    kept = np.ones(len(found), dtype=np.bool_)
    kept[np.where(second, twice, twice + 1)] = False
    return found[kept].reset_index(drop=True)


def _as_frame(verified: Verified, min_probability: float, texts: dict[str, int]) -> pd.DataFrame:
    """Return what is told of a batch.

    There may be many times as many pairs as images, so columns are narrow: transform is a place in ``texts``, which
    grows, and relation one in ``_RELATIONS``.
    """
    from curation.checks.duplicates.kernel import EVIDENCE
    from curation.checks.duplicates.transform import decompose, in_words

    fine, quartile = (verified.evidence[:, EVIDENCE.index(name)] for name in ("fine_median", "fine_quartile"))
    transforms = decompose(verified.maps)
    mirrored = verified.candidates.mirrored
    copies = verified.probability >= min_probability
    said = in_words(transforms, mirrored, fine, quartile)
    frame = pd.DataFrame(
        {
            "i": verified.candidates.pairs[:, 0].astype(np.int32),
            "j": verified.candidates.pairs[:, 1].astype(np.int32),
            "probability": verified.probability,
            "score": fine.round(_DECIMALS),
            "mirrored": mirrored,
            "scale": transforms.scale.round(_DECIMALS),
            "angle": transforms.angle.round(_DECIMALS),
            "dx": transforms.dx.round(_DECIMALS),
            "dy": transforms.dy.round(_DECIMALS),
            "transform": [texts.setdefault(words, len(texts)) for words in said],
            "relation": np.where(copies, _RELATIONS.index(NEAR_DUPLICATE), _RELATIONS.index(SAME_SESSION)),
        }
    )
    return frame[copies | (fine >= _SESSION_DETAIL)].astype({"transform": np.int32, "relation": np.int8})


def _with_texts(frame: pd.DataFrame, texts: dict[str, int]) -> pd.DataFrame:
    relation = pd.Categorical.from_codes(frame["relation"].to_numpy(), categories=_RELATIONS)
    transform = pd.Categorical.from_codes(frame["transform"].to_numpy(), categories=list(texts))
    return frame.assign(transform=transform, relation=relation)
