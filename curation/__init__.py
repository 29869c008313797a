"""Curate face-expression data: measure, find issues, decide, keep versions."""
