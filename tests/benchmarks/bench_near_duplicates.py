"""Near-duplicate search: recall per kind of planted copy, precision over all pairs reported, cost.

python -m tests.benchmarks.bench_near_duplicates [--seeds 1 2 3] [--folder FOLDER] [--peers]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curation import plant
from curation.settings import DuplicateSettings, MeasureSettings
from tests.benchmarks import peers
from tests.benchmarks.cost import measured, print_figures

DEFAULT_FOLDER = Path("../shared/datasets/Facial_emotion_images")

FACES = 4000
COPIES = 1080
"""The task that the peers were measured on."""

Pixels = NDArray[np.uint8]


def read_distinct(folder: Path) -> Pixels:
    """Return the distinct pictures of a folder (N, 48, 48), in order of their paths."""
    return read_labelled(folder)[1]


def read_labelled(folder: Path) -> tuple[list[str], Pixels]:
    """Return the paths, relative to ``folder``, and the pictures (N, 48, 48) of the distinct images, by path."""
    from curation.measure.decode import decode
    from curation.measure.pixels import thumbnail

    distinct: dict[bytes, tuple[str, Pixels]] = {}
    for path in sorted(folder.rglob("*.jpg")):
        pixels = decode(path.read_bytes(), MeasureSettings()).pixels
        grey = pixels if pixels.ndim == 2 else pixels.mean(axis=2).astype(np.uint8)
        distinct.setdefault(grey.tobytes(), (path.relative_to(folder).as_posix(), thumbnail(grey)))
    return [path for path, _ in distinct.values()], np.stack([picture for _, picture in distinct.values()])


def find(thumbnails: Pixels) -> pd.DataFrame:
    """Hash the pictures and search them."""
    from PIL import Image

    from curation.duplicates import find_near_duplicates
    from curation.measure.pixels import dhash, phash

    images = [Image.fromarray(thumbnail) for thumbnail in thumbnails]
    hashes = (np.array([of(image) for image in images], dtype=np.int64) for of in (dhash, phash))
    return find_near_duplicates(thumbnails, *hashes, DuplicateSettings())


def plant_copies(faces: Pixels, kinds: Sequence[str], copies: int, seed: int) -> tuple[Pixels, NDArray[np.int64]]:
    """Return copies (copies, 48, 48) of different faces, kinds in turn, and whose copy each is."""
    sources = np.random.default_rng(seed).choice(len(faces), copies, replace=False)
    made = [plant.make_copy(faces[s], kinds[n % len(kinds)], seed * copies + n) for n, s in enumerate(sources)]
    return np.stack(made), sources


def judge(found: pd.DataFrame, faces: int, sources: NDArray[np.int64], kinds: Sequence[str]) -> dict[str, Any]:
    """Compare reported pairs with the planted ones."""
    copies = found[found["relation"] == "near_duplicate"]
    reported = set(zip(copies["i"].tolist(), copies["j"].tolist(), strict=True))
    hits = [(int(s), faces + n) in reported for n, s in enumerate(sources)]
    kind = pd.Series([kinds[n % len(kinds)] for n in range(len(sources))])
    return {
        "recall": round(float(np.mean(hits)), 4),
        "precision": round(sum(hits) / max(len(reported), 1), 4),
        "pairs_reported": len(reported),
        "recall_by_kind": pd.Series(hits).groupby(kind, sort=False).mean().round(3).to_dict(),
    }


def planted(clean: Pixels, kinds: Iterable[str], seed: int) -> dict[str, Any]:
    """Return the figures of one planting among faces that have no natural copy."""
    names = list(kinds)
    chosen = np.random.default_rng(seed).choice(len(clean), min(FACES, len(clean)), replace=False)
    faces = clean[chosen]
    copies, sources = plant_copies(faces, names, min(COPIES, len(faces)), seed)
    return judge(find(np.concatenate([faces, copies])), len(faces), sources, names)


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


def peer_costs(folder: Path) -> dict[str, Any]:
    """Return what the installed peers cost on the same folder, in the same run."""
    costs: dict[str, Any] = {}
    for name in peers.PROGRAMS:
        command = peers.command(name, folder)
        costs[name] = measured(command, peers.ENVIRONMENT)[0].record() if command else "not installed: make peers"
    return costs


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures, or say why there are none."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--peers", action="store_true")
    options = parser.parse_args(arguments)
    if not options.folder.is_dir():
        sys.exit(f"{options.folder} is absent; give a folder of faces: --folder FOLDER")
    figures, clean = natural(read_distinct(options.folder))
    result: dict[str, Any] = {"natural": figures}
    for seed in options.seeds:
        result[f"planted, seed {seed}"] = planted(clean, plant.KINDS, seed)
    result["further kinds"] = planted(clean, plant.FURTHER_KINDS, options.seeds[0])
    if options.peers:
        result["peers"] = peer_costs(options.folder)
    print_figures("near_duplicates", json.loads(json.dumps(result)))


if __name__ == "__main__":
    main()
