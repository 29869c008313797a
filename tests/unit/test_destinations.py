"""The gate: never into data or a workspace, never over a person's work without --force, always whole."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

from curation.base import files
from curation.base.destinations import DestinationError, Destinations
from curation.base.workspace import Workspace, create_workspace, locked


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    data = tmp_path / "data"
    (data / "happy").mkdir(parents=True)
    (data / "happy" / "1.jpg").write_bytes(b"pixels")
    workspace = create_workspace(tmp_path / "space")
    files.write_json(workspace.marker, {"format": 1, "source": str(data), "folders": [str(data)]})
    return workspace


@pytest.mark.parametrize(
    "name",
    [
        "data/x.csv",
        "data",
        "data/happy/1.jpg",
        "data/new/deep/x",
        "space/x",
        "space",
        "space/manifests/v1.json",
        "elsewhere/../data/x",
    ],
)
def test_data_and_workspaces_are_no_destination(space: Workspace, name: str, tmp_path: Path) -> None:
    for force in (False, True):
        with pytest.raises(DestinationError, match="is inside"):
            Destinations(space, force).write({tmp_path / name: b"x"})
    assert (tmp_path / "data" / "happy" / "1.jpg").read_bytes() == b"pixels"


def test_a_destination_is_judged_by_where_its_links_lead(space: Workspace, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(tmp_path / "data")
    (tmp_path / "link.csv").symlink_to(tmp_path / "data" / "happy" / "1.jpg")
    for name in ("alias/x.csv", "alias", "link.csv"):
        with pytest.raises(DestinationError, match="is inside the data set"):
            Destinations(space, force=True).allow(tmp_path / name)


def test_only_what_this_workspace_wrote_and_nobody_changed_is_written_over(space: Workspace, tmp_path: Path) -> None:
    gate, place = Destinations(space), tmp_path / "out.csv"
    gate.write({place: b"first"})
    gate.write({place: b"second"})
    place.write_bytes(b"filled in")
    with pytest.raises(DestinationError, match="--force"):
        gate.write({place: b"third"})
    assert place.read_bytes() == b"filled in"
    gate.write({place: b"filled in"})  # the same content loses nothing
    Destinations(space, force=True).write({place: b"third"})
    gate.write({place: b"fourth"})
    with pytest.raises(DestinationError, match="--force"):
        Destinations(create_workspace(tmp_path / "other")).write({place: b"fifth"})


def test_of_several_files_all_are_allowed_or_none_is_written(space: Workspace, tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"mine")
    with pytest.raises(DestinationError):
        Destinations(space).write({tmp_path / "a": b"x", tmp_path / "b": b"x"})
    assert not (tmp_path / "a").exists()


def test_what_is_no_file_is_refused_even_with_force(space: Workspace, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "to-pipe").symlink_to(tmp_path / "pipe")
    for place in (tmp_path / "pipe", tmp_path / "folder", Path("/dev/null"), tmp_path / "to-pipe"):
        with pytest.raises(DestinationError):
            Destinations(space, force=True).write({place: b"x"})
    with pytest.raises(DestinationError, match="not UTF-8"):
        Destinations(space).allow(tmp_path / "\udcff.csv")


def test_a_link_is_replaced_and_not_followed(space: Workspace, tmp_path: Path) -> None:
    (tmp_path / "theirs").write_bytes(b"theirs")
    (tmp_path / "link").symlink_to(tmp_path / "theirs")
    with pytest.raises(DestinationError, match="--force"):
        Destinations(space).write({tmp_path / "link": b"x"})
    Destinations(space, force=True).write({tmp_path / "link": b"x"})
    assert (tmp_path / "theirs").read_bytes() == b"theirs" and (tmp_path / "link").read_bytes() == b"x"


def test_a_list_beside_its_images_folder_leaves_its_own_folder_free(tmp_path: Path) -> None:
    from curation.base.trust import image_folders

    urls = pd.Series([f"{tmp_path}/images/a/1.jpg", f"{tmp_path}/images/b/2.jpg"])
    assert image_folders(f"{tmp_path}/list.csv", urls, tmp_path / "space" / "sources") == [f"{tmp_path}/images"]
    assert image_folders(str(tmp_path), urls, tmp_path / "space" / "sources") == [str(tmp_path)]
    assert image_folders("s3://b/list.csv", pd.Series(["s3://b/x/1.jpg"]), tmp_path) == ["s3://b"]


@pytest.mark.parametrize("moment", ["note", "intend"])
def test_a_command_that_is_killed_as_it_writes_finds_its_own_file(
    space: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    gate, file = Destinations(space), tmp_path / "out.csv"
    gate.write({file: b"first"})
    with monkeypatch.context() as change, pytest.raises(KeyboardInterrupt):
        change.setattr(Destinations, moment, killed)
        gate.write({file: b"second"})
    gate.write({file: b"third"})
    (tmp_path / "made").write_bytes(b"fourth")
    with monkeypatch.context() as change, pytest.raises(KeyboardInterrupt):
        change.setattr(Destinations, moment, killed)
        gate.put(tmp_path / "made", file)
    gate.write({file: b"fifth"})
    file.write_bytes(b"mine")
    with pytest.raises(DestinationError, match="somebody changed it"):
        gate.write({file: b"sixth"})


def test_what_a_killed_command_left_half_written_is_gone_with_the_next(space: Workspace) -> None:
    for folder in ("policies", "written", "manifests"):
        (space.root / folder).mkdir(exist_ok=True)
        (space.root / folder / ".x.json.0123456789ab.tmp").write_bytes(b"{")
    with locked(space):
        pass
    assert not list(space.root.rglob("*.tmp"))
