"""Replay: a person outranks a policy, later outranks earlier, and everything can be taken back."""

import json

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from curation.decisions.log import Entry, table_of
from curation.decisions.manifest import content_hash, raw_manifest
from curation.decisions.replay import overruled, replay
from tests.unit.frames import images

RAW = raw_manifest(images(("a.jpg", "train", "sad"), ("b.jpg", "train", "happy"), ("c.jpg", "test", "sad")))


def entries(*rows: tuple[str, str, str, str]) -> list[Entry]:
    """Entries from (actor, path, action, value)."""
    return [Entry(n, "t", *row, "why", "") for n, row in enumerate(rows, 1)]


def status(manifest: pd.DataFrame) -> dict[str, str]:
    return dict(zip(manifest["path"], manifest["status"], strict=True))


def test_no_decisions_leave_the_raw_manifest_as_it_is() -> None:
    assert content_hash(replay(RAW, [])) == content_hash(RAW)


def test_a_person_outranks_a_later_policy() -> None:
    log = entries(
        ("person:ada", "a.jpg", "keep", ""),
        ("policy:balanced", "", "policy", "f1"),
        ("policy:balanced", "a.jpg", "exclude", ""),
        ("policy:balanced", "b.jpg", "exclude", ""),
    )
    assert status(replay(RAW, log)) == {"a.jpg": "kept", "b.jpg": "excluded", "c.jpg": "kept"}


def test_applying_a_policy_replaces_the_one_before_it() -> None:
    log = entries(
        ("policy:deck", "", "policy", "f1"),
        ("policy:deck", "a.jpg", "exclude", ""),
        ("policy:balanced", "", "policy", "f2"),
        ("policy:balanced", "b.jpg", "exclude", ""),
    )
    assert status(replay(RAW, log)) == {"a.jpg": "kept", "b.jpg": "excluded", "c.jpg": "kept"}


def test_undoing_a_policy_brings_the_one_before_it_back() -> None:
    log = entries(
        ("policy:deck", "", "policy", "f1"),
        ("policy:deck", "a.jpg", "exclude", ""),
        ("policy:balanced", "", "policy", "f2"),
        ("policy:balanced", "b.jpg", "exclude", ""),
        ("person:ada", "", "undo", "[3, 4]"),
    )
    assert status(replay(RAW, log)) == {"a.jpg": "excluded", "b.jpg": "kept", "c.jpg": "kept"}


def test_keep_takes_an_earlier_relabel_back() -> None:
    log = entries(("person:ada", "a.jpg", "relabel", "neutral"), ("person:bo", "a.jpg", "keep", ""))
    row = replay(RAW, log).set_index("path").loc["a.jpg"]
    assert (row["label"], row["status"]) == ("sad", "kept")


def test_a_relabel_does_not_bring_an_excluded_copy_back() -> None:
    log = entries(
        ("policy:balanced", "", "policy", "f1"),
        ("policy:balanced", "a.jpg", "exclude", ""),
        ("person:ada", "a.jpg", "relabel", "neutral"),
    )
    row = replay(RAW, log).set_index("path").loc["a.jpg"]
    assert (row["label"], row["status"], row["original_label"]) == ("neutral", "excluded", "sad")


def test_soften_sets_weight_and_soft_label() -> None:
    value = json.dumps({"weight": 0.5, "soft_label": {"sad": 0.6, "neutral": 0.4}})
    row = replay(RAW, entries(("person:ada", "a.jpg", "soften", value))).set_index("path").loc["a.jpg"]
    assert row["weight"] == 0.5
    assert json.loads(row["soft_label"]) == {"neutral": 0.4, "sad": 0.6}


def test_a_decision_on_an_image_that_has_gone_has_no_effect() -> None:
    assert content_hash(replay(RAW, entries(("person:ada", "gone.jpg", "exclude", "")))) == content_hash(RAW)


def test_only_single_decisions_of_a_policy_are_overruled() -> None:
    log = entries(
        ("policy:deck", "", "policy", "f1"),
        ("policy:deck", "a.jpg", "exclude", ""),
        ("policy:deck", "b.jpg", "exclude", ""),
        ("person:ada", "", "undo", "[2]"),
    )
    assert overruled(table_of(log))[["path", "action"]].to_numpy().tolist() == [["a.jpg", "exclude"]]
    whole = [*log[:3], Entry(4, "t", "person:ada", "", "undo", "[1, 2, 3]", "", "")]
    assert overruled(table_of(whole)).empty


ACTIONS = st.tuples(
    st.sampled_from(["person:ada", "policy:deck"]),
    st.sampled_from(["a.jpg", "b.jpg", "c.jpg"]),
    st.sampled_from([("keep", ""), ("exclude", ""), ("relabel", "happy"), ("soften", '{"weight": 0.25}')]),
)


@given(st.lists(ACTIONS, max_size=8))
def test_undoing_everything_gives_the_raw_manifest_again(steps: list[tuple[str, str, tuple[str, str]]]) -> None:
    log = entries(("policy:deck", "", "policy", "f"), *((actor, path, *action) for actor, path, action in steps))
    gone = json.dumps([entry.seq for entry in log])
    log.append(Entry(len(log) + 1, "t", "person:ada", "", "undo", gone, "", ""))
    assert content_hash(replay(RAW, log)) == content_hash(RAW)


def test_a_relabel_takes_an_earlier_softening_back() -> None:
    soft = json.dumps({"soft_label": {"sad": 0.5, "happy": 0.5}, "weight": 0.4})
    log = entries(("policy:soften", "", "policy", "f1"), ("policy:soften", "a.jpg", "soften", soft))
    softened = replay(RAW, log).set_index("path").loc["a.jpg"]
    assert (softened["weight"], json.loads(softened["soft_label"])) == (0.4, {"happy": 0.5, "sad": 0.5})
    relabelled = entries(
        *[(e.actor, e.path, e.action, e.value) for e in log], ("person:ada", "a.jpg", "relabel", "happy")
    )
    row = replay(RAW, relabelled).set_index("path").loc["a.jpg"]
    assert (row["label"], row["weight"], row["soft_label"]) == ("happy", 1.0, "")


def test_a_soft_label_of_the_source_ends_with_its_label_and_comes_back_with_it() -> None:
    raw = RAW.assign(soft_label='{"sad": 1.0}')
    relabelled = replay(raw, entries(("person:ada", "a.jpg", "relabel", "happy")))
    assert relabelled.set_index("path")["soft_label"].tolist() == ["", '{"sad": 1.0}', '{"sad": 1.0}']
    kept = replay(raw, entries(("person:ada", "a.jpg", "relabel", "happy"), ("person:ada", "a.jpg", "keep", "")))
    assert kept["soft_label"].tolist() == ['{"sad": 1.0}'] * 3


def test_moving_sets_the_split_and_nothing_else() -> None:
    log = entries(
        ("policy:balanced", "", "policy", "f1"),
        ("policy:balanced", "a.jpg", "exclude", ""),
        ("person:ada", "a.jpg", "move", "test"),
    )
    row = replay(RAW, log).set_index("path").loc["a.jpg"]
    assert (row["split"], row["status"], row["label"], row["reason"]) == ("test", "excluded", "sad", "why")


def test_a_move_sets_the_split_and_a_name_the_person_and_neither_says_whether_it_is_kept() -> None:
    said = [
        ("policy:x", "", "policy", "f"),
        ("policy:x", "a.jpg", "exclude", ""),
        ("person:ada", "a.jpg", "move", "test"),
        ("person:ada", "b.jpg", "subject", "ann"),
    ]
    made = replay(RAW, entries(*said)).set_index("path")
    assert (made.loc["a.jpg", "split"], made.loc["a.jpg", "status"]) == ("test", "excluded")
    assert (made.loc["b.jpg", "subject"], made.loc["b.jpg", "status"], made.loc["b.jpg", "reason"]) == (
        "ann",
        "kept",
        "",
    )
    back = replay(RAW, entries(*said, ("person:ada", "", "undo", "[3, 4]"))).set_index("path")
    assert back.loc["a.jpg", "split"] == "train" and back.loc["b.jpg", "subject"] == ""
