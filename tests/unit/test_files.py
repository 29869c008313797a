"""Writes that are whole, locked while they last, and follow no links."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from curation.base import files
from curation.review.journal import Journal, ReviewError, read
from tests import programs


def short_writes(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """A disk with so many bytes of room: a write that does not fit is cut short, the next one fails."""
    left, real = [room], os.write

    def write(descriptor: int, data: Any) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = real(descriptor, bytes(data)[: left[0]])
        left[0] -= done
        return done

    monkeypatch.setattr(os, "write", write)


@pytest.mark.parametrize("room", [0, 1, 20, 60, 400])
def test_a_press_on_a_full_disk_is_whole_or_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    ada = Journal(tmp_path, "ada")
    ada.write("exclude", ["a.jpg"])
    before = ada.path.read_bytes()
    with monkeypatch.context() as full:
        short_writes(full, room)
        with pytest.raises(ReviewError, match=r"No space left on device.*answer again"):
            ada.write_all([{"action": "keep", "paths": [name], "value": ""} for name in ("b.jpg", "d.jpg")])
    assert ada.path.read_bytes() == before
    ada.write("relabel", ["c.jpg"], "sad")
    assert [line.action for line in read(tmp_path)] == ["exclude", "relabel"]


def test_a_torn_line_of_a_killed_app_is_not_written_behind(tmp_path: Path) -> None:
    ada = Journal(tmp_path, "ada")
    ada.write("exclude", ["a.jpg"])
    with ada.path.open("ab") as file:
        file.write(b'{"id": "torn')
    ada.write("keep", ["b.jpg"])
    assert [line.action for line in read(tmp_path)] == ["exclude", "keep"]


@pytest.mark.parametrize(
    "change",
    ['"action": "exclude"->"action": "rotate"', '"time": "->"time": "x', '"paths": ["a.jpg"]->"paths": "a.jpg"',
     '"value": ""->"value": 7', '"reviewer": "ada"->"reviewer": "a/b"', '"id": ->"quantum": 1, "id": '],
)  # fmt: skip
def test_a_journal_edited_by_hand_is_one_sentence(tmp_path: Path, change: str) -> None:
    ada = Journal(tmp_path, "ada")
    ada.write("exclude", ["a.jpg"])
    old, new = change.split("->")
    assert old in ada.path.read_text()
    ada.path.write_text(ada.path.read_text().replace(old, new))
    with pytest.raises(ReviewError, match=r"line 1 (is damaged|was written by a newer version)") as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("write", [files.write_bytes, files.write_new, files.append])
def test_a_link_at_the_place_of_a_file_is_not_followed(tmp_path: Path, write: Any) -> None:
    (tmp_path / "theirs").write_bytes(b"theirs")
    (tmp_path / "link").symlink_to(tmp_path / "theirs")
    if write is files.write_bytes:
        write(tmp_path / "link", b"ours\n")
        assert not (tmp_path / "link").is_symlink()
    else:
        with pytest.raises(OSError):
            write(tmp_path / "link", b"ours\n")
    assert (tmp_path / "theirs").read_bytes() == b"theirs"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "theirs"]


def test_a_pipe_at_the_place_of_a_log_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    with pytest.raises(OSError, match=r"a pipe|No such device"):
        files.append(tmp_path / "log", b"line\n")


@pytest.mark.skipif(sys.platform != "linux", reason="locks of Linux")
def test_what_another_process_is_writing_is_left_alone_whatever_its_number(tmp_path: Path) -> None:
    """Two containers are both process 1: the number says nothing, the lock does."""
    writer = subprocess.Popen(programs.command("hold", tmp_path / "out"), stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    building = Path(writer.stdout.readline().strip())
    assert str(writer.pid) not in building.name
    try:
        files.remove_abandoned(tmp_path / "out")
        assert (building / "half").exists()
    finally:
        writer.kill()
        writer.wait()
    files.remove_abandoned(tmp_path / "out")
    assert not building.exists()


def test_the_names_of_unfinished_files_fit_every_disk(tmp_path: Path) -> None:
    for name in ("x" * 255, "é" * 127):
        files.write_bytes(tmp_path / name, b"data")
        assert (tmp_path / name).read_bytes() == b"data"
        files.remove_abandoned(tmp_path / name)
