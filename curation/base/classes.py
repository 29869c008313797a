"""Names of classes: their order, and which words mean one expression."""

from __future__ import annotations

import re
import unicodedata

from training.classes import in_order, sort_key

__all__ = ["WORD_CLASSES", "alike", "in_order", "is_expression", "meaning", "sort_key", "spelling"]

WORD_CLASSES: tuple[tuple[str, ...], ...] = (
    ("happy", "happiness", "joy", "smile"),
    ("sad", "sadness"),
    ("surprise", "surprised"),
    ("neutral", "none", "calm"),
    ("anger", "angry"),
    ("disgust", "disgusted"),
    ("fear", "fearful", "afraid", "scared"),
    ("contempt", "contemptuous"),
)
"""Words for one expression: the noun of one data set is the adjective of another (FER-2013 says happy, FER+
happiness)."""

_MEANING = {word: words[0] for words in WORD_CLASSES for word in words}

_FORMS = {word: words[0] for words in WORD_CLASSES for word in words[:2]} | {"none": "none", "joy": "joy"}
"""Noun and adjective only: neutral and calm may be two classes of one data set."""

_STATES = (
    "joyful smiling laugh laughing suprise amazed normal sorrow rage mad frightened bored boredom confused confusion "
    "excited excitement pain tired sleepy drowsy frustrated frustration engaged embarrassed shame pride relaxed "
    "serious wink ahegao other unknown uncertain non_face no_face"
)


def spelling(label: str) -> str:
    """Return a label without what spelling changes: case, surrounding space, Unicode form, separators."""
    plain = unicodedata.normalize("NFKC", label).casefold()
    joined = re.sub(r"[\s_-]+", "_", plain).strip("_")
    return str(int(joined)) if joined.isdecimal() and joined.isascii() and len(joined) < 18 else joined or plain


def meaning(label: str) -> str:
    """Return what a class is called here, whatever it is called there."""
    word = spelling(label)
    return _MEANING.get(word, word)


def alike(label: str) -> str:
    """Return what the labels share that may be one class: spelling, and noun and adjective of one expression."""
    word = spelling(label)
    return _FORMS.get(word, word)


def is_expression(label: str) -> bool:
    """Return whether a label is a known word for an expression or state of a face."""
    word = spelling(label)
    return word in _MEANING or word in _STATES.split()
