"""Decisions follow pictures: through renaming and moving, not to other pictures, and not past another label."""

from __future__ import annotations

import json

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from curation.decisions.follow import Image, Images, follow, separated_copies
from curation.decisions.log import Entry, table_of
from curation.decisions.manifest import raw_manifest
from curation.decisions.replay import replay
from tests.unit.frames import images


def raw(*rows: tuple[str, str, str]) -> pd.DataFrame:
    """A raw manifest from (path, content, label)."""
    frame = images(*((path, "", label) for path, _, label in rows))
    return raw_manifest(frame.assign(sha256=[content for _, content, _ in rows]))


def decided(*rows: tuple[str, str, str, str, str]) -> list[Entry]:
    """A log of one person's decisions from (path, content, label, action, value)."""
    return [
        Entry(n, "t", "person:ada", path, action, value, "", "", content, label)
        for n, (path, content, label, action, value) in enumerate(rows, 1)
    ]


def after(now: pd.DataFrame, entries: list[Entry], *past: Images) -> tuple[pd.DataFrame, list[str]]:
    """The manifest that follows, by path, and the paths of the decisions that apply no more."""
    found = follow(table_of(entries), now, lambda seq: list(past))
    return replay(now, found.table).set_index("path"), found.lost["path"].tolist()


EXCLUDED = ("a.jpg", "A", "sad", "exclude", "")


def test_a_renamed_picture_keeps_its_decision_and_the_new_one_under_the_old_name_does_not_inherit_it() -> None:
    now = raw(("a.jpg", "B", "sad"), ("renamed.jpg", "A", "sad"))
    rows, lost = after(now, decided(EXCLUDED), {"a.jpg": Image("A", "sad")})
    assert rows["status"].to_dict() == {"a.jpg": "kept", "renamed.jpg": "excluded"} and lost == []


def test_a_picture_that_has_gone_leaves_its_decision_to_be_listed() -> None:
    rows, lost = after(raw(("a.jpg", "B", "sad")), decided(EXCLUDED), {"a.jpg": Image("A", "sad")})
    assert rows["status"].tolist() == ["kept"] and lost == ["a.jpg"]


def test_a_confirmed_label_does_not_confirm_another_one() -> None:
    now = raw(("a.jpg", "A", "sad"))
    rows, lost = after(now, decided(("a.jpg", "A", "happy", "keep", "")))
    assert rows.at["a.jpg", "label"] == "sad" and lost == ["a.jpg"]
    rows, lost = after(now, decided(("a.jpg", "A", "happy", "relabel", "neutral")))
    assert rows.at["a.jpg", "label"] == "sad" and lost == ["a.jpg"]
    # the data came round to what the person said: nothing is lost
    assert after(now, decided(("a.jpg", "A", "happy", "relabel", "sad")))[1] == []


def test_what_was_left_out_stays_out_under_another_label() -> None:
    rows, lost = after(raw(("sad/a.jpg", "A", "sad")), decided(("happy/a.jpg", "A", "happy", "exclude", "")))
    assert rows["status"].tolist() == ["excluded"] and lost == []


def test_of_equal_files_the_path_says_which_was_meant() -> None:
    now = raw(("a.jpg", "A", "sad"), ("copy.jpg", "A", "sad"))
    assert after(now, decided(EXCLUDED))[0]["status"].to_dict() == {"a.jpg": "excluded", "copy.jpg": "kept"}


def test_a_copy_that_lay_beside_does_not_inherit_from_one_that_was_deleted() -> None:
    then = {"a.jpg": Image("A", "sad"), "copy.jpg": Image("A", "sad")}
    rows, lost = after(raw(("copy.jpg", "A", "sad")), decided(EXCLUDED), then)
    assert rows["status"].tolist() == ["kept"] and lost == ["a.jpg"]
    # one that came since does
    rows, lost = after(raw(("copy.jpg", "A", "sad"), ("new.jpg", "A", "sad")), decided(EXCLUDED), then)
    assert rows["status"].to_dict() == {"copy.jpg": "kept", "new.jpg": "excluded"} and lost == []


def test_a_decision_of_an_older_version_is_about_what_lay_there_then() -> None:
    legacy = decided(("a.jpg", "", "", "exclude", ""))
    now = raw(("a.jpg", "B", "sad"), ("b.jpg", "A", "sad"))
    rows, _ = after(now, legacy, {"a.jpg": Image("A", "sad")})
    assert rows["status"].to_dict() == {"a.jpg": "kept", "b.jpg": "excluded"}
    # where nothing tells, it goes by its path
    assert after(now, legacy)[0]["status"].to_dict() == {"a.jpg": "excluded", "b.jpg": "kept"}


def test_an_unreadable_file_has_no_content_to_follow() -> None:
    now = raw(("a.jpg", "", "sad"), ("b.jpg", "", "sad"))
    rows, lost = after(now, decided(("a.jpg", "", "sad", "exclude", "")), {"a.jpg": Image("", "sad")})
    assert rows["status"].to_dict() == {"a.jpg": "excluded", "b.jpg": "kept"} and lost == []


CONTENTS = [f"content {n}" for n in range(6)]


@given(st.permutations(range(6)), st.permutations(range(6)), st.lists(st.sampled_from(range(6)), max_size=8))
def test_any_renaming_leaves_every_picture_what_was_decided_of_it(
    before: list[int], then: list[int], chosen: list[int]
) -> None:
    old = raw(*((f"{before[n]}.jpg", content, "sad") for n, content in enumerate(CONTENTS)))
    new = raw(*((f"{then[n]}.jpg", content, "sad") for n, content in enumerate(CONTENTS)))
    log = decided(
        *(
            (f"{before[n]}.jpg", CONTENTS[n], "sad", "keep" if place % 3 else "exclude", "")
            for place, n in enumerate(chosen)
        )
    )
    past = dict(zip(old["path"], map(Image, old["sha256"], old["original_label"]), strict=True))
    first, lost = after(old, log, past)
    second, lost_later = after(new, log, past)
    assert lost == lost_later == []
    assert first.set_index("sha256")["status"].to_dict() == second.set_index("sha256")["status"].to_dict()


def test_parted_contents_are_those_that_nobody_joined_again() -> None:
    said = json.dumps({"contents": ["A", "B"], "paths": ["a.jpg", "b.jpg"]})
    entries = [Entry(1, "t", "person:ada", "", "not_copies", said, "", "")]
    assert separated_copies(table_of(entries)) == [("A", "B")]
    entries.append(Entry(2, "t", "person:ada", "", "undo", "[1]", "", ""))
    assert separated_copies(table_of(entries)) == []
