"""dlib's face recognition network as an ONNX graph, from its published weights file, read as data.

The file comes inside the package face-recognition-models, whose import needs pkg_resources and is not done. The network
is a residual one of 29 convolutions (King, "High quality face recognition with deep metric learning", 2017; weights in
the public domain): 150 x 150 RGB -> 128 numbers, two faces of one person mostly nearer than 0.6. dlib's own library
needs 57 ms a face on one core, onnxruntime 2.6 ms; they differ by less than 1e-6.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from curation.base.arrays import Floats32
from curation.base.errors import CurationError, installing
from curation.measure.faces.weights import search_path
from curation.measure.onnx_graph import Graph

FILE = "dlib_face_recognition_resnet_model_v1.dat"

SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"

MEAN = (122.782, 117.001, 104.298)
"""RGB, taken off before the division by ``SCALE`` (dlib's input_rgb_image_sized)."""

SCALE = 256.0

SIDE = 150

_PACKAGE = "face_recognition_models"

_STAGES = ((32, 3), (64, 4), (128, 3), (256, 3), (256, 1))
"""Channels and residual blocks; each stage but the first begins by halving the picture."""

_LAYER = re.compile(rb"con_4|affine_|fc_2")
_FULLY_CONNECTED_HEAD = 5
"""Bytes of the last layer's two sizes (128 and 256, packed) before its weights."""


class DlibWeightsError(CurationError):
    """The weights are not installed, or are not the published ones."""


def read_weights() -> bytes:
    """Return the published weights file: the package's, or one in a folder of the weights' search path.

    Raises:
        DlibWeightsError: there is none, or it is another file than the pinned one.

    """
    spec = importlib.util.find_spec(_PACKAGE)  # finds the package without running it
    folders = [Path(place) / "models" for place in (spec.submodule_search_locations or ())] if spec else []
    for folder in (*folders, *search_path()):
        if (folder / FILE).is_file():
            data = (folder / FILE).read_bytes()
            if hashlib.sha256(data).hexdigest() != SHA256:
                raise DlibWeightsError(f"{folder / FILE} is not the pinned file (SHA-256 {SHA256}); install it again")
            return data
    raise DlibWeightsError(f"the identity network dlib needs {FILE}; run: {installing('identity')}")


def onnx_model(data: bytes) -> bytes:
    """Return the network as a serialised ONNX model: input (n, 3, 150, 150) float32 -> embedding (n, 128) float32.

    Args:
        data: the weights file, as ``read_weights`` returns it

    """
    network = _Network(list(_tensors(data)))
    network.write()
    return network.graph.model(np.float32, ("n", 3, SIDE, SIDE), {"embedding": ("n", 128)})


def _tensors(data: bytes) -> Iterator[Floats32]:
    """Yield the weights of each layer from the input on: convolution, scale and shift, ..., the matrix at the end.

    dlib stores an integer as a byte that counts the bytes which follow it, and a tensor as a version, four sizes and
    its floats.
    """
    place = 0
    while found := _LAYER.search(data, place):
        at = found.end() + (_FULLY_CONNECTED_HEAD if found.group() == b"fc_2" else 0)
        numbers = []
        for _ in range(5):
            width = data[at]
            numbers.append(int.from_bytes(data[at + 1 : at + 1 + width], "little"))
            at += 1 + width
        count = int(np.prod(numbers[1:]))
        yield np.frombuffer(data, "<f4", count, at)
        place = at + 4 * count


class _Network:
    """The network while it is written; a convolution takes the scale and shift that follow it into its weights."""

    def __init__(self, tensors: list[Floats32]) -> None:
        self._layers = list(zip(tensors[0:-1:2], tensors[1:-1:2], strict=True))
        self._matrix = tensors[-1]
        self.graph = Graph()

    def write(self) -> None:
        """Write all nodes, input to embedding."""
        node = self.graph.node
        now = node("MaxPool", self._convolution("input", 3, 32, 7, 2), kernel_shape=[3, 3], strides=[2, 2])
        channels, side = 32, 35
        for stage, (width, blocks) in enumerate(_STAGES):
            for block in range(blocks):
                halves = stage > 0 and block == 0
                inner = self._convolution(now, channels, width, 3, 2 if halves else 1)
                inner = self._convolution(inner, width, width, 3, 1, rectified=False)
                if halves:
                    now = node("AveragePool", now, kernel_shape=[2, 2], strides=[2, 2])
                    # dlib adds tensors of two sizes as if the smaller went on with zeros
                    now = self._padded(now, channels=width - channels)
                    inner = self._padded(inner, side=side // 2 - (side - 3) // 2 - 1)
                    side //= 2
                channels = width
                now = node("Relu", node("Add", inner, now))
        flat = node("Flatten", node("GlobalAveragePool", now))
        node("MatMul", flat, self.graph.constant(self._matrix.reshape(256, 128)), name="embedding")

    def _convolution(
        self, given: str, before: int, after: int, size: int, stride: int, *, rectified: bool = True
    ) -> str:
        filters, affine = self._layers.pop(0)
        scale, shift = affine[:after], affine[after:]
        split = after * before * size * size
        weights = filters[:split].reshape(after, before, size, size) * scale[:, None, None, None]
        bias = filters[split:] * scale + shift
        pads = [size // 2 if stride == 1 else 0] * 4  # dlib's default
        made = self.graph.convolution(given, weights, bias, strides=[stride, stride], pads=pads)
        return self.graph.node("Relu", made) if rectified else made

    def _padded(self, given: str, channels: int = 0, side: int = 0) -> str:
        if not (channels or side):
            return given
        pads = np.array([0, 0, 0, 0, 0, channels, side, side], dtype=np.int64)
        return self.graph.node("Pad", given, self.graph.constant(pads))
