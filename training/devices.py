"""Where a fit runs: on a processor or graphics card, with which precision, threads and memory."""

from __future__ import annotations

import copy
import ctypes
import ctypes.util
import logging
import math
import os
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from training.backbones import build
from training.data import Samples
from training.model import as_input
from training.recipes import Recipe

# Fabric imports torchmetrics, and so matplotlib, only to compare its version, at 90 MB per fit
_metrics = sys.modules.get("torchmetrics")
sys.modules["torchmetrics"] = _metrics  # type: ignore[assignment]  # None: cannot be imported
from lightning_fabric import Fabric as Fabric  # noqa: E402
from lightning_fabric.loggers.tensorboard import TensorBoardLogger  # noqa: E402

if _metrics is None:
    del sys.modules["torchmetrics"]

TIMED_STEPS = 3
"""Steps timed for each number of threads; the fastest counts."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Options of glibc's mallopt (malloc.h)."""

KEPT_BYTES = 2**30
"""Memory blocks up to this size, in bytes, are kept by the process."""


class DeviceError(RuntimeError):
    """The requested device is not available."""


def find_device(name: str | None = None) -> torch.device:
    """Return a device by name: cpu, cuda, cuda:NUMBER or mps; None or auto for a graphics card if available.

    Raises:
        DeviceError: this machine has no such device, or this build of torch cannot use it.

    """
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    has_mps = torch.backends.mps.is_available()
    here = ["cpu", *(["cuda"] if cards else []), *(f"cuda:{card}" for card in range(cards)), *(["mps"] * has_mps)]
    if name in (None, "", "auto"):
        return torch.device("cuda" if cards else "mps" if has_mps else "cpu")
    if name not in here:
        raise DeviceError(f"no device {name!r} can be used here: use auto or one of {', '.join(here)}")
    return torch.device(str(name))


def runtime(recipe: Recipe, run_dir: Path, device: str | None = None) -> Fabric:
    """Return the runtime: this process alone, or its rank among those started by ``torchrun``.

    Precision is mixed with bfloat16 on a graphics card that supports it, and on a processor if the recipe asks for it.
    """
    chosen = find_device(device)
    for name in ("lightning_fabric", "lightning.fabric"):  # they print the precision
        logging.getLogger(name).setLevel(logging.WARNING)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    fabric = Fabric(
        accelerator=chosen.type,
        devices=local if chosen.index is None else [chosen.index],
        num_nodes=max(1, world // local),
        strategy="ddp" if world > 1 else "auto",
        precision="bf16-mixed" if is_mixed(recipe, chosen) else "32-true",
        loggers=TensorBoardLogger(run_dir, name="tensorboard", version=""),
    )
    fabric.launch()
    return fabric


def is_mixed(recipe: Recipe, device: torch.device) -> bool:
    """Return whether a fit multiplies in bfloat16 on this device."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and recipe.bf16 and has_fast_bf16()


def has_fast_bf16() -> bool:
    """Return whether this processor multiplies bfloat16 in hardware (AVX-512 BF16 or AMX)."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def fastest_threads(network: nn.Module, train: Samples, recipe: Recipe) -> int:
    """Return 1 or the number of processors, whichever now trains a batch faster.

    More threads than free processors can be several times slower than one.
    """
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    batch = as_input(torch.from_numpy(train.images[: recipe.batch_size]))
    seconds = {threads: _step_seconds(network, batch, recipe, threads) for threads in sorted({1, processors})}
    return min(seconds, key=lambda threads: seconds[threads])


def estimate_seconds(recipe: Recipe, images: int, side: int = 48, threads: int = 1) -> float:
    """Return the estimated seconds of a fit on this processor, from a few steps on noise.

    Args:
        recipe: to fit; its weights are not needed.
        images: number of training images; for all folds of a cross-validation, images * (folds - 1).
        side: of the images, in pixels.
        threads: torch's.

    """
    keep_freed_memory()
    seconds = 0.0
    for part in recipe.parts():
        network = build(part, 2, "none")
        batch = torch.rand(part.batch_size, 1, side, side).contiguous(memory_format=torch.channels_last)
        steps = math.ceil(images / part.batch_size) * part.epochs
        seconds += steps * _step_seconds(network, batch, part, threads)
    return seconds


def _step_seconds(network: nn.Module, batch: Tensor, recipe: Recipe, threads: int) -> float:
    """Return the seconds of the fastest of a few steps; the network and torch's threads stay as they are.

    If a processor takes a batch in parts, one part is timed.
    """
    probe = copy.deepcopy(network).to(memory_format=torch.channels_last).train()
    whole = len(batch)
    batch = batch[: recipe.micro_batch] if recipe.micro_batch else batch
    parts, batch = whole / len(batch), batch if len(batch) > 1 else batch.repeat(2, 1, 1, 1)
    before, seconds = torch.get_num_threads(), []
    torch.set_num_threads(threads)
    for _ in range(TIMED_STEPS):
        started = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_mixed(recipe, batch.device)):
            logits = probe(batch)
        logits.float().square().mean().backward()
        probe.zero_grad()
        seconds.append(time.perf_counter() - started)
    torch.set_num_threads(before)
    return min(seconds) * parts


def keep_freed_memory() -> bool:
    """Make glibc keep freed memory for the next step instead of returning it; return whether that took effect.

    By default it maps every large tensor again, and the kernel clears its pages: MobileNetV2 at 112 pixels trains at 74
    images per second like this, and at 110 without (one core of an EPYC, batch of 64). Arrow returns the memory of
    tables read before, such as 95 MiB for the issues of 20,214 images.
    """
    if "pyarrow" in sys.modules:
        sys.modules["pyarrow"].default_memory_pool().release_unused()
    libc = ctypes.util.find_library("c")
    if not sys.platform.startswith("linux") or libc is None:
        return False
    mallopt = getattr(ctypes.CDLL(libc), "mallopt", None)
    if mallopt is None:
        return False
    return all([bool(mallopt(option, KEPT_BYTES)) for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD)])
