"""The toolkit from Python, as in a notebook."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import pandas as pd
import pytest

import curation
import reports
import training
from tests.workflow.exports import kept_rows


@pytest.fixture
def own(curated: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(curated, tmp_path / "own"))


@pytest.mark.parametrize("package", [curation, training, reports])
def test_every_public_name_can_be_imported(package: object) -> None:
    pytest.importorskip("torch")
    for name in package.__all__:  # type: ignore[attr-defined]
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError):
        package.no_such_name  # type: ignore[attr-defined] # noqa: B018


def test_run_decide_undo_and_export_give_what_the_command_gives(own: Path, sample: Path, tmp_path: Path) -> None:
    workspace = curation.Workspace(own, quiet=True)
    outcome = workspace.run(sample)
    before = workspace.version()
    assert outcome.record["measured_now"] == 0 and outcome.record["manifest_hash"] == before.hash
    path = before.kept["path"].iloc[0]
    changed = workspace.decide(path, "exclude", reason="no", by="ada")
    assert changed.hash != before.hash and path not in set(changed.kept["path"])
    assert workspace.diff(before.name, changed.name)["path"].tolist() == [path]
    assert workspace.undo(changed.name, by="ada").hash == before.hash
    assert workspace.verify() == []
    assert workspace.version("cleaned").export("coco", tmp_path / "out") == len(kept_rows(own))
    assert workspace.version().torch("train").paths


def test_what_others_answered_comes_in_and_cards_go_out(own: Path, tmp_path: Path) -> None:
    workspace = curation.Workspace(own, quiet=True)
    counted = workspace.checks()
    pd.testing.assert_frame_equal(workspace.check(), counted)
    assert workspace.version("cleaned").export("labelstudio", tmp_path / "tasks") == len(kept_rows(own))
    task = json.loads((tmp_path / "tasks" / "tasks.json").read_text(encoding="utf-8"))[0]
    chosen = {"from_name": "verdict", "to_name": "image", "type": "choices", "value": {"choices": ["exclude"]}}
    annotation = {"completed_by": {"email": "ada@example.org"}, "updated_at": "2026", "result": [chosen]}
    (tmp_path / "project.json").write_text(json.dumps([task | {"annotations": [annotation]}]), encoding="utf-8")
    assert workspace.annotations(tmp_path / "project.json").record["decided"] == 1
    assert task["data"]["path"] not in set(workspace.version().kept["path"])
    assert workspace.pull().record["decided"] == 0
    assert all(file.exists() for file in workspace.cards(tmp_path / "cards"))


def test_wrong_use_is_the_same_sentence_as_on_the_command_line(own: Path, tmp_path: Path) -> None:
    workspace = curation.Workspace(own, quiet=True)
    with pytest.raises(curation.CurationError, match="no version"):
        workspace.version("v99")
    with pytest.raises(curation.CurationError, match="give a value with relabel"):
        workspace.decide("x.jpg", "relabel")
    (tmp_path / "mine").touch()
    with pytest.raises(curation.CurationError, match="is not a workspace"):
        curation.Workspace(tmp_path)


def test_what_a_notebook_shows_has_pictures_and_escapes_names(own: Path) -> None:
    workspace = curation.Workspace(own, quiet=True)
    gallery = workspace.gallery("near_duplicate", limit=4)
    shown = gallery._repr_html_()
    assert len(gallery) == 4 and shown.count("data:image/jpeg") == 4
    path = gallery.frame["path"].iloc[0]
    explained = workspace.explain(path)
    assert "data:image/jpeg" in explained._repr_html_() and path in str(explained)
    for shown in (workspace._repr_html_(), workspace.version()._repr_html_()):
        assert "<table>" in shown
    hostile = curation.Gallery("<script>", gallery.frame.assign(label="<img onerror=x>"), {})._repr_html_()
    assert "<script>" not in hostile and "<img onerror" not in hostile


def test_outside_a_notebook_everything_prints_itself(own: Path) -> None:
    workspace = curation.Workspace(own, quiet=True)
    assert "versions" in repr(workspace) and "low_contrast" in repr(workspace)
    gallery = workspace.gallery("low_contrast", limit=3)
    assert repr(gallery).startswith("Low contrast: 3 of ") and gallery.frame["path"].iloc[0] in repr(gallery)
    explained = workspace.explain(gallery.frame["path"].iloc[0])
    assert repr(explained) == str(explained) == "\n".join(explained.lines)
    assert repr(curation.Outcome(("one", "two"), {})) == "one\ntwo"
    assert "images kept" in repr(workspace.version())


def test_issues_have_their_evidence_as_columns_and_in_words(own: Path) -> None:
    found = curation.Workspace(own, quiet=True).issues("low_contrast")
    assert (found["value"] < found["threshold"]).all() and (found["measure"] == "contrast").all()
    assert found["words"].str.startswith("contrast ").all() and "evidence" not in found
    every = curation.Workspace(own, quiet=True).issues()
    copies = every[every["check"] == "near_duplicate"]
    assert copies["of"].notna().all() and copies["value"].isna().all()


def test_all_issues_come_in_blocks_of_one_check_each(own: Path) -> None:
    space = curation.Workspace(own, quiet=True)
    blocks, whole = list(space.issue_blocks()), space.issues(flagged_only=False)
    assert all(block["check"].nunique() == 1 for block in blocks) and len(blocks) == whole["check"].nunique()
    keys = ["path", "check", "score", "is_issue", "words"]
    assert pd.concat(blocks)[keys].to_numpy().tolist() == whole[keys].to_numpy().tolist()
    assert space.checks().set_index("check")["scored"].to_dict() == whole["check"].value_counts().to_dict()


def test_looking_at_a_workspace_that_is_not_there_makes_none(tmp_path: Path, sample: Path) -> None:
    workspace = curation.Workspace(tmp_path / "nowhere", quiet=True)
    assert "nothing there yet" in repr(workspace)
    for look in (workspace.issues, workspace.versions, workspace.verify, workspace.apply, workspace.report):
        with pytest.raises(curation.CurationError, match="curate run"):
            look()
    assert not (tmp_path / "nowhere").exists()
    workspace.run(sample, limit=20)
    assert len(workspace.images) == 20


def test_a_wrong_keyword_fails_at_once_and_names_the_right_one(own: Path) -> None:
    with pytest.raises(curation.CurationError, match="did you mean 'measure'"):
        curation.Workspace(own, mesure={"detector": "yunet"})
    with pytest.raises(curation.CurationError, match="did you mean 'face_score'"):
        curation.Workspace(own, checks={"facescore": 0.5})
    workspace = curation.Workspace(own, quiet=True)
    with pytest.raises(TypeError, match="did you mean 'epochs'"):
        workspace.train("fast", epoch=3)
    with pytest.raises(TypeError, match="did you mean 'policy'"):
        workspace.run("nowhere", polcy="deck")
    with pytest.raises(TypeError, match="did you mean 'check'"):
        workspace.issues(chek="dark")
    with pytest.raises(TypeError, match="did you mean 'transform'"):
        workspace.version().torch("train", transfrom=None)


def test_what_a_method_returns_reads_as_sentences_outside_notebooks_too(own: Path) -> None:
    gate = curation.Workspace(own, quiet=True).gate()
    assert repr(gate).splitlines() == gate.lines() and "Limit(" not in repr(gate)


def test_settings_print_as_the_file_that_would_give_them(own: Path) -> None:
    workspace = curation.Workspace(own, quiet=True, checks={"face_score": 0.6})
    text = str(workspace.settings)
    assert "[checks]" in text and "face_score = 0.6" in text and repr(workspace.settings) == text
    assert curation.Settings.model_validate(tomllib.loads(text)) == workspace.settings


def test_what_is_done_is_written_to_the_log_without_secrets(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["curate", "tag", "s3://key:word@bucket/x?token=1"])
    workspace = curation.Workspace(own)
    workspace.tag("cleaned", "paper")
    with pytest.raises(curation.CurationError):
        workspace.undo("v99")
    lines = (own / "curate.log").read_text(encoding="utf-8").splitlines()
    text = "\n".join(lines[-4:])
    assert [line.split()[3] for line in lines[-4:]] == ["INFO", "INFO", "INFO", "ERROR"]
    assert "begins: curate tag s3://bucket/x" in text and "no version 'v99'" in text
    assert "word" not in text and "token" not in text
