"""Pages and figures made from tables: a leaf that computes no statistics of its own."""

from reports.cleaning import CleaningTables, Provenance, cleaning_page

__all__ = ["CleaningTables", "Provenance", "cleaning_page"]
