"""Shell completion of options and arguments: names of versions, checks, formats and policies."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

import typer

from curation.base import reading
from curation.base.text import printable
from curation.formats.registry import names as export_formats

POLICIES = Path(__file__).parents[1] / "decisions" / "policies"

Offer = Callable[[typer.Context, str], list[str]]


def _offering(names: Callable[[typer.Context], Iterable[str]]) -> Offer:
    def offer(ctx: typer.Context, incomplete: str) -> list[str]:
        return [name for name in names(ctx) if name.startswith(incomplete)]

    return offer


def _version_names(ctx: typer.Context) -> list[str]:
    """Return the names of the versions in the workspace that the line names, newest first, and its tags."""
    folder = Path(ctx.params.get("folder") or "workspace") / "manifests"
    found = (reading.whole_number(path.stem[1:]) for path in folder.glob("v*.json"))
    numbers = sorted((number for number in found if number is not None), reverse=True)
    tags: dict[str, None] = {}
    with contextlib.suppress(OSError, ValueError, KeyError):  # a damaged file offers nothing
        lines = reading.text_of(reading.contents(folder / "tags.jsonl")).splitlines()
        tags = dict.fromkeys(printable(str(reading.json_object(line)["tag"])) for line in lines)
    return ["cleaned", "raw", *(f"v{number}" for number in numbers), *tags]


versions = _offering(_version_names)


def _check_names(ctx: typer.Context) -> list[str]:
    from curation.checks import registry

    return registry.names()


checks = _offering(_check_names)
formats = _offering(lambda ctx: export_formats())
policies = _offering(lambda ctx: sorted(path.stem for path in POLICIES.glob("*.toml")))
