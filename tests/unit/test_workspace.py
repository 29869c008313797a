"""The workspace: what is refused, what is durable when a commit is claimed, what a URL must not give away."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.base import files
from curation.base.errors import WorkspaceError
from curation.base.files import bare_url, without_secrets
from curation.base.workspace import FORMAT, create_workspace, locked, open_workspace, read_listing
from curation.decisions import log

WORDS = st.text("abcXYZ019+/=_-", min_size=8, max_size=20).filter(lambda word: not word.strip("0123456789/").isdigit())


@pytest.mark.parametrize("number", [0, 2, 99, "one", None, [1]])
def test_a_workspace_of_another_format_is_refused_in_one_sentence(tmp_path: Path, number: object) -> None:
    workspace = create_workspace(tmp_path / "space")
    workspace.marker.write_text(json.dumps({"format": number}))
    for opened in (open_workspace, create_workspace):
        with pytest.raises(WorkspaceError, match=f"reads {FORMAT}; use the version that made it") as caught:
            opened(workspace.root)
        assert "\n" not in str(caught.value)
    assert json.loads(workspace.marker.read_text()) == {"format": number}


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b"3", b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_json_file_is_one_sentence(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "state.json").write_bytes(data)
    with pytest.raises(WorkspaceError, match=r"state\.json is damaged") as caught:
        files.read_json(tmp_path / "state.json")
    assert "\n" not in str(caught.value)


def test_a_listing_of_other_columns_is_one_sentence(tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path / "space")
    files.write_table(workspace.listing, pd.DataFrame({"path": [1]}))
    with pytest.raises(WorkspaceError, match=r"listing\.parquet is damaged .it has no column 'url'."):
        read_listing(workspace)


class Disk:
    """What has reached the disk: a power cut leaves only what was synchronised, file by file and folder by folder."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[tuple[str, str]] = []
        for name in ("fsync", "link", "replace", "rename"):
            monkeypatch.setattr(os, name, self._noted(name, getattr(os, name)))

    def _noted(self, name: str, real: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            of = f"/proc/self/fd/{arguments[0]}" if name == "fsync" else str(arguments[-1])
            self.events.append((name, str(Path(of).readlink()) if name == "fsync" else of))
            return real(*arguments, **options)

        return call

    def assert_durable(self, path: Path) -> None:
        """The content was synchronised before the name, and the name before the call returned."""
        names = [kind for kind, _ in self.events]
        named = next(n for n, (kind, of) in enumerate(self.events) if kind != "fsync" and of == str(path))
        assert names[:named].count("fsync") >= 1 and self.events[named - 1][0] == "fsync"
        assert ("fsync", str(path.parent)) in self.events[named:]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the names of open files are told by /proc")
@pytest.mark.parametrize("write", [files.write_bytes, files.write_new])
def test_a_written_file_survives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Any) -> None:
    disk = Disk(monkeypatch)
    write(tmp_path / "new" / "deep" / "file", b"data")
    disk.assert_durable(tmp_path / "new" / "deep" / "file")
    for made_in in (tmp_path, tmp_path / "new"):  # the new folders' own names
        assert ("fsync", str(made_in)) in disk.events


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the names of open files are told by /proc")
def test_a_logged_decision_survives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    path = tmp_path / "space" / "decisions.jsonl"
    log.Log(path).append("person:ann", [log.Draft("a.jpg", "keep")])
    wanted = [("fsync", str(path)), ("fsync", str(path.parent))]
    assert [event for event in disk.events if event in wanted][-2:] == wanted
    assert ("fsync", str(tmp_path)) in disk.events


@given(user=WORDS, secret=WORDS, scheme=st.sampled_from(["s3", "https", "ftp", "gcs"]))
def test_no_secret_of_a_url_remains(user: str, secret: str, scheme: str) -> None:
    for url, place in (
        (f"{scheme}://{user}:{secret}@bucket/data/x y.zip", f"{scheme}://bucket/data/x y.zip"),
        (f"{scheme}://bucket/data.zip?token={secret}&user={user}@x", f"{scheme}://bucket/data.zip"),
        (f"{scheme}://{user}:{secret}@host:9000/a@b?X-Amz-Signature={secret}", f"{scheme}://host:9000/a@b"),
    ):
        if "/" in user or ("@b" in url and "/" in secret):
            continue  # a user's name has no slash; with one in the secret, an @ in the path is taken for its end
        assert bare_url(url) == place
        said = without_secrets(f"ConnectionError: cannot reach '{url}'")
        assert secret not in said or secret in place


def test_places_without_secrets_are_told_as_they_are() -> None:
    for url in ("s3://bucket/a@b/c.jpg", "http://host:8080/a@b", "https://host", "memory://data/happy 1.jpg"):
        assert bare_url(url) == url


@pytest.mark.parametrize("text", ["http://" * 10_000, "a" * 30_000 + "://", "x://" + "a:" * 20_000])
def test_secrets_are_looked_for_in_time(text: str) -> None:
    started = time.process_time()
    assert without_secrets(f"{text} s3://ann:secret@bucket/x").endswith(" s3://bucket/x")
    assert time.process_time() - started < 5


def test_a_name_in_the_log_of_commands_is_on_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = create_workspace(tmp_path / "space")
    monkeypatch.setattr(sys, "argv", ["curate", "decide", "a\nforged: done\x1b[2J.jpg"])
    with pytest.raises(WorkspaceError), locked(workspace):
        raise WorkspaceError("no image b\x1b[2J")
    lines = workspace.journal.read_bytes().splitlines()
    assert len(lines) == 2 and b"\x1b" not in b"".join(lines) and b"a\\nforged" in lines[0]
