"""Verbs on which images matter: what is covered, and what to keep, train on or label next."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from curation.base.progress import Display
from curation.base.workspace import locked, open_workspace
from curation.cli import console
from curation.cli.options import (
    DEFAULT_WORKSPACE,
    AsJson,
    By,
    Folder,
    HowToPrint,
    On,
    TableFormat,
    load_settings,
    user_name,
)

app = typer.Typer()


class How(StrEnum):
    """What a selection aims at."""

    diverse = "diverse"
    typical = "typical"


@app.command()
def coverage(
    on: On = "cleaned",
    attributes: Annotated[
        str, typer.Option("--attributes", help="A table of gender, race or age by path: more axes.")
    ] = "",
    folder: Folder = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Report what is missing: class by pose, light, sharpness, size, occlusion, person; before and after cleaning."""
    from curation.evidence.coverage import coverage as find_coverage

    workspace = open_workspace(folder)
    with locked(workspace):
        found = find_coverage(workspace, load_settings(workspace), on, attributes)
    if as_json:
        console.print_json(found.record())
        return
    console.print_lines(found.lines[:20])
    association = found.association[found.association["label"] == ""]
    console.print_frame(association[["axis", "images", "information", "association", "chance"]], "table")
    console.print_lines([f"Every cell with its interval: {found.page}"])


@app.command()
def select(
    number: Annotated[int, typer.Argument(min=1, help="How many images.")],
    how: Annotated[
        How, typer.Option("--how", help="diverse: every image has a chosen one near it; typical: where most lie.")
    ] = How.diverse,
    balance: Annotated[
        list[str] | None,
        typer.Option("--balance", help="The same number of each, repeatable: class, pose, illumination, person ... "),
    ] = None,
    pool: Annotated[
        str,
        typer.Option("--from", help="Instead: rank the images of another data set, labelled or not, to label next."),
    ] = "",
    split: Annotated[str, typer.Option("--split", help="The split that is chosen from. Default: train.")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be selected, and decide nothing.")
    ] = False,
    by: By = "",
    folder: Folder = DEFAULT_WORKSPACE,
    format_name: HowToPrint = TableFormat.table,
    as_json: AsJson = False,
) -> None:
    """Keep the N images that best represent all of them, as decisions; or rank which N to label next (--from)."""
    from curation.pipeline import queries, selection

    if pool and (balance or split or dry_run or how is not How.diverse):
        raise typer.BadParameter(
            "--from ranks the images of a pool and decides nothing; it cannot be combined with the other options"
        )
    workspace = open_workspace(folder)
    settings, display = load_settings(workspace), Display(quiet=as_json)
    found: selection.Selection | selection.Suggestions
    with locked(workspace):
        if pool:
            found = selection.ask_next(workspace, pool, number, settings, display)
        else:
            found = selection.select(
                workspace,
                number,
                settings,
                display,
                by=by or user_name(),
                how=how.value,
                balance=balance or (),
                split=split,
                dry_run=dry_run,
            )
    if as_json:
        console.print_json(found.record())
        return
    table = found.ranked if isinstance(found, selection.Suggestions) else found.chosen
    if format_name is not TableFormat.table:
        console.print_frame(table, format_name.value)
        return
    if pool or dry_run:
        console.print_frame(table, "table", hint="; see all with --format csv")
    version = found.version if isinstance(found, selection.Selection) else None
    console.print_lines([*found.lines, *(queries.version_lines(version) if version else [])])
