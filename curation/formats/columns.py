"""The meaning of a list's columns: path, label, split, person, and a distribution over classes.

Names decide first, in any spelling; then the cells: of two columns that may be the label, the one whose values differ;
if no column is named like a path, the one whose cells are paths.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from curation.base import files
from curation.base.classes import is_expression
from curation.base.splits import standard
from curation.formats import kinds, table
from curation.formats.listing import IngestError, are_shares
from curation.formats.table import Table

NAMES = {
    "path": (
        *("path", "file", "file_path", "filepath", "file_name", "filename", "image", "image_path", "img", "name"),
        *("pth", "image_name", "image_file", "img_path", "img_name", "picture", "photo", "fname"),
        "sub_directory_file_path",
    ),
    "label": (
        *("label", "class", "class_name", "category", "emotion", "expression", "target", "cls", "y", "labels", "gt"),
        *("emotions", "sentiment", "mood", "ground_truth", "annotation"),
    ),
    "split": ("split", "subset", "partition", "set", "usage", "phase", "fold", "data_set_split", "data_split"),
    "subject": (
        *("subject", "subject_id", "person", "person_id", "identity", "identity_id", "actor", "actor_id", "speaker"),
        *("speaker_id", "participant", "participant_id", "individual", "sub_id", "subject_no", "person_name"),
    ),
    "soft": ("soft_label", "soft_labels"),
}
"""Meaning -> column names that have it, best first; case and separators do not matter."""

_PATH_WORDS = {"image", "img", "file", "picture", "pic", "photo", "frame", "face", "crop", "id", "path", "pth", "name"}
_PATH_WORDS |= {"filename", "filepath", "relative", "rel", "full", "abs", "absolute", "url", "location"}
_LABEL_WORDS = {"label", "class", "emotion", "expression", "category"}
_BESIDE_LABEL = {"name", "text", "id", "idx", "index", "code", "face", "facial", "string", "number", "no", "true"}

_MISSING = frozenset({"", "nan", "n/a", "na", "#n/a", "<na>", "null"})
"""Cells, in lower case, that programs write for a missing value."""

NO_CLASS = frozenset({"unknown", "nf", "not_a_face", "non_face", "no_face"})
"""Names of columns with votes for none of the classes."""

_SEVERAL = re.compile(r"[|;,/+]")
"""Separators of several labels in one cell."""

_LOOKED_AT = 400
_NEAR_ONE = 0.02
_MOST_DIGITS = 6


@dataclass
class Columns:
    """The places of a list's columns, -1 for absent ones, and how they were interpreted.

    distribution -- place -> class, of columns that hold a share, a vote or a mark for each class
    notes        -- sentences for the user
    """

    path: int
    label: int = -1
    split: int = -1
    subject: int = -1
    soft: int = -1
    distribution: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def understood(given: Table, exists: Callable[[str], bool], prefer: str = "", *, strict: bool = False) -> Columns:
    """Return the meaning of a list's columns.

    Args:
        given: the list.
        exists: whether there is an image with that path, as given.
        prefer: a column of paths that takes precedence over others, if the list has it.
        strict: whether only a column with a common name is the label: "true_label" may be something else, and one
            column per class the output of a model.

    Raises:
        IngestError: no column holds paths.

    """
    plain = [plain_name(name) for name in given.header]
    path = _path_column(given, plain, exists, prefer)
    found = Columns(path)
    taken = {path}
    for name in ("split", "subject", "soft"):
        place = next((plain.index(known) for known in NAMES[name] if known in plain and plain.index(known) != path), -1)
        setattr(found, name, place)
        taken.add(place)
    if not any(given.header):
        _without_header(given, found)
        return found
    labels = [place for place in _label_columns(plain, strict) if place not in taken]
    found.label = _chosen_label(given, labels, found)
    if strange := given.nested & {path, found.label}:
        name = given.header[next(iter(strange))]
        raise IngestError(f"{given.shown}: column {name!r} is nested; it must hold text or numbers")
    rest = [place for place in range(len(plain)) if place not in taken | set(labels) and given.header[place]]
    found.distribution = {} if strict else _distribution(given, rest, found.label < 0)
    if found.label < 0 and not (strict or found.distribution or found.soft >= 0):
        found.label = _label_by_cells(given, rest, found)
    return found


def plain_name(name: str) -> str:
    """Return a column's name in lower case, its words joined by underscores."""
    return "_".join(word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+|\d+", name))


def _path_column(given: Table, plain: Sequence[str], exists: Callable[[str], bool], prefer: str) -> int:
    if prefer and prefer in plain:
        return plain.index(prefer)
    named = [plain.index(known) for known in NAMES["path"] if known in plain]
    named += [n for n, name in enumerate(plain) if n not in named and name and set(name.split("_")) <= _PATH_WORDS]
    others = [n for n in range(len(plain)) if n not in named]
    sample = given.rows[:_LOOKED_AT]

    def share(place: int, fits: Callable[[str], bool]) -> float:
        cells = [row[place] for row in sample if place < len(row) and row[place]]
        return sum(map(fits, cells)) / len(cells) if cells else 0.0

    def is_name(cell: str) -> bool:
        return kinds.has_image_extension(cell.strip())

    # existing paths first, then cells with the extension of an image, then names alone
    for fits, places in ((exists, named), (is_name, named), (exists, others), (is_name, others)):
        shares = {place: share(place, fits) for place in places}
        best = max(shares, key=lambda place: (shares[place], -places.index(place)), default=-1)
        if best >= 0 and shares[best] > 0.5:
            return best
    if named:
        return named[0]
    have = ", ".join(repr(name) for name in given.header[:10]) or "none"
    raise IngestError(f"{given.shown} has no column 'path' (it has {have}); name the column of file paths 'path'")


def _without_header(given: Table, found: Columns) -> None:
    """Interpret the columns of a list without a header by their cells: names of splits, else the label."""
    labels = []
    for place in (n for n in range(len(given.header)) if n != found.path):
        cells = set(filter(None, given.column(place)))
        if found.split < 0 and cells and all(map(standard, cells)):
            found.split = place
        elif cells and (len(cells) < max(len(given.rows), 2) or len(given.rows) < 20):
            labels.append(
                (-sum(map(is_expression, cells)), _counts_rows(table.numbers(given.column(place)) or ()), place)
            )
    found.label = min(labels, default=(0, False, -1))[2]
    found.notes.append(f"{given.shown} has no header: column {found.path + 1} is taken for the path")
    if found.label >= 0:
        found.notes[-1] += f", column {found.label + 1} for the label"


def _label_columns(plain: Sequence[str], strict: bool) -> list[int]:
    named = [plain.index(known) for known in NAMES["label"] if known in plain]
    for place, name in enumerate(plain):
        words = set(name.split("_"))
        if not strict and place not in named and words & _LABEL_WORDS and words <= _LABEL_WORDS | _BESIDE_LABEL:
            named.append(place)
    return named


def _chosen_label(given: Table, places: Sequence[int], found: Columns) -> int:
    """Return the column among ``places`` that is most likely the label, judged by its cells."""
    if len(places) < 2:
        return next(iter(places), -1)

    def rank(place: int) -> tuple[bool, bool, bool, int]:
        cells = [cell.strip() for cell in given.column(place)]
        kinds_of = set(cells) - {""}
        each_its_own = len(kinds_of) == len(cells) > 20
        words = sum(map(is_expression, cells)) * 2 > len(cells)
        return len(kinds_of) > 1 and not each_its_own, words, not all(map(_is_number, kinds_of)), -places.index(place)

    best = max(places, key=rank)
    others = [given.header[place] for place in places if place != best]
    found.notes.append(
        f"the label is taken from the column {given.header[best]!r}, not from {', '.join(map(repr, others))}"
    )
    return best


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"-?\d+(\.0*)?", cell) is not None


def _label_by_cells(given: Table, rest: Sequence[int], found: Columns) -> int:
    """Return the column most of whose cells are words for expressions, or -1."""
    for place in rest:
        cells = [cell for cell in given.column(place) if cell.strip()]
        if cells and sum(map(is_expression, cells)) * 2 > len(cells):
            found.notes.append(f"the label is taken from the column {given.header[place]!r}: its cells are expressions")
            return place
    return -1


def _distribution(given: Table, rest: Sequence[int], alone: bool) -> dict[int, str]:
    """Return place -> class of the columns that hold a share, a vote or a mark for each class.

    They are named like expressions; if nothing else is the label, columns of numbers also count if each row sums to 1.
    """
    cells = {place: numbers for place in rest if (numbers := table.numbers(given.column(place))) is not None}
    cells = {place: numbers for place, numbers in cells.items() if not _counts_rows(numbers)}
    names = _bare({place: given.header[place] for place in cells})
    known = {place: name for place, name in names.items() if is_expression(name) or plain_name(name) in NO_CLASS}
    if len(known) > 1:
        return known
    if not alone or len(cells) < 2 or not given.rows:
        return {}
    sums = [sum(row) for row in zip(*cells.values(), strict=True)]
    near = max(sum(abs(total / whole - 1) <= _NEAR_ONE for total in sums) for whole in (1, 100))
    return names if near >= 0.99 * len(given.rows) else {}


def _counts_rows(numbers: Sequence[float]) -> bool:
    """Return whether a column numbers the rows, starting at 0 or 1."""
    return len(numbers) > 2 and any(list(numbers) == list(range(first, first + len(numbers))) for first in (0, 1))


def _bare(names: dict[int, str]) -> dict[int, str]:
    """Return names reduced to the expression that is their first or last word, where they stay distinct."""
    bare = {}
    for place, name in names.items():
        words = re.split(r"[\s_.-]+", name.strip())
        inner = next((word for word in (words[0], words[-1]) if is_expression(word)), "")
        bare[place] = inner if len(words) > 1 and inner else name.strip()
    return bare if len(set(bare.values())) == len(names) else names


def labels_of(given: Table, columns: Columns) -> tuple[list[str], list[str], list[str]]:
    """Return the label and soft label (a JSON object, or "") of every row, and notes on how they were read."""
    cells, softs = (
        given.column(place) if place >= 0 else [""] * len(given.rows) for place in (columns.label, columns.soft)
    )
    cells = ["" if cell.strip().casefold() in _MISSING else cell.strip() for cell in cells]
    softs = [_distribution_text(text) for text in softs]
    notes: list[str] = []
    if columns.distribution:
        cells, softs, notes = _from_distribution(given, columns, cells)
    elif columns.label < 0 and any(softs):
        shares = [json.loads(text) if text else {} for text in softs]
        cells = [max(each, key=each.__getitem__, default="") for each in shares]
    whole = {cell for cell in cells if cell}
    if whole and all(map(_is_number, whole)):  # 3.0 is the label 3
        cells = [cell.partition(".")[0] for cell in cells]
        return cells, softs, notes
    several = {cell for cell in whole if len(_SEVERAL.split(cell)) > 1 and _parts(cell, whole)}
    if several:
        count = sum(cell in several for cell in cells)
        notes.append(f"{count:,} rows name several labels (such as {min(several)!r}), read as soft labels")
    for row, cell in enumerate(cells):
        if cell in several:
            parts = _parts(cell, whole)
            cells[row] = parts[0]
            softs[row] = softs[row] or (soft_json(dict.fromkeys(parts, 1 / len(parts))) if len(parts) > 1 else "")
    return cells, softs, notes


def _parts(cell: str, known: set[str]) -> list[str]:
    """Return the distinct labels in a cell, each an expression or the whole of another cell; [] if they are not."""
    parts = list(dict.fromkeys(filter(None, map(str.strip, _SEVERAL.split(cell)))))
    known_ones = bool(parts) and all(is_expression(part) or part in known for part in parts)
    return parts if known_ones and any(is_expression(part) for part in parts) else []


def _from_distribution(given: Table, columns: Columns, cells: list[str]) -> tuple[list[str], list[str], list[str]]:
    classes = list(columns.distribution.values())
    numbers = [table.numbers(given.column(place)) or [] for place in columns.distribution]
    softs, ties, hard = [], 0, True
    for row, shares in enumerate(zip(*numbers, strict=True)):
        label, soft, tied = judged(dict(zip(classes, shares, strict=True)))
        ties += tied
        hard = hard and sum(share > 0 for share in shares) < 2
        cells[row] = cells[row] if columns.label >= 0 else label
        softs.append(soft)
    what = ", ".join(map(repr, classes[:8]))
    if hard:
        return cells, [""] * len(softs), [f"the columns {what} mark the label of each row"]
    notes = [f"the columns {what} are read as soft labels; the label is the class with the largest share"]
    if ties:
        notes.append(f"{ties:,} rows give two classes the same largest share: the first is their label")
    return cells, softs, notes


def judged(shares: dict[str, float]) -> tuple[str, str, bool]:
    """Return label, soft label (JSON) and whether two classes tie for the label, from shares or votes by class.

    If the largest share is for none of the classes (``NO_CLASS``: unknown, not a face), the label is "".
    """
    real = {name: share for name, share in shares.items() if plain_name(name) not in NO_CLASS}
    top = max(real.values(), default=0.0)
    if top <= 0 or top < max(shares.values()):
        return "", soft_json(real), False
    first = next(name for name, share in real.items() if share == top)
    return first, soft_json(real), list(real.values()).count(top) > 1


def soft_json(shares: dict[str, float]) -> str:
    """Return shares, or votes, as a JSON object class -> probability; "" if all are 0."""
    total = sum(shares.values())
    if not total > 0:
        return ""
    soft = {name: round(share / total, _MOST_DIGITS) for name, share in shares.items() if share > 0}
    return json.dumps(soft, sort_keys=True, ensure_ascii=False)


def _distribution_text(text: str) -> str:
    """Return a soft label, written as JSON or as Python prints it, in one form; "" for any other text."""
    try:
        found = files.parsed(text if '"' in text else text.replace("'", '"')) if text.startswith("{") else None
    except ValueError:
        return ""
    return soft_json({str(name): float(value) for name, value in (found or {}).items()}) if are_shares(found) else ""
