"""Verification: the transform that made a copy is found again; what is no copy is not called one."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.audit.synthetic import plant
from curation.audit.synthetic.face import TYPICAL, draw, draw_person, draw_shot
from curation.base.pools.threads import Threads
from curation.checks.duplicates import changes, features, kernel, transform, verification
from curation.checks.duplicates.calibration import in_agreement, in_company, log_odds, may_be_copies, probability
from curation.checks.duplicates.candidates import Candidates
from tests.unit.test_plant import drawn_face


def verified(a: np.ndarray, b: np.ndarray, mirrored: bool = False) -> verification.Verified:
    pair = Candidates.of(np.array([[0, 1]]), np.array([mirrored]))
    return verification.joined(verification.verify(features.pictures(np.stack([a, b])), pair))


def likely(found: verification.Verified) -> np.ndarray:
    return probability(found.odds)


@pytest.mark.parametrize("kind", plant.KINDS)
def test_most_copies_of_every_kind_are_proved(kind: str) -> None:
    proved = []
    for seed in range(20):
        face = drawn_face(seed)
        found = verified(face, plant.make_copy(face, kind, seed), "mirror" in kind)
        proved.append(likely(found).max(initial=0.0) > 0.5)
    assert np.mean(proved) > 0.5


def test_pairs_that_are_only_registered_get_the_same_maps() -> None:
    faces = np.stack([drawn_face(0), plant.make_copy(drawn_face(0), "rotate", 0)])
    pair = Candidates.of(np.array([[0, 1]]), np.array([False]))
    whole, only = (
        verification.joined(verification.verify(features.pictures(faces), pair, weighed=weighed))
        for weighed in (True, False)
    )
    assert np.array_equal(whole.maps, only.maps)
    assert np.isfinite(whole.odds).all()
    assert not np.isfinite(only.odds).any()


def test_threads_change_nothing_not_even_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    faces = np.stack([drawn_face(seed // 2) // (1 + seed % 2) for seed in range(16)])
    pairs = np.array([(i, j) for i in range(16) for j in range(i + 1, 16)])
    candidates = Candidates.of(pairs, np.arange(len(pairs)) % 7 == 0)
    monkeypatch.setattr(verification, "_BATCH", 11)
    done: list[tuple[int, int]] = []
    alone, *others = (
        verification.joined(verification.verify(pictures, candidates, lambda *at: done.append(at), threads=threads))
        for threads in (1, 2, 4)
        for pictures in (features.pictures(faces, workers=Threads(threads)),)
    )
    assert done == 3 * [(min(n + 11, 120), 120) for n in range(0, 120, 11)]
    for found in others:
        assert found.candidates.pairs.tobytes() == alone.candidates.pairs.tobytes()
        for name in ("maps", "evidence", "differences", "odds"):
            assert getattr(found, name).tobytes() == getattr(alone, name).tobytes()


def test_different_pictures_are_not_proved() -> None:
    faces = np.stack([drawn_face(seed) for seed in range(60)])
    pairs = np.array([(i, j) for i in range(60) for j in range(i + 1, 60)])
    found = verification.joined(
        verification.verify(features.pictures(faces), Candidates.of(pairs, np.zeros(len(pairs), dtype=bool)))
    )
    assert not (likely(found) > 0.1).any()


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
    assert not (likely(verified(picture, picture)) > 0.1).any()
    assert not (likely(verified(picture, drawn_face(1))) > 0.1).any()


def test_the_result_of_a_pair_does_not_depend_on_its_company() -> None:
    faces = np.stack([drawn_face(seed % 8) // (1 + seed // 8) for seed in range(16)])
    pictures = features.pictures(faces)
    pairs = np.array([(i, j) for i in range(16) for j in range(i + 1, 16)])
    together = verification.joined(
        verification.verify(pictures, Candidates.of(pairs, np.zeros(len(pairs), dtype=bool)))
    )
    for pair, evidence in zip(together.candidates.pairs, together.evidence, strict=True):
        alone = verification.joined(verification.verify(pictures, Candidates.of(pair[None], np.zeros(1, dtype=bool))))
        assert np.array_equal(alone.evidence[0], evidence)


def expressions(person: int) -> list[np.ndarray]:
    """Return one drawn person's four expressions in one light and pose, 48 px."""
    rng = np.random.default_rng([71, person])
    drawn, shot = draw_person(rng), draw_shot(rng)
    frames = []
    for expression in TYPICAL.values():
        tones = draw(96, drawn, expression, shot, np.random.default_rng([72, person]))
        levels = np.clip(tones * 255 + rng.normal(0, 2, tones.shape), 0, 255).astype(np.uint8)
        frames.append(cv2.resize(levels, (48, 48), interpolation=cv2.INTER_AREA))
    return frames


def test_expressions_of_one_person_are_no_copies() -> None:
    faces = np.stack([frame for person in range(12) for frame in expressions(person)])
    pairs = np.array([(4 * p + a, 4 * p + b) for p in range(12) for a in range(4) for b in range(a + 1, 4)])
    plain = Candidates.of(pairs, np.zeros(len(pairs), dtype=bool))
    found = verification.joined(verification.verify(features.pictures(faces), plain))
    assert may_be_copies(found.evidence).mean() > 0.8  # all that does not move agrees
    beside = in_company(
        found.odds[np.isfinite(found.odds)], found.candidates.pairs[np.isfinite(found.odds)], len(faces)
    )
    assert (probability(beside) >= 0.9).mean() <= 0.03


@pytest.mark.parametrize("kind", ["text", "block", "jpeg", "mirror", "crop_5", "gamma"])
def test_copies_of_a_face_are_copies_whatever_lies_over_it(kind: str) -> None:
    proved = []
    for person in range(12):
        face = expressions(person)[person % 4]
        proved.append(
            likely(verified(face, plant.make_copy(face, kind, person), kind == "mirror")).max(initial=0.0) >= 0.9
        )
    assert np.mean(proved) >= 0.9


def differences(**values: float) -> np.ndarray:
    """Return the differences of one good copy, changed."""
    usual = {
        "shift_median": 0.02,
        "explained_all": 0.1,
        "noise": 0.5,
        "eyes": 2.0,
        "mouth": 2.0,
        "elsewhere": 2.0,
        "support": 0.8,
    }
    seen = {**usual, "overlay": changes.NO_CHANGE, **values}
    return np.array([[seen.get(name, 0.0) for name in changes.EVIDENCE]])


ALIKE = np.array([[0.95, 0.9, 0.95, 0.97, 0.95, 0.97, 0.05, 0.1, 1.0]])
IDENTITY = np.array([[1.0, 0, 0, 0, 1, 0]])


@given(
    name=st.sampled_from(["shift_median", "explained_all", "eyes", "mouth"]),
    overlay=st.sampled_from([-3.0, 2.0, changes.NO_CHANGE]),
    value=st.floats(0.01, 30),
    more=st.floats(0, 30),
)
def test_what_differs_more_is_never_likelier_a_copy(name: str, overlay: float, value: float, more: float) -> None:
    low, high = (
        log_odds(ALIKE, differences(**{name: v, "overlay": overlay}), IDENTITY)[0] for v in (value + more, value)
    )
    assert low <= high


def test_what_is_not_weighed_is_no_copy() -> None:
    large = np.zeros((2, 48, 48), dtype=np.int8)
    one = np.zeros(1, dtype=np.int64)
    evidence = kernel.examine(large, one, one + 1, np.zeros(1, dtype=np.bool_), IDENTITY.copy())
    assert not may_be_copies(evidence).any()
    assert probability(log_odds(ALIKE, np.full((1, len(changes.EVIDENCE)), np.nan), IDENTITY)).tolist() == [0.0]


def test_a_pair_among_shots_needs_more_evidence_than_a_pair_alone() -> None:
    alone = in_company(np.array([3.0]), np.array([[0, 1]]), 2)
    shots = np.array([[0, 2], [0, 3], [1, 2], [1, 3]])
    beside = in_company(np.array([3.0, *[-4.0] * 4]), np.concatenate([[[0, 1]], shots]), 4)
    copies = in_company(np.array([3.0, *[6.0] * 4]), np.concatenate([[[0, 1]], shots]), 4)
    assert alone[0] == pytest.approx(3.0) and copies[0] == pytest.approx(3.0, abs=0.1)
    assert beside[0] < 2.0


def test_one_pair_of_two_bursts_does_not_join_them() -> None:
    pairs = np.array([(i, j) for i in range(6) for j in range(i + 1, 6)])
    within = (pairs < 3).all(axis=1) | (pairs >= 3).all(axis=1)
    odds = np.where(within, 8.0, -3.0)
    odds[(pairs == (1, 4)).all(axis=1)] = 6.0
    believed = in_agreement(odds, pairs, odds > 2)
    assert (believed[within] == 8.0).all()
    assert believed[~within].max() < 0
    # what is alike pair by pair stays so, in any order of the pairs
    odds[~within] = 6.0
    order = np.random.default_rng(1).permutation(len(pairs))
    assert in_agreement(odds[order], pairs[order], odds[order] > 2).tolist() == odds[order].tolist()


def test_a_doubtful_copy_casts_no_doubt_on_a_sure_one() -> None:
    pairs = np.array([[0, 1], [0, 2], [1, 2]])
    believed = in_agreement(np.array([9.0, -6.0, 4.0]), pairs, np.array([True, False, True]))
    assert believed[0] == 9.0 and believed[2] < 0
    none = in_agreement(np.empty(0), np.empty((0, 2), np.int64), np.empty(0, np.bool_))
    assert none.shape == (0,)
