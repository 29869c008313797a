"""Where networks compute what is stored by content, embeddings and opinions: the same numbers whatever the machine."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch


def measuring_device() -> torch.device:
    """Return the first graphics card that CUDA can use, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def full_precision() -> AbstractContextManager[object]:
    """Return a context in which a graphics card multiplies in float32, by the same kernels every time.

    By default cuDNN rounds what enters a convolution to ten bits (TF32): an embedding from a card would not be that
    from a processor.
    """
    flags: Any = torch.backends.cudnn.flags  # untyped, and off by default
    context: AbstractContextManager[object] = flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    return context
