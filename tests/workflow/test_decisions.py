"""People's decisions, by whatever way they come in: logged, judged again by the policy in force, and committed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from curation.base import settings
from curation.base.errors import CurationError
from curation.base.issues import read_issues
from curation.base.progress import Display
from curation.base.settings import Settings
from curation.base.workspace import Workspace, create_workspace, read_images
from curation.decisions import log, manifest
from curation.decisions.replay import HELD
from curation.pipeline import curating, decisions, queries
from curation.pipeline.merge import merge
from curation.review import journal, label_studio
from curation.review.journal import Journal
from curation.review.label_studio import LabelStudioAnnotation
from curation.review.pull import pull

QUIET = Display(quiet=True)


@pytest.fixture
def own(curated: Path, tmp_path: Path) -> Workspace:
    """A copy of the curated workspace that a test may change."""
    return Workspace(Path(shutil.copytree(curated, tmp_path / "own")))


def own_settings(workspace: Workspace, **overrides: Any) -> Settings:
    return settings.of_workspace(workspace, overrides)


def decide(workspace: Workspace, paths: list[str], action: str, value: str = "", by: str = "ann", **more: Any) -> str:
    """Decide, and return the version's name."""
    done = decisions.decide(workspace, paths, action, value, "", by, own_settings(workspace), **more)
    return done.version.name


def undo(workspace: Workspace, target: str) -> manifest.Version:
    return decisions.undo(workspace, target, "ann", own_settings(workspace)).version


def apply(workspace: Workspace, policy: str = "", **more: Any) -> manifest.Version:
    chosen = own_settings(workspace, **({"policy": policy} if policy else {}))
    return decisions.apply(workspace, chosen, QUIET, **more).version


def run(workspace: Workspace, data: Path, **overrides: Any) -> curating.Outcome:
    return curating.run(workspace, str(data), own_settings(workspace, **overrides), QUIET)


def now(workspace: Workspace) -> pd.DataFrame:
    return manifest.rows(workspace, manifest.find(workspace, "cleaned")).set_index("path")


def leak(workspace: Workspace) -> tuple[str, str]:
    """A test image and a copy of it in train, under one label: of two copies, the first is kept."""
    found = read_issues(workspace).every()
    found = found[(found["check"] == "split_leak") & found["is_issue"]]
    rows = now(workspace)
    for _, members in found.groupby("group"):
        paths = members["path"].tolist()
        kept = [path for path in paths if rows.at[path, "status"] == "kept"]
        if len(paths) == 2 and len(kept) == 1 and rows.loc[paths, "label"].nunique() == 1:
            return kept[0], next(path for path in paths if path not in kept)
    raise AssertionError("the sample has no such pair")


def annotation(workspace: Workspace, path: str, label: str = "", exclude: bool = False) -> LabelStudioAnnotation:
    content = read_images(workspace).set_index("path").at[path, "sha256"]
    return LabelStudioAnnotation(path, content, "bob", "2026", (label,) if label else (), exclude)


def by_command(workspace: Workspace, path: str) -> None:
    decide(workspace, [path], "exclude")


def by_label_studio(workspace: Workspace, path: str) -> None:
    label_studio.take(workspace, [annotation(workspace, path, exclude=True)], own_settings(workspace), QUIET)


def by_app(workspace: Workspace, path: str) -> None:
    Journal(workspace.review / "journal", "ann", workspace.decisions).write("exclude", [path])
    pull(workspace, own_settings(workspace), QUIET)


WAYS = [by_command, by_label_studio, by_app]


@pytest.mark.parametrize("way", WAYS)
def test_each_way_keeps_the_policy_and_lets_it_judge_again(
    own: Workspace, way: Callable[[Workspace, str], None]
) -> None:
    kept, copy = leak(own)
    apply(own, "deck")
    before, lines = now(own)["status"], log.Log(own.decisions).through
    way(own, kept)
    assert manifest.find(own, "cleaned").lineage["policy"]["name"] == "deck"
    assert log.Log(own.decisions).through - lines <= 4  # the person's, one undo, and new ones on two images at most
    changed = now(own)["status"].ne(before)
    assert set(changed[changed].index) <= {kept, copy} and now(own).at[kept, "status"] == "excluded"
    assert manifest.verify(own) == []


@pytest.mark.parametrize("way", WAYS)
def test_another_copy_comes_in_and_undoing_sends_it_out_again(
    own: Workspace, way: Callable[[Workspace, str], None]
) -> None:
    kept, copy = leak(own)
    before = manifest.find(own, "cleaned").hash
    way(own, kept)
    assert now(own)["status"][[kept, copy]].tolist() == ["excluded", "kept"]
    assert undo(own, manifest.find(own, "cleaned").name).hash == before


def test_a_policy_of_a_file_judges_again_when_the_file_has_gone(own: Workspace, tmp_path: Path) -> None:
    kept, copy = leak(own)
    file = tmp_path / "mine.toml"
    file.write_text(
        'name = "mine"\ndescription = "d"\n[duplicates]\nidentity = "near"\nconflicts = "exclude"\n'
        'keep_split = ["test", "validation", "train"]\nkeep_copy = "best"\n',
        encoding="utf-8",
    )
    version = apply(own, str(file))
    file.unlink()
    decide(own, [kept], "exclude")
    assert now(own)["status"][[kept, copy]].tolist() == ["excluded", "kept"]
    undo(own, manifest.find(own, "cleaned").name)
    assert apply(own).hash == version.hash and apply(own, str(file)).hash == version.hash
    with pytest.raises(CurationError, match="no policy"):
        apply(own, str(tmp_path / "other.toml"))


def test_without_measurements_a_decision_is_taken_and_what_was_not_looked_at_is_said(own: Workspace) -> None:
    kept, copy = leak(own)
    shutil.rmtree(own.measurements)
    said = decisions.decide(own, [kept], "exclude", "", "", "ann", own_settings(own))
    assert now(own)["status"][[kept, copy]].tolist() == ["excluded", "kept"]
    assert any("was not looked at" in note for note in said.notes)


def test_the_log_takes_only_what_changed(own: Workspace) -> None:
    kept, copy = leak(own)
    before = len(log.entries_of(log.Log(own.decisions).table))
    decide(own, [kept], "exclude")
    lines = log.entries_of(log.Log(own.decisions).table)[before:]
    assert [(line.actor, line.action) for line in lines] == [("person:ann", "exclude"), ("policy:balanced", "undo")]
    taken_back = {
        log.entries_of(log.Log(own.decisions).table)[number - 1].path for number in json.loads(lines[1].value)
    }
    assert taken_back == {kept, copy}
    name = decide(own, [kept], "exclude")  # nothing new
    assert len(log.entries_of(log.Log(own.decisions).table)) == before + 2
    assert name == manifest.find(own, "cleaned").name


def test_taking_a_version_back_takes_back_what_only_repeated_it(own: Workspace) -> None:
    kept, _ = leak(own)
    before = manifest.find(own, "cleaned").hash
    name = decide(own, [kept], "exclude")
    decide(own, [kept], "exclude", by="bob")
    assert undo(own, name).hash == before
    assert now(own).at[kept, "status"] == "kept"


def test_taking_a_policy_back_does_not_bring_it_in_again(own: Workspace) -> None:
    raw, cleaned = manifest.find(own, "raw").hash, manifest.find(own, "cleaned").hash
    assert apply(own, "deck").hash != cleaned
    assert undo(own, "v3").hash == cleaned
    assert undo(own, "v2").hash == raw
    assert apply(own).hash == cleaned


def test_a_reviewers_words_are_not_the_reason_for_what_the_policy_left_out(own: Workspace) -> None:
    _, copy = leak(own)
    label = now(own).at[copy, "label"]
    other = next(name for name in sorted(set(now(own)["label"])) if name != label)
    Journal(own.review / "journal", "ann", own.decisions).write("relabel", [copy], other, queue="gain")
    pull(own, own_settings(own), QUIET)
    said = queries.explain(own, copy).lines[1]
    assert "excluded" in said and "App" not in said


def test_confirming_what_a_policy_relabelled_is_no_word_for_the_label_that_it_came_with(own: Workspace) -> None:
    path = now(own).query("status == 'kept'").index[0]
    came = now(own).at[path, "original_label"]
    other = next(name for name in sorted(set(now(own)["label"])) if name != came)
    decide(own, [path], "relabel", other)
    label_studio.take(own, [annotation(own, path, other)], own_settings(own), QUIET)
    assert now(own).at[path, "label"] == other
    label_studio.take(own, [annotation(own, path, came)], own_settings(own), QUIET)
    assert now(own).at[path, "label"] == came


def test_a_pull_killed_after_the_log_is_finished_by_the_next(own: Workspace) -> None:
    kept, copy = leak(own)
    line = Journal(own.review / "journal", "ann", own.decisions).write("exclude", [kept])
    image = read_images(own).set_index("path").loc[kept]
    draft = log.Draft(kept, "exclude", time=line.time, content=image["sha256"], label=image["label"])
    log.Log(own.decisions).append("person:ann", [draft])
    assert pull(own, own_settings(own), QUIET).decided == 0
    assert now(own)["status"][[kept, copy]].tolist() == ["excluded", "kept"]


@pytest.mark.parametrize("label", ["Happy", "happy ", "hapy", "SAD"])
def test_a_class_that_no_image_has_is_asked_about(own: Workspace, label: str) -> None:
    path = now(own).index[0]
    before = own.decisions.read_bytes()
    with pytest.raises(CurationError, match=r"did you mean '(happy|sad)'.*--new-class"):
        decide(own, [path], "relabel", label)
    taken = label_studio.take(own, [annotation(own, path, label)], own_settings(own), QUIET)
    Journal(own.review / "journal", "ann", own.decisions).write("relabel", [path], label)
    pulled = pull(own, own_settings(own), QUIET)
    assert taken.decided == pulled.decided == 0
    assert all("did you mean" in lines[-1] for lines in (taken.lines(), pulled.lines()))
    assert own.decisions.read_bytes() == before
    assert pull(own, own_settings(own), QUIET, new_class=True).decided == 1
    decide(own, [path], "relabel", label)  # it is a class now
    assert now(own).at[path, "label"] == label


def test_what_is_no_copy_stays_none_however_often_the_checks_run(own: Workspace, sample: Path) -> None:
    issues = read_issues(own).every()
    near = issues[(issues["check"] == "near_duplicate") & issues["is_issue"]].sort_values("group")
    equal = issues.loc[(issues["check"] == "exact_duplicate") & issues["is_issue"], "path"]
    near = near[~near["group"].isin(near.loc[near["path"].isin(equal), "group"])]
    group = near["group"].iloc[0]
    members = near.loc[near["group"] == group, "path"].tolist()
    decide(own, [group], "not_copies")
    run(own, sample)
    issues = read_issues(own).every()
    assert not issues["is_issue"][issues["path"].isin(members) & (issues["check"] == "near_duplicate")].any()
    assert now(own).loc[members, "status"].tolist() == ["kept"] * len(members)
    assert "not copies of each other" in queries.explain(own, members[0]).lines[-1]
    entry = next(line for line in log.entries_of(log.Log(own.decisions).table) if line.action == "not_copies")
    undo(own, str(entry.seq))
    issues = read_issues(own).every()
    assert group in set(issues.loc[issues["path"].isin(members), "group"])
    assert manifest.verify(own) == []


def test_equal_pixels_cannot_be_said_to_be_no_copies(own: Workspace) -> None:
    issues = read_issues(own).every()
    group = issues.loc[(issues["check"] == "exact_duplicate") & issues["is_issue"], "group"].iloc[0]
    with pytest.raises(CurationError, match=r"same pixels.*--keep"):
        decide(own, [group], "not_copies")


# --- decisions follow the picture -------------------------------------------------------------------------------------


@pytest.fixture
def data(sample: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sample, tmp_path / "data"))


def alone(workspace: Workspace) -> list[str]:
    """Kept images without a copy."""
    rows = now(workspace)
    return rows[(rows["status"] == "kept") & (rows["group"] == "")].index.tolist()


def test_decisions_go_with_renamed_and_moved_files_and_what_no_longer_applies_is_listed(
    own: Workspace, data: Path
) -> None:
    first, second, third, fourth = [path for path in alone(own) if path.startswith("train/happy")][:4]
    for path in (first, second, third):
        decide(own, [path], "exclude")
    decide(own, [fourth], "keep")
    (data / first).rename((data / first).with_name("renamed.jpg"))
    (data / second).rename(data / "train/sad/moved.jpg")
    (data / third).write_bytes((data / third).read_bytes() + b"\0")
    (data / fourth).rename(data / "train/sad" / Path(fourth).name)
    said = run(own, data)
    rows = now(own)
    assert rows.loc[["train/happy/renamed.jpg", "train/sad/moved.jpg"], "status"].tolist() == ["excluded"] * 2
    assert rows.at[third, "status"] == "kept"
    listed = {row["path"]: row["why"] for row in said.record["no_longer_applying"]}
    assert set(listed) == {third, fourth}
    assert "another picture" in listed[third] and "'happy'" in listed[fourth] and "'sad'" in listed[fourth]
    assert any(third in line and "no longer apply" in line for line in said.lines)
    assert "exclude" in queries.explain(own, "train/happy/renamed.jpg").lines[-1]
    assert not any("person" in line for line in queries.explain(own, third).lines)
    assert manifest.verify(own) == []


def test_a_policy_overruled_on_a_picture_stays_overruled_when_it_is_renamed(own: Workspace, data: Path) -> None:
    kept, copy = leak(own)
    line = next(e for e in log.entries_of(log.Log(own.decisions).table) if e.path == copy and e.action == "exclude")
    undo(own, str(line.seq))
    assert now(own).at[copy, "status"] == "kept"
    renamed = str(Path(copy).with_name("renamed.jpg"))
    (data / copy).rename(data / renamed)
    run(own, data)
    assert now(own).loc[[kept, renamed], "status"].tolist() == ["kept", "kept"]
    assert manifest.verify(own) == []


def test_another_data_set_with_the_same_names_inherits_nothing(own: Workspace, data: Path) -> None:
    path = alone(own)[0]
    decide(own, [path], "exclude")
    for file in data.rglob("*.jpg"):
        file.write_bytes(file.read_bytes() + b"\0")  # other files with the same pixels
    said = run(own, data)
    assert now(own).at[path, "status"] == "kept" and len(said.record["no_longer_applying"]) == 1


def test_answers_of_label_studio_and_the_app_are_about_the_picture_that_was_shown(own: Workspace, data: Path) -> None:
    first, second, third = [path for path in alone(own) if path.startswith("train/happy")][:3]
    answers = [annotation(own, path, exclude=True) for path in (first, third)]
    content = read_images(own).set_index("path").at[second, "sha256"]
    press = Journal(own.review / "journal", "ann", own.decisions)
    press.write("exclude", [second], contents=[content], labels=["happy"])
    for path in (first, second):
        (data / path).rename((data / path).with_name(f"renamed {Path(path).name}"))
    (data / third).write_bytes((data / third).read_bytes() + b"\0")
    run(own, data)
    assert label_studio.take(own, answers, own_settings(own), QUIET).unknown_paths == 1
    assert pull(own, own_settings(own), QUIET).decided == 1
    assert pull(own, own_settings(own), QUIET).decided == 0
    gone = now(own).query("status == 'excluded'").index
    assert {f"train/happy/renamed {Path(path).name}" for path in (first, second)} <= set(gone)
    assert now(own).at[third, "status"] == "kept"


def test_a_clock_set_back_loses_no_key_press_and_no_decision(own: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = alone(own)[:2]

    class Clock:
        hour = 20
        fromisoformat = datetime.fromisoformat

        @classmethod
        def now(cls, zone: object) -> Any:
            cls.hour -= 1
            return datetime(2026, 1, 1, cls.hour, tzinfo=UTC)

    monkeypatch.setattr(journal, "datetime", Clock)
    folder = own.review / "journal"
    press = Journal(folder, "ann", own.decisions)
    press.write("exclude", [first])
    press.write("keep", [first])
    press.write("keep", [second])
    Journal(folder, "ann", own.decisions).write("exclude", [second])  # another session
    pull(own, own_settings(own), QUIET)
    assert now(own).loc[[first, second], "status"].tolist() == ["kept", "excluded"]
    decide(own, [second], "keep")  # by another way, later, though the clock of the App was ahead once
    Journal(folder, "bob", own.decisions).write("keep", [first])
    assert pull(own, own_settings(own), QUIET).conflicts == 0
    assert now(own).at[second, "status"] == "kept"


# --- older workspaces -------------------------------------------------------------------------------------------------


def made_older(workspace: Workspace) -> None:
    """Make a workspace what an older version of the tool leaves: no contents, chain, seals, own settings, policies."""
    lines = [json.loads(line) for line in workspace.decisions.read_bytes().splitlines()]
    young = ("content", "label", "chain")
    old = [{name: value for name, value in line.items() if name not in young} for line in lines]
    workspace.decisions.write_text("".join(json.dumps(line) + "\n" for line in old), encoding="utf-8")
    for path in workspace.manifests.glob("v*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        kept = {name: value for name, value in record.items() if name not in ("rules", "chain", "seal")}
        path.write_text(json.dumps(kept), encoding="utf-8")
    shutil.rmtree(workspace.policies)
    state = json.loads(workspace.state.read_text(encoding="utf-8"))
    workspace.state.write_text(json.dumps({name: state[name] for name in ("issues", "pairs")}), encoding="utf-8")


def test_a_workspace_of_an_older_version_goes_on_as_it_was(own: Workspace, data: Path) -> None:
    first, second = [path for path in alone(own) if path.startswith("train/happy")][:2]
    decide(own, [first, second], "exclude")
    made_older(own)
    assert manifest.verify(own) == [] and len(manifest.not_sealed(own)) == 2
    before = manifest.find(own, "cleaned")
    assert run(own, data).record["manifest_hash"] == before.hash
    (data / first).rename((data / first).with_name("renamed.jpg"))
    (data / second).write_bytes((data / second).read_bytes() + b"\0")
    run(own, data)
    rows = now(own)
    assert rows.at["train/happy/renamed.jpg", "status"] == "excluded" and rows.at[second, "status"] == "kept"
    assert manifest.verify(own) == []
    assert any("which begins with the next" in note for note in manifest.not_sealed(own))


# --- two copies of a workspace ----------------------------------------------------------------------------------------


def test_two_peoples_copies_are_joined_and_contradictions_named(own: Workspace, tmp_path: Path) -> None:
    first, second, third, fourth = alone(own)[:4]
    decide(own, [fourth], "exclude", by="eve")
    other = Workspace(Path(shutil.copytree(own.root, tmp_path / "other")))
    decide(own, [first], "exclude")
    decide(own, [third], "keep")
    decide(other, [second], "exclude", by="bob")
    decide(other, [third], "exclude", by="bob")
    eves = next(entry.seq for entry in log.entries_of(log.Log(other.decisions).table) if entry.actor == "person:eve")
    undo(other, str(eves))
    merged = merge(own, other.root, own_settings(own), QUIET)
    assert now(own)["status"][[first, second, third, fourth]].tolist() == ["excluded", "excluded", "kept", "kept"]
    assert (merged.taken, merged.taken_back, merged.known) == (1, 1, 0)
    assert merged.conflicts.to_numpy().tolist() == [[third, "keep", "ann", "exclude", "bob"]]
    assert next(e for e in log.entries_of(log.Log(own.decisions).table) if e.path == second).actor == "person:bob"
    lines = len(log.entries_of(log.Log(own.decisions).table))
    merge(own, other.root, own_settings(own), QUIET)
    assert len(log.entries_of(log.Log(own.decisions).table)) == lines
    merge(other, own.root, own_settings(other), QUIET)
    assert now(other)["status"][[first, second, fourth]].tolist() == ["excluded", "excluded", "kept"]
    assert manifest.verify(own) == manifest.verify(other) == []
    with pytest.raises(CurationError, match="this workspace"):
        merge(own, own.root, own_settings(own), QUIET)


# --- the brake, splits, settings --------------------------------------------------------------------------------------


@pytest.fixture
def lopsided(data: Path) -> Path:
    """The sample with a class of which most files are equal copies of a few."""
    few = sorted((data / "train/happy").glob("*.jpg"))[:3]
    for number in range(40):
        source = few[number % 3]
        (data / "train/fear" / f"{number}.jpg").parent.mkdir(exist_ok=True)
        (data / "train/fear" / f"{number}.jpg").write_bytes(source.read_bytes())
    for file in few:
        file.unlink()
    return data


def test_the_policy_stops_short_of_a_large_loss_and_says_how_to_go_on(lopsided: Path, tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path / "space")
    said = run(workspace, lopsided)
    fear = now(workspace).query("original_label == 'fear'")
    assert fear["status"].eq("kept").all()
    assert "Stopped short" in said.lines[0] and "'fear'" in said.lines[0] and "--accept-loss" in said.lines[1]
    assert said.record["held"] >= 37 and said.record["losses"][0]["left_out"] >= 37
    page = (workspace.reports / "cleaning.html").read_text(encoding="utf-8")
    assert page.index("Stopped short") < page.index("Copies found")
    assert "held back" in queries.explain(workspace, fear.index[-1]).lines[1]
    states = [entry for entry in log.entries_of(log.Log(workspace.decisions).table) if entry.value == HELD]
    assert len(states) == said.record["held"]
    apply(workspace, accept_loss=True)
    assert now(workspace).query("original_label == 'fear'")["status"].eq("excluded").sum() >= 37
    # it stays accepted
    decide(workspace, [alone(workspace)[0]], "exclude")
    again = run(workspace, lopsided)
    assert now(workspace).query("original_label == 'fear'")["status"].eq("excluded").sum() >= 37
    assert "copies" in again.lines[0] and "fear" in again.lines[0]
    assert manifest.verify(workspace) == []


def test_the_limits_of_the_brake_are_settings(lopsided: Path, tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path / "space")
    workspace.settings.write_text("[brake]\nclass_share = 0.99\n", encoding="utf-8")
    run(workspace, lopsided)
    assert now(workspace).query("original_label == 'fear'")["status"].eq("excluded").sum() >= 37


def test_a_split_of_an_unknown_name_keeps_its_copies(sample: Path, tmp_path: Path) -> None:
    truth = pd.read_csv(sample / "truth.csv", keep_default_na=False)
    plain = truth[truth["path"].str.startswith("train/") & (truth["defect"] == "plain")].drop_duplicates("subject")
    faces = [sample / path for path in plain["path"][:12]]
    rows = []
    for number, file in enumerate(faces):
        for split in ("alpha", "train"):
            path = tmp_path / f"{split}{number}.jpg"
            path.write_bytes(file.read_bytes())
            rows.append((path.name, f"class {number % 2}", split))
    pd.DataFrame(rows, columns=["path", "label", "split"]).to_csv(tmp_path / "list.csv", index=False)
    workspace = create_workspace(tmp_path / "space")
    run(workspace, tmp_path / "list.csv", brake={"split_share": 1.0, "min_images": 100})
    kept = now(workspace).query("status == 'kept'")["split"].value_counts().to_dict()
    assert kept["alpha"] == 12


def test_what_a_workspace_was_made_with_stays_its_own(sample: Path, tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path / "space")
    run(workspace, sample, checks={"face_score": 0.999}, policy="deck")
    flagged = read_issues(workspace).every().query("check == 'no_face'")["is_issue"].sum()
    version = manifest.find(workspace, "cleaned")
    assert flagged > 50 and version.lineage["settings"]["checks"]["face_score"] == 0.999
    decide(workspace, [now(workspace).index[0]], "exclude")
    run(workspace, sample)
    assert read_issues(workspace).every().query("check == 'no_face'")["is_issue"].sum() == flagged
    now_made = manifest.find(workspace, "cleaned")
    assert now_made.lineage["settings"]["checks"]["face_score"] == 0.999
    assert now_made.lineage["policy"]["name"] == "deck"
    # what is configured since then counts, and is said
    workspace.settings.write_text("[checks]\nface_score = 0.5\n", encoding="utf-8")
    told = decisions.decide(workspace, [now(workspace).index[1]], "exclude", "", "", "ann", own_settings(workspace))
    assert "face_score = 0.5, was 0.999" in told.notes[0]
    assert told.version.lineage["settings"]["checks"]["face_score"] == 0.999
    page = curating.report(workspace, own_settings(workspace), QUIET).read_text(encoding="utf-8")
    assert "0.999" in page
    run(workspace, sample)
    assert read_issues(workspace).every().query("check == 'no_face'")["is_issue"].sum() < flagged


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("decisions.jsonl", '"actor": "policy:balanced"', '"actor": "policy:Balanced"'),
        ("decisions.jsonl", '"time": "2', '"time": "1'),
        ("manifests/v2.json", '"created": "2', '"created": "1'),
        ("manifests/v2.json", '"kept": 1', '"kept": 2'),
        ("manifests/v2.json", '"name": "balanced"', '"name": "deck"'),
        ("manifests/v1.json", '"face_score": 0.5', '"face_score": 0.6'),
    ],
)
def test_verify_notices_an_edit_of_any_field(own: Workspace, file: str, old: str, new: str) -> None:
    path = own.root / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    assert manifest.verify(own)


def test_a_tag_that_names_no_version_is_noticed(own: Workspace) -> None:
    own.tags.write_text(json.dumps({"tag": "paper", "version": "v9", "hash": "0"}) + "\n", encoding="utf-8")
    assert any("paper" in problem for problem in manifest.verify(own))


def test_labels_that_cannot_be_judged_do_not_stop_a_run(tmp_path: Path, sample: Path) -> None:
    pytest.importorskip("torch")
    for label, number in (("happy", 2), ("sad", 1)):
        (tmp_path / "data" / label).mkdir(parents=True)
        for file in sorted((sample / "train" / label).glob("*.jpg"))[:number]:
            shutil.copy(file, tmp_path / "data" / label)
    workspace = create_workspace(tmp_path / "space")
    said = run(workspace, tmp_path / "data", labels={"recipe": "fast"})
    assert said.record["version"] == "v2" and any("No label was judged" in line for line in said.lines)
    with pytest.raises(CurationError, match="recipe"):
        run(workspace, tmp_path / "data", labels={"recipe": "fats"})
