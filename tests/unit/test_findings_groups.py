"""Who is in the images: tables and names of files, groups, and what insightface's network estimates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from curation.base.workspace import Workspace, create_workspace
from curation.evidence import estimated
from curation.evidence.groups import AttributesError, read_attributes


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return create_workspace(tmp_path / "space")


def test_a_folder_named_as_utkface_says_gender_race_and_age_group(tmp_path: Path, workspace: Workspace) -> None:
    folder = tmp_path / "faces"
    folder.mkdir()
    for name in ("25_1_2_20170104.jpg", "7_0_4_20170104.jpg", "83_1_0_20170104.jpg", "holiday.jpg"):
        (folder / name).write_bytes(b"")
    found = read_attributes(str(folder), workspace).set_index("path")[["gender", "race", "age"]]
    assert found.loc["25_1_2_20170104.jpg"].tolist() == ["female", "Asian", "20 to 39"]
    assert found.loc["7_0_4_20170104.jpg"].tolist() == ["male", "other", "0 to 9"]
    assert found.loc["83_1_0_20170104.jpg"].tolist() == ["female", "White", "60 and older"]
    assert len(found) == 3


def test_a_table_may_name_images_of_the_data_set_or_files_beside_it(tmp_path: Path, workspace: Workspace) -> None:
    (tmp_path / "mine.jpg").write_bytes(b"")
    file = tmp_path / "people.csv"
    file.write_text("path,age,label\nmine.jpg,12.5,sad\ntrain/happy/1.jpg,adult,\nx.jpg,,happy\n")
    found = read_attributes(str(file), workspace)
    assert found["url"].tolist() == [str(tmp_path / "mine.jpg"), "", ""]
    assert found["age"].tolist() == ["10 to 19", "adult", ""]
    assert found["label"].tolist() == ["sad", "", "happy"]


def test_what_says_nothing_of_people_is_one_sentence(tmp_path: Path, workspace: Workspace) -> None:
    file = tmp_path / "votes.csv"
    file.write_text("path,happy\na.jpg,3\n")
    with pytest.raises(AttributesError, match="column path and one of gender, race, age"):
        read_attributes(str(file), workspace)
    folder = tmp_path / "faces"
    folder.mkdir()
    (folder / "holiday.jpg").write_bytes(b"")
    with pytest.raises(AttributesError, match="AGE_GENDER_RACE"):
        read_attributes(str(folder), workspace)


def test_an_absent_pack_is_one_sentence_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(estimated.EstimatesError, match=r"genderage\.onnx.*--attributes TABLE"):
        estimated.network_file(f"{estimated.PREFIX}{tmp_path}")


def genderage(folder: Path, outputs: int) -> Path:
    """Write a network that answers female, male, age / 100 from the light of the middle of its input; return it."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    pytest.importorskip("insightface", reason="insightface is not installed")
    helper, number = onnx.helper, onnx.TensorProto.FLOAT
    # light is -1..1; male = light, female = -light, age = 0.4
    weights = helper.make_tensor("w", number, [1, outputs], [-1.0, 1.0, *([0.0] * (outputs - 2))])
    bias = helper.make_tensor("b", number, [outputs], [0.0, 0.0, *([0.4] * (outputs - 2))])
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["x"], ["m"], axes=[2, 3], keepdims=0),
            helper.make_node("ReduceMean", ["m"], ["one"], axes=[1], keepdims=1),
            helper.make_node("MatMul", ["one", "w"], ["scaled"]),
            helper.make_node("Add", ["scaled", "b"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", number, ["n", 3, 96, 96])],
        [helper.make_tensor_value_info("y", number, ["n", outputs])],
        [weights, bias],
    )
    file = folder / estimated.NETWORK
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), file)
    return file


def test_the_network_of_a_pack_is_asked_about_the_face_not_the_picture(tmp_path: Path) -> None:
    file = genderage(tmp_path, 3)
    network = estimated.open_network(estimated.network_file(f"{estimated.PREFIX}{tmp_path}"))
    picture = np.zeros((60, 80), np.uint8)
    picture[:, 40:] = 255  # the right half is light
    box = np.array([0.55, 0.2, 0.4, 0.6])
    assert file.is_file()
    assert estimated.estimate(network, picture, box) == ("male", 40)
    assert estimated.estimate(network, picture, box - [0.5, 0, 0, 0]) == ("female", 40)


def test_another_network_under_that_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(estimated.EstimatesError, match="does not answer gender and age"):
        estimated.open_network(genderage(tmp_path, 5))
    (tmp_path / estimated.NETWORK).write_bytes(b"no network")
    with pytest.raises(estimated.EstimatesError, match="no network that insightface can read"):
        estimated.open_network(tmp_path / estimated.NETWORK)


def test_estimates_become_groups_like_known_attributes() -> None:
    from curation.evidence.groups import as_groups

    said = pd.DataFrame({"path": ["a", "b", "c"], "gender": ["male", "", "female"], "age": ["7", "", "61"]})
    found = as_groups(said)
    assert found["age"].tolist() == ["0 to 9", "", "60 and older"]
    assert found["gender"].tolist() == ["male", "", "female"]
