"""Watermarks, occlusion, faces of no person and outliers: what is drawn, learned, found and said."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest

from curation.audit import planted
from curation.audit.challenges import PLANTED
from curation.base.settings import load
from curation.checks.challenges import altered, found, lessons, model, occluders, overlays
from curation.checks.challenges.distance import distance
from curation.checks.challenges.found import covered_parts
from curation.checks.challenges.recurring import recurring_marks
from curation.checks.graph import build
from curation.measure.batch import ChangedError
from training.head_shapes import available
from training.robustness import by_challenge

LANDMARKS = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.75], [0.65, 0.75]])
IDENTITY = np.array([1.0, 0, 0, 0, 1.0, 0])


def picture(seed: int, side: int = 48) -> np.ndarray:
    """Smooth random tones of middle grey: nothing that looks like strokes."""
    field = np.random.default_rng(seed).normal(0, 1, (7, 7)).astype(np.float32)
    smooth = cv2.resize(field, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.clip(120 + 30 * smooth, 0, 255).astype(np.uint8)


def written(image: np.ndarray, text: str = "stock", at: tuple[int, int] = (2, 40)) -> np.ndarray:
    marked = image.copy()
    cv2.putText(marked, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255, 1, cv2.LINE_AA)
    return marked


@pytest.mark.parametrize("kind", ["text", "lines", "tiled", "logo", "grid"])
def test_a_mark_changes_the_picture_where_it_says(kind: str) -> None:
    rng = np.random.default_rng(3)
    flat = np.full((48, 48), 90, np.float32)
    for _ in range(5):
        cover = overlays.draw_mark(rng, kind)
        assert cover.shape == (256, 256)
        assert cover.min() >= 0 and cover.max() <= 1
        laid, opacity = overlays.lay_mark(flat, cover, np.random.default_rng(5))
        # a shadow or band behind the mark may cancel it here and there
        assert opacity.max() == 0 or (np.abs(laid - flat)[opacity > 0.1] > 1).mean() > 0.9


@pytest.mark.parametrize("swapped", [False, True])
def test_the_copy_that_carries_a_mark_is_told_from_the_clean_one(swapped: bool) -> None:
    clean = picture(1)
    marked = written(clean)
    first, second = (marked, clean) if not swapped else (clean, marked)
    found = overlays.mark_of_pair(first, second, IDENTITY, False)
    assert found is not None
    assert found.marked == int(swapped)
    covered = np.abs(found.opacity) > 0.1
    assert covered[28:44].sum() > 10 * max(1, covered[:24].sum())


def test_copies_that_differ_in_light_or_noise_alone_have_no_mark() -> None:
    clean = picture(2)
    brighter = np.clip(clean * 1.15 + 12, 0, 255).astype(np.uint8)
    noisy = np.clip(clean + np.random.default_rng(0).normal(0, 4, clean.shape), 0, 255).astype(np.uint8)
    assert overlays.mark_of_pair(clean, brighter, IDENTITY, False) is None
    assert overlays.mark_of_pair(noisy, clean, IDENTITY, False) is None


@pytest.mark.parametrize("kind", list(occluders.OCCLUDERS))
def test_an_occluder_covers_what_it_says(kind: str) -> None:
    rng = np.random.default_rng(1)
    covered, cover = occluders.occlude(picture(1, 96), LANDMARKS, kind, picture(2, 96), rng)
    assert cover.shape == covered.shape == (96, 96)
    assert cover.max() > 0.9
    assert (covered[cover == 0] == picture(1, 96)[cover == 0]).all()


def test_lessons_show_what_is_no_face_with_nothing_before_it_and_a_face_again_otherwise() -> None:
    faces, points = [picture(1), picture(2)], np.stack([LANDMARKS, LANDMARKS])
    one, other = (
        lessons.draw_lessons(faces, points, [], 300, (48, 14, 7), 0, varied=varied) for varied in (False, True)
    )
    assert 10 < (~one.faces).sum() < 60
    assert not one.occluder[~one.faces].any()
    assert (one.occluder[one.faces].max(axis=(1, 2)) > 0).mean() > 0.3
    plain, varied = (
        drawn.pictures[(drawn.overlay.max(axis=(1, 2)) == 0) & (drawn.occluders == "") & drawn.faces]
        for drawn in (one, other)
    )
    # compression apart, two faces and their mirror images look one of four ways, and turned ones any way
    ways = [np.stack([face, face[:, ::-1]]).astype(float) for face in faces]
    far = [np.abs(shown[:, None] - np.concatenate(ways)).mean(axis=(2, 3)).min(axis=1) for shown in (plain, varied)]
    assert np.median(far[0]) < 1.5
    assert np.median(far[1]) > 3


@pytest.mark.parametrize("kind", list(altered.ALTERED))
def test_an_altered_face_differs_and_is_drawn_again_the_same(kind: str) -> None:
    one, again = (altered.alter(picture(1), LANDMARKS, kind, np.random.default_rng(4)) for _ in range(2))
    assert one.shape == (48, 48)
    assert (one == again).all()
    assert np.abs(one.astype(int) - picture(1)).mean() > 2


def test_the_audit_shows_no_image_both_with_and_without_a_challenge(tmp_path: Path) -> None:
    rows = []
    for number in range(40):
        file = tmp_path / f"{number}.png"
        cv2.imwrite(str(file), picture(number))
        rows.append((str(file), ("happy", "sad")[number % 2], hashlib.sha256(file.read_bytes()).hexdigest()))
    chosen = pd.DataFrame(rows, columns=["url", "label", "sha256"])
    defects = {**planted.DEFECTS, **PLANTED}
    truth = planted.plant_defects(chosen, tmp_path / "made", load(), 10, 0, lambda done, total: None, defects)
    laid = truth[truth["kind"].isin(PLANTED)]
    assert set(laid["kind"]) == set(PLANTED)
    others = set(truth.loc[~truth["kind"].isin(PLANTED), "base"])
    assert not others & set(laid["base"])
    assert len(truth[truth["kind"] == ""]) + len(laid) == len(chosen)
    assert set(truth.loc[truth["kind"] == "blurred", "base"]) <= set(truth.loc[truth["kind"] == "", "base"])


@pytest.mark.parametrize("kind", list(PLANTED))
@pytest.mark.parametrize("shape", [(48, 48), (120, 90, 3)])
def test_planted_challenges_keep_the_shape(kind: str, shape: tuple[int, ...]) -> None:
    image = np.full(shape, 100, np.uint8)
    made = PLANTED[kind][0](image, np.random.default_rng(0))
    assert made.shape == shape
    assert made.dtype == np.uint8
    assert (made != image).any()


def test_the_share_of_a_challenge_is_found_whatever_share_was_taught_and_then_stays() -> None:
    rng = np.random.default_rng(0)
    taught = model.fit_curve(rng.normal(2, 1, 2000), rng.normal(-2, 1, 2000))
    natural = np.r_[rng.normal(2, 1, 100), rng.normal(-2, 1, 1900)]
    curve = taught.among(natural)
    assert curve.prior == pytest.approx(0.05, abs=0.015)
    probability = curve.probability(natural)
    assert (probability[:100] >= 0.5).mean() > 0.85
    assert (probability[100:] >= 0.5).mean() < 0.01
    assert taught.among(natural, 0.2).prior == pytest.approx(0.2)
    assert taught.among(natural, believed=0.5).prior == pytest.approx(curve.prior / 2)
    assert taught.among(natural, 0.04, 0.5).prior == pytest.approx(0.04)
    # among many marked ones a picture is judged as among few
    assert curve.probability(natural[:50]) == pytest.approx(probability[:50])


def human_of(faces: np.ndarray, usual: tuple[float, float] = (0.0, 1.0)) -> dict[str, np.ndarray]:
    """What tells drawings by the first number of an embedding, and by its distance from faces."""
    return {
        "weights": np.r_[1.0, np.zeros(faces.shape[1] - 1)],
        "mean": np.zeros(faces.shape[1]),
        "scale": np.ones(faces.shape[1]),
        "faces": faces.astype(np.float16),
        "classes": np.zeros((faces.shape[1], 1000), np.float16),
        "class_biases": np.zeros(1000, np.float16),
        "typical": np.array([0.0, -2.0, -4.0, np.log(398 / 602)]),
        "spread": np.array([1.0, 2.0, 2.0, 1.0]),
        "usual": np.array(usual),
    }


def test_a_drawing_in_which_the_detector_finds_no_face_is_least_a_persons() -> None:
    human = human_of(np.array([[0, 1], [0.1, 1]]))
    embedding = np.array([[2, 1], [2, 1], [0, 1], [0, 1]], np.float16)
    found = model.non_human_score(human, embedding, np.array([0.1, 0.9, 0.1, 0.9]))
    assert found.argmax() == 0
    assert found.argmin() == 3
    assert np.isfinite(model.non_human_score(human, embedding, np.array([0.0, 1.0, np.nan, 0.5]))).all()


def test_no_opinion_of_what_is_a_person_outvotes_the_two_others() -> None:
    # of two drawings that look equally altered, the one unlike all faces is less a person's, found or not
    human = human_of(np.array([[0, 1, 0], [0.1, 1, 0]]))
    like, unlike = [0.5, 1, 0], [0.5, 0, 1]
    score = model.non_human_score(human, np.array([like, unlike], np.float16), np.array([0.9, 0.9]))
    assert score[1] > score[0]
    alone = model.opinions(human, np.array([like, unlike], np.float16), np.array([0.9, 0.9]))
    assert alone[0, 0] == pytest.approx(alone[1, 0], abs=0.01)
    assert alone[1, 2] > alone[0, 2]


def test_what_the_network_takes_for_an_animal_is_less_a_persons() -> None:
    human = human_of(np.array([[0, 1], [0.1, 1]]))
    embedding, sure = np.array([[0, 1], [0.5, 1]], np.float16), np.array([0.9, 0.9])
    before = model.non_human_score(human, embedding, sure)
    human["classes"][0, 281] = 20  # a tabby cat
    after = model.non_human_score(human, embedding, sure)
    assert after[0] == pytest.approx(before[0])
    assert after[1] > before[1] + 2


def test_a_model_is_read_back_as_it_was_written_and_junk_is_none() -> None:
    heads = {"overlay": {"a": np.arange(6.0).reshape(2, 3)}, "occluder": {"b": np.ones(2)}}
    made = model.ChallengeModel(
        heads, {"weights": np.ones(3)}, {"watermark": model.Curve(np.array([1.0, 2.0]), 0.4)}, {"revision": 1}
    )
    read = model.ChallengeModel.from_bytes(made.to_bytes())
    assert read.digest == made.digest
    assert read.record == made.record
    assert read.curves["watermark"].prior == 0.4
    with pytest.raises((ValueError, OSError, KeyError)):
        model.ChallengeModel.from_bytes(b"no archive")


def test_images_unlike_the_faces_are_farthest_and_copies_of_them_do_not_hide_them() -> None:
    rng = np.random.default_rng(0)
    faces = np.abs(rng.normal(0, 0.1, (600, 40))) + np.arange(40) % 2
    odd = np.repeat(faces[:1, ::-1] + 0.01, 60, axis=0)
    contents = np.array([f"c{n}" for n in range(660)], dtype=object)
    sure = np.arange(660) < 600
    far = distance(np.vstack([faces, odd]).astype(np.float16), sure, contents, 0)
    assert far[600:].min() > far[:600].max()


def asked(embedding: np.ndarray, face_score: np.ndarray, human: dict[str, np.ndarray]) -> SimpleNamespace:
    """What the checks read of images that all are embedded."""
    count = len(embedding)
    learned = model.ChallengeModel({}, human, {"occluded_face": model.Curve(np.array([1.0, 0.0]), 0.1)}, {})
    nothing = np.zeros((count, 0, 0))
    cells = {"occluder": np.full((count, 7, 7), -6.0, np.float32)}
    known = found.Challenges(
        np.ones(count, bool), embedding.astype(np.float16), cells, learned, nothing, nothing.astype(np.uint8), {}
    )
    measured = pd.DataFrame({"face_score": face_score, "pixel_sha256": [f"{n:064d}" for n in range(count)]})
    images = pd.DataFrame({"path": [f"{n}.png" for n in range(count)]})
    return SimpleNamespace(
        challenges=known, measurements=measured, images=images, readable=np.ones(count, bool), settings=load()
    )


def test_drawings_are_flagged_where_half_of_the_images_are_drawings() -> None:
    embedding = np.array([[0, 1], [6, 0]] * 50)
    human = human_of(np.array([[0, 1], [0.1, 1]]), (0.0, 0.8))
    flagged = found.non_human_face(asked(embedding, np.full(100, 0.9), human)).flags
    assert flagged.tolist() == [False, True] * 50


def test_a_face_that_is_not_found_because_it_is_covered_is_a_persons() -> None:
    human = human_of(np.array([[0, 1], [0.1, 1]]), (0.0, 0.8))
    inputs = asked(np.array([[0, 1]] * 4), np.array([0.9, 0.9, np.nan, np.nan]), human)
    inputs.challenges.logits["occluder"][3] = 6
    assert found.non_human_face(inputs).flags.tolist() == [False, False, True, False]
    assert np.isnan(inputs.measurements["face_score"].to_numpy()[3])


def test_a_face_too_covered_to_be_found_is_said_to_be_covered_where_faces_usually_are() -> None:
    inputs = asked(np.ones((3, 2)), np.array([0.9, np.nan, 0.9]), {})
    cells = np.full((3, 7, 7), -6.0, np.float32)
    cells[1, 4:] = 6
    landmarks = np.stack([LANDMARKS, np.full((5, 2), np.nan), LANDMARKS])
    inputs.challenges = replace(inputs.challenges, logits={"occluder": cells}, landmarks=landmarks)
    result = found.occluded_face(inputs)
    assert result.flags.tolist() == [False, True, False]
    said = json.loads(result.rows("occluded_face", inputs.images["path"])["evidence"].iloc[0])
    assert "mouth" in said["covered"]
    assert said["face_found"] is False


def test_outliers_are_flagged_where_many_images_are_no_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(found.pixels, "blank", lambda inputs: SimpleNamespace(flags=np.zeros(len(inputs.images), bool)))
    rng = np.random.default_rng(0)
    embedding = np.abs(rng.normal(0, 0.1, (500, 40))) + np.arange(40) % 2
    embedding[300:] = embedding[300:, ::-1] * rng.uniform(1, 3, (200, 1))
    flagged = found.outlier(asked(embedding, np.where(np.arange(500) < 300, 0.9, 0.0), {})).flags
    assert flagged[300:].mean() > 0.9
    assert flagged[:300].mean() < 0.05


def test_what_points_elsewhere_is_farther_than_any_face_of_another_length() -> None:
    # faces vary in the length of their embeddings, and a few that are alike are no data of their own
    rng = np.random.default_rng(0)
    faces = (1 + 0.2 * rng.random((300, 40))) * np.linspace(0.2, 2, 40) * rng.uniform(0.3, 3, (300, 1))
    pages = (1 + 0.2 * rng.random((8, 40))) * np.linspace(2, 0.2, 40)
    embedding = np.concatenate([faces, pages]).astype(np.float16)
    contents = np.array([f"{n}" for n in range(308)], dtype=object)
    far = distance(embedding, np.ones(308, bool), contents, 0)
    assert far[300:].min() > far[:300].max() + 1
    copies = np.where(np.arange(308) >= 300, "page", contents).astype(object)
    assert distance(embedding, np.ones(308, bool), copies, 0)[300:].min() > far[:300].max() + 1


def test_too_few_faces_give_no_distance() -> None:
    embedding = np.ones((12, 40), np.float16)
    assert np.isnan(distance(embedding, np.ones(12, bool), np.arange(12).astype(object), 0)).all()


def test_the_covered_part_is_named() -> None:
    logits = np.full((7, 7), -5.0, np.float32)
    logits[5] = 5
    assert covered_parts(logits, LANDMARKS) == (["mouth"], "mouth")
    logits[:] = -5
    logits[2] = 5
    assert "eyes" in covered_parts(logits, LANDMARKS)[0]
    assert covered_parts(logits, np.full((5, 2), np.nan)) == ([], "")
    logits[:] = -5
    logits[5, 0] = 5  # a hand at the cheek covers none of them
    assert covered_parts(logits, LANDMARKS) == ([], "mouth")


def test_one_mark_on_different_pictures_recurs_and_copies_of_one_picture_do_not() -> None:
    same = [written(picture(seed)) for seed in range(6)]
    others = [written(picture(20 + seed), word) for seed, word in enumerate(("abq", "kvz", "mwx"))]
    copies = [written(picture(50), "zzz", (2, 15))] * 4
    shown = np.stack([*same, *others, *copies])
    logits = np.full((len(shown), 14, 14), -5.0, np.float32)
    logits[:9, 8:12, :12] = 3
    logits[9:, 2:5, :12] = 3
    found = recurring_marks(np.full(len(shown), 0.9), logits, shown)
    assert set(range(6)) <= set(found)
    assert found[0] >= 4
    assert not set(range(9, 13)) & set(found)


def test_what_all_faces_have_at_one_place_is_no_recurring_mark() -> None:
    eyes = cv2.GaussianBlur(written(np.zeros((48, 48), np.uint8), "oo", (4, 20)).astype(np.float32), (0, 0), 1.0)
    faces = np.stack([np.clip(picture(n) + (0.5 + n % 5 / 5) * eyes, 0, 255).astype(np.uint8) for n in range(400)])
    logits = np.full((400, 14, 14), -5.0, np.float32)
    logits[:, 2:6, :8] = 3
    suspected = np.where(np.arange(400) < 8, 0.2, 0.01)
    assert not recurring_marks(suspected, logits, faces)
    for row in range(4):
        faces[row] = written(picture(1000 + row))
        logits[row, 8:12, :12] = 3
    assert set(recurring_marks(suspected, logits, faces)) == set(range(4))


def test_the_copy_without_a_watermark_is_the_best_even_where_it_is_smaller() -> None:
    images = pd.DataFrame({"path": ["a", "b"], "split": "train", "label": "x"})
    measured = pd.DataFrame(
        {
            "path": ["a", "b"],
            "error": "",
            "pixel_sha256": ["1" * 64, "2" * 64],
            "dhash": [1, 2],
            "width": [100, 48],
            "height": [100, 48],
            "bytes": [9000, 900],
            "sharpness": 1.0,
        }
    )
    pairs = pd.DataFrame(
        {
            "pixel_sha256_a": ["1" * 64],
            "pixel_sha256_b": ["2" * 64],
            "probability": [0.99],
            "transform": ["same view"],
            "relation": ["near_duplicate"],
        }
    )
    plain = build(images, measured, pairs, 0.9).members.set_index("path")["rank"]
    clean_first = build(images, measured, pairs, 0.9, np.array([True, False])).members.set_index("path")["rank"]
    assert plain["a"] == 1
    assert clean_first["b"] == 1


def test_the_cost_of_a_challenge_is_the_difference_with_its_interval() -> None:
    right = np.r_[np.ones(300), np.zeros(20), np.ones(20)].astype(bool)
    flags = pd.DataFrame({"Watermark": np.r_[np.zeros(300), np.ones(40)].astype(bool), "rare": np.zeros(340, bool)})
    found = by_challenge(right, flags)
    assert found["challenge"].tolist() == ["Watermark"]
    row = found.iloc[0]
    assert row["cost"] == pytest.approx(0.5)
    assert 0.3 < row["cost_low"] < 0.5 < row["cost_high"] < 0.7
    few = by_challenge(np.r_[np.ones(90), np.zeros(3)].astype(bool), pd.DataFrame({"Odd": np.arange(93) >= 90})).iloc[0]
    assert few["accuracy"] == 0
    assert few["high"] > 0.3
    assert few["cost_low"] < 0.7


def test_images_as_they_are_teach_what_no_lesson_draws_and_those_with_the_thing_are_left_out() -> None:
    import torch

    from training.features import learn_head, loaded_head

    rng = np.random.default_rng(0)
    count, plain = 128, 64
    taps = {
        name: torch.from_numpy(rng.normal(0, 1, (count + plain, width, side, side)).astype(np.float16))
        for name, width, side in (("coarse", 112, 7), ("top", 320, 4))
    }
    covers = np.zeros((count + plain, 7, 7), np.float32)
    covers[:64, 2:5, 2:5] = 1
    taps["coarse"][:64, :8, 2:5, 2:5] += 4
    # hats: a part of what the lessons show, in most images as they are; the last of these have the thing itself
    taps["coarse"][count:-8, :4, 2:5, 2:5] += 4
    taps["coarse"][-8:, :8, 2:5, 2:5] += 4
    rows, late = np.arange(count), np.arange(count, count + plain)
    said = {}
    for name, joining in (("without", late[:0]), ("with", late)):
        head = loaded_head("occluder", learn_head("occluder", taps, covers, rows, joining))
        with torch.inference_mode():
            logits = head({tap: values[count:] for tap, values in taps.items()})[:, 2:5, 2:5].mean((1, 2)).numpy()
        said[name] = logits[:-8].mean(), logits[-8:].mean()
    assert said["with"][0] < said["without"][0] - 1
    assert said["with"][1] > 2


@pytest.mark.skipif(not available(), reason="the package with the network's weights is not installed")
def test_contents_are_embedded_once_and_unreadable_ones_stay_unknown(tmp_path: Path) -> None:
    from curation.base.progress import Display
    from curation.base.settings import MeasureSettings
    from curation.measure.embedding import embed, grey_square, keep, load_embedding
    from training.features import FeatureNetwork

    rows = []
    for number in range(5):
        file = tmp_path / f"{number}.png"
        cv2.imwrite(str(file), picture(number))
        rows.append((sha256(file.read_bytes()).hexdigest(), str(file)))
    (tmp_path / "bad.png").write_bytes(b"no picture")
    rows.append((sha256(b"no picture").hexdigest(), str(tmp_path / "bad.png")))
    contents = pd.DataFrame(rows, columns=["sha256", "url"])
    store, settings, display = tmp_path / "store", MeasureSettings(), Display(quiet=True)
    assert embed(contents.head(3), store, settings, {}, "", display) == 3
    assert embed(contents, store, settings, {}, "", display) == 3
    found = load_embedding(contents["sha256"].tolist(), store, settings, "")
    assert found.known.tolist() == [True] * 5 + [False]
    assert found.embedding.shape == (6, 1280)
    # what was seen while learning is kept, not seen again
    kept = tmp_path / "kept"
    pictures = np.stack([grey_square(url, name, 112, settings) for name, url in rows[:2]])
    keep([name for name, _ in rows[:2]], FeatureNetwork().describe(pictures), kept, settings, "")
    assert embed(contents.head(3), kept, settings, {}, "", display) == 1
    again = load_embedding(contents["sha256"].tolist()[:3], kept, settings, "")
    assert np.abs(again.embedding.astype(float) - found.embedding[:3]).max() < 0.01
    # a picture's numbers do not depend on what it was batched with
    alone = tmp_path / "alone"
    embed(contents.iloc[4:5], alone, settings, {}, "", display)
    once = load_embedding([rows[4][0]], alone, settings, "").embedding[0].astype(float)
    assert np.abs(once - found.embedding[4]).max() < 0.01
    # one that was replaced meanwhile is not taken for the one that was measured, and one that is gone is named
    Path(rows[1][1]).write_bytes(Path(rows[0][1]).read_bytes())
    Path(rows[0][1]).unlink()
    for one, words in ((contents.iloc[1:2], "is not the file that was measured"), (contents.iloc[:1], "No such file")):
        with pytest.raises(ChangedError, match=words):
            embed(one, tmp_path / "new", settings, {}, "", display)


@pytest.mark.slow
@pytest.mark.skipif(not available(), reason="the package with the network's weights is not installed")
def test_a_run_with_embed_learns_embeds_and_finds_what_was_planted(tmp_path: Path) -> None:
    from curation.audit.synthetic import make_sample
    from curation.base.issues import read_issues
    from curation.base.progress import Display
    from curation.base.workspace import create_workspace
    from curation.pipeline import challenges, curating

    make_sample(tmp_path / "faces", images=160, seed=3)
    for number in range(6):
        label = ("happy", "sad")[number % 2]
        place = PLANTED["page of print"][0](np.zeros((64, 64), np.uint8), np.random.default_rng(number))
        cv2.imwrite(str(tmp_path / "faces" / "train" / label / f"page{number}.png"), place)
    workspace = create_workspace(tmp_path / "w")
    settings = load(overrides={"embed": {"when": "on", "lessons": 200}})
    curating.run(workspace, str(tmp_path / "faces"), settings, Display(quiet=True))
    issues = read_issues(workspace).every()
    learned = challenges.stored_model(workspace)
    assert learned is not None
    assert learned.record["lessons"] == 200
    assert {"watermark", "occluded_face", "non_human_face", "outlier"} <= set(issues["check"])
    rows = issues[issues["check"] == "outlier"].sort_values("score")
    pages = rows["path"].str.contains("page")
    assert rows.loc[pages, "score"].median() < rows.loc[~pages, "score"].median()
    assert all("threshold" in json.loads(text) for text in rows["evidence"])
    before = workspace.issues.stat().st_mtime_ns
    curating.run(workspace, str(tmp_path / "faces"), settings, Display(quiet=True))
    assert workspace.issues.stat().st_mtime_ns == before
    without = load(overrides={"embed": {"when": "off"}})
    curating.run(workspace, str(tmp_path / "faces"), without, Display(quiet=True))
    assert "watermark" not in read_issues(workspace).scored


@pytest.mark.slow
@pytest.mark.skipif(not available(), reason="the package with the network's weights is not installed")
def test_what_is_laid_over_faces_of_the_drawn_sample_is_found(tmp_path: Path) -> None:
    from curation.audit.synthetic import make_sample
    from curation.base.issues import read_issues
    from curation.base.progress import Display
    from curation.base.workspace import create_workspace
    from curation.pipeline import curating

    make_sample(tmp_path / "faces", images=400, seed=0)
    workspace = create_workspace(tmp_path / "w")
    settings = load(overrides={"embed": {"when": "on"}})
    curating.run(workspace, str(tmp_path / "faces"), settings, Display(quiet=True))
    truth = pd.read_csv(tmp_path / "faces" / "truth.csv").set_index("path")["defect"]
    issues = read_issues(workspace).every()
    # few are flagged, and surely; what else was planted is nearest to the limit
    for check, fewest, apart in (("occluded_face", 3, 0.93), ("watermark", 2, 0.8)):
        rows = issues[issues["check"] == check].set_index("path")
        flagged = truth[rows.index[rows["is_issue"]]]
        right = flagged.str.startswith(check) | ((check == "watermark") & (flagged == "near_duplicate:text"))
        assert flagged.str.startswith(check).sum() >= fewest
        assert right.mean() > 0.6
        planted = truth.reindex(rows.index).fillna("").str.startswith(check)
        assert model.auroc(1 - rows.loc[planted, "score"], 1 - rows.loc[~planted, "score"]) > apart
