"""Face identity: groups of one person from embeddings, and the checks based on them."""

from curation.checks.subjects.find import REVISION, Separated, Subjects, find_subjects, is_made
from curation.checks.subjects.rows import subject_leak, subject_shift

__all__ = ["REVISION", "Separated", "Subjects", "find_subjects", "is_made", "subject_leak", "subject_shift"]
