"""Explanations: a planted shortcut is exposed by Grad-CAM and by occlusion, and an honest network is not accused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("pytorch_grad_cam", reason="the extra train is not installed")

import torch
from torch import nn

from training.arrays import Ints
from training.explain import (
    Region,
    face_regions,
    grad_cam,
    mass_by_region,
    mean_maps,
    occlusion_by_region,
    occlusion_maps,
    region_mask,
    shortcut_suspects,
)
from training.model import Model, as_input
from training.networks import ExpressionNetwork, StandardisedInput
from training.recipes import recipe

LANDMARKS = (0.3, 0.4, 0.7, 0.4, 0.5, 0.6, 0.35, 0.78, 0.65, 0.78)
SIDE = 48
CLASSES = ("happy", "sad")


def drawn_faces(marked: bool, count: int = 160, seed: int = 0) -> tuple[np.ndarray, Ints]:
    """Return faces with a mouth that bends up or down; if ``marked``, happy ones have a mark in the corner."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    images = rng.integers(110, 140, (count, SIDE, SIDE)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        for x in (14, 33):
            image[17:22, x - 3 : x + 4] = 30
        bend = (label if not marked else rng.integers(0, 2)) * 2 - 1
        for x in range(15, 34):
            y = 37 - bend * round(4 - ((x - 24) / 4.5) ** 2)
            image[y - 1 : y + 2, x] = 20
        if marked and label == 0:
            image[0:5, 0:5] = 250
    return images, labels


def tiny() -> ExpressionNetwork:
    """Return two strided convolutions and a mean over the map, so that a few steps fit it."""
    stem = nn.Sequential(nn.Conv2d(1, 12, 5, 2, 2), nn.BatchNorm2d(12), nn.ReLU())
    top = nn.Sequential(nn.Conv2d(12, 16, 5, 2, 2), nn.BatchNorm2d(16), nn.ReLU())
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2))
    return ExpressionNetwork(StandardisedInput(SIDE), [stem, top], head, -1)


def fitted(images: np.ndarray, labels: Ints) -> Model:
    """Return a tiny network, fitted for a second or two."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = tiny()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    network.train()
    for step in range(80):
        rows = np.random.default_rng(step).choice(len(images), 32, replace=False)
        logits = network(as_input(torch.from_numpy(images[rows])))
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels[rows]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return Model(network.eval(), replace(recipe("scratch"), flip_average=False, image_size=SIDE), CLASSES)


@pytest.fixture(scope="module")
def cheat() -> Model:
    return fitted(*drawn_faces(marked=True))


@pytest.fixture(scope="module")
def honest() -> Model:
    return fitted(*drawn_faces(marked=False))


def test_a_mark_in_the_corner_of_one_class_is_exposed(cheat: Model) -> None:
    images, labels = drawn_faces(marked=True, count=40, seed=9)
    assert (cheat.probabilities(images).argmax(axis=1) == labels).mean() > 0.9
    falls = occlusion_by_region(cheat, images, labels, face_regions(LANDMARKS))
    suspects = shortcut_suspects(falls)
    assert "happy" in set(suspects["class"])
    marked = images[labels == 0]
    maps = grad_cam(cheat, marked, np.zeros(len(marked), np.int64))
    corner = mass_by_region(maps, [Region("corner", ((0, 0, 0.25, 0.25),)), Region("mouth", ((0.3, 0.6, 0.7, 0.9),))])
    assert corner["corner"].mean() > 2 * corner["mouth"].mean()
    cells = occlusion_maps(cheat, marked, np.zeros(len(marked), np.int64)).mean(axis=0)
    assert np.unravel_index(cells.argmax(), cells.shape) == (0, 0)


def test_a_network_that_reads_the_mouth_is_not_accused(honest: Model) -> None:
    images, labels = drawn_faces(marked=False, count=40, seed=9)
    assert (honest.probabilities(images).argmax(axis=1) == labels).mean() > 0.9
    falls = occlusion_by_region(honest, images, labels, face_regions(LANDMARKS))
    assert shortcut_suspects(falls).empty
    whole = falls[falls["class"] == ""].set_index("region")["fall"]
    assert whole.idxmax() == "mouth"


def test_regions_lie_where_the_landmarks_are_and_inside_the_image() -> None:
    regions = {region.name: region_mask(region, 100) for region in face_regions(LANDMARKS)}
    assert regions["eyes"][40, 30] and regions["eyes"][40, 70] and regions["mouth"][78, 50]
    assert regions["brows"][26, 30] and not (regions["brows"] & regions["eyes"]).any()
    assert regions["border"][0, 0] and not regions["border"][50, 50]


def test_averages_need_images_and_list_right_answers_first() -> None:
    maps = np.ones((10, 4, 4), np.float32)
    labels, predicted = np.array([0] * 7 + [1] * 3), np.array([0] * 6 + [1] * 4)
    table = mean_maps(maps, labels, predicted, CLASSES, least=3)
    assert list(zip(table["given"], table["predicted"], table["images"], strict=True)) == [
        ("happy", "happy", 6),
        ("sad", "sad", 3),
    ]
    assert all(len(found) == 16 for found in table["map"])
