"""Checks: what stands out is flagged, a uniform data set is not, and copies are judged as one graph."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from curation.base.settings import Settings
from curation.checks import registry
from curation.checks.base import CheckInputs, high_is_bad, low_is_bad, lower_fence
from curation.pipeline import summary
from tests.unit.frames import images

PAIR_COLUMNS = ["pixel_sha256_a", "pixel_sha256_b", "probability", "transform", "relation"]


def inputs(rows: list[dict[str, Any]], pairs: list[tuple[str, str, float]] = [], splits: str = "") -> CheckInputs:  # noqa: B006
    """Inputs with one good image a row, changed by what the row states."""
    good = {
        "error": "",
        "error_kind": "",
        "bytes": 1000,
        "width": 48,
        "height": 48,
        "brightness_mean": 0.5,
        "brightness_p05": 0.1,
        "brightness_p95": 0.9,
        "contrast": 0.22,
        "entropy": 7.0,
        "sharpness": 900.0,
        "edge_sharpness": 1.0,
        "texture_entropy": 6.5,
        "dhash": 0,
        "face_score": 0.95,
        "second_face_score": 0.0,
        "face_x": 0.1,
        "face_y": 0.1,
        "face_width": 0.8,
        "face_height": 0.8,
        "face_yaw": np.nan,
        "face_roll": np.nan,
        "face_brightness_p05": 0.15,
        "face_brightness_p95": 0.85,
        "face_edge_distance": 0.2,
        "turned_degrees": 0,
        "turned_score": np.nan,
    }
    names = [f"{n:03d}.jpg" for n in range(len(rows))]
    measured = pd.DataFrame([{**good, "pixel_sha256": name, **row} for name, row in zip(names, rows, strict=True)])
    table = images(*((name, "train", "sad") for name in names))
    for column in ("split", "label", "width", "height"):
        if column in measured and column in ("split", "label"):
            table[column] = measured[column].fillna(table[column]).to_numpy()
    found = pd.DataFrame([(a, b, p, "mirrored", "near_duplicate") for a, b, p in pairs], columns=PAIR_COLUMNS)
    return CheckInputs(table, measured.assign(path=names), found, Settings())


def flagged(check: str, given_inputs: CheckInputs) -> set[int]:
    rows = registry.run(given_inputs, [check]).every()
    return {int(path[:3]) for path in rows.loc[rows["is_issue"], "path"]}


NORMAL = [{"edge_sharpness": 0.9 + 0.02 * n, "face_brightness_p95": 0.85 + 0.01 * n} for n in range(10)]
NO_FACE = {"face_score": 0.0, "face_brightness_p05": np.nan, "face_brightness_p95": np.nan}


@pytest.mark.parametrize(
    ("check", "bad"),
    [
        ("unreadable", {"error": "cannot be decoded", "error_kind": "truncated"}),
        ("dark", {"face_brightness_p95": 0.05}),
        ("dark", {**NO_FACE, "brightness_p95": 0.05}),
        ("bright", {"face_brightness_p05": 0.95}),
        ("bright", {**NO_FACE, "brightness_p05": 0.95}),
        ("low_contrast", {"contrast": 0.02}),
        ("blurry", {"edge_sharpness": 0.1}),
        ("blank", {**NO_FACE, "texture_entropy": 0.0, "contrast": 0.0, "entropy": 0.0}),
        ("blank", {**NO_FACE, "texture_entropy": 4.0, "contrast": 0.3, "entropy": 1.0}),
        ("odd_size", {"width": 480, "height": 480}),
        ("odd_size", {"width": 240, "height": 10}),
        ("no_face", {"face_score": 0.2}),
        ("many_faces", {"second_face_score": 0.9}),
        ("small_face", {"face_width": 0.05, "face_height": 0.05}),
        ("off_centre", {"face_x": 0.6, "face_y": 0.6}),
        ("cropped_face", {"face_x": -0.5}),
        ("cropped_face", {"face_edge_distance": 0.0}),
        ("rolled_face", {"face_score": 0.6, "turned_degrees": 180, "turned_score": 0.9}),
        ("rolled_face", {"face_score": 0.0, "turned_degrees": 90, "turned_score": 0.8}),
        ("turned_face", {"face_yaw": 70.0, "face_roll": 0.0}),
        ("turned_face", {"face_yaw": 0.0, "face_roll": -50.0}),
    ],
)
def test_a_check_flags_what_it_names_and_nothing_else(check: str, bad: dict[str, Any]) -> None:
    assert flagged(check, inputs([*NORMAL, bad])) == {10}


@pytest.mark.parametrize("check", list(registry.CHECKS))
def test_a_uniform_data_set_is_not_flagged_as_a_whole(check: str) -> None:
    same = [{"width": 24, "height": 24, "face_width": 0.5, "face_height": 0.5, "face_x": 0.25, "face_y": 0.25}] * 20
    distinct = [{**row, "pixel_sha256": str(n)} for n, row in enumerate(same)]
    assert flagged(check, inputs(distinct)) == set()


@pytest.mark.parametrize(
    ("check", "sound"),
    [
        # a studio portrait: white all round, and a dark one: black all round
        ("bright", {"brightness_p05": 0.95}),
        ("dark", {"brightness_p95": 0.05}),
        # a small face on one tone, found, and one that is not found but shows soft texture
        ("blank", {"contrast": 0.3, "entropy": 1.0, "texture_entropy": 0.0}),
        ("blank", {**NO_FACE, "contrast": 0.3, "entropy": 1.0, "texture_entropy": 6.0}),
        # turning the picture finds a face too, but no surer one, or none that is sure
        ("rolled_face", {"face_score": 0.8, "turned_degrees": 180, "turned_score": 0.82}),
        ("rolled_face", {"face_score": 0.1, "turned_degrees": 180, "turned_score": 0.3}),
    ],
)
def test_what_a_check_does_not_mean_is_not_flagged(check: str, sound: dict[str, Any]) -> None:
    assert flagged(check, inputs([*NORMAL, sound])) == set()


def test_a_rolled_face_says_how_to_turn_it() -> None:
    given = inputs([{"face_score": 0.6, "turned_degrees": 270, "turned_score": 0.9}])
    rows = registry.run(given, ["rolled_face"]).every()
    assert evidence(rows, "000.jpg")["turn_by"] == 270


def test_a_face_of_unknown_pose_is_not_judged_as_turned() -> None:
    assert registry.run(inputs([{}, {}]), ["turned_face"]).every().empty


def test_an_unreadable_image_is_judged_by_no_other_check() -> None:
    broken = {"error": "x", "error_kind": "empty", "brightness_p95": 0.0, "face_score": 0.0}
    rows = registry.run(inputs([*NORMAL, broken])).every()
    assert set(rows.loc[rows["path"] == "010.jpg", "check"]) == {"unreadable"}


finite = st.floats(0.0, 1.0, allow_nan=False)


@given(arrays(np.float64, st.integers(1, 30), elements=finite), st.floats(0.05, 0.9))
def test_scores_stay_in_range_and_fall_as_the_value_gets_worse(values: np.ndarray, threshold: float) -> None:
    values = np.sort(values)
    low, high = low_is_bad(values, threshold, 0.0, 1.0), high_is_bad(values, threshold, 1.0, 0.0)
    assert low.min() >= 0 and low.max() <= 1 and (np.diff(low) >= 0).all()
    assert high.min() >= 0 and high.max() <= 1 and (np.diff(high) <= 0).all()
    assert ((low < 0.5) == (values < threshold)).all()


@given(arrays(np.float64, st.integers(0, 30), elements=finite), st.floats(0.5, 6))
def test_a_fence_stays_within_its_bounds(values: np.ndarray, z: float) -> None:
    assert 0.2 <= lower_fence(values, z, 0.2, 0.4) <= 0.4


def evidence(rows: pd.DataFrame, path: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(rows.set_index("path").loc[path, "evidence"])
    return found


def test_exact_copies_share_a_group_and_name_the_best_of_them() -> None:
    rows = registry.run(
        inputs([{"pixel_sha256": "aa", "sharpness": 10.0}, {"pixel_sha256": "bb"}, {"pixel_sha256": "aa"}]),
        ["exact_duplicate"],
    ).every()
    assert rows["group"].tolist() == ["exact-aa", "", "exact-aa"]
    assert evidence(rows, "000.jpg")["of"] == "002.jpg"
    assert (evidence(rows, "000.jpg")["rank"], evidence(rows, "002.jpg")["rank"]) == (2, 1)


def test_the_larger_then_the_less_compressed_copy_is_the_best() -> None:
    rows = registry.run(
        inputs(
            [{"bytes": 9000}, {"width": 96, "height": 96}, {"bytes": 9500}],
            pairs=[("000.jpg", "001.jpg", 0.99), ("001.jpg", "002.jpg", 0.99), ("000.jpg", "002.jpg", 0.99)],
        ),
        ["near_duplicate"],
    ).every()
    assert [evidence(rows, path)["rank"] for path in rows["path"]] == [3, 1, 2]


def test_a_near_link_joins_exact_groups_and_carries_conflict_and_leak_through() -> None:
    given_inputs = inputs(
        [
            {"pixel_sha256": "aa", "label": "sad", "split": "train"},
            {"pixel_sha256": "aa", "label": "sad", "split": "train"},
            {"pixel_sha256": "bb", "label": "happy", "split": "test"},
            {"pixel_sha256": "cc", "label": "happy", "split": "test"},
        ],
        pairs=[("aa", "bb", 0.97)],
    )
    rows = registry.run(given_inputs, ["near_duplicate", "label_conflict", "split_leak"]).every()
    for check in ("near_duplicate", "label_conflict", "split_leak"):
        mine = rows[rows["check"] == check]
        assert mine["is_issue"].tolist() == [True, True, True, False]
        assert mine["group"].tolist() == ["near-aa", "near-aa", "near-aa", ""]
    assert evidence(rows[rows["check"] == "label_conflict"], "000.jpg")["kind"] == "near"


def test_a_pair_below_the_probability_or_of_one_session_is_no_copy() -> None:
    assert flagged("near_duplicate", inputs([{}, {}], pairs=[("000.jpg", "001.jpg", 0.3)])) == set()
    session = inputs([{}, {}], pairs=[("000.jpg", "001.jpg", 0.99)])
    session.pairs["relation"] = "same_session"
    assert flagged("near_duplicate", session) == set()


def test_shots_of_one_session_are_shown_and_neither_conflict_nor_leak() -> None:
    shots = inputs([{"label": "sad", "split": "train"}, {"label": "happy", "split": "test"}, {}])
    shots.pairs.loc[0] = ["000.jpg", "001.jpg", 0.4, "same view", "same_session"]
    rows = registry.run(shots, ["near_duplicate", "label_conflict", "split_leak", "same_session"]).every()
    assert set(rows.loc[rows["is_issue"], "check"]) == {"same_session"}
    told = evidence(rows[rows["check"] == "same_session"], "000.jpg")
    assert (told["of"], told["labels"], told["shots"]) == ("001.jpg", ["happy", "sad"], 2)
    # what judges people reads it beside the copies
    assert evidence(rows[rows["check"] == "near_duplicate"], "001.jpg")["same_session"] == "000.jpg"
    assert "no copy" in summary.evidence_words(told)


def test_a_chain_of_copies_is_no_conflict_of_its_ends() -> None:
    chain = inputs(
        [{"label": "sad", "width": 96}, {"label": "sad"}, {"label": "happy"}],
        pairs=[("000.jpg", "001.jpg", 0.95), ("001.jpg", "002.jpg", 0.95)],
    )
    assert flagged("label_conflict", chain) == set()


def test_evidence_says_what_was_done_to_the_other_picture_and_file() -> None:
    given_inputs = inputs([{"bytes": 1000}, {"bytes": 500}, {"width": 96, "height": 96, "bytes": 4000}])
    given_inputs.pairs.loc[0] = ["000.jpg", "001.jpg", 0.99, "mirrored, 6 % tighter crop", "near_duplicate"]
    given_inputs.pairs.loc[1] = ["001.jpg", "002.jpg", 0.98, "same view", "near_duplicate"]
    given_inputs.pairs.loc[2] = ["000.jpg", "002.jpg", 0.97, "same view", "near_duplicate"]
    rows = registry.run(given_inputs, ["near_duplicate"]).every()
    words = [evidence(rows, f"00{n}.jpg")["transform"] for n in range(3)]
    assert words == [
        "mirrored, 6 % wider crop, less compressed",
        "mirrored, 6 % tighter crop, more compressed",
        "same view, enlarged",
    ]


def test_an_unknown_check_names_the_known_ones() -> None:
    with pytest.raises(registry.UnknownCheckError, match="there are: unreadable, dark"):
        registry.select(["sharpnes"])
