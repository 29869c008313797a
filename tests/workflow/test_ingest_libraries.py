"""Data sets that other libraries wrote are read with the labels, splits and bytes that those libraries gave them."""

from __future__ import annotations

import importlib.util
import io
import json
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from curation.base.errors import CurationError
from curation.formats.listing import IngestError, Listing
from curation.formats.source import read_source
from tests import programs
from tests.conftest import Curate
from tests.workflow.exports import kept_rows

LABELS = ("happy", "sad", "happy", "neutral")
SPLITS = ("train", "train", "validation", "test")


def picture(number: int, form: str = "PNG") -> bytes:
    """A small picture like no other."""
    buffer = io.BytesIO()
    Image.new("L", (8, 8), 40 * number).save(buffer, form)
    return buffer.getvalue()


def told(listing: Listing) -> list[tuple[str, str, bytes]]:
    """Split, label and bytes of every image, in any order."""
    rows = listing.frame.itertuples(index=False)
    return sorted((row.split, row.label, Path(row.url).read_bytes()) for row in rows)


EXPECTED = sorted((split, label, picture(n)) for n, (split, label) in enumerate(zip(SPLITS, LABELS, strict=True)))


def files(folder: Path) -> list[Path]:
    """The pictures as plain files, which say nothing of label and split."""
    folder.mkdir(parents=True)
    paths = [folder / f"{n}.png" for n in range(len(LABELS))]
    for number, path in enumerate(paths):
        path.write_bytes(picture(number))
    return paths


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.parametrize("in_files", [True, False])
def test_a_hugging_face_dataset_that_was_saved(in_files: bool, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=sorted(set(LABELS)))})
    paths = files(tmp_path / "files")
    parts = {}
    for split in dict.fromkeys(SPLITS):
        chosen = [n for n, name in enumerate(SPLITS) if name == split]
        pictures = [str(paths[n]) if in_files else {"bytes": picture(n), "path": None} for n in chosen]
        columns = {"image": pictures, "label": [LABELS[n] for n in chosen]}
        parts[split] = datasets.Dataset.from_dict(columns, features=features)
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "saved"))
    assert told(read_source(str(tmp_path / "saved"), tmp_path / "cache")) == EXPECTED
    parts["train"].save_to_disk(str(tmp_path / "alone"))
    assert told(read_source(str(tmp_path / "alone"), tmp_path / "cache")) == [
        ("", label, data) for split, label, data in EXPECTED if split == "train"
    ]


def test_an_imagefolder_whose_labels_are_in_its_metadata(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    for split in dict.fromkeys(SPLITS):
        (tmp_path / "set" / split).mkdir(parents=True)
        lines = []
        for number, (name, label) in enumerate(zip(SPLITS, LABELS, strict=True)):
            if name == split:
                (tmp_path / "set" / split / f"{number}.png").write_bytes(picture(number))
                lines.append(json.dumps({"file_name": f"{number}.png", "emotion": label}))
        (tmp_path / "set" / split / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert told(read_source(f"hf:{tmp_path / 'set'}", tmp_path / "cache")) == EXPECTED


@pytest.mark.parametrize("source", ["hf:nobody/no-such-faces", "kaggle:nobody/no-such-faces"])
def test_a_name_on_a_hub_without_a_network_is_one_sentence(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datasets")
    pytest.importorskip("kagglehub")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kaggle"))
    with pytest.raises(IngestError, match="network") as caught:
        read_source(source, tmp_path / "cache")
    assert str(caught.value).startswith(source) and "\n" not in str(caught.value)


def test_a_name_on_a_hub_is_asked_of_its_own_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test has a network: what the libraries would have downloaded is laid where they say."""
    datasets, kagglehub = pytest.importorskip("datasets"), pytest.importorskip("kagglehub")
    asked = []

    def on_the_hub(owner: str, config: str | None) -> object:
        asked.append((owner, config))
        features = datasets.Features({"jpg": datasets.Image(), "cls": datasets.Value("string")})
        chosen = {"jpg": [{"bytes": picture(0), "path": None}], "cls": [LABELS[0]]}
        return datasets.DatasetDict({"train": datasets.Dataset.from_dict(chosen, features=features)})

    def on_kaggle(name: str) -> str:
        asked.append(name)
        (tmp_path / "kaggle" / "train" / LABELS[0]).mkdir(parents=True)
        (tmp_path / "kaggle" / "train" / LABELS[0] / "0.png").write_bytes(picture(0))
        return str(tmp_path / "kaggle")

    monkeypatch.setattr(datasets, "load_dataset", on_the_hub)
    monkeypatch.setattr(kagglehub, "dataset_download", on_kaggle)
    for source in ("hf:owner/faces:small", "kaggle:owner/faces"):
        assert told(read_source(source, tmp_path / "cache")) == [("train", LABELS[0], picture(0))]
    assert asked == [("owner/faces", "small"), "owner/faces"]


def test_a_library_that_is_absent_is_one_sentence_that_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(CurationError, match=r"pip install 'face-curation\[exchange\]'"):
        read_source("hf:nobody/no-such-faces", tmp_path / "cache")


def shard(path: Path, split: str, sidecar: str) -> None:
    with tarfile.open(path, "w") as tar:
        for number, (name, label) in enumerate(zip(SPLITS, LABELS, strict=True)):
            if name == split:
                text = json.dumps({"label": label}) if sidecar == "json" else label
                if sidecar == "cls":
                    text = str(sorted(set(LABELS)).index(label))
                for ending, data in {"png": picture(number), sidecar: text.encode()}.items():
                    info = tarfile.TarInfo(f"some/{number:05d}.{ending}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize("sidecar", ["json", "cls", "txt"])
def test_webdataset_shards(sidecar: str, tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "classes.json").write_text(json.dumps(sorted(set(LABELS))))
    for split in dict.fromkeys(SPLITS):
        shard(tmp_path / "shards" / f"{split}-000000.tar", split, sidecar)
    assert told(read_source(str(tmp_path / "shards"), tmp_path / "cache")) == EXPECTED
    alone = read_source(str(tmp_path / "shards" / "train-000000.tar"), tmp_path / "cache")
    assert told(alone) == [row for row in EXPECTED if row[0] == "train"]


def test_a_shard_that_is_cut_off_is_one_sentence(tmp_path: Path) -> None:
    shard(tmp_path / "train-0.tar", "train", "cls")
    whole = (tmp_path / "train-0.tar").read_bytes()
    (tmp_path / "train-0.tar").write_bytes(whole[:2600])
    with pytest.raises(IngestError, match="damaged"):
        read_source(str(tmp_path / "train-0.tar"), tmp_path / "cache")


@pytest.mark.parametrize("give_folder", [True, False])
def test_coco_annotations(give_folder: bool, tmp_path: Path) -> None:
    files(tmp_path / "set" / "images")
    categories = [{"id": 7 + n, "name": name} for n, name in enumerate(sorted(set(LABELS)))]
    number_of = {each["name"]: each["id"] for each in categories}
    (tmp_path / "set" / "annotations").mkdir()
    for split in dict.fromkeys(SPLITS):
        chosen = [n for n, name in enumerate(SPLITS) if name == split]
        record = {
            "images": [{"id": n, "file_name": f"{n}.png", "split": split} for n in chosen],
            "annotations": [{"id": n, "image_id": n, "category_id": number_of[LABELS[n]]} for n in chosen],
            "categories": categories,
        }
        (tmp_path / "set" / "annotations" / f"instances_{split}.json").write_text(json.dumps(record))
    if give_folder:
        assert told(read_source(str(tmp_path / "set"), tmp_path / "cache")) == EXPECTED
        return
    (tmp_path / "set" / "annotations" / "instances_train.json").rename(tmp_path / "set" / "some.json")
    alone = read_source(str(tmp_path / "set" / "some.json"), tmp_path / "cache")
    assert told(alone) == [row for row in EXPECTED if row[0] == "train"]


def test_an_image_whose_annotations_disagree_has_no_label(tmp_path: Path) -> None:
    files(tmp_path / "images")
    record = {
        "images": [{"id": 1, "file_name": "0.png"}],
        "annotations": [{"id": n, "image_id": 1, "category_id": n} for n in (1, 2)],
        "categories": [{"id": 1, "name": "happy"}, {"id": 2, "name": "sad"}],
    }
    (tmp_path / "train.json").write_text(json.dumps(record))
    assert read_source(str(tmp_path / "train.json"), tmp_path / "cache").frame["label"].tolist() == [""]


def test_torchvisions_image_folder_and_what_it_does_not_know(tmp_path: Path) -> None:
    pytest.importorskip("torchvision")
    for number, (split, label) in enumerate(zip(SPLITS, LABELS, strict=True)):
        if split == "train":
            (tmp_path / "set" / label).mkdir(parents=True)
            (tmp_path / "set" / label / f"{number}.png").write_bytes(picture(number))
    listing = read_source(f"torchvision:ImageFolder:{tmp_path / 'set'}", tmp_path / "cache")
    assert told(listing) == [("", label, data) for split, label, data in EXPECTED if split == "train"]
    with pytest.raises(IngestError, match="CLASS as in torchvision"):
        read_source("torchvision:NoSuchFaces:data", tmp_path / "cache")
    with pytest.raises(IngestError, match="cannot be opened"):
        read_source(f"torchvision:MNIST:{tmp_path / 'nothing'}", tmp_path / "cache")


def test_torchvisions_mnist_is_laid_down_pixel_by_pixel(tmp_path: Path) -> None:
    pytest.importorskip("torchvision")
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    pixels = bytes(range(256)) * 7
    for name, count in (("train", 2), ("t10k", 1)):
        head = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in (count, 28, 28))
        (raw / f"{name}-images-idx3-ubyte").write_bytes(head + pixels[: 784 * count])
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1]) + count.to_bytes(4, "big") + bytes(count))
    listing = read_source(f"torchvision:MNIST:{tmp_path}", tmp_path / "cache")
    assert listing.frame["split"].value_counts().to_dict() == {"train": 2, "test": 1}
    assert set(listing.frame["label"]) == {"0 - zero"}
    first = listing.frame.set_index("path").loc["train/00000000.png", "url"]
    assert Image.open(first).tobytes() == pixels[:784]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An S3 server on loopback with one bucket; credentials are the environment's, as for a real one."""
    server = pytest.importorskip("moto.server")
    file_systems = pytest.importorskip("s3fs").S3FileSystem
    import boto3

    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    for name, text in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }.items():
        monkeypatch.setenv(name, text)
    client = boto3.client("s3")
    client.create_bucket(Bucket="faces")
    for number, (split, label) in enumerate(zip(SPLITS, LABELS, strict=True)):
        client.put_object(Bucket="faces", Key=f"set/{split}/{label}/{number}.png", Body=picture(number))
    file_systems.clear_instance_cache()  # one that an earlier test made has that test's address and credentials
    yield "s3://faces/set"
    file_systems.clear_instance_cache()
    running.stop()


def test_a_bucket_on_s3_is_listed_measured_and_exported(bucket: str, curate: Curate, tmp_path: Path) -> None:
    listing = read_source(bucket, tmp_path / "cache")
    rows = listing.frame.itertuples(index=False)
    assert sorted((row.split, row.label) for row in rows) == [row[:2] for row in EXPECTED]
    curate("run", bucket, "-w", tmp_path / "space", "--workers", 1)
    curate("export", "raw", "--format", "folder", "-o", tmp_path / "out", "-w", tmp_path / "space")
    exported = sorted(path.read_bytes() for path in (tmp_path / "out").rglob("*.png"))
    assert exported == sorted(data for *_, data in EXPECTED)


@pytest.mark.slow
def test_processes_of_ray_read_a_bucket_themselves_with_the_same_result(
    bucket: str, curate: Curate, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    curate("run", bucket, "-w", tmp_path / "here", "--workers", 1)
    curate("run", bucket, "-w", tmp_path / "ray", "--engine", "ray", "--workers", 2)
    here, there = ((tmp_path / workspace / "issues.parquet").read_bytes() for workspace in ("here", "ray"))
    assert here == there


@pytest.mark.slow
def test_a_fiftyone_dataset_by_its_name(mongodb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = files(tmp_path / "files")
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", mongodb)
    monkeypatch.setenv("FIFTYONE_DATABASE_VALIDATION", "false")
    monkeypatch.setenv("FIFTYONE_DO_NOT_TRACK", "true")
    given = [[str(path), split, label] for path, split, label in zip(paths, SPLITS, LABELS, strict=True)]
    programs.run("make_fiftyone", "mine", json.dumps(given))
    assert told(read_source("fiftyone:mine:emotion", tmp_path / "cache")) == EXPECTED


@pytest.mark.parametrize("form", ["huggingface", "coco", "webdataset", "croissant", "folder"])
def test_what_was_exported_is_a_source_again(form: str, curated: Path, curate: Curate, tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    curate("export", "cleaned", "--format", form, "-o", tmp_path / "out", "-w", curated)
    source = f"hf:{tmp_path / 'out'}" if form in ("huggingface", "croissant") else str(tmp_path / "out")
    listing = read_source(source, tmp_path / "cache")
    expected = kept_rows(curated)
    again = sorted(zip(listing.frame["split"], listing.frame["label"], strict=True))
    assert again == sorted(zip(expected["split"], expected["label"], strict=True))


@pytest.mark.slow
def test_a_fiftyone_dataset_on_disk(curated: Path, curate: Curate, tmp_path: Path) -> None:
    if importlib.util.find_spec("fiftyone") is None:
        pytest.skip("FiftyOne is not installed")
    curate("export", "cleaned", "--format", "fiftyone", "-o", tmp_path / "out", "-w", curated)
    listing = read_source(str(tmp_path / "out"), tmp_path / "cache")
    expected = kept_rows(curated)
    again = sorted(zip(listing.frame["split"], listing.frame["label"], strict=True))
    assert again == sorted(zip(expected["split"], expected["label"], strict=True))
