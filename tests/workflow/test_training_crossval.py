"""Folds keep copies together and classes apart evenly; out-of-fold runs resume and are cached."""

from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.needs import needs

torch = pytest.importorskip("torch")
needs("sklearn")

from curation.labels.scores import area_under_margin  # noqa: E402
from tests.workflow.test_training_fit import CLASSES, TINY, KilledError, drawn_faces, kill_at  # noqa: E402
from training.crossval import assign_folds, out_of_fold  # noqa: E402
from training.data import DataError  # noqa: E402
from training.dynamics import dynamics  # noqa: E402


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Return a folder of drawn faces and its frame; every third image is a copy of the one before it."""
    root = tmp_path_factory.mktemp("faces")
    images, labels = drawn_faces(90, 0)
    rows = []
    for number in range(90):
        source = number - 1 if number % 3 == 2 else number
        cv2.imwrite(str(root / f"{number}.png"), images[source])
        group = f"g{number // 3}" if number % 3 else ""
        rows.append({"path": f"{number}.png", "label": CLASSES[labels[source]], "split": "train", "group": group})
    return root, pd.DataFrame(rows)


@settings(max_examples=30, deadline=None)
@given(
    labels=st.lists(st.sampled_from("ab"), min_size=40, max_size=80),
    members=st.integers(1, 4),
    folds=st.integers(2, 5),
    seed=st.integers(0, 1000),
)
def test_groups_stay_in_one_fold_and_every_fold_has_its_share(labels, members, folds, seed):
    labels = [*labels, *"ab" * 10]
    groups = ["" if number % 2 else f"g{number // (2 * members)}" for number in range(len(labels))]
    fold = assign_folds(labels, groups, folds, seed)
    assert np.array_equal(fold, assign_folds(labels, groups, folds, seed))
    table = pd.DataFrame({"fold": fold, "group": groups, "label": labels})
    assert (table[table["group"] != ""].groupby("group")["fold"].nunique() == 1).all()
    assert set(fold) == set(range(folds))
    shares = table["fold"].value_counts(normalize=True)
    assert shares.max() - shares.min() < 0.15


def test_folds_are_stratified():
    labels = np.repeat([0, 1], [900, 90])
    fold = assign_folds(labels, [""] * 990, 3)
    assert np.bincount(fold[labels == 1]).tolist() == [30, 30, 30]


def test_a_class_with_fewer_images_than_folds_is_named():
    with pytest.raises(DataError, match="class b has 1"):
        assign_folds(["a", "a", "a", "b"], [""] * 4, 2)


def test_every_image_is_judged_by_a_model_that_has_seen_no_copy_of_it(faces, tmp_path):
    root, frame = faces
    table = out_of_fold(frame, root, TINY, tmp_path, folds=2, threads=1)
    assert table["path"].tolist() == frame["path"].tolist()
    assert list(table) == ["path", *CLASSES, "fold", "model"]
    assert table[list(CLASSES)].sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-5)
    copies = frame[frame["group"] != ""].assign(fold=table["fold"])
    assert (copies.groupby("group")["fold"].nunique() == 1).all()
    right = table[list(CLASSES)].idxmax(axis=1) == frame["label"]
    assert right.mean() > 0.7


def test_a_cached_run_is_read_and_another_key_is_not(faces, tmp_path):
    root, frame = faces
    first = out_of_fold(frame, root, TINY, tmp_path, key="one", folds=2, threads=1)
    again = out_of_fold(frame, root, TINY, tmp_path, key="one", folds=2, threads=1, report=kill_at(1))
    pd.testing.assert_frame_equal(first, again)
    with pytest.raises(KilledError):
        out_of_fold(frame, root, TINY, tmp_path, key="two", folds=2, threads=1, report=kill_at(1))


def test_a_killed_run_goes_on_fold_by_fold_and_ends_the_same(faces, tmp_path):
    root, frame = faces
    whole = out_of_fold(frame, root, TINY, tmp_path / "whole", folds=2, threads=1)
    with pytest.raises(KilledError):
        out_of_fold(frame, root, TINY, tmp_path / "torn", folds=2, threads=1, report=kill_at(11))
    steps = []
    resumed = out_of_fold(
        frame, root, TINY, tmp_path / "torn", folds=2, threads=1, report=lambda done, total: steps.append((done, total))
    )
    assert steps[0] == (10, 18) and steps[-1] == (18, 18)
    pd.testing.assert_frame_equal(whole, resumed)


def test_every_fold_records_how_it_learned_its_images_and_wrong_labels_resist(faces, tmp_path):
    root, frame = faces
    labels = frame["label"].map({name: place for place, name in enumerate(CLASSES)}).to_numpy(copy=True)
    wrong = np.isin(np.arange(len(frame)), [4, 31, 62])  # single images, no copies
    labels[wrong] = (labels[wrong] + 1) % len(CLASSES)
    spoilt = frame.assign(label=[CLASSES[label] for label in labels])
    table = out_of_fold(spoilt, root, TINY, tmp_path, folds=2, threads=1)
    areas = np.zeros(len(frame))
    for fit in dynamics(table, tmp_path):
        fold = set(table["fold"][fit.rows])
        assert len(fold) == 1 and fit.logits.shape == (TINY.epochs, len(fit.rows), len(CLASSES))
        assert np.isfinite(fit.logits).all()
        areas[fit.rows] = area_under_margin(labels[fit.rows], fit.logits)
    assert areas[wrong].max() < np.median(areas[~wrong])


def test_a_committee_is_the_mean_of_its_members_and_reuses_them(faces, tmp_path):
    root, frame = faces
    other = replace(TINY, name="other", learning_rate=TINY.learning_rate / 2)
    committee = replace(TINY, name="both", members=(TINY, other))
    first = out_of_fold(frame, root, TINY, tmp_path, folds=2, threads=1)
    steps = []
    both = out_of_fold(frame, root, committee, tmp_path, folds=2, threads=1, report=lambda *step: steps.append(step))
    assert steps[-1][0] == steps[-1][1] and len(steps) < steps[-1][1]
    second = out_of_fold(frame, root, committee, tmp_path, folds=2, threads=1, report=kill_at(1))
    pd.testing.assert_frame_equal(both, second)
    parts = [np.load(file) for file in sorted(tmp_path.glob("other-*/fold-0.npy"))]
    held_out = (both["fold"] == 0).to_numpy()
    expected = (first.loc[held_out, list(CLASSES)].to_numpy() + parts[0]) / 2
    assert both.loc[held_out, list(CLASSES)].to_numpy() == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
def test_two_processes_give_the_probabilities_of_one(faces, tmp_path):
    root, frame = faces
    one = out_of_fold(frame, root, TINY, tmp_path / "one", folds=2, threads=1)
    two = out_of_fold(frame, root, TINY, tmp_path / "two", folds=2, threads=1, workers=2)
    pd.testing.assert_frame_equal(one, two)
