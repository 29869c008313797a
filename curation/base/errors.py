"""The base of all errors that a user can do something about, and the one about packages that are not installed."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from typing import Any


class CurationError(Exception):
    """Its text is one sentence: what went wrong, where, and what to do next. The command prints it and exits 1."""


class WorkspaceError(CurationError):
    """The workspace is absent, of another format, locked or not writable."""


class MissingPackageError(CurationError):
    """An optional package is not installed."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return which of the known names was probably meant, or all of them, as the end of a sentence."""
    meant = difflib.get_close_matches(name, known := list(known), 1)
    return f"did you mean {meant[0]!r}?" if meant else f"there are {', '.join(known)}"


def installing(extra: str) -> str:
    """Return the command that installs an extra of this package, and what it is in a clone."""
    return f"pip install 'face-curation[{extra}]' (in a clone: make setup EXTRAS={extra})"


def optional(module: str, extra: str, what: str) -> Any:
    """Return an optional module, imported.

    Args:
        module: its name
        extra: the extra of this package that installs it
        what: what needs it, as the beginning of a sentence

    Raises:
        MissingPackageError: it is not installed.

    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingPackageError(
            f"{what} needs the package {package}, which cannot be imported ({error}); run: {installing(extra)}"
        ) from error
