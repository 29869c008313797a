"""How much did cleaning miss: planted defects that the checks must find blind, and samples that people review."""

from curation.audit.estimates import Estimate, Remainder, Stratum, remainder, share
from curation.audit.planted import PlantedAudit, audit_planted, calibrate, store_calibration
from curation.audit.reviewed import answers_table, draw_sample, judge_answers

__all__ = [
    "Estimate",
    "PlantedAudit",
    "Remainder",
    "Stratum",
    "answers_table",
    "audit_planted",
    "calibrate",
    "draw_sample",
    "judge_answers",
    "remainder",
    "share",
    "store_calibration",
]
