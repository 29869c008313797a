"""The networks' common structure: input scaling, blocks counted from the top, a classifier; and our own small network.

Every network takes grey images in [0, 1] and scales them itself, so that a saved model needs no recipe for its input.
Everything below the trained blocks is frozen, including its batch normalisation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.recipes import ALL_BLOCKS, UnknownRecipeError

SMALL_WIDTHS = (64, 128, 256)
"""Channels of the small network's stages; each after the first halves the resolution."""

SMALL_CONTRAST_FLOOR = 8 / 255
"""Added to an image's standard deviation before dividing by it, so that noise in a blank image is not amplified."""

SMALL_DROPOUT = 0.2
"""Before the small network's last layer, as in EfficientNet-B0's top."""

SQUEEZE = 8
"""Reduction of the small network's channel gates (Hu et al., 2018, use 16 on networks twice as wide)."""


class ImageNetInput(nn.Module):
    """Grey images of any size in [0, 1] -> three equal channels of one size, normalised for the weights."""

    def __init__(self, size: int, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Scale (n, 1, h, w) in [0, 1] to (n, 3, size, size)."""
        if images.shape[-1] != self.size or images.shape[-2] != self.size:
            images = functional.interpolate(images, (self.size, self.size), mode="bilinear", align_corners=False)
        return (images - self.get_buffer("mean")) / self.get_buffer("std")


class StandardisedInput(nn.Module):
    """Grey images of any size in [0, 1] -> zero mean and about unit contrast each, to reduce effects of lighting."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, images: Tensor) -> Tensor:
        """Scale (n, 1, h, w) in [0, 1] to (n, 1, size, size)."""
        if images.shape[-1] != self.size or images.shape[-2] != self.size:
            images = functional.interpolate(images, (self.size, self.size), mode="bilinear", align_corners=False)
        centred = images - images.mean((2, 3), keepdim=True)
        spread = centred.square().mean((2, 3), keepdim=True).sqrt()
        return centred / (spread + SMALL_CONTRAST_FLOOR)


class ExpressionNetwork(nn.Module):
    """Input scaling, convolution blocks from bottom to top, and a classifier.

    Attributes:
        blocks: the convolution blocks; ``blocks[-1]`` is the first one counted from the top.
        head: feature map -> one logit per class.
        blocks_trained: number of blocks, from the top, that are trained.

    """

    def __init__(self, scale: nn.Module, blocks: Iterable[nn.Module], head: nn.Module, blocks_trained: int) -> None:
        super().__init__()
        self.scale = scale
        self.blocks = nn.ModuleList(blocks)
        self.head = head
        self.blocks_trained = _number_trained(blocks_trained, len(self.blocks))
        for block in self.frozen():
            block.requires_grad_(False)

    def frozen(self) -> list[nn.Module]:
        """Return the blocks that are not trained, bottom first."""
        return list(self.blocks)[: len(self.blocks) - self.blocks_trained]

    def train(self, mode: bool = True) -> ExpressionNetwork:
        """Switch to training; frozen blocks keep the running statistics of their batch normalisation."""
        super().train(mode)
        for block in self.frozen():
            block.eval()
        return self

    def features(self, images: Tensor) -> Tensor:
        """Return the last feature map, (n, channels, h, w), of grey images (n, 1, h, w) in [0, 1]."""
        maps: Tensor = self.scale(images)
        for block in self.blocks:
            maps = block(maps)
        return maps

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, (n, classes), of grey images (n, 1, h, w) in [0, 1]."""
        logits: Tensor = self.head(self.features(images))
        return logits

    def judged(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the last feature map, pooled to (n, features), and the logits, (n, classes)."""
        maps = self.features(images)
        return maps.float().mean((2, 3)), self.head(maps)

    def layers(self) -> list[nn.Module]:
        """Return the modules whose feature maps can be explained, bottom first."""
        return list(self.blocks)


class LibraryNetwork(ExpressionNetwork):
    """A network with its library's structure and with blocks defined by the names of parameters.

    Attributes:
        net: images (n, 3, size, size) -> logits.
        top: name of its last layer, which is new.

    """

    def __init__(
        self, scale: nn.Module, net: nn.Module, top: str, blocks: Sequence[Sequence[str]], blocks_trained: int
    ) -> None:
        nn.Module.__init__(self)
        self.scale, self.net, self.top = scale, net, top
        self.parts = [_whole_modules(net, set(names)) for names in blocks]
        self.blocks_trained = _number_trained(blocks_trained, len(blocks))
        parameters = dict(net.named_parameters())
        for names in blocks[: len(blocks) - self.blocks_trained]:
            for name in names:
                parameters[name].requires_grad_(False)

    def frozen(self) -> list[nn.Module]:
        """Return the modules of the blocks that are not trained, bottom first."""
        names = [name for part in self.parts[: len(self.parts) - self.blocks_trained] for name in part]
        return [self.net.get_submodule(name) for name in names]

    def features(self, images: Tensor) -> Tensor:
        """Return the input of the last layer, (n, features)."""
        return self.judged(images)[0]

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, (n, classes), of grey images (n, 1, h, w) in [0, 1]."""
        logits: Tensor = self.net(self.scale(images))
        return logits

    def judged(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the input of the last layer, (n, features), and the logits, (n, classes)."""
        seen: list[Tensor] = []
        watched = self.net.get_submodule(self.top).register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        try:
            logits = self(images)
        finally:
            watched.remove()
        return seen[0].float().flatten(2).mean(2) if seen[0].ndim > 2 else seen[0].float(), logits

    def layers(self) -> list[nn.Module]:
        """Return the modules whose feature maps can be explained, bottom first."""
        return [self.net.get_submodule(name) for part in self.parts for name in part]


def _number_trained(asked: int, blocks: int) -> int:
    """Return the number of trained blocks.

    Raises:
        UnknownRecipeError: the network has fewer blocks.

    """
    if not ALL_BLOCKS <= asked <= blocks:
        raise UnknownRecipeError(f"blocks_trained is {asked}, and the network has {blocks} blocks")
    return blocks if asked == ALL_BLOCKS else asked


def _whole_modules(net: nn.Module, names: set[str]) -> list[str]:
    """Return the largest modules whose parameters are all among ``names``, in order."""
    found: list[str] = []
    for name, module in net.named_modules():
        own = [f"{name}.{each}" for each, _ in module.named_parameters()]
        if name and own and names.issuperset(own) and not any(name.startswith(f"{above}.") for above in found):
            found.append(name)
    return found


def as_maps(output: Any) -> Tensor | None:
    """Return a layer's output as maps (n, channels, h, w), from tokens or channels-last maps too; None if it is no map.

    Tokens before those of the square grid, such as a class token, are dropped.
    """
    if not isinstance(output, Tensor) or output.ndim not in (3, 4):
        return None
    if output.ndim == 4:
        return output.permute(0, 3, 1, 2) if output.shape[1] == output.shape[2] != output.shape[3] else output
    side = math.isqrt(output.shape[1])
    grid = output[:, output.shape[1] - side * side :]
    return grid.transpose(1, 2).reshape(len(grid), -1, side, side)


class Committee(nn.Module):
    """Several networks as one; its logits are the logarithms of their summed probabilities."""

    def __init__(self, members: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, (n, classes), of grey images (n, 1, h, w) in [0, 1]."""
        each = torch.stack([functional.log_softmax(member(images).float(), 1) for member in self.members])
        return each.logsumexp(0)


class _Gate(nn.Module):
    """Channel gates (squeeze and excitation; Hu et al., 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // SQUEEZE)
        self.excite = nn.Linear(channels // SQUEEZE, channels)

    def forward(self, maps: Tensor) -> Tensor:
        strength: Tensor = self.excite(functional.relu(self.squeeze(maps.mean((2, 3)))))
        return maps * strength.sigmoid()[:, :, None, None]


class _Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut that averages before it projects (ResNet-D; He et al., 2019)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
            _Gate(outputs),
        )
        shortcut: list[nn.Module] = [nn.AvgPool2d(stride)] if stride > 1 else []
        if inputs != outputs:
            shortcut += [nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, maps: Tensor) -> Tensor:
        summed: Tensor = self.body(maps) + self.shortcut(maps)
        return functional.relu(summed)


def small_blocks() -> list[nn.Module]:
    """Return the small network's stem and stages."""
    first = SMALL_WIDTHS[0]
    stem = nn.Sequential(
        nn.Conv2d(1, first // 2, 3, 1, 1, bias=False),
        nn.BatchNorm2d(first // 2),
        nn.ReLU(inplace=True),
        nn.Conv2d(first // 2, first, 3, 2, 1, bias=False),
        nn.BatchNorm2d(first),
        nn.ReLU(inplace=True),
    )
    stages: list[nn.Module] = [_Residual(first, first, 1)]
    stages += [_Residual(low, high, 2) for low, high in pairwise(SMALL_WIDTHS)]
    return [stem, *stages]
