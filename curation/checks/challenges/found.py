"""Checks of what makes a face hard to read or no face at all: watermarks, things before it, no person's face, outliers.

They read the embeddings and what the learned heads saw (``curation.measure.embedding``). Images that are not embedded
get no rows; a check that needs a learned model makes none where there were too few faces to learn from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from curation.base.scored import Column, Kind, Scored, Value, exact_scores, narrow_scores, pieces
from curation.checks import pixels
from curation.checks.base import (
    Flags,
    Floats,
    Found,
    Measured,
    as_json,
    high_is_bad,
    nothing,
    one_number,
    upper_fence,
)
from curation.checks.challenges import model as models
from curation.checks.challenges.distance import distance
from curation.checks.challenges.recurring import recurring_marks
from curation.checks.nearness import lonely, projection

if TYPE_CHECKING:
    from curation.checks.base import CheckInputs
    from curation.checks.challenges.model import ChallengeModel, Pixels

LIKELY = 0.5
"""Probability from which an image is flagged: it is then likelier than not."""

_DOUBTED = 0.05
"""Probability below which the difference of two copies is no mark: retouching and compression differ too."""

_FENCE = 2.5
"""Robust deviations beyond which an image is lonely (Leys et al. 2013, J. Exp. Soc. Psych. 49:764)."""

_OUTLYING = 3.0
"""Robust deviations beyond which an image is an outlier: their stricter limit, since most that lie just beyond 2.5 are
faces in odd poses."""

_BOUNDS = (-10.0, 10.0)
"""Log-odds and log-distances beyond which a limit never lies."""

_COVERED = 0.5
"""Share of a part's places that lie under covered cells where it counts as covered."""


@dataclass(frozen=True)
class Challenges:
    """What is known of the images' challenges; every array has one row an image, in the order of the images.

    Attributes:
        known: (n,) whether the image is embedded; the rows of the others are zero.
        embedding: (n, 1280) float16.
        logits: per head (n, cells, cells); above 0, the head sees there what it looks for.
        model: what was learned; None where there were too few faces.
        landmarks: (n, 5, 2) of the best face, fractions of the sides; NaN without a face.
        thumbnails: (n, 48, 48) uint8; of unreadable images zero.
        clean_copies: image (row) that carries a mark -> (path of a copy without it, box of the mark).

    """

    known: Flags
    embedding: npt.NDArray[np.float16]
    logits: Mapping[str, npt.NDArray[np.float32]]
    model: ChallengeModel | None
    landmarks: Floats
    thumbnails: Pixels
    clean_copies: Mapping[int, tuple[str, list[float]]]

    def judged(self, check: str) -> Floats:
        """Return the probability (n,) that an image has what a head looks for, NaN where nothing is known."""
        known, model = self.known, self.model
        probability = np.full(len(known), np.nan)
        if model is not None and known.any():
            head = models.HEADS[check]
            score = models.picture_logit(head, self.logits[head][known])
            probability[known] = model.curves[check].probability(score)
        return probability

    @cached_property
    def marked(self) -> tuple[Floats, dict[int, int]]:
        """The probability (n,) that each image carries a mark, and those whose mark recurs on other pictures."""
        probability = self.judged("watermark")
        recurring: dict[int, int] = {}
        if self.model is not None:
            recurring = recurring_marks(probability, self.logits["overlay"], self.thumbnails)
        for row in recurring:
            probability[row] = max(probability[row], 1 - (1 - probability[row]) * (1 - LIKELY))
        for row in self.clean_copies:
            if not probability[row] < _DOUBTED:
                probability[row] = max(np.nan_to_num(probability[row]), 1 - (1 - LIKELY) / 10)
        return probability, recurring


def watermark(inputs: CheckInputs) -> Found:
    """Images with text, a logo or a pattern laid over them; evidence: where, of what kind, how it is known."""
    known = inputs.challenges
    if known is None:
        return nothing(inputs)
    probability, recurring = known.marked
    cells = known.logits.get("overlay")

    def evidence(row: int) -> dict[str, Any]:
        facts: dict[str, Any] = {"probability": round(float(probability[row]), 4)}
        if row in known.clean_copies and probability[row] > LIKELY:
            clean, box = known.clean_copies[row]
            return facts | {
                "box": box,
                "mark": _kind(box),
                "how": f"differs from its copy {clean}",
                "clean_copy": clean,
            }
        box = _box(cells[row]) if cells is not None else []
        how = "looks like marks laid over faces on purpose"
        if row in recurring:
            how = f"the same mark lies at the same place on {recurring[row]} other pictures"
        return facts | {"box": box, "mark": _kind(box), "how": how}

    return _likely(inputs, probability, evidence)


def occluded_face(inputs: CheckInputs) -> Found:
    """Faces with something before them; evidence: which of brows, eyes, nose and mouth it covers.

    What covers most of a face hides it from the detector as well: then the parts are taken to be where they are in most
    of the images.
    """
    known = inputs.challenges
    if known is None or known.model is None:
        return nothing(inputs)
    probability = known.judged("occluded_face")
    cells, landmarks = known.logits["occluder"], known.landmarks
    found: Flags = np.asarray(np.isfinite(landmarks).all(axis=(1, 2)), np.bool_)
    usual = np.median(landmarks[found], axis=0) if found.any() else np.full((5, 2), np.nan)

    def evidence(row: int) -> dict[str, Any]:
        parts, beside = covered_parts(cells[row], landmarks[row] if found[row] else usual)
        facts = {"probability": round(float(probability[row]), 4), "covered": parts, "box": _box(cells[row])}
        return facts | {"face_found": bool(found[row])} | ({"beside": beside} if beside and not parts else {})

    return _likely(inputs, probability, evidence)


def non_human_face(inputs: CheckInputs) -> Found:
    """Drawings, cartoons, statues, dolls, masks, animals, and what is no face."""
    known = inputs.challenges
    if known is None or known.model is None:
        return nothing(inputs)
    face = inputs.measurements["face_score"].to_numpy(dtype=np.float64, copy=True)
    # what covers a face explains why the detector doubts it
    covered = (known.judged("occluded_face") > LIKELY) & ~(face >= inputs.settings.checks.face_score)
    face[covered] = np.nanmedian(face) if np.isfinite(face).any() else 1.0
    values, seen = np.full(len(face), np.nan), known.known & inputs.readable
    values[seen] = models.non_human_score(known.model.human, known.embedding[seen], face[seen])
    # the limit was set when the model was learned, so that images added later are judged alike however odd they are
    typical, spread = known.model.human["usual"].tolist()
    threshold = float(np.clip(typical + inputs.settings.checks.outlier_fence * spread, *_BOUNDS))
    scores = high_is_bad(values, threshold, 2 * threshold - typical, typical)
    return Found(one_number(Measured(values, ("unlike_a_person",)), scores, threshold), scores < LIKELY)


def outlier(inputs: CheckInputs) -> Found:
    """Images unlike the data's faces: far from the nearest embeddings; blank images have a check of their own."""
    known = inputs.challenges
    if known is None:
        return nothing(inputs)
    usable = known.known & inputs.readable & ~pixels.blank(inputs).flags
    contents = inputs.measurements["pixel_sha256"].to_numpy(dtype=object)
    face = inputs.measurements["face_score"].to_numpy(dtype=np.float64)
    sure = face >= inputs.settings.checks.face_score
    # data without faces are judged by all of their images
    sure = sure if 2 * sure[usable].sum() >= usable.sum() else np.ones_like(sure)
    values = np.full(len(usable), np.nan)
    if usable.any():
        values[usable] = distance(known.embedding[usable], sure[usable], contents[usable], inputs.settings.seed)
    # what is no face does not say how far a face may be
    faces = values[sure & np.isfinite(values)]
    typical = float(np.median(faces)) if len(faces) else 0.0
    threshold = upper_fence(faces, _OUTLYING, *_BOUNDS)
    scores = narrow_scores(high_is_bad(values, threshold, 2 * threshold - typical, typical))
    kinds: dict[str, Kind] = {"value": "rounded"}
    said = tuple(
        pieces(
            kinds,
            measure="log_distance_from_the_nearest_faces",
            value=Value("value"),
            threshold=round(threshold, 4),
            face_found=seen,
        )
        for seen in (False, True)
    )
    is_face = (face >= inputs.settings.checks.face_score).astype(np.uint8)
    fields = {"value": Column.narrow("rounded", values)}
    return Found(Scored(scores, said, is_face, fields), exact_scores(scores) < LIKELY)


def rare(inputs: CheckInputs) -> Found:
    """Images with few others near them, and whether each looks like an outlier, a wrong label, or just a rare face.

    Evidence: the distance to the 10th neighbour (0 the same .. 2 opposite; copies are one image), density (0 the
    loneliest of all .. 1 the most typical), and what it looks like. The last rests on the other checks.
    """
    known = inputs.challenges
    if known is None:
        return nothing(inputs)
    values = _loneliness(inputs, known)
    chosen = np.flatnonzero(np.isfinite(values))
    if not len(chosen):
        return nothing(inputs)
    wrong = np.zeros(len(values))
    if inputs.labels is not None:
        judged = inputs.labels.set_index("path")["wrong"]
        wrong = judged.reindex(inputs.images["path"]).fillna(0.0).to_numpy(dtype=np.float64)
    face = inputs.measurements["face_score"].to_numpy(dtype=np.float64) >= inputs.settings.checks.face_score
    typical, threshold = float(np.median(values[chosen])), upper_fence(values, _FENCE, 0.0, 2.0)
    scores = narrow_scores(high_is_bad(values, threshold, max(2 * threshold - typical, threshold + 1e-6), typical))
    density = np.full(len(values), np.nan)
    order = values[chosen].argsort(kind="stable").argsort(kind="stable")
    density[chosen] = 1 - order / max(len(chosen) - 1, 1)
    kinds: dict[str, Kind] = {"neighbour_distance": "rounded", "density": "rounded"}
    said = tuple(
        pieces(
            kinds,
            neighbour_distance=Value("neighbour_distance"),
            threshold=round(threshold, 4),
            density=Value("density"),
            looks_like=looks,
        )
        for looks in ("rare face", "mislabelled", "outlier")
    )
    looks = np.where(outlier(inputs).flags | ~face, 2, wrong > LIKELY).astype(np.uint8)
    fields = {name: Column.narrow("rounded", of) for name, of in (("neighbour_distance", values), ("density", density))}
    return Found(Scored(scores, said, looks, fields), exact_scores(scores) < LIKELY)


def _loneliness(inputs: CheckInputs, known: Challenges) -> Floats:
    """Return the distance (n,) of each image to its 10th neighbour, copies being one; NaN where it is not known."""
    members = inputs.copies.members
    picture = members["group"].where(members["group"] != "", members["content"])
    names = pd.Series("", index=inputs.images.index).to_numpy(dtype=object)
    names[inputs.readable] = picture.to_numpy(dtype=object)
    usable = np.flatnonzero(known.known & inputs.readable)
    values = np.full(len(names), np.nan)
    if len(usable):
        code, _ = pd.factorize(names[usable], sort=True)
        first = np.unique(code, return_index=True)[1]
        embedding = known.embedding[usable[first]]
        values[usable] = lonely(projection(embedding, inputs.settings.seed)(embedding))[code]
    return values


def covered_parts(logits: npt.NDArray[np.float32], landmarks: Floats) -> tuple[list[str], str]:
    """Return which of brows, eyes, nose and mouth lie under covered cells (c, c), and which is nearest to these.

    The list is empty where none does: a hand at the cheek. Both are empty where the landmarks are not known.
    """
    if not np.isfinite(landmarks).all():
        return [], ""
    cells = logits.shape[0]
    left, right = landmarks[0], landmarks[1]
    mouth, across = (landmarks[3] + landmarks[4]) / 2, right - left
    unit = max(float(np.linalg.norm(across)), 0.1)
    down = mouth - (left + right) / 2
    down = down / max(float(np.linalg.norm(down)), 1e-6)
    places = {
        "brows": [left - 0.3 * unit * down, right - 0.3 * unit * down],
        "eyes": [left, right],
        "nose": [landmarks[2]],
        "mouth": [landmarks[3], mouth, landmarks[4]],
    }
    seen = logits > min(0.0, float(logits.max()) - 1e-6)
    middles = (np.argwhere(seen)[:, ::-1] + 0.5) / cells
    found, away = [], {}
    for name, points in places.items():
        columns_rows = np.clip((np.array(points) * cells).astype(int), 0, cells - 1)
        if (logits[columns_rows[:, 1], columns_rows[:, 0]] > 0).mean() >= _COVERED:
            found.append(name)
        away[name] = float(np.linalg.norm(middles[:, None] - np.array(points)[None], axis=2).min())
    return found, min(away, key=lambda name: away[name])


def _box(logits: npt.NDArray[np.float32]) -> list[float]:
    """Return x, y, width, height, fractions of the sides, of the cells that are covered, at least of the surest one."""
    cells = logits.shape[0]
    covered = logits >= min(0.0, float(logits.max()))
    rows_of, columns_of = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
    left, top = int(columns_of[0]), int(rows_of[0])
    width, height = int(columns_of[-1]) + 1 - left, int(rows_of[-1]) + 1 - top
    return [round(value / cells, 3) for value in (left, top, width, height)]


def _kind(box: list[float]) -> str:
    """Return what a mark's box says of its kind: a pattern covers most of the picture, a line of text is wide."""
    if not box:
        return "unknown"
    width, height = box[2:]
    if width > 0.7 and height > 0.7:
        return "pattern"
    return "text" if width >= 1.8 * height else "logo"


def _likely(inputs: CheckInputs, probability: Floats, evidence: Callable[[int], dict[str, Any]]) -> Found:
    """Score the images whose probability is known; the evidence of those that are not flagged is the number."""
    scores = narrow_scores(np.where(inputs.readable, 1 - probability, np.nan))
    fields = {"probability": Column.narrow("fixed", probability)}
    said = (pieces({"probability": "fixed"}, probability=Value("probability")),)
    return Found(
        Scored(scores, said, None, fields),
        exact_scores(scores) < LIKELY,
        lambda at: [as_json(**evidence(row)) for row in at.tolist()],
    )
