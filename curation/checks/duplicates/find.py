"""The near-duplicate search as a whole: candidates, then proof."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curation.base import scratch
from curation.base.pools import usable_cores
from curation.base.pools.threads import Threads, Workers, blocks, fill
from curation.base.progress import Display
from curation.base.tables import HALF, WHOLE, WINDOW

if TYPE_CHECKING:
    from curation.base.settings import DuplicateSettings
    from curation.checks.duplicates.candidates import Candidates, CandidateSource, Features, Join, Searcher
    from curation.checks.duplicates.features import Pictures
    from curation.checks.duplicates.looks import Looks, Parts
    from curation.checks.duplicates.verification import Verified

Report = Callable[[int, int], None]
Doubles = NDArray[np.float64]
Pixels = NDArray[np.uint8]

NEAR_DUPLICATE = "near_duplicate"
SAME_SESSION = "same_session"
_RELATIONS = [NEAR_DUPLICATE, SAME_SESSION]

_DECIMALS = 4


class Engine(NamedTuple):
    """The costly steps of the search, here or on a cluster: see ``hamming_pairs``, ``searcher`` and ``verify``."""

    join: Join
    searcher: Searcher
    verify: Callable[[Pictures, Candidates, Report | None], Iterator[Verified]]
    workers: Workers = Threads()


def local_engine(threads: int = 0) -> Engine:
    """Return the steps as this process does them on so many threads; 0: on as many as there are usable cores."""
    from curation.checks.duplicates import candidates, verification

    threads = threads or usable_cores()
    search, verify = partial(candidates.searcher, threads=threads), partial(verification.verify, threads=threads)
    return Engine(candidates.hamming_pairs, search, verify, Threads(threads))


def find_near_duplicates(
    thumbnails: Pixels,
    dhash: NDArray[np.int64],
    phash: NDArray[np.int64],
    settings: DuplicateSettings,
    display: Display | None = None,
    also: Sequence[CandidateSource] = (),
    engine: Engine | None = None,
    folder: Path | None = None,
    parts: Parts | None = None,
    landmarks: Doubles | None = None,
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
        parts: parts of pictures that are looked for by themselves
        landmarks: (N, 10) of each content's best face (see ``Face``), NaN where none is sure

    Returns:
        one row a pair, sorted by i, j: i < j (row numbers), probability (0..1 that both are one picture), score (median
        correlation of fine details, -1..1), mirrored, scale, angle (degrees), dx, dy (fractions of the side) and
        transform (words): what turns i into j; half_i, half_j: whether it is one half of that picture only;
        relation: near_duplicate where the probability is at least ``settings.min_probability``, else same_session. Both
        texts are categories.

    Raises:
        ValueError: the arrays do not have one row an image each.

    """
    if thumbnails.shape[1:] != (48, 48) or not len(thumbnails) == len(dhash) == len(phash):
        raise ValueError("thumbnails must be (N, 48, 48), dhash and phash (N,)")
    from curation.checks.duplicates import candidates, features, verification
    from curation.checks.duplicates.looks import as_looks, no_parts

    shown = display or Display(quiet=True)
    chosen = engine or local_engine()
    parts = parts or no_parts()
    looks = as_looks(len(thumbnails), parts)
    levels = _stacked(folder, thumbnails, parts.thumbnails)
    points = _landmarks_of(looks, landmarks)
    full = features.filled(levels, folder, chosen.workers)
    large = features.all_evened(full, folder, chosen.workers)
    with shown.step("Searching for near copies", "searches") as searched:
        given = candidates.Features(full, dhash, phash)
        looks, named = _candidates(given, large, looks, points, settings, chosen, searched)
        named = candidates.union([named, *(source.pairs(given) for source in also)])
    del given
    full = _added(folder, full, looks, chosen.workers)
    levels = _stacked(folder, levels, _added(folder, levels, looks, chosen.workers))
    points = np.concatenate([points, np.full((len(looks.owner) - len(points), 10), np.nan)])
    with shown.step("Comparing the candidates", "pairs") as compared:
        named = _of_different(named, looks.owner)
        large = _stacked(folder, large, features.all_evened(full, folder, chosen.workers))
        del full
        pictures = features.pictures(levels, points, folder, large, chosen.workers)
        texts: dict[str, int] = {}

        def examined(pairs: Candidates, report: Report | None) -> pd.DataFrame:
            batches = chosen.verify(pictures, pairs, report)
            frames = [_as_frame(verification.nothing(), looks, texts)]
            while together := list(islice(batches, _BATCHES_A_FRAME)):
                frames.append(_as_frame(verification.joined(together), looks, texts))
            return pd.concat(frames, ignore_index=True)

        weighed = _likeliest(examined(named, compared))
        missing = missing_pairs(_judged(weighed, settings.min_probability), named, len(thumbnails))
        if len(missing):
            weighed = _likeliest(pd.concat([weighed, examined(missing, None)], ignore_index=True))
        found = _judged(weighed, settings.min_probability)
    return _with_texts(found, texts)


def _candidates(
    given: Features,
    large: NDArray[np.int8],
    looks: Looks,
    points: Doubles,
    settings: DuplicateSettings,
    engine: Engine,
    report: Report,
) -> tuple[Looks, Candidates]:
    """Return all looks, those that turning adds included, and the pairs of them that may be one picture."""
    from curation.checks.duplicates import aligned, candidates
    from curation.checks.duplicates.looks import TurnSource
    from curation.checks.duplicates.windows import WindowSource

    contents = len(given.dhash)
    if contents < 2:
        return looks, candidates.union([])
    progress = _Progress(
        report,
        [
            candidates.HashSource.SEARCHES,
            candidates.NeighbourSource.SEARCHES,
            TurnSource.SEARCHES,
            aligned.FaceSource.SEARCHES,
            WindowSource.SEARCHES,
        ],
    )
    neighbours = candidates.NeighbourSource(settings.neighbours, progress.of(1), engine.searcher, engine.workers)
    index = neighbours.index(given.thumbnails)
    found = [
        candidates.HashSource(settings.hash_radius, engine.join, progress.of(0)).pairs(given),
        neighbours.pairs(given, index),
    ]
    few = candidates.Index(index.vectors, engine.searcher(index.vectors, min(candidates.FEW, len(index.vectors))))
    looks, turned = TurnSource(few, progress.of(2), engine.workers).pairs(given.thumbnails[:contents], looks)
    by_face = aligned.FaceSource(progress.of(3), engine.searcher, engine.workers).pairs(given.thumbnails, points)
    source = WindowSource(few, progress.of(4), engine.searcher, engine.workers)
    looks, windows = source.pairs(given.thumbnails[:contents], large, looks)
    return looks, candidates.union([*found, turned, windows, by_face])


def _of_different(named: Candidates, owner: NDArray[np.int64]) -> Candidates:
    """Return the pairs of looks at different contents."""
    apart = np.empty(len(named), dtype=np.bool_)
    for part in blocks(len(named), _PAIRS_AT_ONCE):
        first, second = named.some(part).pairs.T
        apart[part] = owner[first] != owner[second]
    return named.some(apart)


_PAIRS_AT_ONCE = 1_000_000

_BATCHES_A_FRAME = 64
"""A frame of its own costs each batch more than its pairs do."""

_ALL_PAIRS = 8
"""Among so many copies of each other every pair is examined; of more, each with the so many that have most copies."""


def missing_pairs(found: pd.DataFrame, named: Candidates, contents: int) -> Candidates:
    """Return the pairs that were no candidates although both are copies of a third.

    Groups hold what is proven pair by pair. At most ``_ALL_PAIRS`` a content.
    """
    from curation.checks.duplicates.candidates import as_candidates, as_pairs
    from curation.checks.duplicates.groups import components

    near = found[found["relation"] == _RELATIONS.index(NEAR_DUPLICATE)]
    pairs = near[["i", "j"]].to_numpy(dtype=np.int64)
    rows, degree = np.unique(pairs, return_counts=True)
    places = np.searchsorted(rows, pairs)
    part = components(len(rows), places)
    order = np.lexsort([rows, -degree, part])
    hubs = order[np.arange(len(order)) - np.searchsorted(part[order], part[order]) < _ALL_PAIRS]
    first = np.searchsorted(part[hubs], np.arange(part.max(initial=-1) + 2))
    each = np.diff(first)[part]
    a = np.repeat(np.arange(len(rows)), each)
    b = hubs[np.repeat(first[part], each) + np.arange(len(a)) - np.repeat(np.cumsum(each) - each, each)]
    i, j = np.minimum(rows[a], rows[b]), np.maximum(rows[a], rows[b])
    apart = i != j
    i, j = i[apart], j[apart]
    asked = as_pairs(np.stack([i, j], axis=1))
    known = as_pairs(np.unique(pairs, axis=0))
    new = ~_among(asked, named) & ~_among(asked, known)
    both = [np.full(int(new.sum()), flip) for flip in (False, True)]
    return as_candidates(np.tile(i[new], 2), np.tile(j[new], 2), np.concatenate(both))


def _among(asked: Candidates, named: Candidates) -> NDArray[np.bool_]:
    """Return which pairs are named, mirrored or not; ``np.isin`` hashes: ten times the cost for millions of pairs."""
    if not len(named):
        return np.zeros(len(asked), dtype=np.bool_)
    near = named.keys[np.minimum(np.searchsorted(named.keys, asked.keys), len(named) - 1)]
    return np.asarray(near >> 1 == asked.keys >> 1, dtype=np.bool_)


class _Progress:
    """Tells of searches by several sources as of one row of them."""

    def __init__(self, report: Report, searches: Sequence[int]) -> None:
        self._report = report
        self._before = np.cumsum([0, *searches]).tolist()

    def of(self, source: int) -> Report:
        return lambda done, _: self._report(self._before[source] + done, self._before[-1])


def _stacked(folder: Path | None, first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    if not len(second):
        return np.ascontiguousarray(first)
    stack = scratch.mapped_zeros(folder, (len(first) + len(second), *first.shape[1:]), first.dtype)
    for source, target in ((first, stack[: len(first)]), (second, stack[len(first) :])):
        for part in blocks(len(source), _AT_ONCE):
            target[part] = source[part]
            scratch.release(source, stack)
    scratch.filled(stack)
    return stack


def _added(folder: Path | None, pictures: Pixels, looks: Looks, workers: Workers) -> Pixels:
    """Return what the looks behind those of ``pictures`` show: pictures turned or cut."""
    from curation.checks.duplicates.looks import pictured

    behind = looks.some(slice(len(pictures), None))
    added = scratch.mapped_zeros(folder, (len(behind.owner), *pictures.shape[1:]), np.uint8)
    for part in blocks(len(added), _AT_ONCE):
        added[part] = pictures[behind.owner[part]]
        scratch.release(pictures, added)
    fill(workers, pictured, [added, behind.kind, behind.turn, behind.view], [added])
    return added


_AT_ONCE = 4096
"""Pictures that are copied before the memory of those that lie in files is given back."""


def _landmarks_of(looks: Looks, landmarks: Doubles | None) -> Doubles:
    """Return the landmarks (R, 10) of contents and parts; NaN where a face is not wholly within a part."""
    if landmarks is None:
        return np.full((len(looks.owner), 10), np.nan)
    points = landmarks[looks.owner].reshape(-1, 5, 2)
    points = (points - looks.box[:, None, :2]) / (looks.box[:, None, 2:] - looks.box[:, None, :2])
    whole = looks.kind == WHOLE
    inside = whole | ((points >= 0) & (points <= 1)).all(axis=(1, 2))
    return np.where(inside[:, None], points.reshape(-1, 10), np.nan)


_PARTIAL = 0.75
"""Share of the texture in common by which a look shows much less of both pictures than another does."""


def _likeliest(found: pd.DataFrame) -> pd.DataFrame:
    """Keep the likeliest row of each pair, plain before mirrored: a symmetric face may match both ways.

    What much more of both pictures shows is believed before what a part of them does.
    """
    most = found.groupby(["i", "j"])["support"].transform("max")
    found = found[found["support"] >= _PARTIAL * most]
    order = np.lexsort([found["mirrored"], -found["score"], -found["odds"], found["j"], found["i"]])
    return found.iloc[order].drop_duplicates(["i", "j"]).reset_index(drop=True)


def _as_frame(verified: Verified, looks: Looks, texts: dict[str, int]) -> pd.DataFrame:
    """Return what is told of a batch's weighed pairs, by contents.

    There may be many times as many pairs as images, so columns are narrow: transform is a place in ``texts``, which
    grows.
    """
    from curation.checks.duplicates import transform
    from curation.checks.duplicates.calibration import one_session
    from curation.checks.duplicates.changes import SUPPORT, after, inverse
    from curation.checks.duplicates.kernel import EVIDENCE

    weighed = np.flatnonzero(np.isfinite(verified.odds))
    evidence = verified.evidence[weighed]
    fine, quartile = (evidence[:, EVIDENCE.index(name)] for name in ("fine_median", "fine_quartile"))
    named = verified.candidates.some(weighed)
    a, b = named.pairs.T
    i, j = looks.owner[a], looks.owner[b]
    back = i > j
    maps, mirrored = verified.maps[weighed], named.mirrored
    windows = looks.kind[b] == WINDOW
    maps[windows] = after(looks.view[b[windows]], maps[windows])
    transforms = transform.decompose(np.where(back[:, None], inverse(maps), maps))
    framed = [looks.kind[np.where(back, b, a)], looks.kind[np.where(back, a, b)]]
    said = transform.in_words(transforms, mirrored, fine, quartile, looks.turn[a] + looks.turn[b], framed)
    as_taken = (
        ~mirrored & (looks.turn[a] == 0) & (looks.turn[b] == 0) & (looks.kind[a] == WHOLE) & (looks.kind[b] == WHOLE)
    )
    frame = pd.DataFrame(
        {
            "i": np.minimum(i, j).astype(np.int32),
            "j": np.maximum(i, j).astype(np.int32),
            "odds": verified.odds[weighed],
            "support": verified.differences[weighed, SUPPORT],
            "score": fine.round(_DECIMALS),
            "mirrored": mirrored,
            "scale": transforms.scale.round(_DECIMALS),
            "angle": transforms.angle.round(_DECIMALS),
            "dx": transforms.dx.round(_DECIMALS),
            "dy": transforms.dy.round(_DECIMALS),
            "half_i": framed[0] == HALF,
            "half_j": framed[1] == HALF,
            "transform": [texts.setdefault(words, len(texts)) for words in said],
            "shots": as_taken & one_session(evidence, verified.differences[weighed]),
        }
    )
    return frame.astype({"transform": np.int32})


def _judged(weighed: pd.DataFrame, min_probability: float) -> pd.DataFrame:
    """Return which weighed pairs are copies and which are shots, each judged beside the others; relation is a place."""
    from curation.checks.duplicates.calibration import in_agreement, in_company, probability

    pairs = weighed[["i", "j"]].to_numpy(dtype=np.int64)
    odds = in_company(weighed["odds"].to_numpy(dtype=np.float64), pairs, int(pairs.max(initial=-1)) + 1)
    likely = probability(in_agreement(odds, pairs, probability(odds) >= min_probability))
    copies = likely >= min_probability
    relation = np.where(copies, _RELATIONS.index(NEAR_DUPLICATE), _RELATIONS.index(SAME_SESSION)).astype(np.int8)
    frame = weighed.drop(columns=["odds", "shots", "support"]).assign(relation=relation)
    frame.insert(2, "probability", likely)
    found: pd.DataFrame = frame[copies | weighed["shots"].to_numpy(dtype=np.bool_)].reset_index(drop=True)
    return found


def _with_texts(frame: pd.DataFrame, texts: dict[str, int]) -> pd.DataFrame:
    relation = pd.Categorical.from_codes(frame["relation"].to_numpy(), categories=pd.Index(_RELATIONS))
    transform = pd.Categorical.from_codes(frame["transform"].to_numpy(), categories=pd.Index(list(texts)))
    return frame.assign(transform=transform, relation=relation)
