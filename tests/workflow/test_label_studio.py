"""Label Studio: tasks out, annotations in, as decisions of those who made them."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from curation.formats.labelstudio import config
from tests.conftest import Curate, as_json
from tests.workflow.exports import kept_rows


@pytest.fixture
def own(curated: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(curated, tmp_path / "own"))


def annotated(task: dict[str, Any], person: str, time: str = "2026-01-01", **chosen: str | list[str]) -> dict[str, Any]:
    """A task with one more annotation, as Label Studio exports it; a list is an answer to a multiple choice."""
    result = [
        {
            "from_name": name,
            "to_name": "image",
            "type": "choices",
            "value": {"choices": [value] if isinstance(value, str) else value},
        }
        for name, value in chosen.items()
    ]
    annotation = {"completed_by": {"id": 1, "email": f"{person}@example.org"}, "updated_at": time, "result": result}
    return task | {"annotations": [*task.get("annotations", []), annotation | {"was_cancelled": False}]}


def test_tasks_and_answers_go_round(own: Path, curate: Curate, tmp_path: Path) -> None:
    curate("export", "cleaned", "--format", "labelstudio", "-o", tmp_path / "out", "-w", own)
    tasks = json.loads((tmp_path / "out" / "tasks.json").read_text(encoding="utf-8"))
    expected = kept_rows(own)
    assert [task["data"]["path"] for task in tasks] == expected["path"].tolist()
    for task in tasks:
        data = base64.b64decode(task["data"]["image"].partition("base64,")[2])
        assert hashlib.sha256(data).hexdigest() == task["data"]["sha256"]
        assert task["predictions"][0]["result"][0]["value"]["choices"] == [task["data"]["label"]]
    other = next(label for label in sorted(set(expected["label"])) if label != tasks[1]["data"]["label"])
    answers = [
        annotated(tasks[0], "ada", verdict="exclude"),
        annotated(tasks[1], "ada", label=other),
        annotated(tasks[2], "bob", label=tasks[2]["data"]["label"]),
        annotated(annotated(tasks[3], "ada", verdict="exclude"), "bob", label=tasks[3]["data"]["label"]),
        annotated(tasks[4], "ada"),
        annotated(tasks[5] | {"data": tasks[5]["data"] | {"sha256": "0" * 64}}, "ada", verdict="exclude"),
        annotated(annotated(tasks[6], "ada", "2026-01-01", verdict="exclude"), "ada", "2026-01-02", label=other),
        *({**task, "annotations": []} for task in tasks[7:]),
    ]
    (tmp_path / "project.json").write_text(json.dumps(answers), encoding="utf-8")
    taken = as_json(curate("annotations", tmp_path / "project.json", "-w", own, "--json"))
    counts = {name: taken[name] for name in ("decided", "known", "unanswered", "unknown_paths", "disagreed")}
    assert counts == {"decided": 4, "known": 0, "unanswered": 1, "unknown_paths": 1, "disagreed": 2}
    now = pd.read_parquet(own / "manifests" / f"{taken['version']}.parquet").set_index("path")
    paths = expected["path"]
    assert now.at[paths[0], "status"] == "excluded"
    now = now["label"]
    assert (now[paths[1]], now[paths[6]]) == (other, other)
    log = pd.DataFrame(as_json(curate("log", "-w", own, "--json")))
    said = log[log["actor"].str.startswith("person:")].set_index("path")
    assert said.loc[paths[2], ["actor", "action"]].tolist() == ["person:bob", "keep"]
    assert paths[3] not in said.index
    again = as_json(curate("annotations", tmp_path / "project.json", "-w", own, "--json"))
    assert (again["decided"], again["known"], again["version"]) == (0, 4, taken["version"])
    assert as_json(curate("verify", "-w", own, "--json"))["ok"]


def test_several_labels_chosen_are_a_soft_label_and_an_unknown_class_asks(
    own: Path, curate: Curate, tmp_path: Path
) -> None:
    curate("export", "cleaned", "--format", "labelstudio", "-o", tmp_path / "out", "-w", own)
    tasks = json.loads((tmp_path / "out" / "tasks.json").read_text(encoding="utf-8"))
    answers = [
        annotated(tasks[0], "ada", label=["sad", "neutral"]),
        annotated(tasks[1], "ada", label=["sad", "bored"]),
        annotated(tasks[2], "ada", label="saad"),
    ]
    (tmp_path / "project.json").write_text(json.dumps(answers), encoding="utf-8")
    said = curate("annotations", tmp_path / "project.json", "-w", own).stdout
    assert (
        "1 decisions imported" in said and "'bored'" in said and "did you mean 'sad'" in said and "--new-class" in said
    )
    log = pd.DataFrame(as_json(curate("log", "-w", own, "--json")))
    (soft,) = log[log["actor"] == "person:ada"].to_dict("records")
    assert (soft["path"], soft["action"]) == (tasks[0]["data"]["path"], "soften")
    version = as_json(curate("show", "cleaned", "-w", own, "--json"))["name"]
    rows = pd.read_parquet(own / "manifests" / f"{version}.parquet").set_index("path")
    assert json.loads(rows.at[soft["path"], "soft_label"]) == {"neutral": 0.5, "sad": 0.5}
    curate("annotations", tmp_path / "project.json", "--new-class", "-w", own)
    newest = as_json(curate("show", "cleaned", "-w", own, "--json"))["name"]
    rows = pd.read_parquet(own / "manifests" / f"{newest}.parquet").set_index("path")
    assert json.loads(rows.at[tasks[1]["data"]["path"], "soft_label"]) == {"bored": 0.5, "sad": 0.5}


def test_what_is_no_export_is_one_sentence(own: Path, curate: Curate, tmp_path: Path) -> None:
    (tmp_path / "project.json").write_text('[{"image": "1.jpg", "choice": "sad"}]')
    done = curate("annotations", tmp_path / "project.json", "-w", own, check=False)
    assert done.returncode == 1
    assert "export the project from Label Studio as JSON" in done.stderr and "Traceback" not in done.stderr


def test_label_studios_own_library_takes_the_interface_and_the_tasks(
    curated: Path, curate: Curate, tmp_path: Path
) -> None:
    interface = pytest.importorskip("label_studio_sdk.label_interface").LabelInterface
    hostile = interface(config(['<happy> & "sad"', "neutral"]))
    assert set(hostile.get_tag("label").labels) == {'<happy> & "sad"', "neutral"}
    curate("export", "cleaned", "--format", "labelstudio", "-o", tmp_path / "out", "-w", curated)
    read = interface((tmp_path / "out" / "config.xml").read_text(encoding="utf-8"))
    for task in json.loads((tmp_path / "out" / "tasks.json").read_text(encoding="utf-8")):
        assert read.validate_task({"data": task["data"]})
        assert read.validate_prediction(task["predictions"][0])
