"""Frames of (path, label, split, weight or soft label) -> arrays in memory; each image is decoded once.

Images are grey (luminance) bytes of their own size, at most the network's; the network enlarges them itself, which is
cheaper than augmenting enlarged images.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image, ImageOps

from training.arrays import Flags, Floats32, Ints, Pixels
from training.classes import in_order
from training.files import DataError as DataError
from training.files import read_bytes

MOST_PIXELS = 100_000_000
"""Images with more pixels are not decoded; the default of ``max_pixels`` of the measurements."""

RESERVED = frozenset(
    {"path", "fold", "model", "label", "split", "key", "group", "weight", "soft_label", "predicted", "sha256", "metric"}
    | {"found"}
)
"""Other columns of tables of predictions, which no class can be named after."""


@dataclass(frozen=True)
class Samples:
    """Images and targets in memory, with the rows of a frame.

    Attributes:
        images: (n, side, side) uint8, grey.
        targets: (n, classes) float32, rows that sum to 1; one-hot where the frame has no soft label.
        weights: (n,) float32, at least 0.
        classes: names, in the order of the targets' columns.

    """

    images: Pixels
    targets: Floats32
    weights: Floats32
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labels(self) -> Ints:
        """Return the most probable class of each target, (n,) int64."""
        labels: Ints = self.targets.argmax(axis=1).astype(np.int64)
        return labels

    def fingerprint(self) -> str:
        """Return a hash of pixels, targets, weights and classes."""
        digest = hashlib.blake2b(json.dumps(self.classes).encode(), digest_size=16)
        for array in (self.images, self.targets, self.weights):
            digest.update(str(array.shape).encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def take(self, rows: Ints | Flags) -> Samples:
        """Return some rows, by number or by mask."""
        return Samples(self.images[rows], self.targets[rows], self.weights[rows], self.classes)


def class_names(frame: pd.DataFrame) -> tuple[str, ...]:
    """Return the labels of a frame, in order.

    Raises:
        DataError: there are fewer than two, or one has no name or a reserved one.

    """
    names = tuple(in_order(frame["label"]))
    if "" in names:
        raise DataError("an image has no label: leave those without one out")
    if len(names) < 2:
        raise DataError(f"training needs two classes or more, and the data has {len(names)}")
    taken = sorted(set(names) & RESERVED)
    if taken:
        raise DataError(f"a class is called {taken[0]!r}, as a column of the tables is: relabel it")
    return names


def load_samples(frame: pd.DataFrame, root: Path, largest_side: int, classes: Sequence[str] | None = None) -> Samples:
    """Decode the images of a frame and read its targets.

    Args:
        frame: columns ``path`` (relative to ``root``, or absolute) and ``label``; optional ``weight``,
            ``soft_label`` (a JSON object class -> probability, or "") and ``sha256`` (of the file, which is verified).
        root: folder of the images.
        largest_side: in pixels; larger images are reduced to it. All get the side of the largest remaining one.
        classes: names in the order of the targets' columns; None for those of the frame.

    Raises:
        DataError: an image cannot be read or has changed, a label is not among the classes, or a weight or soft label
            is invalid.

    """
    names = class_names(frame) if classes is None else tuple(classes)
    images = load_images([root / path for path in frame["path"]], largest_side, digests_of(frame))
    return Samples(images, targets_of(frame, names), weights_of(frame), names)


def digests_of(frame: pd.DataFrame) -> Sequence[str] | None:
    """Return the SHA-256 of a frame's images, None if it has no such column."""
    return list(frame["sha256"]) if "sha256" in frame else None


def load_images(paths: Sequence[Path], largest_side: int, digests: Sequence[str] | None = None) -> Pixels:
    """Return images as one array (n, side, side) of grey bytes; oblong ones are squeezed to a square.

    The side is that of the largest image, at most ``largest_side`` pixels.

    Raises:
        DataError: a file is missing, is not an image, or does not have its SHA-256 in ``digests``.

    """
    stated = [""] * len(paths) if digests is None else digests
    decoded = []
    for path, digest in zip(paths, stated, strict=True):
        image = decode_grey(path, digest)
        # reduced at once, so that a folder of photographs fits into memory
        decoded.append(_resized(image, largest_side) if max(image.shape) > largest_side else image)
    side = min(largest_side, max((max(image.shape) for image in decoded), default=largest_side))
    out = np.empty((len(decoded), side, side), np.uint8)
    for row, image in zip(out, decoded, strict=True):
        row[:] = image if image.shape == (side, side) else _resized(image, side)
    return out


def load_squares(paths: Sequence[Path], side: int, digests: Sequence[str]) -> Pixels:
    """Return images as one array (n, side, side) of grey bytes, each resized to that side."""
    return np.stack([_resized(decode_grey(path, digest), side) for path, digest in zip(paths, digests, strict=True)])


def decode_grey(path: Path, digest: str = "") -> Pixels:
    """Return one image as luminance, (height, width) uint8.

    Raises:
        DataError: the file is missing, is not an image, is too large, or does not have the SHA-256 ``digest``.

    """
    try:
        data = read_bytes(path)
    except OSError as error:
        raise DataError(f"the image {path} cannot be read: {error.strerror or error}") from error
    if digest and hashlib.sha256(data).hexdigest() != digest:
        raise DataError(f"the image {path} is not the one that was curated: run curate run on the data again")
    if not digest and _is_bomb(data):  # curated images have been decoded before
        raise DataError(f"the image {path} has over {MOST_PIXELS:,} pixels, too many to decode")
    encoded = np.frombuffer(data, np.uint8)
    try:
        image = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH) if len(encoded) else None
    except cv2.error:  # OpenCV's own limits
        image = None
    image = _by_pillow(data) if image is None else image
    if image is None:
        raise DataError(f"the image {path} cannot be decoded: exclude it, or repair the file")
    return image.astype(np.uint8, copy=False) if image.dtype == np.uint8 else _eight_bits(image)


def _by_pillow(data: bytes) -> Pixels | None:
    """Return an image in a format that OpenCV lacks (HEIC, JPEG XL with plug-ins), None if it cannot be read."""
    for plugin in ("pillow_heif", "pillow_jxl"):
        with contextlib.suppress(ImportError):
            module = importlib.import_module(plugin)
            getattr(module, "register_heif_opener", lambda: None)()
    try:
        with Image.open(io.BytesIO(data)) as opened:
            return np.asarray(ImageOps.exif_transpose(opened).convert("L"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _eight_bits(image: npt.NDArray[Any]) -> Pixels:
    """Return deep grey levels as bytes: integers scaled from the least usual depth, others from their range."""
    low, high = float(image.min()), float(image.max())
    bits = next((bits for bits in (8, 10, 12, 14, 16) if high < 2**bits), 0)
    if image.dtype.kind == "u" and bits:
        return (image >> (bits - 8)).astype(np.uint8)
    low, high = (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)
    return np.clip((image - low) * (255.0 / ((high - low) or 1.0)) + 0.5, 0, 255).astype(np.uint8)


def _is_bomb(data: bytes) -> bool:
    """Return whether an image's header states too many pixels, before it is decoded; OpenCV has limits too."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data)) as announced:
            return announced.width * announced.height > MOST_PIXELS
    except Image.DecompressionBombError:
        return True
    except Exception:  # every format's reader has its own errors
        return False


def targets_of(frame: pd.DataFrame, classes: Sequence[str]) -> Floats32:
    """Return the targets of a frame, (n, classes) float32: its soft labels, or its labels as one-hot rows.

    Raises:
        DataError: a label or a soft label names no class, or a soft label has no positive probability.

    """
    column = {name: position for position, name in enumerate(classes)}
    unknown = sorted(set(frame["label"]) - set(column))
    if unknown:
        raise DataError(f"the label {unknown[0]!r} is not among the classes {', '.join(classes)}")
    targets = np.zeros((len(frame), len(classes)), np.float32)
    targets[np.arange(len(frame)), frame["label"].map(column).to_numpy(np.int64)] = 1
    if "soft_label" in frame:
        for row, text in enumerate(frame["soft_label"]):
            if text:
                targets[row] = _soft_target(str(text), column)
    return targets


def weights_of(frame: pd.DataFrame) -> Floats32:
    """Return the weights of a frame's images, (n,) float32; 1 where it has no such column.

    Raises:
        DataError: a weight is negative or not finite, or all are 0.

    """
    if "weight" not in frame:
        return np.ones(len(frame), np.float32)
    weights = frame["weight"].to_numpy(np.float32)
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise DataError("weights must be finite and at least 0")
    if len(weights) and not weights.any():
        raise DataError("every image has weight 0: nothing could be learned")
    return np.asarray(weights, dtype=np.float32)


def balancing_weights(targets: Floats32) -> Floats32:
    """Return one weight per class, (classes,) float32: n / (classes * images of the class), 0 for absent classes.

    The usual inverse-frequency weights (Keras' and scikit-learn's "balanced"); their mean over images is 1.
    """
    counts = targets.sum(axis=0)
    share = np.divide(len(targets), len(counts) * counts, out=np.zeros_like(counts), where=counts > 0)
    weights: Floats32 = share.astype(np.float32)
    return weights


def _soft_target(text: str, column: dict[str, int]) -> Floats32:
    """Return the row of one soft label, scaled to sum to 1."""
    try:
        soft = {str(name): float(value) for name, value in json.loads(text).items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise DataError(f"the soft label {text!r} is not a JSON object of probabilities") from error
    row = np.zeros(len(column), np.float32)
    for name, value in soft.items():
        if name not in column or not 0 <= value < np.inf:
            raise DataError(f"the soft label {text!r} is not a probability for each of {', '.join(column)}")
        row[column[name]] = value
    if not row.any():
        raise DataError(f"the soft label {text!r} has no positive probability")
    target: Floats32 = row / row.sum()
    return target


def _resized(image: Pixels, side: int) -> Pixels:
    """Return one image as a square; areas are averaged when it shrinks."""
    method = cv2.INTER_AREA if max(image.shape) > side else cv2.INTER_LINEAR
    return cv2.resize(image, (side, side), interpolation=method).astype(np.uint8, copy=False)
