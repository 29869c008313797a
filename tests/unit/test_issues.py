"""Issues by column: every row as before, what readers need of unflagged images, and two files that belong together."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.base import files, issues
from curation.base.errors import WorkspaceError
from curation.base.issues import Issues, are_together, read_issues, write_issues
from curation.base.pools.threads import Threads
from curation.base.scored import Column, Scored, Value, Written, narrow_scores, pieces, rounded, significant
from curation.base.tables import TableError, facts
from curation.base.workspace import Workspace, create_workspace
from curation.checks import blocks, registry
from curation.checks.base import CheckInputs, one_number_rows
from curation.checks.labels import judged
from curation.cli import console
from curation.decisions import policy
from curation.decisions.label_rules import Labels, label_drafts
from curation.decisions.manifest import verify
from curation.pipeline import report_tables, summary
from curation.pipeline.queries import Listed
from curation.review import queues
from tests.unit.test_checks import inputs as checked_inputs

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False) | st.integers(-99_999, 99_999).map(lambda n: (n + 0.5) / 10**5)


def drawn(number: int = 60, seed: int = 0) -> CheckInputs:
    """Images of all kinds: dark and bright ones, some of two measures, copies, shots of a session, unreadable ones."""
    random = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = [
        {
            "brightness_p95": random.uniform(0, 1),
            "brightness_p05": random.uniform(0, 0.9),
            "contrast": random.uniform(0, 0.3),
            "entropy": random.uniform(0, 8),
            "texture_entropy": random.uniform(0, 8),
            "edge_sharpness": random.uniform(0, 2),
            "width": int(random.integers(20, 90)),
            "dhash": int(random.integers(-(2**63), 2**63)),
            "face_score": random.choice([0.0, 0.3, 0.8, 0.99]),
            "face_yaw": random.choice([np.nan, 10.0, 60.0]),
            "face_roll": random.uniform(-40, 40),
            "second_face_score": random.uniform(0, 1),
            "turned_degrees": 90,
            "turned_score": random.choice([np.nan, 0.9]),
            "label": random.choice(["sad", "happy"]),
            "split": random.choice(["train", "test"]),
            "sha256": f"{place:064d}",
        }
        for place in range(number)
    ]
    rows[3] |= {"error": "broken", "error_kind": "truncated", **dict.fromkeys(("contrast", "entropy"), np.nan)}
    rows[5]["pixel_sha256"] = rows[6]["pixel_sha256"] = "same"
    found = checked_inputs(rows, [("010.jpg", "011.jpg", 0.97), ("011.jpg", "012.jpg", 0.95)])
    shots = pd.DataFrame([("020.jpg", "021.jpg", 0.2, "moved", "same_session")], columns=found.pairs.columns)
    return replace(found, pairs=pd.concat([found.pairs, shots], ignore_index=True))


def people(found: CheckInputs) -> pd.DataFrame:
    """Who is who: one person in two splits, one perhaps in another, and others in one."""
    names = [f"p{max(place // 4, 20 - place)}" for place in range(len(found.images))]
    frame = pd.DataFrame({"path": found.images["path"], "person": names, "given": False, "sure": 0.998, "unsure": 0.9})
    return frame.assign(perhaps=np.where(frame.index < 9, "q", ""), nearest="000.jpg")


def labels(found: CheckInputs) -> pd.DataFrame:
    """A judgement of every readable label."""
    random = np.random.default_rng(1)
    paths, count = found.images.loc[found.readable, ["path", "label"]], int(found.readable.sum())
    wrong = random.uniform(0, 1, count)
    shares = [{"happy": one, "sad": 1 - one} for one in wrong.tolist()]
    return paths.assign(
        wrong=wrong,
        ambiguous=wrong[::-1] / 1.5,
        suggestion="happy",
        suggestion_right=wrong / 2,
        says="they say",
        posterior=shares,
    ).reset_index(drop=True)


@pytest.fixture(scope="module")
def found() -> Issues:
    asked = drawn()
    return registry.run(replace(asked, subjects=people(asked), labels=labels(asked)))


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    return create_workspace(tmp_path / "space")


def same(mine: pd.DataFrame, theirs: pd.DataFrame) -> bool:
    """Return whether two tables have the same rows, in any order."""
    first, second = (sorted(map(str, one[list(mine)].to_dict("records"))) for one in (mine, theirs))
    return first == second


def by_key(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.sort_values(["check", "path"], ignore_index=True).astype({"check": "str", "path": "str"})


@given(NUMBERS)
def test_numbers_are_rounded_as_python_writes_them(value: float) -> None:
    at = np.array([value])
    assert significant(at)[0] == float(f"{value:.4g}") and rounded(at)[0] == float(f"{value:.4f}")
    at = np.array([0])
    assert Column.narrow("significant", np.array([value])).texts(at) == [f"{value:.4g}"]
    assert Column.narrow("rounded", np.array([value])).texts(at) == [json.dumps(round(value, 4))]
    assert Column.narrow("fixed", np.array([value])).texts(at) in ([f"{value:.4f}"], [f"{value:.4f}".lstrip("-")])


@given(st.lists(st.floats(0, 1) | st.just(np.nan), min_size=1))
def test_a_narrow_score_is_the_score_to_six_decimals(values: list[float]) -> None:
    scores = np.array(values)
    assert np.array_equal(issues.Scored(narrow_scores(scores)).exact_scores(), np.round(scores, 6), equal_nan=True)


def test_evidence_is_the_json_that_its_object_would_be() -> None:
    said = {"given": 'a "b" %s', "wrong": 0.25, "posterior": {"x%": 0.5, "ÿ": 0.0}, "threshold": Written("0.1")}
    kinds: dict[str, Any] = {"given": "word", "wrong": "rounded", "share": "rounded"}
    told = said | {"given": Value("given"), "wrong": Value("wrong"), "posterior": {"x%": Value("share"), "ÿ": 0.0}}
    fields = {
        "given": Column.words([said["given"]]),
        "wrong": Column.narrow("rounded", np.array([0.25])),
        "share": Column.narrow("rounded", np.array([0.5])),
    }
    scored = Scored(np.zeros(1), (pieces(kinds, **told),), None, fields)
    assert scored.evidence(np.array([0])) == [json.dumps(said | {"threshold": 0.1}, ensure_ascii=False)]


def test_every_image_that_a_check_scores_has_a_row_whatever_is_stored(found: Issues) -> None:
    asked, rows = drawn(), found.every()
    assert not rows.duplicated(["path", "check"]).any()
    readable = set(asked.images.loc[asked.readable, "path"])
    for check in ("dark", "blank", "near_duplicate", "label_conflict", "mislabelled"):
        assert set(rows.loc[rows["check"] == check, "path"]) == readable
    assert 0 < len(found.rows) < len(rows) / 3
    assert found.scored == rows["check"].value_counts().to_dict()
    dark = rows[rows["check"] == "dark"].set_index("path")
    for path, fact in zip(dark.index, facts(dark["evidence"]), strict=True):
        row = asked.measurements.set_index("path").loc[path]
        assert fact["value"] == float(f"{row[fact['measure']]:.4g}")


def test_what_no_number_can_rebuild_is_stored_though_it_is_not_flagged(found: Issues) -> None:
    kept = found.rows[~found.rows["is_issue"]]
    assert set(kept["check"]) == {"near_duplicate", "subject_leak"}
    assert kept.loc[kept["check"] == "near_duplicate", "evidence"].str.contains("same_session").all()
    assert kept.loc[kept["check"] == "subject_leak", "evidence"].str.contains("perhaps").all()


def test_columns_say_to_every_reader_what_whole_rows_say(found: Issues, space: Workspace) -> None:
    whole = Issues(found.every())
    write_issues(space, found)
    for known in (found, read_issues(space)):
        assert known.scored == whole.scored
        pd.testing.assert_frame_equal(by_key(known.every()), by_key(whole.rows), check_dtype=False)
        for check in whole.scored:
            pd.testing.assert_series_equal(
                known.scores(check).sort_index(),
                whole.scores(check).sort_index(),
                check_names=False,
                check_index_type=False,
            )
            for of in ("groups", "flags", "measured"):
                mine, theirs = (getattr(one, of)(check) for one in (known, whole))
                assert sorted(map(str, mine.to_dict("records"))) == sorted(
                    map(str, theirs[list(mine)].to_dict("records"))
                )
            assert by_key(pd.concat(known.blocks(check))).equals(by_key(whole.of(check)))
            scores = [
                tuple(row) for block in known.blocks(check) for row in block[["score", "group", "path"]].to_numpy()
            ]
            assert scores == sorted(scores)
        pd.testing.assert_frame_equal(
            known.values("near_duplicate", "dhash").sort_values("path", ignore_index=True),
            whole.values("near_duplicate", "dhash").sort_values("path", ignore_index=True),
            check_dtype=False,
        )
        one = known.only("010.jpg").every()
        assert by_key(one).to_dict("records") == by_key(whole.rows[whole.rows["path"] == "010.jpg"]).to_dict("records")


def test_blocks_are_no_larger_than_they_may_be(found: Issues, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(issues, "BLOCK", 7)
    parts = list(found.blocks("dark"))
    assert len(parts) > 3 and max(map(len, parts)) == 7


def test_policies_queues_and_the_report_decide_on_columns_as_on_whole_rows(found: Issues) -> None:
    images = drawn().images
    whole = Issues(found.every())
    for name in ("deck", "balanced", "subject-disjoint", "confident"):
        chosen = policy.load(name)
        assert policy.decide(chosen, images, found) == policy.decide(chosen, images, whole)
    # thresholds far below those that flag
    rule = Labels(exclude_above=0.2, soften_above=0.1, protect_splits=(), max_share_per_class=1.0)
    drafts = label_drafts(rule, images, found)
    flagged = set(found.of("mislabelled")["path"]) | set(found.of("ambiguous")["path"])
    assert drafts == label_drafts(rule, images, whole) and set(drafts) - flagged
    first, second = (report_tables.distributions(issues) for issues in (found, whole))
    pd.testing.assert_frame_equal(first, second)
    assert set(first["check"]) >= {"dark", "bright", "blank", "no_face"} and (first["passed"] > 0).any()
    pd.testing.assert_frame_equal(summary.check_summary(found), summary.check_summary(whole))
    pd.testing.assert_frame_equal(
        queues.candidates(found, images, "subject_leak"), queues.candidates(whole, images, "subject_leak")
    )
    left = drawn().images.assign(status="kept", original_label=images["label"], soft_label="", reason="")
    assert summary.closing(images, found, left, []) == summary.closing(images, whole, left, [])


def test_a_check_that_flags_nothing_was_run_all_the_same() -> None:
    fine = registry.run(checked_inputs([{}] * 8), ["dark", "blurry"])
    assert fine.rows.empty and fine.scored == {"dark": 8, "blurry": 8}
    images = checked_inputs([{}] * 8).images
    with pytest.raises(queues.ReviewError, match="flags no image"):
        queues.candidates(fine, images, "dark")
    assert summary.check_summary(fine)["scored"].tolist() == [8, 8]


def stored_exactly(found: Issues) -> dict[str, Any]:
    """Return all that is written of issues, numbers by their bytes."""
    columns = {
        name: (
            scored.pieces,
            [None if one is None else (one.dtype, one.tobytes()) for one in (scored.scores, scored.which)],
            {field: (one.kind, one.values.dtype, one.values.tobytes()) for field, one in scored.fields.items()},
            scored.groups,
        )
        for name, scored in found.columns.items()
    }
    return {"rows": found.rows.to_dict("list"), "columns": columns}


@given(st.integers(0, 50), st.integers(1, 22), st.integers(1, 23), st.integers(0, 22), st.integers(0, 22))
def test_checks_on_one_number_find_by_blocks_of_any_size_what_they_find_at_once(
    seed: int, number: int, size: int, first_unreadable: int, unreadable: int
) -> None:
    asked = drawn(22, seed)
    measurements = asked.measurements.iloc[:number].copy()
    measurements.loc[first_unreadable : first_unreadable + unreadable - 1, "error"] = "broken"
    asked = replace(asked, images=asked.images.iloc[:number], measurements=measurements)
    checks = [name for name in registry.CHECKS if blocks.reads_blocks(name)]
    assert len(checks) == 11
    at_once, apart = registry.run(asked, checks), blocks.run(asked, Threads(rows=size), checks)
    assert stored_exactly(apart) == stored_exactly(at_once)


def test_all_checks_are_run_where_some_are_run_by_blocks(found: Issues) -> None:
    asked = drawn()
    asked = replace(asked, subjects=people(asked), labels=labels(asked))
    apart = blocks.run(asked, Threads(2, rows=7))
    assert apart.rows.equals(found.rows) and list(apart.columns) == list(found.columns)
    assert '"turn_by": 90' in apart.of("rolled_face")["evidence"].iloc[0]
    assert blocks.run(asked, Threads(rows=7), ["odd_size", "blank"]).scored == {"odd_size": 59, "blank": 59}
    nothing = replace(asked, images=asked.images[:0], measurements=asked.measurements[:0], pairs=asked.pairs[:0])
    assert blocks.run(nothing, Threads(), ["dark"]).rows.empty


def test_a_block_has_only_what_its_checks_read_and_is_sent_once() -> None:
    sent: list[pd.DataFrame] = []

    class Sending(Threads):
        def sent(self, rows: Any, again: bool = False) -> list[Any]:
            assert again
            sent.append(rows)
            return super().sent(rows, again)

    blocks.run(drawn(), Sending(rows=40), ["dark", "rolled_face", "odd_size", "split_leak"])
    (block,) = sent
    read = {"brightness_p95", "face_brightness_p95", "face_score", "turned_score", "error"}
    assert set(block) == read and set(block["error"].cat.categories) == {"", "unreadable"}


def test_labels_judged_anew_replace_their_own_rows_alone(found: Issues) -> None:
    asked = drawn()
    fresh = labels(asked).assign(wrong=0.9)
    names = ("mislabelled", "ambiguous")
    made = ((name, judged(name, fresh, asked.images["path"])) for name in names)
    changed = found.replaced(registry.gathered(asked.images["path"], made))
    assert changed.flags("mislabelled")["is_issue"].all() and list(changed.scored) == list(found.scored)
    others = found.every().query("check not in @names")
    assert by_key(changed.every().query("check not in @names")).equals(by_key(others))


def test_a_kill_between_the_two_files_leaves_what_was_there(
    found: Issues, space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_issues(space, found)
    other = registry.run(drawn(seed=4))

    def killed(path: Path, write: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(files, "write_stream", killed)  # the rows come last
        write_issues(space, other)
    assert len(list(space.scores.iterdir())) == 2
    assert are_together(space) and verify(space) == []
    assert by_key(read_issues(space).every()).equals(by_key(found.every()))
    write_issues(space, other)
    assert by_key(read_issues(space).every()).equals(by_key(other.every())) and len(list(space.scores.iterdir())) == 1


def test_who_has_begun_to_read_goes_on_with_the_columns_of_then(found: Issues, space: Workspace) -> None:
    write_issues(space, found)
    begun = read_issues(space)
    write_issues(space, registry.run(drawn(seed=4)))
    assert by_key(begun.every()).equals(by_key(found.every()))


def test_rows_without_their_own_columns_are_refused(found: Issues, space: Workspace) -> None:
    write_issues(space, found)
    (columns,) = space.scores.iterdir()
    whole, rows = columns.read_bytes(), space.issues.read_bytes()
    columns.unlink()
    refused(space)
    columns.write_bytes(whole[:-9])
    refused(space)
    other = pd.read_parquet(io.BytesIO(whole))
    files.write_table(columns, other.assign(dark=other["dark"] / 2))
    refused(space)
    columns.write_bytes(whole)
    assert are_together(space) and verify(space) == []
    files.write_table(space.issues, pd.read_parquet(space.issues).iloc[1:])  # edited elsewhere: of which columns?
    refused(space)
    space.issues.write_bytes(rows)
    write_issues(space, found)
    assert are_together(space)


def refused(space: Workspace) -> None:
    assert not are_together(space)
    with pytest.raises(WorkspaceError, match=r"scores does not hold what belongs to issues\.parquet .*: curate check"):
        read_issues(space)
    assert len(verify(space)) == 1


@pytest.mark.parametrize(
    "harm",
    [
        lambda told: told["dark"].update(texts=[["{"]]),
        lambda told: told["dark"].update(texts=[["{}", "gone", ""]]),
        lambda told: told["dark"].update(fields={"value": "script"}),
        lambda told: told["dark"].update(fields={"value": "hex"}),
        lambda told: told["dark"].update(scored="many"),
        lambda told: told.update(blurred=told["dark"]),
        lambda told: told["near_duplicate"].update(groups=True),
    ],
)
def test_columns_that_somebody_made_up_end_in_one_sentence(
    harm: Any, found: Issues, space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dumps(value: Any, **more: Any) -> str:
        harm(value)
        return json.dumps(value, **more)

    with monkeypatch.context() as patched:
        patched.setattr(issues, "json", type("", (), {"dumps": staticmethod(dumps)}))
        write_issues(space, found)
    with pytest.raises(WorkspaceError, match=r"scores/\w+\.parquet is damaged .*; delete it and run: curate check"):
        read_issues(space).every()
    assert len(verify(space)) == 1


def test_a_workspace_of_an_earlier_version_is_read_and_not_taken_for_current(found: Issues, space: Workspace) -> None:
    files.write_table(space.issues, found.every())
    assert not are_together(space) and verify(space) == []
    assert by_key(read_issues(space).every()).equals(by_key(found.every()))
    assert read_issues(space).scores("mislabelled").between(0, 1).all()


def test_all_rows_are_printed_in_blocks_as_at_once(
    found: Issues, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(issues, "BLOCK", 11)
    listed = Listed(found, tuple(found.scored), flagged_only=False)
    whole = pd.concat(listed.blocks(), ignore_index=True)
    assert len(listed) == len(whole) == len(found.every())
    for form in ("csv", "json"):
        console.print_blocks(listed.blocks(), form)
        at_once, printed = whole, capsys.readouterr().out
        console.print_frame(at_once, form)
        assert printed == capsys.readouterr().out
    assert json.loads(printed) == whole.to_dict("records")
    console.print_blocks([whole.head(0)], "json")
    assert json.loads(capsys.readouterr().out) == []
    flagged = Listed(found, tuple(found.scored), flagged_only=True)
    assert len(flagged) == whole["is_issue"].sum()
    assert flagged.head(5)["check"].isin(["label_conflict", "split_leak"]).all() and len(flagged.head(0)) == len(
        flagged
    )


def test_of_an_image_that_no_check_scored_nothing_is_said(found: Issues, space: Workspace) -> None:
    write_issues(space, found)
    assert read_issues(space).only("nowhere.jpg").every().empty and found.only("nowhere.jpg").every().empty


@pytest.mark.parametrize(
    ("harm", "fault"),
    [
        (lambda told: told.update({"\x1b[31m": told["dark"]}), "no name of a check"),
        (lambda told: told.update({"../dark": told["dark"]}), "no name of a check"),
        (lambda told: told["dark"].update(scored=-7), "another number of images"),
        (lambda told: told["mislabelled"].update(texts=[['{"given": "', "given", '"}']]), "damaged"),
    ],
)
def test_what_the_columns_state_of_themselves_is_checked(
    harm: Any, fault: str, found: Issues, space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    test_columns_that_somebody_made_up_end_in_one_sentence(harm, found, space, monkeypatch)
    assert fault in verify(space)[0]


def test_edited_constants_and_fields_end_in_one_sentence(found: Issues) -> None:
    dark = replace(found.columns["dark"], pieces=(('{"threshold": "low"}',),) * len(found.columns["dark"].pieces))
    with pytest.raises(TableError, match="evidence"):
        Issues(found.rows, found.paths, {"dark": dark}).measured("dark")
    bare = replace(found.columns["near_duplicate"], pieces=(("{}",),), fields={})
    with pytest.raises(TableError, match="evidence"):
        Issues(found.rows, found.paths, {"near_duplicate": bare}).values("near_duplicate", "dhash")


def test_verify_finds_missing_numbers_and_paths(found: Issues, space: Workspace) -> None:
    dark = found.columns["dark"]
    gone = replace(dark, fields={"value": replace(dark.fields["value"], values=np.full(len(dark.scores), np.nan))})
    write_issues(space, Issues(found.rows, found.paths, {**found.columns, "dark": gone}))
    assert "dark has no value for some image" in verify(space)[0]
    write_issues(space, Issues(found.rows, found.paths.where(found.paths != "010.jpg", "011.jpg"), found.columns))
    assert "an image occurs twice" in verify(space)[0]
    write_issues(space, Issues(found.rows, found.paths.where(found.paths != "010.jpg"), found.columns))
    assert "in the place of a path" in verify(space)[0]


def test_one_image_is_read_though_its_columns_were_replaced_meanwhile(found: Issues, space: Workspace) -> None:
    write_issues(space, found)
    begun = read_issues(space)
    write_issues(space, registry.run(drawn(seed=4)))
    assert by_key(begun.only("010.jpg").every()).equals(by_key(found.only("010.jpg").every()))


def test_columns_replaced_between_looking_and_opening_are_read_again(
    found: Issues, space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_issues(space, found)
    other, whole = registry.run(drawn(seed=4)), issues._is_whole

    def slow(path: Path | None) -> bool:
        answer = whole(path)
        monkeypatch.undo()
        write_issues(space, other)
        return answer

    monkeypatch.setattr(issues, "_is_whole", slow)
    assert by_key(read_issues(space).every()).equals(by_key(other.every()))


def test_files_of_other_names_beside_the_columns_stay(found: Issues, space: Workspace) -> None:
    write_issues(space, found)
    own = space.scores / "notes.parquet"
    own.write_bytes(b"mine")
    write_issues(space, registry.run(drawn(seed=4)))
    assert own.read_bytes() == b"mine" and len(list(space.scores.iterdir())) == 2


def test_each_image_may_have_a_measure_of_its_own() -> None:
    names = [f"m{place}" for place in range(300)]
    at = np.linspace(0, 1, 300)
    made = one_number_rows("own", pd.Series(names), at, at, measure=names, threshold=0.5)
    assert [fact["measure"] for fact in facts(made["evidence"])] == names
