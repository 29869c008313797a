"""Pictures of faces in any number, no two alike, and planted copies of a tenth of them.

A picture blends two different faces, each warped smoothly by itself, cropped, zoomed and toned, with noise. No two
pictures have the same two faces, and the warps would tell them apart if they had. One in ten pictures is a copy of one
of the others, of a kind that is named in the truth.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import simplejpeg
from numpy.typing import NDArray

from curation.audit.synthetic import face, make
from curation.audit.synthetic.plant import make_copy
from curation.base.settings import MeasureSettings
from curation.measure.faces.choice import choose_detector

SIDE = 48
"""px"""

COPY_SHARE = 0.1
KINDS = ("exact", "jpeg", "gamma", "crop_5", "mirror", "text", "noise", "resample")
"""Of copies, taken in turn; see ``curation.audit.synthetic.plant``. "exact" has the same bytes."""

OTHER_CLASS = 0.05
"""Share of the copies that are under another class than their original."""

CLASSES = ("angry", "happy", "neutral", "sad", "surprise")
SPLITS = {"train": 0.8, "validation": 0.1, "test": 0.1}
FILES_A_FOLDER = 2_000

QUALITY = 92
"""Of the JPEG files."""

_SURE = 0.9
"""Least score of a face that is used."""

DRAWN_FACES = 400
"""Faces that are drawn where no folder of real ones is at hand."""

_BLOCK = 1_000
"""Pictures with one generator; copies are of the same block."""

_WARP = 0.7
_WARP_CELLS = 5
"""Standard deviation in px of the displacements, at nodes of a grid of so many a side."""

_ZOOM = (0.9, 1.0)
_SHIFT = 2.0
_SHARE = (0.35, 0.65)
_NOISE = 2.0
"""How far a face is zoomed, moved (px), its part in the blend, and the noise (grey levels)."""

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


def read_faces(folder: Path | None, seed: int) -> Pixels:
    """Return the different faces (N, 48, 48) below ``folder``, or drawn ones, in an order given by the seed."""
    generator = np.random.default_rng(seed)
    if folder is None:
        looks = list(face.TYPICAL.values())
        people = [face.draw_person(generator) for _ in range(DRAWN_FACES)]
        drawn = (
            face.draw(2 * SIDE, person, looks[n % len(looks)], face.draw_shot(generator), generator)
            for n, person in enumerate(people)
        )
        return surest(np.stack([make.as_pixels(tones) for tones in drawn]))
    files = sorted(folder.rglob("*.jpg"))
    pictures = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in files]
    faces = np.stack([cv2.resize(each, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for each in pictures])
    coarse = np.stack([cv2.resize(each, (6, 6), interpolation=cv2.INTER_AREA) // 8 for each in faces])
    distinct = np.unique(coarse.reshape(len(coarse), -1), axis=0, return_index=True)[1]
    return surest(faces[generator.permutation(distinct)])


def surest(faces: Pixels) -> Pixels:
    """Return the faces that the detector is sure of, or half of them: blends are then as easily found as real faces."""
    detector = choose_detector(MeasureSettings()).make(0.0)
    found = detector.detect_all([detector.seen(each) for each in faces])
    scores = np.array([seen[0].score if seen else 0.0 for seen in found])
    return np.asarray(faces[scores >= min(_SURE, np.median(scores))], dtype=np.uint8)


def write_pictures(folder: Path, faces: Pixels, count: int, seed: int) -> pd.DataFrame:
    """Write pictures as split/class/part/number.jpg below ``folder``; the same arguments give the same bytes.

    Returns:
        path; of (path of the original, "" for one that is no copy); kind of the copy, "" likewise.

    """
    rows: list[tuple[str, str, str]] = []
    mean = faces.mean(axis=0, dtype=np.float32)
    parts = -(-count // FILES_A_FOLDER)
    for start in range(0, count, _BLOCK):
        generator = np.random.default_rng([seed, start // _BLOCK])
        size = min(_BLOCK, count - start)
        originals = size - round(size * COPY_SHARE)
        pictures = [blended(faces, mean, start + n, generator) for n in range(originals)]
        places = [_place(start + n, parts, str(generator.choice(CLASSES)), generator) for n in range(originals)]
        files = [_encoded(picture) for picture in pictures]
        chosen = generator.choice(originals, size - originals, replace=False).tolist()
        rows += [(path, "", "") for path in places]
        for n, original in enumerate(chosen, start=originals):
            kind = KINDS[n % len(KINDS)]
            own = places[original].split("/")[1]
            label = str(generator.choice(CLASSES)) if generator.random() < OTHER_CLASS else own
            files.append(
                files[original]
                if kind == "exact"
                else _encoded(make_copy(pictures[original], kind, int(generator.integers(2**31))))
            )
            places.append(_place(start + n, parts, label, generator))
            rows.append((places[n], places[original], kind))
        _write(folder, places, files)
    return pd.DataFrame(rows, columns=["path", "of", "kind"])


def _place(number: int, parts: int, label: str, generator: np.random.Generator) -> str:
    split = str(generator.choice(list(SPLITS), p=list(SPLITS.values())))
    return f"{split}/{label}/part{number % parts:04d}/{number}.jpg"


def _write(folder: Path, places: list[str], files: list[bytes]) -> None:
    for parent in {place.rpartition("/")[0] for place in places}:
        (folder / parent).mkdir(parents=True, exist_ok=True)
    for place, data in zip(places, files, strict=True):
        (folder / place).write_bytes(data)


def _encoded(picture: Pixels) -> bytes:
    return simplejpeg.encode_jpeg(picture[:, :, None], QUALITY, colorspace="GRAY", colorsubsampling="Gray")


def blended(faces: Pixels, mean: Floats, number: int, generator: np.random.Generator) -> Pixels:
    """Return picture ``number``: its two faces are those of no other number, up to half of the possible pairs."""
    first = number % len(faces)
    step = 1 + number // len(faces) % ((len(faces) - 1) // 2)
    shares = np.array([(share := generator.uniform(*_SHARE)), 1 - share])
    shares /= np.linalg.norm(shares)
    result = mean.copy()
    for share, place in zip(shares.tolist(), (first, (first + step) % len(faces)), strict=True):
        moved = cv2.remap(faces[place], *_map(generator), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        result += np.float32(share) * (moved - mean)
    result += generator.normal(0, _NOISE, result.shape).astype(np.float32)
    result = (result - 128) * generator.uniform(0.85, 1.15) + 128 + generator.uniform(-15, 15)
    return np.asarray(np.clip(np.rint(result), 0, 255), dtype=np.uint8)


def _map(generator: np.random.Generator) -> tuple[Floats, Floats]:
    """Return where each pixel of a warped face is taken from: across, down, px."""
    nodes = generator.normal(0, _WARP, (_WARP_CELLS, _WARP_CELLS, 2)).astype(np.float32)
    smooth = cv2.resize(nodes, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    zoom, (across, down) = generator.uniform(*_ZOOM), generator.uniform(-_SHIFT, _SHIFT, 2)
    line = (np.arange(SIDE, dtype=np.float32) - SIDE / 2) * np.float32(zoom) + SIDE / 2
    x = np.broadcast_to(line[None, :], (SIDE, SIDE)) + smooth[:, :, 0] + np.float32(across)
    y = np.broadcast_to(line[:, None], (SIDE, SIDE)) + smooth[:, :, 1] + np.float32(down)
    return x, y
