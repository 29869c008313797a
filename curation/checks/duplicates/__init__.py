"""Near-duplicate search: candidates -> verification -> groups. Pure functions of arrays."""

from curation.checks.duplicates.find import Engine, find_near_duplicates, local_engine

REVISION = 10
"""Raised whenever the same input may give other pairs than before."""

__all__ = ["REVISION", "Engine", "find_near_duplicates", "local_engine"]
