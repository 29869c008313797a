"""Frames in, arrays out: what is decoded, what a target is, and what is refused."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from training.data import (
    DataError,
    balancing_weights,
    class_names,
    decode_grey,
    load_images,
    load_samples,
    targets_of,
    weights_of,
)

CLASSES = ("a", "b", "c")


def save(path, size, mode="L", value=100):
    Image.new(mode, size, value if mode == "L" else (value,) * 3).save(path)
    return path


def test_images_keep_their_own_size_up_to_the_largest_allowed(tmp_path):
    paths = [save(tmp_path / "1.png", (48, 48)), save(tmp_path / "2.png", (30, 40))]
    assert load_images(paths, 224).shape == (2, 48, 48)
    assert load_images(paths, 32).shape == (2, 32, 32)
    assert (load_images(paths, 224) == 100).all()


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.bmp"])
def test_colour_is_read_as_luminance_in_every_format(tmp_path, name):
    assert load_images([save(tmp_path / name, (8, 8), "RGB", 77)], 48) == pytest.approx(77, abs=2)


@pytest.mark.parametrize("content", [b"", b"not an image", None])
def test_an_unreadable_image_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "bad.jpg").write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.jpg"):
        load_images([tmp_path / "bad.jpg"], 48)


def test_samples_follow_the_rows_of_the_frame(tmp_path):
    frame = pd.DataFrame(
        {
            "path": ["1.png", "2.png", "3.png"],
            "label": ["b", "a", "b"],
            "weight": [1.0, 0.5, 0.0],
            "soft_label": ["", '{"a": 3, "b": 1}', ""],
        }
    )
    for value, name in enumerate(frame["path"]):
        save(tmp_path / name, (4, 4), value=value)
    samples = load_samples(frame, tmp_path, 48)
    assert samples.classes == ("a", "b")
    assert samples.images[:, 0, 0].tolist() == [0, 1, 2]
    assert samples.targets.tolist() == [[0, 1], [0.75, 0.25], [0, 1]]
    assert samples.weights.tolist() == [1, 0.5, 0]
    assert samples.take(np.array([2, 0])).images[:, 0, 0].tolist() == [2, 0]
    assert samples.labels.tolist() == [1, 0, 1]


@given(st.lists(st.dictionaries(st.sampled_from(CLASSES), st.floats(0.01, 100), min_size=1), min_size=1, max_size=8))
def test_soft_labels_become_probabilities_in_the_same_proportions(softs):
    frame = pd.DataFrame({"label": ["a"] * len(softs), "soft_label": [json.dumps(soft) for soft in softs]})
    targets = targets_of(frame, CLASSES)
    assert targets.sum(axis=1) == pytest.approx(1)
    for row, soft in zip(targets, softs, strict=True):
        total = sum(soft.values())
        assert row == pytest.approx([soft.get(name, 0) / total for name in CLASSES], abs=1e-5)


@pytest.mark.parametrize("soft", ['{"z": 1}', '{"a": -1}', '{"a": 0}', "[1]", "a", '{"a": "much"}', '{"a": NaN}'])
def test_a_soft_label_that_is_no_distribution_is_refused(soft):
    with pytest.raises(DataError, match="soft label"):
        targets_of(pd.DataFrame({"label": ["a"], "soft_label": [soft]}), CLASSES)


def test_an_unknown_label_is_refused():
    with pytest.raises(DataError, match="'z'"):
        targets_of(pd.DataFrame({"label": ["z"]}), CLASSES)


@pytest.mark.parametrize("weights", [[-1.0, 1], [np.nan, 1], [np.inf, 1], [0.0, 0]])
def test_weights_that_cannot_be_trained_with_are_refused(weights):
    with pytest.raises(DataError, match="weight"):
        weights_of(pd.DataFrame({"weight": weights}))


def test_one_class_is_not_enough():
    with pytest.raises(DataError, match="two classes"):
        class_names(pd.DataFrame({"label": ["a", "a"]}))


@given(st.lists(st.integers(0, 2), min_size=1, max_size=50))
def test_balancing_gives_every_present_class_the_same_total(labels):
    targets = np.eye(3, dtype=np.float32)[labels]
    weights = balancing_weights(targets)
    totals = (targets * weights).sum(axis=0)
    assert totals[totals > 0] == pytest.approx(len(labels) / 3, rel=1e-5)
    assert set(np.flatnonzero(weights)) == set(labels)


def test_deep_images_and_those_of_phones_are_read_as_the_same_picture(tmp_path):
    grey = np.tile(np.arange(0, 240, 4, dtype=np.uint16), (60, 1))
    Image.fromarray(grey.astype(np.uint8)).save(tmp_path / "plain.png")
    Image.fromarray(grey * 16).save(tmp_path / "twelve bits.png")
    Image.fromarray(grey * 257).save(tmp_path / "sixteen bits.tif")
    Image.fromarray((grey / 255).astype(np.float32)).save(tmp_path / "fractions.tif")
    plain = decode_grey(tmp_path / "plain.png").astype(int)
    for name in ("twelve bits.png", "sixteen bits.tif", "fractions.tif"):
        assert np.abs(decode_grey(tmp_path / name).astype(int) - plain).max() <= 1, name
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    Image.fromarray(grey.astype(np.uint8)).convert("RGB").save(tmp_path / "phone.heic", quality=95)
    assert np.abs(decode_grey(tmp_path / "phone.heic").astype(int) - plain).mean() < 4
