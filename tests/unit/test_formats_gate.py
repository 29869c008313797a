"""The gate: whatever a source names outside itself, by whatever kind of path, is not read; pipes are never opened."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.formats.listing import IngestError
from tests.unit.sources import JPEG, lay, listed, reasons, said, told

SECRET = JPEG + b"secret"
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with one good image, and a secret beside it."""
    lay(tmp_path, {"secret.jpg": SECRET, "secrets/1.jpg": SECRET})
    return lay(tmp_path / "data", ["happy/1.jpg"])


def contents(source: Path | str, **settings: object) -> list[bytes]:
    listing = listed(source, **settings)
    return sorted(Path(url).read_bytes() for url in listing.frame["url"])


PATHS = [
    "../secret.jpg",
    "{tmp}/secret.jpg",
    "happy/../../secret.jpg",
    "link.jpg",
    "folder/1.jpg",
    "file://{tmp}/secret.jpg",
]
PATHS += ["..%2Fsecret.jpg", "..\\secret.jpg", " ../secret.jpg ", "happy/../link.jpg", "pipe.jpg", "/dev/zero"]


def listing_of(kind: str, path: str, root: Path) -> Path:
    """Write a source of one kind that names ``path`` and the good image."""
    both = [path, "happy/1.jpg"]
    if kind == "csv":
        text = "path,label\n" + "".join(f'"{each}",x\n' for each in both)
    elif kind == "jsonl":
        text = "\n".join(json.dumps({"path": each, "label": "x"}) for each in both)
    elif kind == "coco":
        text = json.dumps(
            {
                "images": [{"id": n, "file_name": each} for n, each in enumerate(both)],
                "annotations": [{"image_id": n, "category_id": 1} for n in range(2)],
                "categories": [{"id": 1, "name": "x"}],
            }
        )
    else:
        sample = {"_cls": "Classification", "label": "x"}
        text = json.dumps({"samples": [{"filepath": each, "ground_truth": sample} for each in both]})
        lay(root, {"metadata.json": "{}", "samples.json": text})
        return root
    return lay(root, {f"l.{'json' if kind == 'coco' else kind}": text}) / f"l.{'json' if kind == 'coco' else kind}"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", ["csv", "jsonl", "coco", "fiftyone"])
def test_no_list_or_annotation_leads_outside(root: Path, tmp_path: Path, kind: str, path: str) -> None:
    (root / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (root / "folder").symlink_to(tmp_path / "secrets")
    os.mkfifo(root / "pipe.jpg")
    assert contents(listing_of(kind, path.format(tmp=tmp_path), root)) == [JPEG]


@pytest.mark.parametrize("path", ["../secret.jpg", "{tmp}/secret.jpg", "link.jpg", "folder/1.jpg"])
def test_a_list_may_lead_outside_where_that_is_asked(root: Path, tmp_path: Path, path: str) -> None:
    (root / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (root / "folder").symlink_to(tmp_path / "secrets")
    source = listing_of("csv", path.format(tmp=tmp_path), root)
    assert contents(source, outside=True) == [JPEG, SECRET]
    listing = listed(source, outside=True)
    assert not any(name.startswith(("/", "..")) for name in told(listing))


def test_a_file_of_annotations_that_is_a_link_out_or_a_pipe_is_not_read(root: Path, tmp_path: Path) -> None:
    labels = "path,label\nhappy/1.jpg,stolen\n"
    lay(tmp_path, {"labels.csv": labels, "1_exp.npy": b"x", "samples.json": '{"samples": []}'})
    (root / "labels.csv").symlink_to(tmp_path / "labels.csv")
    os.mkfifo(root / "train.csv")
    os.mkfifo(root / "metadata.csv")
    (root / "annotations").mkdir()
    (root / "annotations" / "a.json").symlink_to(tmp_path / "samples.json")
    os.mkfifo(root / "annotations" / "b.json")
    listing = listed(root)
    assert told(listing) == {"happy/1.jpg": ("", "happy")}
    assert "leads outside" in reasons(listing)["labels.csv"] and reasons(listing)["train.csv"] == "not a regular file"


def test_a_source_that_is_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "l.csv")
    with pytest.raises(IngestError, match="neither a folder nor a regular file"):
        listed(tmp_path / "l.csv")


def test_rows_that_name_files_instead_of_holding_them_give_none_outside(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    features = {"image": {"_type": "Image"}, "label": {"dtype": "string", "_type": "Value"}}
    cells = [{"bytes": None, "path": str(tmp_path / "secret.jpg")}, {"bytes": JPEG, "path": "1.jpg"}]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    made = pa.table({"image": pa.array(cells, kind), "label": ["x", "x"]})
    (tmp_path / "rows").mkdir()
    named = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(made.replace_schema_metadata(named), tmp_path / "rows" / "train.parquet")
    for source in (f"hf:{tmp_path / 'rows'}", tmp_path / "rows", tmp_path / "rows" / "train.parquet"):
        assert contents(source) == [JPEG]
    assert contents(f"hf:{tmp_path / 'rows'}", outside=True) == [JPEG, SECRET]


CARDS: list[tuple[str, Callable[[Path], str]]] = [
    ("absolute", lambda tmp: f"data_files: '{tmp}/secrets/*.jpg'"),
    ("upwards", lambda tmp: "data_files: ['../secrets/*.jpg']"),
    ("upwards in a split", lambda tmp: "data_files: [{split: train, path: 'happy/../../secrets/*'}]"),
    ("folder", lambda tmp: "data_dir: ../secrets"),
    ("home", lambda tmp: "data_files: '~/secrets/*'"),
    ("URL", lambda tmp: f"data_files: 'file://{tmp}/secrets/1.jpg'"),
    ("hub", lambda tmp: "data_files: 'hf://datasets/a/b/1.jpg'"),
]


@pytest.mark.parametrize(("name", "card"), CARDS)
def test_a_card_that_names_data_outside_its_folder_is_refused(
    root: Path, tmp_path: Path, name: str, card: Callable[[Path], str]
) -> None:
    pytest.importorskip("datasets")
    lay(root, {"README.md": f"---\nconfigs:\n- config_name: default\n  {card(tmp_path)}\n---\n"})
    with pytest.raises(IngestError, match="names data outside its folder"):
        listed(f"hf:{root}")


@pytest.mark.parametrize("what", ["link", "pipe"])
@pytest.mark.parametrize("source", ["hf:{root}", "torchvision:ImageFolder:{root}"])
def test_a_folder_that_a_library_walks_by_itself_may_hold_no_way_out(
    root: Path, tmp_path: Path, source: str, what: str
) -> None:
    pytest.importorskip("datasets")
    pytest.importorskip("torchvision")
    if what == "link":
        (root / "sad").symlink_to(tmp_path / "secrets")
    else:
        os.mkfifo(root / "happy" / "2.jpg")
    with pytest.raises(IngestError, match=r"leads outside|not a regular file"):
        listed(source.format(root=root))


def test_a_shard_that_is_a_link_out_is_refused_and_its_members_name_keys_only(root: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "train.tar", "w") as tar:
        for name, data in {"../../x.jpg": JPEG, "../../x.json": b'{"label": "y", "path": "/etc/passwd"}'}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "train.tar").symlink_to(tmp_path / "train.tar")
    with pytest.raises(IngestError, match="leads outside"):
        listed(tmp_path / "shards")
    listing = listed(tmp_path / "shards", outside=True)
    assert told(listing) == {"image": ("train", "y")} and contents(tmp_path / "shards", outside=True) == [JPEG]


def test_every_image_of_a_sample_is_taken_and_names_that_odd_programs_gave(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "train-0.tar", "w") as tar:
        for name in ("a.left.jpg", "a.right.jpg", "a.cls", "b.dat", "b.cls", "c.jpg", "c.jpg", "d.cls"):
            data = JPEG if not name.endswith("cls") else b"happy"
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    listing = listed(tmp_path / "train-0.tar")
    assert len(listing.frame) == 5 and len(listing.problems) == 1
    assert "1 samples hold several images" in said(listing)


COCO = {"images": [{"id": n, "file_name": f"{n}.jpg"} for n in range(4)], "categories": [{"id": 1, "name": "happy"}]}


def coco(tmp_path: Path, **change: object) -> Path:
    annotations = [{"image_id": n, "category_id": 1} for n in range(4)]
    lay(tmp_path / "data", {"annotations/train.json": json.dumps({**COCO, "annotations": annotations, **change})})
    return lay(tmp_path / "data", [f"images/{n}.jpg" for n in range(1, 4)])


def test_coco_is_found_though_its_first_image_is_missing(tmp_path: Path) -> None:
    assert list(told(listed(coco(tmp_path))).values()) == [("train", "happy")] * 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": [*COCO["images"], {"id": 1, "file_name": "9.jpg"}]}, "two image records with the id 1"),
        ({"categories": [*COCO["categories"], {"id": 1, "name": "sad"}]}, "two category records with the id 1"),
        ({"images": [{"id": 1}]}, "cannot be read as COCO"),
        ({"annotations": [{"image_id": 1, "category_id": 5}]}, "cannot be read as COCO"),
    ],
)
def test_coco_that_numbers_two_things_alike_is_one_sentence(
    tmp_path: Path, change: dict[str, object], words: str
) -> None:
    with pytest.raises(IngestError, match=words):
        listed(coco(tmp_path, **change))


def test_two_categories_of_one_name_are_one_class_and_said(tmp_path: Path) -> None:
    listing = listed(coco(tmp_path, categories=[{"id": 1, "name": "happy"}, {"id": 2, "name": "happy"}]))
    assert "several categories named 'happy'" in said(listing)


def bomb(last: str) -> str:
    """YAML that says little and means a text of ten to the power of twelve characters."""
    levels = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12))
    return f"a0: &a0 [x]\n{levels}\n{last}\n"


def test_a_description_that_grows_without_an_end_is_passed_over(root: Path, tmp_path: Path) -> None:
    tree = {"images/1.jpg": JPEG, "labels/1.txt": "0 .5 .5 1 1", "data.yaml": bomb("names: [*a11, ok]\ntrain: *a11")}
    assert told(listed(lay(tmp_path / "yolo", tree))) == {"images/1.jpg": ("", "0")}
    pytest.importorskip("datasets")
    lay(root, {"README.md": f"---\n{bomb('configs: [{data_files: [*a11, ../x]}]')}---\n"})
    with pytest.raises(IngestError, match="names data outside its folder"):
        listed(f"hf:{root}")
