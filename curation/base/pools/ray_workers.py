"""Processes of Ray as the ``Workers`` of a step."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from curation.base.pools.ray_pool import RayPool, fetched, stored_on_ray
from curation.base.pools.threads import Make, Rows, blocks

if TYPE_CHECKING:
    from curation.base.settings import EngineSettings


class OnRay:
    """Processes of Ray, as ``Workers``."""

    def __init__(self, settings: EngineSettings, rows: int = 8192) -> None:
        """Start nothing yet."""
        self.rows = rows
        self._settings = settings
        self._stored: dict[int, list[Any]] = {}

    def doing(self, make: Make, *arguments: Any) -> Callable[[Sequence[Any]], Iterator[Any]]:
        """See ``Workers``."""
        return RayPool[Any, Any](self._settings, _make_fetching, make, arguments).in_order

    def sent(self, rows: Rows, again: bool = False) -> list[Any]:
        """See ``Workers``."""
        parts = [rows[part] for part in blocks(len(rows), self.rows)]
        if not again:
            return parts
        if id(rows) not in self._stored:
            self._stored[id(rows)] = stored_on_ray(self._settings, parts)
            weakref.finalize(rows, self._stored.pop, id(rows), None)
        return self._stored[id(rows)]


def _make_fetching(make: Make, arguments: Sequence[Any]) -> Callable[[Any], Any]:
    """Return what ``make`` returns, as it is to be called with parts of a task that may be stored elsewhere."""
    do = make(*arguments)
    return lambda task: do(fetched(task) if isinstance(task, tuple) else task)
