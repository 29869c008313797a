"""The verbs on which images matter: what is covered, and what to keep, train on or label next."""

from __future__ import annotations

from typing import Annotated

import typer

from curation.cli.options import DEFAULT_WORKSPACE, AsJson, Folder, On, load_settings

app = typer.Typer()


@app.command()
def coverage(
    on: On = "cleaned",
    attributes: Annotated[
        str, typer.Option("--attributes", help="A table of gender, race or age by path: more axes.")
    ] = "",
    folder: Folder = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Say what is missing: class by pose, light, sharpness, size, occlusion, person; before and after cleaning."""
    from curation.base.workspace import locked, open_workspace
    from curation.cli import console
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
