"""Parts of pictures and numbers of faces: margins and seams are found, portraits are left whole; sharpness of edges."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from curation.audit.synthetic.face import TYPICAL, draw, draw_person, draw_shot
from curation.base.settings import MeasureSettings
from curation.base.tables import FRAMED, HALF
from curation.measure.decode import Decoded
from curation.measure.faces.base import Face, FaceDetector
from curation.measure.faces.choice import choose_detector
from curation.measure.faces.measures import measure_face
from curation.measure.faces.turned import GAIN, best_when_turned
from curation.measure.parts import content_box, parts_of
from curation.measure.pixels import edge_sharpness, measure_pixels, texture_entropy
from tests import hard_copies
from tests.unit.test_plant import drawn_face


def person(seed: int, side: int = 160, expression: str = "neutral") -> np.ndarray:
    rng = np.random.default_rng([311, seed])
    tones = draw(side, draw_person(rng), TYPICAL[expression], draw_shot(rng), np.random.default_rng([312, seed]))
    return np.clip(tones * 255, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("level", [0, 90, 255])
def test_a_frame_of_any_tone_is_cut_off(level: int) -> None:
    framed = cv2.copyMakeBorder(drawn_face(1, 100), 10, 20, 15, 5, cv2.BORDER_CONSTANT, value=level)
    found = [part for part in parts_of(framed[None])[0] if part.kind == FRAMED]
    left, top, right, bottom = found[0].box
    assert (left * 120, top * 130) == (pytest.approx(15, abs=2), pytest.approx(10, abs=2))
    assert (right * 120, bottom * 130) == (pytest.approx(115, abs=2), pytest.approx(110, abs=2))


def test_a_picture_of_one_tone_has_no_content_to_cut() -> None:
    assert content_box(np.full((60, 80), 255, np.uint8)) == (0, 0, 80, 60)


@pytest.mark.parametrize("upright", [False, True])
def test_two_pictures_in_one_are_cut_at_their_seam(upright: bool) -> None:
    both = hard_copies.side_by_side(person(1, 120), person(2, 120))
    halves = [part for part in parts_of((both.T.copy() if upright else both)[None])[0] if part.kind == HALF]
    assert len(halves) == 2
    assert halves[0].box[3 if upright else 2] == pytest.approx(0.5, abs=0.02)


def test_most_portraits_are_left_whole() -> None:
    assert sum(any(part.kind == HALF for part in parts_of(person(seed)[None])[0]) for seed in range(40)) <= 4


def test_motion_blurs_edges_along_one_direction_only() -> None:
    face = person(3, 96)
    kernel = np.zeros((11, 11), np.float32)
    kernel[5] = 1 / 11
    moved = cv2.filter2D(face, -1, kernel)
    still, along, across = edge_sharpness(np.stack([face, moved, moved.T]))
    assert along < 0.5 * still
    assert across == pytest.approx(along, rel=0.01)
    assert edge_sharpness(np.zeros((1, 2, 40), np.uint8)) == [0.0]


def test_contrast_alone_leaves_the_sharpness_of_edges() -> None:
    face = person(4, 96)
    pale, full = edge_sharpness(np.stack([(64 + face // 4).astype(np.uint8), face]))
    assert pale == pytest.approx(full, rel=0.35)


def test_a_small_face_on_plain_ground_shows_soft_texture_and_lettering_does_not() -> None:
    ground = np.full((300, 300), 255, np.uint8)
    ground[120:190, 110:180] = cv2.GaussianBlur(cv2.resize(person(5), (70, 70)), (0, 0), 1)
    placard = cv2.putText(np.full((300, 300), 255, np.uint8), "no image", (20, 160), 0, 1.6, 0, 3)
    soft, lettered = texture_entropy(np.stack([ground, placard]))
    assert soft > 5.0 > lettered
    assert texture_entropy(np.full((1, 50, 50), 7, np.uint8)) == [0.0]


def test_a_small_face_in_a_large_picture_shows_soft_texture_and_noise_does_not() -> None:
    ground = np.full((1200, 1200), 255, np.uint8)
    ground[300:500, 700:900] = cv2.resize(person(5), (200, 200), interpolation=cv2.INTER_CUBIC)
    noise = np.clip(128 + np.random.default_rng(1).normal(0, 4, (1200, 1200)), 0, 255).astype(np.uint8)
    soft, noisy = texture_entropy(np.stack([ground, noise]))
    assert soft > 5.0 > noisy


def test_the_face_s_light_is_measured_within_its_box_and_its_distance_to_the_edge() -> None:
    picture = np.full((100, 100), 255, np.uint8)
    picture[30:70, 30:70] = 40
    face = Face(0.3, 0.3, 0.4, 0.4, 0.9, (0.4, 0.4, 0.6, 0.4, 0.5, 0.5, 0.42, 0.6, 0.58, 0.6))
    measured = measure_face(face, picture, (0, 0, 100, 100))
    assert measured.brightness_p95 == pytest.approx(40 / 255, abs=1e-6)
    assert measured.edge_distance == pytest.approx(1.0)
    # what a margin surrounds ends there: the mouth lies on its edge
    assert measure_face(face, picture, (0, 0, 100, 60)).edge_distance == pytest.approx(0.0)
    assert math.isnan(measure_face(Face(0.3, 0.3, 0.4, 0.4, 0.9), picture, (0, 0, 100, 100)).edge_distance)


def test_an_upside_down_face_is_surer_when_it_is_turned_and_an_upright_one_is_not() -> None:
    detector = choose_detector(MeasureSettings()).make(MeasureSettings().min_face_score)
    gained = {180: [], 0: []}
    for seed in range(12):
        for degrees in gained:
            pixels = np.ascontiguousarray(np.rot90(person(seed), degrees // 90))
            faces = detector.detect(pixels)
            own = faces[0].score if faces else 0.0
            ((by, score),) = best_when_turned([pixels], [faces], detector)
            gained[degrees].append(score > own + GAIN and by == degrees)
    assert sum(gained[180]) >= 8
    assert sum(gained[0]) == 0


class Scores(FaceDetector):
    """A detector that knows a picture by its brightest corner; ``mirrored`` holds the scores of mirror images."""

    def __init__(self, as_it_is: float, mirrored: float, turned: float, turned_mirrored: float) -> None:
        self.scores = {(0, 0): as_it_is, (0, 1): mirrored, (1, 1): turned, (1, 0): turned_mirrored}

    def detect(self, pixels: np.ndarray) -> list[Face]:
        score = self.scores.get(np.unravel_index(pixels.argmax(), pixels.shape), 0.0)
        return [Face(0.2, 0.2, 0.6, 0.6, score)] if score else []


@pytest.mark.parametrize(
    ("scores", "turned"),
    [((0.75, 0.76, 0.9, 0.88), True), ((0.78, 0.86, 0.86, 0.83), False), ((0.75, 0.78, 0.83, 0.75), False)],
)
def test_a_face_is_surer_turned_only_where_its_mirror_image_does_not_gainsay_it(
    scores: tuple[float, float, float, float], turned: bool
) -> None:
    picture = np.array([[9, 0], [0, 0]], np.uint8)
    detector = Scores(*scores)
    ((degrees, score),) = best_when_turned([picture], [detector.detect(picture)], detector)
    assert (degrees, score) == (180, 0.9) if turned else (degrees == 0 and math.isnan(score))


def test_a_tilted_face_is_neither_sideways_nor_upside_down_and_one_on_its_side_is() -> None:
    detector = choose_detector(MeasureSettings()).make(MeasureSettings().min_face_score)
    told = {}
    for degrees in (40, 90):
        turn = cv2.getRotationMatrix2D((79.5, 79.5), degrees, 1.0)
        pictures = [cv2.warpAffine(person(seed, 160), turn, (160, 160), borderMode=1) for seed in range(12)]
        found = best_when_turned(pictures, detector.detect_all(pictures), detector)
        told[degrees] = sum(turned != 0 for turned, _ in found)
    assert told[40] <= 1
    assert told[90] >= 9


def test_the_pixel_probe_keeps_the_parts_with_the_picture() -> None:
    framed = cv2.copyMakeBorder(drawn_face(1, 100), 12, 12, 12, 12, cv2.BORDER_CONSTANT, value=0)
    (measured,) = measure_pixels([Decoded(framed, 124, 124, "L", "PNG", 1)])
    assert [part["kind"] for part in measured.parts] == [FRAMED]
    assert len(measured.parts[0]["thumbnail"]) == 48 * 48
