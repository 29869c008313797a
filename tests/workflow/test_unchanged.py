"""A policy is not asked again while nothing that it goes by has changed, and is asked whenever something has."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from curation.base import files, settings
from curation.base.errors import WorkspaceError
from curation.base.issues import Issues, read_issues, write_issues
from curation.base.progress import Display
from curation.base.workspace import Workspace
from curation.decisions import log, manifest, policy
from curation.pipeline import curating, decisions, steps

QUIET = Display(quiet=True)


@pytest.fixture
def own(curated: Path, tmp_path: Path) -> Workspace:
    """A copy of the curated workspace, to which the policy was applied, and that a test may change."""
    workspace = Workspace(Path(shutil.copytree(curated, tmp_path / "own")))
    apply(workspace)
    return workspace


def apply(workspace: Workspace, name: str = "") -> manifest.Version:
    chosen = settings.of_workspace(workspace, {"policy": name} if name else {})
    return decisions.apply(workspace, chosen, QUIET).version


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The policies that were asked, by name."""
    names: list[str] = []
    decide = policy.decide

    def watched(chosen: policy.Policy, images: pd.DataFrame, issues: Issues) -> list[log.Draft]:
        names.append(chosen.name)
        return decide(chosen, images, issues)

    monkeypatch.setattr(policy, "decide", watched)
    return names


def no_copies(workspace: Workspace) -> None:
    found = read_issues(workspace)
    rows = found.rows[~found.rows["check"].isin(["exact_duplicate", "near_duplicate"])]
    write_issues(workspace, Issues(rows, found.paths, dict(found.columns)))


def another_label(workspace: Workspace) -> None:
    found = files.read_table(workspace.images)
    found.loc[0, "label"] = found["label"].iloc[-1]
    files.write_table(workspace.images, found)


def a_person(workspace: Workspace) -> None:
    rows = manifest.rows(workspace, manifest.find(workspace, "cleaned"))
    one = rows[rows["status"] == "kept"].iloc[0]
    draft = log.Draft(one["path"], "exclude", content=one["sha256"], label=one["original_label"])
    log.Log(workspace.decisions).append("person:ann", [draft])


def a_limit(workspace: Workspace) -> None:
    workspace.settings.write_text("[brake]\nclass_share = 0.01\nsplit_share = 0.01\n", encoding="utf-8")


def an_older_version(workspace: Workspace) -> None:
    """The newest version is gone, as after a crash between the log and the commit."""
    newest = manifest.find(workspace, "cleaned").name
    for ending in ("json", "parquet"):
        (workspace.manifests / f"{newest}.{ending}").unlink()


def test_what_has_not_changed_is_not_decided_again(own: Workspace, asked: list[str]) -> None:
    before, lines = manifest.find(own, "cleaned"), own.decisions.read_bytes()
    assert apply(own) == before and asked == []
    assert own.decisions.read_bytes() == lines and manifest.find(own, "cleaned") == before


@pytest.mark.parametrize("change", [no_copies, another_label, a_person, a_limit, an_older_version])
def test_whatever_decisions_rest_on_is_noticed_when_it_changes(
    own: Workspace, asked: list[str], change: Callable[[Workspace], None]
) -> None:
    before = manifest.find(own, "cleaned").hash
    change(own)
    found = apply(own)
    assert asked == ["balanced"] and (found.hash == before) == (change is an_older_version)
    assert manifest.verify(own) == []
    assert apply(own) == found and asked == ["balanced"]


def test_each_policy_decides_for_itself(own: Workspace, asked: list[str]) -> None:
    before = manifest.find(own, "cleaned").hash
    assert apply(own, "deck").hash != before
    assert apply(own, "balanced").hash == before
    assert asked == ["deck", "balanced"]


def test_a_version_whose_rows_are_gone_is_refused_though_nothing_else_has_changed(own: Workspace) -> None:
    (own.manifests / f"{manifest.find(own, 'raw').name}.parquet").unlink()
    with pytest.raises(WorkspaceError, match="restore it from a copy"):
        apply(own)


def test_tables_that_were_set_aside_are_read_again_as_they_were(own: Workspace) -> None:
    scanned = steps.scanned_before(own, settings.of_workspace(own), QUIET)
    before = [scanned.images.copy(), scanned.measurements.copy()]
    scanned.set_aside()
    for was, now in zip(before, (scanned.images, scanned.measurements), strict=True):
        pd.testing.assert_frame_equal(was, now)


def report(workspace: Workspace) -> str:
    return curating.report(workspace, settings.of_workspace(workspace), QUIET).read_text(encoding="utf-8")


def test_the_report_of_a_workspace_that_was_moved_names_it_where_it_is_now(own: Workspace, tmp_path: Path) -> None:
    assert f"-w {own.root}" in report(own)
    moved = Workspace(own.root.rename(tmp_path / "elsewhere"))
    page = report(moved)
    assert f"-w {moved.root}" in page and f"-w {own.root}" not in page


def test_the_report_lists_what_the_last_scan_left_out(own: Workspace) -> None:
    assert "minutes.docx" not in report(own)
    left_out = [{"path": "minutes.docx", "reason": "not an image"}]
    files.write_json(own.ingest, {"left_out": left_out, "warnings": ["3 images of the last scan are gone"]})
    page = report(own)
    assert "minutes.docx" in page and "3 images of the last scan are gone" in page


def test_the_report_follows_a_decision_on_a_picture_that_is_gone(own: Workspace) -> None:
    lost = log.Draft("gone.png", "exclude", content="0" * 64, label="happy")
    entry = log.Log(own.decisions).append("person:ann", [lost])[0]
    apply(own)
    assert "gone.png" in report(own)
    decisions.undo(own, str(entry.seq), "ann", settings.of_workspace(own), QUIET)
    assert "gone.png" not in report(own)


def test_a_report_is_written_again_only_if_something_on_it_differs(own: Workspace) -> None:
    report(own)
    page = own.reports / "cleaning.html"
    before = page.stat().st_mtime_ns
    report(own)
    assert page.stat().st_mtime_ns == before


def test_the_report_warns_of_other_settings_until_the_policy_has_decided_on_the_issues(own: Workspace) -> None:
    own.settings.write_text("[checks]\noutlier_fence = 3.4\n", encoding="utf-8")
    chosen = settings.of_workspace(own)
    steps.check(own, steps.scanned_before(own, chosen, QUIET), chosen, QUIET)
    warning = "The issues were computed again with other settings (checks)"
    assert warning in report(own)
    before = manifest.find(own, "cleaned")
    assert apply(own) == before  # no decision differs
    assert warning not in report(own)


def test_the_policy_applied_last_stays_even_if_it_was_not_asked_again(own: Workspace, asked: list[str]) -> None:
    other = settings.of_workspace(own, {"policy": "deck"})
    steps.check(own, steps.scanned_before(own, other, QUIET), other, QUIET)
    apply(own, "balanced")
    assert asked == [] and settings.of_workspace(own).policy == "balanced"


OTHERWISE = {
    "pairs": "[duplicates]\nneighbours = 1\nhash_radius = 0\nmin_probability = 0.9999\n",
    "issues": "[checks]\nturned_yaw_degrees = 5.0\nface_score = 0.9\n",
    "report": "[checks]\nturned_yaw_degrees = 5.0\nface_score = 0.9\n",
}


def curated_again(workspace: Workspace) -> dict[str, str]:
    """Check, decide and report by the settings; return what came of it."""
    chosen = settings.of_workspace(workspace)
    steps.check(workspace, steps.scanned_before(workspace, chosen, QUIET), chosen, QUIET)
    found = {"manifest": apply(workspace).hash, "report": steps.digest(report(workspace))}
    tables = {"pairs": files.read_table(workspace.pairs), "issues": read_issues(workspace).every()}
    return found | {name: steps.digest(*(table[column] for column in table)) for name, table in tables.items()}


@pytest.mark.slow
@pytest.mark.parametrize("step", list(OTHERWISE))
def test_what_a_killed_run_left_is_not_taken_for_a_result_of_the_settings_before(
    own: Workspace, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    before = curated_again(own)
    own.settings.write_text(OTHERWISE[step], encoding="utf-8")
    note = steps.note

    def killed(workspace: Workspace, name: str, *inputs: Any, **more: Any) -> None:
        if name == step:
            raise KeyboardInterrupt
        note(workspace, name, *inputs, **more)

    with monkeypatch.context() as patched:
        patched.setattr(steps, "note", killed)
        with pytest.raises(KeyboardInterrupt):
            curated_again(own)
    own.settings.unlink()
    assert curated_again(own) == before


@pytest.mark.slow
def test_results_of_another_time_are_made_again(own: Workspace) -> None:
    own.settings.write_text(OTHERWISE["pairs"] + OTHERWISE["issues"], encoding="utf-8")
    curated_again(own)
    kept = {
        path: path.read_bytes()
        for path in (own.pairs, own.issues, own.reports / "cleaning.html", *own.scores.glob("*"))
    }
    own.settings.unlink()
    before = curated_again(own)
    for path, data in kept.items():
        path.write_bytes(data)
    assert curated_again(own) == before


def test_a_smaller_limit_is_the_same_data_set(own: Workspace, sample: Path) -> None:
    chosen = settings.of_workspace(own)
    for limit in (20, 5, 0):
        scanned = steps.scan(own, str(sample), chosen, QUIET, limit)
        assert len(scanned.images) == limit or not limit
        assert not any("gone" in note for note in scanned.notes)
    (sample_copy := own.root.parent / "fewer").mkdir()
    (sample_copy / "one.png").write_bytes(next(sample.rglob("*.jpg")).read_bytes())
    with pytest.raises(WorkspaceError, match="lacks most of its images"):
        steps.scan(own, str(sample_copy), chosen, QUIET, 5)


@pytest.mark.parametrize(
    ("text", "again"),
    [
        ("[checks]\nturned_yaw_degrees = 5.0", 0),
        ("[checks]\nface_score = 0.9", 1),
        ("[measure]\nanalysis_side = 256", 1),
    ],
)
def test_copies_are_searched_again_when_what_they_are_compared_by_is_another(
    own: Workspace, sample: Path, monkeypatch: pytest.MonkeyPatch, text: str, again: int
) -> None:
    searches, search = [], steps._near_pairs
    monkeypatch.setattr(steps, "_near_pairs", lambda *given: (searches.append(given), search(*given))[1])
    own.settings.write_text(text + "\n", encoding="utf-8")
    chosen = settings.of_workspace(own)
    steps.find_pairs(own, steps.scan(own, str(sample), chosen, QUIET), chosen, QUIET)
    assert len(searches) == again
