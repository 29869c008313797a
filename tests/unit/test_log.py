"""The log of decisions: whole batches or nothing, in order, for ever."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.decisions.log import Draft, Entry, Log, LogError, chain_of, entries_of, through, undone


def append(path: Path, actor: str, drafts: list[Draft], now: datetime | None = None) -> list[Entry]:
    return Log(path).append(actor, drafts, now=now)


def read(path: Path) -> list[Entry]:
    return entries_of(Log(path).table)


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


TEXTS = st.text(max_size=6)


@given(st.lists(st.lists(st.tuples(TEXTS, TEXTS, TEXTS, TEXTS), min_size=1, max_size=3), max_size=3))
def test_whatever_is_written_is_read_back_as_json_has_it(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[str, str, str, str]]]
) -> None:
    log = tmp_path_factory.mktemp("log") / "decisions.jsonl"
    for batch in batches:
        append(log, "person:ada", [Draft(p, "exclude", reason=r, content=c, label=la) for p, r, c, la in batch])
    lines = [json.loads(line) for line in log.read_bytes().split(b"\n")[:-1]] if batches else []
    assert read(log) == [Entry(**line) for line in lines if "seq" in line]
    assert [(entry.path, entry.reason, entry.content, entry.label) for entry in read(log)] == [
        row for batch in batches for row in batch
    ]


def test_the_last_number_is_told_from_the_end_alone(tmp_path: Path) -> None:
    log = tmp_path / "decisions.jsonl"
    assert through(log) == 0
    append(log, "person:ada", [Draft(f"{n}.jpg", "exclude") for n in range(100)])
    assert through(log) == 100
    log.write_bytes(log.read_bytes() + b'{"seq": 101, "time": "torn')
    assert through(log) == 100


@pytest.mark.parametrize("change", ["2026", "person:ada", "why", "exclude", "sad"])
def test_an_edit_of_any_field_breaks_the_chain(tmp_path: Path, change: str) -> None:
    log = tmp_path / "decisions.jsonl"
    now = datetime(2026, 1, 2, tzinfo=UTC)
    append(log, "person:ada", [Draft("a.jpg", "exclude", reason="why", content="c", label="sad")], now=now)
    append(log, "person:bob", [Draft("a.jpg", "keep", content="c", label="happy")], now=now)
    assert chain_of(log).broken == ""
    other = {"exclude": "soften"}.get(change, change[::-1])
    log.write_bytes(log.read_bytes().replace(change.encode(), other.encode(), 1))
    assert "decisions 1 to 1" in chain_of(log).broken


def test_a_log_begun_without_a_chain_gets_one_that_holds_its_beginning_fast(tmp_path: Path) -> None:
    log = tmp_path / "decisions.jsonl"
    append(log, "person:ada", [Draft("a.jpg", "exclude", reason="why")])
    append(log, "person:ada", [Draft("b.jpg", "exclude")])
    log.write_bytes(re.sub(rb', "chain": "\w+"', b"", log.read_bytes()))
    assert (chain_of(log).begins, chain_of(log).broken) == (0, "")
    append(log, "person:ada", [Draft("c.jpg", "exclude")])
    assert (chain_of(log).begins, chain_of(log).broken) == (3, "")
    assert [entry.path for entry in read(log)] == ["a.jpg", "b.jpg", "c.jpg"]
    log.write_bytes(log.read_bytes().replace(b"why", b"who", 1))
    assert chain_of(log).broken


def test_what_a_newer_tool_wrote_is_said_to_be_newer_not_damaged(tmp_path: Path) -> None:
    log = tmp_path / "decisions.jsonl"
    append(log, "person:ada", [Draft("a.jpg", "exclude")])
    whole = log.read_bytes()
    log.write_bytes(whole.replace(b'"exclude"', b'"rotate"'))
    with pytest.raises(LogError, match="'rotate' is of a newer version"):
        read(log)
    log.write_bytes(whole.replace(b'"issue": ""', b'"issue": "", "mood": ""'))
    with pytest.raises(LogError, match=r"line 1 has a field of a newer version.*mood"):
        read(log)


@pytest.mark.parametrize("value", ["x", "{}", "[null]", "[[1]]", '["a"]', "1", "[1e999]"])
def test_an_undo_of_no_list_of_numbers_is_one_sentence(value: str) -> None:
    with pytest.raises(LogError, match="decision 2"):
        undone([Entry(2, "", "person:ada", "", "undo", value, "", "")])
