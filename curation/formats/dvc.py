"""Export as a DVC stage: ``dvc repro`` makes the image folder from the version, ``dvc push`` shares it."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

from curation.formats.export_data import ExportData
from curation.formats.export_files import export_folder

OUT = "images"
"""The folder that the stage makes."""


def write(export_data: ExportData, destination: Path) -> int:
    """Write dvc.yaml into a new folder, and return the number of images that its stage will write.

    The stage depends on the version's two files, which hold the hash of every image, and on nothing else.
    """
    with export_folder(export_data, "dvc", destination) as building:
        (building / "dvc.yaml").write_text(_stage(export_data, destination), encoding="utf-8")
        # the stage's output is tracked by DVC, not by Git
        (building / ".gitignore").write_text(f"/{OUT}\n", encoding="utf-8")
    return len(export_data.kept)


def _stage(export_data: ExportData, destination: Path) -> str:
    workspace = Path(os.path.relpath(export_data.workspace.resolve(), destination.resolve())).as_posix()
    since = ["--since", export_data.since.name] if export_data.since else []
    command = ["curate", "export", export_data.version.name, *since, "--format", "folder", "-o", OUT, "-w", workspace]
    versions = [export_data.version, *([export_data.since] if export_data.since else [])]
    needed = [
        f"{workspace}/manifests/{version.name}{ending}" for version in versions for ending in (".json", ".parquet")
    ]
    # a JSON string is a YAML string, and quotes every name safely
    return "\n".join(
        [
            "stages:",
            "  curated:",
            f"    desc: {json.dumps(f'{export_data.title}, version {export_data.version.name}')}",
            f"    cmd: {json.dumps(shlex.join(command), ensure_ascii=False)}",
            "    deps:",
            *(f"      - {json.dumps(path, ensure_ascii=False)}" for path in needed),
            "    outs:",
            f"      - {OUT}",
            "    meta:",
            f"      manifest_hash: {export_data.version.hash}",
            "",
        ]
    )
