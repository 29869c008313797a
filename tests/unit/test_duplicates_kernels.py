"""The shipped kernels are those of the source, say the same as numba's on every processor, and are never stale."""

from __future__ import annotations

import gzip
import hashlib
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from curation.audit.synthetic import plant
from curation.checks.duplicates import changes, features, kernel
from curation.checks.duplicates.kernels import load
from tests.unit.test_plant import drawn_face

FITS = load.fitting() is not None
KINDS = list(plant.KINDS)
LEVELS = {"x86-64": "sse2", "x86-64-v3": "avx2", "x86-64-v4": "avx512bw"}
"""LLVM's names of processors without AVX, with AVX2 and with AVX-512, and what stands for them."""


def results(kernels: dict[str, load.Kernel]) -> list[np.ndarray]:
    """Return all that kernels say of copies of every kind and of different faces."""
    faces = [drawn_face(seed) for seed in range(24)]
    copies = [plant.make_copy(face, KINDS[n % len(KINDS)], n) for n, face in enumerate(2 * faces)]
    pictures = features.pictures(np.stack(faces + copies))
    pairs = [(n % 24, 24 + n) for n in range(48)] + [(a, b) for a in range(24) for b in range(a + 1, 24)]
    i, j = np.array(sorted(pairs)).T.copy()
    mirrored, given = np.arange(len(i)) % 5 == 0, np.arange(len(i)) % 2 == 0
    maps = np.tile(np.array([1.02, 0.01, 0.03, -0.01, 0.98, -0.02]), (len(i), 1))
    agreement, evidence = np.zeros(len(i)), np.zeros((len(i), len(kernel.EVIDENCE)))
    kernels["screen"](pictures.small, pictures.middle, i, j, mirrored, maps, given, agreement)
    coarse = maps.copy()
    kernels["examine"](pictures.large, i, j, mirrored, maps, evidence)
    placed, places = np.zeros(len(i)), np.zeros((len(i), 3), np.int64)
    weights = np.stack([kernel.area_weights(48, side) for side in (15, 14)])
    kernels["place_crops"](pictures.large, i, j, np.array([15, 14]), weights, placed, places)
    settled, numbers = maps.copy(), np.empty(48 * 48, np.int32)
    landmarks = np.tile(np.array([0.3, 0.4, 0.7, 0.4, 0.5, 0.6, 0.35, 0.8, 0.65, 0.8]), (len(pictures.levels), 1))
    landmarks[::3] = np.nan
    given = np.arange(len(i)) % 7 > 0
    told = np.full((len(i), len(changes.EVIDENCE)), np.nan)
    kernels["differ"](
        pictures.levels, landmarks, i, j, mirrored, settled, given, True, numbers, numbers.view(np.float32), told
    )
    return [agreement, coarse, maps, evidence, placed, places, settled, told, *searched(kernels)]


def searched(kernels: dict[str, load.Kernel]) -> list[np.ndarray]:
    """Return what kernels of the searches say of random numbers, many of which are equal."""
    rng = np.random.default_rng(3)
    products = rng.integers(0, 50, (40, 300)).astype(np.float32)
    best = np.full((40, 5), -np.inf, np.float32), np.full((40, 5), -1, np.int64)
    kernels["keep_best"](products, np.arange(40), rng.permutation(300), np.full(40, -np.inf, np.float32), *best)
    other = best[0][::-1].copy(), best[1][::-1].copy()
    merged = np.empty_like(best[0]), np.empty_like(best[1])
    kernels["best_distinct"](*best, *other, *merged)
    return [*best, *merged]


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True))


@pytest.mark.skipif(not FITS, reason="the shipped kernels do not fit this machine")
@pytest.mark.parametrize("processor", LEVELS)
def test_processors_with_and_without_wide_vectors_give_the_same_bits(processor: str) -> None:
    from llvmlite import binding as llvm

    if not llvm.get_host_cpu_features().get(LEVELS[processor]):
        pytest.skip(f"this machine has no {LEVELS[processor]}")
    shipped = load.fitting()
    assert shipped is not None
    made = load.machine_code(shipped, processor, "")
    found = results(made)
    assert same(found, results({name: load.entry(name) for name in load.ENTRIES}))
    assert min(np.count_nonzero(found[0]), np.count_nonzero(found[3][:, 0])) > 20


@pytest.mark.slow
def test_the_shipped_kernels_say_what_numba_says(monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = load.fitting()
    monkeypatch.setattr(load, "fitting", lambda: None)
    compiled = load.entries.__wrapped__()
    assert all(hasattr(made, "py_func") for made in compiled.values())
    if shipped is None:
        pytest.skip("the shipped kernels do not fit this machine")
    assert same(results(load.machine_code(shipped)), results(compiled))


def test_the_shipped_kernels_are_made_of_this_source() -> None:
    made = gzip.decompress(load.SHIPPED.read_bytes()).decode()
    assert made.startswith(load.heading()), "python -m curation.checks.duplicates.kernels.build"


@pytest.mark.slow
def test_making_the_shipped_kernels_again_makes_the_same() -> None:
    from curation.checks.duplicates.kernels import build

    made = gzip.decompress(load.SHIPPED.read_bytes()).decode()
    if made.splitlines()[1] != build.makers().strip():
        pytest.skip("made by another numba or Python")
    assert build.text() == made


def test_nothing_shipped_is_a_pickle_or_calls_python() -> None:
    made = gzip.decompress(load.SHIPPED.read_bytes()).decode()
    declared = {line.split("@")[1].split("(")[0] for line in made.splitlines() if line.startswith("declare")}
    assert {name for name in declared if not name.startswith("llvm.")} <= {"malloc", "free", "sqrt", "sqrtf"}
    assert "pickle" not in made and "x86" not in made


def test_kernels_of_another_source_or_damaged_ones_are_left_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (load.FOLDER / "joins.py").read_bytes()
    for name in load.SOURCES:
        (tmp_path / name).write_bytes((load.FOLDER / name).read_bytes())
    (tmp_path / load.SHIPPED.name).write_bytes(load.SHIPPED.read_bytes())
    monkeypatch.setattr(load, "FOLDER", tmp_path)
    monkeypatch.setattr(load, "SHIPPED", tmp_path / load.SHIPPED.name)
    assert (load.fitting() is not None) == FITS
    (tmp_path / "joins.py").write_bytes(whole + b"# changed")
    assert load.fitting() is None
    (tmp_path / "joins.py").write_bytes(whole)
    for damaged in (load.SHIPPED.read_bytes()[:-100], b"", b"no gzip"):
        load.SHIPPED.write_bytes(damaged)
        assert load.fitting() is None


@pytest.mark.skipif(not FITS, reason="the shipped kernels do not fit this machine")
def test_machine_code_is_kept_and_believed_only_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = load.fitting()
    assert shipped is not None
    monkeypatch.setattr(load, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    expected = searched(load.machine_code(shipped))
    (kept,) = (tmp_path / "__pycache__").iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-7])
    assert same(searched(load.machine_code(shipped)), expected)
    assert kept.read_bytes() == whole
    monkeypatch.setattr(load, "_made", lambda *_: pytest.fail("what is kept was not read"))
    assert same(searched(load.machine_code(shipped)), expected)


@pytest.mark.skipif(not FITS, reason="the shipped kernels do not fit this machine")
def test_the_search_needs_no_numba_where_the_shipped_kernels_fit() -> None:
    code = (
        "import sys, numpy as np\n"
        "from curation.checks.duplicates import kernel\n"
        "one = np.zeros(1, np.int64)\n"
        "kernel.examine(np.zeros((1, 48, 48), np.int8), one, one, one > 0, np.zeros((1, 6)))\n"
        "assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_crops_are_placed_where_opencv_places_them() -> None:
    faces = np.stack([features.evened(drawn_face(seed)) for seed in range(8)])
    sides = (15, 14, 16)
    one, other = (np.ascontiguousarray(side.ravel()) for side in np.mgrid[:8, :8])
    crops = np.stack([cv2.resize(face[5:35, 9:39].astype(np.float32), (48, 48)) for face in faces])
    large = np.concatenate([faces, np.clip(np.rint(crops), -127, 127).astype(np.int8)])
    agreement, places = kernel.place_crops(large, one, other + 8, sides)
    for n, (a, b) in enumerate(zip(one, other + 8, strict=True)):
        whole = cv2.resize(large[a].astype(np.float32), (24, 24), interpolation=cv2.INTER_AREA)
        best = (-1.0, 0, (0, 0))
        for side in sides:
            crop = cv2.resize(large[b].astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
            _, most, _, place = cv2.minMaxLoc(cv2.matchTemplate(whole, crop, cv2.TM_CCOEFF_NORMED))
            best = max(best, (most, side, place), key=lambda found: found[0])
            if most < 0.6:
                break
        assert agreement[n] == pytest.approx(best[0], abs=1e-4)
        assert places[n].tolist() == [best[1], *best[2]]
    assert agreement[one == other].min() > 0.9 > agreement[one != other].max()


def test_a_settled_map_is_exact_and_what_is_left_is_noise() -> None:
    face = drawn_face(3)
    shift = np.array([[1.0, 0, 2.4], [0, 1.0, -1.7]], dtype=np.float32)
    moved = cv2.warpAffine(face, shift, (48, 48), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    darker = np.clip(np.rint(moved * 0.7 + 20), 0, 255).astype(np.uint8)
    levels = np.stack([face, darker, np.ascontiguousarray(darker[:, ::-1])])
    i, j, mirrored = np.zeros(2, np.int64), np.array([1, 2]), np.array([False, True])
    maps = np.tile(np.array([1.02, 0, 0.04, 0, 0.99, -0.02]), (2, 1))
    told = changes.differ(levels, np.full((3, 10), np.nan), i, j, mirrored, maps, np.ones(2, np.bool_))
    wanted = np.array([1, 0, 2.4 / 48, 0, 1, -1.7 / 48])
    assert np.abs((maps - wanted) * 48).max() < 0.2  # px
    assert maps[0].tobytes() == maps[1].tobytes() and told[0].tobytes() == told[1].tobytes()
    seen = dict(zip(changes.EVIDENCE, told[0], strict=True))
    assert seen["overlay"] == changes.NO_CHANGE and max(seen["eyes"], seen["mouth"]) < 3 and seen["shift_median"] < 0.1


def test_what_pairs_differ_in_does_not_depend_on_their_company() -> None:
    levels = np.stack([drawn_face(seed) for seed in range(12)] + [drawn_face(seed) for seed in range(12)])
    levels[12:, 30:40, 10:30] = 255 - levels[12:, 30:40, 10:30]
    i, j, mirrored = np.arange(12), np.arange(12, 24), np.zeros(12, np.bool_)
    maps = np.tile(np.array([1.0, 0, 0, 0, 1.0, 0]), (12, 1))
    landmarks = np.full((24, 10), np.nan)
    together, asked = maps.copy(), np.arange(12) != 5
    told = changes.differ(levels, landmarks, i, j, mirrored, together, asked)
    assert np.isnan(told[5]).all() and together[5].tobytes() == maps[5].tobytes()
    assert np.isfinite(told[:, 0]).sum() > 8 and (told[:, changes.EVIDENCE.index("overlay")] < changes.NO_CHANGE).any()
    for n in np.flatnonzero(asked).tolist():
        one, alone = slice(n, n + 1), maps[n : n + 1].copy()
        same_again = changes.differ(levels, landmarks, i[one], j[one], mirrored[one], alone, asked[one])
        assert same_again.tobytes() == told[one].tobytes() and alone.tobytes() == together[one].tobytes()


def test_arrays_of_another_kind_are_refused_not_misread() -> None:
    if not FITS:
        pytest.skip("the shipped kernels do not fit this machine")
    products, who, least = np.zeros((2, 3), np.float32), np.arange(2), np.zeros(2, np.float32)
    best = np.zeros((2, 1), np.float32), np.zeros((2, 1), np.int64)
    for wrong in (products.astype(np.float64), products[:, ::2], products[0]):
        with pytest.raises(TypeError, match="keep_best takes contiguous arrays"):
            load.entry("keep_best")(wrong, who, np.arange(3), least, *best)


def test_what_numba_compiles_changes_with_the_files_it_calls() -> None:
    from curation.checks.duplicates.kernels import comparison, differences

    called = (load.FOLDER / "registration.py").read_bytes()
    assert hashlib.sha256(called).hexdigest().startswith(comparison.REGISTRATION), "put it into comparison.py"
    called += (load.FOLDER / "settling.py").read_bytes()
    assert hashlib.sha256(called).hexdigest().startswith(differences.SOURCES), "put it into differences.py"
