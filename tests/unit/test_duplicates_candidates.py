"""Candidate search: complete where it claims to be, each pair once, nothing with itself."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.audit.synthetic import plant
from curation.checks.duplicates import candidates, looks
from curation.checks.duplicates.candidates import Candidates, Features, HashSource, NeighbourSource
from curation.checks.duplicates.features import MIRROR_SIGNS, PLAIN, View, descriptors
from curation.measure.pixels import dhash, phash
from tests.unit.test_plant import drawn_face

LOWEST, HIGHEST = -(2**63), 2**63 - 1


def features_of(thumbnails: np.ndarray) -> Features:
    hashes = [np.array(of(thumbnails), dtype=np.int64) for of in (dhash, phash)]
    return Features(thumbnails, *hashes)


def as_set(found: Candidates) -> set[tuple[int, int, bool]]:
    return set(zip(*found.pairs.T.tolist(), found.mirrored.tolist(), strict=True))


@settings(deadline=None)
@given(
    base=st.lists(st.integers(LOWEST, HIGHEST), min_size=1, max_size=12),
    flips=st.lists(st.tuples(st.integers(0, 11), st.lists(st.integers(0, 63), max_size=14)), max_size=12),
    radius=st.integers(0, 12),
)
def test_hash_join_finds_exactly_the_pairs_within_the_radius(
    base: list[int], flips: list[tuple[int, list[int]]], radius: int
) -> None:
    values = np.array(base, dtype=np.int64).view(np.uint64).tolist()
    for which, bits in flips:
        value = values[which % len(base)]
        for bit in bits:
            value ^= 1 << bit
        values.append(value)
    hashes = np.array(values, dtype=np.uint64).view(np.int64)
    expected = {(a, b) for a, x in enumerate(values) for b, y in enumerate(values) if (x ^ y).bit_count() <= radius}
    found = candidates.hamming_pairs(hashes, hashes, radius)
    assert sorted(expected) == list(zip(*(side.tolist() for side in found), strict=True))


def test_mirrored_hashes_are_the_hashes_of_the_mirrored_picture() -> None:
    faces = np.stack([drawn_face(seed) for seed in range(20)])
    given_features, mirrored = features_of(faces), features_of(np.ascontiguousarray(faces[:, :, ::-1]))
    # smooth drawings have many equal neighbours
    bits = np.bitwise_count(candidates.mirrored_dhash(given_features.dhash) ^ mirrored.dhash)
    assert np.median(bits) <= 2
    bits = np.bitwise_count(candidates.mirrored_phash(given_features.phash) ^ mirrored.phash)
    assert np.median(bits) <= 4


def test_many_equal_hashes_make_few_pairs() -> None:
    count = 500
    same = np.full(count, 77, dtype=np.int64)
    found = HashSource(6).pairs(Features(np.zeros((count, 48, 48), np.uint8), same, same))
    assert len(found) <= 8 * count
    connected = {0}
    for i, j, _ in sorted(as_set(found)):
        if i in connected:
            connected.add(j)
    assert len(connected) == count


def test_inner_products_of_descriptors_are_exact_in_single_precision() -> None:
    rng = np.random.default_rng(0)
    found = descriptors(rng.integers(0, 256, (50, 48, 48), dtype=np.uint8), PLAIN).astype(np.float32)
    whole = found.astype(np.int64)
    assert np.array_equal((found @ found.T).astype(np.int64), whole @ whole.T)


def test_mirror_signs_turn_a_descriptor_into_the_mirror_images() -> None:
    faces = np.stack([drawn_face(seed) for seed in range(5)])
    mirrored = descriptors(np.ascontiguousarray(faces[:, :, ::-1]), PLAIN)
    assert np.abs(descriptors(faces, PLAIN) * MIRROR_SIGNS - mirrored).max() <= 1


def test_a_tighter_view_is_the_view_of_the_crop() -> None:
    face = drawn_face(4, 480)
    small = np.stack(
        [cv2.resize(part, (48, 48), interpolation=cv2.INTER_AREA) for part in (face, face[48:432, 48:432])]
    )
    views = ((small[:1], View(1.25, 0.0, 0.0)), (small[1:], PLAIN))
    seen, crop = (descriptors(*each)[0].astype(np.float64) for each in views)
    assert seen @ crop / np.sqrt((seen @ seen) * (crop @ crop)) > 0.99


@pytest.mark.parametrize("kind", ["crop_10", "shift_3", "mirror", "rotate", "block"])
def test_neighbours_hold_the_copy(kind: str) -> None:
    faces = np.stack([drawn_face(seed) for seed in range(300)])
    copies = np.stack([plant.make_copy(face, kind, n) for n, face in enumerate(faces[:40])])
    found = as_set(NeighbourSource(10).pairs(features_of(np.concatenate([faces, copies]))))
    hits = [(n, 300 + n, kind == "mirror") in found for n in range(40)]
    assert np.mean(hits) >= 0.95


def test_partitions_find_nearly_the_neighbours_of_the_full_search(monkeypatch: pytest.MonkeyPatch) -> None:
    faces = np.stack([drawn_face(seed) for seed in range(600)])
    features = features_of(np.concatenate([faces, faces[:100] // 2 + 40]))
    wide = as_set(NeighbourSource(5).pairs(features))
    monkeypatch.setattr(candidates, "FLAT_LIMIT", 100)
    narrow = as_set(NeighbourSource(5).pairs(features))
    assert all((n, 600 + n, False) in narrow for n in range(100))
    assert len(narrow & wide) >= 0.8 * len(wide)


def test_the_full_search_finds_the_most_similar_and_of_equals_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    database, queries = (rng.integers(-3, 4, (rows, 8)).astype(np.float32) for rows in (700, 90))
    products = queries @ database.T
    order = np.argsort(-products, axis=1, kind="stable")[:, :9]
    monkeypatch.setattr(candidates, "_BLOCK", (32, 100))
    for threads in (1, 2, 4):
        similarity, index = candidates.flat_search(database, 9, queries, threads)
        assert np.array_equal(index, order)
        assert np.array_equal(similarity, np.take_along_axis(products, order, axis=1))


def test_all_that_look_alike_are_named_however_many() -> None:
    """Fourteen prints of one picture: each is a candidate with every other, though only three nearest are asked for."""
    rng = np.random.default_rng(8)
    faces = np.stack([drawn_face(seed) for seed in range(60)])
    prints = np.clip(faces[0] + rng.normal(0, 6, (14, 48, 48)), 0, 255).astype(np.uint8)
    found = as_set(NeighbourSource(3).pairs(features_of(np.concatenate([prints, faces[1:]]))))
    assert {(a, b, False) for a in range(14) for b in range(a + 1, 14)} <= found
    unlike = [pair for pair in found if min(pair[:2]) >= 14 and not pair[2]]
    assert len(unlike) < 59 * 20


def test_search_by_partition_is_the_search_query_by_query() -> None:
    whole = np.random.default_rng(4).integers(-9, 10, (2000, 12))
    vectors = whole.astype(np.float32)
    made = candidates.partitioned(vectors)
    assert sorted(made.rows.tolist()) == list(range(2000))
    assert np.array_equal(made.centroids, np.rint(made.centroids)), "products are exact, on however many threads"
    similarity, index = candidates.partition_search(made, 5, vectors)
    of_bytes = candidates.partition_search(candidates.partitioned(whole.astype(np.int8)), 5, whole.astype(np.int8))
    assert all(np.array_equal(*sides) for sides in zip((similarity, index), of_bytes, strict=True))
    probes = candidates.flat_search(made.centroids, candidates.probed(made.centroids, 5), vectors)[1]
    for query in range(0, 2000, 50):
        rows = np.concatenate([made.rows[made.bounds[p] : made.bounds[p + 1]] for p in probes[query]])
        products = vectors[rows] @ vectors[query]
        best = np.lexsort((rows, -products))[:5]
        assert np.array_equal(index[query], rows[best])
        assert np.array_equal(similarity[query], products[best])
    for threads in (2, 3):
        shared = candidates.partition_search(made, 5, vectors, threads=threads)
        assert np.array_equal(shared[0], similarity) and np.array_equal(shared[1], index)


def test_a_search_for_more_looks_further_than_one_for_few() -> None:
    vectors = np.rint(np.random.default_rng(3).normal(0, 12, (900, 44))).astype(np.float32)
    vectors[400:800] = vectors[:400]  # equals, of which the first rows count
    made = candidates.partitioned(vectors)
    few, more = (candidates.partition_search(made, count, vectors) for count in (candidates.FEW, 11))
    assert (few[0] <= more[0][:, : candidates.FEW]).all() and (few[0] == more[0][:, : candidates.FEW]).mean() > 0.5


def test_neighbours_and_looks_do_not_depend_on_how_many_are_asked_for_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    faces = np.stack([drawn_face(seed) for seed in range(24)])
    shown = Features(faces, np.zeros(24, dtype=np.int64), np.zeros(24, dtype=np.int64))
    source = NeighbourSource(4)
    index = source.index(faces)
    seen = descriptors(faces, View(1.12, 0.0, 0.0))
    whole = source.pairs(shown, index), looks.nearest(index, seen, 24, 3, 0.2)
    monkeypatch.setattr(candidates, "AT_ONCE", 7)
    monkeypatch.setattr(looks, "AT_ONCE", 7)
    parts = source.pairs(shown, index), looks.nearest(index, seen, 24, 3, 0.2)
    assert np.array_equal(whole[0].pairs, parts[0].pairs)
    assert np.array_equal(whole[0].mirrored, parts[0].mirrored)
    assert all(np.array_equal(one, other) for one, other in zip(whole[1], parts[1], strict=True))


def test_partitions_hold_real_numbers_as_they_are() -> None:
    vectors = np.random.default_rng(9).normal(0, 0.3, (1500, 12)).astype(np.float32)
    made = candidates.partitioned(vectors)
    assert np.array_equal(made.vectors, vectors[made.rows])
    similarity, index = candidates.partition_search(made, 5, vectors)
    assert np.allclose(similarity, np.take_along_axis(vectors @ vectors.T, index, axis=1), atol=1e-5)


def test_pairs_are_ordered_unique_and_never_of_one_image_with_itself() -> None:
    i, j = np.array([3, 1, 3, 2, 2]), np.array([1, 3, 3, 0, 0])
    found = candidates.as_candidates(i, j, np.array([False, False, False, True, False]))
    assert as_set(found) == {(1, 3, False), (0, 2, True), (0, 2, False)}
    assert len(found) == 3
