"""The audit finds what was planted, says how sure it is, and refits the threshold; reviews become estimates."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import Curate, as_json


@pytest.fixture(scope="module")
def own(curated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the curated workspace that the tests of this file may change."""
    return Path(shutil.copytree(curated, tmp_path_factory.mktemp("audit") / "own"))


@pytest.mark.slow
def test_planted_defects_are_found_and_a_calibration_is_kept_in_the_lineage(own: Path, curate: Curate) -> None:
    found = as_json(curate("audit", "--images", 120, "--per-kind", 10, "--calibrate", "-w", own, "--json"))
    by_kind = {row["kind"]: row for row in found["kinds"]}
    assert len(by_kind) >= 18 + 6
    for kind in ("jpeg", "mirror", "crop_5", "shift_2", "rotate", "one tone", "too dark", "no face", "flipped label"):
        assert by_kind[kind]["recall"] >= 0.8, by_kind[kind]
        assert by_kind[kind]["low"] <= by_kind[kind]["recall"] <= by_kind[kind]["high"]
    again = as_json(curate("audit", "--images", 120, "--per-kind", 10, "-w", own, "--json"))
    assert [row["planted"] for row in again["kinds"]] == [row["planted"] for row in found["kinds"]]
    curate("check", "-w", own)  # a calibration counts from the next check on
    curate("apply", "--policy", "deck", "-w", own)
    lineage = as_json(curate("show", "cleaned", "-w", own, "--json"))["lineage"]
    kept = json.loads((own / "calibration.json").read_text())
    assert lineage["calibration"] == kept
    assert lineage["settings"]["duplicates"]["min_probability"] == kept["settings"]["duplicates"]["min_probability"]


def test_a_filled_in_sample_becomes_an_estimate(own: Path, curate: Curate, tmp_path: Path) -> None:
    sheet = tmp_path / "review.csv"
    curate("audit", "--sample", 8, "--check", "no_face", "-o", sheet, "-w", own)
    drawn = pd.read_csv(sheet, dtype=str, keep_default_na=False)
    assert drawn["flagged"].value_counts().to_dict() == {"y": 8, "n": 8}
    drawn.assign(bad=drawn["flagged"]).to_csv(sheet, index=False)
    figures = {row["figure"]: row for row in as_json(curate("audit", "--answers", sheet, "-w", own, "--json"))}
    assert figures["precision"]["value"] == 1.0
    assert figures["missed images"]["value"] == 0.0
    assert figures["missed images"]["high"] > 0.0
    assert figures["recall"]["low"] < 1.0


def test_a_sample_with_other_words_is_refused_by_line(own: Path, curate: Curate, tmp_path: Path) -> None:
    sheet = tmp_path / "review.csv"
    curate("audit", "--sample", 5, "--check", "no_face", "-o", sheet, "-w", own)
    drawn = pd.read_csv(sheet, dtype=str, keep_default_na=False)
    drawn.loc[2, "bad"] = "perhaps"
    drawn.to_csv(sheet, index=False)
    done = curate("audit", "--answers", sheet, "-w", own, check=False)
    assert done.returncode == 1
    assert "line 4" in done.stderr and "perhaps" in done.stderr
    done = curate("audit", "--answers", "", "-w", own, check=False)  # as of a variable that is not set
    assert done.returncode == 1 and "cannot be read" in done.stderr
