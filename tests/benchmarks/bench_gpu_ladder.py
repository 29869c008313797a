"""The deck's thirty-six models at its own size, on a GPU, from random weights: as many as a time budget allows.

python -m tests.benchmarks.bench_gpu_ladder pack FOLDER -o faces.npz    here: SPLIT/CLASS/*.jpg -> one array file
python -m tests.benchmarks.bench_gpu_ladder run faces.npz -o runs.jsonl --minutes 7 --jobs 3    there
python -m tests.benchmarks.bench_gpu_ladder table runs.jsonl

The machine with the GPU needs this checkout, torch, torchvision, timm, numpy and pandas, and no network. Recipes,
networks and augmentation are the product's own; the loop is a bare one that keeps all data on the GPU. One JSON line
is written for every run that ends. Runs that are in the file already are not run again; one that the clock cut off
is, and says so. The order is that of what a reader asks first: each backbone as the deck's best version, then its
first, then the steps between.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import multiprocessing
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

NEEDED = ("torch", "torchvision", "timm", "pandas")
ORDER = (9, 7, 0, 2, 8, 10, 11, 1, 4, 6, 3, 5)
"""Versions, the most telling first: the deck's best, its final one, its first, then one change after the other."""

EVALUATION_BATCH = 256
SMALLEST_BATCH = 4
"""A batch that does not fit is halved down to this, its gradients summed."""

SPLITS = ("train", "validation", "test")


def pack(folder: Path, file: Path) -> None:
    """Write images (n, side, side) uint8 grey, labels, splits and class names of SPLIT/CLASS/* as one .npz."""
    from PIL import Image

    paths = sorted(path for path in folder.glob("*/*/*") if path.is_file() and path.parent.parent.name in SPLITS)
    classes = sorted({path.parent.name for path in paths})
    images = [np.asarray(Image.open(path).convert("L"), np.uint8) for path in paths]
    np.savez_compressed(
        file,
        images=np.stack(images),
        labels=np.array([classes.index(path.parent.name) for path in paths], np.int64),
        splits=np.array([SPLITS.index(path.parent.parent.name) for path in paths], np.int64),
        classes=np.array(classes),
    )
    print(f"{len(paths):,} images of {', '.join(classes)}: {file}, {file.stat().st_size / 2**20:.1f} MiB")


def wanted(backbones: list[str], versions: list[int]) -> list[str]:
    """Return recipes in the order in which they are run: a version on every backbone before the next version."""
    ordered = [version for version in ORDER if version in versions]
    return [f"{backbone}/{version}" for version in ordered for backbone in backbones]


def run(arguments: argparse.Namespace) -> None:
    """Run what is missing, ``jobs`` at once, until all is done or the time is up."""
    started = time.time()
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(f"this needs {', '.join(missing)} in {sys.executable}: install it, or carry its wheels")
    stored = [row for row in _rows(arguments.output) if row["settings"] == _key(arguments)]
    done = {row["recipe"] for row in stored if not row["cut_off"]}
    todo = [name for name in wanted(arguments.backbones, arguments.versions) if name not in done]
    print(f"{len(done)} runs are done, {len(todo)} to go", flush=True)
    context = multiprocessing.get_context("spawn")
    names, results = context.Queue(), context.Queue()
    for name in [*todo, *[None] * arguments.jobs]:
        names.put(name)
    deadline = started + 60 * arguments.minutes
    workers = [
        context.Process(target=_worker, args=(arguments, names, results, deadline), daemon=True)
        for _ in range(arguments.jobs)
    ]
    for worker in workers:
        worker.start()
    left = arguments.jobs
    with arguments.output.open("a", encoding="utf-8") as stream:
        while left:
            row = results.get()
            if row is None:
                left -= 1
                continue
            line = json.dumps({**row, "settings": _key(arguments)})
            stream.write(line + "\n")
            stream.flush()
            print(line, flush=True)
    print(f"{time.time() - started:.0f} s in all", flush=True)


def _key(arguments: argparse.Namespace) -> str:
    """Return what distinguishes one set of runs from another."""
    return f"{arguments.epochs} epochs, {arguments.side} px, seed {arguments.seed}, {arguments.images or 'all'} images"


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    if file.is_file():
        yield from (json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())


def _worker(arguments: argparse.Namespace, names: Any, results: Any, deadline: float) -> None:
    """Take recipes until there are none or the time is up; a run that fails is a row too."""
    try:
        data = _Data(arguments)
        while (name := names.get()) is not None and time.time() < deadline:
            try:
                results.put(_fit(name, data, arguments, deadline))
            except Exception as error:  # one run's failure is not the others'
                text = f"{type(error).__name__}: {error}".splitlines()[0]
                results.put({"recipe": name, "cut_off": True, "error": text})
    finally:
        results.put(None)


class _Data:
    """All images on the device, as bytes; labels; rows of each split."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        import torch

        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
        self.device = torch.device(arguments.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        with np.load(arguments.data) as arrays:
            self.classes = [str(name) for name in arrays["classes"]]
            self.images = torch.from_numpy(arrays["images"]).to(self.device)
            self.labels = torch.from_numpy(arrays["labels"]).to(self.device)
            splits, rng = arrays["splits"], np.random.default_rng(arguments.seed)
        self.rows = {}
        for number, split in enumerate(SPLITS):
            rows = np.flatnonzero(splits == number)
            count = round(len(rows) * min(1.0, (arguments.images or len(splits)) / len(splits)))
            self.rows[split] = torch.from_numpy(np.sort(rng.permutation(rows)[: max(2, count)])).to(self.device)

    def batch(self, rows: Any) -> Any:
        """Return images (n, 1, side, side) in [0, 1]; the networks enlarge them themselves."""
        return self.images[rows][:, None].float() / 255


def _fit(name: str, data: _Data, arguments: argparse.Namespace, deadline: float) -> dict[str, Any]:
    """Fit one version as the deck did: Adam, early stopping on validation accuracy with patience 2."""
    import torch

    from training.augment import augmenter
    from training.backbones import build
    from training.recipes import deck_recipe, within_budget

    backbone, version = name.split("/")
    recipe = within_budget(deck_recipe(backbone, int(version)), arguments.epochs, arguments.side)  # type: ignore[arg-type]
    torch.manual_seed(arguments.seed)
    network = build(recipe, len(data.classes), "none").to(data.device, memory_format=torch.channels_last)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(trained, recipe.learning_rate, fused=data.device.type == "cuda")
    counts = torch.bincount(data.labels[data.rows["train"]], minlength=len(data.classes)).float()
    balanced = counts.sum() / (len(counts) * counts.clamp_min(1)) if recipe.class_weights else None
    loss_of = torch.nn.CrossEntropyLoss(weight=balanced)
    memory, augment, started = _Halving(recipe.batch_size), augmenter(recipe.augmentation), time.time()
    history: list[dict[str, Any]] = []
    best = row = None
    for epoch in range(recipe.epochs):
        began, rng = time.time(), np.random.default_rng([arguments.seed, epoch])
        row = _epoch(network, data, optimiser, loss_of, augment, memory, rng, deadline)
        if row is None:
            break
        row["seconds"] = time.time() - began
        row["validation_accuracy"] = _judged(network, data, "validation")["accuracy"]
        history.append(row)
        accuracies = [each["validation_accuracy"] for each in history]
        if accuracies[-1] == max(accuracies):
            best = {split: _judged(network, data, split) for split in ("validation", "test")}
        if len(accuracies) - accuracies.index(max(accuracies)) > (recipe.patience or recipe.epochs):
            break
    return {
        "recipe": name,
        "weights": "random",
        "epochs": len(history),
        "cut_off": row is None,
        "seconds": round(time.time() - started, 1),
        "train_accuracy": round(max((each["train_accuracy"] for each in history), default=math.nan), 4),
        "history": [round(each["validation_accuracy"], 4) for each in history],
        "best": best,
        "images_a_second": round(max((each["images"] / each["seconds"] for each in history), default=0)),
        "batch": recipe.batch_size,
        "batch_at_once": memory.size,
        "side": recipe.image_size,
        "train_images": len(data.rows["train"]),
        "device": torch.cuda.get_device_name() if data.device.type == "cuda" else "cpu",
        "torch": torch.__version__,
    }


class _Halving:
    """The batch of a recipe, and how much of it fits into memory at once."""

    def __init__(self, size: int) -> None:
        self.whole = self.size = size

    def halve(self) -> None:
        """Take half as many from now on."""
        import torch

        if self.size // 2 < SMALLEST_BATCH:
            raise RuntimeError(f"not even {self.size} images fit into this GPU's memory")
        self.size //= 2
        torch.cuda.empty_cache()


def _epoch(
    network: Any, data: _Data, optimiser: Any, loss_of: Any, augment: Any, memory: _Halving, rng: Any, deadline: float
) -> dict[str, Any] | None:
    """Train one epoch; None where the clock cut it off."""
    import torch

    network.train()
    rows = data.rows["train"][torch.from_numpy(rng.permutation(len(data.rows["train"]))).to(data.device)]
    torch.manual_seed(int(rng.integers(2**31)))
    right = torch.zeros((), device=data.device)
    for number, mine in enumerate(torch.tensor_split(rows, math.ceil(len(rows) / memory.whole))):
        if number % 50 == 0 and time.time() > deadline:
            return None
        while True:
            try:
                right += _step(network, data, mine, optimiser, loss_of, augment, memory)
                break
            except torch.OutOfMemoryError:
                optimiser.zero_grad(set_to_none=True)
                memory.halve()
    return {"train_accuracy": float(right) / len(rows), "images": len(rows)}


def _step(network: Any, data: _Data, rows: Any, optimiser: Any, loss_of: Any, augment: Any, memory: _Halving) -> Any:
    """Take one step, its batch in as many parts as memory needs; return the number of right answers."""
    import torch

    right = torch.zeros((), device=data.device)
    for part in torch.tensor_split(rows, math.ceil(len(rows) / memory.size)):
        images = augment(data.batch(part)).contiguous(memory_format=torch.channels_last)
        with torch.autocast(data.device.type, dtype=torch.bfloat16):
            logits = network(images)
        labels = data.labels[part]
        (loss_of(logits.float(), labels) * (len(part) / len(rows))).backward()
        right += (logits.detach().argmax(1) == labels).sum()
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return right


def _judged(network: Any, data: _Data, split: str) -> dict[str, Any]:
    """Return accuracy and F1 by class on a split."""
    import torch

    network.eval()
    rows, said = data.rows[split], []
    with torch.inference_mode(), torch.autocast(data.device.type, dtype=torch.bfloat16):
        said = [network(data.batch(part)).float().argmax(1) for part in torch.split(rows, EVALUATION_BATCH)]
    predicted, labels, count = torch.cat(said), data.labels[rows], len(data.classes)
    cells = torch.bincount(labels * count + predicted, minlength=count * count).reshape(count, count).double()
    f1 = 2 * cells.diagonal() / (cells.sum(0) + cells.sum(1)).clamp_min(1)
    return {
        "accuracy": float(cells.diagonal().sum() / cells.sum()),
        "f1": {name: round(float(value), 4) for name, value in zip(data.classes, f1, strict=True)},
    }


def table(file: Path) -> None:
    """Print what was run as a table in Markdown: validation accuracy by version and backbone."""
    import pandas as pd

    rows = [row for row in _rows(file) if row.get("best")]
    frame = pd.DataFrame(
        {
            "backbone": [row["recipe"].split("/")[0] for row in rows],
            "version": [int(row["recipe"].split("/")[1]) for row in rows],
            "accuracy": [f"{row['best']['validation']['accuracy']:.3f}" + "*" * row["cut_off"] for row in rows],
        }
    )
    wide = frame.drop_duplicates(["backbone", "version"], keep="last").pivot(
        index="backbone", columns="version", values="accuracy"
    )
    print("| | " + " | ".join(f"M{version}" for version in wide.columns) + " |")
    print("|---" * (1 + len(wide.columns)) + "|")
    for name, values in wide.iterrows():
        print(f"| {name} | " + " | ".join(str(value) if isinstance(value, str) else "" for value in values) + " |")
    print("\n* the clock cut it off before its last epoch")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    packing = verbs.add_parser("pack")
    packing.add_argument("folder", type=Path)
    packing.add_argument("-o", "--output", type=Path, default=Path("faces.npz"))
    running = verbs.add_parser("run")
    running.add_argument("data", type=Path)
    running.add_argument("-o", "--output", type=Path, default=Path("runs.jsonl"))
    running.add_argument("--minutes", type=float, default=7.0, help="from the start; runs that go on are cut off then")
    running.add_argument("--jobs", type=int, default=3, help="runs at once, as a small batch leaves a GPU idle")
    running.add_argument("--backbones", nargs="+", default=["vgg16", "resnet50v2", "efficientnetb0"])
    running.add_argument("--versions", nargs="+", type=int, default=list(range(12)))
    running.add_argument("--epochs", type=int, default=6)
    running.add_argument("--side", type=int, default=224)
    running.add_argument("--images", type=int, default=0, help="about so many in all; 0 = all")
    running.add_argument("--seed", type=int, default=0)
    running.add_argument("--device", default="")
    showing = verbs.add_parser("table")
    showing.add_argument("file", type=Path)
    arguments = parser.parse_args()
    if arguments.verb == "pack":
        pack(arguments.folder, arguments.output)
    elif arguments.verb == "run":
        run(arguments)
    else:
        table(arguments.file)


if __name__ == "__main__":
    main()
