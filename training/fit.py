"""Fit a recipe: one loop for a laptop, an accelerator or several processes, resumable after every epoch.

Every epoch draws from generators seeded by (seed, epoch, process), so that a fit resumed at an epoch's start goes on
exactly as an undisturbed one. Lightning Fabric carries device, precision and processes (``torchrun``).
"""

from __future__ import annotations

import copy
import ctypes
import ctypes.util
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import lightning
import numpy as np
import pandas as pd
import torch
from lightning.fabric import Fabric
from lightning.fabric.loggers.tensorboard import TensorBoardLogger
from torch import Tensor, nn
from torch.nn import functional

from training.augment import augmenter
from training.backbones import Committee, ExpressionNetwork, build, default_weights, weights_identity, weights_licence
from training.data import DataError, Samples, balancing_weights, class_names, load_samples
from training.dynamics import Recorder
from training.files import digest_of, read_csv, read_json, refusing, replacing, write_json
from training.model import (
    CONFIG_FILE,
    RESULT_FILE,
    WEIGHTS_FILE,
    Model,
    as_input,
    load_model,
    predict,
    require_weights,
    save_weights,
)
from training.recipes import Recipe

CHECKPOINT_FILE = "checkpoint.pt"
METRICS_FILE = "metrics.csv"

WARM_UP = 0.2
"""Share of a one-cycle fit in which the rate rises (Smith & Topin, 2018, use 0.3 to 0.45; cosine falls need less)."""

FINAL_RATE = 1e-3
"""Rate at the end of a one-cycle fit, relative to its peak."""

TIMED_STEPS = 3
"""Steps timed for each number of threads; the fastest of them counts."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Options of glibc's mallopt (malloc.h)."""

KEPT_BYTES = 2**30
"""Blocks up to this size come from memory that the process keeps, bytes."""

Report = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


class FitError(RuntimeError):
    """A fit cannot start or go on."""


@dataclass(frozen=True)
class FitResult:
    """What a finished fit left.

    Attributes:
        run_dir: folder with config.json, metrics.csv, TensorBoard events and model.safetensors.
        best_epoch: from 1, the one whose weights were kept.
        seconds: spent in epochs, over all sittings.
        history: a row an epoch: epoch, rate, train_loss, train_accuracy, validation_loss, validation_accuracy
            (NaN without validation images; without the mirror average, which would double its cost), seconds; and
            member, from 0, for a recipe of several.

    """

    run_dir: Path
    best_epoch: int
    seconds: float
    history: pd.DataFrame

    def model(self) -> Model:
        """Load the kept weights."""
        return load_model(self.run_dir)


def fit(
    frame: pd.DataFrame,
    root: Path,
    recipe: Recipe,
    run_dir: Path,
    *,
    seed: int = 0,
    weights: str | None = None,
    threads: int | None = None,
    provenance: Mapping[str, str] | None = None,
    report: Report | None = None,
) -> FitResult:
    """Fit on the rows of split ``train``, watching those of split ``validation``.

    Args:
        frame: kept rows; columns path, label, split; optional weight and soft_label (``training.data``).
        root: folder that the paths are relative to.
        recipe: what to fit.
        run_dir: folder of the run; an unfinished run of the same configuration there is resumed, a finished one
            returned.
        seed: of the new layers, the order of images and all draws.
        weights: ``training.backbones.build``; None for the backbone's default.
        threads: torch's threads; None measures which number is faster. Sums in floating point depend on it: for
            the same weights bit by bit, fix it.
        provenance: what to note in config.json about the data, such as the manifest's hash.
        report: progress.

    Raises:
        DataError: the frame or an image cannot be trained on.
        FitError: the folder holds a fit of another configuration.
        WeightsError: the starting weights cannot be had.

    """
    classes = class_names(frame)
    used = frame[frame["split"].isin(["train", "validation"])]
    samples = load_samples(used, root, recipe.image_size, classes)
    is_train = (used["split"] == "train").to_numpy()
    return fit_samples(
        samples.take(is_train),
        samples.take(~is_train),
        recipe,
        run_dir,
        seed=seed,
        weights=weights,
        threads=threads,
        provenance=provenance,
        report=report,
    )


def fit_samples(
    train: Samples,
    validation: Samples,
    recipe: Recipe,
    run_dir: Path,
    *,
    seed: int = 0,
    weights: str | None = None,
    threads: int | None = None,
    provenance: Mapping[str, str] | None = None,
    report: Report | None = None,
    dynamics: bool = False,
) -> FitResult:
    """Fit on samples in memory; see ``fit``.

    ``validation`` may be empty: then the last epoch is kept. Images of weight 0 are left out altogether. With
    ``dynamics``, and in one process, what the network says of every training image in every epoch is kept
    (``training.dynamics``); it costs no further pass.
    """
    train = train.take(train.weights > 0)
    if len(train) < 2:
        raise DataError(f"a fit needs two training images or more, and the data has {len(train)}")
    run_dir.mkdir(parents=True, exist_ok=True)
    config = _configuration(train, validation, recipe, seed, weights, provenance)
    if _is_finished(run_dir, config):
        return _finished(run_dir)
    options = _Options(run_dir, seed, weights, threads, report, dynamics)
    if recipe.members:
        return _fit_members(train, validation, recipe, options, config)
    return _fit_one(train, validation, recipe, options, config)


def _fit_one(
    train: Samples, validation: Samples, recipe: Recipe, options: _Options, config: dict[str, Any]
) -> FitResult:
    """Fit one network, from the start or from its last checkpoint."""
    run_dir = options.run_dir
    keep_freed_memory()
    fabric = _fabric(recipe, run_dir)
    torch.manual_seed(options.seed)
    network = build(recipe, len(train.classes), options.weights)
    threads = _stored_threads(run_dir) or options.threads or fastest_threads(network, train, recipe)
    config["threads"] = threads
    torch.set_num_threads(threads)
    if fabric.is_global_zero:
        write_json(run_dir / CONFIG_FILE, config)
    run = _Run(fabric, network, train, validation, recipe, options.seed, run_dir)
    if options.dynamics and fabric.world_size == 1:
        run.recorder = Recorder(run_dir, len(train), len(train.classes))
    run.resume()
    while not run.is_over():
        run.epoch(options.report)
    return run.finish()


def _fit_members(
    train: Samples, validation: Samples, recipe: Recipe, options: _Options, config: dict[str, Any]
) -> FitResult:
    """Fit the members one after the other, each in a folder of its own, and keep them as one committee."""
    fabric, fitted = _fabric(recipe, options.run_dir), []
    for number, member in enumerate(recipe.members):
        result = fit_samples(
            train,
            validation,
            member,
            options.run_dir / f"member-{number}",
            seed=options.seed + number,
            weights=options.weights,
            threads=options.threads,
            report=part_of(options.report, number, recipe),
            dynamics=options.dynamics,
        )
        fitted.append(result)
    if fabric.is_global_zero:
        save_weights(Committee(result.model().network for result in fitted), options.run_dir / WEIGHTS_FILE)
        histories = [result.history.assign(member=number) for number, result in enumerate(fitted)]
        _write_csv(options.run_dir / METRICS_FILE, pd.concat(histories))
        write_json(options.run_dir / CONFIG_FILE, config)
        seconds = sum(result.seconds for result in fitted)
        _write_result(options.run_dir, fitted[-1].best_epoch, seconds)
    fabric.barrier()
    return _finished(options.run_dir)


def part_of(report: Report | None, number: int, recipe: Recipe) -> Report | None:
    """Return the report of one of a recipe's parts that counts the epochs of all, in steps of its own."""
    if report is None:
        return None
    epochs = [part.epochs for part in recipe.parts()]
    before, every, own = sum(epochs[:number]), sum(epochs), epochs[number]
    return lambda done, total: report(done + before * total // own, every * total // own)


def fastest_threads(network: nn.Module, train: Samples, recipe: Recipe) -> int:
    """Return 1 or the number of processors, whichever trains a batch faster at this moment.

    More threads than free processors can be several times slower than one.
    """
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    batch = as_input(torch.from_numpy(train.images[: recipe.batch_size]))
    seconds = {threads: _step_seconds(network, batch, recipe, threads) for threads in sorted({1, processors})}
    return min(seconds, key=lambda threads: seconds[threads])


def estimate_seconds(recipe: Recipe, images: int, side: int = 48, threads: int = 1) -> float:
    """Return about how long a fit on this processor takes, from a few steps on noise.

    Args:
        recipe: to fit; its weights are not needed.
        images: in the training data; for all folds of a cross-validation, images * (folds - 1).
        side: of the images, pixels.
        threads: torch's.

    """
    keep_freed_memory()
    seconds = 0.0
    for part in recipe.parts():
        network = build(part, 2, "none")
        batch = torch.rand(part.batch_size, 1, side, side).contiguous(memory_format=torch.channels_last)
        steps = math.ceil(images / part.batch_size) * part.epochs
        seconds += steps * _step_seconds(network, batch, part, threads)
    return seconds


def keep_freed_memory() -> bool:
    """Have glibc keep freed memory for the next step instead of handing it back; tell whether that took effect.

    By default it maps every large tensor anew and the kernel clears its pages: a step of MobileNetV2 at 112 pixels
    ran at 74 images a second so and at 110 without (one core of an EPYC, batch of 64).
    """
    libc = ctypes.util.find_library("c")
    if not sys.platform.startswith("linux") or libc is None:
        return False
    mallopt = getattr(ctypes.CDLL(libc), "mallopt", None)
    if mallopt is None:
        return False
    return all([bool(mallopt(option, KEPT_BYTES)) for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD)])


def rate_factor(step: int, steps: int, one_cycle: bool) -> float:
    """Return the learning rate of a step, relative to its peak: 1, or a linear rise and a cosine fall."""
    if not one_cycle:
        return 1.0
    rise = max(1.0, WARM_UP * steps)
    if step < rise:
        return (step + 1) / (rise + 1)
    fallen = (step - rise) / max(1.0, steps - rise)
    return FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * min(1.0, fallen)))


def soft_cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor, class_weights: Tensor) -> Tensor:
    """Return each image's loss, (n,): -weight * sum over classes of class weight * target * log probability."""
    return -(functional.log_softmax(logits, 1) * targets * class_weights).sum(1) * weights


@dataclass(frozen=True)
class _Options:
    """How to fit; see ``fit``."""

    run_dir: Path
    seed: int
    weights: str | None
    threads: int | None
    report: Report | None
    dynamics: bool = False


class _Run:
    """The state of one fit and what an epoch does to it."""

    def __init__(
        self,
        fabric: Fabric,
        network: ExpressionNetwork,
        train: Samples,
        validation: Samples,
        recipe: Recipe,
        seed: int,
        run_dir: Path,
    ) -> None:
        self.fabric, self.recipe, self.seed, self.run_dir = fabric, recipe, seed, run_dir
        self.train, self.validation = train, validation
        self.network = network.to(memory_format=torch.channels_last)
        self.averaged = copy.deepcopy(self.network).to(fabric.device).eval() if recipe.ema else None
        self.augment = augmenter(recipe.augmentation)
        optimiser = torch.optim.AdamW(_decayed(self.network, recipe.weight_decay), recipe.learning_rate)
        self.wrapped, self.optimiser = fabric.setup(self.network, optimiser)
        self.history: list[dict[str, float]] = []
        self.recorder: Recorder | None = None
        balanced = balancing_weights(train.targets) if recipe.class_weights else np.ones_like(train.targets[0])
        self.class_weights = torch.from_numpy(balanced).to(fabric.device)
        self.images, self.targets = torch.from_numpy(train.images), torch.from_numpy(train.targets)
        self.weights = torch.from_numpy(train.weights)
        self.batches = math.ceil(len(train) / recipe.batch_size)

    def resume(self) -> None:
        """Take up the last finished epoch of an interrupted run, if there is one."""
        path = self.run_dir / CHECKPOINT_FILE
        if not path.is_file():
            return
        try:
            state = torch.load(path, map_location=self.fabric.device, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.optimiser.load_state_dict(state["optimiser"])
            if self.averaged is not None:
                self.averaged.load_state_dict(state["averaged"])
            self.history = [dict(row) for row in state["history"]]
        except Exception as error:  # a damaged file, or one that would run code, which is never done
            raise FitError(f"the checkpoint {path} cannot be read: remove it to fit anew") from error

    def is_over(self) -> bool:
        """Tell whether the last epoch has been reached, or patience with the validation accuracy is at its end."""
        done, patience = len(self.history), self.recipe.patience
        if done >= self.recipe.epochs:
            return True
        return self._watched() and patience is not None and done - self.best_epoch() >= patience

    def _watched(self) -> bool:
        """Tell whether the validation accuracy decides which epoch is kept."""
        return self.recipe.patience is not None and len(self.validation) > 0 and bool(self.history)

    def best_epoch(self) -> int:
        """Return the number, from 1, of the epoch whose weights are kept."""
        if not self._watched():
            return len(self.history)
        accuracies = [row["validation_accuracy"] for row in self.history]
        return 1 + accuracies.index(max(accuracies))

    def epoch(self, report: Report | None) -> None:
        """Train one epoch, evaluate, keep the weights if they are the best, and save where the run stands."""
        started, number = time.monotonic(), len(self.history)
        order = np.random.default_rng([self.seed, number]).permutation(len(self.train))
        draws = np.random.SeedSequence([self.seed, number, self.fabric.global_rank])
        torch.manual_seed(int(draws.generate_state(1)[0]))
        self.wrapped.train()
        totals = torch.zeros(2)
        for index, rows in enumerate(np.array_split(order, self.batches)):
            totals += self._step(torch.from_numpy(rows), number * self.batches + index)
            if report:
                report(number * self.batches + index + 1, self.recipe.epochs * self.batches)
        summed = cast(Tensor, self.fabric.all_reduce(self.fabric.to_device(totals), reduce_op="sum"))
        loss, accuracy = (summed / len(order)).tolist()
        if not math.isfinite(loss):
            raise FitError(
                f"the loss is {loss} in epoch {number + 1}, so nothing was learned: lower the learning rate, and see "
                "that weights and soft labels are numbers; what the epochs before left is kept"
            )
        row = {"epoch": number + 1, "rate": self._rate(), "train_loss": loss, "train_accuracy": accuracy}
        if self.fabric.is_global_zero:
            row.update(self._validated(), seconds=time.monotonic() - started)
        # one process judges for all: batch statistics differ a little, and all must stop after the same epoch
        self.history.append(self.fabric.broadcast(row))
        if self.recorder is not None:
            self.recorder.save(number)
        if self.fabric.is_global_zero:
            self._save(row)
        self.fabric.barrier()

    def _step(self, rows: Tensor, step: int) -> Tensor:
        """Take one step on this process' share of a batch; return its summed loss and number of right answers.

        Processes divide the recipe's batch among them, so that the rate fits whatever their number. Batch
        normalisation sees a process' own share; a batch too small for that is taken whole by each of them.
        """
        world, rank = self.fabric.world_size, self.fabric.global_rank
        is_shared = len(rows) >= 2 * world
        mine = rows[rank::world] if is_shared else rows
        images = self.augment(as_input(self.fabric.to_device(self.images[mine])))
        targets = self.fabric.to_device(self.targets[mine])
        weights = self.fabric.to_device(self.weights[mine])
        images, smoothed = self._mixed(images, self._smoothed(targets))
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.learning_rate * self._factor(step)
        logits = self.wrapped(images)
        losses = soft_cross_entropy(logits, smoothed, weights, self.class_weights)
        self.fabric.backward(losses.mean())
        self.optimiser.step()
        self.optimiser.zero_grad()
        self._average(step)
        if self.recorder is not None:
            self.recorder.note(mine, logits.detach())
        right = (logits.detach().argmax(1) == targets.argmax(1)).sum()
        return torch.stack([losses.detach().sum().cpu(), right.cpu()]) / (1 if is_shared else world)

    def _factor(self, step: int) -> float:
        return rate_factor(step, self.recipe.epochs * self.batches, self.recipe.one_cycle)

    def _rate(self) -> float:
        return float(self.optimiser.param_groups[0]["lr"])

    def _smoothed(self, targets: Tensor) -> Tensor:
        """Return targets with a share of each spread evenly over the classes."""
        return targets * (1 - self.recipe.label_smoothing) + self.recipe.label_smoothing / targets.shape[1]

    def _mixed(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return images and targets mixed with those of another order of the batch, if the recipe mixes."""
        if not self.recipe.mixup:
            return images, targets
        alpha = torch.tensor(self.recipe.mixup)
        share = float(torch.distributions.Beta(alpha, alpha).sample())
        other = torch.randperm(len(images)).to(images.device)
        return images.lerp(images[other], 1 - share), targets.lerp(targets[other], 1 - share)

    @torch.no_grad()
    def _average(self, step: int) -> None:
        """Move the running average towards the weights, faster in the first steps, which it would remember."""
        if self.averaged is None:
            return
        decay = min(self.recipe.ema, (1 + step) / (10 + step))
        current = self.network.state_dict()
        for name, value in self.averaged.state_dict().items():
            if value.is_floating_point():
                value.lerp_(current[name], 1 - decay)
            else:
                value.copy_(current[name])

    def _kept(self) -> ExpressionNetwork:
        """Return the network that is evaluated and kept: the running average where there is one."""
        return self.network if self.averaged is None else self.averaged

    def _validated(self) -> dict[str, float]:
        """Return loss and accuracy on the validation images, of one view each; NaN without any."""
        if not len(self.validation):
            return {"validation_loss": math.nan, "validation_accuracy": math.nan}
        with self.fabric.autocast():
            probabilities = predict(self._kept(), self.validation.images)
        given = probabilities[np.arange(len(probabilities)), self.validation.labels]
        right = probabilities.argmax(1) == self.validation.labels
        return {
            "validation_loss": float(-np.log(np.maximum(given, np.finfo(np.float32).tiny)).mean()),
            "validation_accuracy": float(right.mean()),
        }

    def _save(self, row: dict[str, float]) -> None:
        """Write metrics, the weights if they are the ones to keep so far, and then the checkpoint."""
        numbers = {name: value for name, value in row.items() if not math.isnan(value)}
        self.fabric.log_dict(numbers, step=int(row["epoch"]))
        _write_csv(self.run_dir / METRICS_FILE, pd.DataFrame(self.history))
        if self.best_epoch() == len(self.history):
            save_weights(self._kept(), self.run_dir / WEIGHTS_FILE)
        if self.is_over():
            return  # nothing is left to resume, and a checkpoint of VGG16 is 1.6 GB
        state = {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict() if self.averaged is not None else {},
            "optimiser": self.optimiser.state_dict(),
            "history": self.history,
        }
        with replacing(self.run_dir / CHECKPOINT_FILE) as unfinished:
            torch.save(state, unfinished)

    def finish(self) -> FitResult:
        """Write the result, drop the checkpoint, and return what the fit left."""
        if self.fabric.is_global_zero:
            self.fabric.logger.finalize("success")
            seconds = sum(row["seconds"] for row in self.history)
            _write_result(self.run_dir, self.best_epoch(), seconds)
            (self.run_dir / CHECKPOINT_FILE).unlink(missing_ok=True)
        self.fabric.barrier()
        return _finished(self.run_dir)


def _configuration(
    train: Samples,
    validation: Samples,
    recipe: Recipe,
    seed: int,
    weights: str | None,
    provenance: Mapping[str, str] | None,
) -> dict[str, Any]:
    """Return what config.json says; all but ``threads`` and ``versions`` must agree for a run to be resumed."""
    sources = [weights or default_weights(part.backbone) for part in recipe.parts()]
    licences = [weights_licence(part.backbone, source) for part, source in zip(recipe.parts(), sources, strict=True)]
    return {
        "recipe": recipe.as_dict(),
        "classes": list(train.classes),
        "images": {"train": len(train), "validation": len(validation)},
        "fingerprints": {"train": train.fingerprint(), "validation": validation.fingerprint()},
        "seed": seed,
        "weights": ", ".join(weights_identity(source) for source in sources),
        "weights_licence": "; ".join(licences),
        "provenance": dict(provenance or {}),
        "versions": {"torch": torch.__version__, "lightning": lightning.__version__},
    }


def _is_finished(run_dir: Path, config: Mapping[str, Any]) -> bool:
    """Tell whether the folder holds this very fit, finished.

    Raises:
        FitError: it holds a fit of another configuration.

    """
    path = run_dir / CONFIG_FILE
    if not path.is_file():
        return False
    stored = read_json(path)
    for name, value in config.items():
        if name != "versions" and stored.get(name) != value:
            raise FitError(f"the folder {run_dir} holds a fit with another {name}: give another folder, or remove it")
    if not (run_dir / RESULT_FILE).is_file():
        return False
    require_weights(run_dir)
    return True


def _stored_threads(run_dir: Path) -> int | None:
    """Return the number of threads an interrupted run was using."""
    path = run_dir / CONFIG_FILE
    if not path.is_file():
        return None
    with refusing(path, "remove its folder to fit anew"):
        return max(1, int(read_json(path, ["threads"])["threads"]))


def _finished(run_dir: Path) -> FitResult:
    """Read a finished run's folder."""
    path = run_dir / RESULT_FILE
    history = read_csv(run_dir / METRICS_FILE, ["rate", "train_accuracy", "validation_accuracy"])
    with refusing(path, "remove its folder to fit anew"):
        result = read_json(path, ["best_epoch", "seconds"])
        best, seconds = int(result["best_epoch"]), float(result["seconds"])
        if not 1 <= best <= len(history):
            raise ValueError(f"epoch {best} is not in {METRICS_FILE}")
    return FitResult(run_dir, best, seconds, history)


def _write_result(run_dir: Path, best_epoch: int, seconds: float) -> None:
    """Write that a fit is finished, and the hash of the weights that it kept."""
    weights = digest_of(run_dir / WEIGHTS_FILE)
    write_json(run_dir / RESULT_FILE, {"best_epoch": best_epoch, "seconds": seconds, "weights_sha256": weights})


def _fabric(recipe: Recipe, run_dir: Path) -> Fabric:
    """Return the runtime: this process alone, or its place among those that ``torchrun`` started."""
    for name in ("lightning.fabric", "lightning.pytorch"):  # whichever was imported last says which precision is used
        logging.getLogger(name).setLevel(logging.WARNING)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    fabric = Fabric(
        accelerator="auto" if torch.cuda.is_available() else "cpu",
        devices=local,
        num_nodes=max(1, world // local),
        strategy="ddp" if world > 1 else "auto",
        precision="bf16-mixed" if recipe.bf16 and has_fast_bf16() else "32-true",
        loggers=TensorBoardLogger(run_dir, name="tensorboard", version=""),
    )
    fabric.launch()
    return fabric


def has_fast_bf16() -> bool:
    """Tell whether this machine multiplies bfloat16 in hardware (CUDA, AVX-512 BF16 or AMX)."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _decayed(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Return the trained parameters in two groups: matrices and kernels decay, biases and scales do not."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in trained if parameter.ndim > 1], "weight_decay": decay},
        {"params": [parameter for parameter in trained if parameter.ndim <= 1], "weight_decay": 0.0},
    ]


def _step_seconds(network: nn.Module, batch: Tensor, recipe: Recipe, threads: int) -> float:
    """Return the fastest of a few forward and backward passes; network and torch's threads are left as they were."""
    probe = copy.deepcopy(network).to(memory_format=torch.channels_last).train()
    batch = batch if len(batch) > 1 else batch.repeat(2, 1, 1, 1)
    before, seconds = torch.get_num_threads(), []
    torch.set_num_threads(threads)
    for _ in range(TIMED_STEPS):
        started = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.bf16 and has_fast_bf16()):
            logits = probe(batch)
        logits.float().square().mean().backward()
        probe.zero_grad()
        seconds.append(time.perf_counter() - started)
    torch.set_num_threads(before)
    return min(seconds)


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    """Replace a CSV file in one step."""
    with replacing(path) as unfinished:
        table.to_csv(unfinished, index=False)
