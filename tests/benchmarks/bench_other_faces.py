"""Near copies among other people's faces: photographs without any, expressions of one person, hard copies in colour.

python -m tests.benchmarks.bench_other_faces [orl] [expressions] [plain] [colour] [--seeds 1] [--data
../shared/datasets]

orl:         400 photographs of 40 people in one session each; no copy is among them.
expressions: drawn people, four expressions each in one light, as drawn and at 48 px; none is a copy.
plain:       different faces on white, 5 to 60 % of the picture; none is a copy and none is blank.
colour:      24 kinds of copies, 20 each, among 1,200 colour photographs of 200 px.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curation.audit.synthetic import face
from curation.base.settings import CheckSettings, DuplicateSettings, MeasureSettings
from tests import hard_copies
from tests.benchmarks.cost import print_figures

DEFAULT_DATA = Path("../shared/datasets")

Pixels = NDArray[np.uint8]

COLOUR_KINDS = (
    *("jpeg", "resample", "brightness", "contrast", "gamma", "blur", "sharpen", "noise", "mirror", "rotate"),
    *("text", "border", "tone", "crop_5", "crop_10"),
    *("turn_90", "turn_180", "upside_down", "negative", "bars", "crop_20", "turn_15", "block_30"),
    "collage",
)
"""Kinds of ``plant`` and ``hard_copies``, and two pictures side by side."""

PHOTOGRAPHS = 1200
EACH = 20
PEOPLE = 25
SHARES = (0.05, 0.10, 0.15, 0.20, 0.30, 0.40, 0.60)


def searched(pictures: Sequence[Pixels]) -> pd.DataFrame:
    """Measure pictures, (H, W) or (H, W, 3) RGB, as a run does, and search them."""
    from curation.checks.duplicates import find_near_duplicates
    from curation.checks.duplicates.looks import Parts
    from curation.measure.decode import Decoded
    from curation.measure.faces.choice import choose_detector
    from curation.measure.pixels import measure_pixels

    detector = choose_detector(MeasureSettings()).make(MeasureSettings().min_face_score)
    landmarks = np.full((len(pictures), 10), np.nan)
    sizes = (picture.shape for picture in pictures)
    measures = measure_pixels(
        [Decoded(np.ascontiguousarray(p), size[1], size[0], "", "", 1) for p, size in zip(pictures, sizes, strict=True)]
    )
    for n, found in enumerate(detector.detect_all(pictures)):
        if found and found[0].score >= CheckSettings().face_score and found[0].landmarks:
            landmarks[n] = found[0].landmarks
    owned = [(n, part) for n, measured in enumerate(measures) for part in measured.parts]
    parts = Parts(
        np.array([n for n, _ in owned], dtype=np.int64),
        np.array([part["kind"] for _, part in owned], dtype=np.int64),
        np.array([part["box"] for _, part in owned], dtype=np.float64).reshape(-1, 4),
        _thumbnails([part["thumbnail"] for _, part in owned]),
    )
    hashes = (np.array([getattr(m, name) for m in measures], dtype=np.int64) for name in ("dhash", "phash"))
    thumbnails = _thumbnails([m.thumbnail for m in measures])
    return find_near_duplicates(thumbnails, *hashes, DuplicateSettings(), parts=parts, landmarks=landmarks)


def _thumbnails(stored: Sequence[bytes]) -> Pixels:
    return np.frombuffer(b"".join(stored), dtype=np.uint8).reshape(-1, 48, 48)


def near(found: pd.DataFrame) -> pd.DataFrame:
    """Return the pairs that are called copies."""
    return found[found["relation"] == "near_duplicate"]


def told(found: pd.DataFrame, people: Iterable[int]) -> dict[str, Any]:
    """Return how many images of a set without copies are called near copies, and how many would be left out."""
    from curation.checks.duplicates.groups import star_groups

    who = np.array(list(people))
    copies = near(found)
    pairs = copies[["i", "j"]].to_numpy(dtype=np.int64)
    none = np.zeros(len(who), dtype=np.bool_)
    groups = star_groups(len(who), pairs, copies["probability"].to_numpy(), np.arange(len(who)), none)
    return {
        "images": len(who),
        "near_copies": len(np.unique(pairs)),
        "left_out": len(who) - len(np.unique(groups)),
        "of_two_people": int((who[pairs[:, 0]] != who[pairs[:, 1]]).sum()),
        "same_session": int((found["relation"] == "same_session").sum()),
    }


def orl(data: Path) -> dict[str, Any]:
    """Return the figures of the ORL faces."""
    files = sorted((data / "orl_faces").glob("*/*.pgm"))
    if not files:
        sys.exit(f"{data / 'orl_faces'} is absent; give the folder that holds it: --data FOLDER")
    return told(searched([_read(file) for file in files]), [int(file.parent.name[1:]) for file in files])


def _read(file: Path) -> Pixels:
    pixels = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        sys.exit(f"{file} cannot be read")
    return np.asarray(pixels if pixels.ndim == 2 else pixels[:, :, ::-1], dtype=np.uint8)


def drawn_people(seed: int, side: int, people: int = PEOPLE) -> list[Pixels]:
    """Return four expressions of each of drawn people, in one light, pose and scene; a little noise."""
    pictures = []
    for person in range(people):
        rng = np.random.default_rng([seed, person])
        drawn, shot = face.draw_person(rng), face.draw_shot(rng)
        for expression in face.TYPICAL.values():
            tones = face.draw(160, drawn, expression, shot, np.random.default_rng([seed, person, 1]))
            levels = np.clip(tones * 255 + rng.normal(0, 3, tones.shape), 0, 255).astype(np.uint8)
            pictures.append(levels if side == 160 else cv2.resize(levels, (side, side), interpolation=cv2.INTER_AREA))
    return pictures


def expressions(seed: int) -> dict[str, Any]:
    """Return the figures of drawn people's expressions, by the pictures' side."""
    who = np.repeat(np.arange(PEOPLE), len(face.TYPICAL)).tolist()
    return {f"{side} px": told(searched(drawn_people(seed, side)), who) for side in (160, 96, 48)}


def plain(data: Path, seed: int) -> dict[str, Any]:
    """Return the figures of faces on white ground."""
    files = _photographs(data)
    figures: dict[str, Any] = {}
    for shape in ("square", "round"):
        for share in SHARES:
            chosen = np.random.default_rng(seed).choice(len(files), 24, replace=False)
            pictures = [_on_white(_read(files[n]), share, shape == "round") for n in chosen]
            figures[f"{shape}, {share:.0%}"] = told(searched(pictures), range(len(pictures)))["near_copies"]
    return figures


def _on_white(picture: Pixels, share: float, rounded: bool) -> Pixels:
    side = round(300 * float(np.sqrt(share / (np.pi / 4 if rounded else 1))))
    small = cv2.resize(picture, (side, side))
    if rounded:
        mask = cv2.circle(np.zeros((side, side), np.uint8), (side // 2, side // 2), side // 2, 1, -1)
        small[mask == 0] = 255
    ground = np.full((300, 300, 3), 255, np.uint8)
    start = (300 - side) // 2
    ground[start : start + side, start : start + side] = small
    return ground


def _photographs(data: Path) -> list[Path]:
    files = sorted((data / "utkface_sample").glob("*.jpg"))
    if not files:
        sys.exit(f"{data / 'utkface_sample'} is absent; give the folder that holds it: --data FOLDER")
    return files


def colour(data: Path, seed: int) -> dict[str, Any]:
    """Return recall by kind and precision of copies planted among photographs."""
    files = _photographs(data)
    rng = np.random.default_rng(seed)
    originals = [_read(files[n]) for n in rng.choice(len(files), min(PHOTOGRAPHS, len(files)), replace=False)]
    sources = rng.choice(len(originals), EACH * len(COLOUR_KINDS), replace=False)
    kinds = [COLOUR_KINDS[n % len(COLOUR_KINDS)] for n in range(len(sources))]
    copies: list[Pixels] = []
    shown = {row: {row} for row in range(len(originals))}
    for n, (source, kind) in enumerate(zip(sources.tolist(), kinds, strict=True)):
        row = len(originals) + n
        shown[row] = {source}
        if kind == "collage":
            other = int(rng.integers(len(originals)))
            shown[row].add(other)
            copies.append(hard_copies.side_by_side(originals[source], originals[other]))
        else:
            copies.append(hard_copies.make_copy(originals[source], kind, seed * 10_000 + n))
    found = set(map(tuple, near(searched([*originals, *copies]))[["i", "j"]].to_numpy().tolist()))
    hits = pd.Series([(s, len(originals) + n) in found for n, s in enumerate(sources.tolist())])
    # two copies of one original are copies of each other, a collage's halves included
    wrong = {(i, j) for i, j in found if not shown[i] & shown[j]}
    return {
        "recall": round(float(hits.mean()), 4),
        "precision": round(1 - len(wrong) / max(len(found), 1), 4),
        "recall_by_kind": hits.groupby(pd.Series(kinds), sort=False).mean().round(2).to_dict(),
        "wrong_among_originals": sum(j < len(originals) for _, j in wrong),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", nargs="*", choices=[[], "orl", "expressions", "plain", "colour"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    options = parser.parse_args(arguments)
    asked = options.figures or ["orl", "expressions", "plain", "colour"]
    result: dict[str, Any] = {}
    if "orl" in asked:
        result["orl"] = orl(options.data)
    for seed in options.seeds:
        if "expressions" in asked:
            result[f"expressions, seed {seed}"] = expressions(seed)
        if "plain" in asked:
            result[f"plain, seed {seed}"] = plain(options.data, seed)
        if "colour" in asked:
            result[f"colour, seed {seed}"] = colour(options.data, seed)
    print_figures("other_faces", result)


if __name__ == "__main__":
    main()
