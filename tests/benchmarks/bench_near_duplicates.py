"""Near-duplicate search: recall per kind of planted copy, precision over all pairs reported, cost.

python -m tests.benchmarks.bench_near_duplicates [--seeds 1 2 3] [--folder FOLDER] [--peers [NAME ...]]

With --peers other finders are given the first planting too, in the same run.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curation.audit.synthetic import plant
from curation.base.settings import DuplicateSettings, MeasureSettings
from tests import hard_copies
from tests.benchmarks import pair_peers
from tests.benchmarks.cost import print_figures

DEFAULT_FOLDER = Path("../shared/datasets/Facial_emotion_images")

FACES = 4000
COPIES = 1080
"""The task that the peers were measured on."""

Pixels = NDArray[np.uint8]


class Pictures(NamedTuple):
    """Images of a folder.

    files    -- all files (N), in order of their paths
    row      -- (N,) which of the distinct pictures each shows
    pictures -- (D, 48, 48) distinct pictures
    firsts   -- (D,) number of the first file of each
    """

    files: list[Path]
    row: NDArray[np.int64]
    pictures: Pixels
    firsts: NDArray[np.int64]


def read_pictures(folder: Path) -> Pictures:
    """Read the images of a folder; those of the same pixels are one picture."""
    from curation.measure.decode import decode
    from curation.measure.pixels import thumbnail

    files = sorted(folder.rglob("*.jpg"))
    row_of: dict[bytes, int] = {}
    rows, pictures, firsts = [], [], []
    for number, path in enumerate(files):
        pixels = decode(path.read_bytes(), MeasureSettings()).pixels
        grey = pixels if pixels.ndim == 2 else pixels.mean(axis=2).astype(np.uint8)
        row = row_of.setdefault(grey.tobytes(), len(row_of))
        rows.append(row)
        if row == len(pictures):
            pictures.append(thumbnail(grey))
            firsts.append(number)
    return Pictures(files, np.array(rows), np.stack(pictures), np.array(firsts))


def read_distinct(folder: Path) -> Pixels:
    """Return the distinct pictures of a folder (N, 48, 48), in order of their paths."""
    return read_pictures(folder).pictures


def read_labelled(folder: Path) -> tuple[list[str], Pixels]:
    """Return the paths, relative to ``folder``, and the pictures (N, 48, 48) of the distinct images, by path."""
    read = read_pictures(folder)
    return [read.files[first].relative_to(folder).as_posix() for first in read.firsts], read.pictures


def find(thumbnails: Pixels) -> pd.DataFrame:
    """Hash the pictures and search them."""

    from curation.checks.duplicates import find_near_duplicates
    from curation.measure.pixels import dhash, phash

    hashes = (np.array(of(thumbnails), dtype=np.int64) for of in (dhash, phash))
    return find_near_duplicates(thumbnails, *hashes, DuplicateSettings())


def plant_copies(faces: Pixels, kinds: Sequence[str], copies: int, seed: int) -> tuple[Pixels, NDArray[np.int64]]:
    """Return copies (copies, 48, 48) of different faces, kinds in turn, and whose copy each is."""
    sources = np.random.default_rng(seed).choice(len(faces), copies, replace=False)
    made = [hard_copies.make_copy(faces[s], kinds[n % len(kinds)], seed * copies + n) for n, s in enumerate(sources)]
    return np.stack(made), sources


def judge(found: NDArray[np.int64], faces: int, sources: NDArray[np.int64], kinds: Sequence[str]) -> dict[str, Any]:
    """Compare reported pairs (M, 2), i < j, with the planted ones."""
    reported = set(map(tuple, found.tolist()))
    hits = [(int(s), faces + n) in reported for n, s in enumerate(sources)]
    kind = pd.Series([kinds[n % len(kinds)] for n in range(len(sources))])
    return {
        "recall": round(float(np.mean(hits)), 4),
        "precision": round(sum(hits) / max(len(reported), 1), 4),
        "pairs_reported": len(reported),
        "recall_by_kind": pd.Series(hits).groupby(kind, sort=False).mean().round(3).to_dict(),
    }


def copies_in(found: pd.DataFrame) -> NDArray[np.int64]:
    """Return the pairs (M, 2) of a search that are called copies."""
    return found.loc[found["relation"] == "near_duplicate", ["i", "j"]].to_numpy()


def planted(clean: Pixels, kinds: Iterable[str], seed: int, asked: Sequence[str] = ()) -> dict[str, Any]:
    """Return the figures of one planting among faces that have no natural copy, and those of the peers ``asked``."""
    names = list(kinds)
    chosen = np.random.default_rng(seed).choice(len(clean), min(FACES, len(clean)), replace=False)
    faces = clean[chosen]
    copies, sources = plant_copies(faces, names, min(COPIES, len(faces)), seed)
    everything = np.concatenate([faces, copies])
    figures = judge(copies_in(find(everything)), len(faces), sources, names)
    with tempfile.TemporaryDirectory() as scratch:
        files = [f"{scratch}/{n}.png" for n in range(len(everything))] if asked else []
        for file, picture in zip(files, everything, strict=False):
            cv2.imwrite(file, picture)
        for peer in asked:
            answer = pair_peers.ask(peer, files, everything)
            if isinstance(answer, str):
                figures[peer] = answer
                continue
            cost, opinion = answer
            figures[peer] = cost.record() | {
                name: judge(
                    opinion.pairs[opinion.similarity >= least - pair_peers.ROUNDING], len(faces), sources, names
                )
                for name, least in pair_peers.PROGRAMS[peer].from_similarity.items()
            }
    return figures


def natural(thumbnails: Pixels) -> tuple[dict[str, Any], Pixels]:
    """Search all faces; return the figures and the faces without any look-alike reported."""
    find(thumbnails[:64])  # compiles
    cpu, wall = time.process_time(), time.monotonic()
    found = find(thumbnails)
    figures = {
        "distinct_images": len(thumbnails),
        "cpu_s": round(time.process_time() - cpu, 1),
        "wall_s": round(time.monotonic() - wall, 1),
        "pairs": found["relation"].value_counts().to_dict(),
        "mirrored": int(found.loc[found["relation"] == "near_duplicate", "mirrored"].sum()),
    }
    alike = np.union1d(found["i"], found["j"])
    return figures, np.delete(thumbnails, alike, axis=0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures, or say why there are none."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--peers", nargs="*", choices=list(pair_peers.PROGRAMS), help="all of them, or those named")
    options = parser.parse_args(arguments)
    if not options.folder.is_dir():
        sys.exit(f"{options.folder} is absent; give a folder of faces: --folder FOLDER")
    asked = [] if options.peers is None else options.peers or list(pair_peers.PROGRAMS)
    figures, clean = natural(read_distinct(options.folder))
    result: dict[str, Any] = {"natural": figures}
    for seed in options.seeds:
        result[f"planted, seed {seed}"] = planted(clean, plant.KINDS, seed, asked if seed == options.seeds[0] else ())
    result["further kinds"] = planted(clean, hard_copies.FURTHER_KINDS, options.seeds[0])
    print_figures("near_duplicates", json.loads(json.dumps(result)))


if __name__ == "__main__":
    main()
