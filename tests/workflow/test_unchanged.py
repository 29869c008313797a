"""A policy is not asked again while nothing that it goes by has changed, and is asked whenever something has."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from curation.base import files, settings
from curation.base.errors import WorkspaceError
from curation.base.issues import Issues, read_issues, write_issues
from curation.base.progress import Display
from curation.base.workspace import Workspace
from curation.decisions import log, manifest, policy
from curation.pipeline import decisions, steps

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
