"""Embeddings of grey pictures by an ImageNet network, and small heads on it that find overlays and occluders.

The network is the bundled EfficientNet-Lite0 with batch normalisation folded into its convolutions. A picture's
embedding is the mean of its last feature map. Heads read intermediate feature maps ("taps") and classify each cell;
they are trained on pictures with synthetic overlays and occluders, whose position is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.accelerator import full_precision, measuring_device
from training.arrays import Floats32, Ints, Pixels
from training.backbones import IMAGENET_MEAN, IMAGENET_STD, WeightsError, bundled_network
from training.head_shapes import BACKBONE, DIMENSIONS, SHAPES, HeadShape

BATCH = 32

_TAPS = {"fine": 24, "middle": 40, "coarse": 112, "top": 320}
"""Feature maps that heads read, and their channels; their strides are 4, 8, 16 and 32 pixels."""

_REDUCED = 32
"""Channels that a map of another resolution is reduced to before maps are concatenated."""

_LEARNING_RATE = 2e-3
_WEIGHT_DECAY = 1e-2
_MINIBATCH = 64

_FEWEST_STEPS, _MOST_ROUNDS = 300, 3
"""Least number of training steps of a head, and the most times its epochs may be multiplied to reach it."""

_PICTURE_LOSS = 0.5
"""Weight of the loss on whole pictures relative to that on cells: without it heads learn edges, not objects."""

_SUSPICIOUS = 0.15
"""Share of the pictures assumed clean that is dropped during training, those the head doubts most: real data have
watermarks and hands of their own (a trimmed loss, as in Rousseeuw 1984)."""

_CLEAN_AT = 0.4
"""Share of the epochs after which suspicious pictures are dropped."""

Taps = dict[str, Tensor]


@dataclass(frozen=True)
class Described:
    """The description of n pictures.

    Attributes:
        embedding: (n, 1280) float16.
        logits: per head (n, cells, cells) float32; positive where the cell is covered.

    """

    embedding: npt.NDArray[np.float16]
    logits: dict[str, Floats32]


class FeatureNetwork:
    """The network, on a GPU if available, else on the CPU."""

    def __init__(self, heads: Mapping[str, Mapping[str, npt.NDArray[Any]]] | None = None) -> None:
        """Load the bundled weights.

        Args:
            heads: by name, from ``learn_head``.

        Raises:
            WeightsError: the package that holds the weights is not installed.

        """
        self.device = measuring_device()
        network = cast("Any", folded(bundled_network(BACKBONE)))
        self._network = network.to(self.device, memory_format=torch.channels_last)
        self._mean, self._std = (
            255 * torch.tensor(values, device=self.device).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD)
        )
        self._heads = {name: loaded_head(name, arrays).to(self.device) for name, arrays in (heads or {}).items()}

    def classes(self) -> tuple[Floats32, Floats32]:
        """Return weights (1280, 1000) and biases (1000,) that turn an embedding into logits of ImageNet's classes."""
        last = self._network.classifier
        return last.weight.detach().cpu().numpy().T, last.bias.detach().cpu().numpy()

    def describe(self, pictures: Pixels) -> Described:
        """Return embeddings and the heads' logits of pictures (n, 112, 112) uint8."""
        embeddings, seen = [], {name: [Tensor()][:0] for name in self._heads}
        with torch.inference_mode(), full_precision():
            for start in range(0, len(pictures), BATCH):
                taps, embedding = self._forward(pictures[start : start + BATCH])
                embeddings.append(embedding.half().cpu())
                for name, head in self._heads.items():
                    seen[name].append(head(taps).cpu())
        return Described(
            torch.cat([torch.empty(0, DIMENSIONS, dtype=torch.half), *embeddings]).numpy(),
            {name: torch.cat(parts).numpy() for name, parts in seen.items()},
        )

    def taps(self, pictures: Pixels) -> tuple[Taps, npt.NDArray[np.float16]]:
        """Return taps (float16, on the CPU) and embeddings (n, 1280) of pictures (n, 112, 112) uint8."""
        found: Taps = {}
        embeddings = np.empty((len(pictures), DIMENSIONS), np.float16)
        with torch.inference_mode(), full_precision():
            for start in range(0, len(pictures), BATCH):
                taps, embedding = self._forward(pictures[start : start + BATCH])
                embeddings[start : start + BATCH] = embedding.half().cpu().numpy()
                for name, tap in taps.items():
                    # one array per tap from the start: concatenation would take twice the memory
                    whole = found.setdefault(name, torch.empty((len(pictures), *tap.shape[1:]), dtype=torch.half))
                    whole[start : start + len(tap)] = tap
        return found, embeddings

    def _forward(self, pictures: Pixels) -> tuple[Taps, Tensor]:
        grey = torch.from_numpy(np.ascontiguousarray(pictures)).to(self.device)[:, None].float()
        maps = ((grey - self._mean) / self._std).contiguous(memory_format=torch.channels_last)
        network = self._network
        maps = network.bn1(network.conv_stem(maps))
        blocks = []
        for block in network.blocks:
            maps = block(maps)
            blocks.append(maps)
        embedding = network.bn2(network.conv_head(maps)).mean((2, 3))
        return dict(zip(_TAPS, (blocks[1], blocks[2], blocks[4], blocks[6]), strict=True)), embedding


def folded(network: nn.Module) -> nn.Module:
    """Fold each batch normalisation into the convolution before it, in place; return the network in evaluation mode.

    The activation of timm's combined layers is kept.
    """
    network.eval()
    before: nn.Conv2d | None = None
    with torch.no_grad():
        for name, module in list(network.named_modules()):
            if isinstance(module, nn.Conv2d):
                before = module
            elif isinstance(module, nn.BatchNorm2d) and before is not None:
                norm = cast("Any", module)
                scale = norm.weight / (norm.running_var + norm.eps).sqrt()
                before.weight *= scale.view(-1, 1, 1, 1)
                bias = 0.0 if before.bias is None else before.bias * scale
                before.bias = nn.Parameter(norm.bias - norm.running_mean * scale + bias)
                parent, _, own = name.rpartition(".")
                setattr(network.get_submodule(parent), own, getattr(module, "act", nn.Identity()))
    return network


class _Head(nn.Module):
    """Brings taps to one resolution, adds each cell's position, and convolves."""

    def __init__(self, shape: HeadShape) -> None:
        super().__init__()
        self.shape = shape
        finest = shape.taps[0]
        # with the finest map, it is halved, and the coarse one is narrowed
        narrowed = {"fine", "coarse"} if finest == "fine" else set()
        reduced = {tap: _REDUCED if tap in narrowed else 0 for tap in shape.taps}
        self.norms = nn.ModuleDict({tap: nn.BatchNorm2d(_TAPS[tap], affine=False) for tap in shape.taps})
        self.bring = nn.ModuleDict(
            {tap: _layer(_TAPS[tap], width, tap == "fine") for tap, width in reduced.items() if width}
        )
        channels = sum(width or _TAPS[tap] for tap, width in reduced.items()) + 4
        self.body = nn.Sequential(
            nn.Dropout2d(shape.dropout),
            # narrowed first: half of the work, and no worse
            nn.Conv2d(channels, shape.width, 1, bias=False),
            nn.BatchNorm2d(shape.width),
            nn.ReLU(),
            *(_layer(shape.width, shape.width) for _ in range(3)),
            nn.Dropout2d(shape.dropout),
            nn.Conv2d(shape.width, 1, 1),
        )
        line = torch.linspace(-1, 1, shape.cells)
        y, x = torch.meshgrid(line, line, indexing="ij")
        self.register_buffer("place", torch.stack([x, y, x * x, y * y])[None], persistent=False)

    def forward(self, taps: Taps) -> Tensor:
        """Return logits (n, cells, cells)."""
        parts = []
        for name in self.shape.taps:
            part = self.norms[name](taps[name].float())
            part = self.bring[name](part) if name in self.bring else part
            if part.shape[-1] != self.shape.cells:
                size = (self.shape.cells, self.shape.cells)
                part = functional.interpolate(part, size, mode="bilinear", align_corners=False)
            parts.append(part)
        parts.append(self.get_buffer("place").expand(len(parts[0]), -1, -1, -1))
        logits: Tensor = self.body(torch.cat(parts, 1).contiguous(memory_format=torch.channels_last))[:, 0]
        return logits


def _layer(inputs: int, outputs: int, halves: bool = False) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, 2 if halves else 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def loaded_head(name: str, arrays: Mapping[str, npt.NDArray[Any]]) -> nn.Module:
    """Return a head with the arrays that ``learn_head`` returned.

    Raises:
        WeightsError: they are of another head, or of another version of it.

    """
    head = _Head(SHAPES[name])
    try:
        head.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in arrays.items()})
    except (RuntimeError, TypeError) as error:
        raise WeightsError(
            f"the {name} head does not fit this version; delete challenges.npz to learn it again"
        ) from error
    return head.eval()


def learn_head(
    name: str,
    taps: Taps,
    covers: Floats32,
    rows: Ints,
    late: Ints,
    *,
    seed: int = 0,
) -> dict[str, npt.NDArray[Any]]:
    """Train a head on pictures with synthetic covers and on clean ones.

    Args:
        name: of ``SHAPES``.
        taps: of all pictures, on the CPU.
        covers: (n, cells, cells) covered share of each cell, 0..1.
        rows: of the pictures to train on.
        late: of unchanged pictures: most join once the head knows what it looks for; those it doubts then are dropped.
        seed: of the initial weights and the order.

    Returns:
        The head's arrays by name.

    """
    shape = SHAPES[name]
    device = measuring_device()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = _Head(shape).to(device)
        rng, rows = np.random.default_rng(seed), rows.copy()
        optimiser = torch.optim.AdamW(head.parameters(), _LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
        steps, more = max(1, len(rows) // _MINIBATCH), len(late) // _MINIBATCH
        epochs = min(max(shape.epochs, round(_FEWEST_STEPS / steps)), _MOST_ROUNDS * shape.epochs)
        joining = round(_CLEAN_AT * epochs)
        whole = epochs * steps + (epochs - joining) * more
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, whole)
        target = torch.from_numpy(covers)
        for epoch in range(epochs):
            if epoch == joining:
                rows = np.concatenate([_trusted(head, taps, target, part, device) for part in (rows, late)])
            for batch in _minibatches(rng.permutation(rows)):
                head.train()
                seen = {tap: taps[tap][batch].to(device) for tap in shape.taps}
                loss = _loss(head(seen), target[batch].to(device), shape)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                schedule.step()
    return {key: value.cpu().numpy() for key, value in head.state_dict().items()}


def _minibatches(rows: Ints) -> Sequence[Ints]:
    """Return minibatches of one size; remaining rows are left to the next epoch's order."""
    whole = len(rows) // _MINIBATCH * _MINIBATCH
    return np.split(rows[:whole], whole // _MINIBATCH) if whole else [rows]


def _loss(logits: Tensor, cover: Tensor, shape: HeadShape) -> Tensor:
    """Return the loss on cells, plus that on whole pictures by the log of the cells' summed odds."""
    covered = (cover > shape.covered).float()
    counts = ((cover > shape.covered) | (cover < shape.clear)).float()
    cells = functional.binary_cross_entropy_with_logits(logits, covered, weight=counts)
    odds = logits.flatten(1).logsumexp(1) - np.log(4)
    return cells + _PICTURE_LOSS * functional.binary_cross_entropy_with_logits(odds, (covered.sum((1, 2)) > 1).float())


def _trusted(head: nn.Module, taps: Taps, cover: Tensor, rows: Ints, device: torch.device) -> Ints:
    """Return the rows without the pictures assumed clean that the head doubts most."""
    if not len(rows):
        return rows
    head.eval()
    said = np.empty(len(rows), np.float32)
    with torch.inference_mode():
        for start in range(0, len(rows), _MINIBATCH):
            batch = rows[start : start + _MINIBATCH]
            logits = head({name: tap[batch].to(device) for name, tap in taps.items()})
            said[start : start + _MINIBATCH] = logits.flatten(1).topk(4).values.mean(1).cpu().numpy()
    clean = cover[rows].flatten(1).amax(1).numpy() == 0
    if not clean.any():
        return rows
    return np.asarray(rows[~(clean & (said > np.quantile(said[clean], 1 - _SUSPICIOUS)))])
