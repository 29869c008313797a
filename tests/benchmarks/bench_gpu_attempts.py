"""Attempts at better recipes on a graphics card, many fits at once, each step one CUDA graph on a stream of its own.

python -m tests.benchmarks.bench_gpu_attempts pack WORKSPACE FOLDER -o .gpu     here: a curated workspace, its images
python -m tests.benchmarks.bench_gpu_attempts run .gpu -o out --minutes 5       there, with this checkout
python -m tests.benchmarks.bench_gpu_attempts table out [out ...] --committees small-50-mixup+tf_lite0-112

The product's networks, weights, schedule and running average; its augmentation "strong" written anew, as its draws come
from the processor; batches of 64, the last one left out. That the two agree was measured: docs/benchmarks.md. With the
product's own fit a card waits for the processor (``bench_gpu_ladder``): 180 seconds a fit there, 5 to 15 here. The last
weights are judged once, by their mean over mirror images, and over shifts too; nothing is chosen on what is judged.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

SPLITS = ("train", "validation", "test")
SEEDS = (0, 1, 2)
FOLDS = 3
SITE = "site"
STRONG, HARDER = (0.08, 0.10, 10, 0.2, 0.3, 0.12, 0.4), (0.10, 0.15, 15, 0.3, 0.5, 0.12, 0.5)
"""Shift, zoom, degrees, light, share erased, smallest and largest side erased: ``training.augment``, and harder."""


@dataclass(frozen=True)
class Attempt:
    """What is fitted; the defaults are those of the recipe "fast"."""

    backbone: str
    side: int
    epochs: int
    rate: float = 1e-3
    smoothing: float = 0.05
    mixup: float = 0.0
    changes: tuple[float, ...] = STRONG
    sharpness: float = 0.0  # radius of sharpness-aware minimisation (Foret et al., 2021)
    teacher: str = ""  # attempts joined by +, whose answers out of fold are half of the target
    conflicts: bool = True  # train images whose copies carry other labels stay in
    folds: bool = False  # fit on two thirds of train, three times, to be a teacher


LITE0 = Attempt("timm:tf_efficientnet_lite0", 112, 8)
SMALL = Attempt("small", 48, 24, 3e-3)
TEACHERS = {
    "teacher-lite0": replace(LITE0, folds=True),
    "teacher-small": replace(SMALL, folds=True),
}
ATTEMPTS = {
    "mobilenetv2-96": Attempt("mobilenetv2", 96, 8),
    "mobilenetv2-96-12": Attempt("mobilenetv2", 96, 12),
    "small-24": SMALL,
    "small-24-sam": replace(SMALL, sharpness=0.05),
    "small-24-distilled": replace(SMALL, teacher="+".join(TEACHERS), smoothing=0.0),
    "small-50-mixup": replace(SMALL, epochs=50, mixup=0.2),
    "deep-32-mixup": replace(SMALL, backbone="small:64,128,256:2", epochs=32, mixup=0.2),
    "wide-32-mixup": replace(SMALL, backbone="small:96,192,384:1", epochs=32, mixup=0.2),
    "lite0-112": replace(LITE0, backbone="efficientnet_lite0"),
    "tf_lite0-112": LITE0,
    "tf_lite0-112-sam": replace(LITE0, sharpness=0.05),
    "tf_lite0-112-harder": replace(LITE0, changes=HARDER),
    "tf_lite0-112-no-conflicts": replace(LITE0, conflicts=False),
    "tf_lite0-112-distilled": replace(LITE0, teacher="+".join(TEACHERS), smoothing=0.0),
    "tf_lite0-160": replace(LITE0, side=160),
    "tf_lite2-160": replace(LITE0, backbone="timm:tf_efficientnet_lite2", side=160),
}
WAVES = (
    tuple(TEACHERS),
    ("tf_lite0-112", "tf_lite0-112-distilled", "small-24-distilled"),
    ("small-50-mixup", "deep-32-mixup", "wide-32-mixup"),
    ("tf_lite2-160",),
    ("tf_lite0-160", "tf_lite0-112-sam", "lite0-112"),
    ("small-24", "small-24-sam", "mobilenetv2-96", "mobilenetv2-96-12"),
    ("tf_lite0-112-harder", "tf_lite0-112-no-conflicts"),
)
"""What is fitted beside each other, the most telling first."""


def pack(workspace: Path, folder: Path, out: Path) -> None:
    """Write the images of a curated workspace with labels, splits, copies and folds, and the bundled weights."""
    import importlib.util

    import torch

    from curation.base.workspace import Workspace
    from curation.decisions import manifest
    from curation.models.runs import training_frame
    from training.backbones import _BUNDLES, read_state
    from training.crossval import assign_folds

    space = Workspace(workspace)
    rows = training_frame(space, manifest.find(space, "raw"))
    rows = rows[rows["split"].isin(SPLITS)].reset_index(drop=True)
    classes = sorted(set(rows["label"]))
    train = (rows["split"] == "train").to_numpy()
    fold = np.full(len(rows), -1)
    fold[train] = assign_folds(rows["label"][train], rows["group"][train], FOLDS, 0)
    blobs = [(folder / key).read_bytes() for key in rows["key"]]
    out.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        out / "faces.npz",
        bytes=np.frombuffer(b"".join(blobs), np.uint8),
        ends=np.cumsum([len(blob) for blob in blobs]),
        labels=rows["label"].map(classes.index).to_numpy(),
        splits=rows["split"].map(SPLITS.index).to_numpy(),
        groups=rows["group"].to_numpy(dtype=str),
        fold=fold,
        classes=np.array(classes),
    )
    for bundle in _BUNDLES.values():
        found = importlib.util.find_spec(bundle.package)
        if found is not None and found.origin is not None:
            file = out / SITE / bundle.package / bundle.file
            file.parent.mkdir(parents=True, exist_ok=True)
            (out / SITE / bundle.package / "__init__.py").touch()
            state = read_state(Path(found.origin).parent / bundle.file)
            torch.save({name: tensor.half() for name, tensor in state.items()}, file)


def _network(attempt: Attempt, classes: int, seed: int) -> Any:
    """Return the product's network, or a deeper or wider small one (small:WIDTHS:DEPTH)."""
    from itertools import pairwise

    import torch
    from torch import nn

    from training import networks
    from training.backbones import build
    from training.recipes import Recipe

    torch.manual_seed(seed)
    if not attempt.backbone.startswith("small:"):
        return build(Recipe("attempt", attempt.backbone, "strong", 1e-3, image_size=attempt.side), classes)
    widths = [int(width) for width in attempt.backbone.split(":")[1].split(",")]
    depth = int(attempt.backbone.split(":")[2])
    first = widths[0]
    layers = [nn.Conv2d(1, first // 2, 3, 1, 1, bias=False), nn.BatchNorm2d(first // 2), nn.ReLU(inplace=True)]
    layers += [nn.Conv2d(first // 2, first, 3, 2, 1, bias=False), nn.BatchNorm2d(first), nn.ReLU(inplace=True)]
    blocks: list[nn.Module] = [nn.Sequential(*layers)]
    for low, high, stride in ((first, first, 1), *((low, high, 2) for low, high in pairwise(widths))):
        deeper = [networks._Residual(high, high, 1) for _ in range(depth - 1)]
        blocks.append(nn.Sequential(networks._Residual(low, high, stride), *deeper))
    top = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(networks.SMALL_DROPOUT), nn.Linear(widths[-1], classes)]
    return networks.ExpressionNetwork(networks.StandardisedInput(attempt.side), blocks, nn.Sequential(*top), -1)


class Fit:
    """One network on its way through all its steps, of which each is one replayed graph."""

    def __init__(self, attempt: Attempt, seed: int, images: Any, targets: Any, device: Any) -> None:
        import torch

        self.attempt, self.seed, self.device = attempt, seed, device
        self.images, self.targets, self.batch, self.done = images, targets, min(64, len(images)), 0
        self.per = len(images) // self.batch
        self.steps = attempt.epochs * self.per
        rng = np.random.default_rng([seed, 7])
        order = [rng.permutation(len(images))[: self.per * self.batch] for _ in range(attempt.epochs)]
        self.order = torch.from_numpy(np.concatenate(order).reshape(self.steps, self.batch)).to(device)
        self.draws = torch.Generator(device=device).manual_seed(1000 + seed)
        self.net = _network(attempt, targets.shape[1], seed).to(device).to(memory_format=torch.channels_last).train()
        self.rates, self.decays = (torch.tensor(table, device=device) for table in self._tables())
        self.rate, self.step = self.rates[0].clone(), torch.zeros((), dtype=torch.long, device=device)
        parameters = [each for each in self.net.parameters() if each.requires_grad]
        decayed = [each for each in parameters if each.ndim > 1]
        self.parameters = decayed + [each for each in parameters if each.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": 0.05}]
        groups += [{"params": self.parameters[len(decayed) :], "weight_decay": 0.0}]
        is_cuda = device.type == "cuda"
        self.optimiser = torch.optim.AdamW(groups, lr=self.rate, capturable=is_cuda, fused=is_cuda)
        self.live = [each for each in self.net.state_dict().values() if each.is_floating_point()]
        self.average = [each.detach().clone() for each in self.live]
        self.uniform = torch.empty(self.per, 12, self.batch, device=device)
        self.mixed = torch.zeros(self.per, device=device)
        self.partner = torch.zeros(self.per, self.batch, dtype=torch.long, device=device)
        self.place = (torch.arange(images.shape[-1], device=device) + 0.5) / images.shape[-1]
        self.stream = torch.cuda.Stream() if is_cuda else None
        self.graph: Any = None

    def _tables(self) -> tuple[list[float], list[float]]:
        """Return the rate and the average's decay of each step, as ``training.fit`` has them."""
        peak, low = self.attempt.rate, 1e-3 * self.attempt.rate
        rise = max(1, round(0.2 * self.steps))
        fall = max(2, self.steps - rise)
        start = peak / (rise + 1)
        rates = [
            start + (peak - start) * step / rise
            if step < rise
            else low + 0.5 * (peak - low) * (1 + math.cos(math.pi * (step - rise) / fall))
            for step in range(self.steps)
        ]
        return rates, [min(0.995, 1 - 1 / (1 + (step + 1) / 9)) for step in range(self.steps)]

    def draw(self) -> None:
        """Draw all that an epoch is changed by."""
        import torch

        self.uniform.copy_(torch.rand(self.uniform.shape, generator=self.draws, device=self.device))
        if self.attempt.mixup:
            rng = np.random.default_rng([self.seed, 11, self.done])
            shares = rng.beta(self.attempt.mixup, self.attempt.mixup, self.per).astype(np.float32)
            self.mixed.copy_(torch.from_numpy(shares))
            partners = np.stack([rng.permutation(self.batch) for _ in range(self.per)])
            self.partner.copy_(torch.from_numpy(partners))

    def _changed(self, images: Any, uniform: Any) -> Any:
        import torch
        from torch.nn import functional

        shift, zoom, degrees, light, share, low, high = self.attempt.changes
        angle, size = (2 * uniform[0] - 1) * math.radians(degrees), 1 + (2 * uniform[1] - 1) * zoom
        mirror = 1 - 2 * (uniform[2] < 0.5).float()
        across, down = (2 * uniform[3:5] - 1) * 2 * shift
        cosine, sine = angle.cos() * size, angle.sin() * size
        rows = [torch.stack([cosine * mirror, -sine, across], 1), torch.stack([sine * mirror, cosine, down], 1)]
        grid = functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
        images = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
        contrast, brightness = ((2 * uniform[5:7] - 1) * light)[..., None, None, None]
        mean = images.mean((2, 3), keepdim=True)
        images = ((images - mean) * (1 + contrast) + mean + brightness).clamp(0, 1)
        half = (low + (high - low) * uniform[7:9]) / 2
        inside = (self.place - uniform[9:11, :, None]).abs() < half[..., None]
        mask = inside[0, :, :, None] & inside[1, :, None, :] & (uniform[11] < share)[:, None, None]
        return torch.where(mask[:, None], images.mean((2, 3), keepdim=True), images)

    def _loss(self, images: Any, targets: Any) -> Any:
        import torch
        from torch.nn import functional

        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda"):
            logits = self.net(images)
        return functional.cross_entropy(logits.float(), targets, label_smoothing=self.attempt.smoothing)

    def one(self) -> None:
        """Take one step; all that changes from step to step is read by the number of the step."""
        import torch

        now, within = self.step.view(1), (self.step % self.per).view(1)
        rows = self.order.index_select(0, now)[0]
        images = (self.images[rows][:, None].float() / 255).contiguous(memory_format=torch.channels_last)
        images, targets = self._changed(images, self.uniform.index_select(0, within)[0]), self.targets[rows]
        if self.attempt.mixup:
            share, other = self.mixed.index_select(0, within)[0], self.partner.index_select(0, within)[0]
            images = share * images + (1 - share) * images[other]
            targets = share * targets + (1 - share) * targets[other]
        self.rate.copy_(self.rates.index_select(0, now)[0])
        self.optimiser.zero_grad(set_to_none=False)
        self._loss(images, targets).backward()
        with torch.no_grad():
            if self.attempt.sharpness:
                self._sharpen(images, targets)
            self.optimiser.step()
            change = torch._foreach_sub(self.live, self.average)
            torch._foreach_mul_(change, 1 - self.decays.index_select(0, now)[0])
            torch._foreach_add_(self.average, change)
            self.step.add_(1)

    def _sharpen(self, images: Any, targets: Any) -> None:
        """Replace the gradient by that at the worst place near by."""
        import torch

        gradients = [each.grad for each in self.parameters]
        length = torch.stack(torch._foreach_norm(gradients)).norm() + 1e-12
        away = torch._foreach_mul(gradients, self.attempt.sharpness / length)
        torch._foreach_add_(self.parameters, away)
        self.optimiser.zero_grad(set_to_none=False)
        with torch.enable_grad():
            self._loss(images, targets).backward()
        torch._foreach_sub_(self.parameters, away)

    def capture(self) -> None:
        """Record a step, and begin anew."""
        import torch

        self.draw()
        if self.stream is None:
            return
        kept = {name: each.clone() for name, each in self.net.state_dict().items()}
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            for _ in range(3):
                self.one()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream):
            self.one()
        self.graph = graph
        self.net.load_state_dict(kept)
        with torch.no_grad():
            for mean, live in zip(self.average, self.live, strict=True):
                mean.copy_(live)
            for state in self.optimiser.state.values():
                for each in state.values():
                    each.zero_()
            self.step.zero_()
        torch.cuda.synchronize()

    def go(self, deadline: float) -> None:
        """Take all steps."""
        import torch

        while self.done < self.steps and time.time() < deadline:
            with torch.cuda.stream(self.stream):
                if self.done and self.done % self.per == 0:
                    self.draw()
                if self.graph is None:
                    self.one()
                else:
                    self.graph.replay()
            self.done += 1
            if self.stream is not None and self.done % 50 == 0:
                self.stream.synchronize()
        if self.stream is not None:
            self.stream.synchronize()

    def finished(self) -> Any:
        """Return the network with its averaged weights."""
        self.graph, state = None, self.net.state_dict()
        for live, mean in zip(self.live, self.average, strict=True):
            live.copy_(mean)
        self.net.load_state_dict(state)
        return self.net


class Lab:
    """The images, what was said of them, and what is left of the time."""

    def __init__(self, folder: Path, out: Path, minutes: float, images: int) -> None:
        import cv2
        import torch

        self.out, self.deadline, self.said = out, time.time() + 60 * minutes, dict[str, Any]()
        out.mkdir(parents=True, exist_ok=True)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        with np.load(folder / "faces.npz") as arrays:
            encoded = np.split(arrays["bytes"], arrays["ends"][:-1])
            names = ("labels", "splits", "groups", "fold", "classes")
            self.labels, self.splits, self.groups, self.fold, self.classes = (arrays[name] for name in names)
        self.used = np.random.default_rng(0).random(len(encoded)) < (images / len(encoded) if images else 1)
        faces = np.stack([cv2.imdecode(each, cv2.IMREAD_GRAYSCALE) for each in encoded])
        self.images = torch.from_numpy(faces).to(self.device)

    def parts(self, attempt: Attempt) -> list[tuple[Any, Any]]:
        """Return the rows to train on and those to judge, once or for each fold."""
        train = (self.splits == 0) & self.used
        if attempt.folds:
            return [(train & (self.fold != number), train & (self.fold == number)) for number in range(FOLDS)]
        if not attempt.conflicts:
            names = self.groups[train & (self.groups != "")]
            split = {name for name in set(names) if len(set(self.labels[train & (self.groups == name)])) > 1}
            train &= ~np.isin(self.groups, list(split))
        return [(train, (self.splits > 0) & self.used)]

    def targets(self, attempt: Attempt) -> Any:
        """Return the target of every row."""
        given = np.eye(len(self.classes), dtype=np.float32)[self.labels]
        if not attempt.teacher:
            return given
        taught = np.mean([self.said[f"{name}.0.plain"] for name in attempt.teacher.split("+")], axis=0)
        return (given + taught) / 2

    def wave(self, names: tuple[str, ...], seeds: tuple[int, ...]) -> None:
        """Fit attempts beside each other, judge them, and write what came out."""
        import torch

        started, fits = time.time(), []
        for name in names:
            attempt = (ATTEMPTS | TEACHERS)[name]
            targets = self.targets(attempt)
            for seed in seeds[:1] if attempt.folds else seeds:
                for train, judged in self.parts(attempt):
                    rows = torch.from_numpy(np.flatnonzero(train)).to(self.device)
                    given = torch.from_numpy(targets[train]).to(self.device)
                    fit = Fit(attempt, seed, self.images[rows], given, self.device)
                    fit.capture()
                    fits.append((name, fit, judged))
        threads = [threading.Thread(target=fit.go, args=(self.deadline,)) for _, fit, _ in fits]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = (time.time() - started) / max(1, len(fits))
        for name, fit, judged in fits:
            if fit.done == fit.steps:
                self.judge(f"{name}.{fit.seed}", fit, judged, seconds)
        np.savez(self.out / "said.npz", **self.said, labels=self.labels, splits=self.splits, classes=self.classes)

    def judge(self, key: str, fit: Fit, judged: Any, seconds: float) -> None:
        """Keep what a network says of the rows to judge, and a line about it."""
        for kind in ("plain", "shifted"):
            whole = self.said.setdefault(f"{key}.{kind}", np.zeros((len(self.labels), len(self.classes)), np.float32))
            whole[judged] = self.predicted(fit.finished(), judged, kind == "shifted")
        row = {"key": key, "seconds": round(seconds, 1), "device": str(self.device), **asdict(fit.attempt)}
        for number in (1, 2):
            mask = judged & (self.splits == number)
            if mask.any():
                right = self.said[f"{key}.plain"][mask].argmax(1) == self.labels[mask]
                row[SPLITS[number]] = round(float(right.mean()), 4)
        with (self.out / "attempts.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)

    def predicted(self, network: Any, judged: Any, shifted: bool) -> Any:
        """Return probabilities by the product's own views, several thousand images at once."""
        from training.model import predict

        return predict(network, self.images.cpu().numpy()[judged], mirror=True, shift=shifted)


def run(arguments: argparse.Namespace) -> None:
    """Run the waves that fit into the time."""
    sys.path.insert(0, str(arguments.data / SITE))
    import torch

    torch.set_float32_matmul_precision("high")
    lab = Lab(arguments.data, arguments.output, arguments.minutes, arguments.images)
    for names in WAVES:
        wanted = tuple(name for name in names if not arguments.only or name in arguments.only)
        if wanted and time.time() < lab.deadline:
            lab.wave(wanted, tuple(arguments.seeds))


def table(arguments: argparse.Namespace) -> None:
    """Print accuracy and F1 of attempts and committees, by the mean over views, means over their seeds."""
    from training.evaluate import confusion

    said: dict[str, Any] = {}
    for folder in arguments.folders:
        with np.load(folder / "said.npz") as arrays:
            said |= dict(arrays)
    names = [*ATTEMPTS, *arguments.committees]
    print("| attempt | seeds | view | validation | test | F1 |\n|---|---|---|---|---|---|")
    for name, kind in ((name, kind) for name in names for kind in ("plain", "shifted")):
        keys = [[f"{part}.{seed}.{kind}" for part in name.split("+")] for seed in SEEDS]
        means = [np.mean([said[key] for key in each], axis=0) for each in keys if all(key in said for key in each)]
        means = [np.mean(means, axis=0)] if arguments.pool and means else means
        found = []
        for probabilities, split in ((mean, split) for mean in means for split in (1, 2)):
            rows = said["splits"] == split
            called = probabilities[rows].argmax(1)
            cells = confusion(said["labels"][rows], called, len(said["classes"])).astype(float)
            found.append((cells.trace() / cells.sum(), 2 * cells.diagonal() / (cells.sum(0) + cells.sum(1))))
        if found:
            accuracy = [np.mean([each[0] for each in found[split::2]]) for split in (0, 1)]
            f1 = ", ".join(f"{value:.3f}" for value in np.mean([each[1] for each in found[::2]], axis=0))
            print(f"| {name} | {len(means)} | {kind} | {accuracy[0]:.4f} | {accuracy[1]:.4f} | {f1} |")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    packing = verbs.add_parser("pack")
    packing.add_argument("workspace", type=Path)
    packing.add_argument("folder", type=Path)
    packing.add_argument("-o", "--output", type=Path, default=Path(".gpu"))
    running = verbs.add_parser("run")
    running.add_argument("data", type=Path)
    running.add_argument("-o", "--output", type=Path, default=Path("attempts"))
    running.add_argument("--minutes", type=float, default=5.0)
    running.add_argument("--images", type=int, default=0, help="about so many in all; 0 = all")
    running.add_argument("--only", nargs="+", default=[], help="attempts, and teachers of those that are distilled")
    running.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    showing = verbs.add_parser("table")
    showing.add_argument("folders", type=Path, nargs="+")
    showing.add_argument("--committees", nargs="+", default=[], help="as small-50-mixup+tf_lite0-112")
    showing.add_argument("--pool", action="store_true", help="one committee of all seeds")
    arguments = parser.parse_args()
    if arguments.verb == "pack":
        pack(arguments.workspace, arguments.folder, arguments.output)
    else:
        {"run": run, "table": table}[arguments.verb](arguments)


if __name__ == "__main__":
    main()
