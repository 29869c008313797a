"""What a model looks at: Grad-CAM of images and averages over aligned faces, occlusion by face region.

Grad-CAM (Selvaraju et al., 2017) is the grad-cam library's; occlusion sensitivity (Zeiler & Fergus, 2014) covers a
region with the image's mean tone and measures the fall of the predicted class' probability.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import nn

from training.arrays import Flags, Floats, Floats32, Ints, Pixels
from training.evaluate import mean_interval
from training.model import Model, as_input
from training.networks import Committee, ExpressionNetwork, as_maps

Maps = Floats32
"""(n, h, w), 0 where nothing supports the class, 1 at the strongest place."""

LEAST_CELLS = 6
"""Least side of a feature map, in cells, to separate eyes from mouth; the deepest such block is used."""

BATCH = 32
"""Images per backward pass."""

GRID = 8
"""Side of an occlusion map, in cells."""


@dataclass(frozen=True)
class Region:
    """A part of the face: boxes (left, top, right, bottom) in shares of the image's side."""

    name: str
    boxes: tuple[tuple[float, float, float, float], ...]


def face_regions(landmarks: Sequence[float]) -> list[Region]:
    """Return brows, eyes, nose, mouth and border of aligned faces.

    Args:
        landmarks: x, y of the left eye, right eye, nose tip, left and right corner of the mouth, in shares of the side.

    Returns:
        Regions in units of the distance d between the eyes: eyes 0.6 d x 0.4 d around each, brows 0.3 d above them,
        the nose between eyes and its tip, the mouth 0.5 d high and 0.2 d beyond its corners, and the border: a frame
        of a tenth of the side, where no face should be needed.

    """
    points = np.asarray(landmarks, np.float64).reshape(5, 2)
    (left, right, nose, *mouth), d = points, float(np.hypot(*(points[1] - points[0])))
    corners = np.array(mouth)
    eyes = tuple(_box(x - 0.3 * d, y - 0.2 * d, x + 0.3 * d, y + 0.2 * d) for x, y in (left, right))
    brows = tuple(_box(x - 0.35 * d, y - 0.5 * d, x + 0.35 * d, y - 0.2 * d) for x, y in (left, right))
    middle, level = (left[0] + right[0]) / 2, (left[1] + right[1]) / 2
    nose_box = _box(middle - 0.22 * d, level + 0.2 * d, middle + 0.22 * d, nose[1] + 0.12 * d)
    mouth_box = _box(
        corners[:, 0].min() - 0.2 * d,
        corners[:, 1].mean() - 0.25 * d,
        corners[:, 0].max() + 0.2 * d,
        corners[:, 1].mean() + 0.3 * d,
    )
    border = ((0.0, 0.0, 1.0, 0.1), (0.0, 0.9, 1.0, 1.0), (0.0, 0.1, 0.1, 0.9), (0.9, 0.1, 1.0, 0.9))
    return [
        Region("brows", brows),
        Region("eyes", eyes),
        Region("nose", (nose_box,)),
        Region("mouth", (mouth_box,)),
        Region("border", border),
    ]


def _box(left: float, top: float, right: float, bottom: float) -> tuple[float, float, float, float]:
    """Return a box clipped to the image."""
    low, high, deep, far = (float(min(1.0, max(0.0, value))) for value in (left, top, right, bottom))
    return low, high, deep, far


def region_mask(region: Region, side: int) -> Flags:
    """Return the pixels of a region, (side, side)."""
    mask = np.zeros((side, side), bool)
    for left, top, right, bottom in region.boxes:
        mask[round(top * side) : round(bottom * side), round(left * side) : round(right * side)] = True
    return mask


def grad_cam(model: Model, images: Pixels, targets: Ints) -> Maps:
    """Return Grad-CAM maps of a class, by the grad-cam library.

    Args:
        model: to explain; of a committee the first network.
        images: (n, side, side) uint8.
        targets: (n,) the class to explain.

    Returns:
        (n, side, side) in 0..1; all 0 where nothing in the layer supports the class.

    """
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    network = one_network(model.network)
    layer = looked_at(network, images.shape[1])
    parts = []
    with GradCAM(model=network, target_layers=[layer], reshape_transform=as_maps) as cam:
        for start in range(0, len(images), BATCH):
            rows = slice(start, start + BATCH)
            batch = as_input(torch.from_numpy(images[rows])).requires_grad_(True)
            parts.append(cam(batch, targets=[ClassifierOutputTarget(int(target)) for target in targets[rows]]))
    network.zero_grad(set_to_none=True)
    maps = np.concatenate(parts) if parts else np.zeros((0, *images.shape[1:]))
    return np.nan_to_num(maps).astype(np.float32)


def one_network(network: nn.Module) -> ExpressionNetwork:
    """Return the network, or the first of a committee.

    Raises:
        TypeError: it is not a network of this package, so that its layers are not known.

    """
    found = network.members[0] if isinstance(network, Committee) else network
    if not isinstance(found, ExpressionNetwork):
        raise TypeError(f"{type(network).__name__} has no blocks to look at")
    return found


def looked_at(network: ExpressionNetwork, side: int) -> nn.Module:
    """Return the deepest block whose map has at least ``LEAST_CELLS`` cells per side, or else the first."""
    fine: list[nn.Module] = []

    def note(module: nn.Module, _given: object, output: object) -> None:
        maps = as_maps(output)
        if maps is not None and maps.shape[-1] >= LEAST_CELLS:
            fine.append(module)

    layers = network.layers()
    hooks = [layer.register_forward_hook(note) for layer in layers]
    with torch.inference_mode():
        network(torch.zeros(1, 1, side, side))
    for hook in hooks:
        hook.remove()
    return fine[-1] if fine else layers[0]


def mean_maps(maps: Maps, labels: Ints, predicted: Ints, classes: Sequence[str], least: int = 5) -> pd.DataFrame:
    """Return average maps of each correctly predicted class and of each confusion.

    Args:
        maps: (n, side, side) of aligned faces.
        labels: (n,) given classes.
        predicted: (n,) predicted ones.
        classes: names.
        least: number of images for an average.

    Returns:
        Columns given, predicted, images, map (bytes: side * side uint8, row by row); a row per pair, right ones first.

    """
    rows = []
    for given, name in enumerate(classes):
        for called, other in enumerate(classes):
            mask = (labels == given) & (predicted == called)
            if mask.sum() >= least:
                rows.append((name, other, int(mask.sum()), as_bytes(maps[mask].mean(axis=0))))
    table = pd.DataFrame(rows, columns=["given", "predicted", "images", "map"])
    order = (table["given"] != table["predicted"]).astype(int)
    return table.assign(order=order, most=-table["images"]).sort_values(["order", "most"]).iloc[:, :4]


def as_bytes(values: npt.NDArray[np.generic]) -> bytes:
    """Return one map (h, w) of values of at least 0 as uint8 bytes; its largest value becomes 255."""
    numbers = values.astype(np.float64)
    scaled = 255 * numbers / max(float(numbers.max()), 1e-9)
    return np.round(scaled).astype(np.uint8).tobytes()


def mass_by_region(maps: Maps, regions: Sequence[Region]) -> pd.DataFrame:
    """Return each map's share in each region relative to the region's area, (n, regions); 1 is no preference."""
    total = maps.sum(axis=(1, 2))
    columns: dict[str, Floats] = {}
    for region in regions:
        mask = region_mask(region, maps.shape[1])
        share = np.divide(maps[:, mask].sum(axis=1), total, out=np.zeros(len(maps)), where=total > 0)
        columns[region.name] = np.asarray(share / max(mask.mean(), 1e-9), np.float64)
    return pd.DataFrame(columns)


def covered(images: Pixels, mask: Flags) -> Pixels:
    """Return images with the masked pixels set to each image's mean tone."""
    out = images.copy()
    out[:, mask] = images.reshape(len(images), -1).mean(axis=1).round().astype(np.uint8)[:, None]
    return out


def occlusion_by_region(
    model: Model, images: Pixels, labels: Ints, regions: Sequence[Region], seed: int = 0
) -> pd.DataFrame:
    """Return the fall of the predicted class' probability when a region of the face is covered.

    Args:
        model: to explain.
        images: (n, side, side) uint8, aligned.
        labels: (n,) given classes.
        regions: see ``face_regions``.
        seed: of the bootstrap.

    Returns:
        Columns class (given; "" for all), region, images, area (share of the image), fall, low, high, accuracy_fall.

    """
    before = model.probabilities(images)
    predicted = before.argmax(axis=1)
    rows = np.arange(len(images))
    found = []
    for region in regions:
        mask = region_mask(region, images.shape[1])
        after = model.probabilities(covered(images, mask))
        fall = (before[rows, predicted] - after[rows, predicted]).astype(np.float64)
        lost = (predicted == labels).astype(np.float64) - (after.argmax(axis=1) == labels)
        for place in (-1, *range(len(model.classes))):
            mine = labels == place if place >= 0 else np.ones(len(labels), bool)
            if mine.any():
                name = model.classes[place] if place >= 0 else ""
                counts = name, region.name, int(mine.sum()), float(mask.mean())
                found.append((*counts, *mean_interval(fall[mine], seed), lost[mine].mean()))
    return pd.DataFrame(found, columns=["class", "region", "images", "area", "fall", "low", "high", "accuracy_fall"])


def occlusion_maps(model: Model, images: Pixels, targets: Ints, grid: int = GRID) -> Maps:
    """Return the fall of a class' probability when each cell of a grid is covered, (n, grid, grid), at least 0."""
    side, rows = images.shape[1], np.arange(len(images))
    before = model.probabilities(images)[rows, targets]
    edges = np.linspace(0, side, grid + 1).round().astype(int)
    maps = np.zeros((len(images), grid, grid), np.float32)
    for y in range(grid):
        for x in range(grid):
            mask = np.zeros((side, side), bool)
            mask[edges[y] : edges[y + 1], edges[x] : edges[x + 1]] = True
            maps[:, y, x] = np.maximum(0, before - model.probabilities(covered(images, mask))[rows, targets])
    return maps


def overlay(image: Pixels, values: Maps, side: int) -> bytes:
    """Return an image with a map over it as RGB bytes, (side, side, 3) row by row: bright where it is largest."""
    grey = cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR).astype(np.float64)
    heat = cv2.resize(values.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
    heat = np.clip(heat / max(float(heat.max()), 1e-9), 0, 1)
    colour = cv2.applyColorMap((255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)[:, :, ::-1].astype(np.float64)
    weight = 0.65 * heat[:, :, None]
    mixed = (1 - weight) * grey[:, :, None] + weight * colour
    return bytes(mixed.round().astype(np.uint8).tobytes())


def shortcut_suspects(falls: pd.DataFrame, regions_of_the_face: Mapping[str, bool] | None = None) -> pd.DataFrame:
    """Return the classes whose probability depends on the border more than on any part of the face.

    Args:
        falls: of ``occlusion_by_region``.
        regions_of_the_face: region -> whether it is a part of the face; by default all but "border".

    Returns:
        Columns class, border (fall), face (largest fall of a face region), region (that one); a row per class whose
        border matters more, with an interval above 0.

    """
    inside = regions_of_the_face or {name: name != "border" for name in falls["region"].unique()}
    rows = []
    for name, mine in falls[falls["class"] != ""].groupby("class", sort=False):
        border = mine[~mine["region"].map(inside)].nlargest(1, "fall").iloc[0]
        face = mine[mine["region"].map(inside)].nlargest(1, "fall").iloc[0]
        if border["low"] > 0 and border["fall"] > face["fall"]:
            rows.append((name, border["fall"], face["fall"], face["region"]))
    return pd.DataFrame(rows, columns=["class", "border", "face", "region"])
