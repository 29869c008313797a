"""Predictions on other data: a file for each source, whatever it is called."""

from __future__ import annotations

from curation.evidence.external_data import predictions_name


def test_two_sources_of_one_name_have_a_file_each() -> None:
    first, again, other = (predictions_name("run", f"/{folder}/faces.csv") for folder in ("a", "a", "b"))
    assert first == again != other
    assert first.startswith("run_on_faces-") and other.startswith("run_on_faces-")


def test_no_name_of_a_source_leads_out_of_the_folder_or_is_too_long() -> None:
    for root in ("/", "/data/..", "s3://bucket/a:b?c=d", "/data/\udcff", "/" + "x" * 255, "/data/a\nb"):
        name = predictions_name("run", root)
        assert "/" not in name and "\n" not in name and len(name) < 100
        name.encode("utf-8")
