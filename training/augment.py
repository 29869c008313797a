"""Augmentation of batches of grey images: the deck's levels none, low, mid and high, and our own.

torchvision's v2 transforms draw once per call, thus once per batch; those here draw for each image, in one tensor
operation for the whole batch. All draws come from torch's global generator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import v2  # type: ignore[import-untyped]

from training.arrays import Pixels
from training.recipes import Augmentation

RESCALE_PERCENTILES = (0.02, 0.98)
"""Quantiles of an image's pixels that exposure rescaling maps to black and white (scikit-image's usual choice)."""

GAMMA_RANGE = (0.5, 2.0)
"""Deck, "Augmentation": high."""

SHEET_BORDER = 2
"""White border between the tiles of a contact sheet, in pixels."""


class AffineEach(v2.Transform):  # type: ignore[misc]
    """Flip, rotate, zoom and shift each image by its own draw; new pixels repeat the border.

    Args:
        shift: largest shift along each axis, share of the side.
        zoom: largest change of the magnification, 0.05 for 95 to 105 %.
        degrees: largest rotation either way.

    """

    def __init__(self, shift: float, zoom: float, degrees: float) -> None:
        super().__init__()
        self.shift, self.zoom, self.degrees = shift, zoom, degrees

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the maps of the batch, (n, 2, 3), from output to input coordinates."""
        images = flat_inputs[0]
        count = len(images)
        angle = _uniform(count, math.radians(self.degrees))
        size = 1 + _uniform(count, self.zoom)
        mirror = torch.where(torch.rand(count) < 0.5, -1.0, 1.0)
        maps = torch.zeros(count, 2, 3)
        maps[:, 0, 0], maps[:, 0, 1] = angle.cos() * size * mirror, -angle.sin() * size
        maps[:, 1, 0], maps[:, 1, 1] = angle.sin() * size * mirror, angle.cos() * size
        # affine_grid's coordinates run from -1 to 1: a side is 2 long
        maps[:, :, 2] = 2 * _uniform((count, 2), self.shift)
        return {"maps": maps.to(images.device)}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Resample (n, 1, h, w)."""
        grid = functional.affine_grid(params["maps"], list(inpt.shape), align_corners=False)
        return functional.grid_sample(inpt, grid, padding_mode="border", align_corners=False)


class RescaleExposure(v2.Transform):  # type: ignore[misc]
    """Stretch each image so that its darkest and brightest 2 % become black and white."""

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Stretch (n, 1, h, w) in [0, 1]; a flat image stays as it is."""
        levels = torch.tensor(RESCALE_PERCENTILES, device=inpt.device)
        low, high = inpt.flatten(1).quantile(levels, dim=1)[:, :, None, None, None]
        stretched = ((inpt - low) / (high - low).clamp_min(torch.finfo(inpt.dtype).tiny)).clamp(0, 1)
        return torch.where(high > low, stretched, inpt)


class GammaEach(v2.Transform):  # type: ignore[misc]
    """Raise each image to a power of its own, uniform in ``GAMMA_RANGE``."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw one exponent per image."""
        images = flat_inputs[0]
        low, high = GAMMA_RANGE
        gamma = low + (high - low) * torch.rand(len(images), 1, 1, 1)
        return {"gamma": gamma.to(images.device)}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Change (n, 1, h, w) in [0, 1]."""
        gamma: Tensor = params["gamma"]
        return inpt.clamp(0, 1).pow(gamma)


class LightEach(v2.Transform):  # type: ignore[misc]
    """Change each image's contrast about its mean, and its brightness, by up to ``amount``."""

    def __init__(self, amount: float) -> None:
        super().__init__()
        self.amount = amount

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw a contrast and a brightness per image."""
        images = flat_inputs[0]
        contrast, brightness = _uniform((2, len(images), 1, 1, 1), self.amount)
        return {"contrast": (1 + contrast).to(images.device), "brightness": brightness.to(images.device)}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Change (n, 1, h, w) in [0, 1]."""
        mean = inpt.mean((2, 3), keepdim=True)
        contrast: Tensor = params["contrast"]
        brightness: Tensor = params["brightness"]
        return ((inpt - mean) * contrast + mean + brightness).clamp(0, 1)


class EraseEach(v2.Transform):  # type: ignore[misc]
    """Paint a rectangle of some images with their mean (random erasing; Zhong et al., 2020).

    Args:
        share: chance that an image is painted.
        smallest, largest: range of the rectangle's sides, share of the image's side.

    """

    def __init__(self, share: float, smallest: float, largest: float) -> None:
        super().__init__()
        self.share, self.smallest, self.largest = share, smallest, largest

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw centre, sides and whether to paint, for each image."""
        images = flat_inputs[0]
        count, _, height, width = images.shape
        half = (self.smallest + (self.largest - self.smallest) * torch.rand(2, count, 1)) / 2
        centre = torch.rand(2, count, 1)
        inside = [
            ((torch.arange(side) + 0.5) / side - centre[axis]).abs() < half[axis]
            for axis, side in enumerate((height, width))
        ]
        chosen = torch.rand(count, 1, 1) < self.share
        mask = inside[0][:, :, None] & inside[1][:, None, :] & chosen
        return {"mask": mask[:, None].to(images.device)}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Paint (n, 1, h, w)."""
        return torch.where(params["mask"], inpt.mean((2, 3), keepdim=True), inpt)


@dataclass(frozen=True)
class _Level:
    """Amount of each change; 0 leaves it out."""

    shift: float = 0.0
    zoom: float = 0.0
    degrees: float = 0.0
    exposure: bool = False
    light: float = 0.0
    erase: float = 0.0


LEVELS: dict[Augmentation, _Level | None] = {
    "none": None,
    "low": _Level(shift=0.05, zoom=0.05),
    "mid": _Level(shift=0.05, zoom=0.05, degrees=15),
    "high": _Level(shift=0.05, zoom=0.05, degrees=15, exposure=True),
    "strong": _Level(shift=0.08, zoom=0.10, degrees=10, light=0.2, erase=0.3),
}
"""The deck's levels, and our own, ``strong``; all but ``none`` mirror half of the images."""

ERASE_SIDES = (0.12, 0.4)
"""Range of the painted rectangle's sides, share of the image's side: hides an eye or the mouth, not the face."""


def augmenter(level: Augmentation) -> v2.Transform:
    """Return the transform of a level: float images (n, 1, h, w) in [0, 1] -> the same shape and range."""
    chosen = LEVELS[level]
    if chosen is None:
        return v2.Identity()
    steps: list[v2.Transform] = [AffineEach(chosen.shift, chosen.zoom, chosen.degrees)]
    if chosen.exposure:
        steps += [RescaleExposure(), GammaEach()]
    if chosen.light:
        steps.append(LightEach(chosen.light))
    if chosen.erase:
        steps.append(EraseEach(chosen.erase, *ERASE_SIDES))
    return v2.Compose(steps)


def contact_sheet(images: Pixels, level: Augmentation, draws: int = 8, seed: int = 0) -> Pixels:
    """Return one grey picture with a row per image: the original, then ``draws`` augmented versions.

    Args:
        images: (n, h, w) uint8.
        level: of ``LEVELS``.
        draws: augmented tiles per row.
        seed: of the draws; the sheet is the same for the same seed.

    """
    count, height, width = images.shape
    source = torch.from_numpy(images)[:, None].float() / 255
    transform = augmenter(level)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tiles = torch.stack([source, *(transform(source) for _ in range(draws))], 1)[:, :, 0]
    padded = functional.pad(tiles, (0, SHEET_BORDER, 0, SHEET_BORDER), value=1.0)
    sheet = padded.permute(0, 2, 1, 3).reshape(count * (height + SHEET_BORDER), (draws + 1) * (width + SHEET_BORDER))
    return (sheet * 255).round().to(torch.uint8).numpy()


def _uniform(shape: int | tuple[int, ...], reach: float) -> Tensor:
    """Draw uniformly from -reach to reach."""
    return (2 * torch.rand(shape) - 1) * reach
