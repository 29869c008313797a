"""Journals: an answer counts once its line is on disk, the last one of a person counts, taking back is a line too."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation.review import journal
from curation.review.journal import Journal, ReviewError


def test_the_last_answer_of_a_person_counts_and_two_people_do_not_overwrite_each_other(tmp_path: Path) -> None:
    ada, ben = Journal(tmp_path, "ada"), Journal(tmp_path, "ben")
    ada.write("exclude", ["a.jpg", "b.jpg"])
    ben.write("keep", ["a.jpg"])
    ada.write("relabel", ["a.jpg"], "sad")
    found = journal.latest_answers(journal.read(tmp_path))
    assert {key: answer.says for key, answer in found.items()} == {
        ("a.jpg", "ada"): ("relabel", "sad"),
        ("b.jpg", "ada"): ("exclude", ""),
        ("a.jpg", "ben"): ("keep", ""),
    }


def test_taking_back_brings_the_answer_before_it_back(tmp_path: Path) -> None:
    ada = Journal(tmp_path, "ada")
    ada.write("exclude", ["a.jpg"])
    second = ada.write("keep", ["a.jpg"])
    ada.undo(second)
    assert journal.latest_answers(journal.read(tmp_path))["a.jpg", "ada"].action == "exclude"
    assert [line.action for line in journal.taken_back(journal.read(tmp_path))] == ["keep"]


def test_an_app_killed_in_the_middle_of_a_line_loses_that_line_only(tmp_path: Path) -> None:
    ada = Journal(tmp_path, "ada")
    ada.write("exclude", ["a.jpg"])
    ada.write("exclude", ["b.jpg"])
    whole = ada.path.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in (first, first + 1, len(whole) - 1):
        ada.path.write_bytes(whole[:cut])
        assert [answer.path for answer in journal.latest_answers(journal.read(tmp_path)).values()] == ["a.jpg"]


def test_a_damaged_line_is_named_not_skipped(tmp_path: Path) -> None:
    ada = Journal(tmp_path, "ada")
    ada.write("exclude", ["a.jpg"])
    ada.path.write_bytes(b"{broken\n" + ada.path.read_bytes())
    with pytest.raises(ReviewError, match="line 1 is damaged"):
        journal.read(tmp_path)


def test_blind_labels_are_never_answers(tmp_path: Path) -> None:
    ada = Journal(tmp_path, "ada")
    ada.write("label", ["a.jpg"], "sad")
    lines = journal.read(tmp_path)
    assert journal.latest_answers(lines) == {}
    assert journal.blind_labels(lines)["a.jpg", "ada"].value == "sad"


@pytest.mark.parametrize("name", ["", "../x", "a/b", "-", "x" * 80])
def test_a_name_that_cannot_stand_in_a_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ReviewError, match="reviewer's name"):
        Journal(tmp_path, name)
