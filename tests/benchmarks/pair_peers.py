"""What peers say about near copies: each is asked for pairs in a process of its own, whose cost is measured.

fastdup, CleanVision and imagededup live in a virtual environment apart (``make peers``); FiftyOne Brain comes with the
extra ``review``. Every one runs with its defaults; Brain, which would download a network, is given our descriptors.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curation.audit.peers import program_brain
from curation.audit.peers.fastdup import lay_images
from curation.audit.peers.peer import Opinion, read_answer
from curation.base.programs import PRIVATE_FIFTYONE
from curation.checks.duplicates.features import PLAIN, descriptors
from tests.benchmarks.cost import Cost, measured
from tests.benchmarks.peers import ENVIRONMENT, PEERS_PYTHON

_HEAD = "import json, sys\nfrom itertools import combinations\nfrom pathlib import Path\nfolder = Path(sys.argv[1])\n"
_TAIL = "    (folder / 'found.json').write_text(json.dumps({'version': version, 'pairs': rows}))\n"

HASH_BITS = 64

ROUNDING = 1e-6
"""Of the similarities that peers give."""


class Program(NamedTuple):
    """A peer: the module it needs, its program (FOLDER/images in, FOLDER/found.json out), similarities to judge at."""

    module: str
    source: str
    from_similarity: dict[str, float]


PROGRAMS = {
    "fastdup": Program(
        "fastdup",
        _HEAD + "import fastdup\n"
        "if __name__ == '__main__':\n"
        "    made = fastdup.create(work_dir=str(folder / 'work'), input_dir=str(folder / 'images'))\n"
        "    made.run(overwrite=True, ccthreshold=0.96)\n"
        "    found, version = made.similarity(), fastdup.__version__\n"
        "    columns = zip(found['filename_from'], found['filename_to'], found['distance'])\n"
        "    rows = [[int(Path(a).stem), int(Path(b).stem), float(d)] for a, b, d in columns]\n" + _TAIL,
        {"similarity >= 0.96": 0.96, "similarity >= 0.93": 0.93, "similarity >= 0.90": 0.9},
    ),
    "CleanVision": Program(
        "cleanvision",
        _HEAD + "import importlib.metadata\nfrom cleanvision import Imagelab\n"
        "if __name__ == '__main__':\n"
        "    lab = Imagelab(data_path=str(folder / 'images'))\n"
        "    lab.find_issues({'exact_duplicates': {}, 'near_duplicates': {}}, n_jobs=2)\n"
        "    version, rows = importlib.metadata.version('cleanvision'), []\n"
        "    for kind in ('exact_duplicates', 'near_duplicates'):\n"
        "        for members in lab.info[kind]['sets']:\n"
        "            rows += [[int(Path(a).stem), int(Path(b).stem), 1.0] for a, b in combinations(members, 2)]\n"
        + _TAIL,
        {"equal pHash": 0.0},
    ),
    "imagededup": Program(
        "imagededup",
        _HEAD + "import importlib.metadata\nfrom imagededup.methods import PHash\n"
        "if __name__ == '__main__':\n"
        "    hasher = PHash()\n"
        "    hashes = hasher.encode_images(str(folder / 'images'), num_enc_workers=2)\n"
        "    found = hasher.find_duplicates(\n"
        "        encoding_map=hashes, max_distance_threshold=10, scores=True, num_dist_workers=2\n"
        "    )\n"
        "    version = importlib.metadata.version('imagededup')\n"
        "    rows = [[int(Path(a).stem), int(Path(b).stem), 1 - d / 64] for a in found for b, d in found[a]]\n" + _TAIL,
        {f"pHash distance <= {d}": 1 - d / HASH_BITS for d in (4, 8, 10)},
    ),
    "FiftyOne Brain": Program(
        "fiftyone.brain",
        Path(program_brain.__file__).read_text(encoding="utf-8"),
        {"cosine >= 0.99": 0.99, "cosine >= 0.97": 0.97, "cosine >= 0.90": 0.9},
    ),
}


def _interpreter(module: str) -> str | None:
    """Return an interpreter that has ``module``: that of ``make peers``, else this one, else None."""
    probe = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module.split('.')[0]!r}) is None)"
    for python in (str(PEERS_PYTHON), sys.executable):
        if Path(python).exists() and not subprocess.run([python, "-c", probe], check=False).returncode:
            return python
    return None


def ask(peer: str, files: Sequence[str], thumbnails: NDArray[np.uint8]) -> tuple[Cost, Opinion] | str:
    """Ask ``peer`` for pairs among ``files``, whose (N, 48, 48) thumbnails are given, or say why it cannot be asked."""
    program = PROGRAMS[peer]
    python = _interpreter(program.module)
    if python is None:
        return "not installed: make peers"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        lay_images(files, [sha256(Path(file).read_bytes()).hexdigest() for file in files], folder / "images")
        (folder / "database").mkdir()
        np.save(folder / "embeddings.npy", descriptors(thumbnails, PLAIN).astype(np.float32))
        script = folder / "program.py"
        script.write_text(program.source, encoding="utf-8")
        fiftyone = {name: text.format(folder=folder) for name, text in PRIVATE_FIFTYONE.items()}
        fiftyone.pop("FIFTYONE_DATABASE_URI")
        cost, _ = measured([python, str(script), str(folder)], ENVIRONMENT | fiftyone)
        answer = folder / "found.json"
        if not answer.exists():
            return f"failed with status {cost.exit_status}"
        return cost, read_answer(json.loads(answer.read_text(encoding="utf-8")))
