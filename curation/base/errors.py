"""Errors that a user can resolve, and the import of optional packages."""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

_Class = TypeVar("_Class", bound=type)


class CurationError(Exception):
    """Its text is one sentence: what went wrong, where, and what to do next; the command prints it and exits with 1."""


class WorkspaceError(CurationError):
    """The workspace is absent, has another format, or is locked, damaged or not writable."""


class MissingPackageError(CurationError):
    """An optional package is not installed."""


class OptionError(CurationError, TypeError):
    """A method has no such keyword."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence: the known name that was probably meant, or all of them."""
    meant = difflib.get_close_matches(name, known := list(known), 1)
    return f"did you mean {meant[0]!r}?" if meant else f"there are {', '.join(known)}"


def require_known(options: Mapping[str, Any], known: Iterable[str]) -> None:
    """Refuse an unknown keyword, and suggest the one that was probably meant.

    Raises:
        OptionError: one is unknown.

    """
    known = list(known)
    for name in options:
        if name not in known:
            raise OptionError(f"no option {name!r}; {did_you_mean(name, known)}")


def naming_keywords(plain: _Class) -> _Class:
    """Make the public methods of a class refuse unknown keywords by :func:`require_known`."""

    def checked(method: Callable[..., Any], known: list[str]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*args: Any, **options: Any) -> Any:
            require_known(options, known)
            return method(*args, **options)

        return call

    for name, method in list(vars(plain).items()):
        if inspect.isfunction(method) and not name.startswith("_"):
            known = inspect.signature(method).parameters
            if all(each.kind is not inspect.Parameter.VAR_KEYWORD for each in known.values()):
                setattr(plain, name, checked(method, list(known)[1:]))
    return plain


def installing(extra: str) -> str:
    """Return the command that installs an extra of this package, also in a clone."""
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
