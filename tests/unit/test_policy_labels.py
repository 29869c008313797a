"""What policies do about labels: the surest first, no more than a class may lose, copies together, test left alone."""

import json

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.base.issues import Issues
from curation.base.tables import checked
from curation.decisions import policy
from curation.decisions.label_rules import Labels, label_drafts
from curation.decisions.log import Draft, Entry
from curation.decisions.manifest import raw_manifest
from curation.decisions.replay import replay
from tests.unit import frames


def judged(path: str, given_label: str, wrong: float, right: float = 0.0, ambiguous: float = 0.0) -> list[dict]:
    posterior = {"happy": 1 - wrong, "sad": wrong} if given_label == "happy" else {"happy": wrong, "sad": 1 - wrong}
    other = "sad" if given_label == "happy" else "happy"
    first = {"given": given_label, "wrong": wrong, "suggestion": other, "probability": right, "posterior": posterior}
    second = {"given": given_label, "ambiguous": ambiguous, "posterior": posterior}
    return [
        {**frames.issue(path, "mislabelled", evidence=json.dumps(first)), "score": 1 - wrong, "is_issue": wrong > 0.5},
        {**frames.issue(path, "ambiguous", evidence=json.dumps(second)), "score": 1 - ambiguous, "is_issue": False},
    ]


def table(*rows: list[dict]) -> pd.DataFrame:
    return Issues(checked("issues", pd.DataFrame([row for pair in rows for row in pair])))


def photos(number: int, label: str = "happy", split: str = "train") -> pd.DataFrame:
    return frames.images(*((f"{n}.jpg", split, label) for n in range(number)))


def test_relabel_comes_before_exclude_and_the_label_must_still_be_the_judged_one() -> None:
    images = frames.images(("a", "train", "happy"), ("b", "train", "happy"), ("c", "train", "sad"))
    issues = table(judged("a", "happy", 0.9, 0.85), judged("b", "happy", 0.6, 0.3), judged("c", "happy", 0.9, 0.9))
    rule = Labels(relabel_above=0.8, exclude_above=0.5, max_share_per_class=1)
    drafts = label_drafts(rule, images, issues)
    assert {path: (draft.action, draft.value) for path, draft in drafts.items()} == {
        "a": ("relabel", "sad"),
        "b": ("exclude", ""),
    }
    assert "0.85" in drafts["a"].reason


def test_labels_of_the_test_split_are_left_to_a_person() -> None:
    issues = table(judged("0.jpg", "happy", 0.9, 0.9))
    assert label_drafts(Labels(relabel_above=0.5), photos(1, split="test"), issues) == {}


@given(st.lists(st.sampled_from([0.55, 0.6, 0.7, 0.8, 0.95]), min_size=1, max_size=20), st.floats(0, 1))
def test_no_class_loses_more_than_its_share_and_equally_sure_ones_go_together(values: list[float], cap: float) -> None:
    issues = table(*(judged(f"{n}.jpg", "happy", value) for n, value in enumerate(values)))
    rule = Labels(exclude_above=0.5, max_share_per_class=cap)
    gone = set(label_drafts(rule, photos(len(values)), issues))
    assert len(gone) <= cap * len(values)
    removed = [value for n, value in enumerate(values) if f"{n}.jpg" in gone]
    left = [value for n, value in enumerate(values) if f"{n}.jpg" not in gone]
    if removed and left:
        assert min(removed) > max(left)


def test_soft_labels_are_distributions_and_a_doubted_label_weighs_as_much_as_it_is_believed() -> None:
    issues = table(judged("0.jpg", "happy", 0.4, ambiguous=0.55), judged("1.jpg", "happy", 0.7))
    drafts = label_drafts(Labels(soften_above=0.5, downweight_above=0.5), photos(2), issues)
    assert json.loads(drafts["0.jpg"].value) == {"soft_label": {"happy": 0.6, "sad": 0.4}}
    assert json.loads(drafts["1.jpg"].value) == {"weight": 0.3}
    raw = raw_manifest(photos(2))
    entries = [
        Entry(n, "", "policy:p", d.path, d.action, d.value, d.reason, d.issue) for n, d in enumerate(drafts.values(), 2)
    ]
    opening = Entry(1, "", "policy:p", "", "policy", "", "", "")
    rows = replay(raw, [opening, *entries]).set_index("path")
    assert rows.loc["1.jpg", "weight"] == 0.3
    assert json.loads(rows.loc["0.jpg", "soft_label"]) == {"happy": 0.6, "sad": 0.4}


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_doubted_label_becomes_what_is_believed_and_nothing_is_removed(wrong: float, threshold: float) -> None:
    issues = table(judged("0.jpg", "happy", wrong, wrong))
    drafts = label_drafts(Labels(believe_above=threshold), photos(1), issues)
    assert ("0.jpg" in drafts) == (wrong >= threshold)
    for draft in drafts.values():
        soft = json.loads(draft.value)["soft_label"]
        assert draft.action == "soften"
        assert soft == pytest.approx({"happy": 1 - wrong, "sad": wrong}, abs=1e-4)


def copies(*paths: str) -> list[dict]:
    evidence = [json.dumps({"kind": "exact", "rank": rank}) for rank in range(1, len(paths) + 1)]
    return [frames.issue(path, "exact_duplicate", "exact-1", text) for path, text in zip(paths, evidence, strict=True)]


def test_a_sure_relabelling_ends_a_conflict_of_copies_and_one_copy_stays_under_the_new_label() -> None:
    images = frames.images(("a", "train", "happy"), ("b", "train", "sad"))
    issues = table(judged("a", "happy", 0.95, 0.9), judged("b", "sad", 0.05), copies("a", "b"))
    chosen = policy.load("balanced+confident").model_copy(
        update={"labels": Labels(relabel_above=0.8, max_share_per_class=1)}
    )
    drafts = {draft.path: draft for draft in policy.decide(chosen, images, issues)}
    assert drafts["a"].action == "relabel"
    assert drafts["b"] == Draft("b", "exclude", "", "a copy of a", "exact_duplicate#exact-1")
    without = {draft.path: draft.action for draft in policy.decide(policy.load("balanced"), images, issues)}
    assert without == {"a": "exclude", "b": "exclude"}


def test_a_policy_without_labels_has_the_fingerprint_that_old_logs_hold() -> None:
    assert policy.load("deck").fingerprint == DECK
    older = Labels(relabel_above=0.7, exclude_above=0.22, max_share_per_class=0.4)
    assert policy.load("confident").model_copy(update={"labels": older}).fingerprint == CONFIDENT


CONFIDENT = "acac2c8727408b7ada34b30643d9ed31f2d16f741dfa73235c74e1c8b649a3ab"
DECK = "af84930a87bc910acd59a0329da5b91f6000bd1c70665d828357fa955e1e6eb5"


def test_policies_that_contradict_each_other_cannot_be_joined() -> None:
    assert policy.load("balanced+confident").name == "balanced+confident"
    with pytest.raises(policy.PolicyError, match="both have labels"):
        policy.load("confident+exclude")
