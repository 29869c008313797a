"""Cards of a curated workspace: what the hub and mlcroissant read, what only the owner knows, what was measured."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pandas as pd
import pytest

from curation.base import tables
from curation.base.files import write_json
from curation.base.progress import Display
from curation.base.workspace import open_workspace
from curation.decisions import manifest
from curation.evidence import cards, people
from curation.evidence.cards import TO_FILL_IN
from curation.evidence.evaluated_model import EvaluatedModel
from curation.evidence.store import remembered
from curation.models.runs import FitOptions, OutOfFold
from tests.conftest import Curate
from tests.needs import needs
from training.recipes import recipe

needs("datasets", reason="the extra exchange is not installed")
mlc = pytest.importorskip("mlcroissant", reason="the extra exchange is not installed")

RUN = "fast_1_seed0"


@pytest.fixture(scope="module")
def own(curated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(curated, tmp_path_factory.mktemp("cards") / "own"))


@pytest.fixture(scope="module")
def written(own: Path, curate: Curate, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    said = curate("card", "-o", folder, "-w", own).stdout.split()
    assert [Path(line).name for line in said] == ["dataset-card.md", "croissant.json"]
    return folder


def header(card: str) -> dict[str, object]:
    """Return a card's YAML, every value of which is JSON."""
    lines = card.split("---\n")[1].strip().splitlines()
    return {line.partition(": ")[0]: json.loads(line.partition(": ")[2]) for line in lines}


def test_the_hub_reads_the_dataset_card(written: Path) -> None:
    from huggingface_hub import DatasetCard

    card = DatasetCard((written / "dataset-card.md").read_text(encoding="utf-8"))
    found = card.data.to_dict()
    assert found["license"] == "other" and found["license_name"] == TO_FILL_IN
    assert found["size_categories"] == ["n<1K"] and found["task_categories"] == ["image-classification"]
    assert "configs" not in found  # a card hands no data on


def test_a_card_does_not_publish_where_the_data_lie_on_this_machine(own: Path, sample: Path, written: Path) -> None:
    for file in written.iterdir():
        text = file.read_text(encoding="utf-8")
        assert str(sample) not in text and str(sample.parent) not in text
    assert f"- Source: {sample.name}\n" in (written / "dataset-card.md").read_text(encoding="utf-8")


def test_the_cleaning_history_has_every_decision_that_counts_in_the_version(own: Path, written: Path) -> None:
    card = (written / "dataset-card.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:-1] for line in card.split("## Cleaning history")[1].splitlines() if line[:2] == "| "]
    told = {(row[0].strip(), row[1].strip()): int(row[3].replace(",", "")) for row in rows[1:]}
    lines = [json.loads(line) for line in (own / "decisions.jsonl").read_text(encoding="utf-8").splitlines()]
    made = [line for line in lines if line.get("action") in tables.ACTIONS]
    assert told == Counter((line["action"], line["issue"].partition("#")[0]) for line in made)
    workspace = open_workspace(own)
    left_out = (manifest.rows(workspace, manifest.find(workspace, "cleaned"))["status"] == "excluded").sum()
    assert f"{left_out:,} were excluded" in card
    for heading in ("## Provenance", "## Known biases", "## Intended use"):
        assert heading in card
    assert "curate report --models" in card  # nothing was measured yet: how to


def test_mlcroissant_validates_the_metadata(written: Path) -> None:
    read = mlc.Dataset(jsonld=str(written / "croissant.json")).metadata
    assert read.license == [TO_FILL_IN]
    assert any("images" in line for line in read.data_preprocessing_protocol)
    assert not read.ctx.issues.errors


def test_the_model_card_has_metrics_and_what_was_found_out(own: Path, tmp_path: Path) -> None:
    workspace = open_workspace(Path(shutil.copytree(own, tmp_path / "own")))
    run = workspace.models / RUN
    run.mkdir(parents=True)
    (run / "model.safetensors").write_bytes(b"")
    config = {
        "recipe": recipe("fast").as_dict(),
        "images": {"train": 90, "validation": 30},
        "classes": ["happy", "sad"],
        "seed": 0,
    }
    config |= {"weights": "bundled", "weights_licence": "BSD-3", "provenance": {"data": "v1"}}
    write_json(run / "config.json", config)
    unjudged = cards.write_cards(workspace, "cleaned", "", tmp_path / "cards")[2].read_text(encoding="utf-8")
    assert f"curate evaluate {RUN}" in unjudged and "curate report --models" in unjudged
    row = {"split": "test", "view": "as given", "images": 30, "metric": "accuracy", "class": ""}
    pd.DataFrame([row | {"estimate": 0.8, "low": 0.7, "high": 0.9}]).to_csv(run / "evaluation.csv", index=False)
    falls = pd.DataFrame({"class": ["", ""], "region": ["mouth", "eyes"], "fall": [0.3, 0.1], "low": 0.0, "high": 0.4})
    suspects = pd.DataFrame(columns=["class", "border", "face", "region"])
    remembered(workspace.findings / RUN / "learned", "key", lambda: {"falls": falls, "suspects": suspects})
    files = cards.write_cards(workspace, "cleaned", "", tmp_path / "cards")
    card = files[2].read_text(encoding="utf-8")
    assert header(card)["pipeline_tag"] == "image-classification"
    assert "Not evaluated" not in card
    assert "| test, as given | 30 | accuracy | 0.800 | 0.700 to 0.900 |" in card
    assert "### What features has it learned?" in card and "It needs the mouth most" in card
    assert "It cannot say:" in card and card.rstrip().endswith(TO_FILL_IN)


def test_people_stand_beside_out_of_fold_answers_that_are_made_where_there_are_none(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = open_workspace(own)
    raw = manifest.rows(workspace, manifest.find(workspace, "raw"))
    raw = raw[raw["label"] != ""].head(40)
    classes = tuple(sorted(raw["label"].unique()))
    votes = raw[["path"]].assign(**{name: 10 * (raw["label"] == name) for name in classes})
    votes.to_csv(tmp_path / "votes.csv", index=False)
    asked: list[FitOptions] = []

    def out_of_fold(space: object, recipe: str, on: str, options: FitOptions, display: Display) -> OutOfFold:
        asked.append(options)
        sure = {name: (raw["label"] == name).astype(float) for name in classes}
        return OutOfFold(tmp_path, list(classes), raw[["path"]].assign(**sure))

    monkeypatch.setattr(people, "out_of_fold", out_of_fold)
    model = SimpleNamespace(workspace=workspace, classes=classes, seed=3)
    found = people.people(cast("EvaluatedModel", model), tmp_path / "votes.csv", Display(quiet=True))
    assert asked == [FitOptions(seed=3)]
    assert (found["beside"]["value"] == 1.0).all() and found["beside"]["images"].nunique() == 1
