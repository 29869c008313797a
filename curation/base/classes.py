"""Names of classes: their order, and which words mean the same expression."""

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
"""Words for the same expression: data sets use nouns or adjectives (FER-2013 happy, FER+ happiness)."""

_MEANING = {word: words[0] for words in WORD_CLASSES for word in words}

_FORMS = {word: words[0] for words in WORD_CLASSES for word in words[:2]} | {"none": "none", "joy": "joy"}
"""Nouns and adjectives only: neutral and calm may be two classes of one data set."""

_STATES = (
    "joyful smiling laugh laughing suprise amazed normal sorrow rage mad frightened bored boredom confused confusion "
    "excited excitement pain tired sleepy drowsy frustrated frustration engaged embarrassed shame pride relaxed "
    "serious wink ahegao other unknown uncertain non_face no_face"
)


def spelling(label: str) -> str:
    """Return a label without differences of spelling: case, surrounding space, Unicode form, separators."""
    plain = unicodedata.normalize("NFKC", label).casefold()
    joined = re.sub(r"[\s_-]+", "_", plain).strip("_")
    return str(int(joined)) if joined.isdecimal() and joined.isascii() and len(joined) < 18 else joined or plain


def meaning(label: str) -> str:
    """Return the toolkit's name of a class under any of its names."""
    word = spelling(label)
    return _MEANING.get(word, word)


def alike(label: str) -> str:
    """Return a key that is equal for labels that may be one class: other spellings, noun and adjective."""
    word = spelling(label)
    return _FORMS.get(word, word)


def is_expression(label: str) -> bool:
    """Return whether a label is a known word for a facial expression or state."""
    word = spelling(label)
    return word in _MEANING or word in _STATES.split()
