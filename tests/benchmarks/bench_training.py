"""Speed and quality of our recipes and of one backbone's ladder on the real data.

python -m tests.benchmarks.bench_training recipe NAME   fit on train as given, report validation and test
python -m tests.benchmarks.bench_training folds NAME    out-of-fold probabilities of all images
python -m tests.benchmarks.bench_training ladder        the twelve versions on a bundled backbone, under LADDER_BUDGET
python -m tests.benchmarks.bench_training speed         images a second of one training step, by backbone and precision
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from tests.benchmarks.cost import print_figures
from training.data import load_samples
from training.evaluate import metrics
from training.recipes import Backbone, recipe

FOLDER = Path("../shared/datasets/Facial_emotion_images")
LADDER_BACKBONE = "mobilenetv2"
LADDER_VERSIONS = range(12)
LADDER_IMAGES, LADDER_EPOCHS, LADDER_SIDE = 4000, 2, 96
"""Budget of the benchmark's ladder: about a minute a version on one core."""

THREADS = 1
SPEED_SECONDS = 3.0
"""Time given to each cell of the speed table."""

SPEED_BATCH = 64


def frame() -> pd.DataFrame:
    """Return path, label, split and group of the data set; copies by exact content."""
    paths = sorted(FOLDER.glob("*/*/*.jpg"))
    content = pd.Series([path.read_bytes() for path in paths])
    shared = content.duplicated(keep=False)
    group = np.where(shared, "g" + pd.Series(pd.factorize(content)[0]).astype(str), "")
    return pd.DataFrame(
        {
            "path": [path.relative_to(FOLDER).as_posix() for path in paths],
            "label": [path.parent.name for path in paths],
            "split": [path.parent.parent.name for path in paths],
            "group": group,
        }
    )


def bench_recipe(name: str) -> dict[str, object]:
    """Fit one recipe on the split as given."""
    from training.fit import fit

    chosen, data = recipe(name), frame()
    figures: dict[str, object] = {"recipe": name, "seed": 0, "threads": THREADS}
    with tempfile.TemporaryDirectory() as scratch:
        started, cpu = time.monotonic(), time.process_time()
        model = fit(data, FOLDER, chosen, Path(scratch), threads=THREADS).model()
        figures |= _cost(started, cpu)
        for split in ("validation", "test"):
            samples = load_samples(data[data["split"] == split], FOLDER, chosen.image_size, model.classes)
            table = metrics(samples.labels, model.probabilities(samples.images), model.classes)
            shown = table[table["metric"].isin(["accuracy", "macro_f1", "f1", "log_loss"])].round(4)
            figures[split] = {
                f"{row.metric} {getattr(row, '_1', '')}".strip(): [row.estimate, row.low, row.high]
                for row in shown.rename(columns={"class": "_1"}).itertuples()
            }
    return figures


def bench_folds(name: str) -> dict[str, object]:
    """Predict every image out of fold."""
    from training.crossval import out_of_fold

    data = frame()
    with tempfile.TemporaryDirectory() as scratch:
        started, cpu = time.monotonic(), time.process_time()
        table = out_of_fold(data, FOLDER, recipe(name), Path(scratch), threads=THREADS)
        cost = _cost(started, cpu)
    classes = sorted(data["label"].unique())
    right = table[classes].idxmax(axis=1).to_numpy() == data["label"].to_numpy()
    return {"recipe": name, "images": len(data), "threads": THREADS, "accuracy": round(right.mean(), 4), **cost}


def bench_ladder() -> dict[str, object]:
    """Climb the ladder of one backbone."""
    from training.ladder import Budget, run_ladder

    recipes = [recipe(f"{LADDER_BACKBONE}/{version}") for version in LADDER_VERSIONS]
    with tempfile.TemporaryDirectory() as scratch:
        table = run_ladder(
            frame(),
            FOLDER,
            recipes,
            Path(scratch),
            budget=Budget(LADDER_IMAGES, LADDER_EPOCHS, LADDER_SIDE),
            threads=THREADS,
        )
    shown = table[["recipe", "train_accuracy", "validation_accuracy", "low", "high", "macro_f1", "seconds"]]
    return {"budget": table["budget"].iloc[0], "versions": shown.round(3).to_dict("records")}


def bench_speed() -> dict[str, object]:
    """Train on noise with each backbone in both precisions."""
    import torch

    torch.set_num_threads(THREADS)
    cells: dict[Backbone, int] = {
        "small": 48,
        "mobilenetv2": 96,
        "efficientnet_lite0": 96,
        "resnet50v2": 96,
        "vgg16": 96,
    }
    return {
        f"{backbone} {side} px": {
            precision: round(_images_a_second(backbone, side, precision == "bf16"), 1) for precision in ("fp32", "bf16")
        }
        for backbone, side in cells.items()
    }


def _images_a_second(backbone: Backbone, side: int, bf16: bool) -> float:
    """Return how many images a CPU second goes through forward and backward of the whole network."""
    import torch

    from training.backbones import build

    chosen = replace(recipe("scratch"), backbone=backbone, image_size=side)
    network = build(chosen, 4, "none").to(memory_format=torch.channels_last).train()
    batch = torch.rand(SPEED_BATCH, 1, side, side)
    steps, started = -1, 0.0
    while steps < 1 or time.process_time() - started < SPEED_SECONDS:
        if steps == 0:
            started = time.process_time()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            logits = network(batch)
        logits.float().square().mean().backward()
        network.zero_grad()
        steps += 1
    return steps * SPEED_BATCH / (time.process_time() - started)


def _cost(started: float, cpu: float) -> dict[str, object]:
    """Return the time since then."""
    return {"wall_s": round(time.monotonic() - started, 1), "cpu_s": round(time.process_time() - cpu, 1)}


def main() -> None:
    """Print the figures asked for, or what can be asked for."""
    named: dict[str, Callable[[str], dict[str, object]]] = {"recipe": bench_recipe, "folds": bench_folds}
    plain: dict[str, Callable[[], dict[str, object]]] = {"ladder": bench_ladder, "speed": bench_speed}
    match sys.argv[1:]:
        case [what] if what in plain:
            print_figures(what, plain[what]())
        case [what, name] if what in named:
            print_figures(f"{what} {name}", named[what](name))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
