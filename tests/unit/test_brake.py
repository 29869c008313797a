"""The brake: where most of a class, a split or a person would go, nothing of it goes until somebody says so."""

from __future__ import annotations

import pandas as pd

from curation.base.settings import BrakeSettings
from curation.decisions.brake import held_back, losses
from curation.decisions.log import Draft
from curation.decisions.replay import HELD

LIMITS = BrakeSettings()


def data(**sizes: int) -> pd.DataFrame:
    """Images by class, in train but for every fourth, with a person each five."""
    rows = [
        (f"{label}/{n}", "test" if n % 4 == 3 else "train", label) for label, size in sizes.items() for n in range(size)
    ]
    frame = pd.DataFrame(rows, columns=["path", "split", "label"])
    return frame.assign(subject=[f"p{n // 5}" for n in range(len(frame))])


def out(paths: list[str], issue: str = "no_face") -> list[Draft]:
    return [Draft(path, "exclude", reason="why", issue=issue) for path in paths]


def kinds(images: pd.DataFrame, drafts: list[Draft]) -> set[tuple[str, str]]:
    return {(loss.kind, loss.name) for loss in losses(images, drafts, LIMITS)}


def test_a_class_that_would_lose_most_is_held_back_and_others_are_not() -> None:
    images = data(happy=40, sad=40)
    gone = [f"happy/{n}" for n in range(40) if n % 4 < 2 or n % 12 == 2]
    drafts = out([*gone, "sad/1", "sad/2"])
    found = losses(images.drop(columns="subject"), drafts, LIMITS)
    assert [(loss.kind, loss.name) for loss in found] == [("class", "happy")]
    kept = held_back(images, drafts, found)
    assert {draft.path for draft in kept if draft.action == "exclude"} == {"sad/1", "sad/2"}
    assert all(draft.value == HELD and "why" in draft.reason for draft in kept if draft.action == "keep")


def test_small_losses_are_no_reason_to_stop_but_an_emptied_split_or_class_is() -> None:
    few = data(happy=8, sad=8).assign(subject="")
    assert kinds(few, out([f"happy/{n}" for n in range(5)])) == set()
    assert kinds(few, out([f"{label}/{n}" for label in ("happy", "sad") for n in (3, 7)])) == {("split", "test")}
    assert kinds(few, out([f"sad/{n}" for n in range(8)])) == {("class", "sad")}


def test_a_class_that_vanishes_from_one_split_is_held_back() -> None:
    images = data(happy=80, sad=80).assign(subject="")
    assert kinds(images, out([f"happy/{n}" for n in range(3, 80, 4)])) == {("class in split", "test/happy")}


def test_a_person_counts_where_people_are_known() -> None:
    images = data(happy=40, sad=40)
    of_one = images.loc[images["subject"] == "p1", "path"].tolist()
    assert kinds(images, out(of_one[:4])) == {("subject", "p1")}
    assert kinds(images.drop(columns="subject"), out(of_one[:4])) == set()


def test_where_most_groups_carry_several_labels_all_decisions_on_copies_wait() -> None:
    images = data(happy=100, sad=100).assign(subject="")
    drafts = [d for n in range(6) for d in out([f"happy/{n}", f"sad/{n}"], f"label_conflict#near-{n}")]
    drafts += out(["happy/50"], "near_duplicate#near-x") + out(["happy/60"], "no_face")
    found = losses(images, drafts, LIMITS)
    assert [loss.kind for loss in found] == ["label conflicts"]
    assert [draft.path for draft in held_back(images, drafts, found) if draft.action == "exclude"] == ["happy/60"]


def test_groups_are_held_back_whole() -> None:
    images = data(happy=20, sad=60).assign(subject="")
    drafts = out([f"happy/{n}" for n in range(11)]) + out(["happy/12", "sad/1"], "label_conflict#near-1")
    found = [loss for loss in losses(images, drafts, LIMITS) if loss.kind == "class"]
    assert {draft.path for draft in held_back(images, drafts, found) if draft.action == "exclude"} == set()


def test_what_cannot_be_decoded_goes_whatever_is_lost() -> None:
    images = data(happy=40, sad=40)
    drafts = out([f"happy/{n}" for n in range(40)], "unreadable")
    assert losses(images, drafts, LIMITS) == []


def placed(each: int = 40, turned: int = 12) -> pd.DataFrame:
    """Images of two classes in train, a picture each; of each class the first so many are turned."""
    images = data(happy=each, sad=each).drop(columns="subject").assign(split="train")
    number = images["path"].str.partition("/")[2].astype(int)
    pose = ["turned" if n < turned else "frontal" for n in number]
    return images.assign(pose=pose, picture=images["path"])


def test_a_cell_that_cleaning_would_empty_is_held_back_and_no_other() -> None:
    images = placed()
    drafts = out([f"sad/{n}" for n in range(13)] + ["happy/1", "happy/2"])
    found = losses(images, drafts, LIMITS)
    assert [loss.sentence() for loss in found] == ["all 12 turned sad faces in train"]
    kept = held_back(images, drafts, found)
    assert {draft.path for draft in kept if draft.action == "exclude"} == {"sad/12", "happy/1", "happy/2"}
    assert all(draft.value == HELD for draft in kept if draft.action == "keep")
    assert kinds(images, drafts[1:]) == set()
    assert kinds(placed(turned=9), drafts) == set()  # too few to tell


def test_what_is_left_out_for_its_pose_or_stays_as_a_copy_empties_no_cell() -> None:
    images = placed()
    assert kinds(images, out([f"sad/{n}" for n in range(12)], "turned_face")) == set()
    copies = images.assign(
        picture=[
            "one" if path.startswith("sad/") and n % 40 in (*range(12), 20) else path
            for n, path in enumerate(images["path"])
        ]
    )
    assert kinds(copies, out([f"sad/{n}" for n in range(12)], "exact_duplicate#one")) == set()
    pairs = images.assign(picture=[f"{path.partition('/')[0]}{n // 2}" for n, path in enumerate(images["path"])])
    assert kinds(pairs, out([f"sad/{n}" for n in range(12)])) == set()  # six pictures, twice each


def test_the_cells_of_a_class_that_is_lost_as_a_whole_are_not_told_apart() -> None:
    lost = kinds(placed(), out([f"sad/{n}" for n in range(40)]))
    assert lost == {("class", "sad"), ("class in split", "train/sad")}
