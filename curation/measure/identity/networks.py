"""Which network tells people apart, and making it: dlib's, a recognition pack of insightface, any ONNX embedding."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from curation.base import reading
from curation.base.arrays import Floats32
from curation.base.errors import CurationError
from curation.measure.decode import Pixels
from curation.measure.faces.weights import search_path
from curation.measure.onnx_graph import session

REVISION = 1
"""Raised whenever an embedding may change for the same face; makes cached ones stale."""

_INSIGHTFACE = "insightface:"

_OTHER_FILES = ("det_", "genderage", "1k3d", "2d106")
"""Beginnings of the files in insightface's packs that are no recognition network."""

_DLIB_POINTS = ((0.2273, 0.2214), (0.7528, 0.2212), (0.4901, 0.5156), (0.2541, 0.7802), (0.7261, 0.7802))
"""Eyes, nose tip, mouth corners in the square that dlib's mean face fills (dlib, render_face_detections: eyes are the
means of its corners); the square has a border of a quarter of its side."""

_DLIB_BORDER = 0.25

_ARCFACE_POINTS = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
"""The same in a picture of 112 px (Deng et al., "ArcFace", 2019; insightface's face_align)."""

_ARCFACE_SIDE = 112

_TYPICAL_POINTS = ((0.25, 0.40), (0.73, 0.40), (0.49, 0.60), (0.30, 0.75), (0.70, 0.75))
"""The same in a detector's box; measured on upright faces, for detectors without landmarks."""

_EYES = (1.0, 1.0, 0.0, 0.0, 0.0)
_ALL = (1.0, 1.0, 1.0, 1.0, 1.0)


class IdentityError(CurationError):
    """The settings name no network that can be used here."""


@dataclass(frozen=True)
class IdentityNetwork:
    """A network that is ready to be made, in this process or another.

    name   -- as the settings have it
    digest -- SHA-256 of the weights as they are published
    model  -- serialised ONNX model
    points -- (5, 2) where eyes, nose and mouth corners lie in its input, px
    side   -- of its square input, px
    mean, scale -- what is taken off RGB values 0..255, and what they are divided by then
    unit   -- whether its embeddings are scaled to length 1
    """

    name: str
    digest: str
    model: bytes
    points: tuple[tuple[float, float], ...]
    side: int
    mean: tuple[float, float, float]
    scale: float
    unit: bool

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What identifies the network and how faces are shown to it, the same on every machine."""
        shown = [self.points, self.side, self.mean, self.scale, self.unit]
        return {"revision": REVISION, "weights": self.digest, "shown": shown}

    def make(self) -> Embedder:
        """Return the network, loaded; one thread.

        Raises:
            IdentityError: it is no network of one square picture.

        """
        return Embedder(self)


class Embedder:
    """A loaded network; one object serves one thread."""

    def __init__(self, network: IdentityNetwork) -> None:
        try:
            self._session = session(network.model)
        except Exception as error:  # onnxruntime raises kinds of its own
            raise IdentityError(f"the identity network {network.name} is no ONNX model that can be run") from error
        self._input = self._session.get_inputs()[0]
        self._network = network

    def embed(self, pixels: Pixels, landmarks: Sequence[float] | None, box: Sequence[float]) -> Floats32:
        """Return the embedding of one face, (numbers,) float32: the mean over two views, one of them mirrored.

        Args:
            pixels: grey (H, W) or RGB (H, W, 3) uint8
            landmarks: x1, y1, .. x5, y5 in fractions of the image, or None
            box: x, y, width, height in fractions of the image

        """
        height, width = pixels.shape[:2]
        points = landmarks_in(landmarks, box) * (width, height)
        chips = [
            aligned(pixels, points, self._network, _ALL),
            # eyes alone: another alignment and the mirror image halve what chance adds to a distance
            aligned(pixels, points, self._network, _EYES)[:, ::-1],
        ]
        mean_value = np.asarray(self._network.mean, dtype=np.float32)
        batch = (np.stack(chips).astype(np.float32) - mean_value) / np.float32(self._network.scale)
        found = self._run(np.ascontiguousarray(batch.transpose(0, 3, 1, 2)))
        if found.ndim != 2:
            raise IdentityError(f"the identity network {self._network.name} gives no vector for a face")
        if self._network.unit:
            found = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        mean = found.mean(axis=0)
        embedding: Floats32 = (mean / max(float(np.linalg.norm(mean)), 1e-12) if self._network.unit else mean).astype(
            "f4"
        )
        return embedding

    def _run(self, batch: Floats32) -> npt.NDArray[Any]:
        """Run the views together, or one by one where the network takes one only."""
        parts = [batch[:1], batch[1:]] if self._input.shape[0] == 1 else [batch]
        return np.concatenate([self._session.run(None, {self._input.name: part})[0] for part in parts])


def landmarks_in(landmarks: Sequence[float] | None, box: Sequence[float]) -> npt.NDArray[np.float64]:
    """Return five landmarks, (5, 2), in fractions of the image: the given ones, or typical places in the box."""
    if landmarks is not None:
        return np.asarray(landmarks, dtype=np.float64).reshape(5, 2)
    x, y, width, height = box
    return np.asarray(_TYPICAL_POINTS) * (width, height) + (x, y)


def aligned(
    pixels: Pixels, points: npt.NDArray[np.float64], network: IdentityNetwork, weights: Sequence[float]
) -> Pixels:
    """Return a face as the network sees it, (side, side, 3) RGB uint8; beyond the picture its edge goes on.

    Args:
        pixels: grey (H, W) or RGB (H, W, 3) uint8
        points: (5, 2) landmarks, px
        network: for the places where it expects them
        weights: of the landmarks in the fit of turn, scale and shift

    """
    move = _similarity(points, np.asarray(network.points), np.asarray(weights))
    scale = float(np.hypot(move[0, 0], move[1, 0]))
    if scale < 1:  # average areas before the picture is made smaller
        pixels = np.asarray(cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        move = np.hstack([move[:, :2] / scale, move[:, 2:]])
    size = (network.side, network.side)
    # cubic: of people at 28 and 48 px it joined 2 and 1 in a hundred pairs more than linear
    chip = cv2.warpAffine(pixels, move, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.cvtColor(chip, cv2.COLOR_GRAY2RGB) if chip.ndim == 2 else chip, dtype=np.uint8)


def _similarity(
    given: npt.NDArray[np.float64], wanted: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the (2, 3) turn, scale and shift that brings points nearest to others (least squares, weighted).

    In complex numbers it is one division: wanted = factor * given + shift.
    """
    share = weights / weights.sum()
    source, target = (points[:, 0] + 1j * points[:, 1] for points in (given, wanted))
    centre, goal = (share * source).sum(), (share * target).sum()
    spread = (share * np.abs(source - centre) ** 2).sum()
    factor = (share * (target - goal) * np.conj(source - centre)).sum() / max(spread, 1e-12)
    shift = goal - factor * centre
    return np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]])


def choose_network(name: str) -> IdentityNetwork:
    """Return the network called ``name``: dlib, insightface:PACK_OR_FOLDER or the path of an ONNX file.

    Raises:
        IdentityError: there is no such network.
        DlibWeightsError, MissingPackageError: dlib's weights, or a package, are not installed.

    """
    if name == "dlib":
        from curation.measure.identity import dlib_weights

        square = (np.asarray(_DLIB_POINTS) + _DLIB_BORDER) / (1 + 2 * _DLIB_BORDER) * dlib_weights.SIDE
        model = dlib_weights.onnx_model(dlib_weights.read_weights())
        return IdentityNetwork(
            name,
            dlib_weights.SHA256,
            model,
            _as_points(square),
            dlib_weights.SIDE,
            dlib_weights.MEAN,
            dlib_weights.SCALE,
            unit=False,
        )
    return _like_arcface(name, _file_of(name))


def weights_digest(name: str) -> str:
    """Return the SHA-256 of the weights of the network called ``name``, without loading it.

    Raises:
        IdentityError: there is no such network.

    """
    if name == "dlib":
        from curation.measure.identity import dlib_weights

        return dlib_weights.SHA256
    return hashlib.sha256(_read(_file_of(name))).hexdigest()


def _file_of(name: str) -> Path:
    if name.startswith(_INSIGHTFACE):
        return _in_pack(name.removeprefix(_INSIGHTFACE))
    if name.endswith(".onnx"):
        return Path(name).expanduser()
    raise IdentityError(f"identity.network is {name!r}; it must be dlib, insightface:PACK_OR_FOLDER or an .onnx file")


def _read(path: Path) -> bytes:
    try:
        return reading.contents(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise IdentityError(f"cannot read the identity network {path}: {reason}") from error


def _as_points(places: npt.NDArray[np.float64]) -> tuple[tuple[float, float], ...]:
    return tuple((round(float(x), 4), round(float(y), 4)) for x, y in places)


def _in_pack(pack: str) -> Path:
    folders = [Path(pack).expanduser(), *(folder / pack for folder in search_path())]
    for folder in folders:
        found = [path for path in sorted(folder.glob("*.onnx")) if not path.name.startswith(_OTHER_FILES)]
        if found:
            return found[0]
    raise IdentityError(f"no recognition network (*.onnx) in insightface's pack {pack!r}; name the pack's folder")


def _like_arcface(name: str, path: Path) -> IdentityNetwork:
    """Return a network that sees faces as insightface's do: aligned by ArcFace's points, RGB scaled to -1..1."""
    model = _read(path)
    try:
        shape = session(model).get_inputs()[0].shape
    except Exception as error:  # onnxruntime raises kinds of its own
        raise IdentityError(f"{path} is no ONNX model that can be run") from error
    if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3] or not isinstance(shape[2], int):
        raise IdentityError(f"{path} takes {shape}, not square RGB pictures (n, 3, side, side)")
    points = np.asarray(_ARCFACE_POINTS) / _ARCFACE_SIDE * shape[2]
    digest = hashlib.sha256(model).hexdigest()
    return IdentityNetwork(name, digest, model, _as_points(points), shape[2], (127.5, 127.5, 127.5), 127.5, unit=True)
