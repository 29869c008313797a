"""More data against cleaner data: nested draws, a power law found again, and the command on the drawn sample."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")

from curation.models.learning import sentences
from tests.conftest import as_json
from tests.workflow.test_training_fit import TINY, samples
from training.data import Samples
from training.learning_curve import gain_of_more, learning_curve, nested_subsets


def test_smaller_parts_lie_inside_larger_ones_with_the_shares_of_the_classes():
    labels = np.repeat([0, 1], [300, 100])
    small, large = nested_subsets(labels, 0.1, 3), nested_subsets(labels, 0.5, 3)
    assert set(small) < set(large) and len(nested_subsets(labels, 1.0, 3)) == 400
    assert np.bincount(labels[small]).tolist() == [30, 10]


@pytest.mark.parametrize("power", [0.0, 0.2, 0.5])
def test_a_power_law_is_continued(power):
    sizes = [100, 250, 500, 1000]
    error = 0.5 * (np.array(sizes) / 100.0) ** -power
    expected = error[-1] - 0.5 * 20.0**-power
    assert gain_of_more(sizes, (1 - error)[None])[0] == pytest.approx(expected)


def test_wrong_labels_cost_what_cleaning_gives_back(tmp_path):
    given = samples(240)
    targets = given.targets.copy()
    targets[:180] = [0.0, 1.0]  # most of the happy ones are called sad
    spoilt = Samples(given.images, targets, given.weights, given.classes)
    found = learning_curve(
        spoilt,
        samples(200, 1),
        replace(TINY, epochs=6),
        tmp_path,
        cleaned=given,
        shares=(0.5, 1.0),
        options={"threads": 1, "device": "cpu"},
    )
    assert found.points["images"].unique().tolist() == [120, 240]
    gains = found.gains.set_index(["what", "class"])
    assert gains.loc[("cleaning", ""), "low"] > 0
    assert gains.loc[("cleaning", "happy"), "gain"] > gains.loc[("cleaning", "sad"), "gain"]
    assert (
        (found.points["low"] <= found.points["accuracy"]) & (found.points["accuracy"] <= found.points["high"])
    ).all()


def test_what_is_worth_more_is_only_said_when_the_intervals_part():
    columns = ["what", "class", "gain", "low", "high"]
    near = pd.DataFrame([("more data", "", 0.01, 0.0, 0.02), ("cleaning", "", 0.015, 0.01, 0.02)], columns=columns)
    apart = pd.DataFrame([("more data", "", 0.01, 0.0, 0.02), ("cleaning", "", 0.05, 0.03, 0.07)], columns=columns)
    assert any("the intervals overlap" in line for line in sentences(near, 100))
    assert any("cleaner data is worth more" in line for line in sentences(apart, 100))


@pytest.mark.slow
def test_the_command_fits_the_curve_on_the_sample(curated, curate, tmp_path):
    own = shutil.copytree(curated, tmp_path / "own")
    found = as_json(curate("learning-curve", "scratch", "--epochs", 1, "--threads", 1, "-w", own, "--json"))
    assert found["sentences"][0].startswith("Twice the data would give")
    assert {row["share"] for row in found["points"]} == {0.1, 0.25, 0.5, 1.0}
    assert {row["what"] for row in found["gains"]} == {"more data", "cleaning"}
