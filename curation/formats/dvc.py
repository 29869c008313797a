"""Export as a DVC stage: ``dvc repro`` makes the image folder from the version, ``dvc push`` shares it."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

from curation.formats.export_data import Handover
from curation.formats.export_files import new_folder, write_provenance

OUT = "images"
"""The folder that the stage makes."""


def write(handover: Handover, destination: Path) -> int:
    """Write dvc.yaml into a new folder, and return how many images its stage will write.

    The stage depends on the version's two files, which hold the hash of every image, and on nothing else.
    """
    with new_folder(destination) as building:
        (building / "dvc.yaml").write_text(_stage(handover, destination), encoding="utf-8")
        # what the stage makes is DVC's to keep, not Git's
        (building / ".gitignore").write_text(f"/{OUT}\n", encoding="utf-8")
        write_provenance(handover, "dvc", building)
    return len(handover.kept)


def _stage(handover: Handover, destination: Path) -> str:
    space = Path(os.path.relpath(handover.space.resolve(), destination.resolve())).as_posix()
    since = ["--since", handover.since.name] if handover.since else []
    command = ["curate", "export", handover.version.name, *since, "--format", "folder", "-o", OUT, "-w", space]
    versions = [handover.version, *([handover.since] if handover.since else [])]
    needed = [f"{space}/manifests/{version.name}{ending}" for version in versions for ending in (".json", ".parquet")]
    # a JSON string is a YAML string, and quotes every name safely
    return "\n".join(
        [
            "stages:",
            "  curated:",
            f"    desc: {json.dumps(f'{handover.title}, version {handover.version.name}')}",
            f"    cmd: {json.dumps(shlex.join(command), ensure_ascii=False)}",
            "    deps:",
            *(f"      - {json.dumps(path, ensure_ascii=False)}" for path in needed),
            "    outs:",
            f"      - {OUT}",
            "    meta:",
            f"      manifest_hash: {handover.version.hash}",
            "",
        ]
    )
