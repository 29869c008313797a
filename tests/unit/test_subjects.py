"""Who is who: groups of one person among embeddings, drawn so that the truth is known."""

import json

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from curation.base.settings import Settings
from curation.checks import registry
from curation.checks.base import CheckInputs
from curation.checks.subjects import Subjects, find_subjects, is_made, null, tree
from curation.pipeline import summary

Faces = npt.NDArray[np.float32]

NUMBERS = 128


def drawn(people: int, pictures: int, seed: int, own: float = 0.5) -> tuple[Faces, npt.NDArray[np.int64]]:
    """Return embeddings in which a person's pictures vary ``own`` times as much as people do, and who each is."""
    rng = np.random.default_rng(seed)
    scale = np.exp(-np.arange(NUMBERS) / 40)
    centre = rng.normal(size=(people, NUMBERS)) * scale
    who = np.repeat(np.arange(people), pictures)
    return (centre[who] + own * rng.normal(size=(len(who), NUMBERS)) * scale).astype(np.float32), who


def agreement(found: Subjects, who: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Return precision and recall over all pairs."""
    one, other = np.triu_indices(len(who), 1)
    same, joined = who[one] == who[other], found.group[one] == found.group[other]
    return float((same & joined).sum() / max(joined.sum(), 1)), float((same & joined).sum() / max(same.sum(), 1))


def find(faces: Faces, given: list[str] | None = None, precision: float = 0.99) -> Subjects:
    return find_subjects(faces, given or [""] * len(faces), precision, 0)


@pytest.mark.parametrize(("people", "pictures"), [(40, 8), (100, 4), (300, 2)])
def test_people_are_found_without_a_number_of_them(people: int, pictures: int) -> None:
    faces, who = drawn(people, pictures, seed=people)
    precision, recall = agreement(find(faces), who)
    assert precision >= 0.99 and recall >= 0.9


@pytest.mark.parametrize("seed", range(2))
def test_among_strangers_nobody_is_found(seed: int) -> None:
    faces, _ = drawn(400, 1, seed)
    found = find(faces)
    assert len(np.unique(found.group)) >= 398 and found.expected_false <= 0.01 * max(found.pairs, 1)


def test_the_pairs_that_chance_would_put_below_the_limit_are_stated_and_few() -> None:
    faces, _ = drawn(60, 6, seed=5)
    strict, loose = find(faces, precision=0.99), find(faces, precision=0.9)
    assert 0 < strict.expected_false <= 0.01 * strict.pairs
    assert loose.limit > strict.limit
    assert set(np.unique(strict.sure)) <= {1.0} | {share for share in strict.sure if share >= 0.99}


def test_the_limit_falls_as_the_set_grows_at_the_same_number_of_true_pairs() -> None:
    few, _ = drawn(60, 3, seed=2, own=0.9)
    strangers, _ = drawn(700, 1, seed=3, own=0.9)
    assert find(np.concatenate([few, strangers])).limit < find(few).limit


def test_a_chain_of_lookalikes_is_not_one_person() -> None:
    faces, _ = drawn(200, 1, seed=8)
    rng = np.random.default_rng(8)
    chain = [faces[0]]
    for _ in range(8):  # each is as near to the last as pictures of one person are, and the ends are strangers
        other = np.sqrt(1.25) * rng.normal(size=NUMBERS) * np.exp(-np.arange(NUMBERS) / 40)
        chain.append(0.8 * chain[-1] + 0.6 * other)
    found = find(np.concatenate([faces, np.array(chain[1:], dtype=np.float32)]))
    assert found.group[0] != found.group[-1]


def test_where_everybody_is_alike_nobody_is_claimed() -> None:
    rng = np.random.default_rng(4)
    adults, _ = drawn(500, 1, seed=4)
    scale = np.exp(-np.arange(NUMBERS) / 40)
    babies = (rng.normal(size=NUMBERS) * scale + 0.35 * rng.normal(size=(80, NUMBERS)) * scale).astype(np.float32)
    found = find(np.concatenate([adults, babies]))
    of_babies = np.unique(found.group[len(adults) :], return_counts=True)[1]
    assert (of_babies > 1).sum() <= 1


def test_names_are_believed_whatever_the_faces_say() -> None:
    faces, who = drawn(40, 6, seed=1)
    twins = np.concatenate([faces, faces[:6]])  # the same face under another name
    given = ["ann"] * 6 + [""] * (len(faces) - 6) + ["bea"] * 6
    found = find(twins, given)
    ann, bea = set(found.group[:6]), set(found.group[-6:])
    assert len(ann) == len(bea) == 1 and ann != bea
    far = ["ann" if place in (0, 50) else "" for place in range(len(faces))]
    assert who[0] != who[50]
    found = find(faces, far)
    assert found.group[0] == found.group[50]


def test_pairs_known_to_be_of_two_people_make_the_limit_stricter() -> None:
    faces, _ = drawn(60, 6, seed=6)
    # strangers in one picture who are as alike as a person's own pictures
    rng = np.random.default_rng(0)
    alike = faces[:1] + 0.6 * rng.normal(size=(400, 2, NUMBERS)) * np.exp(-np.arange(NUMBERS) / 40)
    number = np.arange(len(faces))
    plain = null.learn(faces.astype(np.float64), number, 0)
    warned = null.learn(faces.astype(np.float64), number, 0, alike)
    assert warned.spread(1, 1) > plain.spread(1, 1)


def test_the_same_faces_give_the_same_groups() -> None:
    faces, _ = drawn(50, 5, seed=9)
    first, second = find(faces), find(faces)
    assert (first.group == second.group).all() and (first.sure == second.sure).all()


def test_few_faces_are_left_alone() -> None:
    faces, _ = drawn(4, 5, seed=0)
    assert len(np.unique(find(faces).group)) == 20
    assert find(faces[:0]).pairs == 0


def test_members_of_a_tree_node_are_its_leaves() -> None:
    made = tree.Tree(np.array([[0, 2], [1, 4]]), np.array([-np.inf] * 4 + [-5.0, -3.0]), np.array([3, 5]))
    assert sorted(made.members(5).tolist()) == [0, 1, 2] and sorted(made.members(4).tolist()) == [0, 2]
    assert made.cut(-4.0) == [1, 3, 4] and made.cut(-2.0) == [3, 5] and made.cut(-9.0) == [0, 1, 2, 3]


def inputs(rows: list[tuple[str, str, str, str]], **columns: object) -> CheckInputs:
    """Return what the checks read of (path, split, label, person) rows."""
    frame = pd.DataFrame(rows, columns=["path", "split", "label", "person"])
    measured = pd.DataFrame({"path": frame["path"], "error": "", "pixel_sha256": frame["path"], "dhash": 0, "bytes": 9})
    measured = measured.assign(width=48, height=48, sharpness=1.0)
    pairs = pd.DataFrame(columns=["pixel_sha256_a", "pixel_sha256_b", "probability", "transform", "relation"])
    defaults = {"given": False, "sure": 0.998, "perhaps": "", "unsure": 1.0, "nearest": frame["path"].iloc[0]}
    subjects = frame[["path", "person"]].assign(**{**defaults, **columns})
    return CheckInputs(frame, measured, pairs.astype({"probability": "float64"}), Settings(), subjects=subjects)


def found_by(check: str, given: CheckInputs) -> pd.DataFrame:
    """Return the rows of a check."""
    return registry.run(given, [check]).every()


def test_a_person_in_two_splits_is_flagged_and_every_person_has_a_group() -> None:
    found = found_by(
        "subject_leak", inputs([("a", "train", "sad", "p1"), ("b", "test", "sad", "p1"), ("c", "train", "sad", "p2")])
    ).set_index("path")
    assert found["is_issue"].to_dict() == {"a": True, "b": True, "c": False}
    assert found["group"].to_dict() == {"a": "p1", "b": "p1", "c": "p2"}
    evidence = json.loads(found.loc["b", "evidence"])
    assert evidence == {
        "person": "found",
        "probability": 0.998,
        "images": 2,
        "splits": ["test", "train"],
        "labels": ["sad"],
        "of": "a",
    }
    assert found.loc["a", "score"] == pytest.approx(0.002) and found.loc["c", "score"] == 1.0


def test_who_is_perhaps_in_another_split_waits_unflagged() -> None:
    rows = [("a", "train", "sad", "p1"), ("b", "test", "sad", "p2")]
    found = found_by("subject_leak", inputs(rows, perhaps="q", unsure=0.94)).set_index("path")
    assert not found["is_issue"].any() and found["score"].between(0.5, 0.6).all()
    assert json.loads(found.loc["a", "evidence"])["person"] == "perhaps"
    told = summary.people_in_doubt(found.reset_index())
    assert told[["path", "group", "flagged"]].to_numpy().tolist() == [["a", "q", False], ["b", "q", False]]


def test_who_is_flagged_stands_in_one_group_with_those_who_are_perhaps_the_same() -> None:
    rows = [("a", "train", "sad", "p1"), ("b", "test", "sad", "p1"), ("c", "train", "sad", "p2")]
    told = summary.people_in_doubt(found_by("subject_leak", inputs(rows, perhaps="q", unsure=0.94)))
    assert dict(zip(told["path"], told["flagged"], strict=True)) == {"a": True, "b": True, "c": False}
    assert set(told["group"]) == {"q"}
    assert summary.people_in_doubt(found_by("subject_leak", inputs(rows))).empty


def test_who_is_told_apart_is_in_no_group_however_alike_and_a_chain_does_not_bring_them_together() -> None:
    faces, who = drawn(40, 8, seed=40)
    joined = find(faces).group
    mine = np.flatnonzero(joined == np.bincount(joined).argmax())
    assert len(mine) >= 6
    parts = [mine[:2].tolist(), mine[2:].tolist()]
    found = find_subjects(faces, [""] * len(faces), 0.99, 0, None, [parts])
    assert not set(found.group[mine[:2]]) & set(found.group[mine[2:]])
    assert not set(found.perhaps[mine[:2]]) & set(found.perhaps[mine[2:]])
    alone = find_subjects(faces, [""] * len(faces), 0.99, 0, None, [[[one] for one in mine.tolist()]])
    assert len(set(alone.group[mine])) == len(mine)
    others = joined != joined[mine[0]]  # everybody else is found as before
    assert agreement(found, who)[0] >= 0.99
    assert len(np.unique(found.group[others])) == len(np.unique(joined[others]))


def test_names_that_were_made_hold_together_but_keep_nobody_apart() -> None:
    faces, who = drawn(40, 8, seed=40)
    for names, apart in ((("person-0123456789ab", "person-ba9876543210"), False), (("ann", "ben"), True)):
        given = [""] * len(faces)
        given[0] = given[1] = names[0]
        given[2] = given[3] = names[1]
        found = find(faces, given).group
        assert found[0] == found[1] and found[2] == found[3]
        assert (found[0] != found[2]) == apart
    assert is_made("person-0123456789ab") and not is_made("person-7") and not is_made("ann")
    assert (who[:4] == who[0]).all()


def test_without_anybody_known_there_are_no_rows() -> None:
    nobody = inputs([("a", "train", "sad", "p")])
    nobody = CheckInputs(nobody.images, nobody.measurements, nobody.pairs, nobody.settings)
    assert found_by("subject_leak", nobody).empty and found_by("subject_shift", nobody).empty


def test_a_person_of_one_class_only_is_flagged_where_chance_does_not_explain_it() -> None:
    classes = ["sad", "happy", "angry", "neutral"]
    mixed = [(f"m{n}", "train", classes[n % 4], f"p{n // 4}") for n in range(40)]
    of_one = [(f"o{n}", "train", "sad", "one") for n in range(8)]
    found = found_by("subject_shift", inputs([*mixed, *of_one])).set_index("path")
    assert set(found.index[found["is_issue"]]) == {path for path, *_ in of_one}
    evidence = json.loads(found.loc["o1", "evidence"])
    assert evidence["labels"] == ["sad"] and evidence["images"] == 8 and evidence["expected"] < 0.05
    # three pictures of one class out of four are no wonder among ten people
    few = [(f"o{n}", "train", "sad", "one") for n in range(3)]
    assert not found_by("subject_shift", inputs([*mixed, *few]))["is_issue"].any()
