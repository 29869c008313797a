"""Recipes on a graphics card, under a time budget: the deck's thirty-six from random weights, and attempts.

python -m tests.benchmarks.bench_gpu_ladder pack FOLDER -o .gpu            here: SPLIT/CLASS/*.jpg, and bundled weights
python -m tests.benchmarks.bench_gpu_ladder run .gpu -o runs.jsonl --minutes 7              there: the deck's ladder
python -m tests.benchmarks.bench_gpu_ladder run .gpu -o runs.jsonl --minutes 4 --seeds 0 1 2 \
    --recipes tests/benchmarks/attempts.toml --keep said                                    there: our own
python -m tests.benchmarks.bench_gpu_ladder table runs.jsonl               here or there

The other machine needs this checkout, the packed folder (46 MiB; its ``site`` on PYTHONPATH for bundled weights), and
torch, torchvision, timm, lightning, tensorboard, pandas, opencv and safetensors; no network. What runs is the
product's own fit. A JSON line is written for each run that ends; a run that is in the file is not run again, one that
the clock cut off is, and says so. On the ladder what a reader asks first comes first: each backbone as the deck's
best version, then its final one, then the steps between. Bundled weights travel in half precision.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

NEEDED = ("torch", "torchvision", "timm", "lightning", "tensorboard", "pandas", "cv2", "safetensors")
ORDER = (9, 7, 0, 2, 8, 10, 11, 1, 4, 6, 3, 5)
"""Versions of the ladder, the most telling first."""

SPLITS = ("train", "validation", "test")
FACES, SITE = "faces.npz", "site"


class _TimeIsUpError(Exception):
    """The clock cut a run off."""


def pack(folder: Path, out: Path) -> None:
    """Write the encoded images of SPLIT/CLASS/* as one array file, and the packages of bundled weights, halved."""
    paths = sorted(path for path in folder.glob("*/*/*") if path.is_file() and path.parent.parent.name in SPLITS)
    classes = sorted({path.parent.name for path in paths})
    blobs = [path.read_bytes() for path in paths]
    out.mkdir(parents=True, exist_ok=True)
    np.savez(
        out / FACES,
        bytes=np.frombuffer(b"".join(blobs), np.uint8),
        ends=np.cumsum([len(blob) for blob in blobs]),
        labels=np.array([classes.index(path.parent.name) for path in paths], np.int64),
        splits=np.array([SPLITS.index(path.parent.parent.name) for path in paths], np.int64),
        classes=np.array(classes),
    )
    _pack_weights(out / SITE)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{len(paths):,} images of {', '.join(classes)}: {out}, {size / 2**20:.1f} MiB")


def _pack_weights(site: Path) -> None:
    import torch

    from training.backbones import _BUNDLES, read_state

    for bundle in _BUNDLES.values():
        found = importlib.util.find_spec(bundle.package)
        if found is None or found.origin is None:
            continue
        file = site / bundle.package / bundle.file
        file.parent.mkdir(parents=True, exist_ok=True)
        (site / bundle.package / "__init__.py").touch()
        state = read_state(Path(found.origin).parent / bundle.file)
        torch.save({name: value.half() if value.is_floating_point() else value for name, value in state.items()}, file)


def _samples(file: Path, share: float, seed: int) -> dict[str, Any]:
    """Return the images of each split in memory."""
    import cv2

    from training.data import Samples

    with np.load(file) as arrays:
        encoded = np.split(arrays["bytes"], arrays["ends"][:-1])
        labels, splits = arrays["labels"], arrays["splits"]
        classes = tuple(str(name) for name in arrays["classes"])
    rng, found = np.random.default_rng(seed), {}
    for number, split in enumerate(SPLITS):
        rows = rng.permutation(np.flatnonzero(splits == number))
        rows = np.sort(rows[: max(2, round(share * len(rows)))])
        images = np.stack([cv2.imdecode(encoded[row], cv2.IMREAD_GRAYSCALE) for row in rows]).astype(np.uint8)
        targets = np.eye(len(classes), dtype=np.float32)[labels[rows]]
        found[split] = Samples(images, targets, np.ones(len(rows), np.float32), classes)
    return found


def _wanted(arguments: argparse.Namespace) -> list[tuple[Any, int]]:
    """Return (recipe, seed) in the order in which they are run."""
    from training.recipes import deck_recipe, rungs, within_budget

    if arguments.recipes:
        recipes = [each for name in arguments.recipes for each in rungs(name)]
    else:
        versions = [version for version in ORDER if version in arguments.versions]
        recipes = [deck_recipe(backbone, version) for version in versions for backbone in arguments.backbones]
    cut = [within_budget(each, arguments.epochs or None, arguments.side or None) for each in recipes]
    return [(each, seed) for seed in arguments.seeds for each in cut]


def _key(recipe: Any, seed: int, arguments: argparse.Namespace) -> str:
    """Return what distinguishes one run from all others."""
    parts = [recipe.as_dict(), seed, arguments.images, arguments.weights]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).hexdigest()


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    if file.is_file():
        yield from (json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())


def run(arguments: argparse.Namespace) -> None:
    """Run what is missing, ``jobs`` at once, until all is done or the time is up."""
    started = time.time()
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(f"this needs {', '.join(missing)} in {sys.executable}: install it, or carry its wheels")
    done = {row["key"] for row in _rows(arguments.output) if not row["cut_off"]}
    every = [(recipe, seed, _key(recipe, seed, arguments)) for recipe, seed in _wanted(arguments)]
    todo = [each for each in every if each[2] not in done]
    print(f"{len(every) - len(todo)} runs are done, {len(todo)} to go", flush=True)
    context = multiprocessing.get_context("spawn")
    waiting, results = context.Queue(), context.Queue()
    for each in [*todo, *[None] * arguments.jobs]:
        waiting.put(each)
    deadline = started + 60 * arguments.minutes
    for _ in range(arguments.jobs):
        context.Process(target=_worker, args=(arguments, waiting, results, deadline), daemon=True).start()
    left = arguments.jobs
    with arguments.output.open("a", encoding="utf-8") as stream:
        while left:
            row = results.get()
            if row is None:
                left -= 1
                continue
            stream.write(json.dumps(row) + "\n")
            stream.flush()
            print(json.dumps(row), flush=True)
    print(f"{time.time() - started:.0f} s in all", flush=True)


def _worker(arguments: argparse.Namespace, waiting: Any, results: Any, deadline: float) -> None:
    """Take recipes until there are none or the time is up; a run that fails is a row too."""
    try:
        import torch

        torch.set_num_threads(1)
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
        total = 0 if not arguments.images else arguments.images
        with np.load(arguments.data / FACES) as arrays:
            share = min(1.0, total / len(arrays["labels"])) if total else 1.0
        samples = _samples(arguments.data / FACES, share, 0)
        while (each := waiting.get()) is not None and time.time() < deadline:
            recipe, seed, key = each
            row = {"recipe": recipe.name, "seed": seed, "key": key, "cut_off": True}
            try:
                row |= _fit(recipe, seed, samples, arguments, deadline)
            except Exception as error:  # one run's failure is not the others'
                row["error"] = f"{type(error).__name__}: {error}".splitlines()[0]
            results.put(row)
    finally:
        results.put(None)


def _fit(recipe: Any, seed: int, samples: dict[str, Any], arguments: argparse.Namespace, deadline: float) -> Any:
    """Fit one recipe with the product's own fit and measure what it kept."""
    import torch

    from training.files import read_json
    from training.fit import fit_samples

    def watch(_done: int, _total: int) -> None:
        if time.time() > deadline:
            raise _TimeIsUpError

    folder = Path(tempfile.mkdtemp(dir=arguments.scratch or None))
    weights = arguments.weights or (None if arguments.recipes else "none")
    device = arguments.device or None
    started = time.time()
    row: dict[str, Any] = {"key": _key(recipe, seed, arguments), "train_images": len(samples["train"])}
    row |= {"side": recipe.image_size, "torch": torch.__version__}
    row["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    try:
        train, validation = samples["train"], samples["validation"]
        options = {"seed": seed, "weights": weights, "device": device, "threads": 1, "report": watch}
        result = fit_samples(train, validation, recipe, folder, **options)
        stored = read_json(folder / "result.json")
        row |= {"cut_off": False, "batch_at_once": stored.get("batch_at_once")}
        row["weights"] = read_json(folder / "config.json")["weights"]
        row["history"] = [round(value, 4) for value in result.history["validation_accuracy"]]
        row["train_accuracy"] = round(float(result.history["train_accuracy"].iloc[result.best_epoch - 1]), 4)
        row["fit_seconds"] = round(result.seconds, 1)
        row["images_a_second"] = round(len(train) * len(result.history) / result.seconds)
        said = {split: result.probabilities(samples[split].images) for split in ("validation", "test")}
        row |= {split: _judged(said[split], samples[split].labels, samples[split].classes) for split in said}
        if arguments.keep:
            kept = {f"{split}_labels": samples[split].labels for split in said} | {"classes": samples["test"].classes}
            np.savez(arguments.keep / f"{row['key']}.npz", **said, **kept)
    except _TimeIsUpError:
        row["note"] = "the clock cut it off"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return row | {"seconds": round(time.time() - started, 1)}


def _judged(said: Any, labels: Any, classes: Any) -> dict[str, Any]:
    """Return accuracy and F1 by class of probabilities, (n, classes)."""
    from training.evaluate import confusion

    cells = confusion(labels, said.argmax(axis=1), len(classes)).astype(float)
    f1 = 2 * cells.diagonal() / np.maximum(cells.sum(0) + cells.sum(1), 1)
    named = {name: round(float(value), 4) for name, value in zip(classes, f1, strict=True)}
    return {"accuracy": round(float(cells.diagonal().sum() / cells.sum()), 4), "f1": named}


def _committee(members: list[str], rows: list[dict[str, Any]], keep: Path) -> Iterator[dict[str, Any]]:
    """Yield what the mean of several recipes' kept probabilities gives, for each seed that all of them have."""
    for seed in sorted({row["seed"] for row in rows}):
        runs = [row for name in members for row in rows if row["seed"] == seed and row["recipe"].endswith(name)]
        if len(runs) == len(members):
            arrays = [np.load(keep / f"{row['key']}.npz") for row in runs]
            judged = {
                split: _judged(
                    np.mean([each[split] for each in arrays], axis=0),
                    arrays[0][f"{split}_labels"],
                    arrays[0]["classes"],
                )
                for split in ("validation", "test")
            }
            history = [value for row in runs for value in row["history"]]
            totals = {"seconds": sum(row["seconds"] for row in runs), "history": history}
            yield {"recipe": " + ".join(members), "seed": seed} | totals | judged


def table(file: Path, keep: Path | None, committees: list[str]) -> None:
    """Print what was run as Markdown: a recipe or committee (NAME+NAME) a row, means over its seeds."""
    import pandas as pd

    rows = [row for row in _rows(file) if "validation" in row]
    if keep is not None:
        rows += [row for names in committees for row in _committee(names.split("+"), list(rows), keep)]
    frame = pd.DataFrame(
        {
            "recipe": [row["recipe"] for row in rows],
            "seeds": 1,
            "validation": [row["validation"]["accuracy"] for row in rows],
            "test": [row["test"]["accuracy"] for row in rows],
            **{
                f"F1 {name}": [row["validation"]["f1"].get(name) for row in rows]
                for name in (rows[0]["validation"]["f1"] if rows else ())
            },
            "epochs": [len(row["history"]) for row in rows],
            "seconds": [row["seconds"] for row in rows],
        }
    )
    how = {name: "sum" if name == "seeds" else "mean" for name in frame.columns[1:]}
    found = frame.groupby("recipe", sort=False).agg(how)
    print("| recipe | " + " | ".join(found.columns) + " |\n" + "|---" * (1 + len(found.columns)) + "|")
    for name, values in found.iterrows():
        whole = ("seeds", "epochs", "seconds")
        cells = [f"{value:.0f}" if column in whole else f"{value:.3f}" for column, value in values.items()]
        print(f"| {name} | " + " | ".join(cells) + " |")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    packing = verbs.add_parser("pack")
    packing.add_argument("folder", type=Path)
    packing.add_argument("-o", "--output", type=Path, default=Path(".gpu"))
    running = verbs.add_parser("run")
    running.add_argument("data", type=Path)
    running.add_argument("-o", "--output", type=Path, default=Path("runs.jsonl"))
    running.add_argument("--minutes", type=float, default=7.0, help="from the start; runs that go on are cut off then")
    running.add_argument("--jobs", type=int, default=4, help="runs at once, as a small batch leaves a card idle")
    running.add_argument("--recipes", nargs="+", default=[], help="recipes or files instead of the deck's ladder")
    running.add_argument("--backbones", nargs="+", default=["vgg16", "resnet50v2", "efficientnetb0"])
    running.add_argument("--versions", nargs="+", type=int, default=list(range(12)))
    running.add_argument("--epochs", type=int, default=0, help="0 = the recipe's own")
    running.add_argument("--side", type=int, default=0, help="pixels; 0 = the recipe's own")
    running.add_argument("--images", type=int, default=0, help="about so many in all; 0 = all")
    running.add_argument("--seeds", nargs="+", type=int, default=[0])
    running.add_argument("--weights", default="", help="of all; default: none on the ladder, else the recipes' own")
    running.add_argument("--scratch", default="", help="folder of unfinished runs, such as /dev/shm")
    running.add_argument("--keep", type=Path, help="folder for every run's probabilities")
    running.add_argument("--device", default="")
    showing = verbs.add_parser("table")
    showing.add_argument("file", type=Path)
    showing.add_argument("--keep", type=Path, help="folder of the probabilities")
    showing.add_argument("--committees", nargs="+", default=[], help="as lite0-112+small-24; needs --keep")
    arguments = parser.parse_args()
    if arguments.verb == "pack":
        pack(arguments.folder, arguments.output)
    elif arguments.verb == "run":
        if arguments.keep:
            arguments.keep.mkdir(parents=True, exist_ok=True)
        run(arguments)
    else:
        table(arguments.file, arguments.keep, arguments.committees)


if __name__ == "__main__":
    main()
