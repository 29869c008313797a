"""The order of classes: numbers by value, then words; the same in every table, figure and key."""

from __future__ import annotations

import re
from collections.abc import Iterable

_WHOLE = re.compile(r"-?\d{1,18}", re.ASCII)


def in_order(labels: Iterable[str]) -> list[str]:
    """Return the distinct labels: whole numbers first, by value, then words by their letters."""
    return sorted(set(labels), key=sort_key)


def sort_key(label: str) -> tuple[bool, int, str]:
    """Return the sort key of a label."""
    number = bool(_WHOLE.fullmatch(label))
    return not number, int(label) if number else 0, label
