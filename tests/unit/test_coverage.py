"""Gaps and shortcuts planted in tables of known axes: each is the first thing that is said, in any class."""

import numpy as np
import pandas as pd
import pytest

from curation.base.settings import Settings
from curation.checks import coverage

CLASSES = ("angry", "happy", "neutral", "sad")
AXES = ["pose", "illumination", "sharpness"]


def faces(count: int = 4000, seed: int = 0) -> pd.DataFrame:
    """Faces whose class says nothing of any axis."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "split": rng.choice(["train", "validation", "test"], count, p=[0.8, 0.15, 0.05]),
            "label": rng.choice(CLASSES, count),
            "pose": rng.choice(coverage.VALUES["pose"], count, p=[0.7, 0.22, 0.08]),
            "illumination": rng.choice(coverage.VALUES["illumination"], count),
            "sharpness": rng.choice([*coverage.VALUES["sharpness"], ""], count),
            "person": [f"p{number}" for number in rng.integers(0, 400, count)],
        }
    )


def found(after: pd.DataFrame, before: pd.DataFrame | None = None) -> list[coverage.Finding]:
    cells = coverage.cells(after, AXES)
    was = cells if before is None else coverage.cells(before, AXES)
    return coverage.findings(was, cells, coverage.associations(after, [*AXES, coverage.PERSON], 0))


def test_where_nothing_is_missing_nothing_is_said_and_the_bias_is_taken_off() -> None:
    frame = faces()
    assert [one for one in found(frame) if one.kind in ("shortcut", "empty", "emptied")] == []
    association = coverage.associations(frame, [*AXES, "person"], 0)
    # people have ten pictures each: the plain mutual information with the class would be far from 0
    assert (association["association"] < 0.02).all()


@pytest.mark.parametrize("label", CLASSES)
def test_a_planted_gap_is_the_first_thing_that_is_named(label: str) -> None:
    frame = faces()
    gap = (frame["label"] == label) & (frame["pose"] == "turned") & (frame["split"] == "train")
    first = found(frame[~gap])[0]
    assert (first.kind, first.axis, first.label, first.split, first.value) == (
        "empty",
        "pose",
        label,
        "train",
        "turned",
    )
    assert first.sentence.startswith(f"No turned {label} faces in train;") and "in validation" in first.sentence


@pytest.mark.parametrize("label", CLASSES)
@pytest.mark.parametrize("axis", ["illumination", "person"])
def test_a_planted_shortcut_is_the_first_thing_that_is_named(label: str, axis: str) -> None:
    frame = faces()
    value = {"illumination": "dark", "person": "p7"}[axis]
    frame.loc[frame["label"] == label, axis] = value
    first = found(frame)[0]
    assert (first.kind, first.axis, first.label, first.value) == ("shortcut", axis, label, value)
    assert "100% of the" in first.sentence and "instead of the expression" in first.sentence


def test_cleaning_that_empties_a_cell_is_said() -> None:
    before = faces()
    gone = (before["label"] == "sad") & (before["pose"] == "turned") & (before["split"] == "validation")
    kinds = {(one.kind, one.label, one.split) for one in found(before[~gone], before)}
    assert ("emptied", "sad", "validation") in kinds


def test_counts_and_intervals_are_those_of_the_faces_whose_value_is_known() -> None:
    frame = faces()
    cells = coverage.cells(frame, ["sharpness"])
    cell = cells[(cells["split"] == "train") & (cells["label"] == "sad") & (cells["value"] == "soft")].iloc[0]
    known = frame[(frame["split"] == "train") & (frame["label"] == "sad") & (frame["sharpness"] != "")]
    assert cell["images"] == (known["sharpness"] == "soft").sum()
    assert cell["share"] == pytest.approx(cell["images"] / len(known))
    assert cell["low"] < cell["share"] < cell["high"]


def test_association_is_that_of_a_library() -> None:
    scores = pytest.importorskip("sklearn.metrics")
    frame = faces(1500)
    frame.loc[frame["label"] == "sad", "person"] = frame["person"].str[:2]
    mine = coverage.associations(frame, ["person"], 0).iloc[0]["association"]
    theirs = scores.adjusted_mutual_info_score(frame["label"], frame["person"], average_method="min")
    assert mine == pytest.approx(theirs, abs=0.01)


def test_axes_are_unknown_without_a_face_or_pixels_and_darkness_is_no_blur() -> None:
    count = 90
    measured = pd.DataFrame(
        {
            "error": ["broken", *[""] * (count - 1)],
            "face_score": [0.9] * (count - 1) + [0.1],
            "face_yaw": np.linspace(-80, 80, count),
            "face_roll": 0.0,
            "face_width": 0.5,
            "face_height": np.linspace(0.2, 0.9, count),
            "contrast": np.linspace(0.05, 0.25, count),
            "brightness_mean": np.linspace(0.1, 0.9, count),
        }
    )
    measured["sharpness"] = 40.0 * measured["contrast"] ** 2
    axes, limits = coverage.axis_values(measured, Settings().checks)
    assert set(axes.iloc[0]) == {""} and axes.iloc[-1]["pose"] == "" and axes.iloc[-1]["illumination"] == "bright"
    assert axes["pose"].iloc[1] == "turned" and axes["pose"].iloc[count // 2] == "frontal"
    assert axes["illumination"].iloc[1:].value_counts().between(28, 31).all()
    assert limits["sharpness"][0] == pytest.approx(limits["sharpness"][1])
