"""Fits on drawn faces: they learn, resume, repeat, and take weights, soft labels and two processes into account."""

import json
import os
import platform
import signal
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")

from training.data import DataError, Samples  # noqa: E402
from training.devices import (  # noqa: E402
    DeviceError,
    estimate_seconds,
    fastest_threads,
    find_device,
    keep_freed_memory,
)
from training.fit import FitError, fit, fit_samples, schedule  # noqa: E402
from training.model import load_model, predict  # noqa: E402
from training.recipes import Recipe  # noqa: E402

SIDE = 16
CLASSES = ("happy", "sad")
TINY = Recipe(
    "tiny", "small", "low", 3e-3, batch_size=16, image_size=SIDE, epochs=3, one_cycle=True, ema=0.9, flip_average=True
)


def drawn_faces(count, seed, side=SIDE):
    """Return mouths that curve up or down, with noise, and their classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    images = rng.integers(90, 130, (count, side, side)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        start, end = (10, 170) if label == 0 else (190, 350)
        cv2.ellipse(image, (side // 2, side // 2), (side // 4, side // 4), 0, start, end, 255, 2)
    return images, labels


def samples(count, seed=0):
    images, labels = drawn_faces(count, seed)
    return Samples(images, np.eye(2, dtype=np.float32)[labels], np.ones(count, np.float32), CLASSES)


def nothing():
    return samples(4).take(np.zeros(0, np.int64))


def weights_of(run_dir):
    return {name: value.numpy().copy() for name, value in load_model(run_dir).network.state_dict().items()}


def same(first, second):
    return all(np.array_equal(first[name], second[name]) for name in first)


class KilledError(RuntimeError):
    pass


def kill_at(step):
    def report(done, _total):
        if done == step:
            raise KilledError

    return report


def test_a_fit_learns_and_leaves_everything_that_describes_it(tmp_path):
    result = fit_samples(
        samples(160), samples(80, 1), replace(TINY, epochs=5), tmp_path, threads=1, provenance={"manifest": "abc"}
    )
    assert result.history["validation_accuracy"].iloc[-1] > 0.9
    assert result.best_epoch == 5 and len(result.history) == 5
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["provenance"] == {"manifest": "abc"} and config["weights"] == "none"
    assert config["images"] == {"train": 160, "validation": 80}
    assert (tmp_path / "metrics.csv").exists() and list((tmp_path / "tensorboard").glob("events*"))
    assert not list(tmp_path.glob("checkpoint*")) and not list(tmp_path.glob("*.partial"))
    model = result.model()
    images, labels = drawn_faces(80, 1)
    probabilities = model.probabilities(images)
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert (probabilities.argmax(1) == labels).mean() > 0.9
    one_view = predict(model.network, images).argmax(1) == labels
    assert one_view.mean() == result.history["validation_accuracy"].iloc[-1]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        fit_samples(samples(40), nothing(), replace(TINY, epochs=1), tmp_path / name, seed=seed, threads=1)
    assert same(weights_of(tmp_path / "a"), weights_of(tmp_path / "b"))
    assert not same(weights_of(tmp_path / "a"), weights_of(tmp_path / "c"))


@pytest.mark.parametrize("step", [1, 4, 8])
@pytest.mark.parametrize("patience", [None, 5])
def test_a_killed_fit_resumes_and_ends_with_the_weights_of_an_undisturbed_one(tmp_path, step, patience):
    recipe = replace(TINY, patience=patience, mixup=0.4)
    undisturbed = fit_samples(samples(48), samples(20, 1), recipe, tmp_path / "whole", threads=1)
    with pytest.raises(KilledError):
        fit_samples(samples(48), samples(20, 1), recipe, tmp_path / "torn", threads=1, report=kill_at(step))
    steps = []
    resumed = fit_samples(
        samples(48), samples(20, 1), recipe, tmp_path / "torn", threads=1, report=lambda done, _: steps.append(done)
    )
    assert steps[0] == 3 * ((step - 1) // 3) + 1
    assert same(weights_of(tmp_path / "whole"), weights_of(tmp_path / "torn"))
    columns = [name for name in undisturbed.history if name != "seconds"]
    pd.testing.assert_frame_equal(undisturbed.history[columns], resumed.history[columns])


def test_a_finished_fit_is_not_run_again_and_another_one_is_not_mixed_with_it(tmp_path):
    recipe = replace(TINY, epochs=1)
    fit_samples(samples(20), nothing(), recipe, tmp_path, threads=1)
    fit_samples(samples(20), nothing(), recipe, tmp_path, threads=1, report=kill_at(1))
    with pytest.raises(FitError, match="another recipe"):
        fit_samples(samples(20), nothing(), TINY, tmp_path, threads=1)
    with pytest.raises(FitError, match="another fingerprints"):
        fit_samples(samples(20, 9), nothing(), recipe, tmp_path, threads=1)


def test_patience_stops_early_and_keeps_the_best_epoch(tmp_path):
    shuffled = samples(40, 1)
    noise = Samples(shuffled.images, shuffled.targets[::-1].copy(), shuffled.weights, CLASSES)
    result = fit_samples(samples(40), noise, replace(TINY, epochs=20, patience=2, ema=0), tmp_path, threads=1)
    accuracies = result.history["validation_accuracy"]
    assert len(result.history) == result.best_epoch + 2 < 20
    assert accuracies[result.best_epoch - 1] == accuracies.max()
    kept = predict(result.model().network, noise.images).argmax(1) == noise.labels
    assert kept.mean() == pytest.approx(accuracies.max())


def test_images_of_weight_zero_teach_nothing(tmp_path):
    clean, wrong = samples(96), samples(96, 5)
    wrong = Samples(wrong.images, wrong.targets[:, ::-1].copy(), np.zeros(96, np.float32), CLASSES)
    joined = Samples(
        *(np.concatenate([getattr(clean, name), getattr(wrong, name)]) for name in ("images", "targets", "weights")),
        CLASSES,
    )
    result = fit_samples(joined, samples(80, 2), replace(TINY, epochs=6), tmp_path, threads=1)
    assert result.history["validation_accuracy"].iloc[-1] > 0.9


def test_soft_labels_are_learned_as_probabilities(tmp_path):
    given = samples(96)
    soft = Samples(given.images, np.full((96, 2), [0.8, 0.2], np.float32), given.weights, CLASSES)
    result = fit_samples(soft, nothing(), replace(TINY, epochs=6), tmp_path, threads=1)
    assert result.model().probabilities(given.images).mean(0) == pytest.approx([0.8, 0.2], abs=0.08)


@pytest.mark.parametrize("steps", [1, 2, 10, 1000])
def test_the_cycle_rises_to_the_peak_and_falls(steps):
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], TINY.learning_rate)
    cycle, rates = schedule(optimiser, TINY, steps), []
    for step in range(steps):
        cycle.step_update(step)
        rates.append(optimiser.param_groups[0]["lr"])
    top = rates.index(max(rates))
    assert min(rates) > 0 and max(rates) <= TINY.learning_rate
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert schedule(optimiser, replace(TINY, one_cycle=False), steps) is None


def test_a_device_that_is_not_here_is_named_with_those_that_are():
    assert find_device("cpu").type == "cpu"
    with pytest.raises(DeviceError, match="use auto or one of cpu"):
        find_device("cuda:77")


def crowded(monkeypatch, room):
    """Have the network run out of memory beyond ``room`` images at once while it trains."""
    from training.networks import ExpressionNetwork

    plain, seen = ExpressionNetwork.forward, []

    def forward(self, images):
        if self.training and len(images) > room:
            raise torch.OutOfMemoryError("not enough room")
        seen.append(len(images))
        return plain(self, images)

    monkeypatch.setattr(ExpressionNetwork, "forward", forward)
    return seen


def test_a_batch_that_does_not_fit_is_taken_in_parts_that_learn_as_well(tmp_path, monkeypatch):
    seen = crowded(monkeypatch, 5)
    result = fit_samples(samples(96), samples(48, 1), TINY, tmp_path, threads=1)
    assert result.history["validation_accuracy"].iloc[-1] > 0.8
    assert json.loads((tmp_path / "result.json").read_text())["batch_at_once"] == 4
    assert 4 in seen


def test_memory_for_not_even_two_images_is_one_sentence(tmp_path, monkeypatch):
    crowded(monkeypatch, 1)
    with pytest.raises(FitError, match=r"--image-size.*--device cpu"):
        fit_samples(samples(32), nothing(), TINY, tmp_path, threads=1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no graphics card here")
@pytest.mark.parametrize("order", [("cpu", "cuda"), ("cuda", "cpu")])
def test_a_fit_begun_on_one_device_goes_on_on_another(tmp_path, order):
    with pytest.raises(KilledError):
        fit_samples(samples(96), samples(48, 1), TINY, tmp_path, device=order[0], report=kill_at(9))
    result = fit_samples(samples(96), samples(48, 1), TINY, tmp_path, device=order[1])
    assert len(result.history) == TINY.epochs and result.history["validation_accuracy"].iloc[-1] > 0.8


def test_a_frame_is_fitted_by_its_splits_and_classes(tmp_path):
    images, labels = drawn_faces(60, 0)
    rows = []
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        cv2.imwrite(str(tmp_path / f"{number}.png"), image)
        split = ("train", "train", "validation", "test")[number % 4]
        rows.append({"path": f"{number}.png", "label": CLASSES[label], "split": split, "weight": 1.0, "soft_label": ""})
    result = fit(pd.DataFrame(rows), tmp_path, replace(TINY, epochs=1), tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["images"] == {"train": 30, "validation": 15} and config["classes"] == list(CLASSES)
    assert config["threads"] >= 1 and result.model().classes == CLASSES


def test_too_little_data_is_refused(tmp_path):
    with pytest.raises(DataError, match="two training images"):
        fit_samples(samples(1), nothing(), TINY, tmp_path)


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(DataError, match="no trained model"):
        load_model(tmp_path)


def test_the_measured_number_of_threads_is_one_or_all_and_is_left_as_it_was():
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(SIDE * SIDE, 2))
    before = torch.get_num_threads()
    assert fastest_threads(network, samples(4), TINY) >= 1
    assert torch.get_num_threads() == before


def committee():
    members = (replace(TINY, name="one", epochs=2), replace(TINY, name="two", epochs=1, learning_rate=1e-3))
    return replace(TINY, name="both", members=members, flip_average=False)


def test_members_are_fitted_one_by_one_and_their_probabilities_averaged(tmp_path):
    steps = []
    result = fit_samples(
        samples(40), samples(20, 1), committee(), tmp_path, threads=1, report=lambda *step: steps.append(step)
    )
    assert steps == [(number, 9) for number in range(1, 10)]
    assert result.history["member"].tolist() == [0, 0, 1]
    images = drawn_faces(10, 4)[0]
    alone = [predict(load_model(tmp_path / f"member-{number}").network, images) for number in (0, 1)]
    assert not np.allclose(*alone, atol=1e-3)
    assert result.model().probabilities(images) == pytest.approx(np.mean(alone, axis=0), abs=1e-5)
    assert result.model().recipe == committee()


def test_a_killed_fit_of_members_goes_on_with_the_member_it_was_at(tmp_path):
    fit_samples(samples(40), nothing(), committee(), tmp_path / "whole", threads=1)
    with pytest.raises(KilledError):
        fit_samples(samples(40), nothing(), committee(), tmp_path / "torn", threads=1, report=kill_at(8))
    steps = []
    fit_samples(
        samples(40), nothing(), committee(), tmp_path / "torn", threads=1, report=lambda done, _: steps.append(done)
    )
    assert steps == [7, 8, 9]
    assert same(weights_of(tmp_path / "whole"), weights_of(tmp_path / "torn"))


def test_an_estimate_grows_with_images_and_epochs():
    short = estimate_seconds(replace(TINY, epochs=1), 160, SIDE)
    assert 0 < short < estimate_seconds(replace(TINY, epochs=10), 1600, SIDE)


def test_a_batch_in_parts_takes_the_same_steps_and_learns_as_well(tmp_path):
    whole = replace(TINY, backbone="vgg16", batch_size=8, epochs=1, ema=0.0, image_size=32, extra_dense=False)
    faces = samples(24)
    first, second = (
        fit_samples(faces, nothing(), recipe, tmp_path / str(place), weights="none", threads=1)
        for place, recipe in enumerate((whole, replace(whole, micro_batch=3)))
    )
    # without batch normalisation the sum over parts is the batch's gradient
    assert first.history["train_loss"].iloc[0] == pytest.approx(second.history["train_loss"].iloc[0], rel=0.05)
    learned = fit_samples(samples(200), nothing(), replace(TINY, micro_batch=5), tmp_path / "tiny", threads=1)
    test = samples(100, seed=1)
    assert (learned.model().probabilities(test.images).argmax(1) == test.labels).mean() > 0.9


def test_class_weights_undo_the_shares_of_the_classes(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (88, SIDE, SIDE)).astype(np.uint8)
    labels = np.repeat([0, 1], [80, 8])
    noise = Samples(images, np.eye(2, dtype=np.float32)[labels], np.ones(88, np.float32), CLASSES)
    shares = []
    for weighted in (False, True):
        recipe = replace(TINY, epochs=6, ema=0, class_weights=weighted)
        run = fit_samples(noise, nothing(), recipe, tmp_path / str(weighted), threads=1)
        unseen = np.random.default_rng(1).integers(0, 256, (40, SIDE, SIDE)).astype(np.uint8)
        shares.append(run.model().probabilities(unseen)[:, 1].mean())
    assert shares[0] + 0.1 < shares[1] < 0.65


def test_keeping_freed_memory_never_fails_and_takes_effect_with_glibc():
    assert keep_freed_memory() == (platform.libc_ver()[0] == "glibc")


TWO_WORKERS = """
import sys
from pathlib import Path
from tests.workflow.test_training_fit import committee_of_two, samples
from training.fit import fit_samples
fit_samples(samples(160), samples(80, 1), committee_of_two(), Path(sys.argv[1]), threads=1)
"""


def committee_of_two():
    """Return a recipe that stops early and one that does not, fitted one after the other."""
    members = (replace(TINY, name="watched", epochs=5, patience=2), replace(TINY, name="plain", epochs=2))
    return replace(TINY, name="both", members=members)


def ours(root):
    """Return the environment of a process that runs this checkout on one thread."""
    return {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_two_local_workers_end_with_the_metrics_of_one_within_noise(tmp_path, repository_root):
    script = tmp_path / "two.py"
    script.write_text(TWO_WORKERS)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, str(script), str(tmp_path / "two")],
        cwd=repository_root,
        env=ours(repository_root),
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    alone = fit_samples(samples(160), samples(80, 1), committee_of_two(), tmp_path / "one", threads=1)
    together = pd.read_csv(tmp_path / "two" / "metrics.csv")
    for metric, noise in (("validation_accuracy", 0.1), ("train_accuracy", 0.1), ("train_loss", 0.1)):
        last = [table.groupby("member")[metric].last() for table in (together, alone.history)]
        assert (last[0] - last[1]).abs().max() < noise, metric
    assert together.groupby("member")["rate"].last().tolist() == alone.history.groupby("member")["rate"].last().tolist()
    unseen, labels = drawn_faces(80, 2)
    for run in (tmp_path / "one", tmp_path / "two"):
        assert (load_model(run).probabilities(unseen).argmax(1) == labels).mean() > 0.85


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from tests.workflow.test_training_fit import TINY, nothing, samples
from training.fit import fit_samples

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def torn(state, path):
    whole(state, path)
    os.truncate(path, os.path.getsize(path) // 2)
    die()

whole = torch.save
if sys.argv[2] == "saving":
    saved = []
    torch.save = lambda state, path: torn(state, path) if saved else saved.append(whole(state, path))
fit_samples(
    samples(48), nothing(), TINY, Path(sys.argv[1]), threads=1,
    report=lambda done, _: die() if sys.argv[2] == str(done) else None,
)
"""


@pytest.mark.slow
def test_a_fit_killed_while_saving_and_again_in_an_epoch_ends_with_the_undisturbed_weights(tmp_path, repository_root):
    whole = fit_samples(samples(48), nothing(), TINY, tmp_path / "whole", threads=1)
    script, torn = tmp_path / "killed.py", tmp_path / "torn"
    script.write_text(KILLED)
    for moment in ("saving", "8"):  # half of the second checkpoint is written; in the third epoch
        done = subprocess.run(
            [sys.executable, str(script), str(torn), moment],
            cwd=repository_root,
            env=ours(repository_root),
            check=False,
            capture_output=True,
            timeout=600,
        )
        assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
        assert not (torn / "result.json").exists() and (torn / "checkpoint.pt").exists()
    resumed = fit_samples(samples(48), nothing(), TINY, torn, threads=1)
    assert same(weights_of(tmp_path / "whole"), weights_of(torn))
    assert resumed.history["train_loss"].tolist() == whole.history["train_loss"].tolist()
    assert not list(torn.glob("*.partial")) and not (torn / "checkpoint.pt").exists()


@pytest.fixture
def repository_root(request):
    return request.config.rootpath
