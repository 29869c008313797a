"""Whose face it is: groups of one person from embeddings, and the checks that read them."""

from curation.checks.subjects.find import REVISION, Subjects, find_subjects
from curation.checks.subjects.rows import subject_leak, subject_shift

__all__ = ["REVISION", "Subjects", "find_subjects", "subject_leak", "subject_shift"]
