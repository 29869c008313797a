"""Predictions do not depend on the batch, and the exported graph gives torch's answers."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tests.workflow.test_training_fit import CLASSES, SIDE, TINY, drawn_faces, nothing, samples  # noqa: E402
from training import model as model_module  # noqa: E402
from training.data import DataError  # noqa: E402
from training.evaluate import side_by_side  # noqa: E402
from training.fit import fit_samples  # noqa: E402
from training.model import ONNX_TOLERANCE, ExportError, export_onnx, model_card, predict_files  # noqa: E402


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("run")
    return fit_samples(samples(40), nothing(), replace(TINY, epochs=1), run_dir, threads=1).model()


def test_an_image_has_the_same_probabilities_alone_and_in_a_crowd(model):
    images = drawn_faces(130, 3)[0]
    together = model.probabilities(images)
    assert together.shape == (130, len(CLASSES)) and together.dtype == np.float32
    assert model.probabilities(images[100:101]) == pytest.approx(together[100:101], abs=1e-5)


def test_averaging_over_the_mirror_makes_a_model_blind_to_mirroring(model):
    images = drawn_faces(20, 4)[0]
    mirrored = np.ascontiguousarray(images[:, :, ::-1])
    assert model.recipe.flip_average
    assert model.probabilities(mirrored) == pytest.approx(model.probabilities(images), abs=1e-5)


def test_averaging_over_shifts_is_the_mean_of_five_pictures(model):
    images, by = drawn_faces(6, 5)[0], round(SIDE / 24)
    wide = np.pad(images, ((0, 0), (by, by), (by, by)), mode="edge")
    at = [(by, by), (0, by), (2 * by, by), (by, 0), (by, 2 * by)]
    each = [model.probabilities(np.ascontiguousarray(wide[:, y : y + SIDE, x : x + SIDE])) for y, x in at]
    shifting = replace(model, recipe=replace(model.recipe, shift_average=True))
    assert shifting.probabilities(images) == pytest.approx(np.mean(each, axis=0), abs=1e-5)
    assert np.abs(each[1] - each[0]).max() > 1e-4


def test_no_images_cannot_be_predicted(model):
    with pytest.raises(DataError, match="no images"):
        model.probabilities(np.zeros((0, SIDE, SIDE), np.uint8))


def test_files_of_any_format_and_size_are_predicted_in_their_order(model, tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "b.jpg", tmp_path / "c.bmp"]
    for path, side, image in zip(paths, (SIDE, 64, 40), drawn_faces(3, 6)[0], strict=True):
        cv2.imwrite(str(path), cv2.resize(image, (side, side)))
    table = predict_files(model, paths, "m")
    assert table["path"].tolist() == [str(path) for path in paths]
    assert table[list(CLASSES)].sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-5)
    assert (table["model"] == "m").all() and (table["fold"] == -1).all()


def test_a_card_states_data_licence_and_metrics_with_intervals(tmp_path):
    run = fit_samples(samples(20), nothing(), replace(TINY, epochs=1), tmp_path, provenance={"manifest": "abc123"})
    judged = samples(30, 1)
    views = {"as given": np.ones(30, bool)}
    table = side_by_side(judged.labels, run.model().probabilities(judged.images), CLASSES, views, replicates=20)
    card = model_card(tmp_path, table)
    accuracy = table[table["metric"] == "accuracy"].iloc[0]
    assert "manifest: abc123." in card and "trained from random weights" in card and "learning_rate: 0.003" in card
    assert f"| as given | 30 | accuracy | {accuracy['estimate']:.3f} | {accuracy['low']:.3f} to" in card
    assert "f1 happy" in card and "confusion" not in card


@pytest.mark.slow
def test_the_exported_graph_gives_the_answers_of_torch_for_any_number_of_images(model, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    assert export_onnx(model, tmp_path / "model.onnx", side=SIDE) <= ONNX_TOLERANCE
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for count in (1, 7):
        images = torch.from_numpy(drawn_faces(count, 5)[0])[:, None].float() / 255
        with torch.inference_mode():
            expected = model.network(images).numpy()
        assert session.run(None, {"image": images.numpy()})[0] == pytest.approx(expected, abs=ONNX_TOLERANCE)


@pytest.mark.slow
def test_an_export_that_differs_is_removed(model, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    monkeypatch.setattr(model_module, "ONNX_TOLERANCE", -1.0)
    with pytest.raises(ExportError, match="differs from torch"):
        export_onnx(model, tmp_path / "model.onnx", side=SIDE)
    assert not (tmp_path / "model.onnx").exists()
