"""Pages and figures made from tables: a leaf that computes no statistics of its own."""

from reports.changes import changes_page
from reports.cleaning import CleaningTables, Provenance, cleaning_page
from reports.comparison import comparison_page
from reports.coverage import coverage_page
from reports.findings import Finding, FindingsTables, findings_page
from reports.models import EvaluationTables, LadderTables, evaluation_page, ladder_page
from reports.overlap import overlap_page
from reports.people import people_page
from reports.subsets import subsets_page
from reports.thumbnails import captioned_png, data_uris

__all__ = [
    "CleaningTables",
    "EvaluationTables",
    "Finding",
    "FindingsTables",
    "LadderTables",
    "Provenance",
    "captioned_png",
    "changes_page",
    "cleaning_page",
    "comparison_page",
    "coverage_page",
    "data_uris",
    "evaluation_page",
    "findings_page",
    "ladder_page",
    "overlap_page",
    "people_page",
    "subsets_page",
]
