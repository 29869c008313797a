"""Packages without which the tests of a module are skipped."""

from __future__ import annotations

import importlib.util

import pytest


def needs(package: str, reason: str = "") -> None:
    """Skip the module that calls this where a package is absent; unlike ``importorskip`` it is only looked for.

    Importing PyTorch, FiftyOne and their kind takes seconds, in each process that collects the tests.
    """
    if importlib.util.find_spec(package) is None:
        pytest.skip(reason or f"{package} is not installed", allow_module_level=True)
