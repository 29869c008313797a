"""Checks: measurements -> issues. One file a family, one registry (``registry.CHECKS``)."""
