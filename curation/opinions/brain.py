"""FiftyOne Brain's near duplicates as a second opinion. It is given our descriptors, so that it needs no network."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from curation.duplicates.candidates import Features
from curation.duplicates.features import PLAIN, descriptors
from curation.opinions.peer import Peer

_ENVIRONMENT = {
    "FIFTYONE_DO_NOT_TRACK": "true",
    "FIFTYONE_DATABASE_VALIDATION": "false",
    "FIFTYONE_SHOW_PROGRESS_BARS": "false",
    # its own database, gone with the folder: never that of the user
    "FIFTYONE_DATABASE_DIR": "{folder}/database",
    "FIFTYONE_DATABASE_URI": "",
    "FIFTYONE_DATABASE_NAME": "second_opinion",
}


def brain(python: str) -> Peer:
    """Return FiftyOne Brain, asked for near duplicates among our descriptors."""
    program = Path(__file__).with_name("program_brain.py")
    return Peer("brain", "fiftyone", program, _prepare, python, _ENVIRONMENT)


def _prepare(features: Features, folder: Path) -> None:
    (folder / "database").mkdir()
    np.save(folder / "embeddings.npy", descriptors(features.thumbnails, PLAIN))
