"""Which natural near copies the search finds of a list made by other means, by class and by split.

python -m tests.benchmarks.bench_natural_pairs [--folder FOLDER] [--list FILE.csv] [--from-score 0.9]

The list is made without any part of the search: candidates are the nearest blurred thumbnails, plain and mirrored; a
pair is registered by OpenCV's ``findTransformECC`` (Evangelidis & Psarakis 2008) and scored by the median correlation
of high-passed pixels over 4 x 4 blocks. It takes some ten minutes of one core; FILE keeps it for the next time.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import faiss
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tests.benchmarks.bench_near_duplicates import DEFAULT_FOLDER, find, read_labelled
from tests.benchmarks.cost import print_figures

NEIGHBOURS = 6
GRID = 16
BLUR = 1.5
"""Candidates: so many nearest thumbnails of 16 x 16 px, blurred by so many px of 48."""

FROM_SCORE = 0.9
STRICT_SCORE = 0.95

BLOCKS = 4
HIGH_PASS = 3.0
"""Standard deviation of what high-passed pixels leave out, px of 48."""

LEAST_OVERLAP = 0.5
"""Share of a block's pixels that must lie inside both pictures for the block to count."""

_STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 25, 1e-3)
_SMOOTHING = 5
"""Steps and precision of the registration, and the side of the Gaussian that it smooths with, px."""

Pixels = NDArray[np.uint8]
Pairs = NDArray[np.int64]


def nearest(pictures: Pixels, queries: Pixels) -> Pairs:
    """Return (N, NEIGHBOURS + 1) rows of ``pictures`` whose blurred thumbnails are nearest to those of ``queries``."""
    known, asked = (_thumbnails(part) for part in (pictures, queries))
    return np.asarray(faiss.knn(asked, known, NEIGHBOURS + 1, metric=faiss.METRIC_INNER_PRODUCT)[1])


def _thumbnails(pictures: Pixels) -> NDArray[np.float32]:
    small = np.stack(
        [
            cv2.resize(cv2.GaussianBlur(p, (0, 0), BLUR), (GRID, GRID), interpolation=cv2.INTER_AREA).ravel()
            for p in pictures
        ]
    ).astype(np.float32)
    small -= small.mean(axis=1, keepdims=True)
    return small / np.maximum(np.linalg.norm(small, axis=1, keepdims=True), 1e-6)


def candidates(pictures: Pixels) -> pd.DataFrame:
    """Return the distinct candidate pairs: i < j, mirrored."""
    parts = []
    for mirrored in (False, True):
        queries = np.ascontiguousarray(pictures[:, :, ::-1]) if mirrored else pictures
        found = nearest(pictures, queries)
        pairs = np.stack([np.repeat(np.arange(len(pictures)), found.shape[1]), found.ravel()], axis=1)
        pairs = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)
        parts.append(pd.DataFrame(pairs, columns=["i", "j"]).assign(mirrored=mirrored))
    return pd.concat(parts, ignore_index=True)


def score(template: Pixels, other: Pixels) -> float:
    """Register ``other`` to ``template`` and return the median correlation of their details; 0 where it fails."""
    warp = np.eye(2, 3, dtype=np.float32)
    try:
        cv2.findTransformECC(template, other, warp, cv2.MOTION_AFFINE, _STOP, None, _SMOOTHING)
    except cv2.error:
        return 0.0
    side = template.shape[0]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(other.astype(np.float32), warp, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    inside = cv2.warpAffine(np.ones_like(moved), warp, (side, side), flags=flags) > 0.99
    a, b = (_high_passed(picture) for picture in (template.astype(np.float32), moved))
    width = side // BLOCKS
    values = []
    for y in range(0, side, width):
        for x in range(0, side, width):
            seen = inside[y : y + width, x : x + width]
            if seen.mean() >= LEAST_OVERLAP:
                values.append(
                    _correlation(a[y : y + width, x : x + width][seen], b[y : y + width, x : x + width][seen])
                )
    return float(np.median(values)) if len(values) >= BLOCKS * BLOCKS // 2 else 0.0


def _high_passed(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(picture - cv2.GaussianBlur(picture, (0, 0), HIGH_PASS), dtype=np.float32)


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 0 else 0.0


def make_list(pictures: Pixels, paths: Sequence[str]) -> pd.DataFrame:
    """Return the pairs scored 0.7 and more, the better of both ways round: path_a, path_b, mirrored, score."""
    pairs = candidates(pictures)
    scores = []
    for done, (i, j, mirrored) in enumerate(pairs.itertuples(index=False, name=None)):
        other = np.ascontiguousarray(pictures[j][:, ::-1]) if mirrored else pictures[j]
        scores.append(score(pictures[i], other))
        if done % 20_000 == 0:
            print(f"{done:,} of {len(pairs):,} candidates registered", file=sys.stderr, flush=True)
    names = np.array(paths, dtype=object)
    table = pd.DataFrame(
        {"path_a": names[pairs["i"]], "path_b": names[pairs["j"]], "mirrored": pairs["mirrored"], "score": scores}
    )
    best = table.sort_values("score", ascending=False, kind="stable").drop_duplicates(["path_a", "path_b"])
    return best[best["score"] >= 0.7].reset_index(drop=True)


def compared(listed: pd.DataFrame, found: pd.DataFrame, paths: Sequence[str]) -> dict[str, Any]:
    """Return the shares of the listed pairs that were found, by class and by what they cross."""
    names = np.array(paths, dtype=object)
    copies = found[found["relation"] == "near_duplicate"]
    reported = set(zip(names[copies["i"]], names[copies["j"]], strict=True))
    hit = np.array(
        [(a, b) in reported or (b, a) in reported for a, b in zip(listed.path_a, listed.path_b, strict=True)]
    )
    sides = [listed[column].str.split("/", expand=True) for column in ("path_a", "path_b")]
    splits, labels = ([side[part] for side in sides] for part in (0, 1))
    groups = {
        "all": np.ones(len(listed), dtype=bool),
        f"score >= {STRICT_SCORE}": listed["score"] >= STRICT_SCORE,
        "mirrored": listed["mirrored"],
        "across splits": splits[0] != splits[1],
        "train and validation": (splits[0] != splits[1]) & (splits[0] != "test") & (splits[1] != "test"),
        "with test": (splits[0] != splits[1]) & ((splits[0] == "test") | (splits[1] == "test")),
        "across classes": labels[0] != labels[1],
        **{f"within {label}": (labels[0] == label) & (labels[1] == label) for label in sorted(labels[0].unique())},
    }
    return {
        "listed": len(listed),
        "reported": len(copies),
        "found": {
            name: {"pairs": int(np.sum(chosen)), "share": round(float(hit[np.asarray(chosen)].mean()), 4)}
            for name, chosen in groups.items()
            if np.sum(chosen)
        },
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures, or say why there are none."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER)
    parser.add_argument("--list", type=Path, help="CSV of listed pairs: read where it exists, else made and written")
    parser.add_argument("--from-score", type=float, default=FROM_SCORE)
    options = parser.parse_args(arguments)
    if not options.folder.is_dir():
        sys.exit(f"{options.folder} is absent; give a folder SPLIT/CLASS/IMAGE: --folder FOLDER")
    paths, pictures = read_labelled(options.folder)
    if options.list and options.list.exists():
        listed = pd.read_csv(options.list)
    else:
        listed = make_list(pictures, paths)
        if options.list:
            listed.to_csv(options.list, index=False)
    chosen = listed[listed["score"] >= options.from_score].reset_index(drop=True)
    print_figures("natural_pairs", compared(chosen, find(pictures), paths))


if __name__ == "__main__":
    main()
