"""``curate check --also``: a peer's answer beside ours, and what is said where there is none."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import Curate, as_json

PEERS_PYTHON = Path(__file__).parents[2] / ".venv-peers" / "bin" / "python"


def test_an_unknown_or_absent_peer_is_one_sentence(curated: Path, curate: Curate) -> None:
    unknown = curate("check", "-w", curated, "--also", "oracle", check=False)
    assert unknown.returncode == 1
    assert "fastdup or brain" in unknown.stderr.strip().splitlines()[-1]
    absent = curate("check", "-w", curated, "--also", "fastdup", "--peer-python", "/no/such/python", check=False)
    assert absent.returncode == 1
    assert "CURATE_PEER_PYTHON" in absent.stderr.strip().splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize(("peer", "module"), [("fastdup", "fastdup"), ("brain", "fiftyone")])
def test_a_peers_pairs_are_reported_beside_ours_and_change_no_issue(
    peer: str, module: str, curated: Path, curate: Curate, tmp_path: Path
) -> None:
    python = PEERS_PYTHON if PEERS_PYTHON.exists() else Path(sys.executable)
    probe = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    if subprocess.run([python, "-c", probe], check=False).returncode:
        pytest.skip(f"{peer} is not installed: make peers")
    own = Path(shutil.copytree(curated, tmp_path / "own"))
    before = (own / "issues.parquet").read_bytes()
    answer = as_json(curate("check", "near_duplicate", "-w", own, "--also", peer, "--peer-python", python, "--json"))
    (counts,) = answer["opinions"]
    pairs = pd.read_parquet(own / "opinions.parquet")
    assert counts["peer"] == peer
    assert counts == json.loads((own / "opinions.json").read_text(encoding="utf-8"))[0]
    ours = pd.read_parquet(own / "pairs.parquet")
    assert counts["both"] + counts["ours_only"] == (ours["relation"] == "near_duplicate").sum()
    assert counts["both"] > 0
    assert len(pairs) == sum(value for name, value in counts.items() if name not in {"peer", "version"})
    assert set(pairs["path_a"]) <= set(pd.read_parquet(own / "images.parquet")["path"])
    found = pd.read_parquet(own / "opinion_issues.parquet")
    assert {peer} == set(found["peer"]) and "near_duplicate" in set(found["check"])
    curate("report", "-w", own)
    page = (own / "reports" / "cleaning.html").read_text(encoding="utf-8")
    assert 'id="opinions-section"' in page and f">{peer} " in page
    assert (own / "issues.parquet").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("peer", "check"), [("cleanvision", "dark"), ("cleanlab", "mislabelled"), ("fastdup", "outlier")]
)
def test_what_a_peer_finds_in_images_stands_beside_ours_in_the_report(
    peer: str, check: str, curated: Path, curate: Curate, tmp_path: Path
) -> None:
    pytest.importorskip(peer)
    own = Path(shutil.copytree(curated, tmp_path / "own"))
    before = (own / "issues.parquet").read_bytes()
    told = as_json(curate("check", "-w", own, "--also", peer, "--peer-python", sys.executable, "--json"))
    found = pd.read_parquet(own / "opinion_issues.parquet")
    assert set(found["peer"]) == {peer}
    side = {row["check"]: row for row in told["side_by_side"]}
    flagged = found[found["is_issue"] & (found["check"] == check)]
    assert side[check]["both"] + side[check]["peer_only"] == flagged["path"].nunique()
    listed = as_json(curate("issues", "--peer", peer, "--check", check, "-w", own, "--json"))
    assert {row["path"] for row in listed} == set(flagged["path"])
    curate("report", "-w", own)
    page = (own / "reports" / "cleaning.html").read_text(encoding="utf-8")
    assert 'id="opinions-section"' in page and f">{peer} " in page
    assert (own / "issues.parquet").read_bytes() == before
    galleries = list((own / "reports" / "peers").glob("fastdup/*.html"))
    assert bool(galleries) == (peer == "fastdup")
    assert all(f'href="peers/fastdup/{gallery.name}"' in page for gallery in galleries)
