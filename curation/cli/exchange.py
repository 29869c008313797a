"""Verbs that export data, import Label Studio's answers, and write reports and cards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curation.base.progress import Display
from curation.base.workspace import locked, open_workspace
from curation.cli import completion, console
from curation.cli import options as opt
from curation.formats.registry import FORMATS

app = typer.Typer()


@app.command()
def export(
    version: opt.Version,
    destination: Annotated[Path, typer.Option("-o", "--output", help="The file or new folder to write.")],
    format_name: Annotated[
        str, typer.Option("--format", help=f"{', '.join(FORMATS)}, or a plug-in's.", autocompletion=completion.formats)
    ] = "csv",
    since: Annotated[
        str, typer.Option("--since", help="Only what changed since this version.", autocompletion=completion.versions)
    ] = "",
    place: Annotated[opt.Placing, typer.Option("--place", help="Copy or link image files.")] = opt.Placing.copy,
    force: opt.Force = False,
    folder: opt.Folder = opt.DEFAULT_WORKSPACE,
    as_json: opt.AsJson = False,
) -> None:
    """Export a version in a format that other tools read."""
    from curation.formats.export import export_version
    from curation.formats.registry import find

    workspace = open_workspace(folder)
    display = Display(quiet=as_json)
    number = export_version(
        workspace, version, format_name, destination, since=since, place=place.value, force=force, display=display
    )
    record = {"written": number, "format": format_name, "destination": str(destination)}
    line = f"{number:,} {find(format_name).unit} written to {destination}"
    console.print_json(record) if as_json else console.print_lines([line])


@app.command("annotations")
def take_annotations(
    file: Annotated[Path, typer.Argument(help="Label Studio's JSON export of a project.")],
    new_class: opt.NewClass = False,
    folder: opt.Folder = opt.DEFAULT_WORKSPACE,
    as_json: opt.AsJson = False,
) -> None:
    """Import people's answers from Label Studio as their decisions, and commit."""
    from curation.decisions import manifest
    from curation.pipeline import queries
    from curation.review.label_studio import read, take

    workspace = open_workspace(folder)
    found = read(file)
    with locked(workspace):
        before = queries.newest(workspace)
        taken = take(workspace, found, opt.load_settings(workspace), Display(quiet=as_json), new_class=new_class)
    if as_json:
        console.print_json(taken)
    else:
        after = manifest.find(workspace, taken.version)
        console.print_lines([*taken.lines(), *queries.what_changed(workspace, before, after)])


@app.command()
def report(
    models: Annotated[bool, typer.Option("--models", help="Also the page on a model: six questions.")] = False,
    model: Annotated[
        str, typer.Argument(help="With --models: a run, or the beginning of its name; none = newest.")
    ] = "",
    votes: Annotated[Path | None, typer.Option("--votes", help="People's votes; none = the workspace's.")] = None,
    data: Annotated[str, typer.Option("--data", help="Labelled pictures of another source.")] = "",
    attributes: Annotated[
        str, typer.Option("--attributes", help="Gender, race, age: table, UTKFace folder, or insightface:PACK.")
    ] = "",
    outside: Annotated[list[str] | None, typer.Option("--outside", help="Other models: fer, FILE.onnx, ...")] = None,
    on: opt.On = "cleaned",
    images: Annotated[int, typer.Option("--images", min=0, help="Held-out images to judge; 0 = all.")] = 400,
    seed: opt.Seed = 0,
    folder: opt.Folder = opt.DEFAULT_WORKSPACE,
) -> None:
    """Write the cleaning report of the newest cleaned version, and with --models the page on a model."""
    from curation.pipeline import curating

    workspace = open_workspace(folder)
    with locked(workspace):
        console.print_lines([str(curating.report(workspace, opt.load_settings(workspace), Display()))])
    if models:
        from curation.evidence import Inputs, write_findings

        inputs = Inputs(model, on, votes, data, attributes, tuple(outside or ()), images, seed)
        console.print_lines([str(write_findings(workspace, opt.load_settings(workspace), inputs, Display()))])


@app.command()
def card(
    destination: Annotated[Path, typer.Option("-o", "--output", help="The folder to write to.")] = Path("cards"),
    model: Annotated[str, typer.Argument(help="A run, or the beginning of its name; none = newest.")] = "",
    on: opt.On = "cleaned",
    force: opt.Force = False,
    folder: opt.Folder = opt.DEFAULT_WORKSPACE,
) -> None:
    """Write a dataset card (Hugging Face, Croissant) and a model card; what only you know is left to fill in."""
    from curation.evidence.cards import write_cards

    files = write_cards(open_workspace(folder), on, model, destination, force=force)
    console.print_lines([str(file) for file in files])
