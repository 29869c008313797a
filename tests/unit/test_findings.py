"""What the model page rests on: aligned faces, tables that are computed once, which votes and pictures are taken."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.base import files
from curation.base.workspace import create_workspace
from curation.evidence.alignment import LEAST_FACES, AlignmentError, Reference, aligned, reference_of, similarity
from curation.evidence.people import newest_votes
from curation.evidence.store import fingerprint, read, remembered

LANDMARKS = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.78], [0.65, 0.78]])


@given(st.floats(-3, 3), st.floats(0.2, 5), st.floats(-50, 50), st.floats(-50, 50))
def test_a_turned_scaled_and_shifted_face_is_moved_back_exactly(turn: float, scale: float, x: float, y: float) -> None:
    rotation = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    target = LANDMARKS @ rotation.T + (x, y)
    move = similarity(LANDMARKS, target)
    np.testing.assert_allclose(move, np.column_stack([rotation, (x, y)]), atol=1e-6)


@pytest.mark.parametrize("side", [40, 48, 200])
def test_a_face_elsewhere_in_a_larger_picture_lands_where_the_reference_has_it(side: int) -> None:
    """Five dots at the landmarks of a small face in a corner."""
    picture = np.full((side * 2, side * 2), 200, np.uint8)
    points = LANDMARKS * side * 0.8 + side * 0.3
    for px, py in points:
        reach = max(1, round(side / 40))
        picture[round(py) - reach : round(py) + reach + 1, round(px) - reach : round(px) + reach + 1] = 0
    moved = aligned(picture, (points / (side * 2)).ravel().tolist(), Reference(LANDMARKS, 48))
    assert moved.shape == (48, 48)
    for px, py in LANDMARKS * 48:
        assert moved[round(py) - 1 : round(py) + 2, round(px) - 1 : round(px) + 2].min() < 120
    assert np.median(moved) == 200


def faces(count: int, yaw: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    points = [(LANDMARKS + rng.normal(0, 0.01, (5, 2))).ravel() for _ in range(count)]
    return pd.DataFrame({"rank": 0, "landmarks": points, "yaw": yaw, "roll": 0.0})


def test_the_reference_is_where_frontal_faces_have_their_landmarks() -> None:
    some = pd.concat([faces(60), faces(40, yaw=60).assign(landmarks=[np.zeros(10)] * 40)])
    found = reference_of(some, 48)
    np.testing.assert_allclose(found.landmarks, LANDMARKS, atol=0.01)
    with pytest.raises(AlignmentError, match=f"{LEAST_FACES} are needed"):
        reference_of(faces(LEAST_FACES - 1), 48)


def test_tables_are_computed_once_for_the_same_inputs(tmp_path: Path) -> None:
    calls = []

    def compute() -> dict[str, pd.DataFrame]:
        calls.append(1)
        return {"one": pd.DataFrame({"a": [len(calls)]}), "two": pd.DataFrame({"b": ["x"]})}

    folder = tmp_path / "section"
    assert read(folder) == {}
    first, again = (remembered(folder, fingerprint("model", 1), compute) for _ in range(2))
    assert len(calls) == 1 and again["one"].equals(first["one"])
    assert remembered(folder, fingerprint("model", 2), compute)["one"]["a"].tolist() == [2]
    assert set(read(folder)) == {"one", "two"}


def test_a_section_that_was_interrupted_is_computed_anew(tmp_path: Path) -> None:
    folder = tmp_path / "section"
    remembered(folder, "key", lambda: {"one": pd.DataFrame({"a": [1]})})
    (folder / "done.json").unlink()
    assert read(folder) == {}
    assert remembered(folder, "key", lambda: {"one": pd.DataFrame({"a": [2]})})["one"]["a"].tolist() == [2]


def test_the_newest_votes_of_the_workspace_count_where_none_are_named(tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path / "space")
    assert newest_votes(workspace) is None
    for age, name in enumerate(("blind", "crowd", "old")):
        files.write_table(workspace.votes / f"{name}.parquet", pd.DataFrame({"path": ["a.jpg"], "happy": [1]}))
        os.utime(workspace.votes / f"{name}.parquet", (1000 - age, 1000 - age))
    assert newest_votes(workspace) == workspace.votes / "blind.parquet"
