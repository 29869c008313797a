"""The blocks of any network: the parameters of each stage, bottom first, derived from its structure."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from training.networks import as_maps


def of_timm(net: Any, top: str) -> list[list[str]]:
    """Return the parameters of each stage, bottom first, by timm's grouping (as for its layer-wise rates)."""
    from timm.models import group_parameters

    grouped = group_parameters(net, net.group_matcher(coarse=True))
    blocks = [[name for name in grouped[key] if not name.startswith(f"{top}.")] for key in sorted(grouped)]
    blocks = [names for names in blocks if names]
    stages = [names for names in blocks if not _is_near_top(names, top)]
    rest = [name for names in blocks if _is_near_top(names, top) for name in names]
    return [*stages[:-1], [*stages[-1], *rest]]


def _is_near_top(names: list[str], top: str) -> bool:
    """Return whether parameters are not a stage but the last normalisation or convolution before the logits."""
    first = {name.partition(".")[0] for name in names}
    return first <= {top.partition(".")[0], "norm", "fc_norm", "conv_head", "bn2", "norm_head", "norm_pre"}


def by_resolution(net: nn.Module, top: str, size: int) -> list[list[str]]:
    """Return the parameters of each resolution, bottom first, or of each layer if there is only one resolution."""
    units = [name for name in _units(net) if name != top and not top.startswith(f"{name}.")]
    order, hooks = [], []
    for name in units:
        hook = net.get_submodule(name).register_forward_hook(
            lambda _, __, out, name=name: order.append((name, _resolution(out)))
        )
        hooks.append(hook)
    net.eval()
    with torch.inference_mode():
        net(torch.zeros(1, 3, size, size))
    for hook in hooks:
        hook.remove()
    named = [(name, side) for name, side in order if any(True for _ in net.get_submodule(name).parameters())]
    is_flat = len({side for _, side in named if side}) < 2
    blocks: dict[int, list[str]] = {}
    for place, (name, side) in enumerate(named):
        inside = dict(net.get_submodule(name).named_parameters())
        is_scale = all(each.ndim < 2 for each in inside.values())  # a normalisation belongs to what it normalises
        key = place if is_flat else side
        key = next(reversed(blocks)) if blocks and (is_scale or not (is_flat or side)) else key
        blocks.setdefault(key, []).extend(f"{name}.{each}" for each in inside)
    placed = {name for names in blocks.values() for name in names}
    loose = [name for name, _ in net.named_parameters() if name not in placed and not name.startswith(f"{top}.")]
    found = list(blocks.values())
    head = [name for name in loose if name.partition(".")[0] == top.partition(".")[0]]
    found[0] = [*(name for name in loose if name not in head), *found[0]]
    found[-1] = [*found[-1], *head]
    return found


def _units(net: nn.Module) -> list[str]:
    """Return the names of a network's layers: its children, with lists of modules expanded."""
    found, waiting = [], [name for name, _ in net.named_children()]
    while waiting:
        name = waiting.pop(0)
        module = net.get_submodule(name)
        inside = [f"{name}.{each}" for each, _ in module.named_children()]
        if inside and (isinstance(module, nn.ModuleList) or name in _OPENED):
            waiting = [*inside, *waiting]
        else:
            found.append(name)
    return found


_OPENED = ("features", "encoder", "encoder.layers", "trunk_output", "blocks", "layers")
"""torchvision's containers of stages, which are expanded too."""


def _resolution(output: Any) -> int:
    """Return the side of a layer's map, 0 if it is none."""
    maps = as_maps(output) if isinstance(output, Tensor) and output.ndim == 4 else None
    return 0 if maps is None else int(maps.shape[-1])
