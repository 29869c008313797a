"""A check's result by column: scores, and the numbers and words from which the evidence is built when it is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from curation.base.arrays import Floats, Floats32, Ints

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

Kind = Literal["significant", "rounded", "fixed", "hex", "word"]
"""How a value is written: to 4 significant digits; rounded to 4 decimals; with 4 decimals, zeros included; as 64 bits
in hexadecimal; as a JSON string."""

SCORE_DIGITS = 6
"""Decimals of scores; a float32 holds them."""

DIGITS = 4

_TIE = 1e-6
"""Distance from a tie, in units of the last digit, below which Python itself rounds."""

_EXACT = 22
"""The largest power of ten that a float64 holds exactly."""


@dataclass(frozen=True)
class Column:
    """Values (N,) of one field of the evidence: numbers, or for ``word`` a ``pandas.Categorical``."""

    kind: Kind
    values: Any

    @classmethod
    def narrow(cls, kind: Kind, values: Floats) -> Column:
        """Return a column of numbers as float32 if that yields the same digits, else as float64."""
        kept = significant(values) if kind == "significant" else rounded(values)
        small = cls(kind, kept.astype(np.float32))
        return small if np.array_equal(small.numbers(), kept, equal_nan=True) else cls(kind, kept)

    @classmethod
    def words(cls, values: Sequence[str] | pd.Series) -> Column:
        """Return a column of texts, stored once each."""
        import pandas as pd

        return cls("word", pd.Categorical(pd.Series(values, dtype="str")))

    def numbers(self) -> Floats:
        """Return the numbers (N,) as the evidence states them."""
        values = np.asarray(self.values)
        return values if values.dtype == np.float64 else _NUMBERS[self.kind](values.astype(np.float64))

    def texts(self, at: Ints | slice) -> list[str]:
        """Return the values of these rows as the evidence states them."""
        if self.kind == "word":
            said = [*(json.dumps(word, ensure_ascii=False) for word in self.values.categories), "null"]
            return [said[code] for code in self.values.codes[at].tolist()]
        return _TEXTS[self.kind](self.values[at])

    def take(self, at: Ints) -> Column:
        """Return these rows; -1 is one without a value."""
        if self.kind == "word":
            return replace(self, values=self.values.take(at, allow_fill=True))
        missing = np.array([0 if self.kind == "hex" else np.nan], self.values.dtype)
        return replace(self, values=np.concatenate([self.values, missing])[at])

    @classmethod
    def joined(cls, parts: Sequence[Column]) -> Column:
        """Return the values of blocks as one column."""
        if parts[0].kind != "word":
            # a block that needed float64 states its numbers exactly; the others are read as they were written
            exact = any(part.values.dtype == np.float64 for part in parts)
            return cls(parts[0].kind, np.concatenate([part.numbers() if exact else part.values for part in parts]))
        from pandas.api.types import union_categoricals

        return cls("word", union_categoricals([part.values for part in parts]))


def significant(values: Floats) -> Floats:
    """Return values rounded as ``format(value, ".4g")`` rounds them."""
    with np.errstate(divide="ignore", invalid="ignore"):
        magnitude = np.nan_to_num(np.floor(np.log10(np.abs(values))), neginf=0.0, posinf=0.0)
    return _as_python_rounds(values, (DIGITS - 1 - magnitude).astype(np.int64), f".{DIGITS}g")


def rounded(values: Floats, digits: int = DIGITS) -> Floats:
    """Return values rounded as ``round(value, digits)`` rounds them."""
    return _as_python_rounds(values, np.full(len(values), digits), f".{digits}f")


def _as_python_rounds(values: Floats, places: Ints, form: str) -> Floats:
    """Return values rounded to decimal ``places``; by ``form`` where a product may deceive, such as near a tie."""
    up, down = (10.0 ** np.clip(sign * places, 0, _EXACT) for sign in (1, -1))
    scaled = values * up / down
    found = np.rint(scaled) / up * down
    with np.errstate(invalid="ignore"):
        near = np.abs(np.abs(scaled - np.floor(scaled)) - 0.5) < _TIE
    doubtful = np.flatnonzero(near | (np.abs(places) > _EXACT))
    found[doubtful] = [float(format(value, form)) for value in values[doubtful].tolist()]
    return np.asarray(found, dtype=np.float64)


_NUMBERS: dict[str, Callable[[Floats], Floats]] = {
    "significant": significant,
    "rounded": rounded,
    "fixed": rounded,
}

_TEXTS: dict[str, Callable[[Any], list[str]]] = {
    "significant": lambda values: [f"{value:.4g}" for value in values.tolist()],
    "rounded": lambda values: [repr(value) for value in rounded(values.astype(np.float64)).tolist()],
    "fixed": lambda values: [f"{value:.4f}" for value in values.tolist()],
    "hex": lambda values: [f"{value & 0xFFFFFFFFFFFFFFFF:016x}" for value in values.tolist()],
}

KINDS = (*_TEXTS, "word")

Pieces = tuple[str, ...]
"""Evidence as text, name of a field, text, name of a field, ..., text."""


@dataclass(frozen=True)
class Scored:
    """What a check says of each image (N), in the order of the data set.

    Attributes:
        scores: (N,) 0 worst .. 1 clean, rounded to 6 decimals, float32 where that holds them; NaN where the check does
            not score the image
        pieces: the texts of the evidence, with their constants; see :func:`pieces`
        which: (N,) the number of each image's text; None where there is one text
        fields: the values that stand between the pieces, by name
        groups: ``pandas.Categorical`` (N,) of group names, missing for none; None where no image has one

    """

    scores: Floats32 | Floats
    pieces: tuple[Pieces, ...] = (("{}",),)
    which: npt.NDArray[np.unsignedinteger[Any]] | None = None
    fields: Mapping[str, Column] = field(default_factory=dict)
    groups: Any = None

    @property
    def known(self) -> Ints:
        """Return the rows that the check scores."""
        return np.flatnonzero(~np.isnan(self.scores))

    def exact_scores(self) -> Floats:
        """Return the scores as float64."""
        return exact_scores(self.scores)

    def evidence(self, at: Ints) -> list[str]:
        """Return the JSON objects of these rows."""
        which = np.zeros(len(at), np.int64) if self.which is None else self.which[at].astype(np.int64)
        found = np.empty(len(at), dtype=object)
        order = np.argsort(which, kind="stable")
        starts = np.searchsorted(which[order], np.arange(len(self.pieces) + 1))
        for number, said in enumerate(self.pieces):
            mine = order[starts[number] : starts[number + 1]]
            if len(said) == 1:
                found[mine] = said[0]
            elif len(mine):
                columns = [self.fields[name].texts(at[mine]) for name in said[1::2]]
                form = "%s".join(piece.replace("%", "%%") for piece in said[::2])
                found[mine] = [form % values for values in zip(*columns, strict=True)]
        return found.tolist()

    def is_complete(self) -> bool:
        """Return whether every number in the evidence of a scored image is finite, so that the evidence is JSON."""
        at = self.known
        which = np.zeros(len(at), np.int64) if self.which is None else self.which[at]
        return all(
            np.isfinite(self.fields[name].values[at[which == number]]).all()
            for number, said in enumerate(self.pieces)
            for name in said[1::2]
            if self.fields[name].kind != "word"
        )

    def group_names(self, at: Ints) -> npt.NDArray[np.object_]:
        """Return the names of these rows' groups, "" for none."""
        if self.groups is None:
            return np.full(len(at), "", dtype=object)
        names = np.array([*self.groups.categories, ""], dtype=object)
        found: npt.NDArray[np.object_] = names[self.groups.codes[at]]
        return found

    def constants(self) -> list[dict[str, Any]]:
        """Return the object of each text with None in the place of its values."""
        return [json.loads("null".join(said[::2])) for said in self.pieces]

    def spread(self, at: Ints, number: int) -> Scored:
        """Return the same for a data set of ``number`` images, of which these rows are the ones at ``at``."""
        place = np.full(number, -1, dtype=np.int64)
        place[at] = np.arange(len(at))
        return self.take(place)

    def take(self, place: Ints) -> Scored:
        """Return these rows; -1 is one that the check does not score."""
        return Scored(
            np.append(self.scores, np.array([np.nan], self.scores.dtype))[place],
            self.pieces,
            None if self.which is None else np.append(self.which, np.array([0], self.which.dtype))[place],
            {name: column.take(place) for name, column in self.fields.items()},
            None if self.groups is None else self.groups.take(place, allow_fill=True),
        )

    @classmethod
    def joined(cls, parts: Sequence[Scored]) -> Scored:
        """Return the blocks of a data set, judged by the same limits, as one."""
        import pandas as pd

        first = parts[0]
        fields = {name: Column.joined([part.fields[name] for part in parts]) for name in first.fields}
        codes = [part.which for part in parts if part.which is not None]
        groups = None
        if any(part.groups is not None for part in parts):
            names = np.concatenate([part.group_names(np.arange(len(part.scores))) for part in parts])
            groups = pd.Categorical(pd.Series(names, dtype="str").where(names != ""))
        scores = np.concatenate([part.scores for part in parts])
        return cls(scores, first.pieces, np.concatenate(codes) if codes else None, fields, groups)


def narrow_scores(scores: Floats) -> Floats32 | Floats:
    """Return scores rounded to 6 decimals, as float32 if that holds them."""
    kept = np.round(scores, SCORE_DIGITS)
    small = kept.astype(np.float32)
    return small if np.array_equal(exact_scores(small), kept, equal_nan=True) else kept


def exact_scores(scores: Floats32 | Floats) -> Floats:
    """Return stored scores as float64."""
    wide = scores.astype(np.float64)
    return wide if scores.dtype == np.float64 else np.round(wide, SCORE_DIGITS)


class Value(str):
    """The name of a field in an object of evidence that is given to :func:`pieces`."""


class Written(str):
    """A constant of such an object as it is to be written."""


def pieces(kinds: Mapping[str, Kind], **evidence: Any) -> Pieces:
    """Return an object of evidence, in which a :class:`Value` stands for each row's own value, in pieces."""
    parts: list[str] = []
    text = ""
    for token in _tokens(evidence):
        if isinstance(token, Value):
            quote = '"' if kinds[token] == "hex" else ""
            parts += [text + quote, str(token)]
            text = quote
        else:
            text += token
    return (*parts, text)


def _tokens(value: Any) -> list[str]:
    if isinstance(value, Value | Written):
        return [value]
    if not isinstance(value, Mapping):
        return [json.dumps(value, ensure_ascii=False)]
    tokens, before = ["{"], ""
    for name, inner in value.items():
        tokens += [f"{before}{json.dumps(name, ensure_ascii=False)}: ", *_tokens(inner)]
        before = ", "
    return [*tokens, "}"]
