"""Evidence on six questions about a model and its data, computed once, kept in the workspace, and shown on a page.

People's accuracy, generalisation, other models, groups of people, what was learned, whether classes are exclusive.
"""

from curation.evidence.external_data import evaluate_external
from curation.evidence.report import Inputs, write_findings

__all__ = ["Inputs", "evaluate_external", "write_findings"]
