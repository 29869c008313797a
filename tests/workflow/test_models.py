"""Train on a version, evaluate, predict and hand over: the command's way, on the drawn sample."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import Curate, as_json

pytest.importorskip("torch", reason="the extra `train` is not installed")


@pytest.fixture(scope="module")
def own(curated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the curated workspace with a small trained model in it."""
    return Path(shutil.copytree(curated, tmp_path_factory.mktemp("models") / "own"))


@pytest.fixture(scope="module")
def model(own: Path, curate: Curate) -> str:
    name: str = as_json(curate("train", "scratch", "--epochs", 2, "--threads", 1, "-w", own, "--json"))["name"]
    return name


def test_a_finished_run_is_not_trained_again(own: Path, model: str, curate: Curate) -> None:
    weights = own / "models" / model / "model.safetensors"
    before = weights.stat().st_mtime_ns
    again = as_json(curate("train", "scratch", "--epochs", 2, "--threads", 1, "-w", own, "--json"))
    assert again["name"] == model
    assert weights.stat().st_mtime_ns == before


def test_a_model_is_judged_as_given_without_copies_and_cleaned(own: Path, model: str, curate: Curate) -> None:
    rows = pd.DataFrame(as_json(curate("evaluate", model, "-w", own, "--json")))
    assert set(rows["split"]) == {"validation", "test"}
    assert set(rows["view"]) == {"as given", "without copies in train", "cleaned"}
    accuracy = rows[rows["metric"] == "accuracy"]
    assert ((accuracy["low"] <= accuracy["estimate"]) & (accuracy["estimate"] <= accuracy["high"])).all()
    predictions = pd.read_parquet(own / "predictions" / f"{model}.parquet")
    manifest = pd.read_parquet(own / "manifests" / "v1.parquet").set_index("path")
    assert set(manifest.loc[predictions["path"], "split"]) == {"validation", "test"}


def test_an_export_answers_as_the_model_does_and_has_a_card(own: Path, model: str, curate: Curate) -> None:
    curate("evaluate", model, "-w", own)
    done = curate("export-model", model, "-o", own / "model.onnx", "-w", own)
    assert (own / "model.onnx").stat().st_size > 100_000
    assert "manifest_hash" in (own / "model.md").read_text()
    assert "largest difference" in done.stdout


def test_each_image_is_judged_out_of_fold_once_and_again_from_the_workspace(own: Path, curate: Curate) -> None:
    arguments = ("crossval", "scratch", "--epochs", 1, "--folds", 2, "--threads", 1, "-w", own)
    first = curate(*arguments)
    assert "About" in first.stderr and "194 images" in first.stdout
    again = curate(*arguments, "--json")
    assert "About" not in again.stderr
    printed = json.loads(again.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    table = pd.read_parquet(printed["predictions"])
    raw = pd.read_parquet(own / "manifests" / "v1.parquet").set_index("path")
    issues = pd.read_parquet(own / "issues.parquet")
    unreadable = set(issues.loc[(issues["check"] == "unreadable") & issues["is_issue"], "path"])
    assert set(table["path"]) == set(raw.index) - unreadable and table["path"].is_unique
    copies = issues[issues["is_issue"] & issues["check"].isin(["exact_duplicate", "near_duplicate"])]
    folds = copies.merge(table, on="path").groupby("group")["fold"].nunique()
    assert len(folds) and (folds == 1).all()
    right = table[["happy", "neutral", "sad", "surprise"]].idxmax(axis=1).to_numpy() == raw.loc[table["path"], "label"]
    (accuracy,) = (row for row in printed["metrics"] if row["metric"] == "accuracy")
    assert accuracy["estimate"] == pytest.approx(right.mean())


def test_predict_gives_one_probability_a_class(own: Path, model: str, sample: Path, curate: Curate) -> None:
    truth = pd.read_csv(sample / "truth.csv")
    image = sample / truth.loc[truth["defect"] == "plain", "path"].iloc[0]
    (row,) = as_json(curate("predict", model, image, "-w", own, "--json"))
    assert sum(row[name] for name in ("happy", "neutral", "sad", "surprise")) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "no-such"], "no recipe"),
        (["train", "scratch", "--on", "v99"], "no version"),
        (["evaluate", "no-such"], "no model"),
        (["crossval", "scratch", "--folds", "190"], "fewer folds"),
        (["predict", "scratch", "no/such.jpg"], "no/such.jpg"),
    ],
)
def test_wrong_input_is_one_sentence(own: Path, model: str, curate: Curate, arguments: list[str], words: str) -> None:
    done = curate(*arguments, "-w", own, check=False)
    assert done.returncode == 1
    assert words in done.stderr and "Traceback" not in done.stderr


def test_the_list_of_recipes_has_the_ladder_of_every_backbone(curate: Curate) -> None:
    names = {row["name"] for row in as_json(curate("ladder", "--list", "--json"))}
    assert {f"{b}/{v}" for b in ("vgg16", "resnet50v2", "efficientnetb0") for v in range(12)} <= names
