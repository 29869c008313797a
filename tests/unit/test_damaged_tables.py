"""Tables of a workspace that somebody wrote over: one sentence that names the file, and advice that works."""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from curation.base import files, reading, tables
from curation.base.errors import WorkspaceError
from curation.base.issues import read_issues
from curation.base.workspace import Workspace, create_workspace, read_listing
from curation.cli import commands
from curation.decisions import log
from curation.pipeline import label_store, queries, steps, subjects, summary

PAIR = {"pixel_sha256_a": "a", "pixel_sha256_b": "b", "transform": "none", "relation": "copy"}
PAIRS = pd.DataFrame([{**PAIR, "probability": 1.0, "score": 1.0}])
ISSUE = {"path": "a.jpg", "check": "dark", "score": 0.5, "is_issue": True, "group": "", "evidence": "{}"}


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    return create_workspace(tmp_path / "space")


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.drop(columns="pixel_sha256_a"),
        lambda table: table.assign(probability="likely"),
        lambda table: table.assign(probability=float("nan")),
        lambda table: table.assign(relation=[b"\xff"]),
    ],
)
def test_pairs_of_another_shape_are_damaged(space: Workspace, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    files.write_table(space.pairs, PAIRS)
    assert len(steps.read_pairs(space)) == 1
    files.write_table(space.pairs, change(PAIRS))
    with pytest.raises(WorkspaceError, match=r"pairs\.parquet is damaged .* curate run DATA"):
        steps.read_pairs(space)


def test_issues_of_another_shape_are_damaged(space: Workspace) -> None:
    table = pd.DataFrame([ISSUE])
    files.write_table(space.issues, table)
    assert len(read_issues(space).rows) == 1
    for other in (table[["path"]], pd.concat([table] * 3), table.astype(object).map(lambda _: "x")):
        files.write_table(space.issues, other)
        with pytest.raises(WorkspaceError, match=r"issues\.parquet is damaged .* curate run DATA"):
            read_issues(space)


ROW = {"path": "a.jpg", "sha256": "a", "split": "", "label": "sad", "original_label": "sad", "status": "kept"}
IMAGES = pd.DataFrame([{**ROW, "bytes": 9, "width": 48, "height": 48, "mode": "L"}])
MANIFEST = pd.DataFrame([{**ROW, "reason": "", "group": "", "weight": 1, "soft_label": ""}])


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("manifest", lambda table: table.drop(columns="status"), "no column 'status'"),
        ("manifest", lambda table: table.assign(status="lost"), "'status' holds other values than kept, excluded"),
        ("manifest", lambda table: table.assign(weight="heavy"), "'weight' cannot be float64"),
        ("manifest", lambda table: table.assign(weight=None), "'weight' has empty cells"),
        ("manifest", lambda table: table.assign(label=[None]), "'label' has empty cells"),
        ("manifest", lambda table: pd.concat([table, table]), "path occur twice"),
        ("issues", lambda table: table.assign(score=1.5), "'score' is not within 0 and 1"),
        ("issues", lambda table: table.assign(score="nan"), "'score' is not within 0 and 1"),
        ("issues", lambda table: table.assign(is_issue="False"), "'is_issue' cannot be bool: it holds other values"),
        ("issues", lambda table: table.assign(is_issue=2), "'is_issue' cannot be bool: it holds other values"),
        ("images", lambda table: table.assign(width=47.5), "'width' cannot be int64: it holds other values"),
        ("issues", lambda table: table.assign(check="Dark!"), "'check' holds other names than"),
        ("issues", lambda table: pd.concat([table, table]), "path and check occur twice"),
    ],
)
def test_a_table_that_is_not_valid_names_the_column_and_what_is_wrong(
    name: tables.TableName, change: Callable[[pd.DataFrame], pd.DataFrame], said: str
) -> None:
    table = {"manifest": MANIFEST, "images": IMAGES, "issues": pd.DataFrame([ISSUE])}[name]
    with pytest.raises(tables.TableError, match=f"the {name} table is not valid: .*{said}"):
        tables.checked(name, change(table))


def test_a_table_gets_its_order_and_kinds_of_columns_and_its_optional_columns() -> None:
    shuffled = MANIFEST[MANIFEST.columns[::-1]].assign(more=1).astype({"label": "category"})
    found = tables.checked("manifest", shuffled)
    assert list(found) == tables.columns("manifest")
    assert found.loc[0, "subject"] == "" and found["weight"].dtype == "float64" and found["label"].dtype == "str"


def test_a_listing_and_a_record_of_ingest_of_another_shape_are_damaged(space: Workspace) -> None:
    row = {"path": "a.jpg", "url": "/data/a.jpg", "bytes": 1, "mtime_ns": 1, "split": "", "label": ""}
    table = pd.DataFrame([row])
    for other in (table.drop(columns="bytes"), table.assign(bytes="x"), pd.concat([table] * 2), table.assign(url=3)):
        files.write_table(space.listing, other)
        with pytest.raises(WorkspaceError, match=r"listing\.parquet is damaged .* delete it and run: curate run DATA"):
            read_listing(space)
    for record in ({"left_out": 3}, {"left_out": ["x"]}, {"left_out": [{"path": "a"}]}, {"warnings": [1]}):
        files.write_json(space.ingest, record)
        with pytest.raises(WorkspaceError, match=r"ingest\.json is damaged .* delete it and run: curate run DATA"):
            steps.read_problems(space)
    space.ingest.unlink()
    assert steps.read_problems(space) == ([], [])


def test_a_log_without_lines_on_an_image_is_an_empty_table(space: Workspace) -> None:
    assert queries.log_summary(queries.log_table(space)).empty


def test_a_word_that_is_not_utf8_is_one_sentence_wherever_a_table_is_asked_for_it(
    space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.Log(space.decisions).append("person:ann", [log.Draft("a.jpg", "exclude")])
    monkeypatch.setattr(sys, "argv", ["curate", "log", "--path=\udcd8", "-w", str(space.root)])
    with pytest.raises(SystemExit, match="is not UTF-8, and nothing of that name is known"):
        commands.main()


@pytest.mark.parametrize("text", ["", "nope", "3", "[1]", '"x"', "{}, {}", '{"a": 1', "[" * 50_000])
def test_evidence_that_is_no_object_is_damaged(text: str) -> None:
    assert tables.facts(['{"rank": 1}', "{}"]) == [{"rank": 1}, {}]
    with pytest.raises(tables.TableError, match=r"the evidence in issues\.parquet is damaged .* run: curate check"):
        tables.facts(["{}", text])


@pytest.mark.parametrize(
    "fact",
    [
        {"measure": "brightness", "value": "x"},
        {"measure": "brightness", "value": 1, "threshold": [1]},
        {"posterior": {}},
        {"posterior": {}, "given": "sad", "wrong": "x", "suggestion": "", "probability": 1},
        {"person": "found"},
        {"person": "found", "images": 2, "labels": [], "expected": 1},
        {"person": "found", "images": 2, "splits": 7},
        {"kind": "near", "probability": None},
        {"kind": "near", "labels": 7},
        {"looks_like": "outlier"},
        {"mark": "text", "probability": 1, "box": [1], "how": "x"},
        {"covered": 7, "probability": 1.0},
    ],
)
def test_evidence_that_no_check_writes_is_damaged_and_never_a_traceback(fact: dict[str, object]) -> None:
    with pytest.raises(tables.TableError, match=r"the evidence in issues\.parquet is damaged"):
        summary.evidence_words(fact)


def test_evidence_that_a_policy_goes_by_has_its_fields() -> None:
    for fact in ("{}", '{"rank": "x"}', '{"rank": true}', '{"rank": 1.5}'):
        with pytest.raises(tables.TableError, match="rank"):
            tables.facts([fact], rank=int)


JUDGED = {
    **{"revision": label_store.REVISION, "key": "k", "data": "d", "classes": ["happy", "sad"], "sharpness": 1.0},
    **{"rates": {"happy": 0.1, "sad": 0.2}, "rate_draws": [[0.1, 0.2], [0.2, 0.1]], "remarks": ["words"]},
    "jury": [{"name": "models", "weight": 1.0, "seen": 0.0, "skill": 0.5, "slope": 1, "sentence": "words"}],
}


@pytest.mark.parametrize(
    "other",
    [
        {"key": 3},
        {"data": None},
        {"classes": "happy"},
        {"rates": {"happy": "x"}},
        {"rates": {"happy": 0.1}},
        {"rate_draws": [[0.1]]},
        {"rate_draws": []},
        {"rate_draws": [0.1]},
        {"jury": [{"name": "models"}]},
        {"jury": {}},
        {"sharpness": True},
        {"remarks": [3]},
        {"taught": []},
        {"taught": {"sentences": 3}},
    ],
)
def test_a_judgement_of_another_shape_is_damaged(space: Workspace, other: dict[str, object]) -> None:
    record = space.labels.with_suffix(".json")
    files.write_json(record, JUDGED)
    assert label_store.remarks_of(space) == ["words"]
    files.write_json(record, {**JUDGED, **other})
    with pytest.raises(WorkspaceError, match=r"labels\.json is damaged .* run: curate check --labels fast"):
        label_store.remarks_of(space)


def test_who_is_who_of_another_shape_is_damaged(space: Workspace) -> None:
    record = space.subjects.with_suffix(".json")
    assert subjects.record_of(space) == {}
    for other in ({}, {"key": 3, "network": "dlib"}, {"key": "k", "network": ["dlib"]}):
        files.write_json(record, other)
        with pytest.raises(WorkspaceError, match=r"subjects\.json is damaged .* run DATA"):
            subjects.record_of(space)


def npz(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


WHOLE = npz(a=np.arange(500), b=np.ones((3, 4)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80noise",
        WHOLE[: len(WHOLE) // 2],
        WHOLE[:60] + bytes(40) + WHOLE[100:],
        pickle.dumps({"a": 1}),
        npz(a=np.array([{"code": 1}], dtype=object)),
        np.lib.format.magic(1, 0) + b"\xff\xff",
    ],
    ids=range(7),
)
def test_arrays_that_are_damaged_or_code_are_one_sentence(data: bytes) -> None:
    assert reading.arrays(WHOLE)["b"].shape == (3, 4)
    with pytest.raises(ValueError, match=r".") as caught:
        reading.arrays(data)
    assert "\n" not in str(caught.value)


MEMORY = {
    **{"key": np.array("k"), "labels": np.array([0, 1]), "posterior": np.full((2, 3), 0.3)},
    **{"calibrated": np.zeros((1, 2, 3)), "neighbours": np.full((2, 2), 0.5), "dynamics": np.zeros((2, 2))},
}


@pytest.mark.parametrize(
    "other",
    [
        {"labels": np.array([0, 2])},
        {"labels": np.array([0.0, 1.0])},
        {"labels": np.array([0, 1, 1])},
        {"posterior": np.full((2, 4), 0.3)},
        {"posterior": np.full((2, 3), "x")},
        {"calibrated": np.array(3)},
        {"dynamics": np.zeros(2)},
        {"neighbours": np.zeros((2, 3))},
    ],
)
def test_what_the_judge_knows_of_another_shape_is_damaged(space: Workspace, other: dict[str, np.ndarray]) -> None:
    numbers = dict.fromkeys(("wrong", "ambiguous", "suggestion_right", "self_confidence"), 0.5)
    texts = {"label": "sad", "group": "", "suggestion": "sad", "posterior": '{"sad": 1}', "says": ""}
    files.write_table(space.labels, pd.DataFrame([{"path": path, **texts, **numbers} for path in "ab"]))
    files.write_json(space.labels.with_suffix(".json"), JUDGED)
    file = space.labels.with_suffix(".npz")
    files.write_bytes(file, npz(**MEMORY))
    memory = label_store.memory_of(space)
    assert memory is not None and len(memory.known) == 2
    files.write_bytes(file, npz(**{**MEMORY, **other}))
    with pytest.raises(label_store.LabellingError, match=r"labels\.npz is damaged .* --labels fast"):
        label_store.memory_of(space)
