"""Verbs that measure recall and precision of the checks, and check a version against limits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curation.base.destinations import Destinations
from curation.base.progress import Display
from curation.base.workspace import locked, open_workspace
from curation.cli import completion, console
from curation.cli.options import DEFAULT_WORKSPACE, AsJson, Folder, Force, Version, load_settings

app = typer.Typer()


@app.command()
def audit(
    images: Annotated[
        int, typer.Option("--images", min=100, help="Number of your images among which defects are planted.")
    ] = 2000,
    per_kind: Annotated[int, typer.Option("--per-kind", min=5, help="Defects planted of each kind.")] = 50,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Another seed plants other defects.")] = 0,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Refit the duplicate threshold on the planted defects.")
    ] = False,
    min_precision: Annotated[float, typer.Option("--min-precision", min=0.5, max=1.0)] = 0.99,
    draw: Annotated[int, typer.Option("--sample", min=0, help="Instead: draw N flagged and N unflagged images.")] = 0,
    check_name: Annotated[
        str, typer.Option("--check", help="The check that --sample is about.", autocompletion=completion.checks)
    ] = "near_duplicate",
    output: Annotated[str, typer.Option("-o", "--output", help="File that --sample writes.")] = "",
    force: Force = False,
    answers: Annotated[str | None, typer.Option("--answers", help="Instead: a filled-in sample to judge.")] = None,
    folder: Folder = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Measure recall and precision: of planted defects that are found blind, or of a sample that you review."""
    from curation.audit import planted, reviewed

    workspace = open_workspace(folder)
    format_name = "json" if as_json else "table"
    if draw:
        drawn = reviewed.draw_sample(workspace, check_name, draw, seed)
        if output:
            console.write_blocks([drawn], "csv", output, Destinations(workspace, force))
        else:
            console.print_frame(drawn, "csv")
    elif answers is not None:
        console.print_frame(reviewed.answers_table(workspace, Path(answers), seed), format_name)
    else:
        with locked(workspace):
            found = planted.audit_planted(
                workspace, load_settings(workspace), Display(quiet=as_json), images=images, per_kind=per_kind, seed=seed
            )
            lines = planted.store_calibration(workspace, found, min_precision) if calibrate else []
        if as_json:
            console.print_json(found.record())
        else:
            console.print_frame(found.kinds, "table")
            console.print_lines([*found.lines(), *lines])


@app.command()
def gate(
    version: Version = "cleaned",
    limits: Annotated[
        Path | None,
        typer.Option("--limits", help="TOML file of limits; none = gate.toml in the workspace, or defaults."),
    ] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML for a CI to this file.")] = None,
    force: Force = False,
    folder: Folder = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Check a version against limits (leaks, conflicts, wrong labels, losses); exit with 1 if one is exceeded."""
    from curation.pipeline import gate as gates

    workspace = open_workspace(folder)
    asked = gates.limits_of(workspace, limits)
    found = gates.check_version(workspace, version, asked, load_settings(workspace))
    if junit is not None:
        Destinations(workspace, force).write({junit: found.junit()})
    console.print_json(found.record()) if as_json else console.print_lines(found.lines())
    if not found.holds:
        raise typer.Exit(1)
