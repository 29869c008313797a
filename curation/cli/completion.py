"""What the shell offers for an option or argument: names of files in the workspace and of what there is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import typer

from curation.base.tables import CHECK_NAMES
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
    numbers = sorted((int(path.stem[1:]) for path in folder.glob("v*.json") if path.stem[1:].isdigit()), reverse=True)
    lines = (folder / "tags.jsonl").read_text(encoding="utf-8").splitlines() if (folder / "tags.jsonl").exists() else []
    tags = dict.fromkeys(str(json.loads(line)["tag"]) for line in lines)
    return ["cleaned", "raw", *(f"v{number}" for number in numbers), *tags]


versions = _offering(_version_names)
checks = _offering(lambda ctx: CHECK_NAMES)
formats = _offering(lambda ctx: export_formats())
policies = _offering(lambda ctx: sorted(path.stem for path in POLICIES.glob("*.toml")))
