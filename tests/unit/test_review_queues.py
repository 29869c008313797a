"""Queues: the worst first, groups whole, shared out among people the same way for ever."""

from __future__ import annotations

import pandas as pd
import pytest

from curation.base.issues import Issues
from curation.review import queues
from curation.review.journal import ReviewError
from curation.review.review_session import keys_of


def issues(*rows: tuple[str, str, float, bool, str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["path", "check", "score", "is_issue", "group"])
    return frame.assign(evidence="{}")


def manifest(**labels: str) -> pd.DataFrame:
    return pd.DataFrame({"path": list(labels), "label": list(labels.values())})


FOUND = issues(
    ("a", "mislabelled", 0.2, True, ""),
    ("b", "mislabelled", 0.1, True, ""),
    ("c", "mislabelled", 0.9, False, ""),
    ("d", "label_conflict", 0.0, True, "g1"),
    ("e", "label_conflict", 0.0, True, "g1"),
    ("d", "exact_duplicate", 0.0, True, "g0"),
    ("f", "dark", 0.05, True, ""),
)
ROWS = manifest(a="sad", b="sad", c="sad", d="happy", e="sad", f="happy")


def test_only_what_is_flagged_stands_in_a_queue_and_only_of_the_check_asked_for() -> None:
    assert set(queues.candidates(Issues(FOUND), ROWS, "")["path"]) == {"a", "b", "d", "e", "f"}
    assert set(queues.candidates(Issues(FOUND), ROWS, "mislabelled")["path"]) == {"a", "b"}
    clean = FOUND.assign(is_issue=FOUND["is_issue"] & (FOUND["check"] != "dark"))
    with pytest.raises(ReviewError, match="dark flags no image"):
        queues.candidates(Issues(clean), ROWS, "dark")
    with pytest.raises(ReviewError, match=r"ambiguous was not run; to run: curate check .*--labels fast"):
        queues.candidates(Issues(FOUND), ROWS, "ambiguous")
    with pytest.raises(ReviewError, match=r"no check 'blury'; did you mean 'blurry'\?"):
        queues.candidates(Issues(FOUND), ROWS, "blury")


def test_people_who_are_perhaps_one_wait_in_the_queue_with_those_they_are_perhaps() -> None:
    sure = ("a", "subject_leak", 0.0, True, "p1"), ("b", "subject_leak", 0.0, True, "p1")
    found = issues(*sure, ("c", "subject_leak", 0.53, False, "p2"), ("d", "subject_leak", 1.0, False, "p3"))
    found["evidence"] = ['{"perhaps": "q"}', '{"perhaps": "q"}', '{"person": "perhaps", "perhaps": "q"}', "{}"]
    for check in ("subject_leak", ""):
        queue = queues.candidates(Issues(found), manifest(a="sad", b="sad", c="sad", d="sad"), check)
        assert dict(zip(queue["path"], queue["group"], strict=True)) == {"a": "q", "b": "q", "c": "q"}
    only_doubt = found[found["path"] == "c"]
    assert queues.candidates(Issues(only_doubt), manifest(c="sad"), "subject_leak")["path"].tolist() == ["c"]


def test_people_have_keys_only_where_somebody_is_known() -> None:
    with_people = {key.operator: key.key for key in keys_of(["sad"], blind=False, people=True)}
    assert (with_people["same"], with_people["not_same"]) == ("p", "o")
    assert not {"same", "not_same"} & {key.operator for key in keys_of(["sad"], blind=False)}


def test_the_worst_come_first_and_the_members_of_a_group_together() -> None:
    found = queues.candidates(Issues(FOUND), ROWS, "")
    assert queues.ranked(found, "worst", 0)["path"].tolist() == ["d", "e", "f", "b", "a"]


def test_by_gain_a_group_that_one_look_settles_comes_first_and_what_says_nothing_of_labels_last() -> None:
    found = queues.candidates(Issues(FOUND), ROWS, "")
    assert queues.ranked(found, "gain", 0)["path"].tolist() == ["d", "e", "b", "a", "f"]


def test_by_balance_the_classes_take_turns() -> None:
    many = issues(*((f"s{n}", "dark", 0.01 * n, True, "") for n in range(5)), ("h", "dark", 0.9, True, ""))
    rows = manifest(**{f"s{n}": "sad" for n in range(5)}, h="happy")
    assert queues.ranked(queues.candidates(Issues(many), rows, ""), "balance", 0)["path"].tolist()[:2] == ["h", "s0"]


def test_a_random_queue_depends_on_its_seed_alone() -> None:
    found = queues.candidates(Issues(FOUND), ROWS, "")
    first = queues.ranked(found, "random", 3)
    assert first.equals(queues.ranked(found.sample(frac=1, random_state=1), "random", 3))
    assert any(not first.equals(queues.ranked(found, "random", seed)) for seed in range(4, 9))


def test_a_cut_never_divides_a_group() -> None:
    queue = queues.ranked(queues.candidates(Issues(FOUND), ROWS, ""), "gain", 0)
    assert queues.cut(queue, 1)["path"].tolist() == ["d", "e"]
    assert queues.cut(queue, 3)["path"].tolist() == ["d", "e", "b"]
    assert len(queues.cut(queue, 0)) == 5


def test_people_share_a_queue_without_gaps_and_see_in_common_about_what_they_asked_for() -> None:
    queue = pd.DataFrame({"path": [f"{n}.jpg" for n in range(3000)], "group": ""})
    queue.loc[:99, "group"] = "one"
    names = ["ada", "ben", "cem"]
    parts = {name: set(queues.share(queue, name, names, 0.2)["path"]) for name in names}
    assert set.union(*parts.values()) == set(queue["path"])
    common = set.intersection(*parts.values())
    assert 0.15 < len(common) / 3000 < 0.25
    group = set(queue["path"][:100])
    assert all(not (part & group) or group <= part for part in parts.values())
    assert queues.share(queue, "ben", ["cem", "ben", "ada"], 0.2)["path"].tolist() == sorted(
        parts["ben"], key=queue["path"].tolist().index
    )
    with pytest.raises(ReviewError, match="not among the reviewers"):
        queues.share(queue, "dan", names, 0.2)


def test_classes_past_nine_have_keys_of_their_own_that_no_command_has() -> None:
    classes = [f"class {number:02d}" for number in range(20)]
    keys = keys_of(classes, blind=False, people=True)
    of_classes = {key.params["label"]: key.key for key in keys if key.operator == "relabel"}
    assert list(of_classes) == classes and of_classes["class 09"] == "0"
    assert len({key.key for key in keys}) == len(keys)
