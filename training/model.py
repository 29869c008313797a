"""Trained models: their folder, their predictions, and export to ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn import functional

from training.arrays import Floats32, Pixels
from training.backbones import assemble, load_state, read_state
from training.data import RESERVED, DataError, load_images
from training.evaluate import predictions_table
from training.files import digest_of, read_json, refusing, replacing
from training.recipes import Recipe, UnknownRecipeError

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
RESULT_FILE = "result.json"
"""Result of a fit; absent until it is finished."""

PREDICTION_BATCH = 16
"""Images per forward pass; fits the processor's cache at 48 pixels (measured: larger is no faster)."""

SHIFT = 1 / 24
"""Shift for ``shift_average``, share of the side: 2 pixels of 48."""

ONNX_TOLERANCE = 1e-4
"""Largest difference allowed between a logit of torch and of ONNX Runtime."""


CARD_METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "calibration_error", "f1")
"""Metrics on a model's card."""


class ExportError(RuntimeError):
    """A model cannot be exported, or its export gives other predictions."""


@dataclass(frozen=True)
class Model:
    """A network with its recipe and classes.

    Attributes:
        network: in evaluation mode, on the processor unless moved.
        recipe: of the fit.
        classes: names in the order of its outputs.

    """

    network: torch.nn.Module
    recipe: Recipe
    classes: tuple[str, ...]

    def on(self, device: torch.device) -> Model:
        """Move the network to a device; return this model."""
        self.network.to(device)
        return self

    def probabilities(self, images: Pixels) -> Floats32:
        """Return probabilities of grey images (n, side, side) uint8, (n, classes) float32."""
        return predict(self.network, images, mirror=self.recipe.flip_average, shift=self.recipe.shift_average)


def predict_files(model: Model, paths: Sequence[Path], name: str, digests: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the predictions table of image files; see ``training.evaluate.predictions_table``.

    Args:
        model: to predict with.
        paths: of images of any format and size, each filled by a face.
        name: of the model, for the table.
        digests: SHA-256 that the files must have.

    Raises:
        DataError: there are no files, or one cannot be read or has changed.

    """
    images = load_images(paths, model.recipe.image_size, digests)
    return predictions_table([str(path) for path in paths], model.probabilities(images), model.classes, -1, name)


def model_card(run_dir: Path, evaluation: pd.DataFrame) -> str:
    """Return a model's card in Markdown: data, recipe, metrics with intervals, licence of the starting weights.

    Args:
        run_dir: of the fit.
        evaluation: of ``training.evaluate.side_by_side``; overall metrics and F1 of each class are shown.

    """
    config = read_config(run_dir)
    recipe, images = config["recipe"], config["images"]
    lines = [
        f"# Expression model `{recipe['name']}`",
        "",
        f"Classes: {', '.join(config['classes'])}. Trained on {images['train']:,} images, seed {config['seed']}.",
        f"Starting weights: {config['weights']}; licence: {config['weights_licence']}.",
        *(f"{name}: {value}." for name, value in config["provenance"].items()),
        "",
        "## Recipe",
        "",
        *(f"- {name}: {value}" for name, value in recipe.items()),
        "",
        "## Evaluation",
        "",
        "| view | images | metric | value | 95 % interval |",
        "|---|---|---|---|---|",
    ]
    shown = evaluation[evaluation["metric"].isin(CARD_METRICS)]
    for row in shown.to_dict("records"):
        metric = f"{row['metric']} {row['class']}".strip()
        interval = f"{row['low']:.3f} to {row['high']:.3f}"
        lines.append(f"| {row['view']} | {row['images']:,} | {metric} | {row['estimate']:.3f} | {interval} |")
    lines += ["", "Some of the labels that it was trained and evaluated on are wrong; see the curation report."]
    return "\n".join(lines) + "\n"


def start_of(run_dir: Path) -> str:
    """Return a finished fit's starting weights, device and division of batches, in words."""
    config = read_json(run_dir / CONFIG_FILE, ["weights", "weights_licence", "recipe"])
    result = read_json(run_dir / RESULT_FILE)
    parts = [f"Starting weights: {config['weights']} (licence: {config['weights_licence']})"]
    parts.append(f"device: {result.get('device', 'cpu')}")
    at_once, asked = result.get("batch_at_once"), config["recipe"].get("batch_size", 0)
    if at_once and at_once < asked:
        parts.append(f"a batch of {asked} was processed {at_once} images at a time")
    return "; ".join(parts) + "."


def predict(network: torch.nn.Module, images: Pixels, *, mirror: bool = False, shift: bool = False) -> Floats32:
    """Return softmax probabilities, (n, classes) float32.

    Args:
        network: images (n, 1, h, w) in [0, 1] -> logits; it is set to evaluation mode.
        images: (n, h, w) uint8.
        mirror: average over each image and its mirror image.
        shift: average over each image and four shifts by ``SHIFT`` along an axis.

    """
    network.eval()
    device = next(network.parameters()).device
    parts: list[torch.Tensor] = []
    step = PREDICTION_BATCH if device.type == "cpu" else 16 * PREDICTION_BATCH
    with torch.inference_mode():
        for start in range(0, len(images), step):
            batch = as_input(torch.from_numpy(images[start : start + step]).to(device))
            views = _shifted(batch) if shift else [batch]
            views += [view.flip(3) for view in views] if mirror else []
            parts.append(torch.stack([functional.softmax(network(view).float(), 1) for view in views]).mean(0).cpu())
    if not parts:
        raise DataError("there are no images to predict")
    return torch.cat(parts).numpy()


def _shifted(images: torch.Tensor) -> list[torch.Tensor]:
    """Return images (n, 1, h, w) and four shifts of them; new pixels repeat the border."""
    by = max(1, round(SHIFT * images.shape[3]))
    wide = functional.pad(images, (by, by, by, by), mode="replicate")
    height, width = images.shape[2:]
    corners = [(by, by), (0, by), (2 * by, by), (by, 0), (by, 2 * by)]
    return [wide[:, :, y : y + height, x : x + width] for y, x in corners]


def as_input(images: torch.Tensor) -> torch.Tensor:
    """Return grey bytes (n, h, w) as input of the networks, (n, 1, h, w) float32 in [0, 1], channels last."""
    return (images[:, None].float() / 255).contiguous(memory_format=torch.channels_last)


def load_model(run_dir: Path) -> Model:
    """Return the model of a finished fit's folder.

    Raises:
        DataError: the folder holds no finished fit.

    """
    if not (run_dir / CONFIG_FILE).is_file() or not (run_dir / WEIGHTS_FILE).is_file():
        raise DataError(f"the folder {run_dir} holds no trained model: fit one there, or give another folder")
    config = read_config(run_dir)
    recipe, classes = Recipe.from_dict(config["recipe"]), tuple(config["classes"])
    require_weights(run_dir)
    network = assemble(recipe, len(classes))
    load_state(network, read_state(run_dir / WEIGHTS_FILE), str(run_dir / WEIGHTS_FILE))
    return Model(network.eval(), recipe, classes)


def read_config(run_dir: Path) -> dict[str, Any]:
    """Return a run's config.json: recipe, classes, images, seed, weights, provenance.

    Raises:
        DataError: it is damaged, or its recipe is of another version of the tool.

    """
    path = run_dir / CONFIG_FILE
    config = read_json(path, ("recipe", "classes", "images", "seed", "weights", "weights_licence", "provenance"))
    with refusing(path, "remove its folder to fit it again"):
        images = config["images"]
        is_whole = isinstance(config["provenance"], dict) and {type(images[name]) for name in images} <= {int}
        if not (is_whole and {"train", "validation"} <= images.keys()):
            raise ValueError("it does not say what the model was fitted on")
        if len(set(config["classes"])) < 2 or not all(isinstance(name, str) for name in config["classes"]):
            raise ValueError("it names no two classes")
        if RESERVED & set(config["classes"]):
            raise ValueError(f"a class is called {min(RESERVED & set(config['classes']))!r}")
    try:
        Recipe.from_dict(config["recipe"])
    except UnknownRecipeError as error:
        raise DataError(f"{path}: {error}") from error
    return config


def require_weights(run_dir: Path) -> None:
    """Refuse weights other than those that the finished fit wrote, by their hash (older runs have none).

    Raises:
        DataError: they are missing or damaged.

    """
    to_do, path = "remove its folder to fit it again", run_dir / WEIGHTS_FILE
    stated = read_json(run_dir / RESULT_FILE).get("weights_sha256") if (run_dir / RESULT_FILE).is_file() else None
    with refusing(path, to_do):
        if stated and digest_of(path) != stated:
            raise ValueError("they are not the weights that the fit wrote")


def save_weights(network: torch.nn.Module, path: Path) -> None:
    """Write a network's tensors as safetensors, atomically."""
    from safetensors.torch import save_file

    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    with replacing(path) as unfinished:
        save_file(tensors, unfinished)


def export_onnx(model: Model, path: Path, side: int = 48) -> float:
    """Write a model as ONNX and verify that it gives the same logits as torch.

    The graph takes ``image``, (n, 1, side, side) float32 in [0, 1], with n free, and gives ``logits``, (n, classes).
    The mirror average of ``probabilities`` is not part of it.

    Args:
        model: to export.
        path: of the file to write.
        side: of the images, in pixels; the graph includes resizing to the network's input.

    Returns:
        The largest difference of a logit between torch and ONNX Runtime on random images.

    Raises:
        ExportError: the difference is above ``ONNX_TOLERANCE``; the file is removed.

    """
    import onnxruntime

    sample = torch.rand(3, 1, side, side, generator=torch.Generator().manual_seed(0))
    batch = torch.export.Dim("batch", min=1)
    program = torch.onnx.export(
        model.network,
        (sample,),
        input_names=["image"],
        output_names=["logits"],
        dynamic_shapes={"images": {0: batch}},
        dynamo=True,
        verbose=False,
    )
    if program is None:
        raise ExportError("torch did not export the model")
    program.save(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        expected = model.network(sample).numpy()
    difference = float(np.abs(session.run(None, {"image": sample.numpy()})[0] - expected).max())
    if difference > ONNX_TOLERANCE:
        path.unlink()
        raise ExportError(f"the exported model differs from torch by {difference:.2g}, more than {ONNX_TOLERANCE:g}")
    return difference
