"""The expression network of face-api.js, read from a file that the user names (MIT licence).

About 82,000 weights in 330 KB, not trained on FER-2013 (V. Mühler's face-api.js; continued as V. Mandic's
@vladmandic/face-api). Nothing is downloaded here; ``npm pack @vladmandic/face-api && tar xf
vladmandic-face-api-*.tgz package/model`` puts it into ``package/model``. The weights are plain bytes, pinned by
SHA-256; the manifest beside them names every tensor in order.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.accelerator import full_precision, measuring_device
from training.arrays import Floats32, Pixels
from training.files import DataError, read_bytes, refusing

WEIGHTS = "face_expression_model.bin"
MANIFEST = "face_expression_model-weights_manifest.json"
SHA256 = "9a9840f2cf1f4c7eab95f197512569345c00d2426754d4608b92af30e0300f3d"
"""Of the file of weights."""

HOW_TO_GET = "npm pack @vladmandic/face-api && tar xf vladmandic-face-api-*.tgz package/model"

CLASSES = ("neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised")
"""Classes of the outputs, in order (face-api.js, FACE_EXPRESSION_LABELS)."""

SIDE = 112
"""Side of the input, in pixels."""

MEAN = (122.782, 117.001, 104.298)
"""Of red, green and blue, 0..255: subtracted from the input, which is then divided by 255."""

WIDTHS = (3, 32, 64, 128, 256)
"""Channels into the first block and out of each of the four."""

BATCH = 16
"""Images per forward pass: 94 MiB, and 0.6 of the time per image of 128 with 433 MiB (measured, one thread)."""


class FaceApiError(RuntimeError):
    """The network's files are missing or not the known ones."""


class _Same(nn.Module):
    """A 3x3 convolution padded as TensorFlow's "same", plain or depthwise and pointwise."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, plain: bool) -> None:
        super().__init__()
        self.stride = stride
        if plain:
            self.layers = nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride))
        else:
            depthwise = nn.Conv2d(inputs, inputs, 3, stride, groups=inputs, bias=False)
            self.layers = nn.Sequential(depthwise, nn.Conv2d(inputs, outputs, 1))

    def forward(self, maps: Tensor) -> Tensor:
        # padding of an even side: one row after it at stride 2, one at both ends at stride 1
        before = 1 if self.stride == 1 else maps.shape[2] % 2
        convolved: Tensor = self.layers(functional.pad(maps, (before, 1, before, 1)))
        return convolved


class _Block(nn.Module):
    """Four convolutions, each on the rectified sum of all previous ones (a dense block by addition)."""

    def __init__(self, inputs: int, outputs: int, *, first: bool) -> None:
        super().__init__()
        strides = (2, 1, 1, 1)
        self.convolutions = nn.ModuleList(
            _Same(outputs if number else inputs, outputs, stride, plain=first and number == 0)
            for number, stride in enumerate(strides)
        )

    def forward(self, maps: Tensor) -> Tensor:
        total: Tensor = functional.relu(self.convolutions[0](maps))
        for convolution in self.convolutions[1:]:
            total = total + convolution(functional.relu(total))
        return functional.relu(total)


class FaceApiNetwork(nn.Module):
    """Colour faces (n, 3, 112, 112), minus ``MEAN`` and divided by 255 -> logits (n, 7)."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(_Block(WIDTHS[n], WIDTHS[n + 1], first=n == 0) for n in range(len(WIDTHS) - 1)))
        self.last = nn.Linear(WIDTHS[-1], len(CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.last(self.blocks(images).mean((2, 3)))
        return logits


def load_face_api(source: Path) -> FaceApiNetwork:
    """Return the network in evaluation mode.

    Args:
        source: the weights' file, or the folder that holds it.

    Raises:
        FaceApiError: the file or its manifest is missing or not the known one.

    """
    file = source / WEIGHTS if source.is_dir() else source
    manifest = file.with_name(MANIFEST)
    for wanted in (file, manifest):
        if not wanted.is_file():
            raise FaceApiError(f"there is no {wanted}; get the network with: {HOW_TO_GET}")
    stored = read_bytes(file)
    if hashlib.sha256(stored).hexdigest() != SHA256:
        raise FaceApiError(f"{file} is not the known network of face-api; get it with: {HOW_TO_GET}")
    network = FaceApiNetwork()
    try:
        with refusing(manifest, f"get it with: {HOW_TO_GET}"):
            arrays = _arrays(manifest, stored)
    except DataError as error:
        raise FaceApiError(str(error)) from error
    with torch.no_grad():
        for parameter, (name, array) in zip(network.parameters(), arrays, strict=True):
            # filters are (height, width, in, out), a depthwise one (height, width, channels, 1)
            axes = {4: (2, 3, 0, 1) if name.endswith("depthwise_filter") else (3, 2, 0, 1), 2: (1, 0), 1: (0,)}
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(array.transpose(axes[array.ndim]))))
    return network.eval()


def _arrays(manifest: Path, stored: bytes) -> list[tuple[str, Floats32]]:
    """Return the tensors by name in the manifest's order, which is the network's: blocks, then the last layer."""
    found, at = [], 0
    for entry in json.loads(read_bytes(manifest).decode("utf-8"))[0]["weights"]:
        count, scaled = int(np.prod(entry["shape"])), entry.get("quantization")
        raw = np.frombuffer(stored, np.uint8 if scaled else np.dtype("<f4"), count, at)
        at += raw.nbytes
        values = raw.astype(np.float32)
        if scaled:
            values = values * np.float32(scaled["scale"]) + np.float32(scaled["min"])
        found.append((str(entry["name"]), values.reshape(entry["shape"])))
    return found


def face_api_probabilities(images: Pixels, network: FaceApiNetwork) -> Floats32:
    """Return probabilities of ``CLASSES`` for grey images (n, side, side) uint8, (n, 7) float32."""
    device, parts = measuring_device(), []
    network, mean = network.to(device), torch.tensor(MEAN, device=device)[:, None, None]
    with torch.inference_mode(), full_precision():
        for start in range(0, len(images), BATCH):
            faces = [cv2.resize(image, (SIDE, SIDE)) for image in images[start : start + BATCH]]
            batch = (torch.from_numpy(np.stack(faces)).to(device)[:, None].float() - mean) / 255
            parts.append(functional.softmax(network(batch), 1).cpu())
    return torch.cat(parts).numpy() if parts else np.zeros((0, len(CLASSES)), np.float32)
