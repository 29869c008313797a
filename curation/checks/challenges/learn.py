"""Learning a model of a data set's challenges: lessons are drawn, seen by the network, and learned; see ``model``."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from curation.base.progress import Display
from curation.checks.base import upper_fence
from curation.checks.challenges import model as models
from curation.checks.challenges.lessons import Lessons, at_side, draw_altered, draw_lessons
from curation.checks.challenges.model import Arrays, ChallengeModel, Curve, Floats, Pixels
from curation.checks.challenges.overlays import PairMark

if TYPE_CHECKING:
    from training.features import Described, FeatureNetwork

FEWEST_FACES = 60
"""Faces below which nothing is learned: a model of fewer people takes their looks for challenges."""

LESSONS_A_FACE = 8
"""Lessons are no more than so many a face: the same face seen more often teaches little."""

_HELD_OUT = 0.25
"""Share of the faces that calibrate what the others taught."""

_DRAWN, _MOST_DRAWN = 0.25, 800
"""Pictures to calibrate on, and altered faces, as a share of the lessons, and how many suffice."""

_TIMED, _PICTURES_A_LESSON = 64, 3.0
"""Pictures seen to state the cost before, and how many could be seen in the time that a lesson takes."""

_SUSPICIOUS = {"overlay": 0.15, "occluder": 0.0}
"""Share of the pictures without anything laid over them that is left out of calibration, those most like what is looked
for: data have marks of their own. Of faces none is left out, though some are covered: drawn things are so much plainer
than natural ones that a curve which forgets odd faces flags more of these than of covered ones."""

_PENALTY = 0.5
"""Of the ridge regression on 1280 scaled numbers, beside their variances of about 1: weaker ones learn single faces."""

_SURE = 0.5
"""Detector score from which an image is taken for a face when altered ones are told from these."""

_REFERENCES = 500
"""Faces that are kept to measure distances from."""

_WIDE = 0.975
"""Quantile of an opinion on faces whose distance from the median is its spread."""

_COVERED_CELLS, _SEEN_MARK = 3, 0.15
"""Covered cells, those at the edge apart, and mean opacity of the four cells that a mark covers most, from which a
lesson calibrates what a covered face or a marked picture looks like: what is less is not seen by people either."""

_UNEVEN = 0.05
"""Added to the deviation of every number of an embedding: those that hardly vary say nothing."""

Detect = Callable[[Pixels], float]
"""The detector's best score on a grey picture."""


@dataclass(frozen=True)
class Faces:
    """Faces to learn from.

    Attributes:
        pictures: (n_i, n_i) uint8 each.
        landmarks: (n, 5, 2) fractions of the sides.

    """

    pictures: Sequence[Pixels]
    landmarks: Floats

    def part(self, rows: npt.NDArray[np.int64]) -> Faces:
        """Return some of them."""
        return Faces([self.pictures[row] for row in rows.tolist()], self.landmarks[rows])


@dataclass(frozen=True)
class Natural:
    """The data's images as they are, drawn at random.

    Attributes:
        pictures: (n_i, n_i) uint8 each.
        face_score: (n,) the detector's best score of each.

    """

    pictures: Sequence[Pixels]
    face_score: Floats


def learn(
    faces: Faces,
    natural: Natural,
    marks: Sequence[PairMark],
    detect: Detect,
    lessons: int,
    seed: int,
    display: Display,
) -> tuple[ChallengeModel, Described]:
    """Learn from at least ``FEWEST_FACES`` faces; the same arguments give the same model on one machine.

    Args:
        faces: the data's own.
        natural: images of any kind.
        marks: that tell copies in the data apart.
        detect: the face detector.
        lessons: most pictures to learn from.
        seed: of every draw.
        display: progress.

    Returns:
        the model, and what its heads see in the natural images.

    Raises:
        WeightsError: the package with the network's weights is not installed.

    """
    from training.features import FeatureNetwork
    from training.head_shapes import CELLS, SIDE

    rng = np.random.default_rng(seed)
    order = rng.permutation(len(faces.pictures))
    held = max(1, round(_HELD_OUT * len(order)))
    taught, asked = faces.part(order[held:]), faces.part(order[:held])
    count = min(lessons, LESSONS_A_FACE * len(order))
    shape = (SIDE, CELLS["overlay"], CELLS["occluder"])
    network = FeatureNetwork()
    started = time.perf_counter()
    network.describe(_small(natural.pictures[:_TIMED]))
    a_picture = (time.perf_counter() - started) / max(1, min(_TIMED, len(natural.pictures)))
    display.note(f"Learning from {count:,} drawn pictures takes about {_PICTURES_A_LESSON * count * a_picture:.0f} s.")
    with display.step("Learning the challenges", "steps") as report:
        drawn = draw_lessons(taught.pictures, taught.landmarks, marks, count, shape, seed, varied=True)
        report(1, 4)
        # one half of the images as they are teaches, the other says how common the challenges are
        plain, others = _small(natural.pictures), min(count, len(natural.pictures)) // 2
        heads, beset = _taught(network, drawn, plain[:others], seed)
        del drawn
        report(2, 4)
        network = FeatureNetwork(heads)
        few = min(_MOST_DRAWN, max(40, round(_DRAWN * count)))
        own = network.describe(plain)
        altered = [
            draw_altered(part.pictures, part.landmarks, few, SIDE, seed + 2 + place)
            for place, part in enumerate((taught, asked))
        ]
        seen = [network.describe(part).embedding for part in altered]
        human, human_record = _learn_human(
            seen[0],
            beset,
            (own.embedding, natural.face_score),
            (seen[1], np.array([detect(p) for p in altered[1]])),
            network.classes(),
        )
        report(3, 4)
        again = draw_lessons(asked.pictures, asked.landmarks, marks, few, shape, seed + 1)
        logits = network.describe(again.pictures).logits
        curves, record = {}, {"non_human_face": human_record}
        for check, name in models.HEADS.items():
            curve, record[check] = _calibrated(name, logits[name], again)
            found = models.picture_logit(name, own.logits[name][others:])
            curves[check] = curve.among(found, models.LEAST_SHARE[check], models.BELIEVED[check])
        report(4, 4)
    facts = {"revision": models.REVISION, "seed": seed, "faces": len(order), "lessons": count, "pairs": len(marks)}
    return ChallengeModel(heads, human, curves, {**facts, "checks": record}), own


def _taught(
    network: FeatureNetwork, drawn: Lessons, plain: Pixels, seed: int
) -> tuple[dict[str, Arrays], npt.NDArray[np.float16]]:
    """Return the heads that lessons and images as they are teach, and embeddings of some of the lessons' faces."""
    from training.features import learn_head

    count, others = len(drawn.pictures), len(plain)
    taps, embedding = network.taps(np.concatenate([drawn.pictures, plain]))
    # drawings and scraps teach what covers no face; strokes of theirs are too much like those of marks
    lessons_of = {"overlay": np.flatnonzero(drawn.faces), "occluder": np.arange(count)}
    late, heads = np.arange(count, count + others), {}
    for name, rows in lessons_of.items():
        cover = getattr(drawn, name)
        covers = np.concatenate([cover, np.zeros((others, *cover.shape[1:]), np.float32)])
        heads[name] = learn_head(name, taps, covers, rows, late, seed=seed)
    return heads, embedding[:count][drawn.faces][: 2 * _MOST_DRAWN]


def _small(pictures: Sequence[Pixels]) -> Pixels:
    from training.head_shapes import SIDE

    return np.stack([at_side(picture, SIDE) for picture in pictures])


def _calibrated(name: str, logits: npt.NDArray[np.float32], lessons: Lessons) -> tuple[Curve, dict[str, float]]:
    """Return the curve of a head, and how well it tells lessons with the thing from those without.

    The others are the harder case: marks where things before a face are looked for, and the other way round.
    """
    score = models.picture_logit(name, logits)
    cover = lessons.overlay if name == "overlay" else lessons.occluder
    none = (cover.reshape(len(score), -1).max(axis=1) == 0) & lessons.faces
    laid = np.sort(cover.reshape(len(score), -1), axis=1)[:, -4:].mean(axis=1) >= _SEEN_MARK
    if name == "occluder":
        laid = (cover[:, 1:-1, 1:-1] > 0.5).sum(axis=(1, 2)) >= _COVERED_CELLS
    positive, negative = score[laid], score[none]
    curve = models.fit_curve(positive, negative[negative <= np.quantile(negative, 1 - _SUSPICIOUS[name])])
    return curve, {"planted": len(positive), "auroc": round(models.auroc(positive, negative), 4)}


Seen = tuple[npt.NDArray[np.float16], Floats]
"""Embeddings (n, 1280), and the detector's best score (n,) of each picture."""


def _learn_human(
    made: npt.NDArray[np.float16],
    beset: npt.NDArray[np.float16],
    natural: Seen,
    held: Seen,
    classes: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]],
) -> tuple[Arrays, dict[str, float]]:
    """Return what tells altered faces from the data's own images, and how well it does on other ones.

    Args:
        made: embeddings of altered faces.
        beset: of faces with marks and things before them, which are no less people's.
        natural: the data's images; one half is learned from, the other calibrates.
        held: altered ones of faces that were not learned from.
        classes: weights and biases of ImageNet's classes.

    """
    embedding, face_score = natural
    half, sure = len(embedding) // 2, face_score >= _SURE
    sure = sure if sure[: len(sure) // 2].any() and sure[len(sure) // 2 :].any() else np.ones_like(sure)
    faces = embedding[:half][sure[:half]]
    groups = [(made, 1.0, 0.5), (faces, -1.0, 0.25), (beset, -1.0, 0.25)]
    human = _ridge([(part.astype(np.float64), target, share) for part, target, share in groups])
    human["faces"] = faces[:_REFERENCES]
    human["classes"], human["class_biases"] = (values.astype(np.float16) for values in classes)
    seen = models.opinions(human, embedding[half:], face_score[half:])
    human["typical"], wide = np.quantile(seen[sure[half:]], [0.5, _WIDE], axis=0)
    human["spread"] = np.maximum(wide - human["typical"], _UNEVEN)
    positive = models.non_human_score(human, *held)
    negative = models.non_human_score(human, embedding[half:], face_score[half:])
    typical = float(np.median(negative))
    human["usual"] = np.array([typical, upper_fence(negative, 1.0, -np.inf, np.inf) - typical])
    return human, {"planted": len(positive), "auroc": round(models.auroc(positive, negative), 4)}


def _ridge(groups: Sequence[tuple[Floats, float, float]]) -> Arrays:
    """Return the weights that bring groups of pictures, each with its share of the say, nearest to their targets."""
    values = np.concatenate([part for part, _, _ in groups])
    target = np.concatenate([np.full(len(part), target) for part, target, _ in groups])
    say = np.concatenate([np.full(len(part), share / len(part)) for part, _, share in groups])
    mean, scale = values.mean(axis=0), values.std(axis=0) + _UNEVEN
    columns = np.column_stack([(values - mean) / scale, np.ones(len(values))])
    weighted = columns * (say / say.sum())[:, None]
    fitted = np.linalg.solve(weighted.T @ columns + _PENALTY * np.eye(columns.shape[1]), weighted.T @ target)
    return {"weights": fitted[:-1], "mean": mean, "scale": scale}
