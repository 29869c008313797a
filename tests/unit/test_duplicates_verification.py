"""Verification: the transform that made a copy is found again; what is no copy is not called one."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.audit.synthetic import plant
from curation.checks.duplicates import features, kernel, transform, verification
from curation.checks.duplicates.calibration import probability
from curation.checks.duplicates.candidates import Candidates
from tests.unit.test_plant import drawn_face


def verified(a: np.ndarray, b: np.ndarray, mirrored: bool = False) -> verification.Verified:
    pair = Candidates(np.array([[0, 1]]), np.array([mirrored]))
    return verification.joined(verification.verify(features.pictures(np.stack([a, b])), pair))


@pytest.mark.parametrize("kind", plant.KINDS)
def test_most_copies_of_every_kind_are_proved(kind: str) -> None:
    proved = []
    for seed in range(20):
        face = drawn_face(seed)
        found = verified(face, plant.make_copy(face, kind, seed), "mirror" in kind)
        proved.append(found.probability.size == 1 and found.probability[0] > 0.5)
    assert np.mean(proved) > 0.5


def test_different_pictures_are_not_proved() -> None:
    faces = np.stack([drawn_face(seed) for seed in range(60)])
    pairs = np.array([(i, j) for i in range(60) for j in range(i + 1, 60)])
    found = verification.joined(
        verification.verify(features.pictures(faces), Candidates(pairs, np.zeros(len(pairs), dtype=bool)))
    )
    assert not (found.probability > 0.1).any()


@pytest.mark.parametrize(
    ("degrees", "scale", "dx", "dy"), [(6, 1.0, 0, 0), (-4, 1.1, 2, -1), (0, 0.88, 0, 3), (3, 1.2, -2, 2)]
)
def test_the_transform_is_found(degrees: float, scale: float, dx: float, dy: float) -> None:
    """cv2's positive angles turn the content counter-clockwise; ours, like its y axis, clockwise."""
    large = drawn_face(8, 480)
    matrix = cv2.getRotationMatrix2D((239.5, 239.5), degrees, scale)
    matrix[:, 2] += (10 * dx, 10 * dy)
    moved = cv2.warpAffine(large, matrix, (480, 480), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    small = [cv2.resize(image, (48, 48), interpolation=cv2.INTER_AREA) for image in (large, moved)]
    found = transform.decompose(verified(*small).maps)
    assert found.angle[0] == pytest.approx(-degrees, abs=0.7)
    assert found.scale[0] == pytest.approx(scale, abs=0.015)
    assert found.dx[0] * 48 == pytest.approx(dx, abs=0.4)
    assert found.dy[0] * 48 == pytest.approx(dy, abs=0.4)
    assert found.stretch[0] < 1.03


def test_words_name_what_was_done() -> None:
    face = drawn_face(8)
    copy = plant.crop(plant.mirror(face, np.random.default_rng(0)), np.random.default_rng(0), 0.05, jitter=0.0)
    found = verified(face, copy, mirrored=True)
    words = transform.in_words(transform.decompose(found.maps), np.array([True]), np.array([0.97]), np.array([0.95]))
    assert (
        words == ["mirrored, 8 % tighter crop"]
        or words == ["mirrored, 10 % tighter crop"]
        or words == ["mirrored, 9 % tighter crop"]
    )


def test_words_for_nothing_done_and_for_a_covered_part() -> None:
    still = transform.decompose(np.array([[1.0, 0, 0, 0, 1, 0]]))
    plain = np.array([False])
    assert transform.in_words(still, plain, np.array([0.99]), np.array([0.98])) == ["same view"]
    assert transform.in_words(still, plain, np.array([0.95]), np.array([0.2])) == ["partly covered or marked"]


def test_words_can_be_turned_round() -> None:
    assert transform.inverted("mirrored, 6 % tighter crop, 3 degrees rotated") == (
        "mirrored, 6 % wider crop, 3 degrees rotated"
    )
    assert transform.inverted(transform.inverted("9 % wider crop")) == "9 % wider crop"


@pytest.mark.parametrize("picture", [np.zeros((48, 48), np.uint8), np.full((48, 48), 255, np.uint8)])
def test_empty_pictures_are_never_proved(picture: np.ndarray) -> None:
    assert not (verified(picture, picture).probability > 0.1).any()
    assert not (verified(picture, drawn_face(1)).probability > 0.1).any()


def test_the_result_of_a_pair_does_not_depend_on_its_company() -> None:
    faces = np.stack([drawn_face(seed % 8) // (1 + seed // 8) for seed in range(16)])
    pictures = features.pictures(faces)
    pairs = np.array([(i, j) for i in range(16) for j in range(i + 1, 16)])
    together = verification.joined(verification.verify(pictures, Candidates(pairs, np.zeros(len(pairs), dtype=bool))))
    for pair, evidence in zip(together.candidates.pairs, together.evidence, strict=True):
        alone = verification.joined(verification.verify(pictures, Candidates(pair[None], np.zeros(1, dtype=bool))))
        assert np.array_equal(alone.evidence[0], evidence)


@given(fine=st.floats(-1, 1), better=st.floats(0, 0.5), drift=st.floats(0, 3), calmer=st.floats(0, 1))
def test_better_evidence_never_lowers_the_probability(fine: float, better: float, drift: float, calmer: float) -> None:
    evidence = np.zeros((2, len(kernel.EVIDENCE)))
    evidence[:, kernel.EVIDENCE.index("fine_median")] = (fine, min(fine + better, 1.0))
    evidence[:, kernel.EVIDENCE.index("drift_median")] = (drift, drift * calmer)
    low, high = probability(evidence)
    assert 0 <= low <= high <= 1


def test_registration_given_up_is_no_evidence_for_a_copy() -> None:
    large = np.zeros((2, 48, 48), dtype=np.int8)
    one = np.zeros(1, dtype=np.int64)
    evidence = kernel.examine(large, one, one + 1, np.zeros(1, dtype=np.bool_), np.array([[1.0, 0, 0, 0, 1, 0]]))
    assert probability(evidence)[0] == 0
