"""The counts and words of the summary agree with the tables they are made from."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.base.issues import Issues
from curation.decisions.log import Entry, entries_of, table_of
from curation.decisions.manifest import raw_manifest
from curation.decisions.replay import effective, replay
from curation.pipeline import report_tables, summary
from reports import cleaning_page
from tests.unit.report_frames import Example, example, origin, with_every_check

SPLITS = st.sampled_from(["train", "validation", "test", "", "extra"])
LABELS = st.sampled_from(["happy", "sad", "all", "share", "split"])


def manifest(rows: list[tuple[str, str, bool]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A raw manifest from (split, label, kept), and the one in which the others are excluded."""
    frame = pd.DataFrame(rows, columns=["split", "label", "kept"])
    frame["path"] = [f"{n}.jpg" for n in range(len(frame))]
    raw = raw_manifest(frame.assign(sha256=frame["path"]))
    cleaned = raw.set_index("path")
    cleaned.loc[frame.loc[~frame["kept"], "path"], "status"] = "excluded"
    return raw, cleaned.reset_index()


@pytest.fixture(scope="module")
def found() -> Example:
    return example()


def in_force(found: Example) -> list[Entry]:
    return entries_of(effective(table_of(found.entries)))


def test_before_and_after_is_the_decks_table() -> None:
    raw, cleaned = manifest([("train", "happy", True)] * 3 + [("train", "sad", False), ("test", "sad", True)])
    table = summary.before_after(raw, cleaned)
    assert list(table.columns) == ["version", "split", "happy", "sad", "all", "share"]
    assert table.to_dict("records") == [
        {"version": "before", "split": "train", "happy": 3, "sad": 1, "all": 4, "share": 0.8},
        {"version": "before", "split": "test", "happy": 0, "sad": 1, "all": 1, "share": 0.2},
        {"version": "before", "split": "all", "happy": 3, "sad": 2, "all": 5, "share": 1.0},
        {"version": "after", "split": "train", "happy": 3, "sad": 0, "all": 3, "share": 0.75},
        {"version": "after", "split": "test", "happy": 0, "sad": 1, "all": 1, "share": 0.25},
        {"version": "after", "split": "all", "happy": 3, "sad": 1, "all": 4, "share": 1.0},
    ]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(SPLITS, LABELS, st.booleans()), min_size=1, max_size=30))
def test_totals_of_before_and_after_are_the_sums_whatever_classes_are_called(rows: list[tuple[str, str, bool]]) -> None:
    raw, cleaned = manifest(rows)
    table = summary.before_after(raw, cleaned)
    assert table.columns.is_unique
    classes = [c for c in table.columns if c not in ("version", "split", "all", "share")]
    assert (table[classes].sum(axis=1) == table["all"]).all()
    for version, frame in (("before", raw), ("after", cleaned)):
        part = table[table["version"] == version]
        assert part["all"].iloc[-1] == (frame["status"] == "kept").sum()
        if len(part) > 1:
            assert part["all"].iloc[:-1].sum() == part["all"].iloc[-1]


def test_a_data_set_without_splits_has_one_row_a_version() -> None:
    table = summary.before_after(*manifest([("", "happy", True), ("", "sad", False)]))
    assert list(table["split"]) == ["all", "all"]
    assert list(table["all"]) == [2, 1]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(SPLITS, LABELS, st.booleans()), min_size=1, max_size=30))
def test_what_was_left_out_of_each_class_adds_up(rows: list[tuple[str, str, bool]]) -> None:
    raw, cleaned = manifest(rows)
    table = summary.left_out(raw, cleaned)
    assert table["before"].sum() == len(rows)
    assert table["left_out"].sum() == sum(not kept for *_, kept in rows)
    assert table["share"].between(0, 1).all()


def test_a_relabelled_image_counts_under_its_new_label_afterwards() -> None:
    raw, _ = manifest([("train", "happy", True), ("train", "sad", True)])
    entry = Entry(1, "", "person:ada", "0.jpg", "relabel", "sad", "", "")
    after = summary.before_after(raw, replay(raw, [entry])).query("version == 'after' and split == 'all'")
    assert (after["happy"].item(), after["sad"].item()) == (0, 2)


def test_checks_are_counted_in_the_order_of_the_house(found: Example) -> None:
    table = summary.check_summary(Issues(found.issues)).set_index("check")
    assert list(table.index) == [
        "unreadable",
        "dark",
        "odd_size",
        "no_face",
        "exact_duplicate",
        "near_duplicate",
        "label_conflict",
        "split_leak",
    ]
    assert table["issues"].to_dict() == {
        "unreadable": 1,
        "dark": 2,
        "odd_size": 0,
        "no_face": 2,
        "exact_duplicate": 4,
        "near_duplicate": 2,
        "label_conflict": 2,
        "split_leak": 2,
    }
    assert table.loc["exact_duplicate", "groups"] == 2
    assert (table["scored"] == 120).all()


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        ({"value": 0.03, "threshold": 0.05, "measure": "contrast"}, "contrast 0.03, below the limit 0.05"),
        ({"value": 0.7, "threshold": 0.5, "measure": "new_one"}, "new one 0.7, above the limit 0.5"),
        ({"value": 0.7, "measure": "contrast"}, "contrast 0.7"),
        ({"kind": "gone", "error": "no bytes"}, "cannot be decoded: no bytes"),
        ({"kind": "exact", "copies": 3, "labels": ["happy", "sad"], "splits": ["train"], "rank": 2},
         "exact copy, 3 copies, labels happy and sad"),
        ({"kind": "near", "of": "a.jpg", "probability": 0.981, "transform": "mirrored", "dhash": "0f"},
         "near copy of a.jpg, mirrored, probability 0.98"),
        ({"kind": "near", "transform": "none"}, "near copy"),
        ({"dhash": "0f"}, ""),
        ({}, ""),
    ],
)  # fmt: skip
def test_evidence_is_put_in_words(evidence: dict[str, object], words: str) -> None:
    assert summary.evidence_words(evidence) == words


def test_each_image_has_the_outcome_and_cause_of_its_decision(found: Example) -> None:
    states = summary.outcomes(found.cleaned, found.issues, in_force(found), ["no_face", "label_conflict"])
    states = states.reindex(found.paths)
    assert states["outcome"].value_counts().to_dict() == {"kept": 115, "left out": 5}
    assert list(states["cause"].iloc[:8]) == [
        "unreadable",
        "exact_duplicate",
        "exact_duplicate",
        "label_conflict",
        "label_conflict",
        "exact_duplicate",
        "exact_duplicate",
        "dark",
    ]
    assert list(states.loc[states["waits"]].index) == [found.paths[n] for n in (3, 4, 8, 9)]


def test_nothing_waits_once_a_person_has_decided(found: Example) -> None:
    path = found.paths[8]
    entries = [*found.entries, Entry(99, "", "person:ada", path, "keep", "", "a face", "")]
    states = summary.outcomes(
        replay(found.raw, entries), found.issues, entries_of(effective(table_of(entries))), ["no_face"]
    )
    assert not states.loc[path, "waits"]


def test_the_closing_record_adds_up_and_its_sentences_name_what_was_found(found: Example) -> None:
    lines, record = summary.closing(found.raw, Issues(found.issues), found.cleaned, in_force(found), ["no_face"])
    assert record["images"] == 120 == record["kept"] + record["excluded"]
    assert record["clean"] == 110
    assert sum(record["excluded_by"].values()) == record["excluded"]
    assert record["groups"] == {"exact_duplicate": 2, "near_duplicate": 1, "label_conflict": 1, "split_leak": 1}
    text = " ".join(lines)
    for words in (
        "120 images in 3 splits, 2 classes",
        "4 exact copies in 2 groups",
        "115 kept, 5 left out",
        "exact copies (2)",
        "No kept image has a known copy in another split",
    ):
        assert words in text


def test_a_leak_that_is_left_is_said_and_not_denied(found: Example) -> None:
    lines, record = summary.closing(found.raw, Issues(found.issues), found.raw, [])
    assert record["leaks_left"] == 1
    assert any("1 group of known copies still lie" in line for line in lines)
    assert not any("No kept image" in line for line in lines)


def test_histograms_count_every_image_once_and_split_at_the_threshold(found: Example) -> None:
    tables = found.tables(origin())
    for (check, _), rows in tables.distributions.groupby(["check", "measure"]):
        assert rows["passed"].sum() + rows["flagged"].sum() == 120, check
        beyond = rows["right"] <= rows["threshold"] + 1e-12
        assert rows.loc[~beyond, "flagged"].sum() == 0
        assert check == "odd_size" or rows.loc[beyond, "passed"].sum() == 0


def test_the_gallery_shows_the_worst_first_and_no_more_than_its_limit() -> None:
    found = example()
    dark = found.issues["check"] == "dark"
    issues = found.issues.assign(is_issue=found.issues["is_issue"] | dark)
    gallery = replace(found, issues=issues).tables(origin()).gallery
    for (_, label), rows in gallery[gallery["check"] == "dark"].groupby(["check", "label"]):
        assert len(rows) == report_tables.PICTURES_PER_CLASS
        assert rows["score"].is_monotonic_increasing
        assert rows["total"].iloc[0] == (found.raw["label"] == label).sum()


def test_however_many_checks_and_classes_there_are_the_pictures_of_the_page_stay_within_their_number() -> None:
    found = with_every_check(example(4_000, labels=tuple("abcdefg"), pairs=400))
    tables = found.tables(origin())
    shown = tables.gallery.groupby(["check", "label"]).size()
    assert len(tables.gallery) <= report_tables.PICTURES_SHOWN and shown.min() >= 1
    assert shown.max() < report_tables.PICTURES_PER_CLASS
    assert len(tables.groups) <= report_tables.COPIES_SHOWN
    assert report_tables.evenly(pd.Series([20, 20, 2]), 12, 100) == 12
    assert report_tables.evenly(pd.Series([20, 20, 2]), 12, 22) == 10
    assert report_tables.evenly(pd.Series([20, 20, 2]), 12, 1) == 3


def test_a_group_of_copies_is_shown_once_under_its_most_serious_kind(found: Example) -> None:
    groups = found.tables(origin()).groups
    assert not groups["path"].duplicated().any()
    kinds = groups.groupby("group")["kind"].unique().map(list).to_dict()
    assert kinds == {"near-3": ["label_conflict"], "exact-1": ["split_leak"], "exact-5": ["exact_duplicate"]}


def test_of_a_crowd_of_copies_some_of_each_label_and_split_are_shown_and_the_rest_counted() -> None:
    found = example(images=400)
    crowd = (found.issues["check"] == "near_duplicate") & found.issues["path"].isin(
        [*found.paths[3:5], *found.paths[20:]]
    )
    like = found.issues.loc[found.issues["group"] == "near-3", "evidence"].iloc[0]
    changes = {"is_issue": True, "group": "near-3", "score": 0.02, "evidence": like}
    issues = found.issues.assign(**{name: found.issues[name].mask(crowd, value) for name, value in changes.items()})
    tables = replace(found, issues=issues).tables(origin())
    shown = tables.groups[tables.groups["group"] == "near-3"]
    assert len(shown) == report_tables.MEMBERS_SHOWN
    assert set(shown["copies"]) == {382}
    assert set(shown["label"]) == {"happy", "sad"} and set(shown["split"]) == {"train", "test"}
    page = cleaning_page(tables)
    assert "382 copies" in page and "and 358 more" in page


def test_the_flow_counts_every_image_with_an_issue_once(found: Example) -> None:
    assert found.tables(origin()).flow["images"].sum() == 10


def test_order_of_rows_does_not_change_the_tables(found: Example) -> None:
    mixed = replace(
        found,
        issues=found.issues.sample(frac=1, random_state=3),
        raw=found.raw.sample(frac=1, random_state=4),
    )
    first, second = found.tables(origin()), mixed.tables(origin())
    for name in ("checks", "flow", "gallery", "groups", "distributions", "left_out", "before_after"):
        pd.testing.assert_frame_equal(getattr(first, name), getattr(second, name))


def test_the_best_of_a_group_is_called_a_copy_of_no_other() -> None:
    facts = {"kind": "near", "of": "a.jpg", "copies": 2, "labels": ["happy"], "splits": ["test", "train"], "rank": 1}
    assert summary.evidence_words(facts, "b.jpg").startswith("near copy of a.jpg")
    own = summary.evidence_words(facts, "a.jpg")
    assert "copy of a.jpg" not in own and own.startswith("the best of its near copies")
