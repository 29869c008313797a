"""Pull's plan: what was pulled is not pulled again, people's disagreements are rows, later words settle them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from curation.decisions import log
from curation.pipeline import subjects
from curation.review import journal
from curation.review.journal import Line
from curation.review.pull import Plan, plan

PATHS = ["a", "b", "c"]


def line(number: int, who: str, action: str, *paths: str, value: str = "") -> Line:
    return Line(
        f"{number:04d}",
        f"2026-01-01T00:{number // 60:02d}:{number % 60:02d}.500000+00:00",
        who,
        action,
        value,
        paths,
        "q",
    )


def carried_out(file: Path, found: Plan) -> list[log.Entry]:
    """Do to the log what a pull does."""
    for who, numbers in sorted(found.undo.items()):
        log.Log(file).append(f"person:{who}", [log.Draft("", "undo", value=json.dumps(numbers))])
    for who, drafts in sorted(found.drafts.items()):
        log.Log(file).append(f"person:{who}", drafts)
    return log.entries_of(log.Log(file).table)


def test_decisions_keep_who_when_and_why(tmp_path: Path) -> None:
    press = Line("1", "2026-01-01T00:00:01.5+00:00", "ada", "relabel", "sad", ("a",), "q", "frowns", "mislabelled")
    (entry,) = carried_out(tmp_path / "log", plan([press], [], PATHS))
    assert (entry.actor, entry.time, entry.reason) == ("person:ada", press.time, "frowns")
    assert (entry.action, entry.value, entry.issue) == ("relabel", "sad", "mislabelled")


def test_unsure_and_images_of_another_data_set_decide_nothing() -> None:
    found = plan([line(1, "ada", "unsure", "a"), line(2, "ada", "exclude", "strange")], [], PATHS)
    assert found.drafts == {}


def test_people_who_differ_are_rows_and_neither_is_pulled(tmp_path: Path) -> None:
    lines = [line(1, "ada", "exclude", "a", "b"), line(2, "ben", "keep", "a")]
    found = plan(lines, [], PATHS)
    assert [draft.path for draft in found.drafts["ada"]] == ["b"] and "ben" not in found.drafts
    assert found.conflicts[["path", "reviewer", "action"]].to_numpy().tolist() == [
        ["a", "ada", "exclude"],
        ["a", "ben", "keep"],
    ]
    # a later word of anybody settles it
    entries = log.Log(tmp_path / "log").append(
        "person:cem", [log.Draft("a", "exclude", time=line(9, "cem", "keep").time)]
    )
    assert plan(lines, entries, PATHS).conflicts.empty


def test_what_stands_in_the_log_is_not_overwritten_by_one_who_differs(tmp_path: Path) -> None:
    first = line(1, "ada", "exclude", "a")
    entries = carried_out(tmp_path / "log", plan([first], [], PATHS))
    found = plan([first, line(2, "ben", "keep", "a")], entries, PATHS)
    assert found.drafts == {} and found.undo == {} and len(found.conflicts) == 2


def test_a_decision_undone_in_the_log_does_not_come_back_with_the_next_pull(tmp_path: Path) -> None:
    lines = [line(1, "ada", "exclude", "a")]
    file = tmp_path / "log"
    carried_out(file, plan(lines, [], PATHS))
    log.Log(file).append("person:ada", [log.Draft("", "undo", value="[1]")])
    assert plan(lines, log.entries_of(log.Log(file).table), PATHS).drafts == {}


def test_an_answer_taken_back_in_the_app_after_its_pull_is_undone_once(tmp_path: Path) -> None:
    lines = [line(1, "ada", "exclude", "a", "b")]
    file = tmp_path / "log"
    carried_out(file, plan(lines, [], PATHS))
    lines.append(Line("0002", line(2, "ada", "undo").time, "ada", "undo", "0001", (), "q"))
    found = plan(lines, log.entries_of(log.Log(file).table), PATHS)
    assert found.undo == {"ada": [1, 2]} and found.drafts == {}
    again = plan(lines, carried_out(file, found), PATHS)
    assert again.undo == {} and again.drafts == {}


def test_who_is_who_stands_beside_the_same_persons_answer_on_the_label(tmp_path: Path) -> None:
    lines = [line(1, "ada", "exclude", "a"), line(2, "ada", "same", "a", "b"), line(3, "ben", "keep", "b")]
    found = plan(lines, [], PATHS)
    assert [(draft.path, draft.action) for draft in found.drafts["ada"]] == [("a", "exclude")]
    assert [[answer.path for answer in press] for press in found.people] == [["a", "b"]]
    assert found.conflicts.empty and [draft.path for draft in found.drafts["ben"]] == ["b"]


def test_people_who_differ_on_who_is_who_are_rows_and_the_label_is_not_waited_for() -> None:
    lines = [line(1, "ada", "same", "a", "b"), line(2, "ben", "not_same", "a", "b", value="[]")]
    lines.append(line(3, "ben", "exclude", "a"))
    found = plan(lines, [], PATHS)
    assert found.people == [] and len(found.conflicts) == 4
    assert [draft.action for draft in found.drafts["ben"]] == ["exclude"]


def test_a_press_on_who_is_who_is_pulled_once_and_taken_back_whole(tmp_path: Path) -> None:
    file, press = tmp_path / "log", line(1, "ada", "not_same", "a", "b", value="[]")
    (answers,) = plan([press], [], PATHS).people
    told = log.Draft("", "", time=press.time)
    images = pd.DataFrame({"path": PATHS, "sha256": ["1", "2", "3"], "label": ""})
    names = pd.Series(["ann", "ann", ""], index=PATHS)
    drafts = subjects.not_same(names, images, [answer.path for answer in answers], [], told)
    assert [(draft.path, draft.action, draft.value) for draft in drafts[:2]] == [
        ("a", "subject", ""),
        ("b", "subject", ""),
    ]
    assert json.loads(drafts[2].value)["contents"] == [["1"], ["2"]]
    entries = log.Log(file).append("person:ada", drafts)
    assert plan([press], entries, PATHS).people == []
    back = Line("0002", line(2, "ada", "undo").time, "ada", "undo", "0001", (), "q")
    assert plan([press, back], entries, PATHS).undo == {"ada": [1, 2, 3]}


def test_one_person_has_the_name_that_somebody_gave_or_one_that_is_made() -> None:
    images = pd.DataFrame({"path": PATHS, "sha256": ["c" * 64, "b" * 64, "a" * 64], "label": ""})
    told, nobody = log.Draft("", ""), pd.Series("", index=PATHS)
    assert {draft.value for draft in subjects.same(nobody, images, ["a", "b"], told)} == {"person-" + "b" * 12}
    made = nobody.where([False, True, True], "person-" + "b" * 12)
    named = made.where([True, True, False], "ann")
    assert {draft.value for draft in subjects.same(named, images, PATHS, told)} == {"ann"}


def test_of_a_not_the_same_only_names_that_both_sides_have_are_taken() -> None:
    images = pd.DataFrame({"path": PATHS, "sha256": ["1", "2", "3"], "label": ""})
    names = pd.Series(["ann", "ben", "ann"], index=PATHS)
    drafts = subjects.not_same(names, images, ["a", "b"], ["c"], log.Draft("", ""))
    assert [(draft.path, draft.action) for draft in drafts] == [("a", "subject"), ("", "not_same")]
    assert json.loads(drafts[1].value)["contents"] == [["1", "2"], ["3"]]


presses = st.lists(
    st.tuples(
        st.sampled_from(["ada", "ben"]),
        st.sampled_from(["keep", "exclude", "relabel", "unsure", "undo", "pull"]),
        st.lists(st.sampled_from(PATHS), min_size=1, max_size=3, unique=True),
    ),
    max_size=12,
)


@given(presses)
def test_however_often_it_is_pulled_in_between_the_log_says_what_people_said_last(
    tmp_path_factory, done: list[tuple[str, str, list[str]]]
) -> None:
    file = tmp_path_factory.mktemp("log") / "log"
    lines: list[Line] = []
    for number, (who, action, paths) in enumerate(done, start=1):
        if action == "pull":
            carried_out(file, plan(lines, log.entries_of(log.Log(file).table), PATHS))
        elif action == "undo":
            mine = [one for one in journal.active_presses(lines) if one.reviewer == who]
            if mine:
                lines.append(Line(f"{number:04d}", line(number, who, "undo").time, who, "undo", mine[-1].id, (), "q"))
        else:
            lines.append(line(number, who, action, *paths, value="sad" if action == "relabel" else ""))
    entries = carried_out(file, plan(lines, log.entries_of(log.Log(file).table), PATHS))
    last = plan(lines, entries, PATHS)
    assert last.drafts == {} and last.undo == {}  # a second pull adds nothing
    marks = [(entry.time, entry.actor, entry.path) for entry in entries if entry.path]
    assert len(marks) == len(set(marks))
    gone = log.undone(entries)
    latest_answers = journal.latest_answers(lines)
    for path in set(PATHS) - set(last.conflicts["path"]):
        said = {a.says for (p, _), a in latest_answers.items() if p == path and a.action != "unsure"}
        in_force = [e for e in entries if e.path == path and e.seq not in gone]
        if said:
            assert (in_force[-1].action, in_force[-1].value) in said
