"""Runs of models that are torn, of other versions, of other bytes or of no numbers: one sentence, never a success."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file  # noqa: E402

from tests.workflow.test_training_fit import TINY, nothing, samples  # noqa: E402
from training.backbones import WeightsError, build  # noqa: E402
from training.crossval import assign_folds, out_of_fold  # noqa: E402
from training.data import RESERVED, DataError, class_names, load_images  # noqa: E402
from training.fit import FitError, fit_samples  # noqa: E402
from training.model import load_model, predict_files  # noqa: E402
from training.recipes import Recipe, UnknownRecipeError  # noqa: E402

FILES = ("config.json", "result.json", "metrics.csv", "model.safetensors")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "tiny"
    fit_samples(samples(24), nothing(), replace(TINY, epochs=1), folder, threads=1)
    return folder


def copy_of(run: Path, folder: Path) -> Path:
    folder.mkdir()
    for name in FILES:
        (folder / name).write_bytes((run / name).read_bytes())
    return folder


def use(run: Path) -> None:
    """Load the model and take the fit for finished, as ``evaluate`` and ``train`` do."""
    load_model(run)
    fit_samples(samples(24), nothing(), replace(TINY, epochs=1), run, threads=1)


def test_a_whole_run_is_used(fitted: Path, tmp_path: Path) -> None:
    use(copy_of(fitted, tmp_path / "run"))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["empty", "half", "noise", "one bit"])
def test_a_torn_file_of_a_run_is_one_sentence(fitted: Path, tmp_path: Path, name: str, how: str) -> None:
    run = copy_of(fitted, tmp_path / "run")
    data = (run / name).read_bytes()
    half = data[: len(data) // 2]
    changed = data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]
    (run / name).write_bytes({"empty": b"", "half": half, "noise": b"\x80\xff\0" * 40, "one bit": changed}[how])
    if how == "one bit" and name != "model.safetensors":
        return  # a digit may be another digit
    with pytest.raises((DataError, FitError, WeightsError)) as caught:
        use(run)
    assert "\n" not in str(caught.value) and "remove" in str(caught.value)


def test_a_recipe_of_another_version_is_told(fitted: Path, tmp_path: Path) -> None:
    plain = TINY.as_dict()
    assert Recipe.from_dict(plain) == TINY
    assert Recipe.from_dict({k: v for k, v in plain.items() if k not in ("members", "mixup")}) == TINY
    for change, words in (
        ({"quantum": 1}, "quantum is not a setting"),
        ({"backbone": "vit"}, "no backbone"),
        ({"image_size": "large"}, "image_size"),
        ({"image_size": 0}, "image_size is 0"),
        ({"members": [7]}, "damaged"),
    ):
        with pytest.raises(UnknownRecipeError, match=words):
            Recipe.from_dict({**plain, **change})
    run = copy_of(fitted, tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "recipe": {**config["recipe"], "quantum": 1}}))
    with pytest.raises(DataError, match="quantum is not a setting"):
        load_model(run)


def test_weights_that_are_half_or_no_numbers_start_no_fit(fitted: Path, tmp_path: Path) -> None:
    whole = load_file(fitted / "model.safetensors")
    place = tmp_path / "start.safetensors"
    broken = {
        "half of the tensors": dict(list(whole.items())[: len(whole) // 2]),
        "no head": {name: value for name, value in whole.items() if not name.startswith("head")},
        "other names": {f"x.{name}": value for name, value in whole.items()},
        "NaN": {name: value.float() * float("nan") for name, value in whole.items()},
    }
    for tensors in broken.values():
        save_file(tensors, place)
        with pytest.raises(WeightsError):
            build(TINY, 2, str(place))
    place.write_bytes((fitted / "model.safetensors").read_bytes()[:-100])
    with pytest.raises(WeightsError):
        build(TINY, 2, str(place))
    save_file(whole, place)
    build(TINY, 2, str(place))


def test_a_loss_that_is_no_number_ends_the_fit(tmp_path: Path) -> None:
    broken = samples(24)
    broken.targets[3] = np.nan
    with pytest.raises(FitError, match=r"loss is nan in epoch 1.*lower the learning rate"):
        fit_samples(broken, nothing(), TINY, tmp_path / "run", threads=1)
    assert not (tmp_path / "run" / "result.json").exists() and not (tmp_path / "run" / "model.safetensors").exists()


def pictures(folder: Path, count: int = 8) -> pd.DataFrame:
    rows = []
    for number in range(count):
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), np.random.default_rng(number).integers(0, 256, (16, 16), np.uint8))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        rows.append((str(path), ("happy", "sad")[number % 2], "", digest))
    return pd.DataFrame(rows, columns=["path", "label", "group", "sha256"])


def test_an_image_that_is_another_one_is_neither_trained_on_nor_judged(tmp_path: Path, fitted: Path) -> None:
    frame = pictures(tmp_path)
    paths = [Path(path) for path in frame["path"]]
    load_images(paths, 16, list(frame["sha256"]))
    one, other = paths[0].read_bytes(), paths[1].read_bytes()
    paths[0].write_bytes(other)
    paths[1].write_bytes(one)
    for call in (
        lambda: load_images(paths, 16, list(frame["sha256"])),
        lambda: out_of_fold(frame, Path(), TINY, tmp_path / "folds", folds=2, threads=1),
        lambda: predict_files(load_model(fitted), paths, "tiny", list(frame["sha256"])),
    ):
        with pytest.raises(DataError, match=r"0\.png is not the one that was curated"):
            call()
    paths[0].unlink()
    os.mkfifo(paths[0])
    with pytest.raises(DataError, match="cannot be read"):
        load_images(paths, 16)


def announced(width: int, height: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(20_000, 20_000), (2**31 - 1, 2**31 - 1), (60_000, 9_000), (0, 0)])
def test_a_bomb_is_not_decoded(tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "bomb.png").write_bytes(announced(*size))
    with pytest.raises(DataError, match=r"too many to decode|cannot be decoded"):
        load_images([tmp_path / "bomb.png"], 16)


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_a_class_with_the_name_of_a_column_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="as a column of the tables is"):
        class_names(pd.DataFrame({"label": ["happy", name]}))


def test_what_cannot_be_folded_is_told_with_what_can_be_done() -> None:
    with pytest.raises(DataError, match="relabel or exclude it"):
        assign_folds(["a"] * 6 + ["b"], [""] * 7, 3)
    with pytest.raises(DataError, match="ask for fewer folds"):
        assign_folds(["a"] * 6 + ["b"] * 2, [""] * 8, 3)
    with pytest.raises(DataError, match="no label"):
        class_names(pd.DataFrame({"label": ["happy", ""]}))


def test_folds_are_kept_by_the_content_of_their_starting_weights(tmp_path: Path, fitted: Path) -> None:
    frame, start = pictures(tmp_path), tmp_path / "start.safetensors"
    whole = load_file(fitted / "model.safetensors")
    found = []
    for factor in (1.0, 1.5):
        save_file(
            {name: (value * factor if value.is_floating_point() else value) for name, value in whole.items()}, start
        )
        found.append(out_of_fold(frame, Path(), TINY, tmp_path / "folds", folds=2, threads=1, weights=str(start)))
    assert found[0]["model"].iloc[0] != found[1]["model"].iloc[0]
