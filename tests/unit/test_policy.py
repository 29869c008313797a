"""Policies: who is excluded, which copy stays, what goes to a person."""

import json
from pathlib import Path

import pandas as pd
import pytest

from curation.base.issues import Issues
from curation.checks import registry
from curation.decisions import policy
from curation.decisions.log import Draft
from tests.unit.frames import images, issue


def near(path: str, group: str = "", dhash: str = "00", rank: int = 1) -> dict[str, object]:
    return issue(path, "near_duplicate", group, json.dumps({"dhash": dhash, "rank": rank}), flagged=bool(group))


def exact(path: str, group: str, rank: int = 1) -> dict[str, object]:
    return issue(path, "exact_duplicate", group, json.dumps({"rank": rank}))


def outcome(drafts: list[Draft]) -> dict[str, str]:
    return {draft.path: draft.action for draft in drafts}


def decide(name: str, table: pd.DataFrame, *rows: dict[str, object]) -> dict[str, str]:
    return outcome(policy.decide(policy.load(name), table, Issues(pd.DataFrame(list(rows)))))


def test_balanced_keeps_the_copy_in_test_then_in_validation() -> None:
    table = images(("t", "train", "sad"), ("v", "validation", "sad"), ("x", "test", "sad"))
    rows = [exact(path, "exact-1", rank) for rank, path in enumerate("tvx", 1)]
    assert decide("balanced", table, *rows) == {"t": "exclude", "v": "exclude", "x": "keep"}
    assert decide("balanced", table[:2], *rows[:2]) == {"t": "exclude", "v": "keep"}


def test_balanced_keeps_the_best_copy_within_a_split() -> None:
    table = images(("a", "train", "sad"), ("b", "train", "sad"))
    assert decide("balanced", table, near("a", "near-1", rank=2), near("b", "near-1", rank=1)) == {
        "a": "exclude",
        "b": "keep",
    }


def test_balanced_excludes_every_copy_of_a_conflict_until_a_person_has_decided() -> None:
    table = images(("a", "train", "sad"), ("b", "train", "happy"))
    assert decide("balanced", table, exact("a", "e"), exact("b", "e", 2)) == {"a": "exclude", "b": "exclude"}


def test_a_near_group_takes_in_the_exact_copies_of_its_members() -> None:
    table = images(("a", "train", "sad"), ("b", "train", "sad"), ("c", "train", "sad"))
    rows = [near(path, "near-1", rank=rank) for rank, path in enumerate("abc", 1)]
    assert decide("balanced", table, exact("a", "exact-1"), exact("b", "exact-1", 2), *rows) == {
        "a": "keep",
        "b": "exclude",
        "c": "exclude",
    }


def test_balanced_drops_no_image_for_want_of_a_face_but_deck_does() -> None:
    table = images(("a", "train", "sad"), ("b", "test", "sad"))
    rows = [issue("a", "no_face"), issue("b", "no_face"), near("a", dhash="1"), near("b", dhash="2")]
    assert decide("balanced", table, *rows) == {}
    assert decide("deck", table, *rows) == {"a": "exclude"}


def test_deck_keeps_the_copy_in_the_split_that_is_short_of_the_class() -> None:
    # train is 1/4 happy, validation 2/3: train is short of happy and keeps its copy
    table = images(
        ("t1", "train", "happy"),
        ("t2", "train", "sad"),
        ("t3", "train", "sad"),
        ("t4", "train", "sad"),
        ("v1", "validation", "happy"),
        ("v2", "validation", "happy"),
        ("v3", "validation", "sad"),
    )
    hashes = {"t1": "aa", "v1": "aa", "t2": "bb", "v3": "bb"}
    rows = [near(path, dhash=hashes.get(path, path)) for path in table["path"]]
    assert decide("deck", table, *rows) == {"t1": "keep", "v1": "exclude", "t2": "exclude", "v3": "keep"}


def test_deck_leaves_the_test_split_alone() -> None:
    table = images(("a", "test", "sad"), ("b", "train", "sad"))
    assert decide("deck", table, near("a", dhash="aa"), near("b", dhash="aa")) == {}


def test_an_image_excluded_by_a_rule_is_no_copy_any_more() -> None:
    table = images(("a", "train", "sad"), ("b", "train", "happy"))
    rows = [issue("b", "blank"), exact("a", "e"), exact("b", "e", 2)]
    assert decide("balanced", table, *rows) == {"b": "exclude"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = 'x'", "description"),
        ("name = ", "not valid TOML"),
        ("name='x'\ndescription='y'\ncolour='red'", "colour"),
    ],
)
def test_a_wrong_policy_file_is_refused_with_what_is_wrong(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(policy.PolicyError, match=words):
        policy.load(str(path))


def test_a_policy_that_names_an_unknown_check_is_refused_with_the_nearest() -> None:
    rule = {"check": "blury", "reason": "z"}
    given = policy.Policy.model_validate({"name": "x", "description": "y", "exclude": [rule]})
    with pytest.raises(policy.PolicyError, match="'blury'; did you mean 'blurry'"):
        policy.require_checks(given, registry.names())


def test_an_unknown_policy_names_the_known_ones() -> None:
    with pytest.raises(policy.PolicyError, match="balanced, believe, confident, deck"):
        policy.load("no such policy")


def equal(*rows: tuple[str, str, str]) -> tuple[pd.DataFrame, Issues]:
    """Images (path, split, label) that are exact copies of each other, and their issues."""
    evidence = [json.dumps({"rank": place}) for place, _ in enumerate(rows, 1)]
    found = [issue(row[0], "exact_duplicate", "exact-1", text) for row, text in zip(rows, evidence, strict=True)]
    return images(*rows), Issues(pd.DataFrame(found))


@pytest.mark.parametrize("split", ["PublicTest", "FER2013Test", "dev", "holdout", "fold3", "alpha", "deploy"])
def test_no_split_but_one_to_fit_on_gives_its_copy_away_to_train(split: str) -> None:
    drafts = policy.decide(policy.load("balanced"), *equal(("a.jpg", "train", "sad"), ("b.jpg", split, "sad")))
    assert {draft.path: draft.action for draft in drafts} == {"a.jpg": "exclude", "b.jpg": "keep"}


def test_test_comes_before_a_split_of_another_name_for_validation() -> None:
    drafts = policy.decide(
        policy.load("balanced"), *equal(("a.jpg", "dev", "sad"), ("b.jpg", "test", "sad"), ("c.jpg", "x", "sad"))
    )
    assert [draft.path for draft in drafts if draft.action == "keep"] == ["b.jpg"]


def test_no_label_is_no_conflict_and_the_labelled_copy_stays() -> None:
    drafts = policy.decide(policy.load("balanced"), *equal(("a.jpg", "train", ""), ("b.jpg", "train", "sad")))
    assert {draft.path: draft.action for draft in drafts} == {"a.jpg": "exclude", "b.jpg": "keep"}


@pytest.mark.parametrize(
    "place",
    [
        'splits = ["trian"]',
        '[[exclude]]\ncheck = "blank"\nreason = "r"\nsplits = ["trian"]',
        '[duplicates]\nidentity = "near"\nconflicts = "exclude"\nkeep_split = ["trian", "test"]\nkeep_copy = "best"',
        '[labels]\nprotect_splits = ["trian"]',
    ],
)
def test_a_mistyped_split_is_named_with_the_one_that_was_meant(tmp_path: Path, place: str) -> None:
    file = tmp_path / "p.toml"
    file.write_text(f'name = "p"\ndescription = "d"\n{place}\n', encoding="utf-8")
    with pytest.raises(policy.PolicyError, match=r"'trian'.*did you mean 'train'"):
        policy.require_usable(policy.load(str(file)), {"train", "test"})


def test_a_policy_for_splits_that_the_data_lack_is_refused_and_standard_names_may_lack() -> None:
    policy.require_usable(policy.load("balanced"), {""})
    policy.require_usable(policy.load("deck"), {"train", "test"})
    with pytest.raises(policy.PolicyError, match="deck judges only the splits train, validation"):
        policy.require_usable(policy.load("deck"), {""})


def test_a_kept_policy_is_the_policy_and_an_edited_one_is_none(tmp_path: Path) -> None:
    chosen = policy.load("balanced+confident")
    policy.store(tmp_path, chosen, "balanced+confident")
    assert policy.stored(tmp_path, chosen.fingerprint) == (chosen, "balanced+confident")
    assert policy.stored(tmp_path, "../../etc/passwd") is None
    (file,) = tmp_path.iterdir()
    file.write_text(file.read_text().replace("0.6", "0.1"))
    assert policy.stored(tmp_path, chosen.fingerprint) is None


def person(path: str, group: str) -> dict[str, object]:
    return issue(path, "subject_leak", group, "{}")


def test_subject_disjoint_leaves_each_person_in_one_split_and_protects_test() -> None:
    table = images(("a", "train", "sad"), ("b", "test", "sad"), ("c", "validation", "sad"), ("d", "train", "sad"))
    rows = [person("a", "p"), person("b", "p"), person("c", "q"), person("d", "q")]
    assert decide("subject-disjoint", table, *rows) == {"a": "exclude", "d": "exclude"}
    alone = [person("a", "p"), person("b", "r"), person("c", "q"), person("d", "s")]
    assert decide("subject-disjoint", table, *alone) == {}


def test_joined_with_balanced_only_people_who_are_left_count() -> None:
    table = images(("a", "train", "sad"), ("b", "test", "sad"))
    rows = [exact("a", "e", 1), exact("b", "e", 2), person("a", "p"), person("b", "p")]
    assert decide("balanced+subject-disjoint", table, *rows) == {"a": "exclude", "b": "keep"}


def test_a_policy_may_move_people_instead(tmp_path: Path) -> None:
    text = 'name = "m"\ndescription = ""\n[subjects]\naction = "move"\nkeep_split = ["test", "train"]\n'
    (tmp_path / "m.toml").write_text(text)
    table = images(("a", "train", "sad"), ("b", "test", "sad"))
    found = policy.decide(
        policy.load(str(tmp_path / "m.toml")), table, Issues(pd.DataFrame([person("a", "p"), person("b", "p")]))
    )
    assert [(draft.path, draft.action, draft.value) for draft in found] == [("a", "move", "test")]
    assert found[0].issue == "subject_leak#p"


def test_what_a_policy_says_of_people_is_part_of_its_fingerprint_and_silence_is_not() -> None:
    with_people = policy.load("subject-disjoint")
    other = with_people.model_copy(
        update={
            "subjects": with_people.subjects.model_copy(update={"action": "move"}) if with_people.subjects else None
        }
    )
    assert other.fingerprint != with_people.fingerprint
    # as it was before policies could say anything of people or of challenges: it is in people's logs
    balanced = policy.load("balanced")
    younger = {"occluded_face", "non_human_face", "watermark", "outlier"}
    assert younger < set(balanced.review.checks)
    review = balanced.review.model_copy(update={"checks": tuple(c for c in balanced.review.checks if c not in younger)})
    assert balanced.model_copy(update={"review": review}).fingerprint.startswith("bf8b6dede682ab7d")
