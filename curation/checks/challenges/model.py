"""What is learned of a data set's challenges from its own faces, with things and marks laid over them on purpose.

Nothing else teaches it, neither labels nor people's votes. What it says of a picture is calibrated on faces that it did
not learn from, and then on how common the challenge is in the data (Saerens, Latinne & Decaestecker 2002).
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from curation.base import reading
from curation.checks.challenges.distance import nearest

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Half = npt.NDArray[np.float16]
Arrays = dict[str, npt.NDArray[Any]]

REVISION = 5
"""Raised whenever another model may be learned from the same faces."""

HEADS = {"watermark": "overlay", "occluded_face": "occluder"}

_TOP = {"overlay": 8, "occluder": 3}
"""Cells whose mean logit stands for a picture: about as many as a word or a hand covers."""

_MARGIN = {"overlay": 0, "occluder": 1}
"""Cells at the edge that do not count: a hand at the edge covers no face."""

_ANIMALS = 398
"""The first classes of ImageNet's thousand are animals, from the tench to the puffer fish (Russakovsky et al. 2015)."""

_LEAST_SCORE = 0.02
"""Detector scores are kept this far from 0 and 1, so that log-odds are finite."""

_BATCH = 2000
"""Pictures whose classes are held at a time."""

_RIDGE = 0.01
_ROUNDS = 50
_EM_ROUNDS = 200

LEAST_SHARE = {"watermark": 1e-4, "occluded_face": 0.08}
"""Least share of the data that is taken to have a challenge: no prior is 0. Things before a face differ so much from
the drawn ones that their share cannot be estimated; in the test images of three expression sets 17 to 24 % of the faces
are occluded (Wang et al. 2020, IEEE TIP 29:4057), and less than half of that is a careful guess."""

BELIEVED = {"watermark": 0.5, "occluded_face": 1.0}
"""Part of the share that the scores suggest which is believed: images without a face, drawings and patterns look more
like marks than the faces do that the curve was fitted on (by eye, 28 of 100 flagged without this had none)."""


@dataclass(frozen=True)
class Curve:
    """Log-odds that a picture has a challenge, linear in its score.

    Attributes:
        weights: (2,) slope and intercept.
        prior: share of the pictures that it is meant for that have the challenge.

    """

    weights: Floats
    prior: float

    def probability(self, score: Floats) -> Floats:
        """Return the probability (n,) that each picture has the challenge."""
        return np.asarray(1 / (1 + np.exp(-np.clip(self.weights[0] * score + self.weights[1], -30, 30))))

    def among(self, score: Floats, least: float = 1e-4, believed: float = 1.0) -> Curve:
        """Return the curve for data in which the challenge is as common as it seems in pictures of these scores (n,).

        The share is the likeliest one, found by expectation maximisation (Saerens et al. 2002), of which a part is
        ``believed``, at least ``least``.
        """
        taught = np.log(self.prior / (1 - self.prior))
        ratio = np.exp(np.clip(self.weights[0] * score + self.weights[1] - taught, -30, 30))
        share = max(least, self.prior / 2)
        for _ in range(_EM_ROUNDS):
            found = share * ratio / (share * ratio + 1 - share)
            before, share = share, float(np.clip(found.mean() if len(found) else 0.0, least, 0.5))
            if abs(share - before) < 1e-7:
                break
        share = max(least, share * believed)
        return Curve(self.weights + np.array([0, np.log(share / (1 - share)) - taught]), share)


@dataclass(frozen=True)
class ChallengeModel:
    """What was learned.

    Attributes:
        heads: arrays of each head.
        human: weights, mean and scale of the embedding (1280,) that tell altered faces from the data's; faces
            (m, 1280): embeddings of some of these; classes (1280, 1000) and class_biases (1000,): ImageNet's; typical
            and spread (4,): of the ``opinions`` on faces; usual (2,): median and robust deviation of
            ``non_human_score`` on the data's images.
        curves: per check.
        record: on what it was learned, and how well it finds planted ones that it did not learn from.

    """

    heads: dict[str, Arrays]
    human: Arrays
    curves: dict[str, Curve]
    record: dict[str, Any]

    @property
    def digest(self) -> str:
        """A fingerprint of the heads."""
        parts = hashlib.sha256()
        for name, arrays in sorted(self.heads.items()):
            for key, value in sorted(arrays.items()):
                parts.update(f"{name}.{key}".encode() + np.ascontiguousarray(value).tobytes())
        return parts.hexdigest()[:16]

    def to_bytes(self) -> bytes:
        """Return the model as the bytes of an .npz file."""
        flat: Arrays = {f"human/{key}": value for key, value in self.human.items()}
        for name, arrays in self.heads.items():
            flat |= {f"heads/{name}/{key}": value for key, value in arrays.items()}
        for name, curve in self.curves.items():
            flat[f"curves/{name}"] = np.append(curve.weights, curve.prior)
        stream = io.BytesIO()
        np.savez(stream, record=np.array(json.dumps(self.record)), **flat)  # type: ignore[arg-type]
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> ChallengeModel:
        """Return the model that ``to_bytes`` wrote.

        Raises:
            ValueError, KeyError: these bytes are none.

        """
        arrays = reading.arrays(data)
        heads: dict[str, Arrays] = {name: {} for name in HEADS.values()}
        human: Arrays = {}
        curves = {}
        record = reading.json_object(str(arrays.pop("record")))
        for name, value in arrays.items():
            kind, _, rest = name.partition("/")
            if kind == "heads":
                head, _, key = rest.partition("/")
                heads[head][key] = value
            elif kind == "human":
                human[rest] = value
            else:
                curves[rest] = Curve(value[:-1], float(value[-1]))
        return cls(heads, human, curves, record)


def picture_logit(name: str, logits: npt.NDArray[np.floating[Any]]) -> Floats:
    """Return what a head says of whole pictures, (n,), from its cells (n, c, c)."""
    edge = _MARGIN[name]
    inner = logits[:, edge : logits.shape[1] - edge, edge : logits.shape[2] - edge].reshape(len(logits), -1)
    return np.asarray(np.sort(inner.astype(np.float64), axis=1)[:, -_TOP[name] :].mean(axis=1))


def non_human_score(human: Mapping[str, npt.NDArray[Any]], embedding: Half, face_score: Floats) -> Floats:
    """Return how little each picture looks like a person's face, (n,): four opinions that err apart.

    Each has an equal say once its spread among faces is 1: weights that fit drawn pictures best would say little of
    others, and equal ones hold up where the data change (Dawes 1979, American Psychologist 34:571).
    """
    seen = opinions(human, embedding, face_score)
    return np.asarray(((seen - human["typical"]) / human["spread"]).sum(axis=1))


def opinions(human: Mapping[str, npt.NDArray[Any]], embedding: Half, face_score: Floats) -> Floats:
    """Return (n, 4): how altered pictures look, the detector's doubt, how far they are from faces, how like animals."""
    score = np.clip(np.nan_to_num(face_score), _LEAST_SCORE, 1 - _LEAST_SCORE)
    scaled = human["weights"] / human["scale"]
    altered = embedding.astype(np.float32) @ scaled.astype(np.float32) - float(human["mean"] @ scaled)
    doubt = np.log((1 - score) / score)
    return np.column_stack([altered, doubt, nearest(embedding, human["faces"]), _animal(human, embedding)])


def _animal(human: Mapping[str, npt.NDArray[Any]], embedding: Half) -> Floats:
    """Return the log-odds (n,) that a picture's class is one of the animals."""
    weights, biases = (human[name].astype(np.float32) for name in ("classes", "class_biases"))
    result = np.empty(len(embedding))
    for start in range(0, len(embedding), _BATCH):
        rows = slice(start, start + _BATCH)
        odds = np.exp(np.clip(embedding[rows].astype(np.float32) @ weights + biases, -40, 40))
        result[rows] = np.log(odds[:, :_ANIMALS].sum(axis=1)) - np.log(odds[:, _ANIMALS:].sum(axis=1))
    return result


def fit_curve(positive: Floats, negative: Floats) -> Curve:
    """Return the logistic curve between scores of pictures with a challenge (n,) and without it (m,)."""
    target = np.r_[np.ones(len(positive)), np.zeros(len(negative))]
    columns = np.column_stack([np.r_[positive, negative], np.ones(len(target))])
    return Curve(_logistic(columns, target), float(target.mean()))


def _logistic(columns: Floats, target: Floats) -> Floats:
    """Return the weights of a slightly penalised logistic regression (Newton's steps)."""
    weights, penalty = np.zeros(columns.shape[1]), _RIDGE * np.eye(columns.shape[1])
    for _ in range(_ROUNDS):
        fitted = 1 / (1 + np.exp(-np.clip(columns @ weights, -30, 30)))
        curvature = (columns * (fitted * (1 - fitted))[:, None]).T @ columns + penalty
        step = np.linalg.solve(curvature, columns.T @ (target - fitted) - penalty @ weights)
        weights = weights + step
        if np.abs(step).max() < 1e-8:
            break
    return np.asarray(weights)


def standard_landmarks(boxes: Floats) -> Floats:
    """Return landmarks (n, 5, 2) where they usually are in boxes (n, 4): x, y, width, height.

    The places are those of the eyes, nose and mouth's corners in ArcFace's alignment template (Deng et al. 2019).
    """
    template = np.array([[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [41.5, 92.4], [70.7, 92.2]]) / 112
    return np.asarray(boxes[:, None, :2] + template * boxes[:, None, 2:4])


def auroc(positive: Sequence[float] | Floats, negative: Sequence[float] | Floats) -> float:
    """Return the probability that a positive's score is above a negative's."""
    from scipy.stats import rankdata

    ranks = rankdata(np.r_[np.asarray(positive), np.asarray(negative)])[: len(positive)]
    return float((ranks.mean() - (len(positive) + 1) / 2) / len(negative))
