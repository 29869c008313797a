"""Peers that judge single images: their findings as issue rows under their own name, compared with ours.

They are kept apart from the issues table: whether an image is flagged, and so every decision, must not depend on which
peers happen to be installed.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curation.audit.peers.fastdup import QUIET, lay_images
from curation.audit.peers.peer import answer_of, require
from curation.base import files, plugins, tables
from curation.base.workspace import Workspace, read_opinions
from curation.checks import registry
from curation.checks.duplicates.candidates import Features
from curation.checks.duplicates.features import PLAIN, descriptors
from curation.checks.duplicates.groups import components

_HERE = Path(__file__).parent

PAIR_PEERS = ("fastdup", "brain")
"""Peers that report pairs of near copies, which we verify."""

_OFFLINE: Mapping[str, str] = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


@dataclass(frozen=True)
class Judge:
    """A peer that judges images in a process of its own.

    name        -- as in ``--also``
    module      -- what must be importable for it
    checks      -- its name of a finding -> our check
    program     -- the script that asks it: given a folder, it adds ``found.json`` (see ``read_findings``)
    galleries   -- whether it leaves HTML pages of its own in FOLDER/galleries
    environment -- variables that its program gets
    """

    name: str
    module: str
    checks: Mapping[str, str]
    program: Path
    galleries: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


JUDGES: dict[str, Judge] = {
    "cleanvision": Judge(
        "cleanvision",
        "cleanvision",
        {
            "dark": "dark",
            "light": "bright",
            "low_information": "blank",
            "blurry": "blurry",
            "odd_size": "odd_size",
            "odd_aspect_ratio": "odd_size",
            "exact_duplicates": "exact_duplicate",
            "near_duplicates": "near_duplicate",
        },
        _HERE / "program_cleanvision_images.py",
        environment=_OFFLINE,
    ),
    "cleanlab": Judge(
        "cleanlab",
        "cleanlab.datalab",
        {"label": "mislabelled", "outlier": "outlier", "near_duplicate": "near_duplicate"},
        _HERE / "program_cleanlab_images.py",
        environment=_OFFLINE,
    ),
    "fastdup": Judge(
        "fastdup",
        "fastdup",
        {"outlier": "outlier"},
        _HERE / "program_fastdup_images.py",
        galleries=True,
        environment=QUIET,
    ),
}
"""The toolkit's own peers that judge images, by name."""


def judges() -> dict[str, Judge]:
    """Return all peers that judge images, by name: other packages add entry points of ``face_curation.peers``.

    Raises:
        PluginError: another package's peer cannot be loaded, or is not a peer.

    """
    found = dict(JUDGES)
    for name, plugin in plugins.installed("peers", {*JUDGES, *PAIR_PEERS}).items():
        judge = plugin.load()
        if not isinstance(judge, Judge) or judge.name != name or not set(judge.checks.values()) <= {*registry.names()}:
            raise plugin.error("must be a curation.audit.peers.judges.Judge of that name whose checks exist")
        found[name] = judge
    return found


@dataclass(frozen=True)
class Given:
    """Input of the judges, one row per image.

    paths, urls, digests (SHA-256), labels, features, and probabilities ((n, classes) out of fold, columns in
    the sorted order of the labels) or None.
    """

    paths: Sequence[str]
    urls: Sequence[str]
    digests: Sequence[str]
    labels: Sequence[str]
    features: Features
    probabilities: np.ndarray[Any, np.dtype[np.float64]] | None = None


def ask(judge: Judge, given: Given, python: str, pages: Path) -> pd.DataFrame:
    """Run one judge and return its findings.

    Args:
        judge: the peer
        given: the images
        python: the interpreter that has it
        pages: folder for the HTML pages that it makes itself

    Returns:
        peer, version, path, check (our name), score (0 worst .. 1), is_issue, group, evidence (JSON: its own name of
        the finding), one row per path and check.

    Raises:
        PeerError: it is not installed, or failed.

    """
    require(judge.name, judge.module, python)
    with tempfile.TemporaryDirectory(prefix=f"curate-{judge.name}-") as scratch:
        folder = Path(scratch)
        lay_images(given.urls, given.digests, folder / "images")
        np.save(folder / "embeddings.npy", descriptors(given.features.thumbnails, PLAIN).astype(np.float32))
        (folder / "labels.json").write_text(json.dumps(list(given.labels)), encoding="utf-8")
        if given.probabilities is not None:
            np.save(folder / "probabilities.npy", given.probabilities)
        answer = answer_of(judge.name, judge.program, python, folder, judge.environment)
        for page in sorted((folder / "galleries").glob("**/*.html")) if judge.galleries else ():
            files.write_bytes(pages / judge.name / page.name, page.read_bytes())
    return read_findings(answer, judge, given.paths)


def read_findings(answer: Mapping[str, Any], judge: Judge, paths: Sequence[str]) -> pd.DataFrame:
    """Return a program's answer as rows; see ``ask``.

    Args:
        answer: {"version": text, "issues": [[row, finding, score, is_issue, group], ...]}
        judge: who answered; findings that it has no check for are left out
        paths: the path of each row

    """
    frame = pd.DataFrame(answer["issues"], columns=["row", "finding", "score", "is_issue", "group"])
    frame = frame[frame["finding"].isin(list(judge.checks))]
    named = frame.assign(
        peer=judge.name,
        version=str(answer["version"]),
        path=[paths[int(row)] for row in frame["row"]],
        check=frame["finding"].map(judge.checks),
        score=frame["score"].astype("float64").clip(0.0, 1.0),
        is_issue=frame["is_issue"].astype(bool),
        evidence=[json.dumps({"finding": finding}) for finding in frame["finding"]],
    )
    worst = named.sort_values(
        ["check", "path", "is_issue", "score"], ascending=[True, True, False, True], kind="stable"
    )
    columns = ["peer", "version", *tables.columns("issues")]
    return worst.drop_duplicates(["path", "check"])[columns].reset_index(drop=True)


def from_pairs(pairs: pd.DataFrame, versions: Mapping[str, str]) -> pd.DataFrame:
    """Return the near copies found by pair-finding peers as issue rows.

    Args:
        pairs: ``Opinions.pairs``
        versions: peer -> its version

    """
    named = pairs[pairs["similarity"].notna()]
    parts = []
    for peer, of_peer in named.groupby("peer", sort=False):
        ends = pd.concat([of_peer["path_a"], of_peer["path_b"]], ignore_index=True)
        similarity = pd.concat([of_peer["similarity"], of_peer["similarity"]], ignore_index=True)
        highest = similarity.groupby(ends).max().sort_index()
        places = [pd.Index(highest.index).get_indexer(of_peer[name]) for name in ("path_a", "path_b")]
        numbers = components(len(highest), np.stack(places, axis=1))
        parts.append(
            pd.DataFrame(
                {
                    "peer": peer,
                    "version": versions[str(peer)],
                    "path": highest.index.astype("str"),
                    "check": "near_duplicate",
                    "score": (1.0 - highest.to_numpy()).clip(0.0, 1.0),
                    "is_issue": True,
                    "group": [f"{peer}:{number}" for number in numbers],
                    "evidence": [json.dumps({"similarity": round(float(value), 4)}) for value in highest],
                }
            )
        )
    columns = ["peer", "version", *tables.columns("issues")]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def store(workspace: Workspace, found: pd.DataFrame) -> None:
    """Store findings in the workspace, replacing those of the same peers and checks."""
    before = read_opinions(workspace)
    if before is not None:
        asked = set(zip(found["peer"], found["check"], strict=True))
        again = [key in asked for key in zip(before["peer"], before["check"], strict=True)]
        found = pd.concat([before[~np.array(again, dtype=bool)], found], ignore_index=True)
    found = found.sort_values(["check", "peer", "score", "path"], ignore_index=True)
    files.write_table(workspace.opinion_issues, found)
