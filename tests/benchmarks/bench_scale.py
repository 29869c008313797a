"""Cost of finding all near pairs as the data grows: 64-bit hashes and 128-d embeddings of up to a million images.

python -m tests.benchmarks.bench_scale [--sizes 20000,200000,1000000] [--data FOLDER]

There are not that many real images, so further ones are simulated from them: hashes and embeddings are thresholds and
cosines of linear functions of a picture, and in these a simulated picture is a blend of two real ones, scaled so that
near pairs are as frequent as among the real ones. One image in twenty is a copy of another one, made by a small
share of a third face; the searches must find them again. Every size runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import faiss
import numpy as np
from numpy.typing import NDArray

from curation.base.settings import DuplicateSettings
from curation.checks.duplicates.candidates import Candidates, Features, HashSource, searcher
from tests.benchmarks.bench_curate import DEFAULT_FOLDER
from tests.benchmarks.cost import measured, print_figures

SIZES = (20_000, 200_000, 1_000_000)
WIDTH = 128
"""Of an embedding."""

SEED = 6
COPY_SHARE = 0.05
COPY_CHANGE = 0.15
"""Share of a third face in a copy."""

SPREAD = 0.65
"""Deviations from the mean face are scaled by this: so, the hashes name about as many pairs an image among 19,000
simulated pictures as among the 19,000 different real ones."""

PROBED = 1000
"""Queries whose true answer is found by comparing with everything."""

_SIDE = 48
_CELLS = (9, 8)
_LOW = 8
_EMBEDDED = 16
_BLUR = 1.5
"""px; as in the descriptors of the search."""

_BLOCK = 65_536

Floats = NDArray[np.float32]
Hashes = NDArray[np.int64]


class Linear(NamedTuple):
    """What hashes and embeddings are made of: (N, 72) cells, (N, 64) and (N, 128) cosines."""

    cells: Floats
    low: Floats
    embedding: Floats


class Simulated(NamedTuple):
    """Hashes (N,), embeddings (N, 128) of length 1, and which (M, 2) are copies."""

    dhash: Hashes
    phash: Hashes
    embedding: Floats
    planted: Hashes


def real_pictures(folder: Path) -> Linear:
    """Return the linear functions of all images of ``folder``."""
    rows = []
    kept = _lowest(WIDTH)
    for path in sorted(folder.rglob("*.jpg")):
        grey = cv2.resize(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        levels = grey.astype(np.float32)
        soft = cv2.resize(cv2.GaussianBlur(levels, (0, 0), _BLUR), (_EMBEDDED, _EMBEDDED), interpolation=cv2.INTER_AREA)
        rows.append(
            (
                cv2.resize(levels, _CELLS, interpolation=cv2.INTER_AREA).ravel(),
                cv2.dct(cv2.resize(levels, (32, 32), interpolation=cv2.INTER_AREA))[:_LOW, :_LOW].ravel(),
                cv2.dct(soft).ravel()[kept],
            )
        )
    return Linear(*(np.stack(column) for column in zip(*rows, strict=True)))


def _lowest(count: int) -> Hashes:
    """Return which of the 16 x 16 cosines have the lowest frequencies, the mean left out."""
    frequency = np.hypot(*np.mgrid[:_EMBEDDED, :_EMBEDDED]).ravel()
    return np.argsort(frequency, kind="stable")[1 : count + 1]


def simulate(real: Linear, size: int, seed: int = SEED) -> Simulated:
    """Draw ``size`` pictures."""
    generator = np.random.default_rng(seed)
    parents = generator.integers(len(real.cells), size=(size, 3))
    weights = np.zeros((size, 3), dtype=np.float32)
    weights[:, 0] = generator.uniform(0.3, 0.7, size)
    weights[:, 1] = 1 - weights[:, 0]
    order = generator.permutation(size)
    copies = int(size * COPY_SHARE)
    originals, copied = order[:copies], order[copies : 2 * copies]
    parents[copied, :2], weights[copied] = parents[originals, :2], weights[originals]
    weights[copied, 2] = COPY_CHANGE
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    cells, low, embedding = (_blended(part, parents, weights) for part in real)
    embedding -= embedding.mean(axis=0)
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    planted = np.sort(np.stack([originals, copied], axis=1), axis=1)
    return Simulated(*_hashes(cells, low), embedding, planted)


def _hashes(cells: Floats, low: Floats) -> tuple[Hashes, Hashes]:
    """Return dHash and pHash (N,) of cells (N, 72) and cosines (N, 64)."""
    grid = cells.reshape(-1, _CELLS[1], _CELLS[0])
    median = np.median(low, axis=1, keepdims=True)
    return _packed((grid[:, :, 1:] > grid[:, :, :-1]).reshape(-1, 64)), _packed(low > median)


def _blended(real: Floats, parents: Hashes, weights: Floats) -> Floats:
    mean = real.mean(axis=0)
    result = np.empty((len(parents), real.shape[1]), dtype=np.float32)
    for start in range(0, len(parents), _BLOCK):
        part = slice(start, start + _BLOCK)
        result[part] = mean + SPREAD * np.einsum("np,npd->nd", weights[part], real[parents[part]] - mean)
    return result


def _packed(bits: NDArray[np.bool_]) -> Hashes:
    return np.packbits(bits, axis=1).view(">i8")[:, 0].astype(np.int64)


def run_size(folder: Path, size: int) -> dict[str, object]:
    """Search ``size`` simulated images; CPU seconds are those of the searches alone."""
    real = real_pictures(folder)
    drawn = simulate(real, size)
    radius, count = DuplicateSettings().hash_radius, DuplicateSettings().neighbours + 1
    _compile(radius)
    figures: dict[str, Any] = {"images": size, "background": _background(real, drawn, radius)}

    clock = _Clock()
    hashed = HashSource(radius).pairs(_without_pixels(drawn.dhash, drawn.phash))
    figures["hashes"] = {**clock.read(), "pairs": len(hashed)}
    figures["hashes"] |= _hash_recall(drawn, hashed, radius)
    del hashed

    print(json.dumps(figures), file=sys.stderr, flush=True)  # what is known, should the rest take too long

    clock = _Clock()
    search = searcher(drawn.embedding, count)
    prepared = clock.read()
    similarity, index = search(drawn.embedding)
    found = np.any(index[drawn.planted[:, 0]] == drawn.planted[:, 1:], axis=1)
    found |= np.any(index[drawn.planted[:, 1]] == drawn.planted[:, :1], axis=1)
    figures["embeddings"] = {
        **clock.read(),
        "of_it_preparing_cpu_s": prepared["cpu_s"],
        "planted_recall": round(float(found.mean()), 4),
        **_neighbour_recall(drawn.embedding, similarity, count),
    }
    return figures


class _Clock:
    """CPU and wall seconds since it was made."""

    def __init__(self) -> None:
        self._cpu, self._wall = time.process_time(), time.monotonic()

    def read(self) -> dict[str, float]:
        return {
            "cpu_s": round(time.process_time() - self._cpu, 2),
            "wall_s": round(time.monotonic() - self._wall, 2),
        }


def _compile(radius: int) -> None:
    """Compile the join before it is timed: seconds that a data set of any size costs once."""
    few = np.arange(4, dtype=np.int64)
    HashSource(radius).pairs(_without_pixels(few, few))


def _without_pixels(dhash: Hashes, phash: Hashes) -> Features:
    return Features(np.empty((0, _SIDE, _SIDE), dtype=np.uint8), dhash, phash)


def _background(real: Linear, drawn: Simulated, radius: int) -> dict[str, float]:
    """Return how many pairs an image the hashes name among equally many distinct real and simulated pictures."""
    unplanted = np.setdiff1d(np.arange(len(drawn.dhash)), drawn.planted[:, 1])
    dhash, phash = _hashes(real.cells, real.low)
    alone = np.unique(np.stack([dhash, phash], axis=1), axis=0, return_index=True)[1]
    count = min(len(alone), len(unplanted))
    chosen = {"real": (dhash[alone[:count]], phash[alone[:count]])}
    chosen["simulated"] = (drawn.dhash[unplanted[:count]], drawn.phash[unplanted[:count]])
    return {
        f"{name}_pairs_an_image": round(len(HashSource(radius).pairs(_without_pixels(*hashes))) / count, 4)
        for name, hashes in chosen.items()
    }


def _hash_recall(drawn: Simulated, found: Candidates, radius: int) -> dict[str, float]:
    """Return the share found of planted pairs within the radius, and of all pairs of the probed rows within it."""
    known = _keys(found.pairs[~found.mirrored])  # sorted, as the pairs are
    hashes = drawn.dhash.view(np.uint64)
    distance = np.bitwise_count(hashes[drawn.planted[:, 0]] ^ hashes[drawn.planted[:, 1]])
    within = drawn.planted[distance <= radius]
    # among equal hashes one stands for the others
    representative = _first_with(drawn.dhash)
    reached = np.sort(representative[within], axis=1)
    reached = reached[reached[:, 0] != reached[:, 1]]
    true = []
    for row in range(PROBED):
        near = np.flatnonzero(np.bitwise_count(hashes ^ hashes[row]) <= radius)
        near = near[(near != row) & (hashes[near] != hashes[row])]
        first = np.unique(hashes[near], return_index=True)[1]
        true.append(np.stack([np.full(len(first), row), near[first]], axis=1))
    probed = np.concatenate(true)
    probed = np.sort(representative[probed], axis=1)
    return {
        "planted_within_radius": round(len(within) / len(drawn.planted), 4),
        "planted_recall": round(float(_held(known, _keys(reached)).mean()), 4),
        "probed_pairs": len(probed),
        "probed_recall": round(float(_held(known, _keys(probed)).mean()), 4) if len(probed) else 1.0,
    }


def _first_with(hashes: Hashes) -> Hashes:
    """Return for each row the first row with the same hash."""
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    return np.asarray(first[inverse], dtype=np.int64)


def _keys(pairs: Hashes) -> Hashes:
    return np.asarray((pairs[:, 0] << 32) | pairs[:, 1], dtype=np.int64)


def _held(known: Hashes, asked: Hashes) -> NDArray[np.bool_]:
    """Return which of ``asked`` are in ``known``, sorted and not empty; np.isin would hash all of it."""
    place = np.minimum(np.searchsorted(known, asked), len(known) - 1)
    return np.asarray(known[place] == asked, dtype=np.bool_)


def _neighbour_recall(embedding: Floats, similarity: Floats, count: int) -> dict[str, float]:
    """Return the share of the probed rows' true nearest that were found, judged by similarity."""
    true, _ = faiss.knn(embedding[:PROBED], embedding, count, metric=faiss.METRIC_INNER_PRODUCT)
    reached = similarity[:PROBED] >= true[:, -1:] - 1e-5
    return {"probed_neighbour_recall": round(float(reached.sum() / true.size), 4)}


def run(folder: Path, sizes: list[int]) -> dict[str, object]:
    """Run each size in a process of its own and fit the exponent of the summed CPU seconds."""
    rows, seconds = [], []
    for size in sizes:
        command = [sys.executable, "-m", "tests.benchmarks.bench_scale", "--one", str(size), "--data", str(folder)]
        cost, output = measured(command)
        if cost.exit_status:
            sys.exit(f"the search among {size:,} images ended with status {cost.exit_status}: {cost.record()}")
        row = json.loads(output)
        seconds.append(row["hashes"]["cpu_s"] + row["embeddings"]["cpu_s"])
        rows.append(row | {"search_cpu_s": round(seconds[-1], 2), "process": cost.record()})
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    figures: dict[str, object] = {"seed": SEED, "sizes": rows}
    if len(sizes) > 1:
        slope = np.polyfit(np.log(sizes), np.log(seconds), 1)[0]
        steps = np.diff(np.log(seconds)) / np.diff(np.log(sizes))
        figures["exponent"] = round(float(slope), 3)
        figures["exponent_by_step"] = [round(float(step), 3) for step in steps]
    return figures


def main() -> None:
    """Print the figures, or say why there are none."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_FOLDER)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--one", type=int, default=0, help="search one size in this process")
    given = parser.parse_args()
    if not given.data.is_dir():
        sys.exit(f"{given.data} is absent; name a folder of faces with --data")
    if given.one:
        print(json.dumps(run_size(given.data, given.one)))
    else:
        print_figures("scale", run(given.data, [int(size) for size in given.sizes.split(",")]))


if __name__ == "__main__":
    main()
