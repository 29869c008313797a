"""The peers, each run as a program of its own over one folder of images.

They live in a virtual environment apart (``make peers``): fastdup's pins cannot be met beside ours. A peer that is
not installed there is reported as absent.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

PEERS_PYTHON = Path(".venv-peers/bin/python")

# the peers' calls home are off in every run
ENVIRONMENT = {"SENTRY_OPT_OUT": "1", "FASTDUP_PRODUCTION": "1"}

PROGRAMS: dict[str, tuple[str, str]] = {
    "fastdup": (
        "fastdup",
        "import sys, tempfile, fastdup\n"
        "with tempfile.TemporaryDirectory() as work:\n"
        "    fastdup.create(work_dir=work, input_dir=sys.argv[1]).run(overwrite=True, ccthreshold=0.96)\n",
    ),
    "CleanVision": (
        "cleanvision",
        "import sys\nfrom cleanvision import Imagelab\n"
        "if __name__ == '__main__':\n    Imagelab(data_path=sys.argv[1]).find_issues(n_jobs=2)\n",
    ),
    "imagededup pHash": (
        "imagededup",
        "import sys\nfrom pathlib import Path\nfrom imagededup.methods import PHash\n"
        "if __name__ == '__main__':\n"
        "    hasher = PHash()\n    hashes = {}\n"
        "    for folder in sorted({path.parent for path in Path(sys.argv[1]).rglob('*.jpg')}):\n"
        "        found = hasher.encode_images(str(folder), num_enc_workers=2)\n"
        "        hashes.update({f'{folder}/{name}': value for name, value in found.items()})\n"
        "    hasher.find_duplicates(encoding_map=hashes, max_distance_threshold=8, num_dist_workers=2)\n",
    ),
}


def command(peer: str, folder: Path) -> list[str] | None:
    """Return the command that runs ``peer`` over ``folder``; None where it is not installed."""
    module, program = PROGRAMS[peer]
    if not PEERS_PYTHON.exists():
        return None
    probe = f"import importlib.util, sys; sys.exit(importlib.util.find_spec('{module}') is None)"
    if subprocess.run([str(PEERS_PYTHON), "-c", probe], check=False).returncode:
        return None
    return [str(PEERS_PYTHON), "-c", program, str(folder)]
