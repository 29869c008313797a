"""Every format is read back by its own library and compared with the manifest, row by row and byte by byte."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from tests import programs
from tests.conftest import CURATE, Curate
from tests.workflow.exports import COLUMNS, kept_rows, require_same
from tests.workflow.test_export import folder_records

OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "DVC_NO_ANALYTICS": "1"}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the libraries' caches in the test's folder, and off the network."""
    for name, text in (OFFLINE | {"HF_HOME": str(tmp_path / "hf")}).items():
        monkeypatch.setenv(name, text)


def test_hugging_face_reads_features_splits_and_rows(curated: Path, curate: Curate, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    curate("export", "cleaned", "--format", "huggingface", "-o", tmp_path / "out", "-w", curated)
    read = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    expected = kept_rows(curated)
    assert {name: len(split) for name, split in read.items()} == expected["split"].value_counts().to_dict()
    records: list[dict[str, Any]] = []
    for split in read.values():
        names = split.features["label"].names
        assert names == sorted(set(expected["label"]))
        for row in split.cast_column("image", datasets.Image(decode=False)):
            records.append(row | {"data": row["image"]["bytes"], "label": names[row["label"]]})
    require_same(records, expected)


def test_hugging_faces_imagefolder_reads_a_folder(curated: Path, curate: Curate, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    curate("export", "cleaned", "--format", "folder", "-o", tmp_path / "out", "-w", curated)
    read = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    records = []
    for split in read.values():
        for row in split.cast_column("image", datasets.Image(decode=False)):
            records.append(row | {"data": Path(row["image"]["path"]).read_bytes()})
    require_same(records, kept_rows(curated))


def test_pycocotools_reads_coco(curated: Path, curate: Curate, tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    curate("export", "cleaned", "--format", "coco", "-o", tmp_path / "out", "-w", curated)
    records = []
    for file in sorted((tmp_path / "out" / "annotations").glob("*.json")):
        read = coco.COCO(str(file))
        for image in read.loadImgs(read.getImgIds()):
            (annotation,) = read.loadAnns(read.getAnnIds(image["id"]))
            (category,) = read.loadCats([annotation["category_id"]])
            data = (tmp_path / "out" / image["file_name"]).read_bytes()
            assert annotation["bbox"][2:] == list(Image.open(io.BytesIO(data)).size)
            records.append(image | {"label": category["name"], "data": data})
    require_same(records, kept_rows(curated))


def test_webdataset_reads_shards_and_the_same_version_gives_the_same_bytes(
    curated: Path, curate: Curate, tmp_path: Path
) -> None:
    webdataset = pytest.importorskip("webdataset")
    for name in ("out", "again"):
        curate("export", "cleaned", "--format", "webdataset", "-o", tmp_path / name, "-w", curated)
    shards = sorted((tmp_path / "out").glob("*.tar"))
    assert [tar.read_bytes() for tar in shards] == [(tmp_path / "again" / tar.name).read_bytes() for tar in shards]
    classes = json.loads((tmp_path / "out" / "classes.json").read_text(encoding="utf-8"))
    records = []
    for sample in webdataset.WebDataset([str(tar) for tar in shards], shardshuffle=False):
        row = json.loads(sample["json"])
        (data,) = (sample[ending] for ending in ("jpg", "png") if ending in sample)
        assert classes[int(sample["cls"])] == row["label"]
        records.append(row | {"data": data})
    require_same(records, kept_rows(curated))


def test_mlcroissant_reads_croissant(curated: Path, curate: Curate, tmp_path: Path) -> None:
    mlc = pytest.importorskip("mlcroissant")
    curate("export", "cleaned", "--format", "croissant", "-o", tmp_path / "out", "-w", curated)
    expected = kept_rows(curated)
    classes = sorted(set(expected["label"]))
    read = mlc.Dataset(jsonld=str(tmp_path / "out" / "croissant.json"))
    rows, pictures = [], {}
    for record in read.records("images"):
        row = {name.removeprefix("images/"): value for name, value in record.items()}
        texts = {name: value.decode() if isinstance(value, bytes) else value for name, value in row.items()}
        rows.append(texts | {"label": classes[int(row["label"])]})
        pictures[texts["path"]] = row["image"]
    table = pd.DataFrame(rows).sort_values("path", ignore_index=True)[COLUMNS]
    pd.testing.assert_frame_equal(table, expected[COLUMNS], check_dtype=False)
    listing = pd.read_parquet(curated / "listing.parquet").set_index("path")["url"]
    for path, picture in pictures.items():
        assert picture.tobytes() == Image.open(listing[path]).tobytes()


@pytest.mark.slow
def test_dvc_repeats_the_stage_and_finds_it_up_to_date(curated: Path, curate: Curate, tmp_path: Path) -> None:
    pytest.importorskip("dvc")
    curate("export", "cleaned", "--format", "dvc", "-o", tmp_path / "stage", "-w", curated)
    bins = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{bins}{os.pathsep}{os.environ['PATH']}"}

    def dvc(*arguments: str) -> str:
        command = [sys.executable, "-m", "dvc", *arguments]
        done = subprocess.run(
            command, cwd=tmp_path / "stage", env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    dvc("init", "--no-scm", "--quiet")
    dvc("repro", "--quiet")
    require_same(folder_records(tmp_path / "stage" / "images"), kept_rows(curated))
    assert "up to date" in dvc("status")


@pytest.mark.slow
def test_fiftyone_reads_its_dataset(curated: Path, mongodb: str, tmp_path: Path) -> None:
    # at once: each export has a database of its own, or one would get the other's rows
    running = [
        subprocess.Popen(
            [str(CURATE), "export", name, "--format", "fiftyone", "-o", tmp_path / name, "-w", curated],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for name in ("cleaned", "raw")
    ]
    assert [process.wait(300) for process in running] == [0, 0]
    for name in ("cleaned", "raw"):
        told = json.loads((tmp_path / name / "samples.json").read_text(encoding="utf-8"))["samples"]
        assert sorted(sample["source_path"] for sample in told) == kept_rows(curated, name)["path"].tolist()
    arguments = (tmp_path / "cleaned", tmp_path / "rows.json")
    programs.run("read_with_fiftyone", *arguments, environment={"FIFTYONE_DATABASE_URI": mongodb})
    rows = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    require_same([row | {"data": Path(row["file"]).read_bytes()} for row in rows], kept_rows(curated))


def test_torch_reads_a_version_one_import_away(curated: Path) -> None:
    torch = pytest.importorskip("torch")
    from torchvision.transforms.functional import pil_to_tensor

    from curation.formats.torch import CuratedFaces

    expected = kept_rows(curated)
    train = expected[expected["split"] == "train"].reset_index(drop=True)
    faces = CuratedFaces(curated, split="train", transform=pil_to_tensor)
    assert faces.paths == train["path"].tolist()
    assert [faces.classes[target] for target in faces.targets] == train["label"].tolist()
    listing = pd.read_parquet(curated / "listing.parquet").set_index("path")["url"]
    for index, path in enumerate(faces.paths):
        picture, target = faces[index]
        assert torch.equal(picture, pil_to_tensor(Image.open(listing[path]).convert("L")))
        assert target == faces.targets[index]
    loader = torch.utils.data.DataLoader(CuratedFaces(curated, transform=lambda _: 0), batch_size=16)
    assert sum(len(batch[1]) for batch in loader) == len(expected)
