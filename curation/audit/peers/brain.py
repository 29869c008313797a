"""FiftyOne Brain's near duplicates as a second opinion, from our descriptors, so that no download is needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from curation.audit.peers.peer import Peer
from curation.base.programs import PRIVATE_FIFTYONE
from curation.checks.duplicates.candidates import Features
from curation.checks.duplicates.features import PLAIN, descriptors


def brain(python: str) -> Peer:
    """Return FiftyOne Brain as a peer that finds near duplicates among our descriptors."""
    program = Path(__file__).with_name("program_brain.py")
    return Peer("brain", "fiftyone", program, _prepare, python, PRIVATE_FIFTYONE)


def _prepare(features: Features, folder: Path) -> None:
    (folder / "database").mkdir()
    np.save(folder / "embeddings.npy", descriptors(features.thumbnails, PLAIN).astype(np.float32))
