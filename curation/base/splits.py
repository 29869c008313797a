"""Names of splits: what each stands for, and how the names of one data set become its splits.

A name is split into words at separators, digits and changes of case, and words that only mean data (set, data, images)
are dropped: ``train_set``, ``Training_Set``, ``FER2013Train`` and ``trainset`` all mean train. The word must come
first or last. The words are those of Hugging Face's data files (docs/hub/datasets-file-names-and-splits: eval and
evaluation are test, dev is validation) and of the expression sets. FER-2013's PublicTest is validation and its
PrivateTest test, as in FER+ (FER2013Valid, FER2013Test): two splits, both held out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

Role = Literal["train", "held-out", "unknown"]

STANDARD = ("train", "validation", "test")
"""The splits with a meaning in the toolkit, in this order."""

_PLAIN = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
_WORDS = _PLAIN | {
    "trn": "train",
    "trainval": "train",
    "dev": "validation",
    "devel": "validation",
    "development": "validation",
    "validate": "validation",
    "vld": "validation",
    "publictest": "validation",
    "tst": "test",
    "eval": "test",
    "evaluation": "test",
    "holdout": "test",
    "heldout": "test",
    "privatetest": "test",
}
_PHRASES = {
    ("public", "test"): "publictest",
    ("private", "test"): "privatetest",
    ("hold", "out"): "holdout",
    ("held", "out"): "heldout",
    ("train", "val"): "trainval",
}
_FILLERS = (
    "data dataset datasets set sets split splits image images img imgs pic pics face faces crop crops folder dir "
    "subset part partition file files list labels label annotations final"
)
"""Words for what is in a split, not for which one it is."""

_GLUED = re.compile(r"^(train|training|val|valid|validation|test|testing|eval|dev)(?:s|set|sets|data|images|imgs)$")
_NUMBERED = frozenset({"fold", "kfold", "cv", "split"})
"""Words that, with a number after them, name a split of their own."""

_YEAR = re.compile(r"(?:19|20)\d\d")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+")


def role(split: str) -> Role:
    """Return the use of a split: train, held-out or unknown, as for a fold, which is both in turn."""
    found = standard(split)
    return "unknown" if found not in STANDARD else "train" if found == "train" else "held-out"


def standard(name: str) -> str:
    """Return train, validation or test if ``name`` stands for one, the name itself for a fold, else ""."""
    words = _words(name)
    known = [place for place, word in enumerate(words) if word in _WORDS]
    meant = {_WORDS[words[place]] for place in known}
    if len(meant) == 1 and (known[0] == 0 or known[-1] == len(words) - 1):
        return next(iter(meant))
    return name.strip() if len(words) >= 2 and words[-2] in _NUMBERED and words[-1].isdecimal() else ""


def assign(names: Iterable[str]) -> dict[str, str]:
    """Return name -> split for the split names of one data set; unknown names are kept.

    Names of the same split are merged if they mean nothing more (``val`` and ``Validation_Set``) or are all for
    training; others (``test1`` and ``test2``, ``PublicTest`` beside ``validation``) stay apart, except for a plain one
    among them: held-out data is never merged on a guess.
    """
    given = sorted(set(names))
    result = {name: standard(name) or name.strip() for name in given}
    for split in STANDARD:
        same = [name for name in given if result[name] == split]
        if len(same) < 2:
            continue
        numbered = {name for name in same if any(map(str.isdecimal, _words(name)))}
        for name in same:
            apart = name in numbered if split == "train" else not is_plain(name)
            if apart and len({_core(other) for other in same}) > 1:
                result[name] = name.strip()
    return result


def _words(name: str) -> list[str]:
    """Return the words of a name in lower case, without those that only mean data, and without years."""
    words = [word.lower() for word in _WORD.findall(name)]
    joined: list[str] = []
    for word in words:
        phrase = _PHRASES.get((joined[-1], word)) if joined else None
        if phrase:
            joined[-1] = phrase
        elif word not in _FILLERS.split() or len(words) == 1 or (word in _NUMBERED and joined == []):
            joined.append(_GLUED.sub(r"\1", word))
    return [word for word in joined if not _YEAR.fullmatch(word)]


def _core(name: str) -> tuple[str, ...]:
    """Return what distinguishes a name from others for the same split; plain words do not."""
    return tuple("" if word in _PLAIN else word for word in _words(name))


def is_plain(name: str) -> bool:
    """Return whether a name means no more than its split (``val``, ``Training_Set``; not ``FER2013Test``)."""
    return not any(_core(name))
