"""Versions: addressed by content, never rewritten, rebuilt from the log, damage noticed."""

import hashlib
import json
from pathlib import Path

import pandas as pd
import pytest

from curation.base import files
from curation.base.errors import WorkspaceError
from curation.base.workspace import Workspace, create_workspace, open_workspace
from curation.decisions import log, manifest, policy
from curation.decisions.log import Draft
from curation.decisions.manifest import content_hash, raw_manifest
from curation.decisions.replay import replay
from tests.unit.frames import images

RAW = raw_manifest(images(("a.jpg", "train", "sad"), ("b.jpg", "train", "happy"), ("é\n.jpg", "test", "sad")))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return create_workspace(tmp_path / "space")


def commit_raw(workspace: Workspace) -> manifest.Version:
    return manifest.commit(workspace, RAW, kind="raw", log_through=0, lineage={})


def commit_cleaned(workspace: Workspace, *drafts: Draft) -> manifest.Version:
    log.Log(workspace.decisions).append("person:ada", list(drafts))
    entries = log.entries_of(log.Log(workspace.decisions).table)
    rows = replay(RAW, entries)
    return manifest.commit(
        workspace, rows, kind="cleaned", log_through=entries[-1].seq, lineage={"policy": {"name": "p"}}
    )


def test_the_hash_depends_on_the_rows_and_not_on_their_order() -> None:
    assert content_hash(RAW) == content_hash(RAW.sample(frac=1, random_state=3))
    changed = RAW.assign(label=["sad", "happy", "happy"])
    assert content_hash(RAW) != content_hash(changed)


def test_the_hash_is_that_of_one_json_array_a_row_sorted_by_path() -> None:
    text = (
        '["a.jpg","a.jpg","train","sad","sad","kept","","",1.0,""]\n'
        '["b.jpg","b.jpg","train","happy","happy","kept","","",1.0,""]\n'
        '["é\\n.jpg","é\\n.jpg","test","sad","sad","kept","","",1.0,""]\n'
    )
    assert content_hash(RAW) == hashlib.sha256(text.encode("utf-8")).hexdigest()


def test_a_column_that_says_nothing_leaves_the_hash_as_it_was_before_there_was_one() -> None:
    assert content_hash(RAW.drop(columns="subject")) == content_hash(RAW)
    assert content_hash(RAW.assign(subject=["ann", "", ""])) != content_hash(RAW)
    before, after = RAW, RAW.assign(subject=["ann", "", ""])
    assert manifest.diff(before, after)["change"].tolist() == ["person"]
    assert manifest.diff(before, after)["after"].str.endswith("person ann").all()


def test_a_version_from_before_there_were_persons_is_read_and_verified(workspace: Workspace) -> None:
    commit_raw(workspace)
    path = workspace.manifests / "v1.parquet"
    path.write_bytes(files.parquet_bytes(files.read_table(path).drop(columns="subject")))
    assert manifest.rows(workspace, manifest.find(workspace, "raw"))["subject"].tolist() == ["", "", ""]
    assert manifest.verify(workspace) == []


def test_what_the_source_states_of_person_and_soft_label_is_in_the_raw_version() -> None:
    stated = images(("a.jpg", "train", "sad")).assign(subject="ann", soft_label='{"sad": 1.0}')
    row = raw_manifest(stated).iloc[0]
    assert (row["subject"], row["soft_label"]) == ("ann", '{"sad": 1.0}')


def test_a_version_is_found_by_kind_name_tag_and_hash(workspace: Workspace) -> None:
    raw, cleaned = commit_raw(workspace), commit_cleaned(workspace, Draft("a.jpg", "exclude"))
    manifest.tag(workspace, cleaned, "paper")
    names = {"raw": "v1", "v1": "v1", "cleaned": "v2", "v2": "v2", "paper": "v2", raw.hash[:8]: "v1"}
    assert {name: manifest.find(workspace, name).name for name in names} == names
    with pytest.raises(WorkspaceError, match="there are: raw, cleaned, v1, v2, paper"):
        manifest.find(workspace, "nothing")


@pytest.mark.parametrize("name", ["raw", "cleaned", "v7", "two words", "", "../x"])
def test_a_tag_cannot_take_the_name_of_something_else(workspace: Workspace, name: str) -> None:
    version = commit_raw(workspace)
    with pytest.raises(WorkspaceError, match="cannot be a tag"):
        manifest.tag(workspace, version, name)


def test_committing_the_same_rows_again_makes_no_new_version(workspace: Workspace) -> None:
    assert commit_raw(workspace) == commit_raw(workspace)
    assert len(manifest.versions(workspace)) == 1


def test_a_committed_version_is_never_rewritten(workspace: Workspace) -> None:
    commit_raw(workspace)
    before = (workspace.manifests / "v1.json").read_bytes()
    with pytest.raises(FileExistsError):
        files.write_new(workspace.manifests / "v1.json", b"other")
    assert (workspace.manifests / "v1.json").read_bytes() == before


def test_every_version_is_rebuilt_from_the_log_byte_for_byte(workspace: Workspace) -> None:
    commit_raw(workspace)
    commit_cleaned(workspace, Draft("a.jpg", "exclude", reason="r"))
    commit_cleaned(workspace, Draft("b.jpg", "relabel", "sad"))
    table = log.Log(workspace.decisions).table
    for version in manifest.versions(workspace)[1:]:
        rebuilt = files.parquet_bytes(manifest.rebuilt(workspace, version, table))
        assert rebuilt == (workspace.manifests / f"{version.name}.parquet").read_bytes()
    assert manifest.verify(workspace) == []


def test_a_left_over_of_a_killed_commit_is_no_version_and_is_replaced(workspace: Workspace) -> None:
    commit_raw(workspace)
    (workspace.manifests / "v2.parquet").write_bytes(b"half")
    assert [version.name for version in manifest.versions(workspace)] == ["v1"]
    assert commit_cleaned(workspace, Draft("a.jpg", "exclude")).name == "v2"
    assert manifest.verify(workspace) == []


def test_verify_names_an_edited_version(workspace: Workspace) -> None:
    commit_raw(workspace)
    commit_cleaned(workspace, Draft("a.jpg", "exclude"))
    edited = manifest.rows(workspace, manifest.find(workspace, "v2")).assign(label="happy")
    files.write_table(workspace.manifests / "v2.parquet", edited)
    assert [problem[:3] for problem in manifest.verify(workspace)] == ["v2:"]


def test_verify_names_an_edited_log(workspace: Workspace) -> None:
    commit_raw(workspace)
    commit_cleaned(workspace, Draft("a.jpg", "exclude"))
    workspace.decisions.write_text(workspace.decisions.read_text().replace("a.jpg", "b.jpg"))
    assert any("log was edited" in problem for problem in manifest.verify(workspace))


def test_verify_names_edits_of_every_field_of_tags_and_records(workspace: Workspace) -> None:
    raw, cleaned = commit_raw(workspace), commit_cleaned(workspace, Draft("a.jpg", "exclude"))
    for version, name in ((raw, "first"), (cleaned, "paper"), (cleaned, "last")):
        manifest.tag(workspace, version, name)
    whole = workspace.tags.read_text().splitlines()
    for number, line in enumerate(whole):
        for field in json.loads(line):
            edited = json.dumps({**json.loads(line), field: "v1" if field == "version" and number else "x"})
            workspace.tags.write_text("\n".join([*whole[:number], edited, *whole[number + 1 :]]) + "\n")
            assert manifest.verify(workspace), (line, field)
    workspace.tags.write_text(whole[0] + "\n" + whole[2] + "\n")
    assert "is not as it was given" in manifest.verify(workspace)[0]
    workspace.tags.unlink()
    record = files.read_json(workspace.manifests / "v2.json")
    files.write_json(workspace.manifests / "v2.json", {**record, "created": "2001", "seal": ""})
    assert "left the seals" in manifest.verify(workspace)[0]


@pytest.mark.parametrize("parent", ["", "v7", "v2"])
def test_a_version_that_names_another_parent_is_noticed(workspace: Workspace, parent: str) -> None:
    commit_raw(workspace)
    commit_cleaned(workspace, Draft("a.jpg", "exclude"))
    record = files.read_json(workspace.manifests / "v2.json")
    files.write_json(workspace.manifests / "v2.json", {**record, "parent": parent})
    assert "v2.json" in manifest.verify(workspace)[0]


def test_an_edited_policy_that_was_kept_is_noticed(workspace: Workspace) -> None:
    commit_raw(workspace)
    policy.store(workspace.policies, policy.load("balanced"), "balanced")
    assert manifest.verify(workspace) == []
    (kept,) = workspace.policies.iterdir()
    record = files.read_json(kept)
    for other in ({**record["policy"], "description": "mine"}, {**record["policy"], "exclude": []}, {}, "balanced"):
        files.write_json(kept, {**record, "policy": other})
        assert kept.name in manifest.verify(workspace)[0]


@pytest.mark.parametrize("field", ["commit", "through", "chain"])
def test_a_closing_line_of_another_type_is_noticed(workspace: Workspace, field: str) -> None:
    commit_raw(workspace)
    commit_cleaned(workspace, Draft("a.jpg", "exclude"))
    *lines, last = workspace.decisions.read_text().splitlines()
    edited = json.dumps({**json.loads(last), field: "text"})
    workspace.decisions.write_text("\n".join([*lines, edited]) + "\n")
    assert manifest.verify(workspace)


@pytest.mark.parametrize("batch", [1, 2])
def test_the_log_of_another_copy_of_the_workspace_is_not_gone_on_with(workspace: Workspace, batch: int) -> None:
    commit_raw(workspace)
    version = commit_cleaned(workspace, Draft("a.jpg", "exclude"), Draft("b.jpg", "keep"))
    mine = log.Log(workspace.decisions)
    path = workspace.manifests / "v2.json"
    files.write_json(path, {**files.read_json(path), "chain": mine.chain, "seal": ""})
    manifest.require_whole_log(workspace, mine.through)
    workspace.decisions.unlink()
    for start in range(0, 4, batch):
        log.Log(workspace.decisions).append("person:bob", [Draft("b.jpg", "exclude")] * (batch + bool(start)))
    with pytest.raises(WorkspaceError, match=r"not the log that v2 was made from.* curate merge"):
        manifest.require_whole_log(workspace, version.log_through + 1)


def test_a_log_that_lost_lines_is_refused(workspace: Workspace) -> None:
    commit_raw(workspace)
    commit_cleaned(workspace, Draft("a.jpg", "exclude"))
    workspace.decisions.write_text("")
    assert any("restore the log" in problem for problem in manifest.verify(workspace))
    with pytest.raises(WorkspaceError, match="restore the log"):
        manifest.require_whole_log(workspace, 0)


def test_diff_names_what_two_versions_judge_differently() -> None:
    after = RAW.assign(status=["excluded", "kept", "kept"], label=["sad", "sad", "sad"])
    extra = pd.concat([after, after[:1].assign(path="new.jpg")], ignore_index=True)
    found = manifest.diff(RAW, extra).set_index("path")["change"].to_dict()
    assert found == {"a.jpg": "excluded", "b.jpg": "relabelled", "new.jpg": "added"}
    assert manifest.diff(RAW, RAW).empty


def test_a_workspace_of_another_format_is_refused(workspace: Workspace) -> None:
    workspace.marker.write_text(json.dumps({"format": 99}))
    with pytest.raises(WorkspaceError, match="format 99"):
        open_workspace(workspace.root)


def test_a_folder_with_other_files_is_not_taken_for_a_workspace(tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").write_text("years of work")
    with pytest.raises(WorkspaceError, match=r"thesis\.docx"):
        create_workspace(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.docx"]
