"""Plug-ins: Python entry points of the groups ``face_curation.*`` in other installed packages.

Only packages that the user installed count: nothing that a workspace holds or names is imported, nor is a package that
is found only because the command runs in its folder.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

from curation.base import reading
from curation.base.errors import CurationError

Group = Literal["checks", "formats", "layouts", "models", "peers", "rules"]

_WHAT: dict[Group, str] = {
    "checks": "check",
    "formats": "export format",
    "layouts": "source layout",
    "models": "outside model",
    "peers": "second opinion",
    "rules": "policy rule",
}

P = ParamSpec("P")
T = TypeVar("T")


class PluginError(CurationError):
    """A plug-in cannot be loaded, has the name of another, or failed."""


@dataclass(frozen=True)
class Plugin:
    """One entry point.

    group, name, value -- as the package declares them
    package            -- its name and version
    """

    group: Group
    name: str
    value: str
    package: str

    def __str__(self) -> str:
        return f"the {_WHAT[self.group]} {self.name!r} of the package {self.package}"

    @property
    def state(self) -> str:
        """What its results depend on, as far as is known without an import: package, entry point, code."""
        try:
            spec = find_spec(self.value.partition(":")[0].partition(".")[0])
        except (ImportError, ValueError):
            spec = None
        inside = spec.submodule_search_locations if spec else None
        code = [path for folder in inside or () for path in sorted(Path(folder).rglob("*.py"))]
        if spec is not None and spec.origin and not code:
            code = [Path(spec.origin)]
        digests = [reading.sha256(path) for path in code if path.is_file()]
        return " ".join([self.package, self.value, *digests])

    def load(self) -> Any:
        """Import and return what the entry point names.

        Raises:
            PluginError: it cannot be imported.

        """
        return _loaded(self)

    def guarded(self, function: Callable[P, T]) -> Callable[P, T]:
        """Wrap a function of the package so that its unexpected errors become a ``PluginError`` of one sentence."""

        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return function(*args, **kwargs)
            except CurationError:
                raise
            except Exception as error:
                raise self.error(f"failed ({type(error).__name__}: {error})") from error

        return call

    def error(self, problem: str) -> PluginError:
        """Return an error about this plug-in."""
        return PluginError(f"{self} {problem}; mend or update the package, or uninstall it")


def installed(group: Group, taken: Collection[str] = ()) -> dict[str, Plugin]:
    """Return name -> plug-in of a group, sorted by name; nothing is imported.

    Args:
        group: without the prefix ``face_curation.``.
        taken: the toolkit's own names.

    Raises:
        PluginError: a name is taken, or declared by two packages.

    """
    found: dict[str, Plugin] = {}
    for plugin in _declared(group, tuple(sys.path), Path.cwd()):
        if plugin.name in taken:
            raise plugin.error("has a name that is taken")
        if plugin.name in found:
            raise PluginError(f"{plugin} has the same name as {found[plugin.name]}; uninstall one of the packages")
        found[plugin.name] = plugin
    return found


@cache
def _declared(group: Group, path: tuple[str, ...], here: Path) -> list[Plugin]:
    """Return the declared plug-ins; ``path`` (of modules) and ``here`` are part of the cache key."""
    points = sorted(entry_points(group=f"face_curation.{group}"), key=lambda point: point.name)
    known = [(point, point.dist) for point in points]
    return [
        Plugin(group, point.name, point.value, f"{package.name} {package.version}")
        for point, package in known
        if package is not None and Path(str(package.locate_file(""))).resolve() != here
    ]


@cache
def _loaded(plugin: Plugin) -> Any:
    try:
        return EntryPoint(plugin.name, plugin.value, plugin.group).load()
    except (Exception, SystemExit) as error:
        raise plugin.error(f"cannot be loaded ({type(error).__name__}: {error})") from error
