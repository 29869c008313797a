"""Checks: measurements -> issues. One file per family, one registry (``registry.CHECKS``)."""
