"""Review without a browser: push into a MongoDB of the test's own, answers, pull, training on what was decided."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from curation.base import files, settings
from curation.base.issues import Issues, read_issues, write_issues
from curation.base.progress import Display
from curation.base.workspace import Workspace, create_workspace, locked, open_workspace
from curation.decisions import manifest
from curation.pipeline.summary import check_words
from curation.review import read_model
from curation.review.journal import Journal, ReviewError
from curation.review.pull import pull
from curation.review.review_session import Image, ReviewSession, Session
from tests import programs
from tests.browser.neighbours import judge_by_neighbours
from tests.conftest import Curate
from tests.needs import needs

needs("fiftyone", reason="FiftyOne is not installed")


@pytest.fixture
def workspace(tmp_path: Path, curated: Path) -> Workspace:
    shutil.copytree(curated, tmp_path / "space")
    return open_workspace(tmp_path / "space")


def in_app(name: str, workspace: Workspace, uri: str, *arguments: str) -> Any:
    """What ``tests.programs`` answers, in a process of its own: FiftyOne reads its environment once."""
    told = programs.run(name, workspace.root, *arguments, environment={"FIFTYONE_DATABASE_URI": uri})
    return json.loads(told.splitlines()[-1])


def test_a_second_push_writes_only_what_changed_and_a_wiped_database_shows_the_answers_again(
    workspace: Workspace, mongodb: str
) -> None:
    images = len(files.read_table(workspace.images))
    assert in_app("push", workspace, mongodb) == [images, 0, 0, 0]
    assert in_app("push", workspace, mongodb) == [0, 0, 0, images]
    path = manifest.rows(workspace, manifest.find(workspace, "cleaned"))["path"].iloc[0]
    Journal(workspace.review / "journal", "ada").write("exclude", [path])
    assert in_app("push", workspace, mongodb) == [0, 1, 0, images - 1]
    found = programs.run("answer_after_wiping", workspace.root, path, environment={"FIFTYONE_DATABASE_URI": mongodb})
    assert found == "exclude"


def test_the_documents_are_those_that_fiftyone_itself_writes(workspace: Workspace, mongodb: str) -> None:
    answer = programs.run("compare_documents", workspace.root, environment={"FIFTYONE_DATABASE_URI": mongodb})
    assert answer == "same"


def test_each_challenge_that_was_found_has_a_view_of_its_own_worst_first(workspace: Workspace, mongodb: str) -> None:
    issues = read_issues(workspace).every()
    some = issues.drop_duplicates("path").head(4).assign(is_issue=True, group="", evidence='{"probability": 0.9}')
    titles = {"watermark": "Watermark", "occluded_face": "", "non_human_face": "", "outlier": ""}
    found = []
    for place, check in enumerate(titles):
        titles[check] = check_words(check)[0]
        found.append(some.assign(check=check, score=[(0.4 - 0.1 * n + 0.02 * place) % 0.5 for n in range(4)]))
    write_issues(workspace, Issues(pd.concat([issues, *found], ignore_index=True)))
    seen = in_app("saved_views", workspace, mongodb, json.dumps(titles))
    for table in found:
        assert seen[table["check"].iloc[0]] == table.sort_values("score")["path"].tolist()


@pytest.mark.parametrize(
    ("variable", "value", "said", "advice"),
    [
        ("FIFTYONE_DATABASE_URI", "mongodb://127.0.0.1:9", "the MongoDB at mongodb://127.0.0.1:9", "unset"),
        ("FIFTYONE_DATABASE_DIR", "/dev/null/database", "FiftyOne's database (mongod) does not start in", "name a"),
    ],
)
def test_a_database_that_does_not_answer_or_start_is_one_sentence(
    workspace: Workspace,
    curate: Curate,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    said: str,
    advice: str,
) -> None:
    monkeypatch.setenv(variable, value)
    done = curate("review", "--push-only", "-w", workspace.root, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"curate: {said}") and advice in done.stderr


def test_fifty_relabelled_images_are_trained_on_under_their_new_labels(workspace: Workspace, curate: Curate) -> None:
    pytest.importorskip("torch", reason="the extra `train` is not installed")
    from curation.models.runs import training_frame

    before = training_frame(workspace, manifest.find(workspace, "cleaned"))
    rows = manifest.rows(workspace, manifest.find(workspace, "cleaned"))
    kept = rows[(rows["status"] == "kept") & (rows["group"] == "") & (rows["label"] != "sad")]
    chosen = kept["path"].head(50).tolist()
    assert len(chosen) == 50
    review_session = ReviewSession(session(workspace, "ada"))
    review_session.answer("relabel", [Image(path, "happy", "happy") for path in chosen], "sad")
    with locked(workspace):
        done = pull(workspace, settings.load(), Display(quiet=True))
    assert done.decided == 50 and done.version is not None
    frame = training_frame(workspace, done.version).set_index("key")
    assert set(frame.loc[chosen, "label"]) == {"sad"}
    run = json.loads(curate("train", "scratch", "--epochs", 1, "--threads", 1, "--json", "-w", workspace.root).stdout)[
        "name"
    ]
    config = files.read_json(workspace.models / run / "config.json")
    assert config["provenance"]["manifest_hash"] == done.version.hash
    wanted = before.assign(label=before["label"].mask(before["key"].isin(chosen), "sad"))
    assert config["fingerprints"] == fingerprints(wanted, config) != fingerprints(before, config)
    with locked(workspace):
        again = pull(workspace, settings.load(), Display(quiet=True))
    assert again.decided == 0
    assert manifest.find(workspace, "cleaned").hash == done.version.hash
    review_session.undo()
    with locked(workspace):
        back = pull(workspace, settings.load(), Display(quiet=True))
    assert back.undone == 50 and manifest.content_hash(manifest.rows(workspace, back.version)) == manifest.content_hash(
        rows
    )


def fingerprints(frame: pd.DataFrame, config: dict[str, Any]) -> dict[str, str]:
    """Return what a fit on these very images and labels writes down of them."""
    from training.data import load_samples

    used = frame[frame["split"].isin(["train", "validation"])]
    samples = load_samples(used, Path(), config["recipe"]["image_size"], tuple(config["classes"]))
    is_train = (used["split"] == "train").to_numpy()
    return {"train": samples.take(is_train).fingerprint(), "validation": samples.take(~is_train).fingerprint()}


def test_a_soft_answer_becomes_a_soft_label(workspace: Workspace) -> None:
    rows = manifest.rows(workspace, manifest.find(workspace, "cleaned"))
    path = rows.loc[(rows["status"] == "kept") & (rows["group"] == ""), "path"].iloc[0]
    ReviewSession(session(workspace, "ada")).answer("soften", [Image(path)], json.dumps({"sad": 0.5, "neutral": 0.5}))
    with locked(workspace):
        done = pull(workspace, settings.load(), Display(quiet=True))
    after = manifest.rows(workspace, done.version).set_index("path")
    assert json.loads(after.loc[path, "soft_label"]) == {"neutral": 0.5, "sad": 0.5}


def session(workspace: Workspace, who: str, items: tuple[tuple[str, str], ...] = ()) -> Session:
    return Session(str(workspace.root), who, "dataset", "queue", ("happy", "neutral", "sad", "surprise"), items)


def test_the_queue_is_resumable_goes_on_by_whole_groups_and_counts_agreement(tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path / "space")
    items = (("a", ""), ("b", "g"), ("c", "g"), ("d", ""))
    ada = ReviewSession(session(workspace, "ada", items))
    assert ada.upcoming(2) == [["a"], ["b", "c"]]
    ada.answer("keep", [Image("a")])
    resumed = ReviewSession(session(workspace, "ada", items))
    assert resumed.upcoming(1) == [["b", "c"]]
    ben = ReviewSession(session(workspace, "ben", items))
    assert ben.progress().left == 4
    ben.answer("keep", [Image("a")])
    ben.answer("exclude", [Image("b")])
    resumed.answer("keep", [Image("b")])
    assert (resumed.progress().shared, resumed.progress().agreed, resumed.progress().left) == (2, 1, 2)
    with pytest.raises(ReviewError, match="no class"):
        ada.answer("relabel", [Image("a")], "angry")
    with pytest.raises(ReviewError, match="select images"):
        ada.answer("keep", [])


def test_copies_of_one_picture_get_one_suggestion(workspace: Workspace, curate: Curate) -> None:
    judge_by_neighbours(workspace.root)
    curate("check", "mislabelled", "-w", workspace.root)
    found = read_model.shown(workspace, "cleaned", settings.load())
    grouped = found.records[found.records["copy_group"] != ""].groupby("copy_group")["path"].agg(list)
    named = [{found.suggestions[path] for path in paths if path in found.suggestions} for paths in grouped]
    assert found.suggestions and any(named)
    assert all(len(classes) <= 1 for classes in named)


def test_votes_and_blind_labels_are_reported_with_intervals(workspace: Workspace, curate: Curate) -> None:
    raw = manifest.rows(workspace, manifest.find(workspace, "raw"))
    chosen = raw[raw["label"] != ""].head(40)
    for who, wrong in (("ada", 4), ("ben", 8)):
        journal = Journal(workspace.review / "journal", who)
        for place, (path, label) in enumerate(chosen[["path", "label"]].itertuples(index=False)):
            journal.write("label", [path], label if place >= wrong else "unknown")
    before = manifest.find(workspace, "cleaned").hash
    pulled = json.loads(curate("review", "pull", "--json", "-w", workspace.root).stdout)
    assert pulled["blind_labels"] == 80 and pulled["decided"] == 0
    assert manifest.find(workspace, "cleaned").hash == before  # votes decide nothing
    votes = workspace.root / "more.csv"
    lines = [
        f"{path},{3 if label == 'happy' else 0},{0 if label == 'happy' else 3}"
        for path, label in chosen[["path", "label"]].itertuples(index=False)
    ]
    votes.write_text("path,happiness,fear\n" + "\n".join(lines) + "\n")
    curate("votes", "import", votes, "--name", "crowd", "-w", workspace.root)
    table = json.loads(curate("votes", "--json", "-w", workspace.root).stdout)
    figure = {(row["source"], row["figure"], row["class"]): row for row in table}
    accuracy = figure["blind", "accuracy of ada", "all"]
    assert accuracy["low"] < accuracy["value"] <= accuracy["high"] <= 1 and accuracy["images"] == 40
    assert figure["blind", "agreement of ada and ben (Cohen's kappa)", "all"]["value"] == pytest.approx(0.9, abs=0.12)
    assert figure["crowd", "most frequent answer is the given label", "happy"]["value"] == 1.0
    assert (workspace.reports / "people.html").exists()
    curate("report", "-w", workspace.root)
    page = (workspace.reports / "cleaning.html").read_text(encoding="utf-8")
    for words in ("Votes: blind", "Votes: crowd", "accuracy of ada", "Cohen&#39;s kappa", "Fleiss&#39; kappa"):
        assert words in page
