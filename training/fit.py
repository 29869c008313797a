"""Fit a recipe: one loop for a laptop, an accelerator or several processes, resumable after every epoch.

Every epoch draws from generators seeded by (seed, epoch, process), so that a resumed fit continues exactly like an
uninterrupted one. Lightning Fabric handles devices, precision and processes (``torchrun``).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from timm.optim import param_groups_weight_decay  # type: ignore[attr-defined]  # timm marks no re-exports
from timm.scheduler import CosineLRScheduler  # type: ignore[attr-defined]
from timm.utils import ModelEmaV3  # type: ignore[attr-defined]
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import v2  # type: ignore[import-untyped]

from training.arrays import Floats32, Pixels
from training.augment import augmenter
from training.backbones import build, default_weights, weights_identity, weights_licence
from training.data import DataError, Samples, balancing_weights, class_names, load_samples
from training.devices import Fabric, fastest_threads, find_device, keep_freed_memory, runtime
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
from training.networks import Committee, ExpressionNetwork
from training.recipes import Recipe

CHECKPOINT_FILE = "checkpoint.pt"
METRICS_FILE = "metrics.csv"

WARM_UP = 0.2
"""Share of a one-cycle fit in which the rate rises (Smith & Topin, 2018, use 0.3 to 0.45; cosine falls need less)."""

FINAL_RATE = 1e-3
"""Final rate of a one-cycle fit, relative to its peak."""

EMA_WARM_UP = 9.0
"""Steps: the running average's decay is at most (1 + step) / (10 + step), as the first weights are worth little."""

SMALLEST_PART = 2
"""Least number of images per part of a batch; batch normalisation needs two."""

Report = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


class FitError(RuntimeError):
    """A fit cannot start or continue."""


@dataclass(frozen=True)
class FitResult:
    """The result of a finished fit.

    Attributes:
        run_dir: folder with config.json, metrics.csv, TensorBoard events and model.safetensors.
        best_epoch: the epoch, from 1, whose weights were kept.
        seconds: spent in epochs, including those before an interruption.
        history: a row per epoch: epoch, rate, train_loss, train_accuracy, validation_loss, validation_accuracy (NaN
            without validation images; without the mirror average, which would double the cost), seconds; and member,
            from 0, for a committee.
        device: of the fit, on which ``probabilities`` predicts.

    """

    run_dir: Path
    best_epoch: int
    seconds: float
    history: pd.DataFrame
    device: str | None = None

    def probabilities(self, images: Pixels) -> Floats32:
        """Return the probabilities of grey images (n, side, side) uint8 by the kept weights, (n, classes) float32."""
        return self.model().on(find_device(self.device)).probabilities(images)

    def model(self) -> Model:
        """Load the model with the kept weights."""
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
    device: str | None = None,
    provenance: Mapping[str, str] | None = None,
    report: Report | None = None,
) -> FitResult:
    """Fit on the rows of split ``train``, monitored on those of split ``validation``.

    Args:
        frame: kept rows; columns path, label, split; optional weight and soft_label (``training.data``).
        root: folder that the paths are relative to.
        recipe: to fit.
        run_dir: folder of the run; an unfinished run of the same configuration there is resumed, a finished one is
            returned.
        seed: of new layers, the order of images and all draws.
        weights: starting weights (``training.backbones.build``); None for the backbone's default.
        threads: torch's threads; None measures which number is faster. Floating-point sums depend on it: set it for
            bit-identical weights.
        device: cpu, cuda, cuda:NUMBER or mps; None for a graphics card if available. A run may be resumed on another
            device.
        provenance: notes on the data for config.json, such as the manifest's hash.
        report: progress.

    Raises:
        DataError: the frame or an image cannot be trained on.
        FitError: the folder holds a fit of another configuration.
        WeightsError: the starting weights are not available.

    """
    classes = class_names(frame)
    used = frame[frame["split"].isin(["train", "validation"])]
    samples = load_samples(used, root, recipe.image_size, classes)
    is_train = (used["split"] == "train").to_numpy()
    train, validation = samples.take(is_train), samples.take(~is_train)
    del samples  # a fit holds every pixel once
    return fit_samples(
        train,
        validation,
        recipe,
        run_dir,
        seed=seed,
        weights=weights,
        threads=threads,
        device=device,
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
    device: str | None = None,
    provenance: Mapping[str, str] | None = None,
    report: Report | None = None,
    dynamics: bool = False,
) -> FitResult:
    """Fit on samples in memory; see ``fit``.

    ``validation`` may be empty: then the last epoch is kept. Images of weight 0 are left out. With ``dynamics``, in one
    process, the logits of every training image in every epoch are stored (``training.dynamics``), without extra passes.
    """
    train = train if (train.weights > 0).all() else train.take(train.weights > 0)  # a copy only where it is one
    if len(train) < 2:
        raise DataError(f"a fit needs two training images or more, and the data has {len(train)}")
    run_dir.mkdir(parents=True, exist_ok=True)
    config = _configuration(train, validation, recipe, seed, weights, provenance)
    if _is_finished(run_dir, config):
        return _finished(run_dir, device)
    options = _Options(run_dir, seed, weights, threads, device, report, dynamics)
    if recipe.members:
        return _fit_members(train, validation, recipe, options, config)
    return _fit_one(train, validation, recipe, options, config)


def _fit_one(
    train: Samples, validation: Samples, recipe: Recipe, options: _Options, config: dict[str, Any]
) -> FitResult:
    """Fit one network, from the beginning or its last checkpoint."""
    run_dir = options.run_dir
    keep_freed_memory()
    fabric = runtime(recipe, run_dir, options.device)
    torch.manual_seed(options.seed)
    network = build(recipe, len(train.classes), options.weights)
    if fabric.device.type == "cpu":
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
    """Fit the members one after the other, each in its own folder, and save them as one committee."""
    fabric, fitted = runtime(recipe, options.run_dir, options.device), []
    for number, member in enumerate(recipe.members):
        result = fit_samples(
            train,
            validation,
            member,
            options.run_dir / f"member-{number}",
            seed=options.seed + number,
            weights=options.weights,
            threads=options.threads,
            device=options.device,
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
        _write_result(options.run_dir, fitted[-1].best_epoch, seconds, str(fabric.device))
    fabric.barrier()
    return _finished(options.run_dir, options.device)


def part_of(report: Report | None, number: int, recipe: Recipe) -> Report | None:
    """Return the report of one part of a recipe, relative to the epochs of all parts."""
    if report is None:
        return None
    epochs = [part.epochs for part in recipe.parts()]
    before, every, own = sum(epochs[:number]), sum(epochs), epochs[number]
    return lambda done, total: report(done + before * total // own, every * total // own)


def schedule(optimiser: torch.optim.Optimizer, recipe: Recipe, steps: int) -> CosineLRScheduler | None:
    """Return the schedule of the rate, a linear rise and a cosine fall; None for a constant rate."""
    if not recipe.one_cycle:
        return None
    rise = max(1, round(WARM_UP * steps))
    return CosineLRScheduler(
        optimiser,
        t_initial=max(2, steps - rise),
        lr_min=FINAL_RATE * recipe.learning_rate,
        warmup_t=rise,
        warmup_lr_init=recipe.learning_rate / (rise + 1),
        warmup_prefix=True,
        t_in_epochs=False,
    )


@dataclass(frozen=True)
class _Options:
    """Options of a fit; see ``fit``."""

    run_dir: Path
    seed: int
    weights: str | None
    threads: int | None
    device: str | None
    report: Report | None
    dynamics: bool = False


class _Run:
    """The state of one fit, and its epochs."""

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
        self.augment = augmenter(recipe.augmentation)
        self.mix = v2.MixUp(alpha=recipe.mixup) if recipe.mixup else None
        self.network = network.to(memory_format=torch.channels_last)
        groups = param_groups_weight_decay(self.network, recipe.weight_decay)
        optimiser = torch.optim.AdamW(groups, recipe.learning_rate)
        self.wrapped, self.optimiser = fabric.setup(self.network, optimiser)
        self.averaged: ModelEmaV3 | None = None
        if recipe.ema:
            warm_up = {"warmup_gamma": EMA_WARM_UP, "warmup_power": 1.0}
            self.averaged = ModelEmaV3(self.network, recipe.ema, use_warmup=True, **warm_up)  # type: ignore[arg-type]
        is_cpu = fabric.device.type == "cpu"
        self.at_once = recipe.micro_batch if recipe.micro_batch and is_cpu else recipe.batch_size
        self.in_step = recipe.batch_size
        self.history: list[dict[str, float]] = []
        self.recorder: Recorder | None = None
        balanced = balancing_weights(train.targets) if recipe.class_weights else None
        self.class_weights = None if balanced is None else torch.from_numpy(balanced).to(fabric.device)
        self.images, self.targets = torch.from_numpy(train.images), torch.from_numpy(train.targets)
        self.weights = torch.from_numpy(train.weights)
        self.batches = math.ceil(len(train) / recipe.batch_size)
        self.schedule = schedule(optimiser, recipe, recipe.epochs * self.batches)

    def resume(self) -> None:
        """Load the last finished epoch of an interrupted run, if there is one."""
        path = self.run_dir / CHECKPOINT_FILE
        if not path.is_file():
            return
        try:
            state = torch.load(path, map_location=self.fabric.device, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.optimiser.load_state_dict(state["optimiser"])
            if self.averaged is not None:
                self.averaged.module.load_state_dict(state["averaged"])
            self.history = [dict(row) for row in state["history"]]
        except Exception as error:  # a damaged file, or one that would run code, which is never done
            raise FitError(f"the checkpoint {path} cannot be read: remove it to fit it again") from error

    def is_over(self) -> bool:
        """Return whether the last epoch is reached, or validation accuracy has not improved for ``patience`` epochs."""
        done, patience = len(self.history), self.recipe.patience
        if done >= self.recipe.epochs:
            return True
        return self._watched() and patience is not None and done - self.best_epoch() >= patience

    def _watched(self) -> bool:
        """Return whether validation accuracy selects the epoch to keep."""
        return self.recipe.patience is not None and len(self.validation) > 0 and bool(self.history)

    def best_epoch(self) -> int:
        """Return the number, from 1, of the epoch whose weights are kept."""
        if not self._watched():
            return len(self.history)
        accuracies = [row["validation_accuracy"] for row in self.history]
        return 1 + accuracies.index(max(accuracies))

    def epoch(self, report: Report | None) -> None:
        """Train one epoch, evaluate, keep the weights if they are the best, and save a checkpoint."""
        started, number = time.monotonic(), len(self.history)
        order = np.random.default_rng([self.seed, number]).permutation(len(self.train))
        draws = np.random.SeedSequence([self.seed, number, self.fabric.global_rank])
        torch.manual_seed(int(draws.generate_state(1)[0]))
        self.wrapped.train()
        totals = torch.zeros(2, device=self.fabric.device)
        for index, rows in enumerate(np.array_split(order, self.batches)):
            totals += self._step(torch.from_numpy(rows), number * self.batches + index)
            if report:
                report(number * self.batches + index + 1, self.recipe.epochs * self.batches)
        summed = cast(Tensor, self.fabric.all_reduce(totals, reduce_op="sum"))
        loss, accuracy = (summed / len(order)).tolist()
        if not math.isfinite(loss):
            raise FitError(
                f"the loss is {loss} in epoch {number + 1}, so nothing was learned: lower the learning rate, and see "
                "that weights and soft labels are numbers; the result of earlier epochs is kept"
            )
        rate = float(self.optimiser.param_groups[0]["lr"])
        row = {"epoch": number + 1, "rate": rate, "train_loss": loss, "train_accuracy": accuracy}
        if self.fabric.is_global_zero:
            row.update(self._validated(), seconds=time.monotonic() - started)
        # one process evaluates for all: batch statistics differ slightly, and all must stop after the same epoch
        self.history.append(self.fabric.broadcast(row))
        if self.recorder is not None:
            self.recorder.save(number)
        if self.fabric.is_global_zero:
            self._save(row)
        self.fabric.barrier()

    def _step(self, rows: Tensor, step: int) -> Tensor:
        """Take one step on this process' share of a batch; return its summed loss and number of right predictions.

        Processes share the recipe's batch, so that the learning rate fits any number of them. Batch normalisation sees
        a process' own share; a batch that is too small to share is used whole by each.
        """
        world, rank = self.fabric.world_size, self.fabric.global_rank
        is_shared = len(rows) >= 2 * world
        mine = rows[rank::world] if is_shared else rows
        if self.schedule is not None:
            self.schedule.step_update(step)
        summed = self._gradients(mine)
        self.optimiser.step()
        self.optimiser.zero_grad()
        if self.averaged is not None:
            self.averaged.update(self.network, step + 2)  # timm counts from 1 and is one behind
        return summed / (1 if is_shared else world)

    def _gradients(self, rows: Tensor) -> Tensor:
        """Accumulate a batch's gradients; return its summed loss and number of right predictions.

        The batch is divided into parts if the recipe or the memory of a graphics card requires it; batch normalisation
        sees one part at a time.
        """
        images = self.augment(as_input(self.fabric.to_device(self.images[rows])))
        given = self.fabric.to_device(self.targets[rows])
        weights = self.fabric.to_device(self.weights[rows])
        images, targets = (images, given) if self.mix is None else self.mix(images, given)
        self.in_step = len(rows)
        while True:
            number = math.ceil(len(rows) / self.at_once)
            try:
                parts = [torch.tensor_split(each, number) for each in (images, targets, weights)]
                logits, losses = map(torch.cat, zip(*map(self._gradient, *parts), strict=True))
                break
            except torch.OutOfMemoryError as error:
                self.optimiser.zero_grad()
                if self.at_once // 2 < SMALLEST_PART or self.fabric.world_size > 1:
                    raise FitError(
                        f"{min(len(rows), self.at_once)} images of {self.recipe.image_size} px do not fit into the "
                        f"memory of {self.fabric.device}: use a smaller --image-size, another backbone, or --device cpu"
                    ) from error
            # outside the handler, whose traceback keeps the memory allocated
            self.at_once = min(self.at_once, len(rows)) // 2
            if self.fabric.device.type == "cuda":
                torch.cuda.empty_cache()
        if self.recorder is not None:
            self.recorder.note(rows, logits)
        right = (logits.argmax(1) == given.argmax(1)).sum()
        return torch.stack([losses.sum(), right.float()])  # read once per epoch, so as not to wait for the card

    def _gradient(self, images: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Accumulate the gradient of one part; return logits, (n, classes), and losses, (n,)."""
        logits = self.wrapped(images)
        losses = weights * functional.cross_entropy(
            logits, targets, self.class_weights, reduction="none", label_smoothing=self.recipe.label_smoothing
        )
        self.fabric.backward(losses.sum() / self.in_step)
        return logits.detach(), losses.detach().float()

    def _kept(self) -> ExpressionNetwork:
        """Return the network to evaluate and keep: the running average if there is one."""
        return self.network if self.averaged is None else cast(ExpressionNetwork, self.averaged.module)

    def _validated(self) -> dict[str, float]:
        """Return loss and accuracy on the validation images, one view each; NaN without images."""
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
        """Write metrics, the weights if they are the best so far, and then the checkpoint."""
        numbers = {name: value for name, value in row.items() if not math.isnan(value)}
        self.fabric.log_dict(numbers, step=int(row["epoch"]))
        _write_csv(self.run_dir / METRICS_FILE, pd.DataFrame(self.history))
        if self.best_epoch() == len(self.history):
            save_weights(self._kept(), self.run_dir / WEIGHTS_FILE)
        if self.is_over():
            return  # nothing to resume, and a checkpoint of VGG16 has 1.6 GB
        state = {
            "network": self.network.state_dict(),
            "averaged": self.averaged.module.state_dict() if self.averaged is not None else {},
            "optimiser": self.optimiser.state_dict(),
            "history": self.history,
        }
        with replacing(self.run_dir / CHECKPOINT_FILE) as unfinished:
            torch.save(state, unfinished)

    def finish(self) -> FitResult:
        """Write the result, delete the checkpoint, and return the fit's result."""
        if self.fabric.is_global_zero:
            self.fabric.logger.finalize("success")
            seconds = sum(row["seconds"] for row in self.history)
            _write_result(self.run_dir, self.best_epoch(), seconds, str(self.fabric.device), self.at_once)
            (self.run_dir / CHECKPOINT_FILE).unlink(missing_ok=True)
        self.fabric.barrier()
        return _finished(self.run_dir, str(self.fabric.device))


def _configuration(
    train: Samples,
    validation: Samples,
    recipe: Recipe,
    seed: int,
    weights: str | None,
    provenance: Mapping[str, str] | None,
) -> dict[str, Any]:
    """Return the contents of config.json; all but ``threads`` and ``versions`` must agree to resume a run."""
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
        "versions": {"torch": torch.__version__, "lightning": version("lightning")},
    }


def _is_finished(run_dir: Path, config: Mapping[str, Any]) -> bool:
    """Return whether the folder holds exactly this fit, finished.

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
    """Return the number of threads of an interrupted run, None if unknown."""
    path = run_dir / CONFIG_FILE
    if not path.is_file():
        return None
    with refusing(path, "remove its folder to fit it again"):
        stored = read_json(path).get("threads")  # absent for a graphics card
        return None if stored is None else max(1, int(stored))


def _finished(run_dir: Path, device: str | None) -> FitResult:
    """Read a finished run's folder."""
    path = run_dir / RESULT_FILE
    history = read_csv(run_dir / METRICS_FILE, ["rate", "train_accuracy", "validation_accuracy"])
    with refusing(path, "remove its folder to fit it again"):
        result = read_json(path, ["best_epoch", "seconds"])
        best, seconds = int(result["best_epoch"]), float(result["seconds"])
        if not 1 <= best <= len(history):
            raise ValueError(f"epoch {best} is not in {METRICS_FILE}")
    return FitResult(run_dir, best, seconds, history, device)


def _write_result(run_dir: Path, best_epoch: int, seconds: float, device: str, at_once: int | None = None) -> None:
    """Record that a fit is finished, its device, and the hash of its weights."""
    result = {"best_epoch": best_epoch, "seconds": seconds, "weights_sha256": digest_of(run_dir / WEIGHTS_FILE)}
    result |= {"device": device} | ({} if at_once is None else {"batch_at_once": at_once})
    write_json(run_dir / RESULT_FILE, result)


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    """Replace a CSV file atomically."""
    with replacing(path) as unfinished:
        table.to_csv(unfinished, index=False)
