"""Does a selection train as well? A small head on a workspace's embeddings: bench_selection_head.py WORKSPACE [SEEDS].

Minutes where ``curate compare VERSION --subsets`` takes hours: the network's features stay as they are. The workspace
is curated with ``--labels fast --embed``. Every arm makes equally many steps and is judged on validation images without
a copy in train. ``train alone`` has its P(wrong) from heads on folds of the train images: they saw no other label.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import functional

from curation.base import settings
from curation.base.workspace import Workspace, read_images
from curation.decisions import manifest
from curation.models.runs import training_frame
from curation.pipeline import challenges, selection
from curation.pipeline.subsets import ease_of_learning, of_each_class
from training.compare import difference_interval

STEPS, BATCH, HIDDEN, RATE = 1500, 64, 256, 1e-3
FOLDS = 3


def learned(points: np.ndarray, labels: np.ndarray, seed: int) -> torch.nn.Module:
    """Return a head with one hidden layer, learned in ``STEPS`` steps."""
    torch.manual_seed(seed)
    head = torch.nn.Sequential(
        torch.nn.Linear(points.shape[1], HIDDEN),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.3),
        torch.nn.Linear(HIDDEN, int(labels.max()) + 1),
    )
    optimiser = torch.optim.AdamW(head.parameters(), RATE, weight_decay=0.05)
    rng, given, wanted = np.random.default_rng(seed), torch.from_numpy(points), torch.from_numpy(labels)
    for step in range(STEPS):
        rows = rng.choice(len(points), BATCH)
        loss = functional.cross_entropy(head(given[rows]), wanted[rows], label_smoothing=0.05)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        optimiser.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
    return head.eval()


def main() -> None:
    """Print the accuracy of every arm and share, and paired differences in points with 95 % intervals."""
    torch.set_num_threads(1)
    workspace, seeds = Workspace(Path(sys.argv[1])), int(sys.argv[2]) if len(sys.argv) > 2 else 3
    now, version = settings.of_workspace(workspace), manifest.find(workspace, "cleaned")
    pool, stored = selection.candidates(workspace, version, "train", now), challenges.embeddings(workspace, now)
    frame = training_frame(workspace, version)
    seen = set(frame.loc[frame["split"] == "train", "group"]) - {""}
    judged = frame[(frame["split"] == "validation") & ~frame["group"].isin(seen)]
    hashes = read_images(workspace).set_index("path")["sha256"]
    here = stored.known(pool.frame["sha256"].tolist()).embedding.astype(np.float32)
    there = stored.known(hashes[judged["key"]].tolist()).embedding.astype(np.float32)
    middle, scale = here.mean(axis=0), here.std(axis=0) + 1e-3
    here, there = (here - middle) / scale, (there - middle) / scale
    classes = sorted(set(pool.frame["label"]))
    labels, wanted = (pd.Categorical(one["label"], classes).codes.astype(np.int64) for one in (pool.frame, judged))
    number, axes = len(labels), pd.DataFrame(index=pd.Index(pool.frame["path"]))

    fold, own = np.random.default_rng(9).integers(0, FOLDS, number), np.zeros(number)
    for part in range(FOLDS):
        held = fold == part
        head = learned(here[~held], labels[~held], part)
        with torch.inference_mode():
            said = head(torch.from_numpy(here[held])).softmax(1).numpy()
        own[held] = said[np.arange(held.sum()), labels[held]]

    def chosen(how: selection.How, right: object) -> Callable[[float, int], np.ndarray]:
        among = replace(pool, frame=pool.frame.assign(right=right))
        return lambda share, seed: selection.choose(among, round(share * number), how, (), axes)

    right = pool.frame["right"]
    ways: dict[str, Callable[[float, int], np.ndarray]] = {
        "random": lambda share, seed: of_each_class(pool, np.random.default_rng(seed).random(number), share),
        "selected": chosen("diverse", right),
        "hardest": lambda share, seed: of_each_class(pool, ease_of_learning(pool), share),
        "typical": chosen("typical", right),
        "labels not judged": chosen("diverse", 1.0),
        "train alone": chosen("diverse", own),
    }
    found: dict[tuple[str, float], list[np.ndarray]] = {}
    arms = [("whole", 1.0), *((how, share) for share in (0.25, 0.5, 0.1) for how in ways)]
    for how, share in arms:
        for seed in range(seeds):
            rows = np.arange(number) if how == "whole" else ways[how](share, seed)
            head = learned(here[rows], labels[rows], seed)
            with torch.inference_mode():
                said = head(torch.from_numpy(there)).argmax(1).numpy()
            found.setdefault((how, share), []).append(said == wanted)
        line = f"{how} {share}: {np.mean(found[how, share]):.4f}"
        for base in [("random", share), ("whole", 1.0)]:
            if base in found and base != (how, share):
                gain, low, high = (100 * one for one in difference_interval(found[base], found[how, share]))
                line += f"; - {base[0]} {gain:+.1f} ({low:+.1f} to {high:+.1f})"
        print(f"{line}   [{time.process_time():.0f} CPU s]", flush=True)


if __name__ == "__main__":
    main()
