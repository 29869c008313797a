"""Draw the sample: choose the defects, draw the images, write the files."""

from __future__ import annotations

import io
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from curation.audit.synthetic import defects, face
from curation.audit.synthetic.detail import Tones, backdrop
from curation.audit.synthetic.face import EXPRESSIONS, TYPICAL, Expression
from curation.audit.synthetic.plant import Pixels, make_copy
from curation.audit.synthetic.scenes import SCENES
from curation.base import splits
from curation.base.errors import CurationError
from curation.formats.kinds import has_image_extension
from curation.formats.names import PROVENANCE

SIDE = 48
"""Side of the images in px, as in FER-2013."""

MIN_IMAGES = 40
"""Fewer have no room for every defect and some plain pictures."""

_DRAWN_SIDE = 96
"""Side in px at which pictures are drawn before they are made smaller."""

_QUALITY = 92
_SPLITS = {"train": 0.7, "validation": 0.2, "test": 0.1}
_PLAIN = "plain"
_IN_SESSIONS = 0.4
"""Share of the plain pictures that are of people who were photographed more than once."""
_VARIETY = 0.1
"""Standard deviation by which each part of an expression differs from picture to picture."""


class SampleError(CurationError):
    """The sample cannot be written to the given folder."""


@dataclass(frozen=True)
class _Item:
    """One file of the sample: its place, its content and the truth about it."""

    split: str
    folder: str
    data: bytes
    defect: str
    true_label: str
    of: int = -1
    subject: int = -1
    session: str = ""


def make_sample(destination: str | Path, *, images: int = 400, seed: int = 0) -> pd.DataFrame:
    """Draw four expressions as 48x48 grey JPEGs below train, validation and test, with planted defects.

    The same arguments give the same bytes.

    Args:
        destination: a folder that does not exist or is empty; it appears only when complete.
        images: how many files.
        seed: another one draws other people.

    Returns:
        the truth, also written to truth.csv: path; defect ("plain", or the check that should find it and, after a
        colon, its kind); of (path of the picture that a copy was made of, else ""); true_label (what is drawn: two
        joined by "|" where ambiguous, "" where there is no face or no single one can be seen); subject (who it is, ""
        where nobody is seen; the people of many_faces are one) and session (pictures of a subject taken in a row: the
        same light and clothes, an expression each; "" where there is but one). A file's name begins with its subject,
        as in data sets of known people; strays have somebody's.

    Raises:
        SampleError: ``destination`` holds something or cannot be written, or ``images`` is too small.

    """
    if images < MIN_IMAGES:
        raise SampleError(f"a sample of {images} images has no room for every defect; use {MIN_IMAGES} or more")
    destination = Path(destination)
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise SampleError(f"{destination} is not an empty folder; name a new one for the sample")
    _require_apart(destination)
    items = _drawn(images, np.random.default_rng(seed))
    paths = _paths(items, np.random.default_rng([seed, 1]))
    records = [
        (
            path,
            item.defect,
            paths[item.of] if item.of >= 0 else "",
            item.true_label,
            path.rpartition("/")[2].partition("_")[0] if item.true_label else "",
            item.session,
        )
        for path, item in zip(paths, items, strict=True)
    ]
    truth = pd.DataFrame(sorted(records), columns=["path", "defect", "of", "true_label", "subject", "session"])
    try:
        _write(destination, dict(zip(paths, (item.data for item in items), strict=True)), truth)
    except OSError as error:
        raise SampleError(f"the sample cannot be written to {destination}: {error.strerror or error}") from error
    return truth


def _require_apart(destination: Path) -> None:
    """Refuse a folder among somebody's images, to which the sample would be added.

    Raises:
        SampleError: the folder that is to hold the sample holds mostly images, or splits of a data set, or an export.

    """
    holding = next((folder for folder in destination.absolute().parents if folder.is_dir()), Path("/"))
    entries = sorted(holding.iterdir())
    files = [entry.name for entry in entries if not entry.is_dir()]
    images = [name for name in files if has_image_extension(name)]
    parts = [entry.name for entry in entries if splits.standard(entry.name) and _holds_images(entry)]
    held = PROVENANCE if PROVENANCE in files else ""
    if 2 * len(images) > len(files):  # one picture among other files is nothing unusual
        held = images[0]
    if len(parts) > 1:
        held = " and ".join(parts[:2])
    if held:
        raise SampleError(f"{holding} holds {held}, so it is a data set itself; name a folder outside it")


def _holds_images(folder: Path) -> bool:
    """Return whether images lie in a folder or in one of those in it, as in a split: tests of a program are none."""
    if not folder.is_dir():
        return False
    within = (folder, *(entry for entry in folder.iterdir() if entry.is_dir()))
    return any(has_image_extension(entry.name) for one in within for entry in one.iterdir())


def _drawn(images: int, rng: np.random.Generator) -> list[_Item]:
    planted = [kind for kind, share in defects.SHARES.items() for _ in range(max(1, round(share * images / 400)))]
    plain = images - len(planted)
    items = _sessions(round(_IN_SESSIONS * plain), rng)
    items += [_plain(number, rng) for number in range(plain - len(items))]
    originals = iter(rng.permutation(len(items)).tolist() * 2)
    for number, kind in enumerate(planted):
        name, _, detail = kind.partition(":")
        if name in ("exact_duplicate", "near_duplicate"):
            original = next(originals)
            items.append(_copy(kind, original, items[original], rng))
        elif name == "unreadable":
            items.append(_unreadable(kind, detail, number, rng))
        else:
            items.append(_odd(kind, name, detail, number, rng))
    return items


def _split(rng: np.random.Generator) -> str:
    return str(rng.choice(list(_SPLITS), p=list(_SPLITS.values())))


def _other(choices: tuple[str, ...], one: str, rng: np.random.Generator) -> str:
    return str(rng.choice([choice for choice in choices if choice != one]))


def _label(number: int) -> str:
    return EXPRESSIONS[number % len(EXPRESSIONS)]


def _varied(expression: Expression, rng: np.random.Generator) -> Expression:
    amounts = np.array(list(vars(expression).values()))
    return Expression(*(amounts * rng.uniform(0.75, 1.15) + rng.normal(0, _VARIETY, len(amounts))).tolist())


def _portrait(expression: Expression, rng: np.random.Generator) -> Tones:
    """Return the drawing of a new person."""
    return face.draw(_DRAWN_SIDE, face.draw_person(rng), _varied(expression, rng), face.draw_shot(rng), rng)


def as_pixels(tones: Tones) -> Pixels:
    """Return tones of any side, 0..1, as a picture (SIDE, SIDE) uint8."""
    small = cv2.resize(tones, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.round(np.clip(small, 0, 1) * 255).astype(np.uint8)


def jpeg(pixels: Pixels) -> bytes:
    """Return a picture as the bytes of a JPEG file, of the quality of the whole sample."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def _plain(number: int, rng: np.random.Generator) -> _Item:
    label = _label(number)
    return _Item(_split(rng), label, jpeg(as_pixels(_portrait(TYPICAL[label], rng))), _PLAIN, label)


def _sessions(count: int, rng: np.random.Generator) -> list[_Item]:
    """Return ``count`` pictures of people photographed two to four times in a row, some on two days.

    A session lies in one split; one of a person's two sessions may lie in another.
    """
    items: list[_Item] = []
    subject = 0
    while len(items) < count:
        person = face.draw_person(rng)
        for day in range(1 + int(rng.random() < 1 / 3)):
            split, session = _split(rng), f"{subject}-{day}"
            clothed = replace(person, clothing=rng.uniform(0.05, 0.95))
            light = face.draw_shot(rng)
            for label in rng.permutation(EXPRESSIONS)[: int(rng.integers(2, 5))].tolist():
                shot = face.same_light(light, face.draw_shot(rng))
                tones = face.draw(_DRAWN_SIDE, clothed, _varied(TYPICAL[label], rng), shot, rng)
                item = _Item(split, label, jpeg(as_pixels(tones)), _PLAIN, label, subject=subject, session=session)
                items.append(item)
        subject += 1
    return items[:count]


def _copy(kind: str, number: int, original: _Item, rng: np.random.Generator) -> _Item:
    name, _, detail = kind.partition(":")
    split, folder, data = original.split, original.folder, original.data
    if name == "near_duplicate":
        pixels = np.array(Image.open(io.BytesIO(data)))
        data = jpeg(make_copy(pixels, detail, int(rng.integers(2**31))))
        split = _split(rng)
    elif detail == "other_split":
        split = _other(tuple(_SPLITS), split, rng)
    elif detail == "other_label":
        folder = _other(EXPRESSIONS, folder, rng)
    session = original.session
    return _Item(split, folder, data, kind, original.true_label, number, original.subject, session)


def _unreadable(kind: str, detail: str, number: int, rng: np.random.Generator) -> _Item:
    label = _label(number)
    data = defects.broken(detail, jpeg(as_pixels(_portrait(TYPICAL[label], rng))), rng)
    return _Item(_split(rng), label, data, kind, "")


def _odd(kind: str, name: str, detail: str, number: int, rng: np.random.Generator) -> _Item:
    """Return a picture with a defect of its own or in the wrong folder."""
    label = _label(number)
    folder = true_label = label
    if name in defects.BAD_LIGHT:
        tones = defects.BAD_LIGHT[name](_portrait(TYPICAL[label], rng))
    elif name == "blank":
        tones, true_label = defects.blank(detail, SIDE, rng), ""
    elif name in ("no_face", "non_human_face"):
        tones, true_label = SCENES[detail](_DRAWN_SIDE, rng), ""
    elif name == "rolled_face":
        tones = defects.rolled(detail, _portrait(TYPICAL[label], rng), rng)
    elif kind in defects.LAID:
        return _Item(_split(rng), folder, jpeg(_overlaid(kind, TYPICAL[label], rng)), kind, true_label)
    elif name == "mislabelled":
        tones, folder = _portrait(TYPICAL[label], rng), _other(EXPRESSIONS, label, rng)
    elif name == "ambiguous":
        second = _other(EXPRESSIONS, label, rng)
        tones = _portrait(TYPICAL[label].mixed(TYPICAL[second], 0.5), rng)
        true_label = "|".join(sorted((label, second)))
    else:
        tones = _badly_framed(name, TYPICAL[label], rng)
    return _Item(_split(rng), folder, jpeg(as_pixels(tones)), kind, true_label)


def _overlaid(kind: str, expression: Expression, rng: np.random.Generator) -> Pixels:
    """Return a portrait with a mark or an object over it."""
    from curation.audit.challenges import PLANTED  # which draws faces by this package

    lay, _ = PLANTED[defects.LAID[kind]]
    return lay(as_pixels(_portrait(expression, rng)), rng)


def _badly_framed(name: str, expression: Expression, rng: np.random.Generator) -> Tones:
    shot = face.draw_shot(rng)
    tones = backdrop(2 * _DRAWN_SIDE, shot.backdrop, rng)
    for own in defects.badly_framed(name, rng):
        tones = face.draw_on(tones, face.draw_person(rng), _varied(expression, rng), defects.framed(shot, own), rng)
    return tones


def _paths(items: list[_Item], rng: np.random.Generator) -> list[str]:
    """Return a path for every item; the numbers do not reveal what was planted.

    A person in a single picture has a number of their own; a copy has that of its original.
    """
    numbers = rng.permutation(len(items)).tolist()
    people = rng.permutation(2 * len(items)).tolist()
    owners: list[int] = []
    for place, item in enumerate(items):
        alone = owners[item.of] if item.of >= 0 else len(items) + place
        owners.append(item.subject if item.subject >= 0 else alone)
    return [
        f"{item.split}/{item.folder}/p{people[owner]:04d}_{number:05d}.jpg"
        for item, owner, number in zip(items, owners, numbers, strict=True)
    ]


def _write(destination: Path, files: dict[str, bytes], truth: pd.DataFrame) -> None:
    partial = destination.absolute().with_name(f".{destination.absolute().name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for path, data in files.items():
        (partial / path).parent.mkdir(parents=True, exist_ok=True)
        (partial / path).write_bytes(data)
    truth.to_csv(partial / "truth.csv", index=False, lineterminator="\n")
    partial.replace(destination.absolute())
