"""Sources behind URLs: known layouts, servers that never answer, downloads without an end."""

from __future__ import annotations

import io
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from curation.base import waiting
from curation.base.settings import MeasureSettings
from curation.formats import remote
from curation.formats.listing import IngestError
from curation.formats.source import read_source
from curation.measure.batch import measure_batch
from curation.measure.tables import Known
from tests.unit.sources import JPEG, column, said, told


@pytest.fixture
def bucket() -> Iterator[str]:
    """A folder of fsspec's own memory."""
    memory = fsspec.filesystem("memory")
    yield "memory://bucket"
    memory.rm("/bucket", recursive=True)


def put(bucket: str, tree: dict[str, bytes]) -> None:
    for name, data in tree.items():
        with fsspec.open(f"{bucket}/{name}", "wb") as file:
            file.write(data)


def test_a_remote_folder_is_read_by_its_layout_lists_and_splits(bucket: str, tmp_path: Path) -> None:
    rows = "file_name,emotion,person\n" + "".join(f"{n}.jpg,{label},p{n}\n" for n, label in enumerate(("happy", "sad")))
    put(bucket, {f"{split}/{n}.jpg": JPEG for split in ("train_set", "PublicTest") for n in range(2)})
    put(bucket, {f"{split}/metadata.csv": rows.encode() for split in ("train_set", "PublicTest")})
    listing = read_source(bucket, tmp_path)
    assert sorted(told(listing).values()) == [(s, c) for s in ("train", "validation") for c in ("happy", "sad")]
    assert set(column(listing, "subject").values()) == {"p0", "p1"} and "'PublicTest'" in said(listing)
    pixels = b"emotion,pixels\n3,0 1 2 3\n"
    put(bucket, {"csv/fer2013.csv": pixels})
    assert told(read_source(f"{bucket}/csv", tmp_path)) == {"fer0000000.png": ("", "happy")}


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes every connection and never says a word."""
    held = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                try:
                    held.append(server.accept()[0])
                except TimeoutError:
                    continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        over.set()
        thread.join()
    for connection in held:
        connection.close()


@pytest.mark.timeout(60)
def test_a_server_that_never_answers_is_given_up(silent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "ANSWER_S", 0.5)
    monkeypatch.setattr(waiting, "ANSWER_S", 0.3)
    with pytest.raises(IngestError, match="does not answer"):
        read_source(f"{silent}/faces.zip", tmp_path)
    started = time.monotonic()
    urls = [f"{silent}/{n}.jpg" for n in range(50)]
    batch = measure_batch(urls, urls, Known(set(), set()), MeasureSettings(), detector=None)  # type: ignore[arg-type]
    assert {row["error_kind"] for row in batch.files} == {"unreadable"}
    assert "no answer within 0.3 s" in batch.files[0]["error"] and "did not answer 3 times" in batch.files[-1]["error"]
    assert time.monotonic() - started < 5


def test_a_download_ends_at_the_room_there_is(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("happy/1.jpg", JPEG)
    put(bucket, {"faces.zip": buffer.getvalue()})
    assert told(read_source(f"{bucket}/faces.zip", tmp_path)) == {"happy/1.jpg": ("", "happy")}
    monkeypatch.setattr(remote, "MOST_DOWNLOADED_BYTES", 50)
    with pytest.raises(IngestError, match="larger than the 50 bytes"):
        read_source(f"{bucket}/faces.zip", tmp_path / "other")
    assert not list((tmp_path / "other").glob("*"))


def test_a_call_in_time_gives_its_result_or_its_own_error() -> None:
    assert waiting.answered(lambda: 3, 5) == 3
    with pytest.raises(KeyError):
        waiting.answered(lambda: {}["x"], 5)
    with pytest.raises(waiting.NoAnswerError, match=r"no answer within 0\.1 s"):
        waiting.answered(lambda: time.sleep(3), 0.1)
