"""The log of decisions: whole batches or nothing, in order, for ever."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.decisions.log import Draft, Entry, LogError, append, read, undone


def test_what_was_appended_is_read_back_numbered_from_one(tmp_path: Path) -> None:
    log = tmp_path / "decisions.jsonl"
    append(log, "person:ada", [Draft("a.jpg", "exclude", reason="blurred"), Draft("b.jpg", "relabel", "sad")])
    append(log, "policy:balanced", [Draft("c\n\"é'.jpg", "keep")])
    entries = read(log)
    assert [entry.seq for entry in entries] == [1, 2, 3]
    assert entries[1].value == "sad"
    assert entries[2].path == "c\n\"é'.jpg"
    assert entries[2].actor == "policy:balanced"


@given(cut=st.integers(min_value=1))
def test_a_log_cut_off_anywhere_in_its_last_batch_keeps_all_earlier_batches(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    log = tmp_path_factory.mktemp("log") / "decisions.jsonl"
    append(log, "person:ada", [Draft("a.jpg", "exclude")])
    whole = log.stat().st_size
    append(log, "person:ada", [Draft(f"{n}.jpg", "keep") for n in range(3)])
    data = log.read_bytes()
    log.write_bytes(data[: whole + cut % (len(data) - whole)])
    assert [entry.path for entry in read(log)] == ["a.jpg"]
    append(log, "person:ada", [Draft("later.jpg", "keep")])
    assert [(entry.seq, entry.path) for entry in read(log)] == [(1, "a.jpg"), (2, "later.jpg")]


def test_damage_before_the_last_batch_is_refused_with_the_line_named(tmp_path: Path) -> None:
    log = tmp_path / "decisions.jsonl"
    append(log, "person:ada", [Draft("a.jpg", "exclude")])
    append(log, "person:ada", [Draft("b.jpg", "exclude")])
    lines = log.read_text().splitlines()
    lines[0] = lines[0][:10]
    log.write_text("\n".join(lines) + "\n")
    with pytest.raises(LogError, match="line 1"):
        read(log)
    with pytest.raises(LogError, match="line 1"):
        append(log, "person:ada", [Draft("c.jpg", "keep")])


def test_a_removed_line_is_noticed(tmp_path: Path) -> None:
    log = tmp_path / "decisions.jsonl"
    append(log, "person:ada", [Draft("a.jpg", "exclude")])
    append(log, "person:ada", [Draft("b.jpg", "exclude")])
    log.write_text("".join(log.read_text().splitlines(keepends=True)[2:]))
    with pytest.raises(LogError, match="decision 1 is missing"):
        read(log)


def test_an_unknown_action_is_refused_and_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    log = tmp_path / "decisions.jsonl"
    append(log, "person:ada", [Draft("a.jpg", "exclude")])
    before = log.read_bytes()
    with pytest.raises(LogError, match="drop"):
        append(log, "person:ada", [Draft("a.jpg", "drop")])
    assert log.read_bytes() == before


def undo(seq: int, *targets: int) -> Entry:
    return Entry(seq, "", "person:ada", "", "undo", json.dumps(targets), "", "")


def test_undoing_an_undo_brings_the_decision_back() -> None:
    decision = Entry(1, "", "person:ada", "a.jpg", "exclude", "", "", "")
    assert undone([decision, undo(2, 1)]) == {1}
    assert undone([decision, undo(2, 1), undo(3, 2)]) == {2}
    assert undone([decision, undo(2, 1), undo(3, 2), undo(4, 3)]) == {3, 1}
