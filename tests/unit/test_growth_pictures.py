"""The growth benchmark: its pictures are no copies of each other, its copies are, and its figures are counted right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from curation.base.progress import Display
from curation.base.settings import DuplicateSettings, EngineSettings, MeasureSettings
from curation.checks.duplicates import find_near_duplicates
from curation.formats.source import read_source
from curation.measure import load_measurements, load_thumbnails, measure
from tests.benchmarks import growth_pictures
from tests.benchmarks.bench_growth import by_step, found_copies
from tests.benchmarks.cost import Sample


@pytest.fixture(scope="module")
def faces() -> growth_pictures.Pixels:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(growth_pictures, "DRAWN_FACES", 120)
        return growth_pictures.read_faces(None, 3)


def test_equal_seeds_write_equal_bytes(faces: growth_pictures.Pixels, tmp_path: Path) -> None:
    truths = [growth_pictures.write_pictures(tmp_path / name, faces, 40, seed) for name, seed in (("a", 1), ("b", 1))]
    assert truths[0].equals(truths[1])
    assert all(
        (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes() for path in truths[0]["path"]
    )
    other = growth_pictures.write_pictures(tmp_path / "c", faces, 40, 2)
    assert not other.equals(truths[0])


def test_pictures_are_no_copies_and_copies_are(faces: growth_pictures.Pixels, tmp_path: Path) -> None:
    truth = growth_pictures.write_pictures(tmp_path / "data", faces, 160, 1)
    assert len(truth) == 160
    assert (truth["kind"] != "").sum() == 16
    assert set(truth["kind"]) == {"", *growth_pictures.KINDS}
    settings, store = MeasureSettings(), tmp_path / "store"
    listing = read_source(str(tmp_path / "data"), tmp_path / "cache").frame
    measure(listing, store, settings, EngineSettings(workers=1))
    frame = load_measurements(listing, store, settings).drop_duplicates("pixel_sha256", ignore_index=True)
    hashes = (frame[name].to_numpy(np.int64) for name in ("dhash", "phash"))
    pixels = load_thumbnails(frame["sha256"].tolist(), store, settings)
    found = find_near_duplicates(pixels, *hashes, DuplicateSettings(), Display(quiet=True))
    of = dict(zip(truth["path"], truth["of"].where(truth["of"] != "", truth["path"]), strict=True))
    pairs = [tuple(of[frame["path"][place]] for place in pair) for pair in found[["i", "j"]].itertuples(index=False)]
    assert all(first == second for first, second in pairs)
    assert len(pairs) >= 12


def test_no_two_pictures_have_the_same_faces(faces: growth_pictures.Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    tagged = np.arange(len(faces), dtype=np.uint8)[:, None, None].repeat(48, axis=1).repeat(48, axis=2)
    monkeypatch.setattr(growth_pictures.cv2, "remap", lambda face, *_, **__: seen.append(int(face[0, 0])) or face)
    count = len(faces) * ((len(faces) - 1) // 2)
    for number in range(count):
        growth_pictures.blended(tagged, tagged.mean(axis=0, dtype=np.float32), number, np.random.default_rng(0))
    pairs = {frozenset(pair) for pair in zip(seen[::2], seen[1::2], strict=True)}
    assert len(pairs) == count


def test_recall_and_precision_count_pairs_in_a_group() -> None:
    truth = pd.DataFrame(
        [("a", "", ""), ("a2", "a", "jpeg"), ("b", "", ""), ("b2", "b", "exact"), ("c", "", "")],
        columns=["path", "of", "kind"],
    )
    groups = {"near_duplicate": ("a 1", "a2 1", "c 1", "b 2"), "exact_duplicate": ("b2 2",)}
    rows = [(*member.split(), check) for check, members in groups.items() for member in members]
    issues = pd.DataFrame(rows, columns=["path", "group", "check"])
    found = found_copies(truth, issues)
    assert (found["planted"], found["recall"], found["precision"]) == (2, 0.5, 0.3333)
    assert found["recall_by_kind"] == {"exact": 0.0, "jpeg": 1.0}


def test_steps_share_the_readings_by_the_log() -> None:
    log = "\n".join(
        [
            "2026-01-01 10:00:00,000 1 INFO begins: curate run DATA",
            "2026-01-01 10:00:02,000 1 INFO Listing the images: 1.5 s",
            "2026-01-01 10:00:05,000 1 INFO Measuring: 3.0 s",
        ]
    )
    start = pd.Timestamp("2026-01-01 10:00:00").to_pydatetime().timestamp()
    samples = [Sample(start + second, 2.0 * second, 100.0 * second, 10.0 * second) for second in range(7)]
    steps = by_step(log, samples)
    assert steps["Listing the images"] == {"wall_s": 1.5, "cpu_s": 4.0, "peak_mib": 200.0, "own_mib": 20.0}
    assert steps["Measuring"] == {"wall_s": 3.0, "cpu_s": 6.0, "peak_mib": 500.0, "own_mib": 50.0}
    assert steps["Summary"] == {"cpu_s": 2.0, "peak_mib": 600.0, "own_mib": 60.0}
