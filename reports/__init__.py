"""Pages and figures made from tables: a leaf that computes no statistics of its own."""

from reports.cleaning import CleaningTables, Provenance, cleaning_page
from reports.models import EvaluationTables, LadderTables, evaluation_page, ladder_page
from reports.thumbnails import captioned_png

__all__ = [
    "CleaningTables",
    "EvaluationTables",
    "LadderTables",
    "Provenance",
    "captioned_png",
    "cleaning_page",
    "evaluation_page",
    "ladder_page",
]
