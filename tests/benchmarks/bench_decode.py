"""Decoding and measuring as shares of a bare libjpeg-turbo loop, on one thread, by CPU seconds.

python -m tests.benchmarks.bench_decode [FOLDER]

The loop is simplejpeg (libjpeg-turbo 3) over bytes in memory, to grey at full size. ``decode`` is our decoder on the
same bytes; ``measure`` is the whole batch: reading, SHA-256, decoding, every pixel probe and the face detector. Small
images are those of FOLDER; large ones are the same faces at 1024 x 768.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import cv2
import simplejpeg

from curation.base.settings import MeasureSettings
from curation.measure.batch import measure_batch
from curation.measure.decode import decode
from curation.measure.faces.choice import choose_detector
from curation.measure.tables import Known
from tests.benchmarks.bench_curate import DEFAULT_FOLDER
from tests.benchmarks.cost import print_figures

SMALL, LARGE = 4000, 60
"""Images of each kind."""

LARGE_SIDES = (1024, 768)
ROUNDS = 3
"""Figures are medians of so many rounds, taken in turn."""


def run(folder: Path) -> dict[str, object]:
    """Return images a CPU second by kind of image and kind of work."""
    everything = sorted(folder.rglob("*.jpg"))
    small = everything[:: max(1, len(everything) // SMALL)][:SMALL]
    with tempfile.TemporaryDirectory() as scratch:
        large = [_enlarged(path, Path(scratch)) for path in small[:: max(1, len(small) // LARGE)][:LARGE]]
        return {"small": speeds(small), f"{LARGE_SIDES[0]} x {LARGE_SIDES[1]}": speeds(large)}


def _enlarged(path: Path, folder: Path) -> Path:
    target = folder / path.name
    cv2.imwrite(str(target), cv2.resize(cv2.imread(str(path)), LARGE_SIDES, interpolation=cv2.INTER_CUBIC))
    return target


def speeds(paths: list[Path]) -> dict[str, float]:
    """Return images a CPU second of each kind of work and its share of the bare loop."""
    settings = MeasureSettings()
    detector = choose_detector(settings).make(settings.min_face_score)
    contents = [path.read_bytes() for path in paths]
    names = [str(path) for path in paths]
    work: dict[str, Callable[[], object]] = {
        "bare": lambda: [simplejpeg.decode_jpeg(data, colorspace="GRAY") for data in contents],
        "decode": lambda: [decode(data, settings) for data in contents],
        "measure": lambda: measure_batch(names, names, Known(set(), set()), settings, detector),
    }
    measure_batch(names[:8], names[:8], Known(set(), set()), settings, detector)
    taken: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(ROUNDS):
        for name, task in work.items():
            started = time.process_time()
            task()
            taken[name].append(time.process_time() - started)
    each = {name: median(seconds) for name, seconds in taken.items()}
    rates = {f"{name}_images_per_cpu_s": round(len(paths) / seconds, 1) for name, seconds in each.items()}
    return {"images": len(paths), **rates, **{f"{n}_share": round(each["bare"] / each[n], 3) for n in list(each)[1:]}}


def main() -> None:
    """Print the figures, or say why there are none."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FOLDER
    if not folder.is_dir():
        sys.exit(f"{folder} is absent; give a folder of JPEG faces: python -m tests.benchmarks.bench_decode FOLDER")
    print_figures("decode", run(folder))


if __name__ == "__main__":
    main()
