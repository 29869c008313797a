"""What a split is for, by its name: fitted on, held out, or unknown."""

from __future__ import annotations

import re
from typing import Literal

Role = Literal["train", "held-out", "unknown"]

_TRAIN = frozenset({"train", "training", "fit"})
_HELD_OUT = frozenset(
    {"test", "testing", "validation", "validate", "valid", "val", "dev", "eval", "evaluation", "holdout", "heldout"}
)
_PREFIX = re.compile(r"^(public|private|official|open|hidden)")


def role(split: str) -> Role:
    """Return what a split is for, by the words in its name: ``PublicTest``, ``train_set``, ``fold1``.

    A name that says nothing, or both, is unknown.
    """
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+|\d+", split)
    stems = {word.lower() for word in words} | {_PREFIX.sub("", word.lower()) for word in words}
    joined = {a + b for a, b in zip(map(str.lower, words), map(str.lower, words[1:]), strict=False)}
    trains, held = bool(stems & _TRAIN), bool((stems | joined) & _HELD_OUT)
    if trains == held:
        return "unknown"
    return "train" if trains else "held-out"
