"""The ladder climbs every version under a budget, says so, and goes on where it stopped; versions are compared."""

import shutil

import cv2
import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")

from dataclasses import replace  # noqa: E402

from tests.workflow.test_training_fit import CLASSES, TINY, drawn_faces  # noqa: E402
from training.compare import CONTROL, FIRST, SECOND, compare_versions, difference_interval  # noqa: E402
from training.data import DataError  # noqa: E402
from training.ladder import Budget, budgeted, run_ladder  # noqa: E402
from training.recipes import deck_backbones, deck_recipe  # noqa: E402

VERSIONS = 12


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Return a folder of drawn faces and its frame with the three splits."""
    root = tmp_path_factory.mktemp("faces")
    images, labels = drawn_faces(240, 0)
    rows = []
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        cv2.imwrite(str(root / f"{number}.png"), image)
        split = ("train", "train", "validation", "test")[number % 4]
        rows.append({"path": f"{number}.png", "label": CLASSES[label], "split": split})
    return root, pd.DataFrame(rows)


def test_a_ladder_reports_each_recipe_with_its_budget(faces, tmp_path):
    root, frame = faces
    recipes = [replace(TINY, name=f"small/{version}") for version in (0, 1)]
    budget = Budget(images=60, epochs=2)
    table = run_ladder(frame, root, recipes, tmp_path, budget=budget, threads=1)
    assert table["recipe"].tolist() == ["small/0", "small/1"]
    assert table["version"].tolist() == ["0", "1"]
    assert (table["budget"] == "images 60, epochs 2").all() and (table["epochs"] == 2).all()
    assert (table["train_images"] + table["validation_images"] == 60).all()
    assert table["validation_accuracy"].between(table["low"], table["high"]).all()
    assert {"train_accuracy", "macro_f1", "f1_happy", "f1_sad", "seconds"} <= set(table)


def test_what_is_done_is_skipped(faces, tmp_path):
    root, frame = faces
    steps = []
    budget = Budget(images=40, epochs=1)
    first = run_ladder(frame, root, [TINY], tmp_path, budget=budget, threads=1)
    both = [TINY, replace(TINY, name="other")]
    again = run_ladder(
        frame, root, both, tmp_path, budget=budget, threads=1, announce=lambda name, done, total: steps.append(name)
    )
    assert set(steps) == {"other"}
    pd.testing.assert_frame_equal(first, again.iloc[:1])


def test_a_backbone_without_weights_is_a_note_and_the_others_are_run(faces, tmp_path, monkeypatch):
    monkeypatch.setattr("training.backbones.is_reachable", lambda _url: False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    root, frame = faces
    table = run_ladder(frame, root, [deck_recipe("resnet50v2", 0), TINY], tmp_path, budget=Budget(40, 1, 32), threads=1)
    assert "--weights none" in table["note"][0] and np.isnan(table["validation_accuracy"][0])
    assert table["note"][1] == "" and table["validation_accuracy"][1] > 0


def test_a_budget_keeps_the_shares_of_splits_and_classes():
    frame = pd.DataFrame({"split": ["train"] * 80 + ["validation"] * 20, "label": (["a"] * 3 + ["b"]) * 25})
    part = budgeted(frame, 20, seed=1)
    assert part.groupby(["split", "label"]).size().to_dict() == {
        ("train", "a"): 12,
        ("train", "b"): 4,
        ("validation", "a"): 3,
        ("validation", "b"): 1,
    }
    assert part.index.is_monotonic_increasing
    assert budgeted(frame, 20, seed=1).equals(part) and not budgeted(frame, 20, seed=2).equals(part)
    assert budgeted(frame, None) is frame and budgeted(frame, 1000) is frame
    assert str(Budget()) == "full"


@pytest.mark.slow
@pytest.mark.parametrize("backbone", deck_backbones())
def test_the_deck_s_ladder_runs_end_to_end_under_a_small_budget(faces, tmp_path, backbone):
    root, frame = faces
    recipes = [deck_recipe(backbone, version) for version in range(VERSIONS)]
    budget = Budget(images=24, epochs=1, image_size=32)
    table = run_ladder(frame, root, recipes, tmp_path, budget=budget, weights="none", threads=1)
    assert table["recipe"].tolist() == [f"{backbone}/{version}" for version in range(VERSIONS)]
    assert (table["note"] == "").all() and table["validation_accuracy"].between(0, 1).all()
    shutil.rmtree(tmp_path)  # the weights of twelve VGG16 are 2 GB


def test_removing_wrong_labels_helps_and_removing_as_many_at_random_does_not(faces, tmp_path):
    root, frame = faces
    flipped = frame.assign(status="kept")
    wrong = frame.index[(frame["split"] == "train") & (frame["label"] == "happy")][:40]
    flipped.loc[wrong, "label"] = "sad"
    cleaned = flipped.copy()
    cleaned.loc[wrong, "status"] = "excluded"
    evaluations = {"test": frame[frame["split"] == "test"]}
    found = compare_versions(
        flipped, cleaned, evaluations, root, replace(TINY, epochs=6), tmp_path, seeds=(0, 1), threads=1
    )
    means = found.accuracies.groupby("arm")["accuracy"].mean()
    assert means[SECOND] > means[FIRST] + 0.05 and means[SECOND] > means[CONTROL] + 0.05
    sizes = found.accuracies.groupby("arm")["images"].first()
    assert sizes[CONTROL] == sizes[SECOND] == sizes[FIRST] - 40
    table = found.differences.set_index("contrast")
    assert table.loc["B - A", "excludes_zero"] and table.loc["B - A", "low"] > 0
    assert set(table.index) == {"B - A", "A - control", "B - control"} and (table["seeds"] == 2).all()

    shared = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/result.json")}
    compare_versions(flipped, flipped, evaluations, root, replace(TINY, epochs=6), tmp_path, seeds=(0, 1), threads=1)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/result.json")} == shared  # A was fitted before


def test_evaluating_on_training_images_is_refused(faces, tmp_path):
    root, frame = faces
    with pytest.raises(DataError, match=r"holds 120 training images, 0\.png first"):
        compare_versions(frame, frame, {"all": frame}, root, TINY, tmp_path)
    with pytest.raises(DataError, match="no images"):
        compare_versions(frame, frame, {"none": frame.iloc[:0]}, root, TINY, tmp_path)


def test_equal_answers_differ_by_nothing_and_more_images_narrow_the_interval():
    rng = np.random.default_rng(0)
    widths = []
    for count in (100, 1600):
        first = rng.random((3, count)) < 0.7
        second = first | (rng.random((3, count)) < 0.2)
        assert difference_interval(list(first), list(first), replicates=50) == (0, 0, 0)
        mean, low, high = difference_interval(list(first), list(second))
        assert low < mean < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2
