"""Train on a version, evaluate, predict and hand over: the command's way, on the drawn sample."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from curation.base.workspace import open_workspace
from curation.models.runs import find_run
from tests.conftest import Curate, as_json
from tests.needs import needs

CLASSES = ("happy", "neutral", "sad", "surprise")

needs("torch", reason="the extra `train` is not installed")


@pytest.fixture(scope="module")
def own(curated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the curated workspace with a small trained model in it."""
    return Path(shutil.copytree(curated, tmp_path_factory.mktemp("models") / "own"))


@pytest.fixture(scope="module")
def model(own: Path, curate: Curate) -> str:
    name: str = as_json(curate("train", "scratch", "--epochs", 2, "--threads", 1, "-w", own, "--json"))["name"]
    return name


def test_the_augmentation_sheet_shows_every_level_on_images_of_every_class(own: Path) -> None:
    from curation.base.workspace import open_workspace
    from curation.models import runs
    from training.augment import LEVELS, SHEET_BORDER

    path = runs.augmentation_sheet(open_workspace(own), "cleaned")
    picture = np.asarray(Image.open(path))
    rows = len(CLASSES) * 2
    assert picture.shape[0] >= len(LEVELS) * rows * SHEET_BORDER and (picture[:4] > 200).all()
    first = path.read_bytes()
    assert runs.augmentation_sheet(open_workspace(own), "cleaned").read_bytes() == first
    sheets = np.array_split(picture, len(LEVELS))
    plain, augmented = sheets[0], sheets[-1]
    tile = picture.shape[1] // 9
    assert (plain[30:, :tile] == plain[30:, tile : 2 * tile]).mean() > 0.99  # none: the same nine times
    assert (augmented[30:, :tile] == augmented[30:, tile : 2 * tile]).mean() < 0.6


def test_a_finished_run_is_not_trained_again(own: Path, model: str, curate: Curate) -> None:
    weights = own / "models" / model / "model.safetensors"
    before = weights.stat().st_mtime_ns
    again = as_json(curate("train", "scratch", "--epochs", 2, "--threads", 1, "-w", own, "--json"))
    assert again["name"] == model
    assert weights.stat().st_mtime_ns == before


@pytest.fixture(scope="module")
def other(own: Path, curate: Curate) -> str:
    """Return another model on the same data."""
    name: str = as_json(curate("train", "scratch", "--epochs", 1, "--threads", 1, "-w", own, "--json"))["name"]
    return name


def test_a_model_is_judged_as_given_without_copies_and_cleaned(own: Path, model: str, curate: Curate) -> None:
    found = as_json(curate("evaluate", model, "-w", own, "--json"))
    rows = pd.DataFrame(found["metrics"])
    assert set(rows["split"]) == {"validation", "test"} and found["pairs"] == []
    assert set(rows["view"]) == {"as given", "without copies in train", "cleaned"}
    assert found["verdict"][0].startswith("Validation: ") and "as given" in found["verdict"][0]
    assert any(line.startswith("Warning: ") for line in found["verdict"])  # two epochs on few drawn faces
    assert found["verdict"][0] in Path(found["page"]).read_text(encoding="utf-8").replace("&#39;", "'")
    accuracy = rows[rows["metric"] == "accuracy"]
    assert ((accuracy["low"] <= accuracy["estimate"]) & (accuracy["estimate"] <= accuracy["high"])).all()
    predictions = pd.read_parquet(found["predictions"])
    assert found["predictions"] == str(own / "predictions" / f"{model}.parquet")
    raw = pd.read_parquet(own / "manifests" / "v1.parquet").set_index("path")
    assert set(raw.loc[predictions["path"], "split"]) == {"validation", "test"}
    given = raw.loc[predictions["path"]].assign(called=predictions[list(CLASSES)].idxmax(axis=1).to_numpy())
    for split, row in accuracy[accuracy["view"] == "as given"].set_index("split").iterrows():
        mine = given[given["split"] == split]
        assert row["estimate"] == pytest.approx((mine["called"] == mine["label"]).mean())


def test_two_models_are_compared_on_the_same_images_and_shown_with_what_is_confused(
    own: Path, model: str, other: str, curate: Curate
) -> None:
    found = as_json(curate("evaluate", model, "--against", other, "-w", own, "--json"))
    rows = pd.DataFrame(found["pairs"])
    accuracy = rows[(rows["metric"] == "accuracy") & (rows["view"] == "as given")].set_index("split")
    alone = pd.DataFrame(found["metrics"])
    alone = alone[(alone["metric"] == "accuracy") & (alone["view"] == "as given")].set_index("split")
    assert accuracy["model"].to_dict() == pytest.approx(alone["estimate"].to_dict())
    assert (accuracy["difference"] == accuracy["model"] - accuracy["other"]).all()
    assert accuracy["p_value"].between(0, 1).all()
    page = Path(found["page"]).read_text(encoding="utf-8")
    for heading in ("Actual sad?", "Actual neutral?", "Predicted sad?", "Predicted neutral?"):
        shown = heading in page
        predictions = pd.read_parquet(found["predictions"])
        labels = pd.read_parquet(own / "manifests" / "v1.parquet").set_index("path").loc[predictions["path"], "label"]
        called = predictions[list(CLASSES)].idxmax(axis=1).to_numpy()
        wrong = labels.to_numpy() != called
        kind, name = heading.rstrip("?").split()
        assert shown == bool(((labels.to_numpy() if kind == "Actual" else called)[wrong] == name).any()), heading
    assert "McNemar" in page and page.count("data:image/jpeg") >= wrong.sum() / 2


def test_a_person_s_labels_and_weights_are_what_is_trained_on_and_judged_by(curated: Path, tmp_path: Path) -> None:
    from curation.base import settings
    from curation.base.progress import Display
    from curation.base.workspace import open_workspace
    from curation.decisions import manifest
    from curation.models import evaluation, runs
    from curation.pipeline import decisions
    from training.data import load_samples

    workspace = open_workspace(Path(shutil.copytree(curated, tmp_path / "own")))
    before = runs.training_frame(workspace, manifest.find(workspace, "cleaned")).set_index("key")
    happy = before[(before["label"] == "happy") & (before["group"] == "")]
    (moved,) = happy[happy["split"] == "train"].index[:1]
    softened = happy[happy["split"] == "train"].index[1]
    judged = happy[happy["split"] == "validation"].index[0]
    for path, action, value in (
        (moved, "relabel", "sad"),
        (judged, "relabel", "sad"),
        (softened, "soften", '{"soft_label": {"happy": 0.75, "sad": 0.25}, "weight": 0.5}'),
    ):
        decisions.decide(workspace, [path], action, value, "seen", "me", settings.load())
    after = runs.training_frame(workspace, manifest.find(workspace, "cleaned")).set_index("key")
    assert after.loc[moved, "label"] == "sad" and before.loc[moved, "label"] == "happy"
    options = runs.FitOptions(epochs=1, image_size=16, threads=1)
    run_dir = runs.train(workspace, "scratch", "cleaned", options, Display(quiet=True))
    config = json.loads((run_dir / "config.json").read_text(encoding="utf-8"))
    train = after[after["split"] == "train"]
    samples = load_samples(train, Path(), 16, config["classes"])
    assert config["fingerprints"]["train"] == samples.fingerprint()
    row = samples.targets[train.index.get_loc(softened)], samples.weights[train.index.get_loc(softened)]
    assert dict(zip(CLASSES, row[0], strict=True)) == {"happy": 0.75, "neutral": 0, "sad": 0.25, "surprise": 0}
    assert row[1] == 0.5
    found = evaluation.evaluate(workspace, run_dir.name, "cleaned", Display(quiet=True))
    shares = found.table[(found.table["metric"] == "confusion") & (found.table["split"] == "validation")]
    predictions = pd.read_parquet(found.predictions).set_index("path")
    called = predictions.loc[judged, list(CLASSES)].astype(float).idxmax()
    share = shares[shares["class"] == f"sad -> {called}"].set_index("view")["estimate"]
    labels = after[after["split"] == "validation"]["label"]
    mine = predictions.loc[labels.index[labels == "sad"], list(CLASSES)].idxmax(axis=1)
    assert judged in mine.index and share["cleaned"] == pytest.approx((mine == called).mean())


def test_an_export_answers_as_the_model_does_and_has_a_card(
    own: Path, model: str, curate: Curate, tmp_path: Path
) -> None:
    curate("evaluate", model, "-w", own)
    done = curate("export-model", model, "-o", tmp_path / "model.onnx", "-w", own)
    assert (tmp_path / "model.onnx").stat().st_size > 100_000
    assert "manifest_hash" in (tmp_path / "model.md").read_text()
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
        (["train", "vgg16/0", "--weights", "no/such.pth"], "no/such.pth"),
        (["train", "scratch", "--on", "v99"], "no version"),
        (["evaluate", "no-such"], "no model"),
        (["crossval", "scratch", "--folds", "190"], "fewer folds"),
        (["predict", "MODEL", "no/such.jpg"], "no/such.jpg"),
    ],
)
def test_wrong_input_is_one_sentence(own: Path, model: str, curate: Curate, arguments: list[str], words: str) -> None:
    named = [model if argument == "MODEL" else argument for argument in arguments]
    done = curate(*named, "-w", own, check=False)
    assert done.returncode == 1
    assert words in done.stderr and "Traceback" not in done.stderr


def test_a_ladder_states_its_budget_charts_what_ran_and_says_what_did_not(own: Path, curate: Curate) -> None:
    recipes = ("mobilenetv2/0", "mobilenetv2/9", "scratch")
    budget = ("--images", 60, "--epochs", 1, "--image-size", 32, "--weights", "none", "--threads", 1)
    done = curate("ladder", *recipes, *budget, "-w", own)
    assert "Budget: images 60, epochs 1, image size 32." in done.stdout
    found = as_json(curate("ladder", *recipes, *budget, "-w", own, "--json"))
    assert [row["recipe"] for row in found["recipes"]] == list(recipes)
    for row in found["recipes"]:
        assert f"{row['validation_accuracy']:.3f}" in done.stdout
    workspace = open_workspace(own)
    fitted = [run.parent for run in workspace.models.glob("ladder_*/scratch*/model.safetensors")]
    assert [find_run(workspace, run.relative_to(workspace.models).as_posix()) for run in fitted] == fitted
    page = Path(found["page"]).read_text(encoding="utf-8")
    assert all(name in page for name in ("images 60, epochs 1", "chart-accuracy", "chart-f1-mobilenetv2", '"M9"'))


def test_the_list_of_recipes_has_the_ladder_of_every_backbone(curate: Curate) -> None:
    listed = {row["name"]: row["backbone"] for row in as_json(curate("ladder", "--list", "--json"))}
    assert {f"{b}/{v}" for b in ("vgg16", "resnet50v2", "efficientnetb0") for v in range(12)} <= listed.keys()
    assert listed["recommended"] == "timm:tf_efficientnet_lite0 + small"
